"""Overviews of a map: each level is a block job of its own, read from a level below and run by any engine."""

from __future__ import annotations

import time
from dataclasses import dataclass

import numpy as np
import zarr
from numpy.typing import NDArray

from landweave.core import pyramid
from landweave.core.lattice import BlockIndex, Blocks, Extent
from landweave.core.legend import NODATA
from landweave.core.protocols import BlockFunction, BlockResult, BlockState
from landweave.store.maps.layout import declare_level
from landweave.store.maps.store import MapStore
from landweave.store.objects import REMOTE_ERRORS, unwritable
from landweave.store.zarr_store import zarr_store

RULES = {"landcover": pyramid.mode, "confidence": pyramid.average, "date_fallback": pyramid.mode}


@dataclass(frozen=True, kw_only=True)
class OverviewJob:
    """Fills one level: `landweave.core.protocols.BlockJob`. Its blocks may run at once, its levels one after the other.

    Attributes
    ----------
    store
        The map at the level to fill.
    """

    store: MapStore

    @property
    def key(self) -> str:
        """Names the job on its workers."""
        return f"overview {self.store.level} of {self.store.target}"

    @property
    def torch_threads(self) -> int | None:
        """None: no model runs."""
        return None

    @property
    def blocks(self) -> list[BlockIndex]:
        """Every block of the level."""
        down, across = self.store.block_shape
        return [(row, column) for row in range(down) for column in range(across)]

    def open(self) -> BlockFunction:
        """The function that makes one block."""
        return self._run

    def _run(self, index: BlockIndex) -> BlockResult:
        started = time.perf_counter()
        arrays = {name: self._coarse(name, self.store.block(index)) for name in self.store.arrays}
        written = self.store.write(index, arrays)
        return BlockResult(state=BlockState.DONE, objects=written, seconds={"total": time.perf_counter() - started})

    def _coarse(self, array: str, extent: Extent) -> NDArray[np.uint8]:
        """One block of one array, made a chunk at a time: a block may stand for 64 blocks below."""
        level, factor = pyramid.base_of(self.store.level)
        below = self.store.at_level(level)
        top, left = below.grid.extent.y.start, below.grid.extent.x.start
        result = np.full(extent.shape, NODATA, dtype=np.uint8)
        tiles = Blocks.covering(extent, self.store.template.chunk)
        for tile in (tiles[index].intersect(extent) for index in tiles):
            # An overview counts from the map's corner, the map itself from its anchor.
            fine = tile.refine(factor)
            moved = Extent(fine.y.grow(-top, top), fine.x.grow(-left, left))
            values = below.read(array, moved.intersect(below.grid.extent))
            if (values != NODATA).any():  # beyond an area there is much of nothing
                result[tile.slices_in(extent)] = RULES[array](values, factor)
        return result


def overviews_complete(store: MapStore) -> bool:
    """Whether the overviews are those of the map as it is."""
    group = zarr.open_group(zarr_store(store.target, read_only=True), path="map", mode="r", use_consolidated=False)
    return bool(group.attrs.get("overviews_complete", False))


def mark_overviews(store: MapStore, *, complete: bool) -> None:
    """Note whether the overviews are those of the map as it is.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    try:
        group = zarr.open_group(zarr_store(store.target), path="map", mode="r+", use_consolidated=False)
        group.attrs["overviews_complete"] = complete
    except REMOTE_ERRORS as error:
        raise unwritable(store.target, "write metadata", error) from error


def create_overviews(store: MapStore) -> tuple[OverviewJob, ...]:
    """Declare the levels above a map until one chunk holds all of it; jobs that fill them, finest level first.

    Raises
    ------
    OutputError
        When the levels cannot be declared.
    """
    levels = range(1, pyramid.depth(store.grid.shape, store.template.chunk) + 1)
    for level in levels:
        declare_level(zarr_store(store.target), store.template, level, store.at_level(level).grid)
    return tuple(OverviewJob(store=store.at_level(level)) for level in levels)
