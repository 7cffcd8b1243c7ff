"""A map beside another raster on that raster's own pixels: each is given the class that most of the map's pixels have.

::

    block of the other raster ─> its codes ───────────────────────────────────┐
                └─> ground ─> pixels of the map, each in the pixel that holds   ├─> pairs of classes
                              its centre ─> votes by class ─> the most frequent ┘
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from math import ceil

import numpy as np
from numpy.typing import NDArray

from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex, Blocks, Extent
from landweave.core.legend import NODATA, Legend
from landweave.core.protocols import BlockFunction, BlockResult, BlockState
from landweave.evaluating.counts import Codes, Counts, count_pairs
from landweave.evaluating.reference import RasterReference
from landweave.sources.resampling.pixel_coordinates import (
    AxisCoordinates,
    Frame,
    bounds_in,
    pixel_coordinates,
)
from landweave.store.maps.store import MapStore

MAP_PIXELS = 2048
"""Pixels of the map a side, about, that one block reads."""

MOST_ACROSS = 6000
"""Pixels of the map in one of the other raster, side by side: all are in memory at once, with the place of each."""

LEAST_SHARE = 0.5
"""Of a pixel of the other raster that the map has to cover with classes."""


@dataclass(frozen=True, kw_only=True)
class OwnGridJob:
    """Compares a map with a raster on the raster's pixels. Picklable.

    Attributes
    ----------
    key
        Name of the job on its workers.
    store
        The map.
    table
        uint8 ``(256,)``: the class that each class of the map becomes.
    legend
        Of the classes that are compared.
    reference
        The other raster, opened on ``grid``.
    grid
        Its own pixels, over all of it.
    """

    key: str
    store: MapStore
    table: Codes
    legend: Legend
    reference: RasterReference
    grid: Grid

    def open(self) -> BlockFunction:
        """The function that compares one block."""
        return self.count_block

    @cached_property
    def parts(self) -> Blocks | None:
        """Blocks of the other raster on the ground of the map; None where they share none."""
        if not self._shared.size:
            return None
        return Blocks.covering(self._shared, max(1, ceil(MAP_PIXELS / max(self.across, 1))))

    @property
    def across(self) -> float:
        """Pixels of the map, side by side, in one of the other raster."""
        mapped = self.store.grid
        x0, _, x1, _ = bounds_in(self.grid.with_extent(self._shared).bounds, self.grid.crs, mapped.crs)
        return (x1 - x0) / self._shared.x.size / float(mapped.resolution)

    @cached_property
    def _shared(self) -> Extent:
        mapped = self.store.grid.with_extent(self.store.mapped_extent)
        return self.grid.covering(bounds_in(mapped.bounds, mapped.crs, self.grid.crs)).intersect(self.grid.extent)

    def blocks(self) -> list[BlockIndex]:
        """All of them."""
        return [] if self.parts is None else list(self.parts)

    def count_block(self, index: BlockIndex) -> BlockResult:
        """Pairs of classes, in pixels of the other raster."""
        assert self.parts is not None
        block = self.grid.with_extent(self.parts[index].intersect(self.grid.extent))
        truth = self.reference.read(block)
        counts = Counts(pairs=count_pairs(truth, self.majority(block)))
        return BlockResult(state=BlockState.DONE, counts={"pixels": counts.pixels}, detail={"": counts})

    def majority(self, block: Grid) -> Codes:
        """The most frequent class of the map in each pixel of ``block``, the lowest code of those as frequent.

        A pixel that holds no centre of one of the map's has the class at its own centre. 255 where the map has classes
        on less than `LEAST_SHARE` of the pixel.
        """
        mapped = self.store.grid
        ground = mapped.covering(bounds_in(block.bounds, block.crs, mapped.crs)).grow(1)
        around = mapped.with_extent(ground)
        classes = self.table[self.store.read_beyond("landcover", ground)]
        places, size = _places(around, block), block.extent.size
        most, known = np.zeros(size, np.int64), np.zeros(size, np.int64)
        best = np.full(size, NODATA, np.uint8)
        for code in self.legend.codes:
            votes = np.bincount(places[(classes == code) & (places >= 0)], minlength=size)
            best[votes > most] = code
            most, known = np.maximum(most, votes), known + votes
        centres = np.bincount(places[places >= 0], minlength=size)
        best[known < LEAST_SHARE * centres] = NODATA
        if not centres.all():
            best = np.where(centres > 0, best, classes.ravel()[_places(block, around).ravel()])
        return best.reshape(block.shape)


def _places(mapped: Grid, block: Grid) -> NDArray[np.int64]:
    """For each pixel of a map, the pixel of ``block`` that holds its centre, counted along its rows; -1 for none."""
    height, width = block.shape
    extent = Extent.of((0, height), (0, width))
    frame = Frame(crs=block.crs, transform=block.transform, extent=extent, grid_extent=mapped.extent)
    found = pixel_coordinates(mapped, frame)
    if isinstance(found, AxisCoordinates):
        rows, columns = np.floor(found.y)[:, None], np.floor(found.x)[None, :]
    else:
        rows, columns = np.floor(found.rows(slice(0, mapped.shape[0])))
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    return np.where(inside, rows * width + columns, -1).astype(np.int64)
