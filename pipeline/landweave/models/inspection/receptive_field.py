"""Receptive field of a network, measured by setting pixels of its inputs to NaN.

A column of an input is set to NaN. No weight, activation or pooling turns a NaN into a number, so the output columns
that are NaN afterwards are those that depend on it, whatever the weights::

    input    . . . . . N . . . . .
    output   . . N N N N N N N . .       receptive field: 3 px to each side

Inputs a few rows high are enough, and wide ones are cheap. A network whose outputs are NaN over the whole of the
widest input has a global receptive field: it pools, or normalises, over its window.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import product

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from landweave.core.errors import CardError
from landweave.models.cards.card import ModelCard
from landweave.models.networks.dummy_inputs import dummy_inputs

WIDEST = 8
"""Windows side by side in the widest input that is tried."""


@dataclass(frozen=True, kw_only=True)
class ReceptiveField:
    """Distance from a pixel within which inputs change its prediction.

    Attributes
    ----------
    pixels
        Base pixels to each side; None where it is global: no margin makes two windows agree.
    seen
        Base pixels over which it was measured.
    """

    pixels: int | None
    seen: int

    def __str__(self) -> str:
        if self.pixels is None:
            return f"global: every pixel depends on all of its window (seen over {self.seen:,} px)"
        return f"{self.pixels:,} px to each side"


def measure_receptive_field(
    card: ModelCard, network: nn.Module, window: int, *, period: int, batch: int = 1
) -> ReceptiveField:
    """Return the receptive field of a network over all its inputs and outputs.

    It is exact where the card's unit is one pixel, and a lower bound within that unit elsewhere (a column is then as
    wide as the unit).

    Parameters
    ----------
    card
        Of the network.
    network
        As `landweave.models.factory.build` returns it for ``window``, with values, on a CPU; any weights.
    window
        Base pixels a side.
    period
        Base pixels by which the input can be moved without changing its alignment with the network's strides.
    batch
        Windows in a call, where the network takes no other number.
    """
    probe = _Probe(card, network, batch)
    period = math.lcm(period, card.unit_px)
    for windows in (2, 4, WIDEST):
        width = windows * window
        try:
            pixels = probe.wide(width, period)
        except (RuntimeError, AssertionError, ValueError, CardError):
            return ReceptiveField(pixels=probe.square(window, period), seen=window)  # built for its own window only
        if pixels is not None:
            return ReceptiveField(pixels=pixels, seen=width)
    return ReceptiveField(pixels=None, seen=WIDEST * window)


@dataclass(frozen=True)
class _Probe:
    """Calls of a network with a column, or a row, of NaN in every input."""

    card: ModelCard
    network: nn.Module
    batch: int

    def wide(self, width: int, period: int) -> int | None:
        """Return the distance along rows and along columns; None where it is more than half of ``width``."""
        height = math.lcm(period, self.card.window.multiple)
        middle = width // 2 // period * period
        sizes = {-1: (height, width), -2: (width, height)}
        return self._farthest(sizes, range(middle, middle + period, self.card.unit_px), edges=[0, width - 1])

    def square(self, window: int, period: int) -> int | None:
        """Return the distance from the left edge of a single window; None where it is the whole window."""
        return self._farthest({-1: (window, window)}, range(0, period, self.card.unit_px), edges=[window - 1])

    def _farthest(self, sizes: Mapping[int, tuple[int, int]], columns: range, edges: list[int]) -> int | None:
        """Return the distance to the farthest output that depends on a column; None where one of ``edges`` does."""
        farthest = 0
        for (axis, size_yx), column in product(sizes.items(), columns):
            dependent = self._dependent(size_yx, column, axis)
            if dependent[edges].any():
                return None
            if dependent.any():
                found = np.flatnonzero(dependent)
                farthest = max(farthest, column - int(found[0]), int(found[-1]) - column - self.card.unit_px + 1)
        return farthest

    def _dependent(self, size_yx: tuple[int, int], column: int, axis: int) -> NDArray[np.bool_]:
        """Return which columns (rows, for axis -2) of the outputs depend on one column of all images and series."""
        inputs = dummy_inputs(self.card, size_yx, batch=self.batch, dates=1)
        for name, spec in self.card.inputs.items():
            if spec.centred_size is not None:
                inputs[name].fill_(math.nan)  # it is cut anew for each window: the column may be anywhere in it
                continue
            factor = spec.pixel / self.card.base_pixel
            first, last = int(column / factor), math.ceil((column + self.card.unit_px) / factor)
            inputs[name].narrow(axis, first, last - first).fill_(math.nan)
        with torch.no_grad():
            outputs = self.network(inputs, size_yx).values()
        dependent = np.zeros(size_yx[axis], np.bool_)
        for output in outputs:
            dependent |= output.isnan().any(0).any(0).any(0 if axis == -1 else 1).numpy()
        return dependent
