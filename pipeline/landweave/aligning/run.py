"""Runs an alignment: parts declared, tiles run on an engine, time shards committed one after the other.

::

    parts ──> templates: declared, or compared with the cube there ──> dates planned ──> one time shard after the other:
              blocks on an engine, ledger, commit
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from types import MappingProxyType

from landweave.aligning.costs import price_plan
from landweave.aligning.groups import AlignGroup
from landweave.aligning.pending import PendingGroup, PendingShard, work_of
from landweave.aligning.plan import AlignPlan
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockResult, BlockState, Engine
from landweave.formats.area import PolygonArea
from landweave.jobs.lease import LEASE, Lease, hold
from landweave.jobs.plan import BlockAction
from landweave.jobs.progress import Progress, SilentProgress
from landweave.jobs.runner import Summary, begun, run_blocks
from landweave.store.common import read_attributes, refuse_occupied
from landweave.store.cubes.store import CubeStore, create_cube, open_cube_store
from landweave.store.objects import Target


@dataclass(frozen=True, kw_only=True)
class AlignResult:
    """What an alignment did.

    Attributes
    ----------
    summary
        Blocks (tile x time shard) of all parts in every state, and how long this run took.
    failures
        One line a block that failed: modality, time shard, tile, why.
    plan
        What was to be done.
    """

    summary: Summary
    failures: tuple[str, ...]
    plan: AlignPlan

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do."""
        return self.summary.complete

    @property
    def exit_code(self) -> int:
        """0 when complete, 3 when blocks failed or are left."""
        return self.summary.exit_code

    def __str__(self) -> str:
        return "\n".join([str(self.summary), *self.plan.notes, *self.failures])


def plan_align(
    target: Target, parts: Sequence[AlignGroup], *, area: PolygonArea | None = None, stale: bool = False
) -> AlignPlan:
    """What `align_cube` would do, with its price. Reads no pixel and writes nothing.

    Parameters
    ----------
    target
        Where the cube lies, or will.
    parts
        One a modality; groups of other modalities are left alone.
    area
        Ground to be aligned, whole tiles of it: all that windows of the map reach; None for the whole grids.
    stale
        Whether tiles of rasters whose scenes changed since they were done are run again.

    Raises
    ------
    OutputError
        When the cube there was aligned in another way: what differs is named.
    """
    cube = _found(target)
    works = [work_of(cube, target, part, area) for part in parts]
    return price_plan(target, works, [work.tasks(stale) for work in works])


def align_cube(
    target: Target,
    parts: Sequence[AlignGroup],
    *,
    engine: Engine,
    progress: Progress | None = None,
    area: PolygonArea | None = None,
    stale: bool = False,
) -> AlignResult:
    """Align what is not aligned yet: new dates, new modalities, and blocks that failed or were never reached.

    A time shard becomes visible when every block of it was tried. A block that failed hides its own tile only, and
    is run again by the next alignment. A run that is killed and run again gives the same bytes.

    Parameters
    ----------
    target, parts, area, stale
        As in `plan_align`.
    engine
        Who runs the blocks.
    progress
        Who hears of every block.

    Raises
    ------
    OutputError
        When the cube there was aligned in another way, another driver writes it, or it cannot be written.
    """
    progress = progress or SilentProgress()
    with hold(*target.beside(LEASE)) as lease:
        cube = _found(target)
        works = [work_of(cube, target, part, area) for part in parts]
        with begun():
            _declare(cube, target, works)
            for work in works:
                work.note_dates()
            tasks = [work.tasks(stale) for work in works]
            plan = price_plan(target, works, tasks)
            flat = [task for shard_tasks in tasks for task in shard_tasks]
            with _told(progress, plan.todo, engine) as heard:
                summaries = [_run(task, engine, heard, lease) for task in flat]
    failures = tuple(line for task in flat for line in task.failures())
    return AlignResult(summary=_joined(flat, summaries), failures=failures, plan=plan)


def _found(target: Target) -> CubeStore | None:
    """The cube at ``target``; None where nothing is. What is no cube is refused."""
    attributes = read_attributes(target)
    if attributes is None:
        refuse_occupied(target)
        return None
    return open_cube_store(target, attributes)


def _declare(cube: CubeStore | None, target: Target, works: Sequence[PendingGroup]) -> None:
    """Make the cube and the groups that are not there yet."""
    cube = cube or create_cube(target)
    for work in works:
        if not work.declared:
            cube = cube.declare(work.group.template)


def _run(task: PendingShard, engine: Engine, progress: Progress, lease: Lease) -> list[Summary]:
    """Run what is left of one time shard, then let readers see it."""
    group, ledger = task.work.group, task.ledger
    saved = group.shard_ledger(task.shard.number, task.shard.observations)
    if task.committed and saved and not task.todo:
        return []
    saved = saved or group.start_ledger(task.shard.number, task.shard.observations)
    for index in task.blocks.blocks(BlockAction.OUTSIDE):
        if ledger.state(index) is not BlockState.OUTSIDE:
            ledger.mark(index, BlockResult(state=BlockState.OUTSIDE))
    ledger.flush(saved)
    jobs = [(task.job(kept), blocks) for kept, blocks in task.todo.items()]
    summaries = [
        run_blocks(job, engine, ledger, saved, blocks=blocks, progress=progress, lease=lease)
        for job, blocks in jobs
        if job is not None
    ]
    lease.check()
    group.commit(task.shard.number, task.count, complete=not ledger.todo())
    return summaries


def _joined(tasks: Sequence[PendingShard], summaries: Sequence[Sequence[Summary]]) -> Summary:
    """All time shards in one."""
    ran = [summary for of_task in summaries for summary in of_task]
    counts: Counter[BlockState] = Counter({state: 0 for state in BlockState})
    for task in tasks:
        counts.update(task.ledger.counts())
    stages: Counter[str] = Counter()
    for summary in ran:
        stages.update(summary.stage_seconds)
    return Summary(
        counts=MappingProxyType(dict(counts)),
        ran=sum(summary.ran for summary in ran),
        seconds=sum(summary.seconds for summary in ran),
        pixels=sum(summary.pixels for summary in ran),
        stage_seconds=MappingProxyType(dict(stages)),
    )


class _Heard:
    """Many runs as one: what begins and ends between them is not told."""

    def __init__(self, progress: Progress) -> None:
        self._progress = progress

    def start(self, total: int, engine: str) -> None:
        """Nothing: the whole was told."""

    def advance(self, index: BlockIndex, result: BlockResult) -> None:
        """Block ``index`` has ended, well or not."""
        self._progress.advance(index, result)

    def stop(self) -> None:
        """Nothing: there may be more."""


@contextmanager
def _told(progress: Progress, total: int, engine: Engine) -> Iterator[Progress]:
    """A progress that hears of the whole at its beginning and end."""
    progress.start(total, engine.name)
    try:
        yield _Heard(progress)
    finally:
        progress.stop()
