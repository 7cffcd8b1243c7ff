"""Strides of a network: by how much it shrinks each of its inputs, measured on a pass without values."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn

from landweave.models.cards.card import ModelCard
from landweave.models.networks import flair2
from landweave.models.networks.dummy_inputs import dummy_inputs

_SHRINKING = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d)
_BRANCHES = {"arch_hr": flair2.SERIES}
"""Branches that read an input whose name is not in theirs."""


def measure_strides(card: ModelCard, network: nn.Module, window: int) -> dict[str, int]:
    """Return the pixels of each input for one of its network's deepest pixels, by modality.

    Parameters
    ----------
    card
        Of the network.
    network
        As `landweave.models.factory.build` returns it, on the meta device or a CPU.
    window
        Base pixels a side.
    """
    inputs = dummy_inputs(card, (window, window), on=next(network.parameters()).device)
    stages: dict[str, list[int]] = {name: [] for name in card.inputs}
    layers: dict[str, list[int]] = {name: [] for name in card.inputs}
    with ExitStack() as hooks, torch.no_grad():
        for path, module in network.named_modules():
            names = _inputs_of(path, card)
            record = _recording([stages[name] for name in names], [layers[name] for name in names])
            hooks.enter_context(module.register_forward_hook(record))
        network(inputs, (window, window))
    own = {name: inputs[name].shape[-1] for name in card.inputs}
    # An encoder may have layers beyond the stages that it returns.
    return {name: -(-width // min([width, *(stages[name] or layers[name])])) for name, width in own.items()}


def _inputs_of(path: str, card: ModelCard) -> list[str]:
    """Return the inputs that the layer at ``path`` works on: the one it is named after, else all images."""
    named = [each for part in path.split(".") if (each := _BRANCHES.get(part, part)) in card.inputs]
    return named[:1] or list(card.images)


def _recording(stages: list[list[int]], layers: list[list[int]]) -> Any:
    """Return a hook that records the widths of an encoder's stages, and of the outputs of layers with a stride."""

    def record(module: nn.Module, _: Any, output: Any) -> None:
        if isinstance(output, list | tuple):
            for widths in stages:
                widths += _stage_widths(output)
        elif isinstance(module, _SHRINKING) and _stride(module) > 1:
            # Not any layer's width: pooling to a fixed size, and what follows it, show nothing of a stride.
            for widths in layers:
                widths.append(output.shape[-1])

    return record


def _stage_widths(output: list[Any] | tuple[Any, ...]) -> list[int]:
    """Return the widths of an encoder's stages, the image first; empty where a layer returns something else."""
    stages = [each.shape[-1] for each in output if isinstance(each, Tensor) and each.ndim == 4]
    return stages if len(stages) == len(output) > 1 and stages[0] > stages[-1] else []


def _stride(module: nn.Module) -> int:
    stride = getattr(module, "stride", 1)
    return int(stride[-1] if isinstance(stride, tuple) else stride)


def period_px(card: ModelCard, strides: Mapping[str, int]) -> int:
    """Return the base pixels by which nested images can be moved without changing their alignment with the strides.

    Parameters
    ----------
    card
        Of the network.
    strides
        As `measure_strides` returns them.
    """
    periods = (stride * card.inputs[name].pixel / card.base_pixel for name, stride in strides.items())
    return math.lcm(card.unit_px, *(int(period) for period in periods if period.denominator == 1))
