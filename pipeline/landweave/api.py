"""The public functions that a notebook calls, and the command too: check, plan, align, run, status, predict."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import geopandas
import xarray as xr

import landweave.surface.accessor  # noqa: F401  registers .landweave on xarray objects
from landweave.aligning import run as aligning
from landweave.aligning.plan import AlignPlan
from landweave.aligning.verify import verify_cube
from landweave.config.load import example_config, load_config, load_cube_config
from landweave.config.schema import Config, CubeConfig, EngineSection
from landweave.core import errors
from landweave.core.budget import GIB
from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Grid
from landweave.core.protocols import Engine
from landweave.core.timeseries import PixelClass
from landweave.engine import clusters
from landweave.engine.dask import DaskEngine
from landweave.formats.cog import write_cog
from landweave.formats.picture import write_picture
from landweave.formats.web_words import Language
from landweave.jobs.audit import Verification
from landweave.jobs.progress import Progress, resolve_progress
from landweave.jobs.result import RunResult, Status
from landweave.jobs.runner import writing_begun
from landweave.mapping import run as mapping
from landweave.mapping.lazy import lazy_map
from landweave.mapping.plan import MapPlan
from landweave.mapping.run import MapSetup
from landweave.mapping.verify import verify_map
from landweave.models.cards.card import ModelCard
from landweave.publishing import run as publishing
from landweave.publishing.plan import PublishPlan
from landweave.publishing.run import PublishSetup
from landweave.setup.cube_setup import open_scenes, set_up_cube
from landweave.setup.map_setup import engine_settings, map_target, set_up_map
from landweave.setup.outputs import check_files
from landweave.setup.publish_setup import publish_section, set_up_publish
from landweave.store.common import read_attributes
from landweave.store.cubes.store import open_cube_store
from landweave.store.cubes.template import FORMAT as CUBE_FORMAT
from landweave.store.cubes.views import open_cube
from landweave.store.maps.template import FORMAT as MAP_FORMAT
from landweave.store.maps.views import open_ledger, open_map
from landweave.store.objects import Target
from landweave.surface.extras import load_viewer
from landweave.surface.hectares import ZoneSource, check_tables, write_areas
from landweave.surface.mosaic import open_mosaic
from landweave.surface.predict import predict_arrays
from landweave.surface.report import ZoneFile, write_report
from landweave.surface.series import open_series

__all__ = [
    "Config",
    "Grid",
    "PixelClass",
    "align",
    "area_by_class",
    "check",
    "errors",
    "example_config",
    "load_config",
    "load_cube_config",
    "open_cube",
    "open_engine",
    "open_ledger",
    "open_map",
    "open_mosaic",
    "open_series",
    "plan_align",
    "plan_map",
    "plan_publish",
    "predict",
    "publish",
    "report",
    "run",
    "stack",
    "status",
    "verify",
    "view",
]

AnyConfig = TypeVar("AnyConfig", bound=CubeConfig)


def check(config: Config) -> MapSetup:
    """The resolved settings of a map, once inputs, card, weights, memory and output are checked. Writes nothing.

    A small sample of every input is read, and its values are compared with those of the model's training.

    Raises
    ------
    LandweaveError
        With the reason and what to do.
    """
    setup = _checked(_with_engine(config, None)[0])
    mapping.check_output(setup)
    return setup.with_values()


def _checked(config: Config) -> MapSetup:
    """The setup of a map, once model and outputs are checked but for what the output's store holds."""
    setup = set_up_map(config)
    setup = replace(setup, notes=(*setup.notes, *setup.job.model.verify()))
    setup.target.check_writable()
    check_files(config, setup.fingerprint.sha256)
    return setup


def plan_map(config: Config, *, stale: bool = False) -> MapPlan:
    """What `run` would do, and its cost. Reads no pixel and runs no model.

    Parameters
    ----------
    config
        From `load_config`.
    stale
        Whether blocks whose files changed since they were done are run again.
    """
    return mapping.plan_map(set_up_map(_with_engine(config, None)[0]), stale=stale)


def run(
    config: Config,
    *,
    stale: bool = False,
    keep_stale: bool = False,
    engine: Engine | None = None,
    progress: Progress | bool = True,
) -> RunResult:
    """Map what is not mapped yet, and write the files that the configuration names beside the map.

    Parameters
    ----------
    config
        From `load_config`.
    stale
        Whether blocks whose files changed since they were done are run again.
    keep_stale
        Whether such blocks are wanted as they are: otherwise they are named, and the map is not called complete.
    engine
        From `open_engine`, in place of workers of its own. By default the workers of the active Dask client, where
        there is one and the configuration names no workers.
    progress
        True for a bar on a terminal or in a notebook, False for none.

    Returns
    -------
    RunResult
        Its ``exit_code`` is 0 when the map is complete, 3 when blocks failed or are stale, or no pixel is mapped.

    Raises
    ------
    LandweaveError
        Before anything is written, when the configuration cannot be carried out (``exit_code`` 2); when workers, the
        scheduler or the output go away during the run (3): what is done is kept.
    """
    config, engine = _with_engine(config, engine)
    setup = _checked(config)
    result = mapping.run_map(setup, stale=stale, engine=engine, progress=resolve_progress(progress))
    with writing_begun():
        notes = tuple(_write_files(setup, config, complete=result.complete))
    result = replace(result, notes=(*result.notes, *notes))
    return result.with_stale_kept() if keep_stale else result


def predict(
    what: Config | xr.DataTree | Mapping[str, xr.Dataset | xr.DataArray] | str | Path,
    model: str | Path | ModelCard | None = None,
    *,
    weights: str | Path | None = None,
    year: int | None = None,
    accept_range: bool = False,
) -> xr.Dataset:
    """The map of a configuration, or of xarray objects by a model, as a lazy dataset; nothing runs yet.

    Of a configuration the values are those that `landweave.run` writes. Of xarray objects it is their own values that
    are mapped, edited or not, and their own ground and dates: what was selected away is not there.

    Slicing and then loading computes the windows that touch the slice, in this process. A few slices are kept.

    Parameters
    ----------
    what
        A configuration from `landweave.load_config` (its output need not be writable, its engine is not used). Or
        pixels by modality: a tree from `landweave.open_cube`, from NetCDF or made in memory, a mapping of datasets or
        of arrays, or the path or URL of a cube. Each has ``band_data (band, y, x)``, with ``valid (y, x)``, NaN or a
        nodata value where nothing is measured, or ``band_data (time, band, y, x)`` with ``pixel_class (time, y, x)``
        (`landweave.PixelClass`; of radar it may be missing), and a CRS as rioxarray writes it.
    model
        Of pixels, the model: a name of `landweave.list_models`, a card's file, or a card.
    weights
        Of the model, where its card does not name them.
    year
        Civil year of the dates that the model is given; needed where they are of several years.
    accept_range
        Whether values far from those of the model's training are fed all the same.

    Returns
    -------
    xarray.Dataset
        ``landcover``, ``confidence`` (probability x 250) and ``probability`` as configured, uint8, 255 = nodata,
        dims ``(y, x)`` or ``(class, y, x)``, with pixel-centre coordinates, CRS and transform.

    Raises
    ------
    InputError
        When pixels lack a variable, a CRS, a time or pixel classes, or do not fit each other; the group is named.
    CardError
        When they lack a group or a band that the model reads.
    ConfigError
        When no model is named, or one beside a configuration.
    BudgetError
        When more than a gigapixel is loaded at once.
    """
    if isinstance(what, Config):
        if model or weights or year or accept_range:
            raise ConfigError("A configuration names its own model: leave out model, weights, year and accept_range.")
        setup = set_up_map(what)
        return lazy_map(setup.job, setup.template)
    if model is None:
        raise ConfigError("Pixels alone make no map: name the model, as predict(tree, model='LC-D', weights=…).")
    groups = open_cube(what) if isinstance(what, str | Path) else what
    return predict_arrays(groups, model, weights=weights, year=year, accept_range=accept_range)


def stack(config: CubeConfig, modality: str) -> xr.DataArray:
    """Scenes of one series on its grid, lazily, as `align` will read them; nothing is written, nothing read yet.

    Parameters
    ----------
    config
        From `load_config` or `load_cube_config`.
    modality
        Of an input of kind stac.

    Returns
    -------
    xarray.DataArray
        ``(time, band, y, x)``, one time a scene; ``datatake_id`` names the observation that it is part of. Reflectance
        x 10000 or linear power, 0 where nothing is measured.

    Raises
    ------
    ConfigError
        When the configuration has no such series.
    """
    return open_scenes(config, modality).stack()


def plan_align(config: CubeConfig, *, stale: bool = False) -> AlignPlan:
    """What `align` would do, and its cost. Catalogs are searched; no pixel is read and nothing is written.

    Parameters
    ----------
    config
        From `load_config` or `load_cube_config`.
    stale
        Whether tiles of mosaics whose files changed since they were aligned are aligned again.
    """
    return aligning.plan_align(set_up_cube(config), stale=stale)


def align(
    config: CubeConfig,
    *,
    stale: bool = False,
    keep_stale: bool = False,
    accept_missing: bool = False,
    engine: Engine | None = None,
    progress: Progress | bool = True,
) -> RunResult:
    """Align what is new of the configuration's series and rasters into its cube.

    Parameters
    ----------
    config
        From `load_config` or `load_cube_config`.
    stale
        Whether tiles of mosaics whose files changed since they were aligned are aligned again.
    keep_stale
        Whether such tiles are wanted as they are: otherwise they are named, and the cube is not called complete.
    accept_missing
        Whether dates whose files are gone for good (404) are marked as not acquired in the tiles that need them, for
        good; those tiles fail otherwise.
    engine, progress
        As of `run`.

    Returns
    -------
    RunResult
        Its ``exit_code`` is 0 when the cube is complete, 3 when blocks failed or a modality holds no measurement.

    Raises
    ------
    LandweaveError
        As `run` does.
    """
    config, engine = _with_engine(config, engine)
    setup = set_up_cube(config)
    setup.target.check_writable()
    shown = resolve_progress(progress)
    result = aligning.run_align(setup, stale=stale, accept_missing=accept_missing, engine=engine, progress=shown)
    return result.with_stale_kept() if keep_stale else result


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
    """
    setup, _ = _publish_setup(what, to, storage_options, settings, None)
    return publishing.plan_publish(setup, stale=stale, partial_map=partial)


def publish(  # noqa: PLR0913  what `run` takes, where from and where to
    what: Config | str | Path,
    to: str | Path | None = None,
    *,
    storage_options: Mapping[str, Any] | None = None,
    stale: bool = False,
    keep_stale: bool = False,
    partial: bool = False,
    engine: Engine | None = None,
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
    engine, progress
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
    """
    setup, engine = _publish_setup(what, to, storage_options, settings, engine)
    if isinstance(what, Config) and not keep_stale:
        _refuse_stale(what)
    setup.target.check_writable()
    shown = resolve_progress(progress)
    result = publishing.run_publish(setup, stale=stale, partial_map=partial, engine=engine, progress=shown)
    return result.with_stale_kept() if keep_stale else result


def _publish_setup(
    what: Config | str | Path,
    to: str | Path | None,
    storage_options: Mapping[str, Any] | None,
    settings: Mapping[str, Any],
    engine: Engine | None,
) -> tuple[PublishSetup, Engine | None]:
    """The publication of a configuration, or of a map by its place, and the engine that is open already."""
    config = what if isinstance(what, Config) else None
    options = storage_options if "://" in str(what) else None
    target = map_target(what) if isinstance(what, Config) else Target.parse(what, options)
    section = publish_section(config, to, storage_options, settings)
    run_by = config.engine if config else EngineSection()
    if engine is None and config is None:
        engine = clusters.active_engine()
    elif config is not None:
        config, engine = _with_engine(config, engine)
        run_by = config.engine
    return set_up_publish(section, target, run_by), engine


def _refuse_stale(config: Config) -> None:
    if stale := status(config).stale:
        raise InputError(
            f"{len(stale):,} blocks of the map are stale, as {stale[0]}: `landweave run --stale` maps them again, "
            "keep_stale (--keep-stale) publishes them as they are."
        )


def status(where: str | Path | Config, storage_options: Mapping[str, Any] | None = None) -> Status:
    """How far a map or cube is, and which blocks failed and why.

    Parameters
    ----------
    where
        Path or URL of the store, or the configuration of a map: then blocks whose files changed since are named, too.
    storage_options
        Of the object store.

    Raises
    ------
    InputError
        When there is no map or cube.
    """
    if isinstance(where, Config):
        return mapping.setup_status(set_up_map(where))
    target = Target.parse(where, storage_options)
    attributes = read_attributes(target)
    if attributes is None or attributes.get("format") not in (CUBE_FORMAT, MAP_FORMAT):
        raise InputError(f"There is no map at {target}, nor a cube: give the path of an output.store or cube.store.")
    if attributes["format"] == CUBE_FORMAT:
        return aligning.cube_status(open_cube_store(target, attributes))
    return mapping.map_status(target, attributes)


def verify(where: str | Path | Config, storage_options: Mapping[str, Any] | None = None) -> Verification:
    """Reread every object of a map or cube and hold it against the ledger; what is damaged is marked, and run again.

    Parameters
    ----------
    where
        Path or URL of the store, or the configuration of a map.
    storage_options
        Of the object store.

    Returns
    -------
    Verification
        Its ``exit_code`` is 0 when everything is as it was written, 3 otherwise.

    Raises
    ------
    InputError
        When there is no map or cube.
    OutputError
        When another driver writes it.
    """
    target = map_target(where) if isinstance(where, Config) else Target.parse(where, storage_options)
    attributes = read_attributes(target)
    if attributes and attributes.get("format") == CUBE_FORMAT:
        return verify_cube(target, attributes)
    return verify_map(target, attributes)


def area_by_class(
    mapped: xr.Dataset | xr.DataArray | Config | str | Path,
    zones: ZoneSource,
    *,
    to: str | Path | Sequence[str | Path] = (),
    layer: str | None = None,
    where: str | None = None,
    storage_options: Mapping[str, Any] | None = None,
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
        Of the object store of the map.

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
    """
    files = [to] if isinstance(to, str | Path) else list(to)
    check_tables(files)
    if isinstance(mapped, Config):
        target = map_target(mapped)
        mapped = open_map(target)
    elif isinstance(mapped, str | Path):
        mapped = open_map(mapped, storage_options=storage_options)
    areas: geopandas.GeoDataFrame = mapped.landweave.area_by_class(zones, layer=layer, where=where)
    write_areas(areas, files)
    return areas


def report(
    what: Config | str | Path,
    to: str | Path,
    *,
    zones: ZoneSource | None = None,
    layer: str | None = None,
    where: str | None = None,
    language: Language = "en",
    storage_options: Mapping[str, Any] | None = None,
) -> Path:
    """A map as one page that opens from disk, with no network: map, legend, areas, progress, cost and provenance.

    The map is shown in the finest overview of at most 4 million pixels; the page then has some MB. Areas are counted on
    every pixel of the map.

    Parameters
    ----------
    what
        A configuration: its mosaic is shown beneath the map. Or path or URL of a map, which is shown alone.
    to
        A new file, or an earlier page of this program.
    zones, layer, where
        Zones whose areas are listed, as of `area_by_class`.
    language
        ``en`` or ``fr``: the language that the page opens in; it has a switch.
    storage_options
        Of the object store of the map.

    Raises
    ------
    InputError
        When there is no map, or the zones cannot be used.
    OutputError
        When something else is in the place of the page, or it cannot be written.
    """
    target = map_target(what) if isinstance(what, Config) else Target.parse(what, storage_options)
    zoned = ZoneFile(zones, layer, where) if zones is not None else None
    return write_report(target, to, what if isinstance(what, Config) else None, zoned, language)


def view(
    what: Config | str | Path,
    *,
    storage_options: Mapping[str, Any] | None = None,
    ready: Callable[[str], None] = print,
) -> None:
    """Show a map in a browser at any zoom, until interrupted: classes, confidence and the aerial picture.

    The server listens on this machine alone, on a free port; its address has a token. A map whose run goes on is shown
    as far as it is. In a notebook, ``open_map(…).landweave.view()`` shows the same.

    Parameters
    ----------
    what
        A configuration, whose mosaic is shown beneath its map; path or URL of a map; or a folder that was published.
    storage_options
        Of the object store of the map.
    ready
        Called with the address of the page.

    Raises
    ------
    ConfigError
        When the extra ``view`` is not installed.
    InputError
        When there is no map.
    """
    viewer = load_viewer()
    target = map_target(what) if isinstance(what, Config) else Target.parse(what, storage_options)
    server = viewer.ViewServer(viewer.open_view(what, target))
    ready(server.url)
    server.serve()


def open_engine(config: Config) -> AbstractContextManager[Engine]:
    """The engine of a configuration, for the length of a ``with`` block.

    `align` and `run` start workers of their own, which import every library anew; several calls may share these, given
    as ``engine``. In a script it belongs under ``if __name__ == "__main__":``, as workers import the script.

    Raises
    ------
    EngineError
        When the workers do not start, or no scheduler answers.
    """
    threads = config.model.torch_threads
    return clusters.open_engine(engine_settings(config.engine, threads), threads)


def _with_engine(config: AnyConfig, engine: Engine | None) -> tuple[AnyConfig, Engine | None]:
    """The engine that is open already, and the configuration with the place and the memory of its workers.

    Of the memory that is free now they may have taken their part themselves.
    """
    section = config.engine
    if engine is None and section.kind == "dask" and section.address is None and section.workers is None:
        engine = clusters.active_engine()
        if engine is not None:
            section = section.model_copy(update={"address": engine.address})
    if section.memory_gib is None and isinstance(engine, DaskEngine) and (limit := engine.worker_bytes):
        section = section.model_copy(update={"memory_gib": limit / GIB})
    return config.model_copy(update={"engine": section}), engine


def _write_files(setup: MapSetup, config: Config, *, complete: bool) -> Iterator[str]:
    """Write the COG and the picture; what a person should know of them."""
    output = config.output
    for key, where, write in (("cog", output.cog, write_cog), ("picture", output.picture, write_picture)):
        path = Path(config.path(where)) if where is not None else None
        if path is None:
            continue
        if not complete and path.exists():
            yield f"output.{key}: the map is not complete, {path} of an earlier run is left as it was"
            continue
        write(setup.store, path)
        if not complete:
            yield f"output.{key}: the map is not complete, nor is {path}: run again, which writes it anew"
