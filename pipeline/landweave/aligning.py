"""Fills a cube: which dates are new, which tiles are left, in which order they become visible; resumable throughout.

::

    parts ──> templates: declared, or compared with the cube there ──> dates planned ──> one time shard after the other:
              blocks on an engine, ledger, commit
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache, cached_property
from types import MappingProxyType
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from landweave.errors import ConfigError, OutputError
from landweave.formats.area import PolygonArea
from landweave.grid import Grid
from landweave.lattice import BlockIndex
from landweave.ports import BlockResult, Engine, ReadCost, SeriesSource, Source, State
from landweave.steps.align import (
    AlignInput,
    AlignJob,
    DatePlan,
    RasterInput,
    SeriesInput,
    TimeShard,
    plan_dates,
    shards,
    tile_memory,
)
from landweave.steps.align_plan import AlignPlan, PartPlan
from landweave.store.cube_dates import Dates
from landweave.store.cube_template import GroupTemplate
from landweave.store.cubes import CubeGroup, CubeStore, TileStore, create_cube, open_cube_store
from landweave.store.maps import read_attributes, refuse_occupied
from landweave.store.objects import Target
from landweave.timeseries import Step
from landweave.work.fingerprint import Fingerprint, differences
from landweave.work.lease import Lease, hold
from landweave.work.ledger import Ledger
from landweave.work.plan import BlockPlan, Task, plan_blocks
from landweave.work.progress import Progress, SilentProgress
from landweave.work.runner import Summary, run_blocks

LEASE = ".lease"
"""Ending of the object beside a cube that one driver holds while it writes."""


@dataclass(frozen=True, kw_only=True)
class AlignPart:
    """One modality to be aligned.

    Attributes
    ----------
    modality
        Name of the group.
    source
        Where its dates come from; a `landweave.ports.Source` becomes a raster without dates.
    grid
        Pixels wanted; they are snapped outwards to whole tiles.
    bands
        In the order they are stored.
    tile, chunk, dates
        As `GroupTemplate` has them; ``dates`` is of no account for a raster.
    rules
        What else the pixels of a series rest on (kernel, how scenes of a strip are joined), plain JSON values; of a
        raster it is the source's whole meaning.
    """

    modality: str
    source: SeriesSource | Source
    grid: Grid
    bands: tuple[str, ...]
    tile: int = 1024
    chunk: int = 256
    dates: int = 32
    rules: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if unknown := [band for band in self.bands if band not in self.source.bands]:
            raise ConfigError(
                f"{self.modality}: bands {unknown} are not among those of its source, {list(self.source.bands)}."
            )

    @property
    def series(self) -> SeriesSource | None:
        """The source where it has dates."""
        return cast("SeriesSource", self.source) if hasattr(self.source, "steps") else None

    def template(self, area: PolygonArea | None) -> GroupTemplate:
        """What its group holds, for the tiles of ``area``."""
        series = self.series
        where = {"area": area.meaning if area else "all"}
        return GroupTemplate(
            modality=self.modality,
            grid=self.grid.with_extent(self.grid.extent.snap(self.tile)),
            bands=self.bands,
            dtype=self.source.dtype.name,
            tile=self.tile,
            chunk=self.chunk,
            dates=self.dates if series else None,
            quantity=series.quantity if series else "",
            clouds=series.clouds if series else {},
            rules={**self.rules, **({} if series else {"source": dict(self.source.meaning)}), **where},
        )


@dataclass(frozen=True, kw_only=True)
class Aligned:
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
        return "\n".join([str(self.summary), *self.failures])


def plan_align(
    target: Target, parts: Sequence[AlignPart], *, area: PolygonArea | None = None, stale: bool = False
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
    works = [_work(cube, target, part, area) for part in parts]
    return _priced(target, works, [work.tasks(stale) for work in works])


def align_cube(
    target: Target,
    parts: Sequence[AlignPart],
    *,
    engine: Engine,
    progress: Progress | None = None,
    area: PolygonArea | None = None,
    stale: bool = False,
) -> Aligned:
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
        works = [_work(cube, target, part, area) for part in parts]
        _declare(cube, target, works)
        for work in works:
            work.note_dates()
        tasks = [work.tasks(stale) for work in works]
        plan = _priced(target, works, tasks)
        flat = [task for shard_tasks in tasks for task in shard_tasks]
        with _told(progress, plan.todo, engine) as heard:
            summaries = [_run(task, engine, heard, lease) for task in flat]
    failures = tuple(line for task in flat for line in task.failures())
    return Aligned(summary=_joined(flat, summaries), failures=failures, plan=plan)


@dataclass(frozen=True, kw_only=True)
class _Work:
    """One part beside what the cube has of it."""

    part: AlignPart
    area: PolygonArea | None
    group: CubeGroup
    declared: bool

    @cached_property
    def dates(self) -> Dates:
        """The group's dates as they stood before this run."""
        return self.group.dates() if self.declared else Dates()

    @cached_property
    def plan(self) -> DatePlan:
        """Dates after this run; of a raster none."""
        found = self.part.series.steps if self.part.series else ()
        return plan_dates(self.dates.seen, self.dates.steps[self.dates.visible :], found)

    def note_dates(self) -> None:
        """Write down which dates are to come, before any of their pixels."""
        if self.part.series:
            self.group.plan(self.plan.steps)

    def tasks(self, stale: bool) -> list[_ShardTask]:
        """Time shards in order, those that are whole too."""
        length = self.group.length
        parts = shards(self.plan.steps, length) if self.part.series else (TimeShard(number=0, steps=()),)
        return [self._task(shard, stale) for shard in parts]

    def input(self, shard: TimeShard, kept: int) -> AlignInput | None:
        """What fills the dates behind the ``kept`` ones; None when some are not among those found."""
        series = self.part.series
        if series is None:
            return RasterInput(source=cast("Source", self.part.source), bands=self.part.bands)
        numbers = [self._numbers.get(step.key) for step in shard.steps[kept:]]
        found = tuple(number for number in numbers if number is not None)
        if len(found) < len(numbers):
            return None
        return SeriesInput(source=series, bands=self.part.bands, steps=found)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        steps: Sequence[Step] = self.part.series.steps if self.part.series else ()
        return {step.key: number for number, step in enumerate(steps)}

    def _task(self, shard: TimeShard, stale: bool) -> _ShardTask:
        template, count = self.group.template, max(len(shard.steps), 1)
        saved = self.group.shard_ledger(shard.number, shard.steps) if self.declared else None
        ledger = Ledger(template.blocks.shape, template.arrays)
        if saved is not None:
            ledger = Ledger.load(saved, template.arrays)
        counts = [number for number in self.dates.ledgers.get(shard.number, ()) if number < count]
        whole = self.group.whole(shard.number, counts)
        return _ShardTask(work=self, shard=shard, ledger=ledger, whole=whole, stale=stale)


@dataclass(frozen=True, kw_only=True)
class _ShardTask:
    """One time shard of a part: what became of its blocks, and what is left."""

    work: _Work
    shard: TimeShard
    ledger: Ledger
    whole: NDArray[np.int64]
    stale: bool

    @property
    def count(self) -> int:
        """Dates of it; 1 for a raster."""
        return max(len(self.shard.steps), 1)

    @property
    def committed(self) -> bool:
        """Whether readers see all its dates, by a ledger in force."""
        return self.count in self.work.dates.ledgers.get(self.shard.number, ())

    @cached_property
    def blocks(self) -> BlockPlan:
        """The lot of every tile."""
        return plan_blocks(
            self.work.group.template.blocks,
            self.ledger,
            outside=self._outside,
            input_version=self._version,
            recompute_stale=self.stale,
        )

    @cached_property
    def todo(self) -> dict[int, list[BlockIndex]]:
        """Tiles to run, by how many dates they keep."""
        found: defaultdict[int, list[BlockIndex]] = defaultdict(list)
        for index in self.blocks.todo:
            found[int(self.whole[index])].append(index)
        return dict(sorted(found.items()))

    def job(self, kept: int) -> AlignJob | None:
        """The job of tiles that keep ``kept`` dates; None when the others are not among those found."""
        given = self.work.input(self.shard, kept)
        if given is None:
            return None
        group = self.work.group
        return AlignJob(
            key=f"align {group.template.modality} {self.shard.number}-{self.count}-{kept} of {group.target}",
            grid=group.grid,
            blocks=group.template.blocks,
            input=given,
            store=TileStore(group=group, shard=self.shard.number, count=self.count, kept=kept),
            area=self.work.area,
        )

    def failures(self) -> Iterator[str]:
        """One line a block that failed."""
        steps = sorted(self.shard.steps, key=lambda step: step.time)
        dates = f", dates {steps[0].time.astype('M8[D]')} to {steps[-1].time.astype('M8[D]')}" if steps else ""
        for failure in self.ledger.failures():
            yield f"{self.work.part.modality}, time shard {self.shard.number}{dates}, {failure}"

    def _outside(self, index: BlockIndex) -> bool:
        area = self.work.area
        return area is not None and not area.touches(_tile(self.work.group.template, index))

    def _version(self, index: BlockIndex) -> int:
        """Of a raster, its scenes as they are now; dates are never stale: they stay as they were aligned."""
        if self.work.part.series:
            return int(self.ledger.fields["inputs"][index])
        source = cast("Source", self.work.part.source)
        return RasterInput(source=source, bands=self.work.part.bands).version(_tile(self.work.group.template, index))


def _found(target: Target) -> CubeStore | None:
    """The cube at ``target``; None where nothing is. What is no cube is refused."""
    if read_attributes(target) is None:
        refuse_occupied(target)
        return None
    return open_cube_store(target)


def _work(cube: CubeStore | None, target: Target, part: AlignPart, area: PolygonArea | None) -> _Work:
    """One part beside its group; a group that means something else is refused."""
    template = part.template(area)
    known = cube.groups.get(part.modality) if cube else None
    if known is None:
        return _Work(part=part, area=area, group=CubeGroup(target=target, template=template), declared=False)
    if differing := differences(Fingerprint(known.template.meaning), Fingerprint(template.meaning)):
        raise OutputError(
            f"{target} holds {part.modality} aligned in another way. What differs:\n"
            + "\n".join(f"- {line}" for line in differing)
            + "\nChoose another cube, or remove that one."
        )
    return _Work(part=part, area=area, group=known, declared=True)


def _declare(cube: CubeStore | None, target: Target, works: Sequence[_Work]) -> None:
    """Make the cube and the groups that are not there yet."""
    cube = cube or create_cube(target)
    for work in works:
        if not work.declared:
            cube = cube.declare(work.group.template)


def _run(task: _ShardTask, engine: Engine, progress: Progress, lease: Lease) -> list[Summary]:
    """Run what is left of one time shard, then let readers see it."""
    group, ledger = task.work.group, task.ledger
    saved = group.shard_ledger(task.shard.number, task.shard.steps)
    if task.committed and saved and not task.todo:
        return []
    saved = saved or group.start_ledger(task.shard.number, task.shard.steps)
    for index in task.blocks.blocks(Task.OUTSIDE):
        if ledger.state(index) is not State.OUTSIDE:
            ledger.mark(index, BlockResult(state=State.OUTSIDE))
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


def _joined(tasks: Sequence[_ShardTask], summaries: Sequence[Sequence[Summary]]) -> Summary:
    """All time shards in one."""
    ran = [summary for of_task in summaries for summary in of_task]
    counts: Counter[State] = Counter({state: 0 for state in State})
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


def _priced(target: Target, works: Sequence[_Work], tasks: Sequence[Sequence[_ShardTask]]) -> AlignPlan:
    parts = (_part_plan(work, of_part) for work, of_part in zip(works, tasks, strict=True))
    return AlignPlan(output=str(target), parts=tuple(parts))


def _part_plan(work: _Work, tasks: Sequence[_ShardTask]) -> PartPlan:
    """The price of one part. Costs are told for all dates of a source: each block has its share of them."""
    template, source, series = work.group.template, work.part.source, work.part.series
    price, files = _prices(source, template)
    opens, read, decoded, raw, stuck, todo = 0.0, 0.0, Counter[str](), 0, 0, 0
    for task in tasks:
        for kept, blocks in task.todo.items():
            if task.job(kept) is None:
                stuck += len(blocks)
                continue
            todo += len(blocks)
            share = (task.count - kept) / max(len(series.steps), 1) if series else 1.0
            raw += len(blocks) * task.count * _tile_bytes(template)
            for index in blocks:
                opens += files(index) * share
                read += price(index).bytes * share
                decoded.update({name: round(n * share) for name, n in price(index).decoded_pixels.items()})
    begun = [task for task in tasks if task.todo and not task.committed]
    rewritten = sum(bool(work.dates.ledgers.get(task.shard.number)) for task in begun)
    return PartPlan(
        modality=template.modality,
        new=work.plan.new if series else None,
        kept=work.plan.kept if series else None,
        changed=work.plan.changed,
        tiles=len(template.blocks),
        outside=tasks[0].blocks.count(Task.OUTSIDE) if tasks else 0,
        shards_new=len(begun) - rewritten,
        shards_rewritten=rewritten,
        todo=todo,
        stuck=stuck,
        opens=round(opens),
        read_bytes=round(read),
        decoded_pixels=dict(decoded),
        raw_bytes=raw,
        memory=tile_memory(
            pixels=template.tile**2,
            bands=len(template.bands),
            itemsize=np.dtype(template.dtype).itemsize,
            dates=max((task.count for task in tasks), default=1),
        ),
    )


def _tile(template: GroupTemplate, index: BlockIndex) -> Grid:
    """Pixels of one tile."""
    return template.grid.with_extent(template.blocks[index])


def _tile_bytes(template: GroupTemplate) -> int:
    """Of one date of one tile."""
    return template.tile**2 * (len(template.bands) * np.dtype(template.dtype).itemsize + 1)


def _prices(
    source: SeriesSource | Source, template: GroupTemplate
) -> tuple[Callable[[BlockIndex], ReadCost], Callable[[BlockIndex], int]]:
    """Cost of reading a tile on every date, and files opened for it, each asked of the source once a tile."""
    count = getattr(source, "opens", None) or (lambda grid: len(source.scenes(grid)))
    return (
        cache(lambda index: source.cost(_tile(template, index))),
        cache(lambda index: int(count(_tile(template, index)))),
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
