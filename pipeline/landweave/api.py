"""What a notebook calls, and the command too: check, plan, run, status, predict, open_map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

import xarray as xr

from landweave.aligning import AlignResult, CubeStatus, align_cube, cube_status, plan_align
from landweave.aligning.plan import AlignPlan
from landweave.config.load import example_config, load_config, load_cube_config
from landweave.config.schema import Config, CubeConfig
from landweave.core.budget import GIB
from landweave.core.errors import BudgetError, ConfigError, OutputError
from landweave.core.protocols import BlockState, Engine
from landweave.engine.clusters import connected_engine, local_engine
from landweave.engine.dask import DaskEngine
from landweave.engine.inline import InlineEngine
from landweave.engine.settings import EngineSettings
from landweave.formats.cog import write_cog
from landweave.formats.picture import write_picture
from landweave.jobs.lease import LEASE, hold
from landweave.jobs.ledger import Failure, Ledger
from landweave.jobs.plan import BlockActionGrid, plan_block_actions
from landweave.jobs.progress import Progress, SilentProgress
from landweave.jobs.runner import Summary, begun
from landweave.mapping.lazy import lazy_map
from landweave.mapping.plan import MapPlan, plan_map
from landweave.mapping.run import MapSetup, fill_map, find_ledger, is_whole
from landweave.setup.check import Check
from landweave.setup.cube_selection import config_of_cube
from landweave.setup.cube_setup import open_scenes, set_up_cube
from landweave.setup.map_setup import engine_settings, set_up_map
from landweave.setup.series_inputs import DIRECT_OPENS
from landweave.store.cubes.store import open_cube_store
from landweave.store.cubes.template import FORMAT as CUBE_FORMAT
from landweave.store.cubes.views import open_cube
from landweave.store.ledger_store import ZarrLedger
from landweave.store.maps.store import read_attributes
from landweave.store.maps.views import open_map
from landweave.store.objects import Target

__all__ = [
    "Check",
    "Config",
    "Status",
    "align",
    "align_plan",
    "check",
    "example_config",
    "load_config",
    "load_cube_config",
    "open_cube",
    "open_engine",
    "open_map",
    "plan",
    "predict",
    "run",
    "stack",
    "status",
]

AnyConfig = TypeVar("AnyConfig", bound=CubeConfig)

ALIGN_THREADS = 1
"""Cores that a worker which only reads and writes is counted for."""

TERMINATE_SHARE = 0.95
"""Of its memory limit at which a nanny kills its worker (``distributed.worker.memory.terminate``)."""


def check(config: Config) -> Check:
    """Whether ``config`` can be carried out: inputs, card, weights, memory and output, all looked at, none written.

    Raises
    ------
    LandweaveError
        With the reason and what to do.
    """
    made = set_up_map(config)
    made.job.model.verify()
    made.target.check_writable()
    _check_files(config)
    find_ledger(made)
    return Check(setup=made)


def _check_files(config: Config) -> None:
    """Make sure that what is written last, beside the map, can be written."""
    for name, where in (("cog", config.output.cog), ("picture", config.output.picture)):
        if where is not None:
            path = Path(config.path(where))
            if path.is_dir():
                raise OutputError(f"output.{name}: {path} is a folder; name a file in it.")
            Target.parse(path.parent).check_writable()


def plan(config: Config, *, stale: bool = False) -> MapPlan:
    """What `run` would do, with its price. Reads no pixel and runs no model.

    Parameters
    ----------
    config
        From `load_config`.
    stale
        Whether blocks whose scenes changed since they were done are run again.
    """
    made = set_up_map(config)
    found = _plan(made, _blocks(made, find_ledger(made), stale))
    return replace(found, notes=(*found.notes, *_opens_note(made, config)))


def run(
    config: Config,
    *,
    stale: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> Summary:
    """Map what is not mapped yet, and write what the configuration asks for beside the map.

    Parameters
    ----------
    config
        From `load_config`.
    stale
        Whether blocks whose scenes changed since they were done are run again.
    engine
        Who runs the blocks, instead of the configuration's own.
    progress
        Who hears of every block.

    Returns
    -------
    Summary
        Its ``exit_code`` is 0 when the map is complete, 3 when blocks failed.

    Raises
    ------
    LandweaveError
        Before anything is written, when the configuration cannot be carried out (``exit_code`` 2); when workers, the
        scheduler or the output go away during the run (3): what is done is kept.
    """
    config = _on(config, engine)
    made = check(config).setup
    _refuse_many_opens(made, config)
    progress = progress or SilentProgress()
    with hold(*made.target.beside(LEASE)) as lease, ExitStack() as workers:
        blocks = _blocks(made, find_ledger(made), stale)
        # Before anything is written: they may not come. For nothing at all no cluster is started.
        settings = made.engine if blocks.todo or not is_whole(made) else replace(made.engine, kind="inline")
        chosen = workers.enter_context(_engine(settings, made.job.torch_threads, engine))
        with begun():
            summary = fill_map(made, blocks, chosen, progress, lease)
    with begun():
        _write_files(made, config)
    return summary


def predict(
    what: Config | xr.DataTree | str | Path,
    card: str | None = None,
    *,
    weights: str | Path | None = None,
    year: int | None = None,
) -> xr.Dataset:
    """The map of a configuration, or of a cube by a model, as a lazy dataset; nothing runs yet.

    The values are those that `landweave.run` writes.

    Slicing and then loading computes the windows that touch the slice, in this process. A few answers are kept.

    Parameters
    ----------
    what
        A configuration from `landweave.load_config` (its output need not be writable, its engine is not used), or a
        cube: from `landweave.open_cube`, a path or a URL. Of a tree the modalities, the days and the ground that it
        still has are mapped, with what windows reach beyond that ground.
    card
        Of the model, for a cube: a name of ``landweave models list``, or a card's file.
    weights
        Of the model, where its card does not name them.
    year
        Civil year of the cube's dates that the model is given.

    Returns
    -------
    xarray.Dataset
        ``landcover``, ``confidence`` (probability x 250) and ``probability`` as configured, uint8, 255 = nodata,
        dims ``(y, x)`` or ``(class, y, x)``, with pixel-centre coordinates, CRS and transform.

    Raises
    ------
    BudgetError
        When more than a gigapixel is loaded at once.
    """
    if not isinstance(what, Config):
        what = config_of_cube(what, card, weights=weights, year=year)
    return lazy_map(set_up_map(what))


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
        ``(time, band, y, x)``, one time a scene; ``step`` names the date that it becomes part of. Reflectance x 10000
        or linear power, 0 where nothing is measured.

    Raises
    ------
    ConfigError
        When the configuration has no such series.
    """
    return open_scenes(config, modality).stack()


def align_plan(config: CubeConfig, *, stale: bool = False) -> AlignPlan:
    """What `align` would do, with its price. Catalogs are searched; no pixel is read and nothing is written.

    Parameters
    ----------
    config
        From `load_config` or `load_cube_config`.
    stale
        Whether tiles of mosaics whose scenes changed since they were aligned are aligned again.
    """
    made = set_up_cube(config)
    return replace(plan_align(made.target, made.parts, area=made.area, stale=stale), notes=made.notes)


def align(
    config: CubeConfig, *, stale: bool = False, engine: Engine | None = None, progress: Progress | None = None
) -> AlignResult:
    """Bring what is new of the configuration's series onto the grid, into its cube.

    Tiles of mosaics whose scenes changed since are aligned again where ``stale`` says so. Everything else is as for
    `run`: who runs the blocks, who hears of them, the answer's ``exit_code``, and what is refused before anything is
    written.
    """
    config = _on(config, engine)
    made, settings = set_up_cube(config), engine_settings(config.engine, ALIGN_THREADS)
    made.target.check_writable()
    price = plan_align(made.target, made.parts, area=made.area, stale=stale)
    if config.cube and price.todo and price.memory > settings.worker_bytes:
        raise BudgetError(
            f"A worker needs {price.memory / GIB:.2f} GiB for tiles of {config.cube.tile} pixels but has "
            f"{settings.worker_bytes / GIB:.2f} GiB: make cube.tile smaller, give engine.memory_gib more, or use fewer "
            f"workers."
        )
    # For nothing at all no cluster is started.
    settings = settings if price.todo else replace(settings, kind="inline")
    with _engine(settings, None, engine) as chosen:
        done = align_cube(made.target, made.parts, engine=chosen, progress=progress, area=made.area, stale=stale)
    return replace(done, plan=replace(done.plan, notes=made.notes))


def _refuse_many_opens(made: MapSetup, config: Config) -> None:
    """Refuse to read series straight from a catalog where that opens more files than is sensible."""
    opens = made.direct_opens()
    if _aligned_first(config, opens):
        raise ConfigError(
            f"{', '.join(made.straight)}: not in a cube yet. Read straight from the catalog a run would open files "
            f"{opens:,} times ({DIRECT_OPENS:,} are let pass where no cube is named). Run `landweave align` first, "
            + ("which fills the cube." if config.cube else "with cube: {store: cube.zarr} in the configuration.")
        )


def _opens_note(made: MapSetup, config: Config) -> list[str]:
    """For the plan, what reading series straight from a catalog comes to."""
    opens = made.direct_opens()
    advice = ": run `landweave align` first" if _aligned_first(config, opens) else ""
    told = f"{', '.join(made.straight)}: read straight from the catalog, opening files {opens:,} times{advice}"
    return [told] if opens else []


def _aligned_first(config: Config, opens: int) -> bool:
    return opens > (0 if config.cube else DIRECT_OPENS)


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a map is.

    Attributes
    ----------
    counts
        Blocks by state.
    failures
        Blocks that failed, with the reason of each.
    """

    counts: dict[BlockState, int]
    failures: tuple[Failure, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return all(state.finished for state, count in self.counts.items() if count)

    def __str__(self) -> str:
        found = {state.words: count for state, count in self.counts.items() if count}
        lines = [f"{name:<13} {count:>9,}" for name, count in found.items()]
        return "\n".join([*lines, *map(str, self.failures)])


def status(where: str | Path, storage_options: Mapping[str, Any] | None = None) -> Status | CubeStatus:
    """How far the map or cube at ``where`` is, and which blocks failed and why.

    Parameters
    ----------
    where
        Path or URL of the store.
    storage_options
        Of the object store.
    """
    target = Target.parse(where, storage_options)
    if (read_attributes(target) or {}).get("format") == CUBE_FORMAT:
        return cube_status(open_cube_store(target))
    found = open_map(target)
    ledger = Ledger.load(ZarrLedger(target=found.store.target), found.store.template.arrays)
    return Status(counts=ledger.counts(), failures=tuple(ledger.failures()))


def _blocks(made: MapSetup, ledger: Ledger, stale: bool) -> BlockActionGrid:
    return plan_block_actions(
        made.job.blocks,
        ledger,
        outside=made.job.outside,
        input_version=made.job.input_version,
        recompute_stale=stale,
    )


def _plan(made: MapSetup, blocks: BlockActionGrid) -> MapPlan:
    return plan_map(made.job, blocks, memory=made.memory, notes=made.notes)


@contextmanager
def open_engine(config: Config) -> Iterator[Engine]:
    """Who runs the blocks of ``config``, for the length of a ``with`` block.

    `align` and `run` start workers of their own, which import every library anew; several calls may share these, given
    as ``engine``. In a script it stands under ``if __name__ == "__main__":``, as workers import the script.

    Raises
    ------
    EngineError
        When the workers do not start, or no scheduler answers.
    """
    threads = config.model.torch_threads
    with _engine(engine_settings(config.engine, threads), threads, None) as engine:
        yield engine


def _on(config: AnyConfig, engine: Engine | None) -> AnyConfig:
    """``config`` with the memory of the workers that are there: of what is free now they hold a part themselves."""
    if config.engine.memory_gib is None and isinstance(engine, DaskEngine) and (limit := engine.worker_bytes):
        held = config.engine.model_copy(update={"memory_gib": limit * TERMINATE_SHARE / GIB})
        return config.model_copy(update={"engine": held})
    return config


@contextmanager
def _engine(settings: EngineSettings, torch_threads: int | None, given: Engine | None) -> Iterator[Engine]:
    if given is not None:
        yield given
    elif settings.kind == "inline":
        yield InlineEngine()
    elif settings.address:
        with connected_engine(settings.address) as engine:
            yield engine
    else:
        with local_engine(
            workers=settings.workers,
            memory_limit=int(settings.worker_bytes / TERMINATE_SHARE),
            torch_threads=torch_threads,
        ) as engine:
            yield engine


def _write_files(made: MapSetup, config: Config) -> None:
    output = config.output
    if output.cog or output.picture:
        found = open_map(made.target)
        if output.cog:
            write_cog(found, config.path(output.cog))
        if output.picture:
            write_picture(found, config.path(output.picture))
