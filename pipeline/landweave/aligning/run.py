"""Runs an alignment: groups declared, tiles run on an engine, time shards committed one after the other.

::

    groups ──> templates: declared, or compared with the cube ──> dates planned ──> one time shard after the other:
               blocks on an engine, ledger, commit
"""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np

from landweave.aligning.dates import time_shards
from landweave.aligning.groups import AlignGroup
from landweave.aligning.job import AlignNeeds
from landweave.aligning.pending import (
    PendingGroup,
    PendingShard,
    failure_lines,
    find_pending,
)
from landweave.aligning.plan import AlignPlan, cost_align
from landweave.aligning.verify import find_damage, load_shard_ledger, mend_ledgers
from landweave.core.block_states import most_urgent
from landweave.core.budget import check_memory
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockState, Engine, WriteFence, source_notes
from landweave.core.words import counted, first_lines
from landweave.engine.settings import EngineSettings
from landweave.formats.area import PolygonArea
from landweave.jobs.audit import run_until_whole
from landweave.jobs.lease import Lease, hold_output
from landweave.jobs.ledger import Ledger
from landweave.jobs.plan import BlockAction
from landweave.jobs.progress import Progress, SilentProgress, shown
from landweave.jobs.result import (
    SHOWN_FAILURES,
    RunResult,
    Status,
    coverage_notes,
    is_empty,
    join_results,
    join_status,
    total_counts,
)
from landweave.jobs.runner import run_blocks, writing_begun
from landweave.store.common import find_attributes
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.observations import GroupObservations
from landweave.store.cubes.restore import restore_cube_metadata
from landweave.store.cubes.store import CubeStore, create_cube, open_cube_store
from landweave.store.objects import Target

INLINE = EngineSettings(kind="inline", workers=1, address=None, worker_bytes=sys.maxsize)


@dataclass(frozen=True, kw_only=True)
class CubeSetup:
    """An alignment that can be run, every setting resolved.

    Attributes
    ----------
    target
        Where the cube is stored.
    groups
        One for each modality; other groups of the cube are left alone.
    area
        What is aligned, in whole tiles: the area of the map and the margin around it; None for the whole grids.
    engine
        Which engine runs the blocks.
    """

    target: Target
    groups: tuple[AlignGroup, ...]
    area: PolygonArea | None = None
    engine: EngineSettings = INLINE

    @property
    def notes(self) -> tuple[str, ...]:
        """What the sources noted: items of a catalog that are not used, tiles that lie on others."""
        return tuple(note for group in self.groups for note in source_notes(group.modality, group.source.describe()))


def plan_align(setup: CubeSetup, *, stale: bool = False) -> AlignPlan:
    """What `run_align` would do, and its cost. Reads no pixel and writes nothing.

    Parameters
    ----------
    setup
        The alignment.
    stale
        Whether tiles of rasters whose files changed since they were aligned are run again.

    Raises
    ------
    OutputError
        When the cube was aligned with other settings: those that differ are named.
    """
    return cost_align(setup.target, _find(setup, stale)[1], setup.notes)


def run_align(
    setup: CubeSetup,
    *,
    stale: bool = False,
    accept_missing: bool = False,
    engine: Engine | None = None,
    progress: Progress | None = None,
) -> RunResult:
    """Align what is not aligned yet: new dates, new modalities, and blocks that failed or were never reached.

    A time shard becomes visible when every block of it was tried. A block that failed hides its own tile only, and
    is run again by the next alignment. A run that is killed and run again gives the same bytes. The cube is opened
    once, under the lease: its root, and the metadata and dates of each group are read once.

    Parameters
    ----------
    setup, stale
        As in `plan_align`.
    accept_missing
        Whether dates whose files or items are gone for good are marked as not acquired in those tiles, which fail or
        wait otherwise.
    engine
        Runs the blocks, in place of the setup's own.
    progress
        Advanced with every block.

    Raises
    ------
    BudgetError
        When a worker has too little memory for the tiles.
    OutputError
        When the cube was aligned with other settings, another driver writes it, or it cannot be written.
    EngineError
        When workers do not start or go away.
    """
    from landweave.engine.clusters import open_engine  # Dask, which a plan does without

    progress = progress or SilentProgress()
    with hold_output(setup.target) as lease:
        cube, groups = _find(setup, stale, accept_missing, mend=True)
        plan = cost_align(setup.target, groups, setup.notes)
        if plan.todo:
            tiles = f"tiles of {max(group.tile for group in setup.groups)} pixels"
            check_memory(plan.memory, setup.engine.worker_bytes, tiles, "cube.tile")
        needs = AlignNeeds(target=setup.target)
        with (
            open_engine(setup.engine, None, engine, needs=needs, need_bytes=plan.memory, blocks=plan.todo) as opened,
            writing_begun(),
        ):
            lease.check()  # workers may have taken minutes to come
            declared = _declare(cube or create_cube(setup.target), groups)
            with shown(progress, plan.todo, opened.name):
                results = {
                    pending.spec.modality: list(_run_group(pending.shards, dates, opened, progress, lease))
                    for pending, dates in declared
                }
    shards = [shard for pending in groups for shard in pending.shards]
    coverage = [line for name, of_group in results.items() for line in coverage_notes(name, of_group)]
    return join_results(
        [result for of_group in results.values() for result in of_group],
        ledgers=[shard.ledger for shard in shards],
        failures=[
            line for shard in shards for line in failure_lines(shard.pending.spec.modality, shard.shard, shard.ledger)
        ],
        notes=(*plan.notes, *coverage, *_missing_notes(shards)),
        empty=tuple(pending.spec.modality for pending in groups if is_empty(_counts(pending))),
        stale=[line for shard in shards for line in shard.stale_lines()],
    )


def _counts(pending: PendingGroup) -> dict[BlockState, int]:
    return total_counts(shard.ledger.counts() for shard in pending.shards)


def _missing_notes(shards: Sequence[PendingShard]) -> list[str]:
    """How many tiles have dates that were marked as not acquired, their files being gone, and which files."""
    tiles = Counter(
        (f"{shard.pending.spec.modality}, {shard.shard}", reason)
        for shard in shards
        for _, reason in shard.ledger.remarks()
    )
    lines = [f"{shard}, {counted(n, 'tile')}: marked as not acquired: {reason}" for (shard, reason), n in tiles.items()]
    return first_lines(lines, SHOWN_FAILURES, "more marked as not acquired")


def _find(
    setup: CubeSetup, stale: bool, accept_missing: bool = False, *, mend: bool = False
) -> tuple[CubeStore | None, list[PendingGroup]]:
    """The cube, None where there is none, and what is left to align; other settings than the cube's are refused."""
    attributes = find_attributes(setup.target)
    if mend and attributes is not None:
        restore_cube_metadata(setup.target)
    cube = None if attributes is None else open_cube_store(setup.target, attributes)
    ledgers: dict[str, Ledger] = {}
    for each in setup.groups if mend and cube else ():
        if cube and each.modality in cube.modalities:
            ledgers |= mend_ledgers(cube.group(each.modality))
    settings: Any = {"area": setup.area, "stale": stale, "accept_missing": accept_missing, "ledgers": ledgers}
    return cube, [find_pending(cube, setup.target, each, **settings) for each in setup.groups]


def _declare(cube: CubeStore, groups: Sequence[PendingGroup]) -> list[tuple[PendingGroup, GroupObservations]]:
    """Declare the groups that are not there yet, and store the dates to come of each, before any pixel."""
    declared = []
    for pending in groups:
        if not pending.declared:
            cube = cube.declare(pending.group.template)
        dates = pending.group.plan(pending.date_plan.observations, dates=pending.dates)
        declared.append((pending, dates))
    return declared


def _run_group(
    shards: Sequence[PendingShard], dates: GroupObservations, engine: Engine, progress: Progress, lease: Lease
) -> Iterator[RunResult]:
    """Run what is left of the time shards of one modality, and let readers see each when it was tried."""
    for shard in shards:
        group, ledger, number = shard.pending.group, shard.ledger, shard.shard.number
        if shard.committed and shard.stored and not shard.todo:
            continue
        stored = shard.stored or group.start_ledger(number, shard.shard.observations)
        ledger.mark_outside(shard.actions.blocks(BlockAction.OUTSIDE))
        ledger.flush(stored)
        run = partial(run_blocks, engine=engine, ledger=ledger, ledger_store=stored, progress=progress, lease=lease)
        find = partial(find_damage, group, shard.shard, ledger, followed=lease.followed)
        yield from run_until_whole(partial(_run_tiles, shard, run, lease.fence), shard.actions.todo, ledger, find)
        lease.check()
        ledger.flush(stored)
        dates = group.commit(number, shard.shard.count, complete=not ledger.todo(), dates=dates)


def _run_tiles(
    shard: PendingShard, run: Callable[..., RunResult], fence: WriteFence, blocks: Sequence[BlockIndex]
) -> Iterator[RunResult]:
    """Run tiles of a time shard, those that keep as many dates together."""
    for kept, tiles in shard.by_kept(blocks).items():
        if (job := shard.job(kept, fence)) is not None:
            yield run(job, blocks=tiles)


def cube_status(cube: CubeStore) -> Status:
    """How far a cube is, by modality, from its ledgers."""
    return join_status({name: _group_status(group) for name, group in cube.groups.items()})


def _group_status(group: CubeGroup) -> Status:
    dates, template = group.dates(), group.template
    ledgers: list[Ledger] = []
    failures: list[str] = []
    for shard in time_shards(dates.observations, template.time_shard):
        stored = group.shard_ledger(shard.number, shard.observations)
        ledger = load_shard_ledger(group, shard, stored)
        ledgers.append(ledger)
        failures += failure_lines(template.modality, shard, ledger)
    return Status(
        counts=total_counts(ledger.counts() for ledger in ledgers),
        failures=tuple(failures),
        dates=dates.visible if template.is_series else None,
        dates_to_come=len(dates.observations) - dates.visible if template.is_series else 0,
        states=most_urgent(np.stack([ledger.fields["state"] for ledger in ledgers])) if ledgers else None,
    )
