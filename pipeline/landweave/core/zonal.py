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
from landweave.core.lattice import Extent, Span
from landweave.core.legend import NODATA
from landweave.core.scanlines import Edges, Integers, ranges

CODES = NODATA + 1
"""Codes that are counted, nodata among them."""

_PIECE = 2**22
"""Pixels that are counted at once: 60 MB."""


@dataclass(frozen=True, kw_only=True)
class ZoneCounts:
    """Pixels and confidence by zone and code.

    Attributes
    ----------
    zones
        Those that were found, ascending.
    pixels
        int64 ``(zone, code)``, 255 = nodata.
    confidence
        Sums of stored confidence, int64 ``(zone, code)``.
    """

    zones: Integers
    pixels: Integers
    confidence: Integers


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
        return shapely.bounds(self.polygons)

    def near(self, grid: Grid) -> Integers:
        """Zones whose bounds meet those of ``grid``, ascending."""
        x0, y0, x1, y1 = grid.bounds
        left, bottom, right, top = self.bounds.T
        return np.flatnonzero((left < x1) & (right > x0) & (bottom < y1) & (top > y0))

    def count(self, grid: Grid, classes: NDArray[np.uint8], confidence: NDArray[np.uint8] | None) -> ZoneCounts:
        """Pixels of a part of a map by zone and code.

        Parameters
        ----------
        grid
            Pixels of the part.
        classes
            uint8 ``(y, x)``, 255 = nodata.
        confidence
            As it is stored, uint8 ``(y, x)``; None where the map has none.
        """
        zones = self.near(grid)
        pixels, sums = (np.zeros((zones.size, CODES), np.int64) for _ in range(2))
        edges = self.edges.of_owners(zones)
        for rows in _bands(grid.extent):
            part = Extent(rows, grid.extent.x)
            here = part.slices_in(grid.extent)
            known = None if confidence is None else confidence[here]
            _count(edges, grid.with_extent(part), classes[here], known, (zones, pixels, sums))
        return ZoneCounts(zones=zones, pixels=pixels, confidence=sums)

    def sizes_beyond(self, grid: Grid) -> Integers:
        """Pixels of each zone outside ``grid``, if its pixels went on: int64 ``(zone,)``."""
        sizes = np.zeros(self.polygons.size, np.int64)
        x0, y0, x1, y1 = grid.bounds
        left, bottom, right, top = self.bounds.T
        for zone in np.flatnonzero((left < x0) | (right > x1) | (bottom < y0) | (top > y1)):
            edges, extent = self.edges.of_owners(np.array([zone])), grid.covering(self.bounds[zone].tolist())
            for rows in _bands(extent):
                sizes[zone] += _beyond(edges, grid.with_extent(Extent(rows, extent.x)), grid.extent)
        return sizes


def _bands(extent: Extent) -> Iterator[Span]:
    rows = max(1, _PIECE // max(1, extent.x.size))
    for top in range(extent.y.start, extent.y.stop, rows):
        yield Span(top, min(top + rows, extent.y.stop))


def _count(
    edges: Edges,
    grid: Grid,
    classes: NDArray[np.uint8],
    confidence: NDArray[np.uint8] | None,
    into: tuple[Integers, Integers, Integers],
) -> None:
    """Add the pixels of a piece to ``into``: zones, their pixels, and their confidence."""
    owner, row, start, stop = edges.spans(grid.x, grid.y)
    if not owner.size:
        return
    zones, pixels, sums = into
    width = classes.shape[1]
    flat, begins = classes.ravel(), row * width + start
    ends = begins + stop - start
    runs = np.flatnonzero(np.concatenate([[True], flat[1:] != flat[:-1]]))
    first = np.searchsorted(runs, begins, side="right") - 1
    counts = np.searchsorted(runs, ends, side="left") - first
    run, span = ranges(first, counts), np.repeat(np.arange(owner.size), counts)
    left = np.maximum(runs[run], begins[span])
    right = np.minimum(np.append(runs, flat.size)[run + 1], ends[span])
    cell = np.searchsorted(zones, owner)[span] * CODES + flat[left]
    pixels += _sums(cell, right - left, pixels.shape)
    if confidence is not None:
        before = np.zeros(flat.size + 1, np.uint32)  # a difference of two is right although they overflow
        np.cumsum(confidence.ravel().astype(np.uint32), out=before[1:])
        sums += _sums(cell, before[right] - before[left], sums.shape)


def _sums(cells: Integers, values: NDArray[Any], shape: tuple[int, ...]) -> Integers:
    # float64 is exact up to 2**53.
    total = np.bincount(cells, weights=values, minlength=shape[0] * shape[1])
    return total.astype(np.int64).reshape(shape)


def _beyond(edges: Edges, grid: Grid, extent: Extent) -> int:
    """Pixels of ``grid`` inside the polygon and outside ``extent``."""
    _, row, start, stop = edges.spans(grid.x, grid.y)
    row, (start, stop) = row + grid.extent.y.start, (each + grid.extent.x.start for each in (start, stop))
    inside = np.minimum(stop, extent.x.stop) - np.maximum(start, extent.x.start)
    inside = np.where((row >= extent.y.start) & (row < extent.y.stop), inside, 0).clip(min=0)
    return int((stop - start - inside).sum())
