"""Position tables of attention windows, interpolated from the size of the training to that of a network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from torch import Tensor, nn

from landweave.models._torchvision import timm

TABLE = ".relative_position_bias_table"


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
