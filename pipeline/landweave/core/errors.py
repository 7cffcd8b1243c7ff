"""Errors, by who can correct them: each is a `LandweaveError` and a builtin exception.

A message names what was requested, the thing concerned (key, file, band, block), the two numbers that disagree, and
what to do. Addresses in it lose what lets somebody in: a message may be the word of any library.
"""

from landweave.core.secrets import without_secrets

EXIT_FAILED_BLOCKS = 3
"""Exit code of the command where something was written, and not all of it: blocks failed, a result was not printed."""

INTERRUPTED = 130
"""Exit code of the command after Ctrl-C."""

TERMINATED = 143
"""Exit code of the command after SIGTERM, with which Slurm, Kubernetes and systemd end a job."""

HUNG_UP = 129
"""Exit code of the command after SIGHUP: its terminal was closed, or the connection to it was lost."""


class Terminated(KeyboardInterrupt):
    """SIGTERM, handled as Ctrl-C is: what is done is saved, the lease is given back.

    Attributes
    ----------
    exit_code
        Of the command.
    """

    exit_code = TERMINATED


class HungUp(Terminated):
    """SIGHUP, handled alike."""

    exit_code = HUNG_UP


class LandweaveError(Exception):
    """Anything this package refuses or fails to do.

    Attributes
    ----------
    exit_code
        Of the command: 2 where nothing was written, 3 where a run had begun and can be continued.
    """

    exit_code = 2

    def __init__(self, *args: object) -> None:
        super().__init__(*(without_secrets(arg) if isinstance(arg, str) else arg for arg in args))


class ConfigError(LandweaveError, ValueError):
    """A configuration that cannot be carried out; nothing was written."""


class LatticeError(ConfigError):
    """A window, stride or block that does not lie on the card's unit."""


class CardError(LandweaveError, ValueError):
    """A card that contradicts itself, or inputs that do not fit a card (all mismatches in one message)."""


class WeightsError(LandweaveError, ValueError):
    """Weights that do not fit a model, lack their checksum, or hold more than plain tensors."""


class InputError(LandweaveError, ValueError):
    """Files that cannot be used as configured, found before anything runs."""


class BudgetError(LandweaveError, MemoryError):
    """A plan that does not fit the memory it was given."""


class OutputError(LandweaveError, OSError):
    """An output that cannot be written, or that belongs to another run."""


class ReadError(LandweaveError, OSError):
    """A read that failed while a block was running: the block fails, the run goes on."""


class MissingFileError(ReadError):
    """A file that is gone: another try would not find it either."""


class PredictError(LandweaveError, RuntimeError):
    """A model that failed on a window: the block fails, the run goes on."""


class EngineError(LandweaveError, RuntimeError):
    """Workers or a scheduler that did not appear or were lost: finished blocks are kept, `run` continues from them."""
