"""What is left to align: each part beside what the cube has of it, its time shards, and the lot of their tiles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import numpy as np
from numpy.typing import NDArray

from landweave.aligning.groups import AlignGroup
from landweave.aligning.job import (
    AlignInput,
    AlignJob,
    DatePlan,
    RasterInput,
    SeriesInput,
    TimeShard,
    plan_dates,
    shards,
)
from landweave.aligning.status import failure_lines
from landweave.core.errors import OutputError
from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import RasterSource
from landweave.core.timeseries import Observation
from landweave.formats.area import PolygonArea
from landweave.jobs.fingerprint import Fingerprint, differences
from landweave.jobs.ledger import Ledger
from landweave.jobs.plan import BlockActionGrid, plan_block_actions
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.observations import GroupObservations
from landweave.store.cubes.store import CubeStore
from landweave.store.cubes.template import GroupTemplate
from landweave.store.cubes.tiles import CubeTileStore
from landweave.store.objects import Target


@dataclass(frozen=True, kw_only=True)
class PendingGroup:
    """One part beside what the cube has of it."""

    part: AlignGroup
    area: PolygonArea | None
    group: CubeGroup
    declared: bool

    @cached_property
    def dates(self) -> GroupObservations:
        """The group's dates as they stood before this run."""
        return self.group.dates() if self.declared else GroupObservations()

    @cached_property
    def plan(self) -> DatePlan:
        """Dates after this run; of a raster none."""
        found = self.part.series.observations if self.part.series else ()
        return plan_dates(self.dates.seen, self.dates.observations[self.dates.visible :], found)

    def note_dates(self) -> None:
        """Write down which dates are to come, before any of their pixels."""
        if self.part.series:
            self.group.plan(self.plan.observations)

    def tasks(self, stale: bool) -> list[PendingShard]:
        """Time shards in order, those that are whole too."""
        length = self.group.length
        parts = shards(self.plan.observations, length) if self.part.series else (TimeShard(number=0, observations=()),)
        return [self._task(shard, stale) for shard in parts]

    def input(self, shard: TimeShard, kept: int) -> AlignInput | None:
        """What fills the dates behind the ``kept`` ones; None when some are not among those found."""
        series = self.part.series
        if series is None:
            return RasterInput(source=cast("RasterSource", self.part.source), bands=self.part.bands)
        numbers = [self._numbers.get(observation.datatake_id) for observation in shard.observations[kept:]]
        found = tuple(number for number in numbers if number is not None)
        if len(found) < len(numbers):
            return None
        return SeriesInput(source=series, bands=self.part.bands, indices=found)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        observations: Sequence[Observation] = self.part.series.observations if self.part.series else ()
        return {observation.datatake_id: number for number, observation in enumerate(observations)}

    def _task(self, shard: TimeShard, stale: bool) -> PendingShard:
        template, count = self.group.template, max(len(shard.observations), 1)
        saved = self.group.shard_ledger(shard.number, shard.observations) if self.declared else None
        ledger = Ledger(template.blocks.shape, template.arrays)
        if saved is not None:
            ledger = Ledger.load(saved, template.arrays)
        counts = [number for number in self.dates.ledgers.get(shard.number, ()) if number < count]
        whole = self.group.tiles(shard.number, counts).whole
        return PendingShard(work=self, shard=shard, ledger=ledger, whole=whole, stale=stale)


@dataclass(frozen=True, kw_only=True)
class PendingShard:
    """One time shard of a part: what became of its blocks, and what is left."""

    work: PendingGroup
    shard: TimeShard
    ledger: Ledger
    whole: NDArray[np.int64]
    stale: bool

    @property
    def count(self) -> int:
        """Dates of it; 1 for a raster."""
        return max(len(self.shard.observations), 1)

    @property
    def committed(self) -> bool:
        """Whether readers see all its dates, by a ledger in force."""
        return self.count in self.work.dates.ledgers.get(self.shard.number, ())

    @cached_property
    def blocks(self) -> BlockActionGrid:
        """The lot of every tile."""
        return plan_block_actions(
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
            store=CubeTileStore(group=group, shard=self.shard.number, count=self.count, kept=kept),
            area=self.work.area,
        )

    def failures(self) -> Iterator[str]:
        """One line a block that failed."""
        return failure_lines(self.work.part.modality, self.shard, self.ledger)

    def _outside(self, index: BlockIndex) -> bool:
        area = self.work.area
        return area is not None and not area.touches(tile_grid(self.work.group.template, index))

    def _version(self, index: BlockIndex) -> int:
        """Of a raster, its scenes as they are now; dates are never stale: they stay as they were aligned."""
        if self.work.part.series:
            return int(self.ledger.fields["inputs"][index])
        source = cast("RasterSource", self.work.part.source)
        return RasterInput(source=source, bands=self.work.part.bands).version(
            tile_grid(self.work.group.template, index)
        )


def work_of(cube: CubeStore | None, target: Target, part: AlignGroup, area: PolygonArea | None) -> PendingGroup:
    """One part beside its group; a group that means something else is refused."""
    template = part.template(area)
    known = cube.group(part.modality) if cube and part.modality in cube.modalities else None
    if known is None:
        return PendingGroup(part=part, area=area, group=CubeGroup(target=target, template=template), declared=False)
    if differing := differences(
        Fingerprint(known.template.fingerprint_fields), Fingerprint(template.fingerprint_fields)
    ):
        raise OutputError(
            f"{target} holds {part.modality} aligned in another way. What differs:\n"
            + "\n".join(f"- {line}" for line in differing)
            + "\nChoose another cube, or remove that one."
        )
    return PendingGroup(part=part, area=area, group=known, declared=True)


def tile_grid(template: GroupTemplate, index: BlockIndex) -> Grid:
    """Pixels of one tile."""
    return template.grid.with_extent(template.blocks[index])
