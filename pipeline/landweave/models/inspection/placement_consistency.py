"""Placement consistency: how often the class of a pixel changes with the position of its window.

Two windows that overlap are compared on the pixels of both::

    +-----------+
    |     +-----+-----+     a pixel counts at its distance to the nearest edge of either window:
    |     |  o  |     |     this is the difference that a seam would show if windows met there
    +-----+-----+     |
          +-----------+
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

import numpy as np
from array_api_compat import to_device
from numpy.typing import NDArray

from landweave.core.blending import Array, Logits
from landweave.core.errors import InputError
from landweave.core.lattice import Extent, Lattice, Span
from landweave.core.protocols import InputBatch, Predictor

ACCEPTED = 0.01
"""Share of pixels whose class may depend on the position of their window."""

BINS = 16
"""Bins of distance from a window's edge to its middle."""

FEWEST_PIXELS = 200
"""Fewest pixels of a bin that counts."""

ReadWindow = Callable[[Extent], Mapping[str, InputBatch]]
"""Inputs of one window of base pixels, as a batch of one."""

Argmax = Callable[[Array], Array]


@dataclass(frozen=True, kw_only=True)
class PlacementConsistency:
    """Class disagreement between two placements of a window, by distance to its edge.

    Attributes
    ----------
    window, unit
        Base pixels a side, and the unit of overlaps.
    distances
        Base pixels from the nearest edge of either window, where each bin begins.
    pixels, differing
        Pixels compared in each bin, and those of them with two classes.
    """

    window: int
    unit: int
    distances: tuple[int, ...]
    pixels: tuple[int, ...]
    differing: tuple[int, ...]

    @property
    def disagreement(self) -> tuple[float, ...]:
        """Share of differing pixels in each bin, 0 to 1; NaN where none was compared."""
        pairs = zip(self.differing, self.pixels, strict=True)
        return tuple(differing / pixels if pixels else math.nan for differing, pixels in pairs)

    @property
    def overlap(self) -> int | None:
        """Smallest overlap of windows, in base pixels, with less than 1 % disagreement at seams; None without one.

        A seam of windows that overlap by ``o`` is ``o / 2`` from the edges of both.
        """
        bins = zip(self.distances, self.disagreement, self.pixels, strict=True)
        enough = [(distance, share) for distance, share, pixels in bins if pixels >= FEWEST_PIXELS]
        consistent = takewhile(lambda each: each[1] < ACCEPTED, reversed(enough))
        overlaps = [-(-2 * distance // self.unit) * self.unit for distance, _ in consistent]
        return overlaps[-1] if overlaps and overlaps[-1] < self.window else None

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The disagreement as lines of a table."""
        bins = zip(self.distances, self.disagreement, self.pixels, strict=True)
        shares = [(f"  from {start} px", f"{share:.2%} of {pixels:,} px") for start, share, pixels in bins if pixels]
        text = "none: blend, do not crop" if self.overlap is None else f"{self.overlap} px"
        return [("disagreement", "by distance to the edge"), *shares, (f"overlap under {ACCEPTED:.0%}", text)]


def compare_placements(
    predictor: Predictor,
    read: ReadWindow,
    extent: Extent,
    *,
    lattice: Lattice,
    argmax: Argmax,
    batch_size: int,
    pairs: int = 16,
) -> PlacementConsistency:
    """Return the class disagreement of ``pairs`` of overlapping windows.

    Windows lie at multiples of the lattice's unit inside ``extent``, drawn from a fixed seed; the two of a pair are an
    eighth to a half of a window apart on each axis, or as far as there is room. Pixels without a measurement are not
    compared.

    Parameters
    ----------
    predictor
        Called with batches of ``batch_size`` windows.
    read
        Gives the inputs of one window.
    extent
        Base pixels with imagery.
    lattice
        Gives the size of windows and their unit.
    argmax
        Gives the channel of each pixel ``(y, x)`` from the probabilities of a window ``(class, y, x)``.
    batch_size, pairs
        Windows in a call, and pairs of windows.

    Raises
    ------
    InputError
        When ``extent`` has no room for two placements.
    """
    window, unit = lattice.window, lattice.unit
    counts = np.zeros((2, BINS), np.int64)
    drawn = list(_draw_pairs(extent, window, unit, pairs))
    windows = [each for pair in drawn for each in pair]
    classes = _classes(argmax, predictor, read, windows, batch_size)
    for first, second in drawn:
        counts += _count((first, next(classes)), (second, next(classes)), window)
    starts = tuple(step * window // (2 * BINS) for step in range(BINS))
    pixels, differing = (tuple(int(each) for each in row) for row in counts)
    return PlacementConsistency(window=window, unit=unit, distances=starts, pixels=pixels, differing=differing)


def _draw_pairs(extent: Extent, window: int, unit: int, pairs: int) -> Iterator[tuple[Extent, Extent]]:
    """Yield windows two by two; no shift is zero on either axis."""
    draw = np.random.default_rng(0)
    shifts = [shift for shift in range(unit, window // 2 + 1, unit) if shift >= window // 8] or [unit]
    if not all(_starts(span, window + shifts[0], unit) for span in (extent.y, extent.x)):
        raise InputError(
            f"The imagery has {extent.shape[0]:,} x {extent.shape[1]:,} base pixels; two placements of a window of "
            f"{window} need {window + shifts[0]} each way: give more imagery."
        )
    for _ in range(pairs):
        spans = (extent.y, extent.x)
        axes = [_shifted(span, window, unit, [int(draw.choice(shifts)), shifts[0]], draw) for span in spans]
        for axis in axes:  # each diagonal as often as the other
            if draw.random() < 0.5:
                axis.reverse()
        (y0, y1), (x0, x1) = axes
        yield Extent(y0, x0), Extent(y1, x1)


def _starts(span: Span, size: int, unit: int) -> range:
    """Return the starts, multiples of ``unit``, of runs of ``size`` pixels inside ``span``."""
    return range(-(-span.start // unit) * unit, span.stop - size + 1, unit)


def _shifted(span: Span, window: int, unit: int, shifts: Sequence[int], draw: np.random.Generator) -> list[Span]:
    """Return a window and the same moved by the first of ``shifts`` that ``span`` has room for."""
    shift = next(each for each in shifts if _starts(span, window + each, unit))
    start = int(draw.choice(_starts(span, window + shift, unit)))
    return [Span(start, start + window), Span(start + shift, start + shift + window)]


def _classes(
    argmax: Argmax, predictor: Predictor, read: ReadWindow, windows: Sequence[Extent], batch_size: int
) -> Iterator[NDArray[np.int16]]:
    """Yield the channel of every pixel of each window ``(y, x)``; -1 where some input was not measured."""
    for start in range(0, len(windows), batch_size):
        inputs = [read(extent) for extent in windows[start : start + batch_size]]
        full = [*inputs, *[inputs[-1]] * (batch_size - len(inputs))]
        probabilities: Any = predictor.predict({name: _stacked([each[name] for each in full]) for name in full[0]})
        if isinstance(probabilities, Logits):
            probabilities = np.asarray(probabilities)
        for probability, each in zip(probabilities, inputs, strict=False):
            move: Any = to_device  # array-api-compat has no types
            classes = np.asarray(move(argmax(probability), "cpu")).astype(np.int16)
            yield np.where(_measured(each, classes.shape), classes, np.int16(-1))


def _stacked(parts: Sequence[InputBatch]) -> InputBatch:
    """Return one batch of several windows; the shorter series are padded with dates that are not real."""
    longest = max(part.values.shape[1] for part in parts)

    def stacked(name: str) -> Any:
        arrays = [getattr(part, name) for part in parts]
        if arrays[0] is None:
            return None
        if parts[0].days is not None:
            arrays = [
                np.pad(each, [(0, 0), (0, longest - each.shape[1]), *[(0, 0)] * (each.ndim - 2)]) for each in arrays
            ]
        return np.concatenate(arrays)

    return InputBatch(**{name: stacked(name) for name in ("values", "valid", "days", "present")})


def _measured(inputs: Mapping[str, InputBatch], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the output pixels that every single-date input covers."""
    measured = np.ones(shape, np.bool_)
    for each in inputs.values():
        factor = shape[-1] / each.valid.shape[-1]
        if each.days is None and factor == int(factor):
            measured &= each.valid[0].repeat(int(factor), 0).repeat(int(factor), 1)
    return measured


def _count(
    first: tuple[Extent, NDArray[np.int16]], second: tuple[Extent, NDArray[np.int16]], window: int
) -> NDArray[np.int64]:
    """Return the pixels of both windows, and those of them that differ, by bin of distance: int ``(2, BINS)``."""
    shared = first[0].intersect(second[0])
    slices = [shared.slices_in(extent) for extent, _ in (first, second)]
    one, other = first[1][slices[0]], second[1][slices[1]]
    ramp = np.minimum(np.arange(window), np.arange(window)[::-1])
    to_edge = np.minimum.outer(ramp, ramp)
    seen = (one >= 0) & (other >= 0)
    bins = np.minimum(to_edge[slices[0]], to_edge[slices[1]])[seen] * 2 * BINS // window
    differing = (one != other)[seen]
    return np.stack([np.bincount(each, minlength=BINS)[:BINS] for each in (bins, bins[differing])]).astype(np.int64)
