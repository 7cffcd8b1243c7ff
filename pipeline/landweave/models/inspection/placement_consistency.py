"""How much the place of a window argmax_classess what it answers: two windows over the same ground, compared.

::

    +-----------+
    |     +-----+-----+     a pixel of both counts at its distance to the nearest edge of either:
    |     |  o  |     |     it is what a seam would show if windows met there
    +-----+-----+     |
          +-----------+
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import to_device
from numpy.typing import NDArray

from landweave.core.blending import argmax_classes, drop_untrained
from landweave.core.errors import InputError
from landweave.core.lattice import Extent, Lattice, Span
from landweave.core.legend import Legend
from landweave.core.protocols import InputBatch, Predictor

ACCEPTED = 0.01
"""Share of pixels whose class may depend on where their window lies."""

BINS = 16
"""Steps of distance from a window's edge to its middle."""

FEWEST_PIXELS = 200
"""Pixels below which a distance is not judged."""

ReadWindow = Callable[[Extent], Mapping[str, InputBatch]]
"""Inputs of one window of base pixels, as a batch of one."""


@dataclass(frozen=True, kw_only=True)
class PlacementConsistency:
    """Class disagreement between two placements of a window, by distance to its edge.

    Attributes
    ----------
    window, unit
        Base pixels a side, and what overlaps are multiples of.
    distances
        Base pixels from the nearest edge of either window, where each step begins.
    pixels, differing
        Pixels compared in each step, and those of them that got two classes.
    """

    window: int
    unit: int
    distances: tuple[int, ...]
    pixels: tuple[int, ...]
    differing: tuple[int, ...]

    @property
    def disagreement(self) -> tuple[float, ...]:
        """Share of differing pixels in each step, 0 to 1; NaN where none was compared."""
        pairs = zip(self.differing, self.pixels, strict=True)
        return tuple(differing / pixels if pixels else math.nan for differing, pixels in pairs)

    @property
    def overlap(self) -> int | None:
        """Smallest overlap of windows, in base pixels, whose seams show less than 1 % of it; None where none does.

        A seam of windows that overlap by ``o`` lies ``o / 2`` from the edges of both.
        """
        judged = [
            (distance, share < ACCEPTED)
            for distance, share, pixels in zip(self.distances, self.disagreement, self.pixels, strict=True)
            if pixels >= FEWEST_PIXELS
        ]
        good: int | None = None
        for distance, accepted in reversed(judged):
            if not accepted:
                break
            good = -(-2 * distance // self.unit) * self.unit
        return good if good is not None and good < self.window else None

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The findings as lines of a table."""
        steps = zip(self.distances, self.disagreement, self.pixels, strict=True)
        shares = [(f"  from {start} px", f"{share:.2%} of {pixels:,} px") for start, share, pixels in steps if pixels]
        overlap = self.overlap
        told = "none: blend, do not crop" if overlap is None else f"{overlap} px"
        return [("disagreement", "by distance to the edge"), *shares, (f"overlap under {ACCEPTED:.0%}", told)]


def compare_placements(
    predictor: Predictor,
    read: ReadWindow,
    extent: Extent,
    *,
    lattice: Lattice,
    legend: Legend,
    batch_size: int,
    pairs: int = 16,
) -> PlacementConsistency:
    """What ``pairs`` of overlapping windows make of the ground that they share.

    Windows have the size of those of ``lattice`` and lie at multiples of its unit inside ``extent``, drawn from a
    fixed seed; the two of a pair are an eighth to a half of a window apart on each axis, or as far as there is room.
    Pixels without a measurement are not compared.

    Raises
    ------
    InputError
        When ``extent`` has no room for two placements.
    """
    window, unit = lattice.window, lattice.unit
    counts = np.zeros((2, BINS), np.int64)
    placed = list(_pairs(extent, window, unit, pairs))
    classes = _classes(predictor, read, [each for pair in placed for each in pair], legend, batch_size)
    for first, second in placed:
        one, other = next(classes), next(classes)
        counts += _compared((first, one), (second, other), window)
    starts = tuple(step * window // (2 * BINS) for step in range(BINS))
    pixels, differing = (tuple(int(each) for each in row) for row in counts)
    return PlacementConsistency(window=window, unit=unit, distances=starts, pixels=pixels, differing=differing)


def _pairs(extent: Extent, window: int, unit: int, pairs: int) -> Iterator[tuple[Extent, Extent]]:
    """Windows two by two; no shift is zero on either axis."""
    draw = np.random.default_rng(0)
    shifts = [step for step in range(unit, window // 2 + 1, unit) if step >= window // 8] or [unit]
    rooms = [_places(span, window + shifts[0], unit) for span in (extent.y, extent.x)]
    if not all(len(room) for room in rooms):
        raise InputError(
            f"The imagery has {extent.shape[0]:,} x {extent.shape[1]:,} base pixels; two placements of a window of "
            f"{window} need {window + shifts[0]} each way: give more imagery."
        )
    for _ in range(pairs):
        spans = [_shifted(span, window, unit, [int(draw.choice(shifts)), shifts[0]], draw) for span in _axes(extent)]
        for axis in spans:  # each diagonal as often as the other
            if draw.random() < 0.5:
                axis.reverse()
        (y0, y1), (x0, x1) = spans
        yield Extent(y0, x0), Extent(y1, x1)


def _axes(extent: Extent) -> tuple[Span, Span]:
    return extent.y, extent.x


def _places(span: Span, size: int, unit: int) -> range:
    """Starts, multiples of ``unit``, of runs of ``size`` pixels inside ``span``."""
    return range(-(-span.start // unit) * unit, span.stop - size + 1, unit)


def _shifted(span: Span, window: int, unit: int, shifts: Sequence[int], draw: np.random.Generator) -> list[Span]:
    """A window and the same moved by the first of ``shifts`` that ``span`` has room for."""
    shift = next(each for each in shifts if len(_places(span, window + each, unit)))
    start = int(draw.choice(_places(span, window + shift, unit)))
    return [Span(start, start + window), Span(start + shift, start + shift + window)]


def _classes(
    predictor: Predictor, read: ReadWindow, windows: Sequence[Extent], legend: Legend, batch_size: int
) -> Iterator[NDArray[np.int16]]:
    """Channel of every pixel of each window ``(y, x)``; -1 where some input was not measured."""
    for start in range(0, len(windows), batch_size):
        group = [read(window) for window in windows[start : start + batch_size]]
        full = [*group, *[group[-1]] * (batch_size - len(group))]
        probabilities: Any = predictor.predict({name: _joined([each[name] for each in full]) for name in full[0]})
        for place, inputs in enumerate(group):
            channel, _ = argmax_classes(drop_untrained(probabilities[place], legend.trained), legend.trained)
            move: Any = to_device  # array-api-compat has no types
            answer = np.asarray(move(channel, "cpu")).astype(np.int16)
            yield np.where(_measured(inputs, answer.shape), answer, np.int16(-1))


def _joined(parts: Sequence[InputBatch]) -> InputBatch:
    """One batch of several windows; the shorter series are padded with dates that are not real."""
    longest = max(part.values.shape[1] for part in parts)

    def joined(name: str) -> Any:
        values = [getattr(part, name) for part in parts]
        if values[0] is None:
            return None
        if parts[0].days is None:
            return np.concatenate(values)
        return np.concatenate([_lengthened(value, longest) for value in values])

    return InputBatch(**{name: joined(name) for name in ("values", "valid", "days", "present")})


def _lengthened(values: NDArray[Any], length: int) -> NDArray[Any]:
    """``values (n, time, …)`` with zeros behind, up to ``length`` dates."""
    padding = [(0, 0), (0, length - values.shape[1]), *[(0, 0)] * (values.ndim - 2)]
    return np.pad(values, padding)


def _measured(inputs: Mapping[str, InputBatch], shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Pixels of the answer that every single-date input covers."""
    measured = np.ones(shape, np.bool_)
    for each in inputs.values():
        factor = shape[-1] / each.valid.shape[-1]
        if each.days is None and factor == int(factor):
            measured &= each.valid[0].repeat(int(factor), 0).repeat(int(factor), 1)
    return measured


def _compared(
    first: tuple[Extent, NDArray[np.int16]], second: tuple[Extent, NDArray[np.int16]], window: int
) -> NDArray[np.int64]:
    """Pixels of both windows, and those of them that differ, by step of distance: int ``(2, BINS)``."""
    shared = first[0].intersect(second[0])
    one, other = (classes[shared.slices_in(extent)] for extent, classes in (first, second))
    distance = np.minimum(*(_to_edge(extent, window)[shared.slices_in(extent)] for extent, _ in (first, second)))
    seen = (one >= 0) & (other >= 0)
    step = distance[seen] * 2 * BINS // window
    differing = (one != other)[seen]
    return np.stack([np.bincount(each, minlength=BINS)[:BINS] for each in (step, step[differing])]).astype(np.int64)


def _to_edge(extent: Extent, window: int) -> NDArray[np.int64]:
    """Pixels between each pixel of a window and its nearest edge, ``(y, x)``."""
    ramp = np.minimum(np.arange(window), np.arange(window)[::-1])
    return np.minimum.outer(ramp, ramp)[: extent.shape[0], : extent.shape[1]]
