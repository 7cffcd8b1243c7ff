"""Pixels of zones by class, of a whole map: in a few threads of this process, or by the workers of a cluster.

Nothing is kept: each pixel is read once, the sums are a few kilobytes a zone, and what is lost by an interruption is
minutes. Hectares by dalle, with a ledger, are a product of ``landweave publish``.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from numpy.typing import NDArray

from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex, Blocks, Extent
from landweave.core.protocols import BlockResult, BlockState, Engine
from landweave.core.zonal import ZoneCounts, Zones
from landweave.jobs.gather import CountingJob, gather
from landweave.jobs.progress import Progress, shown
from landweave.store.maps.store import MapStore

ReadPixels = Callable[[Extent], tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]
"""Classes of some pixels of a map, and their confidence as it is stored where the map has it."""

_PIECE = 2048
"""Pixels a side that are read at once: whole chunks of a stored map, 8 MB of two layers."""

_THREADS = 4
"""Pieces in memory at once: while some are read, others are counted."""


def count_blocks(store: MapStore, engine: Engine, zones: Zones, *, progress: Progress) -> ZoneCounts:
    """Pixels of all zones, counted block by block on the workers of an engine.

    Parameters
    ----------
    store
        The map.
    engine
        Runs the blocks.
    zones
        In the CRS of the map.
    progress
        Told of every block.
    """
    job, total = CountingJob(f"zones-{store.target}", partial(_count_block, store, zones)), _no_counts(zones)
    for _, counts in gather(job, engine, zones.blocks(store.grid, store.blocks), progress=progress):
        total.add(counts)
    return total


def _count_block(store: MapStore, zones: Zones, index: BlockIndex) -> tuple[int, ZoneCounts]:
    extent = store.block(index)
    return extent.size, zones.count(store.grid.with_extent(extent), *read_stored(store, extent))


def read_stored(store: MapStore, extent: Extent) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
    """Classes of some pixels of a stored map, and their confidence where it has it, both uint8 ``(y, x)``.

    Parameters
    ----------
    store
        The map.
    extent
        Pixels of its level 0.
    """
    confidence = store.read("confidence", extent) if "confidence" in store.arrays else None
    return store.read("landcover", extent), confidence


def _no_counts(zones: Zones) -> ZoneCounts:
    return ZoneCounts.none(np.arange(zones.polygons.size))


def count_here(read: ReadPixels, grid: Grid, zones: Zones, *, progress: Progress) -> ZoneCounts:
    """Pixels of all zones, counted in a few threads. Sums of whole numbers: their order does not matter.

    Parameters
    ----------
    read
        Reads the map; called in several threads.
    grid
        Of the map.
    zones
        In its CRS.
    progress
        Told of every piece.
    """
    total, blocks = _no_counts(zones), Blocks.covering(grid.extent, _PIECE)
    parts = [(index, grid.with_extent(blocks[index].intersect(grid.extent))) for index in zones.blocks(grid, blocks)]
    with ThreadPoolExecutor(_THREADS) as threads, shown(progress, len(parts), f"{_THREADS} threads"):
        for first in range(0, len(parts), 2 * _THREADS):  # so that a slow reader does not get far behind
            some = parts[first : first + 2 * _THREADS]
            counted = threads.map(partial(_count_part, read, zones), (part for _, part in some))
            for (index, part), counts in zip(some, counted, strict=True):
                total.add(counts)
                progress.advance(index, BlockResult(state=BlockState.DONE, counts={"pixels": part.extent.size}))
    return total


def _count_part(read: ReadPixels, zones: Zones, part: Grid) -> ZoneCounts:
    return zones.count(part, *read(part.extent))
