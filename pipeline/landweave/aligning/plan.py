"""The plan of an alignment before anything runs: dates, tiles, files opened, what reading costs, memory."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import cache

import numpy as np

from landweave.aligning.job import tile_memory
from landweave.aligning.pending import PendingGroup
from landweave.core.budget import GIB, PROCESS_BYTES, THREADS_A_WORKER
from landweave.core.grid import Grid
from landweave.core.protocols import RasterSource, ReadCost, SeriesSource
from landweave.core.tables import Rows, Table
from landweave.core.words import counted
from landweave.jobs.plan import BlockAction, cost_rows, first_names, memory_row
from landweave.sources.stac.series import StacSeries
from landweave.store.objects import Target


@dataclass(frozen=True, kw_only=True)
class GroupPlan:
    """What an alignment will do for one modality.

    Attributes
    ----------
    modality
        Its name.
    new, kept
        Dates added, and dates of the cube; None for a raster.
    changed
        Ids of kept dates whose scenes are others now: they stay as they were aligned.
    tiles, outside
        Tiles of the grid, and those of them that are outside the area.
    shards_new, shards_rewritten
        Time shards begun, and partial ones written again with the dates they had and new ones.
    todo
        Blocks to run: tile x time shard.
    stuck
        Blocks that cannot run: dates they lack are not among those found.
    opens
        Files opened, about.
    cost
        Of reading, about.
    raw_bytes
        Of the blocks to run, before compression.
    memory
        Bytes of a worker with two threads, beyond `landweave.core.budget.PROCESS_BYTES`.
    temporary_bytes
        Of its temporary files, at most.
    """

    modality: str
    new: int | None
    kept: int | None
    changed: tuple[str, ...]
    tiles: int
    outside: int
    shards_new: int
    shards_rewritten: int
    todo: int
    stuck: int
    opens: int
    cost: ReadCost
    raw_bytes: int
    memory: int
    temporary_bytes: int

    @property
    def rows(self) -> Rows:
        """The plan of the modality as rows of a table."""
        return [
            ("modality", self.modality),
            *([("dates", f"{self.new:,} new, {self.kept:,} kept")] if self.new is not None else []),
            ("tiles", f"{self.tiles:,}, of which {self.outside:,} outside the area"),
            ("blocks to run", f"{self.todo:,} (tile x time shard)"),
            ("time shards", f"{self.shards_new:,} new, {self.shards_rewritten:,} rewritten"),
            ("open", f"about {counted(self.opens, 'file')}"),
            *cost_rows(self.cost),
            ("write", f"{self.raw_bytes / 1e6:,.0f} MB before compression, at most"),
        ]

    @property
    def notes(self) -> Iterator[str]:
        """What a person should know."""
        if self.changed:
            count, names = counted(len(self.changed), "date", "has"), first_names(self.changed)
            yield f"{self.modality}: {count} other scenes now, kept as aligned: {names}"
        if self.stuck:
            advice = "search those dates again, or mark them as not acquired by --accept-missing"
            yield f"{self.modality}: {counted(self.stuck, 'block', 'lacks')} dates that were not found: {advice}"


@dataclass(frozen=True, kw_only=True)
class AlignPlan(Table):
    """What an alignment will do and what it costs; shown as a table in a notebook.

    Attributes
    ----------
    output
        Path or URL of the cube.
    groups
        One for each modality.
    notes
        What a person should know: items that are not used, dates that changed.
    """

    output: str
    groups: tuple[GroupPlan, ...]
    notes: tuple[str, ...] = ()

    @property
    def todo(self) -> int:
        """Number of blocks to run."""
        return sum(group.todo for group in self.groups)

    @property
    def memory(self) -> int:
        """Bytes of a worker for the largest group, its libraries included: groups run one after the other."""
        return PROCESS_BYTES + max((group.memory for group in self.groups), default=0)

    @property
    def cost(self) -> ReadCost:
        """Of reading, all groups together."""
        return sum((group.cost for group in self.groups), ReadCost())

    @property
    def rows(self) -> Rows:
        """The plan as rows of a table."""
        temporary = max((group.temporary_bytes for group in self.groups), default=0)
        return [
            ("output", self.output),
            *(row for group in self.groups for row in group.rows),
            memory_row(self.memory),
            ("temporary files", f"{temporary / GIB:.2f} GiB a worker at most, in TMPDIR"),
            *[("note", note) for note in self.notes],
        ]


def cost_align(target: Target, groups: Sequence[PendingGroup], notes: Sequence[str]) -> AlignPlan:
    """The plan of an alignment and its cost. Reads no pixel.

    Parameters
    ----------
    target
        Path or URL of the cube.
    groups
        One for each modality.
    notes
        What a person should know, of the whole.
    """
    plans = tuple(map(_plan_group, groups))
    own = (note for plan in plans for note in plan.notes)
    return AlignPlan(output=str(target), groups=plans, notes=(*notes, *own))


def _plan_group(pending: PendingGroup) -> GroupPlan:
    template, source, series = pending.group.template, pending.spec.source, pending.spec.series
    shards = pending.shards
    date_bytes = template.tile**2 * (len(template.bands) * np.dtype(template.dtype).itemsize + 1)  # of one tile
    cost_of = cache(lambda index: source.cost(pending.tile_grid(index)))
    opens_of = cache(lambda index: _opens(source, pending.tile_grid(index)))
    opens, cost, raw_bytes, todo, stuck = Fraction(0), ReadCost(), 0, 0, 0
    for shard in shards:
        for kept, blocks in shard.todo.items():
            if shard.job(kept) is None:
                stuck += len(blocks)
                continue
            todo += len(blocks)
            raw_bytes += len(blocks) * shard.shard.count * date_bytes
            # A source states costs of all its dates: each block has its share of them.
            share = Fraction(shard.shard.count - kept, max(len(series.observations), 1)) if series else Fraction(1)
            opens += sum(map(opens_of, blocks)) * share
            cost += sum(map(cost_of, blocks), ReadCost()) * share
    longest = max((shard.shard.count for shard in shards), default=1)
    begun = [shard for shard in shards if shard.todo and not shard.committed]
    rewritten = sum(bool(pending.dates.ledgers.get(shard.shard.number)) for shard in begun)
    return GroupPlan(
        modality=template.modality,
        new=pending.date_plan.new if series else None,
        kept=pending.date_plan.kept if series else None,
        changed=pending.date_plan.changed,
        tiles=len(template.blocks),
        outside=shards[0].actions.count(BlockAction.OUTSIDE) if shards else 0,
        shards_new=len(begun) - rewritten,
        shards_rewritten=rewritten,
        todo=todo,
        stuck=stuck,
        opens=round(opens),
        cost=cost,
        raw_bytes=raw_bytes,
        memory=tile_memory(date_bytes, sent_dates=0 if pending.group.target.is_local else longest),
        temporary_bytes=THREADS_A_WORKER * longest * date_bytes,
    )


def _opens(source: SeriesSource | RasterSource, grid: Grid) -> int:
    """Files opened to read a tile on every date."""
    return source.opens(grid) if isinstance(source, StacSeries) else len(source.files(grid))
