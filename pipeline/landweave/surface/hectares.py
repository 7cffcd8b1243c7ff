"""Hectares by class in zones, of any map that xarray shows or that is stored, as tables."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import geopandas

from landweave.core.errors import LandweaveError, OutputError
from landweave.core.grid import Grid
from landweave.core.legend import Legend
from landweave.core.protocols import Engine
from landweave.core.whole_files import left_beside, part_folder
from landweave.core.zonal import ZoneCounts, Zones
from landweave.formats.hectares import FORMATS, check_areas, check_file, hectares_table
from landweave.formats.zones import ZoneTable, read_zones, zones_of
from landweave.jobs.progress import Progress
from landweave.publishing.zone_counts import count_blocks, count_here, read_stored
from landweave.setup.vector_files import on_disk
from landweave.store.maps.store import MapStore
from landweave.surface.engines import as_dask

ZoneSource: TypeAlias = str | os.PathLike[str] | geopandas.GeoDataFrame
"""A vector file, or zones in memory."""


def measure_zones(
    count: Callable[[Zones], ZoneCounts],
    grid: Grid,
    legend: Legend,
    zones: ZoneSource,
    *,
    layer: str | None = None,
    where: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
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
    storage_options
        Of the object store that holds the file.

    Raises
    ------
    InputError
        When the zones cannot be used or none meets the map, or areas in its CRS are not those on the ground.
    """
    notes = check_areas(grid)
    table = zone_table(zones, grid, layer=layer, where=where, storage_options=storage_options)
    areas = hectares_table(table, count(table.zones), grid, legend)
    areas.attrs["notes"] = [*table.notes, *notes]
    return areas


def zone_table(
    zones: ZoneSource,
    grid: Grid,
    *,
    layer: str | None = None,
    where: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
) -> ZoneTable:
    """Zones of a file or in memory, in the CRS of a map.

    Parameters
    ----------
    zones, grid, layer, where, storage_options
        As of `measure_zones`.

    Raises
    ------
    InputError
        When they cannot be used, or none meets the map.
    """
    if isinstance(zones, geopandas.GeoDataFrame):
        return zones_of(zones, grid)
    with on_disk(zones, storage_options) as file:
        return read_zones(file, grid, layer=layer, where=where, name=os.fspath(zones))


def check_tables(paths: Sequence[str | os.PathLike[str]]) -> None:
    """Make sure that tables of areas can be written; those of a run that was killed while it wrote them may be there.

    Raises
    ------
    InputError
        When a file is there, or its ending is none of `landweave.formats.hectares.FORMATS`.
    """
    killed = any(left_beside(Path(path)) for path in paths)
    for path in paths:
        check_file(Path(path), may_exist=killed)


def write_areas(areas: geopandas.GeoDataFrame, paths: Sequence[str | os.PathLike[str]]) -> None:
    """Write a table of areas to new files: each whole, and all are written before the first is renamed.

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
    parts: dict[Path, Path] = {}
    try:
        with ExitStack() as folders:
            for file in map(Path, paths):
                content = FORMATS[file.suffix.lower()](areas)
                if file.exists() and file.read_bytes() != content:
                    raise OutputError(
                        f"{file} is there already, and other areas are in it: name another file, or remove it."
                    )
                file.parent.mkdir(parents=True, exist_ok=True)
                parts[file] = folders.enter_context(part_folder(file)) / file.name
                parts[file].write_bytes(content)
            for file, part in parts.items():
                part.replace(file)
    except LandweaveError:
        raise
    except OSError as error:
        raise OutputError(f"Cannot write {file}: {error}. Check the folder and its free space.") from error


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
        count = partial(count_here, partial(read_stored, store), store.grid, progress=progress)
    options = dict(store.target.storage_options)  # zones in a bucket lie in the map's
    return measure_zones(count, store.grid, store.legend, zones, layer=layer, where=where, storage_options=options)
