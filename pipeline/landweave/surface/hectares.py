"""Hectares by class in zones, of any map that xarray shows: one pass over its pixels, in pieces.

Pieces are counted in a few threads of this process or, of a stored map, by the workers of a cluster. Nothing is kept:
each pixel is read once, the sums are a few kilobytes a zone, and what is lost by an interruption is minutes (a job of
hectares by dalle, with a ledger, is a product of ``landweave publish``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import TypeAlias

import geopandas
import numpy as np
from numpy.typing import NDArray

from landweave.core.errors import OutputError
from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex, Blocks, Extent
from landweave.core.legend import Legend
from landweave.core.protocols import BlockFunction, BlockResult, BlockState, Engine
from landweave.core.zonal import ZoneCounts, Zones
from landweave.formats.hectares import FORMATS, check_areas, check_file, hectares_table
from landweave.formats.zones import ZoneTable, read_zones, zones_of
from landweave.jobs.gather import gather
from landweave.jobs.progress import Progress, shown
from landweave.store.maps.store import MapStore
from landweave.surface.engines import as_dask

ZoneSource: TypeAlias = str | os.PathLike[str] | geopandas.GeoDataFrame
"""A vector file, or zones in memory."""

ReadPixels = Callable[[Extent], tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]
"""Classes of some pixels of a map, and their confidence as it is stored where the map has it."""

_PIECE = 2048
"""Pixels a side that are read at once: whole chunks of a stored map, 8 MB of two layers."""

_THREADS = 4
"""Pieces in memory at once: while some are read, others are counted."""


def measure_zones(
    count: Callable[[Zones], ZoneCounts],
    grid: Grid,
    legend: Legend,
    zones: ZoneSource,
    *,
    layer: str | None = None,
    where: str | None = None,
) -> geopandas.GeoDataFrame:
    """Areas by class of zones, as `landweave.formats.hectares.hectares_table`, with ``attrs["notes"]``.

    Parameters
    ----------
    count
        The pixels of the map in zones: `count_here`, or `count_blocks`, but for its last argument.
    grid, legend
        Of the map.
    zones
        Any polygons.
    layer, where
        Of a file, as `landweave.formats.zones.read_zones` takes them.

    Raises
    ------
    InputError
        When the zones cannot be used or none meets the map, or areas in its CRS are not those on the ground.
    """
    notes = check_areas(grid)
    table = zone_table(zones, grid, layer=layer, where=where)
    areas = hectares_table(table, count(table.zones), grid, legend)
    areas.attrs["notes"] = [*table.notes, *notes]
    return areas


def zone_table(zones: ZoneSource, grid: Grid, *, layer: str | None = None, where: str | None = None) -> ZoneTable:
    """Zones of a file or in memory, in the CRS of a map.

    Parameters
    ----------
    zones, grid, layer, where
        As of `measure_zones`.

    Raises
    ------
    InputError
        When they cannot be used, or none meets the map.
    """
    if isinstance(zones, geopandas.GeoDataFrame):
        return zones_of(zones, grid)
    return read_zones(os.fspath(zones), grid, layer=layer, where=where)


def check_tables(paths: Sequence[str | os.PathLike[str]]) -> None:
    """Make sure that tables of areas can be written; those of a run that was killed while it wrote them may be there.

    Raises
    ------
    InputError
        When a file is there, or its ending is none of `landweave.formats.hectares.FORMATS`.
    """
    killed = any(_part_of(Path(path)).exists() for path in paths)
    for path in paths:
        check_file(Path(path), may_exist=killed)


def write_areas(areas: geopandas.GeoDataFrame, paths: Sequence[str | os.PathLike[str]]) -> None:
    """Write a table of areas to new files: all of them, each whole, or none.

    Parameters
    ----------
    areas
        From `measure_zones`.
    paths
        That `check_tables` accepts.

    Raises
    ------
    OutputError
        When one cannot be written.
    """
    parts = {file: _part_of(file) for file in map(Path, paths)}
    try:
        for file, part in parts.items():
            file.parent.mkdir(parents=True, exist_ok=True)
            part.write_bytes(FORMATS[file.suffix.lower()](areas))
        for file, part in parts.items():
            if file.exists() and file.read_bytes() != part.read_bytes():
                raise OutputError(
                    f"{file} is there already, and other areas are in it: name another file, or remove it."
                )
        for file, part in parts.items():
            part.replace(file)
    except OSError as error:
        raise OutputError(f"Cannot write {file}: {error}. Check the folder and its free space.") from error


def _part_of(file: Path) -> Path:
    """Where a file is written before it is whole."""
    return file.with_name(f".{file.name}.part")


def stored_areas(
    store: MapStore,
    engine: Engine,
    zones: ZoneSource,
    *,
    layer: str | None = None,
    where: str | None = None,
    progress: Progress,
) -> geopandas.GeoDataFrame:
    """Areas of a stored map: counted by the workers of ``engine`` or, of the inline one, by threads of this process.

    Parameters
    ----------
    store
        The map.
    engine
        Who counts.
    zones, layer, where
        As of `measure_zones`.
    progress
        Of counting.

    Raises
    ------
    ReadError
        When a block cannot be read on a worker.
    """
    if as_dask(engine):
        count = partial(count_blocks, store, engine, progress=progress)
    else:
        count = partial(count_here, partial(_read_store, store), store.grid, progress=progress)
    return measure_zones(count, store.grid, store.legend, zones, layer=layer, where=where)


@dataclass(frozen=True, kw_only=True)
class ZoneJob:
    """Counts the pixels of each block of a stored map by zone and class. Picklable.

    Attributes
    ----------
    key
        Name of the job on its workers.
    store
        The map.
    zones
        In the CRS of the map.
    """

    key: str
    store: MapStore
    zones: Zones

    def open(self) -> BlockFunction:
        """The function that counts one block."""
        return self._count

    def blocks(self) -> list[BlockIndex]:
        """Blocks that the bounds of a zone meet."""
        store = self.store
        return [each for each in store.blocks if self.zones.near(store.grid.with_extent(store.block(each))).size]

    def _count(self, index: BlockIndex) -> BlockResult:
        extent = self.store.block(index)
        counts = self.zones.count(self.store.grid.with_extent(extent), *_read_store(self.store, extent))
        return BlockResult(state=BlockState.DONE, counts={"pixels": extent.size}, detail=counts)


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
    job, total = ZoneJob(key=f"zones-{store.target}", store=store, zones=zones), _no_counts(zones)
    for _, counts in gather(job, engine, job.blocks(), progress=progress):
        total.add(counts)
    return total


def _read_store(store: MapStore, extent: Extent) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
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
    parts = list(_parts(grid, blocks, zones))
    with ThreadPoolExecutor(_THREADS) as threads, shown(progress, len(parts), f"{_THREADS} threads"):
        for first in range(0, len(parts), 2 * _THREADS):  # so that a slow reader does not get far behind
            some = parts[first : first + 2 * _THREADS]
            counted = threads.map(partial(_count_part, read, zones), (part for _, part in some))
            for (index, part), counts in zip(some, counted, strict=True):
                total.add(counts)
                progress.advance(index, BlockResult(state=BlockState.DONE, counts={"pixels": part.extent.size}))
    return total


def _parts(grid: Grid, blocks: Blocks, zones: Zones) -> Iterator[tuple[BlockIndex, Grid]]:
    """Pieces of the map that the bounds of a zone meet."""
    for index in blocks:
        part = grid.with_extent(blocks[index].intersect(grid.extent))
        if zones.near(part).size:
            yield index, part


def _count_part(read: ReadPixels, zones: Zones, part: Grid) -> ZoneCounts:
    return zones.count(part, *read(part.extent))
