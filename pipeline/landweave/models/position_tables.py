"""Position tables of attention windows: which depend on a network's size, and how others may fill them.

A Swin encoder learns one value a head for every offset inside its attention window. Where a stage is smaller than
that window, the window shrinks with it, and weights trained at another size no longer fit. They can be interpolated,
which is another model than the published one: it is done only when asked for, and is part of a run's meaning.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

import torch
from torch import Tensor, nn

from landweave.errors import CardError
from landweave.models._torchvision import timm
from landweave.models.builders import build, core
from landweave.models.card import ModelCard

TABLE = ".relative_position_bias_table"

Shape = tuple[int, ...]


def changed_tensors(card: ModelCard, window: int) -> dict[str, tuple[Shape, Shape]]:
    """Tensors whose shape in windows of ``window`` base pixels is another than the card's own: both, by name.

    Nothing is allocated. The weights fit ``window`` as they are exactly when there are none.

    Raises
    ------
    CardError
        When ``window`` is off the network's stride or the inputs' pixels.
    """
    own, other = _shapes(card, card.window.size), _shapes(card, window)
    return {name: (own[name], other[name]) for name in own if own[name] != other[name]}


def any_window(card: ModelCard) -> ModelCard:
    """The card with every window allowed that its network's stride and its inputs' pixels allow."""
    return card.model_copy(update={"window": card.window.model_copy(update={"others_from": card.window.multiple})})


def refuse_changed(card: ModelCard, window: int) -> None:
    """Refuse a window that the weights do not fit as they are.

    Raises
    ------
    CardError
        With every table, its shape in the weights and in that window.
    """
    if changed := changed_tensors(card, window):
        raise CardError(
            f"A window of {window} px was asked for; the weights of {card.name} are for {card.window.size} px, and "
            f"{len(changed)} tables would have another shape:\n"
            + "\n".join(f"  - {name}: {trained} in the weights, {here}" for name, (trained, here) in changed.items())
            + "\nUse a window that the card allows, or ask for position tables to be resized: another model then."
        )


def resized_tables(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """``tensors`` with position tables of another size interpolated to those of ``network``, by the same names.

    Everything else is given back as it is, for `landweave.models.weights` to judge.
    """
    wanted = network.state_dict()
    return {
        name: _resized(name, tensor, network)
        if name.endswith(TABLE) and name in wanted and tensor.shape != wanted[name].shape
        else tensor
        for name, tensor in tensors.items()
    }


def _resized(name: str, table: Tensor, network: nn.Module) -> Tensor:
    attention = cast(Any, network.get_submodule(name.removesuffix(TABLE)))
    shape = tuple(attention.relative_position_bias_table.shape)
    if table.ndim != len(shape) or table.shape[-1] != shape[-1]:
        return table  # another number of heads: not a matter of size
    layers: Any = timm.layers
    # Bicubic, as Swin's own authors do it; timm's other rule leans on indexing that torch gives up.
    resized = layers.resize_rel_pos_bias_table_simple(table, attention.window_size, shape)
    return cast(Tensor, resized)


def _shapes(card: ModelCard, window: int) -> dict[str, Shape]:
    with torch.device("meta"):
        network = core(build(any_window(card), window))
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}
