"""How far a network looks: which answers a single pixel can change, found with values that nothing can hide.

A column of an input is set to NaN. No weight, activation or pooling turns a NaN into a number, so the answers that
are NaN afterwards are those that the column has a part in, whatever the weights::

    input   . . . . . N . . . . .
    answer  . . N N N N N N N . .       reach 3

Strips a few rows high are enough, and wide ones are cheap. A network whose answers are NaN over the whole of the
widest strip looks at everything: it pools, or normalises, over its window.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from landweave.core.errors import CardError
from landweave.models.cards.card import ModelCard
from landweave.models.networks.dummy_inputs import blank_inputs

WIDEST = 8
"""Windows side by side in the widest strip that is tried."""


@dataclass(frozen=True, kw_only=True)
class ReceptiveField:
    """How far from a pixel lies what its answer depends on.

    Attributes
    ----------
    pixels
        Base pixels to each side; None where it is all there is (global): no margin makes two windows agree.
    seen
        Base pixels over which it was looked for.
    """

    pixels: int | None
    seen: int

    @property
    def is_global(self) -> bool:
        """Whether an answer depends on the whole window, however large."""
        return self.pixels is None

    def __str__(self) -> str:
        if self.pixels is None:
            return f"global: every pixel depends on all of its window (seen over {self.seen:,} px)"
        return f"{self.pixels:,} px to each side"


def measure_reach(card: ModelCard, network: nn.Module, window: int, *, period: int, batch: int = 1) -> ReceptiveField:
    """The reach of ``network`` over all its inputs and outputs.

    It is exact where the card's unit is one pixel, and a lower bound within that unit elsewhere (a column is then as
    wide as the unit).

    Parameters
    ----------
    card
        What the network is called with.
    network
        As `landweave.models.factory.build` gives it for ``window``, with values, on a CPU; any weights.
    window
        Base pixels a side.
    period
        Base pixels after which the network meets its input in the same place again.
    batch
        Windows in a call, where the network takes no other number.
    """
    probe = _Probe(card, network, batch)
    period = math.lcm(period, card.unit_px)
    for windows in (2, 4, WIDEST):
        width = windows * window
        try:
            reach = probe.strip(width, period)
        except (RuntimeError, AssertionError, ValueError, CardError):
            return probe.square(window, period)  # made for its own window only
        if reach is not None:
            return ReceptiveField(pixels=reach, seen=width)
    return ReceptiveField(pixels=None, seen=WIDEST * window)


class _Probe:
    """Columns of NaN, and the answers that they spoil."""

    def __init__(self, card: ModelCard, network: nn.Module, batch: int) -> None:
        self._batch = batch
        self._card = card
        self._network = network

    def strip(self, width: int, period: int) -> int | None:
        """Receptive field along rows and along columns of a strip; None where it is wider than the strip."""
        height = math.lcm(period, self._card.window.multiple)
        middle = width // 2 // period * period
        reach = 0
        for flip in (False, True):
            for column in range(middle, middle + period, self._card.unit_px):
                size_yx = (width, height) if flip else (height, width)
                spoilt = self._spoilt(size_yx, column, flip)
                if spoilt.size and (spoilt[0] == 0 or spoilt[-1] == width - 1):
                    return None
                reach = max(reach, *self._distances(spoilt, column))
        return reach

    def square(self, window: int, period: int) -> ReceptiveField:
        """Receptive field from the columns at the left edge of the one window that the network takes."""
        reach = 0
        for column in range(0, period, self._card.unit_px):
            spoilt = self._spoilt((window, window), column, False)
            if spoilt.size and spoilt[-1] == window - 1:
                return ReceptiveField(pixels=None, seen=window)
            reach = max(reach, *self._distances(spoilt, column))
        return ReceptiveField(pixels=reach, seen=window)

    def _distances(self, spoilt: NDArray[np.intp], column: int) -> Iterator[int]:
        yield 0
        if spoilt.size:
            yield column - int(spoilt[0])
            yield int(spoilt[-1]) - column - self._card.unit_px + 1

    def _spoilt(self, size_yx: tuple[int, int], column: int, flip: bool) -> NDArray[np.intp]:
        """Columns (rows, when flipped) of the answers that one column of NaN in every image and series reaches."""
        inputs = blank_inputs(self._card, size_yx, batch=self._batch, dates=1)
        axis = -2 if flip else -1
        for name, spec in self._card.inputs.items():
            if spec.footprint.size is not None:
                inputs[name].fill_(math.nan)  # it is cut anew for each window, and lies anywhere in it
                continue
            factor = spec.pixel / self._card.base_pixel
            first, last = int(column / factor), math.ceil((column + self._card.unit_px) / factor)
            inputs[name].narrow(axis, first, last - first).fill_(math.nan)
        with torch.no_grad():
            answers = self._network(inputs, size_yx).values()
        touched = np.zeros(size_yx[axis], np.bool_)
        for answer in answers:
            touched |= answer.isnan().any(0).any(0).any(0 if axis == -1 else 1).numpy()
        return np.flatnonzero(touched)
