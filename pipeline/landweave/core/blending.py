"""Weighted blending of the probabilities of overlapping windows, and the argmax that gives classes.

A pixel with probabilities ``p_i`` and weights ``w_i`` from its windows gets ``sum(w_i * p_i) / sum(w_i)``. The weight
is the product of a profile along y and the same profile along x.

The functions work on arrays of any library of the Python array API (numpy, or torch tensors of a device). They only
add, multiply and divide float32, pixel by pixel and window by window in lattice order, so the bits of a pixel do not
depend on the block in which it is computed.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cache, cached_property
from itertools import pairwise
from typing import Any

import numpy as np
from array_api_compat import array_namespace, device
from numpy.typing import NDArray

from landweave.core.errors import ConfigError
from landweave.core.lattice import Extent, Lattice, Span

Array = Any
"""An array of any array-API library; shape, dims and dtype are documented where it is used."""


class Blend(StrEnum):
    """Weight profiles of a window, from its edges to its centre: see `profile`."""

    CROP = "crop"
    LINEAR = "linear"
    COSINE = "cosine"
    GAUSSIAN = "gaussian"


GAUSSIAN_SIGMA = 1 / 8
"""Standard deviation of the gaussian profile, in windows."""


def profile(blend: Blend, window: int, overlap: int) -> NDArray[np.float32]:
    """Weights along one axis of a window, float32 in [0, 1], shape ``(window,)``.

    Profiles that start every ``window - overlap`` pixels have a positive sum everywhere.

    Parameters
    ----------
    blend
        ``crop`` is 1 in the middle ``window - overlap`` pixels and 0 elsewhere, ``linear`` and ``cosine``
        (``sin(pi / 2 * ramp) ** 2``, a Hann ramp) rise over the overlap, ``gaussian`` is a normal density whose
        standard deviation is `GAUSSIAN_SIGMA` windows.
    window, overlap
        In pixels.
    """
    position = np.arange(window, dtype=np.float64)
    if blend is Blend.CROP:
        margin = overlap // 2
        return ((position >= margin) & (position < margin + window - overlap)).astype(np.float32)
    if blend is Blend.GAUSSIAN:
        offset = (position + 0.5 - window / 2) / (window * GAUSSIAN_SIGMA)
        return np.exp(-(offset**2) / 2).astype(np.float32)
    ramp = np.clip((np.minimum(position, window - 1 - position) + 0.5) / max(overlap, 1), 0, 1)
    if blend is Blend.COSINE:
        ramp = np.sin(ramp * np.pi / 2) ** 2
    return ramp.astype(np.float32) if overlap else np.ones(window, np.float32)


@dataclass(frozen=True)
class Blending:
    """A weight profile applied to every window of a lattice.

    Attributes
    ----------
    lattice
        Starts and size of the windows.
    blend
        Profile of the weights.

    Raises
    ------
    ConfigError
        When the summed weight of some pixel is 0.
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
        """Pixels of a window with a positive weight; windows that meet a block only outside it are not computed."""
        positive = np.flatnonzero(self.weights)
        return Span(int(positive[0]), int(positive[-1]) + 1)

    @cached_property
    def _period(self) -> NDArray[np.float32]:
        # The summed weights repeat with the stride: one table serves every block.
        sums = np.zeros(self.lattice.stride, np.float64)
        np.add.at(sums, np.arange(self.lattice.window) % self.lattice.stride, self.weights.astype(np.float64))
        return sums.astype(np.float32)

    def summed(self, span: Span) -> NDArray[np.float32]:
        """Summed weights of all windows at each pixel of ``span``, positive, shape ``(span.size,)``."""
        return self._period[np.arange(span.start, span.stop) % self.lattice.stride]


@dataclass(frozen=True)
class Logits:
    """Logits of windows in this machine's memory: softmax, weight and sum are taken in one visit when they are added.

    As an array (``np.asarray``) they are the probabilities.

    Attributes
    ----------
    values
        float32 ``(n, class, y, x)``, or ``(class, y, x)`` of one window; of any layout in memory.
    threads
        That add a window together, a part of its rows each: the cores of a network wait while its logits are added.
    """

    values: NDArray[np.float32]
    threads: int = 1

    def __getitem__(self, window: int) -> Logits:
        return replace(self, values=self.values[window])

    def __len__(self) -> int:
        return len(self.values)

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the values, and of the probabilities."""
        return self.values.shape

    def add_to(
        self,
        sums: NDArray[np.float32],
        weights: NDArray[np.float32],
        *,
        inside: tuple[slice, slice],
        corner: tuple[int, int],
    ) -> None:
        """Add the weighted probabilities of a part of one window.

        Parameters
        ----------
        sums
            float32 ``(class, y, x)``, contiguous.
        weights
            Along one axis of the window.
        inside
            The part of the window.
        corner
            Where it begins in ``sums``.
        """
        from landweave.core.compiled import add_softmax  # a plan needs no compiler

        (down, across), (top, left) = inside, corner
        first, stop, _ = down.indices(self.shape[-2])

        def add(rows: slice) -> None:
            part = self.values[:, rows, across]
            add_softmax(part, weights[rows], weights[across], sums, top + rows.start - first, left)

        edges = [first + (stop - first) * number // self.threads for number in range(self.threads + 1)]
        own, *others = (slice(*pair) for pair in pairwise(edges))
        given = [_blending_threads(len(others)).submit(add, rows) for rows in others]
        add(own)
        for each in given:
            each.result()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[np.float32]:
        probabilities = np.zeros(self.shape, np.float32)
        height, width = self.shape[-2:]
        whole, ones = (slice(height), slice(width)), np.ones(max(height, width), np.float32)
        pairs = [(self, probabilities)]
        if self.values.ndim == 4:
            pairs = [(self[number], target) for number, target in enumerate(probabilities)]
        for window, target in pairs:
            window.add_to(target, ones, inside=whole, corner=(0, 0))
        return probabilities if dtype is None else probabilities.astype(dtype)


@cache
def _blending_threads(count: int) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(count, thread_name_prefix="landweave-blend")


PART_PIXELS = 2**16
"""Pixels that are divided and classified together on a CPU: those of all classes fit into a core's cache."""

DEVICE_PART_PIXELS = 2**20
"""The same on a GPU, where each of some hundred operations is a kernel launch: fewer, larger parts."""


class RowAccumulator:
    """Weighted sums of class probabilities over the rows of a block that later windows still overlap.

    Windows are added in lattice order; `finish` yields the rows that are complete and reuses their memory, so that a
    block of 8192 pixels takes the memory of one row of windows (0.6 GB), not of the whole block (5.7 GB).

    Parameters
    ----------
    blending
        Lattice and profile.
    extent
        The block, in base pixels.
    cell
        Base pixels a side of an output pixel: rows are finished in multiples of it.
    """

    def __init__(self, blending: Blending, extent: Extent, cell: int = 1) -> None:
        self._blending = blending
        self._extent = extent
        self._cell = cell
        self._sums: Array | None = None
        self._weights: Array | None = None
        self._top = extent.y.start

    def add(self, window: Extent, probabilities: Array | Logits) -> None:
        """Add the weighted probabilities of one window.

        Parameters
        ----------
        window
            In base pixels.
        probabilities
            float32 ``(class, y, x)`` over the whole window, or its logits.
        """
        if self._sums is None:
            self._allocate(probabilities.values if isinstance(probabilities, Logits) else probabilities)
        summed = Extent(Span(self._top, self._top + self._rows), self._extent.x)
        part = window.intersect(summed)
        inside, (rows, columns) = part.slices_in(window), part.slices_in(summed)
        if isinstance(probabilities, Logits):
            corner = (rows.start, columns.start)
            probabilities.add_to(self._sums, self._blending.weights, inside=inside, corner=corner)  # type: ignore[arg-type]
            return
        # Two roundings, never a fused multiply-add: its use would depend on where a vector of pixels ends.
        weights, sums = self._weights[inside], self._sums  # type: ignore[index]
        count = 1 if _is_host(probabilities) else probabilities.shape[0]  # one class at a time fits a core's cache
        for first in range(0, probabilities.shape[0], count):
            classes = sums[first : first + count, rows, columns]  # type: ignore[index]
            classes += probabilities[first : first + count, inside[0], inside[1]] * weights

    def finish(self, stop: int) -> Iterator[tuple[Span, Array]]:
        """Blended probabilities of the rows before ``stop`` (counted from the anchor) that were not yielded before.

        Rows before the first window are never yielded. The sums of yielded rows are discarded.

        Yields
        ------
        rows
            A multiple of ``cell`` rows, at most about `PART_PIXELS` pixels.
        probabilities
            float32 ``(class, y, x)`` of these rows over the width of the block.
        """
        if self._sums is None:
            self._top = stop
            return
        whole_cells = self._rows // self._cell * self._cell
        while self._top < stop:  # where rows of windows are skipped, ``stop`` is far below the rows in memory
            rows = Span(self._top, min(self._top + whole_cells, stop))
            for part in self._parts(rows):
                yield part, self._sums[:, part.slice_in(rows), :] / self._summed_weights(part)
            self._advance(self._sums, rows.size)

    def _parts(self, rows: Span) -> Iterator[Span]:
        pixels = PART_PIXELS if _is_host(self._sums) else DEVICE_PART_PIXELS
        size = max(1, pixels // self._extent.x.size // self._cell) * self._cell
        return (Span(top, min(top + size, rows.stop)) for top in range(rows.start, rows.stop, size))

    def _summed_weights(self, rows: Span) -> Array:
        xp, where = array_namespace(self._sums), device(self._sums)
        down = xp.asarray(self._blending.summed(rows), device=where)
        across = xp.asarray(self._blending.summed(self._extent.x), device=where)
        return down[:, None] * across[None, :]

    @property
    def _rows(self) -> int:
        return int(self._sums.shape[1]) if self._sums is not None else 0

    def _allocate(self, like: Array) -> None:
        xp = array_namespace(like)
        # Up to ``cell - 1`` rows of a cell that is not complete yet stay above the rows of a window.
        rows = min(self._blending.lattice.window + self._cell - 1, self._extent.y.stop - self._top)
        shape = (like.shape[0], rows, self._extent.x.size)
        self._sums = xp.zeros(shape, dtype=xp.float32, device=device(like))
        weights = self._blending.weights
        self._weights = xp.asarray(np.outer(weights, weights), device=device(like))

    def _advance(self, sums: Array, rows: int) -> None:
        remaining = self._rows - rows
        for start in range(0, remaining, max(rows, 1)):  # in pieces whose source and target do not overlap
            stop = min(start + rows, remaining)
            sums[:, start:stop] = sums[:, start + rows : stop + rows]
        sums[:, remaining:] = 0
        self._top += rows


def _is_host(array: Array) -> bool:
    return str(device(array)) == "cpu"


def coarsen(probabilities: Array, factor: int) -> Array:
    """Means over cells of ``factor`` x ``factor`` pixels.

    Parameters
    ----------
    probabilities
        float32 ``(class, y, x)``; y and x are multiples of ``factor``.
    factor
        Pixels a side of a cell.

    Returns
    -------
    array
        float32 ``(class, y / factor, x / factor)``.
    """
    if factor == 1:
        return probabilities
    classes, height, width = probabilities.shape
    cells = array_namespace(probabilities).reshape(
        probabilities, (classes, height // factor, factor, width // factor, factor)
    )
    total = cells[:, :, 0, :, 0]
    for pixel in range(1, factor * factor):  # in a fixed order: a library's own mean may sum in any
        total = total + cells[:, :, pixel // factor, :, pixel % factor]
    return total / (factor * factor)


def drop_untrained(probabilities: Array, trained: tuple[bool, ...]) -> Array:
    """Probabilities of the trained classes, renormalised to sum to one; those of the others become 0.

    Parameters
    ----------
    probabilities
        float32 ``(class, y, x)``.
    trained
        For each class, whether the model was trained on it.

    Returns
    -------
    array
        float32 ``(class, y, x)``; all 0 where only untrained classes have a probability.
    """
    if all(trained):
        return probabilities
    total = sum(probabilities[channel] for channel, is_trained in enumerate(trained) if is_trained)
    xp = array_namespace(probabilities)
    divisor, renormalised = xp.where(total > 0, total, 1), xp.zeros_like(probabilities)
    for channel, is_trained in enumerate(trained):
        if is_trained:  # another may be more than float32 holds times the total
            renormalised[channel] = probabilities[channel] / divisor
    return renormalised


def argmax_classes(
    probabilities: Array, trained: tuple[bool, ...], threshold: float | None = None
) -> tuple[Array, Array]:
    """The most probable trained class of each pixel and its probability; ties go to the lowest index.

    Parameters
    ----------
    probabilities
        float32 ``(class, y, x)``.
    trained
        For each class, whether the model was trained on it.
    threshold
        Of two classes, the probability from which a pixel is of the second, however probable the first is.

    Returns
    -------
    channel
        uint8 ``(y, x)``, index on the class axis.
    probability
        float32 ``(y, x)`` in [0, 1].
    """
    xp = array_namespace(probabilities)
    if threshold is not None:
        second = probabilities[1] >= threshold
        return xp.astype(second, xp.uint8), xp.where(second, probabilities[1], probabilities[0])
    first = trained.index(True)
    best = probabilities[first]
    channel = xp.full(best.shape, first, dtype=xp.uint8, device=device(probabilities))
    for candidate in range(first + 1, len(trained)):
        if trained[candidate]:
            # By maxima, not by `where`, in an eighth of the time: the last class that is better has the highest index.
            better = xp.astype(probabilities[candidate] > best, xp.uint8)
            best = xp.maximum(best, probabilities[candidate])
            channel = xp.maximum(channel, better * candidate)
    return channel, best
