"""What is left to align: each modality beside its group in the cube, its time shards, the actions of their tiles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from landweave.aligning.dates import DatePlan, TimeShard, plan_dates, time_shards
from landweave.aligning.groups import AlignGroup
from landweave.aligning.job import AlignInput, AlignJob
from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex
from landweave.formats.area import PolygonArea
from landweave.jobs.fingerprint import require_same_settings
from landweave.jobs.ledger import Ledger
from landweave.jobs.plan import BlockActionGrid, plan_block_actions
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.observations import GroupObservations
from landweave.store.cubes.store import CubeStore
from landweave.store.cubes.tiles import CubeTileStore
from landweave.store.ledger_store import ZarrLedger
from landweave.store.objects import Target


@dataclass(frozen=True, kw_only=True)
class PendingGroup:
    """One modality to be aligned beside its group in the cube.

    Attributes
    ----------
    spec
        What is to be aligned.
    area
        Where; None for everywhere.
    group
        In the cube.
    declared
        Whether the cube has it already.
    """

    spec: AlignGroup
    area: PolygonArea | None
    group: CubeGroup
    declared: bool

    @cached_property
    def dates(self) -> GroupObservations:
        """The group's dates before this run, read once."""
        return self.group.dates() if self.declared else GroupObservations()

    @cached_property
    def date_plan(self) -> DatePlan:
        """Dates after this run; of a raster none."""
        found = self.spec.series.observations if self.spec.series else ()
        return plan_dates(self.dates.seen, self.dates.observations[self.dates.visible :], found)

    def shards(self, *, stale: bool) -> list[PendingShard]:
        """All time shards in order, finished ones too; ``stale``: whether changed tiles of rasters are run again."""
        shards = time_shards(self.date_plan.observations, self.group.template.time_shard)
        return [self._pending_shard(shard, stale) for shard in shards]

    def _pending_shard(self, shard: TimeShard, stale: bool) -> PendingShard:
        template = self.group.template
        stored = self.group.shard_ledger(shard.number, shard.observations) if self.declared else None
        counts = [number for number in self.dates.ledgers.get(shard.number, ()) if number < shard.count]
        return PendingShard(
            pending=self,
            shard=shard,
            stored=stored,
            ledger=Ledger.load(stored, template.arrays) if stored else Ledger(template.blocks.shape, template.arrays),
            whole=self.group.tiles(shard.number, counts).whole,
            stale=stale,
        )

    def input(self, shard: TimeShard, kept: int) -> AlignInput | None:
        """What tiles of one time shard are read from; None when some of the dates are not among those found.

        Parameters
        ----------
        shard
            The time shard.
        kept
            Number of its first dates that the tiles have already.
        """
        indices = [self._indices.get(observation.datatake_id) for observation in shard.observations[kept:]]
        found = tuple(index for index in indices if index is not None)
        if len(found) < len(indices):
            return None
        return AlignInput(source=self.spec.source, bands=self.spec.bands, indices=found)

    @cached_property
    def _indices(self) -> dict[str, int]:
        observations = self.spec.series.observations if self.spec.series else ()
        return {observation.datatake_id: index for index, observation in enumerate(observations)}

    def tile_grid(self, index: BlockIndex) -> Grid:
        """Pixels of one tile."""
        return self.group.grid.with_extent(self.group.template.blocks[index])


@dataclass(frozen=True, kw_only=True)
class PendingShard:
    """One time shard of a modality: the states of its tiles, and what is left.

    Attributes
    ----------
    pending
        The modality.
    shard
        Its dates.
    stored
        Where its ledger is stored; None where it has none yet.
    ledger
        The states of its tiles.
    whole
        How many of its dates are whole in each tile, ``(block_y, block_x)``.
    stale
        Whether tiles of rasters whose files changed since are run again.
    """

    pending: PendingGroup
    shard: TimeShard
    stored: ZarrLedger | None
    ledger: Ledger
    whole: NDArray[np.int64]
    stale: bool

    @property
    def committed(self) -> bool:
        """Whether readers see all its dates, by a ledger in force."""
        return self.shard.count in self.pending.dates.ledgers.get(self.shard.number, ())

    @cached_property
    def actions(self) -> BlockActionGrid:
        """The action of every tile."""
        area, tile_grid = self.pending.area, self.pending.tile_grid
        return plan_block_actions(
            self.pending.group.template.blocks,
            self.ledger,
            outside=lambda index: area is not None and not area.touches(tile_grid(index)),
            input_version=self._input_version,
            recompute_stale=self.stale,
        )

    def _input_version(self, index: BlockIndex) -> int:
        """Of a raster, its files as they are now; dates are never stale: they stay as they were aligned."""
        if self.pending.spec.series:
            return int(self.ledger.fields["inputs"][index])
        spec = self.pending.spec
        return AlignInput(source=spec.source, bands=spec.bands).version(self.pending.tile_grid(index))

    @cached_property
    def todo(self) -> dict[int, list[BlockIndex]]:
        """Tiles to run, by the number of dates that they keep."""
        found: defaultdict[int, list[BlockIndex]] = defaultdict(list)
        for index in self.actions.todo:
            found[int(self.whole[index])].append(index)
        return dict(sorted(found.items()))

    def job(self, kept: int) -> AlignJob | None:
        """The job of tiles that keep ``kept`` dates; None when the others are not among those found."""
        given = self.pending.input(self.shard, kept)
        if given is None:
            return None
        group, number, count = self.pending.group, self.shard.number, self.shard.count
        return AlignJob(
            key=f"align {group.template.modality} {number}-{count}-{kept} of {group.target}",
            grid=group.grid,
            blocks=group.template.blocks,
            input=given,
            store=CubeTileStore(group=group, shard=number, count=count, kept=kept),
            area=self.pending.area,
        )


def find_pending(cube: CubeStore | None, target: Target, spec: AlignGroup, area: PolygonArea | None) -> PendingGroup:
    """One modality beside its group in the cube.

    Parameters
    ----------
    cube
        The cube; None where there is none yet.
    target
        Path or URL of the cube.
    spec
        What is to be aligned.
    area
        Where; None for everywhere.

    Raises
    ------
    OutputError
        When the group was aligned with other settings.
    """
    template = spec.template(area)
    if cube is None or spec.modality not in cube.modalities:
        return PendingGroup(spec=spec, area=area, group=CubeGroup(target=target, template=template), declared=False)
    group = cube.group(spec.modality)
    require_same_settings(
        group.template.fingerprint_fields,
        template.fingerprint_fields,
        f"{target} holds {spec.modality} aligned in another way",
        "Choose another cube, or remove that one.",
    )
    return PendingGroup(spec=spec, area=area, group=group, declared=True)


def failure_lines(modality: str, shard: TimeShard, ledger: Ledger) -> Iterator[str]:
    """One line for each tile of a time shard that failed.

    Parameters
    ----------
    modality
        Of the group.
    shard
        Its dates.
    ledger
        The states of its tiles.
    """
    return (f"{modality}, {shard}, {failure}" for failure in ledger.failures())
