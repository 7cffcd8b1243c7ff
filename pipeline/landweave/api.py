"""The public functions that a notebook calls, and the command too: check, plan, align, run, status, evaluate.

What only some of them need (xarray, Dask, matplotlib) is imported there: a plan is made in two seconds.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from landweave.aligning import run as aligning
from landweave.aligning.plan import AlignPlan
from landweave.config.load import example_config, load_config, load_cube_config
from landweave.config.schema import Config, CubeConfig
from landweave.core import errors
from landweave.core.errors import ConfigError
from landweave.core.grid import Grid
from landweave.core.protocols import Engine
from landweave.core.retry import take_retries
from landweave.core.stopwatch import Stopwatch
from landweave.core.timeseries import PixelClass
from landweave.formats.products import mark_of
from landweave.jobs.progress import Progress, resolve_progress
from landweave.jobs.result import RunResult
from landweave.jobs.runner import writing_begun
from landweave.mapping import run as mapping
from landweave.mapping.plan import MapPlan
from landweave.mapping.setup import MapSetup
from landweave.models.cards.card import ModelCard
from landweave.setup.cube_setup import open_scenes, set_up_cube
from landweave.setup.map_setup import engine_section, set_up_map
from landweave.setup.outputs import check_files, product_exists, write_product
from landweave.store.run_record import recorded_run
from landweave.surface.engines import as_dask, open_engine, with_engine, with_place
from landweave.surface.stored import draw_status, status, verify

if TYPE_CHECKING:
    import xarray as xr

    from landweave.store.cubes.views import open_cube
    from landweave.store.maps.views import open_ledger, open_map
    from landweave.surface.evaluation import (
        ChangeRule,
        ChipImages,
        Labels,
        SamplingRule,
        change,
        compare,
        draw_sample,
        estimate_areas,
        evaluate,
        evaluate_model,
        open_patches,
    )
    from landweave.surface.mosaic import open_mosaic
    from landweave.surface.pages import report, view
    from landweave.surface.publication import area_by_class, plan_publish, publish
    from landweave.surface.series import open_series

__all__ = [
    "ChangeRule",
    "ChipImages",
    "Config",
    "Grid",
    "Labels",
    "PixelClass",
    "SamplingRule",
    "align",
    "area_by_class",
    "change",
    "check",
    "compare",
    "draw_sample",
    "draw_status",
    "errors",
    "estimate_areas",
    "evaluate",
    "evaluate_model",
    "example_config",
    "load_config",
    "load_cube_config",
    "open_cube",
    "open_engine",
    "open_ledger",
    "open_map",
    "open_mosaic",
    "open_patches",
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

_EVALUATING = (
    "ChangeRule",
    "ChipImages",
    "Labels",
    "SamplingRule",
    "change",
    "compare",
    "draw_sample",
    "estimate_areas",
    "evaluate",
    "evaluate_model",
    "open_patches",
)
_PUBLISHING = ("area_by_class", "plan_publish", "publish")
_PAGES = ("report", "view")

_ELSEWHERE = {
    "open_cube": "landweave.store.cubes.views",
    "open_ledger": "landweave.store.maps.views",
    "open_map": "landweave.store.maps.views",
    "open_mosaic": "landweave.surface.mosaic",
    "open_series": "landweave.surface.series",
    **dict.fromkeys(_EVALUATING, "landweave.surface.evaluation"),
    **dict.fromkeys(_PUBLISHING, "landweave.surface.publication"),
    **dict.fromkeys(_PAGES, "landweave.surface.pages"),
}
"""Modules of public functions that need more libraries than a plan does, xarray above all."""


def __getattr__(name: str) -> Any:
    """Load what needs xarray on first use, and with it the accessor of its objects."""
    if name not in _ELSEWHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    register_accessor()
    return getattr(import_module(_ELSEWHERE[name]), name)


def register_accessor() -> None:
    """Give xarray objects their ``.landweave``."""
    import_module("landweave.surface.accessor")


def check(config: Config, *, client: Any = None) -> MapSetup:
    """The resolved settings of a map, once inputs, card, weights, memory and output are checked. Writes nothing.

    A small sample of every input is read, and its values are compared with those of the model's training. Where there
    is a scheduler, its workers are asked what they run with, and whether they can read and write what a run does.

    Parameters
    ----------
    config
        From `load_config`.
    client
        As of `run`.

    Raises
    ------
    LandweaveError
        With the reason and what to do.

    Examples
    --------
    >>> setup = check(load_config("nimes.yaml"))
    >>> setup.rows[0]
    ('model', 'small: A small small')
    """
    with with_engine(config, client=client) as (config, engine):
        setup = _checked(config)
        mapping.check_output(setup)
        if engine := as_dask(engine):
            engine = replace(engine, need_bytes=setup.memory.worker, mixed=config.engine.mixed_workers)
            setup = replace(setup, notes=(*setup.notes, *engine.preflight(setup.job, blocks=0)))
    return setup.with_values()


def _checked(config: Config) -> MapSetup:
    """The setup of a map, once model and outputs are checked but for what the output's store holds."""
    setup = set_up_map(config)
    setup = replace(setup, notes=(*setup.notes, *setup.job.model.verify()))
    setup.target.check_writable()
    check_files(config, setup.fingerprint.sha256)
    return setup


def plan_map(config: Config, *, stale: bool = False) -> MapPlan:
    """What `run` would do, and its cost. Reads no pixel, runs no model and needs no weights.

    Hours, cost and energy come from the pace that `landweave bench` measured, ``engine.cost_per_hour`` and
    ``engine.power_watts``.

    Parameters
    ----------
    config
        From `load_config`.
    stale
        Whether blocks whose files changed since they were done are run again.

    Raises
    ------
    LandweaveError
        When the configuration cannot be carried out.

    Examples
    --------
    >>> plan = plan_map(load_config("nimes.yaml"))
    >>> dict(plan.rows)["blocks to run"]  # the map is there already
    '0 of 1, 128 x 128 px'
    """
    section = engine_section(config)
    if section.address and section.memory_gib:  # nothing is to be asked of a scheduler, which may be down
        return mapping.plan_map(set_up_map(config), stale=stale)
    with with_engine(config) as (config, _):
        return mapping.plan_map(set_up_map(config, only_planned=True), stale=stale)


def run(
    config: Config,
    *,
    stale: bool = False,
    keep_stale: bool = False,
    client: Any = None,
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
    client
        A `distributed.Client` or any Dask cluster object, whose workers run the blocks. By default those of the active
        Dask client, where there is one and the configuration names neither workers nor an address.
    engine
        From `open_engine`, in place of workers of its own.
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

    Examples
    --------
    >>> result = run(load_config("nimes.yaml"), progress=False)
    >>> result.complete, result.exit_code
    (True, 0)
    """
    started = time.perf_counter()
    take_retries()  # of what was done before
    with with_engine(config, engine, client) as (config, engine):
        setup = _checked(config)
        with recorded_run(setup.target, "run") as record:
            checked = time.perf_counter() - started
            result = mapping.run_map(setup, stale=stale, engine=engine, progress=resolve_progress(progress))
            record.result = result = with_place(result.with_parts(start=checked), engine)
            with writing_begun():
                result = _with_files(result, setup, config).with_retries(take_retries())
            record.result = result
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

    Examples
    --------
    >>> landcover_map = predict(load_config("nimes.yaml"))
    >>> landcover_map.landcover.sel(x=802030, y=6284020, method="nearest").item()  # runs a few windows
    4
    """
    from landweave.mapping.lazy import lazy_map
    from landweave.surface.predict import predict_arrays

    register_accessor()
    if isinstance(what, Config):
        if model or weights or year or accept_range:
            raise ConfigError("A configuration names its own model: leave out model, weights, year and accept_range.")
        setup = set_up_map(what)
        return lazy_map(setup.job, setup.template)
    if model is None:
        raise ConfigError("Pixels alone make no map: name the model, as predict(tree, model='LC-D', weights=…).")
    groups = __getattr__("open_cube")(what) if isinstance(what, str | Path) else what
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

    Examples
    --------
    >>> scenes = stack(load_config("valley.yaml"), "SENTINEL2_TS")
    >>> scenes.dims, scenes.sizes["time"]
    (('time', 'band', 'y', 'x'), 3)
    """
    register_accessor()
    return open_scenes(config, modality).stack()


def plan_align(config: CubeConfig, *, stale: bool = False) -> AlignPlan:
    """What `align` would do, and its cost. Catalogs are searched; no pixel is read and nothing is written.

    Parameters
    ----------
    config
        From `load_config` or `load_cube_config`.
    stale
        Whether tiles of mosaics whose files changed since they were aligned are aligned again.

    Raises
    ------
    LandweaveError
        When the configuration cannot be carried out, or a catalog does not answer.

    Examples
    --------
    >>> plan_align(load_config("valley.yaml")).groups[0].rows[1]
    ('dates', '0 new, 3 kept')
    """
    return aligning.plan_align(set_up_cube(config), stale=stale)


def align(
    config: CubeConfig,
    *,
    stale: bool = False,
    keep_stale: bool = False,
    accept_missing: bool = False,
    client: Any = None,
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
    client, engine, progress
        As of `run`.

    Returns
    -------
    RunResult
        Its ``exit_code`` is 0 when the cube is complete, 3 when blocks failed or a modality holds no measurement.

    Raises
    ------
    LandweaveError
        As `run` does.

    Examples
    --------
    >>> align(load_config("valley.yaml"), progress=False).complete
    True
    """
    take_retries()
    with with_engine(config, engine, client) as (config, engine):
        setup = set_up_cube(config)
        setup.target.check_writable()
        shown = resolve_progress(progress)
        with recorded_run(setup.target, "align") as record:
            result = aligning.run_align(
                setup, stale=stale, accept_missing=accept_missing, engine=engine, progress=shown
            )
            result = result.with_retries(take_retries())
            record.result = result = with_place(result, engine)
    return result.with_stale_kept() if keep_stale else result


def _with_files(result: RunResult, setup: MapSetup, config: Config) -> RunResult:
    """The result, once COG and picture are written, with what a person should know of them and their seconds."""
    watch = Stopwatch()
    notes = tuple(_write_files(setup, config, watch, complete=result.complete))
    return replace(result.with_parts(**watch.seconds), notes=(*result.notes, *notes))


def _write_files(setup: MapSetup, config: Config, watch: Stopwatch, *, complete: bool) -> Iterator[str]:
    from landweave.formats.cog import write_cog
    from landweave.formats.picture import write_picture  # matplotlib takes a while to import

    output = config.output
    for key, named, write in (("cog", output.cog, write_cog), ("picture", output.picture, write_picture)):
        if named is None:
            continue
        where = config.path(named)
        if not complete and product_exists(where, output.storage_options):
            yield f"output.{key}: the map is not complete, {where} of an earlier run is left as it was"
            continue
        with watch(key):
            write_product(partial(write, setup.store), where, output.storage_options, mark_of(setup.store))
        if not complete:
            yield f"output.{key}: the map is not complete, nor is {where}: run again, which writes it anew"
