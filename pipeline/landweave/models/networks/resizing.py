"""Interpolation of position tables from the window of the training to that of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from landweave.models._torchvision import timm

TABLE = "relative_position_bias_table"


def resized_tables(tensors: Mapping[str, Tensor], network: nn.Module) -> dict[str, Tensor]:
    """Return tensors by the same names, position tables of another size interpolated to those of ``network``.

    Everything else is returned unchanged, for `landweave.models.weights` to check.

    Parameters
    ----------
    tensors
        Of a weights file, by the network's names.
    network
        For another window.
    """
    attentions = {f"{path}.{TABLE}": each for path, each in network.named_modules() if hasattr(each, TABLE)}
    return {
        name: _resized(tensor, attentions[name]) if name in attentions else tensor for name, tensor in tensors.items()
    }


def _resized(table: Tensor, attention: Any) -> Tensor:
    shape = tuple(getattr(attention, TABLE).shape)
    if table.ndim != len(shape) or table.shape[-1] != shape[-1]:
        return table  # another number of heads: not a matter of size
    # Bicubic, as Swin's own authors do it; timm's other rule uses indexing that torch deprecates.
    return cast(Tensor, timm.layers.resize_rel_pos_bias_table_simple(table, attention.window_size, shape))
