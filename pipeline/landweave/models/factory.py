"""The network of a card: called with inputs by name, returning logits by name of the output."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

from landweave.core.errors import CardError, LandweaveError
from landweave.models.cards.card import ModelCard
from landweave.models.networks._layers import StackedInputs
from landweave.models.networks.architectures import ExportedArchitecture
from landweave.models.weights import load_weights

UNFIT = (ArithmeticError, AssertionError, AttributeError, LookupError, RuntimeError, TypeError, ValueError)
"""What libraries raise for settings that they do not foresee."""


def build(card: ModelCard, window: int) -> nn.Module:
    """Return the network of ``card``, with random weights, in evaluation mode.

    It is called with ``{modality: (b, band, y, x) or (b, time, band, y, x)}``, normalised, and optionally the height
    and width of the output; it returns ``{output: logits (b, class, y, x)}``.

    Parameters
    ----------
    card
        Of any kind but a program (``exported``), which is stored in its weights file.
    window
        Base pixels a side.

    Raises
    ------
    CardError
        When the card cannot be built: an unknown architecture or encoder, a window it does not allow, or a program.
    """
    card.check_window(window)
    with torch.random.fork_rng(devices=[]):  # the caller's random state stays as it is
        try:
            return card.architecture.build(card, window).eval()
        except LandweaveError:
            raise
        except UNFIT as error:
            raise CardError(f"Model {card.name} cannot be built as its architecture says: {error!r}.") from error


def build_on_meta(card: ModelCard, window: int) -> nn.Module:
    """Return the network of `build` on the meta device: shapes without values.

    Parameters
    ----------
    card, window
        As for `build`.
    """
    with torch.device("meta"):
        # Some encoders make their first layer anew, on the CPU, where the bands are not three.
        return build(card, window).to("meta")


def load(card: ModelCard, window: int, weights: Path, *, batch_size: int) -> nn.Module:
    """Return the network of `load_with_notes` alone.

    Parameters
    ----------
    card, window, weights, batch_size
        As there.
    """
    return load_with_notes(card, window, weights, batch_size=batch_size)[0]


def load_with_notes(
    card: ModelCard, window: int, weights: Path, *, batch_size: int
) -> tuple[nn.Module, tuple[str, ...]]:
    """Return the network of ``card`` as `build` does, with the weights of a file, and notes on what was left out.

    Parameters
    ----------
    card
        Of any kind.
    window
        Base pixels a side.
    weights
        A file of safetensors or of torch; the ``.pt2`` file of a program.
    batch_size
        Windows in every call: a program is exported for one batch size.

    Raises
    ------
    CardError
        As `build` does.
    WeightsError
        When the weights do not fit.
    """
    if isinstance(card.architecture, ExportedArchitecture):
        from landweave.models.exported import load_exported

        card.check_window(window)
        program = load_exported(weights)
        shape = (batch_size, card.image_channels, window, window)
        program.check_shapes(shape, card.outputs[card.output_name()].channels, weights)
        return StackedInputs(program, tuple(card.inputs), card.output_name()).eval(), ()
    with _NoRandomInit():
        network = build(card, window)
    notes = load_weights(core(network), weights, resize_tables=getattr(card.architecture, "resize_tables", False))
    return network, notes


class _NoRandomInit(TorchFunctionMode):
    """Builds networks without drawing initial weights, which takes longer than reading those that replace them."""

    def __torch_function__(
        self, function: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Mapping[str, Any] | None = None
    ) -> Any:
        """Return a tensor unchanged where it would be filled at random."""
        kwargs = kwargs or {}
        if function in _RANDOM_FILLS:
            return args[0] if args else kwargs["tensor"]
        return function(*args, **kwargs)


_RANDOM_FILLS = (
    *(Tensor.uniform_, Tensor.normal_, Tensor.erfinv_),
    *(nn.init.uniform_, nn.init.normal_, nn.init.kaiming_uniform_),  # pass themselves to the mode, and draw outside it
)


def core(network: nn.Module) -> nn.Module:
    """Return the part of a built network whose tensors have the names that weights files use."""
    return network.network if isinstance(network, StackedInputs) else network
