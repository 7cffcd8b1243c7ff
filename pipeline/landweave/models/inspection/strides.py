"""By how much a network shrinks each of its inputs, measured on a pass without values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from landweave.models.cards.card import ModelCard
from landweave.models.networks import flair2
from landweave.models.networks.dummy_inputs import blank_inputs

_SHRINKING = (nn.Conv1d, nn.Conv2d, nn.Conv3d, nn.MaxPool2d, nn.AvgPool2d, nn.LPPool2d)
_BRANCHES = {"arch_hr": flair2.SERIES}
"""Branches that read an input whose name is not in theirs."""


def measure_strides(card: ModelCard, network: nn.Module, window: int) -> dict[str, int]:
    """Pixels of each input for one of its network's deepest pixels, by modality.

    Parameters
    ----------
    card
        What the network is called with.
    network
        As `landweave.models.factory.build` gives it, on the meta device or a CPU.
    window
        Base pixels a side.
    """
    inputs = blank_inputs(card, (window, window), on=next(network.parameters()).device)
    seen: dict[str, _Seen] = {name: _Seen() for name in card.inputs}
    watched = [
        module.register_forward_hook(_watching([seen[name] for name in _inputs_of(path, card)]))
        for path, module in network.named_modules()
    ]
    try:
        with torch.no_grad():
            network(inputs, (window, window))
    finally:
        for hook in watched:
            hook.remove()
    widths = {name: inputs[name].shape[-1] for name in card.inputs}
    return {name: -(-width // min([width, *seen[name].deepest])) for name, width in widths.items()}


@dataclass
class _Seen:
    """Widths of an encoder's stages, and of what layers with a stride gave."""

    stages: list[int] = field(default_factory=list)
    layers: list[int] = field(default_factory=list)

    @property
    def deepest(self) -> list[int]:
        """What counts: an encoder may have layers beyond the stages that it gives."""
        return self.stages or self.layers


def _inputs_of(path: str, card: ModelCard) -> list[str]:
    """The inputs that the layer at ``path`` works for: the one it is named after, else all images."""
    parts = path.split(".")
    named = [each for part in parts if (each := _BRANCHES.get(part, part)) in card.inputs]
    return named[:1] or [name for name, spec in card.inputs.items() if spec.dates is None]


def _watching(seen: list[_Seen]) -> Any:
    def note(module: nn.Module, _: Any, answer: Any) -> None:
        for each in seen:
            if isinstance(answer, list | tuple):
                each.stages += _stages(answer)
            elif isinstance(module, _SHRINKING) and _stride(module) > 1:
                # Not any layer's width: pooling to a fixed size, and what follows it, tell nothing of a stride.
                each.layers.append(answer.shape[-1])

    return note


def _stages(answer: Sequence[Any]) -> list[int]:
    """Widths of the stages that an encoder gives, the image first; nothing where a layer gives something else."""
    stages = [each.shape[-1] for each in answer if isinstance(each, Tensor) and each.ndim == 4]
    return stages if len(stages) == len(answer) > 1 and stages[0] > stages[-1] else []


def _stride(module: nn.Module) -> int:
    stride = getattr(module, "stride", 1)
    return int(stride[-1] if isinstance(stride, tuple) else stride)


def period_px(card: ModelCard, strides: Mapping[str, int]) -> int:
    """Base pixels after which a network meets its nested images in the same place again."""
    steps = (stride * card.inputs[name].pixel / card.base_pixel for name, stride in strides.items())
    return math.lcm(card.unit_px, *(int(step) for step in steps if step.denominator == 1))
