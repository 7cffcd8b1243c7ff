"""Pixels of each class, and their confidence, in zones: whole numbers, summed block by block in any order.

Each pixel counts in every zone that its centre is in. Neither the zones nor the classes become rasters: spans of the
zones along rows are cut by runs of the classes, and what is counted are the pieces.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex, Blocks, Extent, Span
from landweave.core.legend import NODATA
from landweave.core.scanlines import Edges, Integers, ranges

CODES = NODATA + 1
"""Codes that are counted, nodata among them."""

SUMS = ("pixels", "known", "confidence")
"""Fields of `ZoneCounts` that are summed."""

_PIECE, _ROWS = 2**20, 256
"""Pixels that are counted at once, 40 MB of them; and the fewest rows."""

_KNOWN = 1 << 32
_COUNTED = np.arange(CODES, dtype=np.uint64) + np.uint64(_KNOWN)
_COUNTED[NODATA] = 0
"""By stored confidence, what it adds to a sum: itself, and above 32 bits that it is known."""


@dataclass(frozen=True, kw_only=True)
class ZoneCounts:
    """Pixels and confidence by zone and code.

    Attributes
    ----------
    zones
        Those that were found, ascending.
    pixels
        int64 ``(zone, code)``, 255 = nodata.
    known
        Those of them whose confidence is known, int64 ``(zone, code)``.
    confidence
        Sum of their stored confidence, int64 ``(zone, code)``.
    """

    zones: Integers
    pixels: Integers
    known: Integers
    confidence: Integers

    @classmethod
    def none(cls, zones: Integers) -> ZoneCounts:
        """Nothing, in each of ``zones``."""
        return cls(zones=zones, **{name: np.zeros((zones.size, CODES), np.int64) for name in SUMS})

    def add(self, other: ZoneCounts) -> None:
        """Add the pixels of another part of the map, whose zones are among these."""
        places = np.searchsorted(self.zones, other.zones)
        for name in SUMS:
            getattr(self, name)[places] += getattr(other, name)


@dataclass(frozen=True)
class Zones:
    """Polygons in the CRS of a grid. Picklable.

    Attributes
    ----------
    polygons
        Polygons or multipolygons ``(zone,)``; None where a zone has none.
    """

    polygons: NDArray[Any]

    @cached_property
    def edges(self) -> Edges:
        """Their edges."""
        return Edges.of(self.polygons)

    @cached_property
    def bounds(self) -> NDArray[np.float64]:
        """``(zone, 4)`` of x0, y0, x1, y1; NaN where a zone has no polygon."""
        bounds: NDArray[np.float64] = shapely.bounds(self.polygons)
        return bounds

    def near(self, grid: Grid) -> Integers:
        """Zones whose bounds meet those of ``grid``, ascending."""
        x0, y0, x1, y1 = grid.bounds
        left, bottom, right, top = self.bounds.T
        return np.flatnonzero((left < x1) & (right > x0) & (bottom < y1) & (top > y0))

    def blocks(self, grid: Grid, blocks: Blocks) -> list[BlockIndex]:
        """Blocks that the bounds of a zone meet, of those over ``grid``."""
        parts = ((index, grid.with_extent(blocks[index].intersect(grid.extent))) for index in blocks)
        return [index for index, part in parts if self.near(part).size]

    def count(self, grid: Grid, classes: NDArray[np.uint8], confidence: NDArray[np.uint8] | None) -> ZoneCounts:
        """Pixels of a part of a map by zone and code.

        Parameters
        ----------
        grid
            Pixels of the part.
        classes
            uint8 ``(y, x)``, 255 = nodata.
        confidence
            As it is stored, uint8 ``(y, x)``, 255 where it is not known; None where the map has none.
        """
        counts = ZoneCounts.none(self.near(grid))
        edges = self.edges.of_owners(counts.zones)
        for rows in _bands(grid.extent):
            part = Extent(rows, grid.extent.x)
            here = part.slices_in(grid.extent)
            known = None if confidence is None else confidence[here]
            _count(edges, grid.with_extent(part), classes[here], known, into=counts)
        return counts

    def sizes(self, grid: Grid) -> Integers:
        """Pixels of each zone, if those of ``grid`` went on: int64 ``(zone,)``; of one that it does not meet, about."""
        areas_m2 = np.nan_to_num(shapely.area(self.polygons))
        sizes: Integers = np.round(areas_m2 / float(grid.pixel_m2)).astype(np.int64)
        near, (left, bottom, right, top), (x0, y0, x1, y1) = self.near(grid), self.bounds.T, grid.bounds
        sizes[near] = 0
        for rows in _bands(grid.extent):
            part = grid.with_extent(Extent(rows, grid.extent.x))
            owner, _, start, stop = self.edges.of_owners(self.near(part)).spans(part.x, part.y)
            np.add.at(sizes, owner, stop - start)
        for zone in near[((left < x0) | (right > x1) | (bottom < y0) | (top > y1))[near]]:
            edges, extent = self.edges.of_owners(np.array([zone])), grid.covering(self.bounds[zone].tolist())
            for rows in _bands(extent):
                sizes[zone] += _beyond(edges, grid.with_extent(Extent(rows, extent.x)), grid.extent)
        return sizes


def _bands(extent: Extent) -> Iterator[Span]:
    rows = max(_ROWS, _PIECE // max(1, extent.x.size))
    for top in range(extent.y.start, extent.y.stop, rows):
        yield Span(top, min(top + rows, extent.y.stop))


def _count(
    edges: Edges, grid: Grid, classes: NDArray[np.uint8], confidence: NDArray[np.uint8] | None, *, into: ZoneCounts
) -> None:
    """Add the pixels of a piece."""
    owner, row, start, stop = edges.spans(grid.x, grid.y)
    width = classes.shape[1]
    flat, begins = classes.ravel(), row * width + start
    ends = begins + stop - start
    runs = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    first = np.searchsorted(runs, begins, side="right") - 1
    counts = np.searchsorted(runs, ends, side="left") - first
    run, span = ranges(first, counts), np.repeat(np.arange(owner.size), counts)
    left = np.maximum(runs[run], begins[span])
    right = np.minimum(np.append(runs, flat.size)[run + 1], ends[span])
    cells = np.searchsorted(into.zones, owner)[span] * CODES + flat[left]
    _add(into.pixels, cells, right - left)
    if confidence is not None:
        before = np.zeros(flat.size + 1, np.uint64)
        np.cumsum(_COUNTED[confidence.ravel()], out=before[1:])
        known, total = np.divmod(before[right] - before[left], np.uint64(_KNOWN))
        _add(into.known, cells, known)
        _add(into.confidence, cells, total)


def _add(sums: Integers, cells: Integers, values: NDArray[Any]) -> None:
    # float64 is exact up to 2**53.
    total = np.bincount(cells, weights=values, minlength=sums.size)
    sums += total.astype(np.int64).reshape(sums.shape)


def _beyond(edges: Edges, grid: Grid, extent: Extent) -> int:
    """Pixels of ``grid`` inside the polygon and outside ``extent``."""
    _, row, start, stop = edges.spans(grid.x, grid.y)
    row, (start, stop) = row + grid.extent.y.start, (each + grid.extent.x.start for each in (start, stop))
    inside = np.minimum(stop, extent.x.stop) - np.maximum(start, extent.x.start)
    inside = np.where((row >= extent.y.start) & (row < extent.y.stop), inside, 0).clip(min=0)
    return int((stop - start - inside).sum())
