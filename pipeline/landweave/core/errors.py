"""What can go wrong, by who can mend it: every error is a `LandweaveError` and a builtin one.

A message says what was asked, which thing (file, band, block), the two numbers that disagree, and what to do.
"""

INTERRUPTED = 130
"""What the command ends with after Ctrl-C."""


class LandweaveError(Exception):
    """Anything this package refuses or fails to do.

    Attributes
    ----------
    exit_code
        What the command ends with: 2 where nothing was written, 3 where a run had begun and goes on from there.
    """

    exit_code = 2


class ConfigError(LandweaveError, ValueError):
    """A configuration that cannot be carried out; nothing was written."""


class LatticeError(ConfigError):
    """A window, stride or block that does not lie on the card's unit."""


class CardError(LandweaveError, ValueError):
    """A card that contradicts itself, or inputs that do not fit a card (all mismatches in one message)."""


class WeightsError(LandweaveError, ValueError):
    """Weights that do not fit a model, lack their checksum, or hold more than plain tensors."""


class InputError(LandweaveError, ValueError):
    """Scenes that cannot be used as configured, found before anything runs."""


class BudgetError(LandweaveError, MemoryError):
    """A plan that does not fit the memory it was given."""


class OutputError(LandweaveError, OSError):
    """An output that cannot be written, or that belongs to another run."""


class ReadError(LandweaveError, OSError):
    """A read that failed while a block was running: the block fails, the run goes on."""


class PredictError(LandweaveError, RuntimeError):
    """A model that failed on a window: the block fails, the run goes on."""


class EngineError(LandweaveError, RuntimeError):
    """Workers or a scheduler that did not appear or went away: what is done is kept, and `run` goes on from it."""
