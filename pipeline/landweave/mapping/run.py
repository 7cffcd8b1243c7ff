"""Runs a map: what its output holds already, the blocks that are left, the overviews of what was written."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.errors import ConfigError, OutputError
from landweave.core.protocols import BlockState, Engine
from landweave.core.retry import RETRIES
from landweave.core.stopwatch import Stopwatch
from landweave.core.words import counted
from landweave.jobs.audit import run_until_whole
from landweave.jobs.fingerprint import require_same_settings
from landweave.jobs.lease import Lease, hold_output
from landweave.jobs.ledger import Ledger
from landweave.jobs.plan import BlockAction, BlockActionGrid
from landweave.jobs.progress import Progress, SilentProgress, shown
from landweave.jobs.result import RunResult, Status, coverage_notes, is_empty, join_results
from landweave.jobs.runner import CatchingJob, interrupt, recorded_interrupts, run_blocks, writing_begun
from landweave.mapping.estimate import Estimate
from landweave.mapping.job import UNTRAINED, absent_key
from landweave.mapping.plan import MapPlan, cost_map, count_windows
from landweave.mapping.setup import DIRECT_OPENS, MapSetup
from landweave.mapping.verify import (
    find_damage,
    load_ledger,
    remove_orphans,
    restore_legend,
    restore_metadata,
    stale_lines,
)
from landweave.models.pace import bench_options, known_pace
from landweave.models.predictor import TorchModel
from landweave.store.common import find_attributes, parsing
from landweave.store.ledger_store import ZarrLedger
from landweave.store.maps.overviews import create_overviews, mark_overviews, overviews_complete
from landweave.store.maps.store import MapStore, create_map, create_map_ledger, open_store
from landweave.store.maps.template import FORMAT
from landweave.store.objects import Target


@dataclass(frozen=True, kw_only=True)
class MapOutput:
    """What an output holds of a map, read once.

    Attributes
    ----------
    attributes
        Of the root of the map; None where it is not declared.
    stored
        Its ledger in the store; None where there is none yet.
    ledger
        The states of its blocks, those whose objects are missing or torn damaged; a new one where none is stored.
    overviews_complete
        Whether the overviews are those of the map as it is.
    sizes
        Bytes of every object that is stored, by its key.
    notes
        What was found damaged.
    """

    attributes: Mapping[str, Any] | None
    stored: ZarrLedger | None
    ledger: Ledger
    overviews_complete: bool
    sizes: Mapping[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def check_output(setup: MapSetup) -> Mapping[str, Any] | None:
    """The root attributes of this map; None where the output does not hold it yet.

    Raises
    ------
    OutputError
        When it holds anything else: the settings that differ are named.
    """
    attributes = find_attributes(setup.target)
    if attributes is None:
        return None
    if attributes.get("format") != FORMAT:
        raise OutputError(
            f"{setup.target} holds a Zarr store of the format {attributes.get('format')!r}, a map has {FORMAT!r}: "
            "choose another output.store."
        )
    with parsing(f"{setup.target}"):
        stored = dict(attributes.get("provenance", {}).get("fingerprint_fields", {}))
        require_same_settings(
            stored,
            _with_known_weights(setup.fingerprint.parts, stored),
            f"{setup.target} holds the map of another run",
            "Choose another output.store, or remove that map.",
        )
    return attributes


def _with_known_weights(parts: Mapping[str, Any], stored: Mapping[str, Any]) -> Mapping[str, Any]:
    """The settings with the map's own weights where ours are not here, and only a plan is made."""
    if parts["model"]["weights"] or "model" not in stored:
        return parts
    return {**parts, "model": {**parts["model"], "weights": stored["model"].get("weights")}}


def read_output(setup: MapSetup, *, repair: bool = False) -> MapOutput:
    """What the output holds of this map; anything else is refused as by `check_output`.

    Parameters
    ----------
    setup
        The map.
    repair
        Whether metadata that is missing or damaged is written again; only under the lease.
    """
    attributes = check_output(setup)
    store, arrays = setup.store, setup.template.arrays
    if attributes is None:
        ledger = Ledger(setup.job.blocks.shape, arrays)
        return MapOutput(attributes=None, stored=None, ledger=ledger, overviews_complete=False)
    sizes = setup.target.sizes()
    notes: list[str] = []
    if repair:
        attributes, notes = restore_legend(store, attributes, sizes)
        notes += restore_metadata(store, sizes)
    # Not implied by the map: a driver may have been killed between the two.
    stored = store.ledger if store.ledger.attributes else None
    ledger, found = (
        load_ledger(store, sizes if repair else None) if stored else (Ledger(setup.job.blocks.shape, arrays), [])
    )
    complete = overviews_complete(store, sizes, ledger.fields["state"] != BlockState.OUTSIDE)
    return MapOutput(
        attributes=attributes,
        stored=stored,
        ledger=ledger,
        overviews_complete=complete,
        sizes=sizes,
        notes=(*notes, *found),
    )


def declare_output(setup: MapSetup, output: MapOutput) -> ZarrLedger:
    """The stored ledger; map and ledger are declared where the output does not have them yet.

    Parameters
    ----------
    setup
        The map.
    output
        What is stored of it.

    Raises
    ------
    OutputError
        When they cannot be written.
    """
    if output.attributes is None:
        create_map(setup.target, setup.template)
    return output.stored or create_map_ledger(setup.store)


def plan_map(setup: MapSetup, *, stale: bool = False) -> MapPlan:
    """What `run_map` would do, and its cost. Reads no pixel and writes nothing.

    Parameters
    ----------
    setup
        The map.
    stale
        Whether blocks whose files changed since they were done are run again.
    """
    notes = list(setup.notes)
    opens = setup.direct_opens()
    if total := sum(opens.values()):
        advice = ": run `landweave align` first" if total > setup.direct_opens_allowed else ""
        notes.append(f"{', '.join(opens)}: read straight from the catalog, opening files {total:,} times{advice}")
    return _cost(setup, setup.actions(read_output(setup).ledger, stale=stale), *notes)


def _cost(setup: MapSetup, actions: BlockActionGrid, *notes: str) -> MapPlan:
    return cost_map(setup.job, actions, memory=setup.memory, estimate=partial(_estimate, setup), notes=notes)


def _estimate(setup: MapSetup, windows: int, decode_seconds: float) -> Estimate:
    engine, model = setup.engine, setup.job.model
    return Estimate(
        bench=shlex.quote(setup.card_place) + (bench_options(model.settings) if isinstance(model, TorchModel) else ""),
        windows=windows,
        decode_seconds=decode_seconds,
        workers=None if engine.address else engine.workers,
        pace=known_pace(model.settings) if isinstance(model, TorchModel) else None,
        cost_per_hour=engine.cost_per_hour,
        power_watts=engine.power_watts,
    )


def run_map(
    setup: MapSetup, *, stale: bool = False, engine: Engine | None = None, progress: Progress | None = None
) -> RunResult:
    """Map the blocks that are not done yet, and write the overviews.

    The output is opened once, under the lease: its root, its ledger and the state of its overviews are read once.

    Parameters
    ----------
    setup
        The map.
    stale
        Whether blocks whose files changed since they were done are run again.
    engine
        Runs the blocks, in place of the setup's own.
    progress
        Advanced with every block.

    Raises
    ------
    ConfigError
        When series would be read straight from a catalog more often than is sensible.
    InputError
        When the values of an input are not of the kind that the model was trained on.
    OutputError
        When the output holds anything else, another driver writes it, or it cannot be written.
    EngineError
        When workers do not start or go away.
    """
    started = time.perf_counter()
    _refuse_many_opens(setup)
    with hold_output(setup.target) as lease:
        output = read_output(setup, repair=True)
        actions = setup.actions(output.ledger, stale=stale)
        if actions.todo:
            setup = setup.with_values()
        from landweave.engine.clusters import open_engine  # Dask, which a plan does without

        blocks = len(actions.todo) or int(not output.overviews_complete)
        # Before anything is written, as workers may not come.
        threads, need_bytes = setup.job.model.torch_threads, setup.memory.worker
        opening = open_engine(setup.engine, threads, engine, needs=setup.job, need_bytes=need_bytes, blocks=blocks)
        with opening as opened, writing_begun():
            watch = Stopwatch()
            watch.seconds["start"] = time.perf_counter() - started
            result = _fill(setup, output, actions, opened, progress or SilentProgress(), lease, watch)
            return result.with_parts(**watch.seconds)


def _fill(
    setup: MapSetup,
    output: MapOutput,
    actions: BlockActionGrid,
    engine: Engine,
    progress: Progress,
    lease: Lease,
    watch: Stopwatch,
) -> RunResult:
    ledger, todo = output.ledger, actions.todo
    lease.check()  # workers may have taken minutes to come
    ledger_store = declare_output(setup, output)
    ledger.mark_outside(actions.blocks(BlockAction.OUTSIDE))
    store = replace(setup.store, fence=lease.fence)
    orphans = remove_orphans(store, ledger, output.sizes)
    complete = output.overviews_complete and not todo and not orphans
    if output.overviews_complete and not complete:
        mark_overviews(setup.store, complete=False)
    job = replace(setup.job, store=store)
    run = partial(run_blocks, job, engine, ledger, ledger_store, progress=progress, lease=lease)
    with watch("blocks"), shown(progress, len(todo), engine.name):
        find = partial(find_damage, store, ledger, followed=lease.followed)
        results = list(run_until_whole(lambda blocks: [run(blocks=blocks)], todo, ledger, find)) if todo else []
    lease.check()
    ledger.flush(ledger_store)
    retries = 0
    if not complete:
        with watch("overviews"):
            retries = _write_overviews(store, actions.actions != BlockAction.OUTSIDE, engine)
        lease.check()
        mark_overviews(setup.store, complete=True)
        setup.store.finalize(output.attributes or setup.template.to_attributes())
    kept = () if actions.recompute_stale else actions.blocks(BlockAction.STALE)
    stale = stale_lines(setup.job, setup.store, kept)
    notes = (*setup.notes, *output.notes, *(_software_notes(setup, output) if todo else ()))
    result = join_results(results, [ledger], ledger.failures(), notes, stale=stale)
    result = replace(result.with_retries(retries), planned=_cost(setup, actions).figures if todo else {})
    return replace(
        result,
        windows_needed=count_windows(setup.job, todo),
        notes=(*result.notes, *coverage_notes("the map", [result]), *_notes_on_blocks(result.sums, setup.job.inputs)),
        empty=("the map",) if is_empty(result.counts) else (),
    )


def _notes_on_blocks(sums: Mapping[str, int], modalities: Iterable[str]) -> list[str]:
    """What the blocks of a run counted, and a person should know."""
    windows, absent = sums.get("windows", 0), [(name, sums.get(absent_key(name), 0)) for name in modalities]
    notes = [
        f"{name}: nothing was measured in {n:,} of {counted(windows, 'window')} of this run" for name, n in absent if n
    ]
    if untrained := sums.get(UNTRAINED, 0):
        notes.append(
            f"{counted(untrained, 'pixel', 'is')} nodata in this run, as classes that were never trained have all the "
            "probability there: does the card list the classes in the network's order?"
        )
    return notes


def _software_notes(setup: MapSetup, output: MapOutput) -> list[str]:
    """That a map is continued with other software than it was begun with, where it is."""
    before = ((output.attributes or {}).get("provenance") or {}).get("libraries") or {}
    now = setup.template.attributes["libraries"]
    changed = [f"{name} was {value}, is {now[name]}" for name, value in before.items() if now.get(name, value) != value]
    return [f"the map was begun with other software than it is continued with: {', '.join(changed)}"] if changed else []


def _write_overviews(store: MapStore, mapped: NDArray[np.bool_], engine: Engine) -> int:
    """Write all overviews; the number of requests that were tried again."""
    retries = 0
    with recorded_interrupts() as interrupts:
        for job in create_overviews(store, mapped):
            for index, result in engine.run(CatchingJob(job), job.blocks):
                if result.state is not BlockState.DONE:
                    raise OutputError(f"Overview {job.store.level}, block {index}: {result.reason}")
                retries += result.counts.get(RETRIES, 0)
                if interrupts:
                    raise interrupt(interrupts[0])
    return retries


def setup_status(setup: MapSetup) -> Status:
    """How far the map of a configuration is, and which of its blocks are stale; nothing is written."""
    output = read_output(setup)
    stale = setup.actions(output.ledger, stale=False).blocks(BlockAction.STALE)
    return Status(
        counts=output.ledger.counts(),
        failures=tuple(output.ledger.failures()),
        stale=tuple(stale_lines(setup.job, setup.store, stale)),
        states=output.ledger.fields["state"],
    )


def _refuse_many_opens(setup: MapSetup) -> None:
    opens, allowed = setup.direct_opens(), setup.direct_opens_allowed
    if sum(opens.values()) > allowed:
        advice = "with cube: {store: cube.zarr} in the configuration." if allowed else "which fills the cube."
        raise ConfigError(
            f"{', '.join(opens)}: not in a cube yet. Read straight from the catalog a run would open files "
            f"{counted(sum(opens.values()), 'time')} ({allowed or DIRECT_OPENS:,} are let pass where no cube is "
            f"named). Run `landweave align` first, {advice}"
        )


def map_status(target: Target, attributes: Mapping[str, Any] | None = None) -> Status:
    """How far a map is, from its ledger.

    Parameters
    ----------
    target
        Path or URL of the map.
    attributes
        Of its root, where they have been read already.

    Raises
    ------
    InputError
        When there is no map.
    """
    store = open_store(target, attributes)
    ledger, _ = load_ledger(store)
    return Status(counts=ledger.counts(), failures=tuple(ledger.failures()), states=ledger.fields["state"])
