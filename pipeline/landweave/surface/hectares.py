"""Hectares by class in zones, of any map that xarray shows: one pass over its pixels, in pieces, in a few threads.

Not a block job: each pixel is read once, the sums are a few kilobytes a zone, and what is lost by an interruption is
minutes (a job of hectares by dalle, with a ledger, is a product of ``landweave publish``).
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from landweave.core.protocols import BlockResult, BlockState
from landweave.core.zonal import ZoneCounts, Zones
from landweave.formats.hectares import FORMATS, check_areas, check_file, hectares_table
from landweave.formats.zones import ZoneTable, read_zones, zones_of
from landweave.jobs.progress import Progress, resolve_progress, shown

ZoneSource: TypeAlias = str | os.PathLike[str] | geopandas.GeoDataFrame
"""A vector file, or zones in memory."""

ReadPixels = Callable[[Extent], tuple[NDArray[np.uint8], NDArray[np.uint8] | None]]
"""Classes of some pixels of a map, and their confidence as it is stored where the map has it."""

_PIECE = 2048
"""Pixels a side that are read at once: whole chunks of a stored map, 8 MB of two layers."""

_THREADS = 4
"""Pieces in memory at once: while some are read, others are counted."""


def measure_zones(
    read: ReadPixels,
    grid: Grid,
    legend: Legend,
    zones: ZoneSource,
    *,
    layer: str | None = None,
    where: str | None = None,
    progress: Progress | bool = True,
) -> geopandas.GeoDataFrame:
    """Areas by class of zones, as `landweave.formats.hectares.hectares_table`, with ``attrs["notes"]``.

    Parameters
    ----------
    read
        Reads the map; called in several threads.
    grid, legend
        Of the map.
    zones
        Any polygons.
    layer, where
        Of a file, as `landweave.formats.zones.read_zones` takes them.
    progress
        Advanced with every piece of the map; True for a bar on a terminal or in a notebook.

    Raises
    ------
    InputError
        When the zones cannot be used or none meets the map, or areas in its CRS are not those on the ground.
    """
    notes = check_areas(grid)
    table = zone_table(zones, grid, layer=layer, where=where)
    areas = hectares_table(table, _count(read, grid, table.zones, resolve_progress(progress)), grid, legend)
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


def _count(read: ReadPixels, grid: Grid, zones: Zones, progress: Progress) -> ZoneCounts:
    """Pixels of all zones. Sums of whole numbers: their order does not matter."""
    total, blocks = ZoneCounts.none(np.arange(zones.polygons.size)), Blocks.covering(grid.extent, _PIECE)
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
