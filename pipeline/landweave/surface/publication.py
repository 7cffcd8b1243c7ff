"""What is taken home of a map: files for each dalle with a catalog over them, hectares of zones."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import geopandas
import xarray as xr

from landweave.config.schema import Config, EngineSection
from landweave.core.errors import ConfigError, InputError
from landweave.core.protocols import Engine
from landweave.jobs.progress import Progress, resolve_progress
from landweave.jobs.result import RunResult
from landweave.publishing import run as publishing
from landweave.publishing.map_state import find_holes
from landweave.publishing.plan import PublishPlan
from landweave.publishing.run import PublishSetup
from landweave.setup.map_setup import engine_section, map_target
from landweave.setup.publish_setup import publish_section, set_up_publish
from landweave.store.maps.store import open_store
from landweave.store.run_record import recorded_run
from landweave.surface.engines import AnyEngine, reading_engine, resolved_engine, with_place
from landweave.surface.hectares import ZoneSource, check_tables, stored_areas, write_areas
from landweave.surface.stored import status


def plan_publish(
    what: Config | str | Path,
    to: str | Path | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    stale: bool = False,
    partial: bool = False,
    **settings: Any,
) -> PublishPlan:
    """What `publish` would do, and its cost. Reads no pixel and writes nothing.

    Parameters
    ----------
    what, to, storage_options, stale, partial, settings
        As of `publish`.

    Raises
    ------
    LandweaveError
        As `publish` does.

    Examples
    --------
    >>> plan = plan_publish("landcover.zarr", "delivery", dalle_m=500)
    >>> dict(plan.rows)["products"]
    'landcover, confidence'
    """
    with _publication(what, to, storage_options, settings) as (setup, _):
        return publishing.plan_publish(setup, stale=stale, partial_map=partial)


def publish(  # noqa: PLR0913  what `run` takes, where from and where to
    what: Config | str | Path,
    to: str | Path | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    stale: bool = False,
    keep_stale: bool = False,
    partial: bool = False,
    client: Any = None,
    engine: AnyEngine = None,
    progress: Progress | bool = True,
    **settings: Any,
) -> RunResult:
    """Publish a map dalle by dalle: COGs that GDAL and QGIS know the classes of, and a STAC catalog over them.

    Dalles that are done are left as they are; what was killed is gone on with. Nothing is replaced that this
    publication did not make.

    Parameters
    ----------
    what
        A configuration with a map and, unless ``to`` is given, a ``publish`` section; or path or URL of a map.
    to
        Folder or URL that is published to.
    storage_options
        Of the object store of a map, or of ``to``, that is given by its URL.
    stale
        Whether dalles are made again whose part of the map was computed anew since.
    keep_stale
        Whether such dalles, and blocks of the map whose files changed since it was made, are wanted as they are.
    partial
        Whether a map that is not complete is published, with nodata where it is not; refused otherwise.
    client, engine, progress
        As of `run`.
    settings
        Keys of the ``publish`` section, in place of those of the configuration: ``dalle_m=500``.

    Returns
    -------
    RunResult
        Its ``exit_code`` is 0 when all dalles are published, 3 when some failed or are stale.

    Raises
    ------
    InputError
        When there is no map, or it is damaged, stale or not complete.
    OutputError
        When the folder holds anything else, another driver writes it, or it cannot be written.
    ConfigError
        When a setting cannot be carried out.

    Examples
    --------
    >>> from landweave import load_config
    >>> publish(load_config("nimes.yaml"), "delivery", minimum_unit_m2=2, progress=False).complete
    True
    """
    if isinstance(what, Config) and not keep_stale:
        _refuse_stale(what)
    with _publication(what, to, storage_options, settings, engine, client) as (setup, opened):
        setup.target.check_writable()
        shown = resolve_progress(progress)
        with recorded_run(setup.target, "publish") as record:
            result = publishing.run_publish(setup, stale=stale, partial_map=partial, engine=opened, progress=shown)
            record.result = result = with_place(result, opened)
    return result.with_stale_kept() if keep_stale else result


@contextmanager
def _publication(
    what: Config | str | Path,
    to: str | Path | None,
    storage_options: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
    engine: AnyEngine = None,
    client: Any = None,
) -> Iterator[tuple[PublishSetup, Engine | None]]:
    """The publication of a configuration, or of a map by its place, and the engine that is open already."""
    config = what if isinstance(what, Config) else None
    options = storage_options if "://" in str(what) else None
    target = map_target(what, options)
    section = publish_section(config, to, storage_options, settings)
    stated = engine_section(config) if config else EngineSection()
    with resolved_engine(stated, engine, client) as (run_by, opened):
        yield set_up_publish(section, target, run_by), opened


def _refuse_stale(config: Config) -> None:
    if stale := status(config).stale:
        raise InputError(
            f"{len(stale):,} blocks of the map are stale, as {stale[0]}: `landweave run --stale` maps them again, "
            "keep_stale (--keep-stale) publishes them as they are."
        )


def area_by_class(  # noqa: PLR0913  of what, where, and who counts
    mapped: xr.Dataset | xr.DataArray | Config | str | Path,
    zones: ZoneSource,
    *,
    to: str | Path | Sequence[str | Path] = (),
    layer: str | None = None,
    where: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
    client: Any = None,
    engine: AnyEngine = None,
    progress: Progress | bool = True,
) -> geopandas.GeoDataFrame:
    """Hectares of each class in each zone of a vector file, one row a zone, in memory and in files.

    Counted in pixels, in one pass over those that zones touch: a pixel is in a zone when its centre is, and it counts
    in each of zones that overlap.

    Parameters
    ----------
    mapped
        A map or a part of one, as `open_map` gives it; its path or URL; or its configuration.
    zones
        A vector file of polygons in any CRS, or a GeoDataFrame.
    to
        New files, ending in ``.csv`` or ``.parquet`` (GeoParquet).
    layer
        Of a file that has several.
    where
        SQL filter on the columns of a file, such as ``"code = '31'"``.
    storage_options
        Of the object store of the map, and of zones that are named by a URL.
    client, engine
        Who counts a stored map, as of `landweave.run`; by default the active Dask client where there is one, threads of
        this process otherwise. What is opened or made in memory is counted here.
    progress
        True for a bar on a terminal or in a notebook, False for none.

    Returns
    -------
    geopandas.GeoDataFrame
        As of ``open_map(…).landweave.area_by_class``.

    Raises
    ------
    InputError
        When there is no map, the zones cannot be used or none meets the map, its CRS does not keep areas to 1 %, or a
        file is there already.
    OutputError
        When a file cannot be written.

    Examples
    --------
    >>> areas = area_by_class("landcover.zarr", "communes.gpkg")
    >>> areas[["name", "area_ha", "water_ha"]].round(3).values.tolist()
    [['west', 0.131, 0.029], ['east', 0.131, 0.036]]
    """
    files = [to] if isinstance(to, str | Path) else list(to)
    check_tables(files)
    holes: tuple[str, ...] = ()
    areas: geopandas.GeoDataFrame
    if isinstance(mapped, Config | str | Path):
        target = map_target(mapped, storage_options)
        store, shown = open_store(target), resolve_progress(progress)
        holes = find_holes(store)
        with reading_engine(engine, client) as opened:
            areas = stored_areas(store, opened, zones, layer=layer, where=where, progress=shown)
    elif client is None and engine is None:
        areas = mapped.landweave.area_by_class(zones, layer=layer, where=where, progress=progress)
    else:
        raise ConfigError("Workers count a map that they can read: give its path, its URL or its configuration.")
    areas.attrs["notes"] = [*holes, *areas.attrs["notes"]]
    write_areas(areas, files)
    return areas
