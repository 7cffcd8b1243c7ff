"""The public functions that a notebook calls, and the command too: check, plan, align, run, status, evaluate."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import xarray as xr

import landweave.surface.accessor  # noqa: F401  registers .landweave on xarray objects
from landweave.aligning import run as aligning
from landweave.aligning.plan import AlignPlan
from landweave.aligning.verify import verify_cube
from landweave.comparing.report import write_change
from landweave.comparing.result import Change
from landweave.comparing.run import ChangeSetup, run_change
from landweave.config.load import example_config, load_config, load_cube_config
from landweave.config.schema import Config, CubeConfig, EngineSection, ModelSection
from landweave.core import errors
from landweave.core.budget import GIB
from landweave.core.crosswalk import Crosswalk
from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Grid
from landweave.core.protocols import Engine
from landweave.core.timeseries import PixelClass
from landweave.engine import clusters
from landweave.engine.dask import DaskEngine
from landweave.evaluating import sample as sampling
from landweave.evaluating.reference import Labels
from landweave.evaluating.report import write_evaluation
from landweave.evaluating.result import Evaluation
from landweave.evaluating.run import EvaluationSetup, run_evaluation
from landweave.evaluating.sample import SampleEstimates, SamplingRule
from landweave.formats.cog import write_cog
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
from landweave.models.cards.registry import find_card
from landweave.setup.change import ChangeRule, set_up_change
from landweave.setup.context import resolve_card
from landweave.setup.cube_setup import open_scenes, set_up_cube, stored_cube
from landweave.setup.dataset import ModelUse, set_up_dataset_evaluation, set_up_model_evaluation
from landweave.setup.evaluation import set_up_comparison, set_up_map_evaluation
from landweave.setup.map_setup import engine_section, engine_settings, map_target, security, set_up_map
from landweave.setup.outputs import check_files
from landweave.setup.sampling import CHIP_BANDS, ChipImages
from landweave.sources.patches.layout import PatchDataset, open_dataset
from landweave.store.common import read_attributes
from landweave.store.cubes.store import open_cube_store
from landweave.store.cubes.template import FORMAT as CUBE_FORMAT
from landweave.store.cubes.views import open_cube
from landweave.store.maps.store import open_store
from landweave.store.maps.template import FORMAT as MAP_FORMAT
from landweave.store.maps.views import open_ledger, open_map
from landweave.store.objects import Target
from landweave.store.run_record import recorded_run
from landweave.surface.mosaic import open_mosaic
from landweave.surface.predict import predict_arrays
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
    "predict",
    "run",
    "stack",
    "status",
    "verify",
]

AnyConfig = TypeVar("AnyConfig", bound=CubeConfig)


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
    """
    with _with_engine(config, client=client) as (config, engine):
        setup = _checked(config)
        mapping.check_output(setup)
        if isinstance(engine, DaskEngine):
            engine = replace(engine, need_bytes=setup.memory.worker, mixed=config.engine.mixed_workers)
            setup = replace(setup, notes=(*setup.notes, *engine.preflight(setup.job, wait=False)))
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
    """
    if config.engine.address and config.engine.memory_gib:  # nothing is to be asked of a scheduler, which may be down
        return mapping.plan_map(set_up_map(config), stale=stale)
    with _with_engine(config) as (config, _):
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
    """
    with _with_engine(config, engine, client) as (config, engine):
        setup = _checked(config)
        with recorded_run(setup.target, "run") as record:
            result = mapping.run_map(setup, stale=stale, engine=engine, progress=resolve_progress(progress))
            record.result = result = _with_place(result, engine)
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
    """
    with _with_engine(config, engine, client) as (config, engine):
        setup = set_up_cube(config)
        setup.target.check_writable()
        shown = resolve_progress(progress)
        with recorded_run(setup.target, "align") as record:
            result = aligning.run_align(
                setup, stale=stale, accept_missing=accept_missing, engine=engine, progress=shown
            )
            record.result = result = _with_place(result, engine)
    return result.with_stale_kept() if keep_stale else result


def status(where: str | Path | CubeConfig, storage_options: Mapping[str, Any] | None = None) -> Status:
    """How far a map or cube is, and which blocks failed and why.

    Parameters
    ----------
    where
        Path or URL of the store, or a configuration: of a map, whose blocks are then named, too, where their files
        changed since; of a cube where it has no output.
    storage_options
        Of the object store.

    Raises
    ------
    InputError
        When there is no map or cube.
    """
    if isinstance(where, Config):
        return mapping.setup_status(set_up_map(where, only_planned=True))
    target = stored_cube(where) if isinstance(where, CubeConfig) else Target.parse(where, storage_options)
    attributes = read_attributes(target)
    if attributes is None or attributes.get("format") not in (CUBE_FORMAT, MAP_FORMAT):
        raise InputError(f"There is no map at {target}, nor a cube: give the path of an output.store or cube.store.")
    if attributes["format"] == CUBE_FORMAT:
        return aligning.cube_status(open_cube_store(target, attributes))
    return mapping.map_status(target, attributes)


def draw_status(status: Status, path: str | Path) -> Path:
    """Write a picture of a map's or a cube's blocks, each in the colour of its state, and return its path.

    Parameters
    ----------
    status
        From `status`.
    path
        PNG file to write; an earlier one is replaced.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    from landweave.formats.status_picture import write_status_picture  # matplotlib takes a while to import

    return write_status_picture(status.grids, path)


def verify(where: str | Path | CubeConfig, storage_options: Mapping[str, Any] | None = None) -> Verification:
    """Reread every object of a map or cube and hold it against the ledger; what is damaged is marked, and run again.

    Parameters
    ----------
    where
        Path or URL of the store, or the configuration of a map, or of a cube alone.
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
    if isinstance(where, CubeConfig):
        target = map_target(where) if isinstance(where, Config) else stored_cube(where)
    else:
        target = Target.parse(where, storage_options)
    attributes = read_attributes(target)
    if attributes and attributes.get("format") == CUBE_FORMAT:
        return verify_cube(target, attributes)
    return verify_map(target, attributes)


AnyEngine = Engine | EngineSection | None
"""Who runs the blocks of what writes nothing: an open engine, the section of a configuration, or the active Dask client
where there is one and this process otherwise."""

READING_THREADS = 1
"""Cores that a worker which only reads is counted for."""


def evaluate(
    where: str | Path,
    labels: Labels | PatchDataset | str | Path | Sequence[str | Path],
    *,
    leave_out: Sequence[int | str] | None = None,
    folder: str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    engine: AnyEngine = None,
    progress: Progress | bool = True,
) -> Evaluation:
    """Scores, calibration and seams of a map against label rasters or polygons, from one confusion matrix.

    The matrix is summed block by block; only blocks on which labels lie are read. Labels that are not on the map's
    pixels are read by their nearest pixel, which the notes of the result say.

    Parameters
    ----------
    where
        Path or URL of the map.
    labels
        A raster, folder, glob or list of rasters of the map's codes, 255 = none; or `Labels`, which name a band, or
        the column of a vector file; or a dataset from `open_patches`.
    leave_out
        Codes or names of classes whose rows and columns are removed; those that the model was never trained on by
        default.
    folder
        Where numbers, charts and a page are written; nowhere by default.
    storage_options
        Of the object store that holds the map.
    engine
        Who reads the blocks: by default the active Dask client where there is one, this process otherwise.
    progress
        True for a bar on a terminal or in a notebook, False for none.

    Raises
    ------
    LandweaveError
        When the labels cannot be used or lie elsewhere, or a block cannot be read: there is no result of a part.
    """
    target = Target.parse(where, storage_options)
    if isinstance(labels, PatchDataset):
        setup = set_up_dataset_evaluation(target, labels, leave_out=leave_out)
    else:
        named = labels if isinstance(labels, Labels) else Labels(files=labels)
        setup = set_up_map_evaluation(target, named, leave_out=leave_out)
    return _evaluate(setup, engine, progress, folder)


def open_patches(
    folder: str | Path, *, split: str = "test", domains: Sequence[str] = (), training_domains: bool = False
) -> PatchDataset:
    """The regions of a dataset of patches (FLAIR-HUB, FLAIR#1, FLAIR#2) as it is published; no file is opened.

    Parameters
    ----------
    folder
        Of the dataset.
    split
        ``test``, ``train`` (training and validation) or ``all``, by the official lists of domains.
    domains
        Domains or departments, as ``D012-2019`` or ``D012``, instead of a split.
    training_domains
        Whether domains that the dataset's models were trained on may be among them; they are refused otherwise.

    Raises
    ------
    InputError
        When the folder holds no such dataset.
    ConfigError
        When a split or a domain is not there, or one is of training.
    """
    return open_dataset(folder).select(split, domains, training=training_domains)


def evaluate_model(
    model: Config | str | Path,
    patches: PatchDataset,
    *,
    weights: str | Path | None = None,
    leave_out: Sequence[int | str] | None = None,
    folder: str | Path | None = None,
    engine: AnyEngine = None,
    progress: Progress | bool = True,
) -> Evaluation:
    """Scores, calibration and seams of a model over a dataset of patches, of the whole and of each domain.

    Each region is mapped on a grid anchored at its own corner, as its patches were made, blended as a map is, and
    compared with its labels. Nothing is written.

    Parameters
    ----------
    model
        Name or file of a card, or a configuration whose model and windows are used.
    patches
        From `open_patches`.
    weights
        Of a card that does not name them.
    leave_out, folder, engine, progress
        As of `evaluate`.

    Raises
    ------
    LandweaveError
        As `evaluate` does, and when the dataset lacks what the model reads.
    """
    if isinstance(model, Config):
        use = ModelUse(model=model.model, windows=model.windows, root=model.root)
        card = resolve_card(model, model.model)
    else:
        use = ModelUse(model=ModelSection(card=str(model), weights=None if weights is None else str(weights)))
        card = find_card(model)
    return _evaluate(set_up_model_evaluation(use, card, patches, leave_out), engine, progress, folder)


def draw_sample(
    where: str | Path,
    path: str | Path,
    *,
    rule: SamplingRule | None = None,
    images: ChipImages | str | Path | None = None,
    storage_options: Mapping[str, Any] | None = None,
    engine: AnyEngine = None,
    progress: Progress | bool = True,
) -> Path:
    """Draw a stratified random sample of a map for photo-interpreters, and write it as a GeoPackage; its path.

    Its layer ``sample`` has the points in random order, without the class of the map, and a column ``reference`` to be
    filled with codes of the legend (255: cannot tell); `estimate_areas` reads it back.

    Parameters
    ----------
    where
        Path or URL of the map; its classes are the strata.
    path
        Of the GeoPackage; none may be there.
    rule
        Points in all, the least of each class, and the seed; 1000, 50 and 0 by default.
    images
        Files, or `ChipImages`, that a picture of 51 m around each point is cut from; none by default.
    storage_options, engine, progress
        As of `evaluate`.

    Raises
    ------
    LandweaveError
        When the map has no class, a file is there already, or a block cannot be read.
    """
    store = open_store(Target.parse(where, storage_options))
    chips = images if isinstance(images, ChipImages) or images is None else ChipImages(files=images)
    imagery = None if chips is None else chips.open(store.grid)
    with _reading_engine(engine) as opened:
        sample = sampling.draw_sample(store, rule or SamplingRule(), opened, resolve_progress(progress))
    return sampling.write_with_chips(sample, path, store.grid, imagery, CHIP_BANDS)


def estimate_areas(path: str | Path, *, accept_missing: bool = False) -> SampleEstimates:
    """Hectares of each class with their 95 % intervals, from a sample that was interpreted (Olofsson et al. 2014).

    Parameters
    ----------
    path
        The GeoPackage of `draw_sample`, with its references.
    accept_missing
        Whether points without a reference are left out.

    Raises
    ------
    InputError
        When points have no reference, a reference is no class, or a stratum has fewer than two points.
    """
    return sampling.estimate_areas(path, accept_missing=accept_missing)


def change(
    before: str | Path,
    after: str | Path,
    *,
    rule: ChangeRule | None = None,
    same_ground: tuple[str | Path, str | Path] | None = None,
    folder: str | Path | None = None,
    engine: AnyEngine = None,
    progress: Progress | bool = True,
) -> Change:
    """What changed between two maps on one lattice: of two years, or by two models.

    Parameters
    ----------
    before, after
        Paths or URLs of the maps, of the same pixels.
    rule
        Which changes are kept (least confidence of both maps, least area of a patch), and crosswalks to a common
        legend; all changes, in their own legend, by default.
    same_ground
        Two maps of the same ground, none of whose differences is a change (two flights of one season): they are
        compared by the same rule, and their false change rate stands beside the result.
    folder
        Where numbers, COGs of the classes before and after, and a page are written; nowhere by default.
    engine, progress
        As of `evaluate`.

    Raises
    ------
    LandweaveError
        When the maps are not on one lattice, or have other classes; when a block cannot be read.
    """
    rule = rule or ChangeRule()
    setups = [_change_setup(before, after, rule), *([_change_setup(*same_ground, rule)] if same_ground else [])]
    with _reading_engine(engine) as opened:
        results = [run_change(setup, opened, resolve_progress(progress)) for setup in setups]
    result, gate = results[0]
    result = replace(result, same_ground=results[1][0]) if same_ground else result
    if folder is not None:
        write_change(result, gate, folder)
    return result


def _change_setup(before: str | Path, after: str | Path, rule: ChangeRule) -> ChangeSetup:
    return set_up_change(open_store(Target.parse(before)), open_store(Target.parse(after)), rule)


def compare(
    where: str | Path,
    other: Labels | str | Path,
    *,
    crosswalk: Crosswalk | str | Path | None = None,
    leave_out: Sequence[int | str] | None = None,
    folder: str | Path | None = None,
    engine: AnyEngine = None,
    progress: Progress | bool = True,
) -> Evaluation:
    """How a map agrees with another product of the same ground (OSO, WorldCover, OCS GE, CoSIA), in a common legend.

    A raster is compared on its own pixels, in its own CRS: each is given the class that most of the map's pixels in it
    have, and is compared where the map has classes on half of it. Polygons are compared on the map's pixels.

    Parameters
    ----------
    where
        Path or URL of the map.
    other
        The raster; or `Labels`, which name its crosswalk to the common legend, or the column of polygons.
    crosswalk
        Of the map's classes to the common legend; the map's own by default.
    leave_out, folder, engine, progress
        As of `evaluate`.

    Raises
    ------
    LandweaveError
        As `evaluate` does.
    """
    named = other if isinstance(other, Labels) else Labels(files=other)
    setup = set_up_comparison(Target.parse(where), named, crosswalk=crosswalk, leave_out=leave_out)
    return _evaluate(setup, engine, progress, folder)


def _evaluate(
    setup: EvaluationSetup, engine: AnyEngine, progress: Progress | bool, folder: str | Path | None
) -> Evaluation:
    with _reading_engine(engine) as opened:
        result = run_evaluation(setup, opened, resolve_progress(progress))
    if folder is not None:
        write_evaluation(result, folder)
    return result


@contextmanager
def _reading_engine(engine: AnyEngine) -> Iterator[Engine]:
    """The engine of what writes nothing: as given, else of the active Dask client, else this process."""
    section = engine if isinstance(engine, EngineSection) else EngineSection(kind="inline")
    with ExitStack() as stack:
        if engine is None and (client := clusters.active_client()) is not None:
            engine = stack.enter_context(clusters.engine_on(client))
        elif isinstance(engine, EngineSection):
            engine = stack.enter_context(_found_engine(section, None))
        settings = engine_settings(section, READING_THREADS)
        yield stack.enter_context(clusters.open_engine(settings, READING_THREADS, engine))


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
    return clusters.open_engine(engine_settings(engine_section(config), threads), threads)


def _found_engine(section: EngineSection, client: Any) -> AbstractContextManager[DaskEngine | None]:
    """The engine of a client, of a scheduler's address or of the active client; None where there is none of them."""
    own = section.kind == "inline" or section.workers or section.address or section.cluster
    if client is None and not own:
        client = clusters.active_client()
    if client is not None:
        return clusters.engine_on(client, patience=section.patience)
    if section.address and section.kind == "dask":
        return clusters.connected_engine(section.address, patience=section.patience, security=security(section))
    return nullcontext()


@contextmanager
def _with_engine(
    config: AnyConfig, engine: Engine | None = None, client: Any = None
) -> Iterator[tuple[AnyConfig, Engine | None]]:
    """The engine that is open already, and the configuration with the place and the memory of its workers.

    Of the memory that is free now they may have taken their part themselves.
    """
    if engine is not None and client is not None:
        raise ConfigError("client and engine are both given: leave one out.")
    section = engine_section(config)
    with ExitStack() as stack:
        opened = engine if engine is not None else stack.enter_context(_found_engine(section, client))
        if isinstance(opened, DaskEngine):
            if engine is None:
                section = section.model_copy(update={"kind": "dask", "address": opened.address})
            if section.memory_gib is None and (limit := opened.worker_bytes):
                section = section.model_copy(update={"memory_gib": limit / GIB})
        yield config.model_copy(update={"engine": section}), opened


def _with_place(result: RunResult, engine: Engine | None) -> RunResult:
    """The result, with a note where its blocks ran that were not run by workers of its own."""
    if not isinstance(engine, DaskEngine) or not result.ran:
        return result
    return replace(result, notes=(*result.notes, f"the blocks ran on {engine.label}"))


def _write_files(setup: MapSetup, config: Config, *, complete: bool) -> Iterator[str]:
    """Write the COG and the picture; what a person should know of them."""
    from landweave.formats.picture import write_picture  # matplotlib takes a while to import

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
