"""How the answers of overlapping windows become one: a weight profile an axis, sums a band of rows, one decision.

The rules work on arrays of any library of the Python array API (numpy here, a device's tensors in a predictor).
Only additions, multiplications and divisions of float32 happen, pixel by pixel and window by window in lattice
order, so the bits of a pixel do not depend on the block it was computed in.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from functools import cached_property
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from landweave.core.errors import ConfigError
from landweave.core.lattice import Extent, Lattice, Span

Array = Any
"""An array of any array-API library; shape, dims and dtype are told where it is used."""


class Blend(StrEnum):
    """The weight of a pixel by its place in the window."""

    CROP = "crop"
    LINEAR = "linear"
    COSINE = "cosine"
    GAUSSIAN = "gaussian"


GAUSSIAN_SIGMA = 1 / 8
"""Standard deviation of the gaussian profile, in windows."""


def profile(blend: Blend, window: int, overlap: int) -> NDArray[np.float32]:
    """Weights along one axis of a window, float32 in [0, 1], shape ``(window,)``.

    ``crop`` keeps the middle ``window - overlap`` pixels, ``linear`` and ``cosine`` rise over the overlap,
    ``gaussian`` is a bell over the whole window. Laid at every ``window - overlap`` pixels their sum is positive
    everywhere.
    """
    place = np.arange(window, dtype=np.float64)
    if blend is Blend.CROP:
        margin = overlap // 2
        return ((place >= margin) & (place < margin + window - overlap)).astype(np.float32)
    if blend is Blend.GAUSSIAN:
        offset = (place + 0.5 - window / 2) / (window * GAUSSIAN_SIGMA)
        return np.exp(-(offset**2) / 2).astype(np.float32)
    ramp = np.clip((np.minimum(place, window - 1 - place) + 0.5) / max(overlap, 1), 0, 1)
    if blend is Blend.COSINE:
        ramp = np.sin(ramp * np.pi / 2) ** 2
    return ramp.astype(np.float32) if overlap else np.ones(window, np.float32)


@dataclass(frozen=True)
class Blending:
    """A profile laid on a lattice.

    Raises
    ------
    ConfigError
        When some pixel would get no weight.
    """

    lattice: Lattice
    blend: Blend

    def __post_init__(self) -> None:
        if not (self._period > 0).all():
            raise ConfigError(f"Blend {self.blend} leaves pixels without weight on {self.lattice}.")

    @cached_property
    def weights(self) -> NDArray[np.float32]:
        """Weights along one axis of a window, shape ``(window,)``."""
        return profile(self.blend, self.lattice.window, self.lattice.overlap)

    @cached_property
    def support(self) -> Span:
        """Pixels of a window with a positive weight; windows that touch a block only outside it are not run."""
        positive = np.flatnonzero(self.weights)
        return Span(int(positive[0]), int(positive[-1]) + 1)

    @cached_property
    def _period(self) -> NDArray[np.float32]:
        # The summed weights repeat with the stride: one table, whatever the block.
        sums = np.zeros(self.lattice.stride, np.float64)
        np.add.at(sums, np.arange(self.lattice.window) % self.lattice.stride, self.weights.astype(np.float64))
        return sums.astype(np.float32)

    def summed(self, span: Span) -> NDArray[np.float32]:
        """Summed weights of all windows at each pixel of ``span``, positive, shape ``(span.size,)``."""
        return self._period[np.arange(span.start, span.stop) % self.lattice.stride]


STRIP_PIXELS = 2**16
"""Pixels that are divided and decided together: of all classes they stay in a core's cache."""

DEVICE_STRIP_PIXELS = 2**20
"""The same on a device, where each of some hundred steps is a launch: fewer, larger strips."""


class RowAccumulator:
    """Weighted sums of class probabilities over the rows that coming windows can still touch.

    Windows arrive in lattice order; `finish` gives the rows that are done and forgets them, so that a block
    of 8192 pixels needs the memory of one row of windows, not of the block.

    Parameters
    ----------
    blending
        Lattice and profile.
    extent
        The block, in base pixels.
    cell
        Rows are finished in multiples of it: base pixels a side of an output pixel.
    """

    def __init__(self, blending: Blending, extent: Extent, cell: int = 1) -> None:
        self._blending = blending
        self._extent = extent
        self._cell = cell
        self._sums: Array | None = None
        self._weights: Array | None = None
        self._top = extent.y.start

    def add(self, window: Extent, probabilities: Array) -> None:
        """Add one window's ``probabilities``, float32 ``(class, y, x)`` over the whole window."""
        if self._sums is None:
            self._allocate(probabilities)
        held = Extent(Span(self._top, self._top + self._rows), self._extent.x)
        part = window.intersect(held)
        inside, here = part.slices_in(window), part.slices_in(held)
        # Two roundings, never a fused multiply-add: its use would depend on where a vector of pixels ends.
        weights, sums = self._weights[inside], self._sums  # type: ignore[index]
        step = 1 if _is_host(probabilities) else probabilities.shape[0]  # one plane at a time stays in a core's cache
        for first in range(0, probabilities.shape[0], step):
            planes = sums[first : first + step, here[0], here[1]]  # type: ignore[index]
            planes += probabilities[first : first + step, inside[0], inside[1]] * weights

    def finish(self, stop: int) -> Iterator[tuple[Span, Array]]:
        """Blended probabilities of the rows up to ``stop``, strip by strip, which are then forgotten.

        ``stop`` counts from the anchor; rows finished before are not given again, and rows before any window never.

        Yields
        ------
        rows
            Whole cells.
        probabilities
            float32 ``(class, rows, width)``: on a CPU a strip stays in a core's cache until it is decided.
        """
        if self._sums is None:
            self._top = stop
            return
        held = self._rows // self._cell * self._cell
        while self._top < stop:  # where rows of windows were left out, ``stop`` is far below what is held
            rows = Span(self._top, min(self._top + held, stop))
            yield from self._strips(rows)
            self._advance(self._sums, rows.size)

    def _strips(self, rows: Span) -> Iterator[tuple[Span, Array]]:
        pixels = STRIP_PIXELS if _is_host(self._sums) else DEVICE_STRIP_PIXELS
        step = max(1, pixels // self._extent.x.size // self._cell) * self._cell
        for top in range(rows.start, rows.stop, step):
            strip = Span(top, min(top + step, rows.stop))
            yield strip, self._sums[:, strip.slice_in(rows), :] / self._weight_of(strip)  # type: ignore[index]

    def _weight_of(self, rows: Span) -> Array:
        xp, where = array_namespace(self._sums), device(self._sums)
        down = xp.asarray(self._blending.summed(rows), device=where)
        across = xp.asarray(self._blending.summed(self._extent.x), device=where)
        return down[:, None] * across[None, :]

    @property
    def _rows(self) -> int:
        return int(self._sums.shape[1]) if self._sums is not None else 0

    def _allocate(self, like: Array) -> None:
        xp = array_namespace(like)
        # Of a cell that is not whole yet up to ``cell - 1`` rows wait above a window's own.
        rows = min(self._blending.lattice.window + self._cell - 1, self._extent.y.stop - self._top)
        shape = (like.shape[0], rows, self._extent.x.size)
        self._sums = xp.zeros(shape, dtype=xp.float32, device=device(like))
        weights = self._blending.weights
        self._weights = xp.asarray(np.outer(weights, weights), device=device(like))

    def _advance(self, sums: Array, rows: int) -> None:
        kept = self._rows - rows
        for start in range(0, kept, max(rows, 1)):  # moved in steps that never overlap themselves
            stop = min(start + rows, kept)
            sums[:, start:stop] = sums[:, start + rows : stop + rows]
        sums[:, kept:] = 0
        self._top += rows


def _is_host(array: Array) -> bool:
    return str(device(array)) == "cpu"


def coarsen(probabilities: Array, factor: int) -> Array:
    """Means over cells of ``factor`` x ``factor`` pixels: ``(class, y, x)`` to ``(class, y / f, x / f)``."""
    if factor == 1:
        return probabilities
    classes, height, width = probabilities.shape
    cells = array_namespace(probabilities).reshape(
        probabilities, (classes, height // factor, factor, width // factor, factor)
    )
    total = cells[:, :, 0, :, 0]
    for step in range(1, factor * factor):  # in a fixed order: a library's own mean may sum in any
        total = total + cells[:, :, step // factor, :, step % factor]
    return total / (factor * factor)


def drop_untrained(probabilities: Array, trained: tuple[bool, ...]) -> Array:
    """Probabilities of the trained classes, renormalised to sum to one; the others become 0."""
    if all(trained):
        return probabilities
    xp = array_namespace(probabilities)
    total = 0
    for channel, keep in enumerate(trained):
        total = total + probabilities[channel] if keep else total
    total = xp.where(total > 0, total, 1)  # a pixel wholly given to untrained classes: all zeros, lowest code
    kept = probabilities / total
    for channel, keep in enumerate(trained):
        if not keep:
            kept[channel] = 0
    return kept


def argmax_classes(probabilities: Array, trained: tuple[bool, ...]) -> tuple[Array, Array]:
    """The most probable trained channel and its probability, each ``(y, x)``; ties go to the lowest channel.

    Returns
    -------
    channel
        uint8, index on the class axis.
    probability
        float32 in [0, 1].
    """
    xp = array_namespace(probabilities)
    first = trained.index(True)
    best = probabilities[first]
    channel = xp.full(best.shape, first, dtype=xp.uint8, device=device(probabilities))
    for candidate in range(first + 1, len(trained)):
        if trained[candidate]:
            # By maxima, not by `where`, in an eighth of the time: the last one that was better has the highest number.
            better = xp.astype(probabilities[candidate] > best, xp.uint8)
            best = xp.maximum(best, probabilities[candidate])
            channel = xp.maximum(channel, better * candidate)
    return channel, best
