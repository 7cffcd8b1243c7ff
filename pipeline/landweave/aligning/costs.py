"""What an alignment costs, told before anything runs: the source is asked once a tile, no pixel is read."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from functools import cache

import numpy as np

from landweave.aligning.job import tile_memory
from landweave.aligning.pending import PendingGroup, PendingShard, tile_grid
from landweave.aligning.plan import AlignPlan, GroupPlan
from landweave.core.budget import THREADS_A_WORKER
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import RasterSource, ReadCost, SeriesSource
from landweave.jobs.plan import BlockAction
from landweave.store.cubes.template import GroupTemplate
from landweave.store.objects import Target


def price_plan(target: Target, works: Sequence[PendingGroup], tasks: Sequence[Sequence[PendingShard]]) -> AlignPlan:
    """What is to be done for all parts, with its price; ``tasks`` are the time shards of each."""
    parts = (_part_plan(work, of_part) for work, of_part in zip(works, tasks, strict=True))
    return AlignPlan(output=str(target), parts=tuple(parts))


def _part_plan(work: PendingGroup, tasks: Sequence[PendingShard]) -> GroupPlan:
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
            share = (task.count - kept) / max(len(series.observations), 1) if series else 1.0
            raw += len(blocks) * task.count * _tile_bytes(template)
            for index in blocks:
                opens += files(index) * share
                read += price(index).bytes * share
                decoded.update({name: round(n * share) for name, n in price(index).decoded_pixels.items()})
    longest = max((task.count for task in tasks), default=1)
    begun = [task for task in tasks if task.todo and not task.committed]
    rewritten = sum(bool(work.dates.ledgers.get(task.shard.number)) for task in begun)
    return GroupPlan(
        modality=template.modality,
        new=work.plan.new if series else None,
        kept=work.plan.kept if series else None,
        changed=work.plan.changed,
        tiles=len(template.blocks),
        outside=tasks[0].blocks.count(BlockAction.OUTSIDE) if tasks else 0,
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
            sent_dates=0 if work.group.target.is_local else longest,
        ),
        waiting=THREADS_A_WORKER * longest * _tile_bytes(template),
    )


def _tile_bytes(template: GroupTemplate) -> int:
    """Of one date of one tile."""
    return template.tile**2 * (len(template.bands) * np.dtype(template.dtype).itemsize + 1)


def _prices(
    source: SeriesSource | RasterSource, template: GroupTemplate
) -> tuple[Callable[[BlockIndex], ReadCost], Callable[[BlockIndex], int]]:
    """Cost of reading a tile on every date, and files opened for it, each asked of the source once a tile."""
    count = getattr(source, "opens", None) or (lambda grid: len(source.files(grid)))
    return (
        cache(lambda index: source.cost(tile_grid(template, index))),
        cache(lambda index: int(count(tile_grid(template, index)))),
    )
