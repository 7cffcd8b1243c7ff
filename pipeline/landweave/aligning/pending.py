"""What is left to align: each modality beside its group in the cube, its time shards, the actions of their tiles."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from landweave.aligning.dates import DatePlan, TimeShard, plan_dates, time_shards
from landweave.aligning.groups import AlignGroup
from landweave.aligning.job import AlignJob, raster_version
from landweave.aligning.verify import load_shard_ledger
from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockState, WriteFence
from landweave.formats.area import PolygonArea
from landweave.jobs.audit import stale_line
from landweave.jobs.fingerprint import require_same_settings
from landweave.jobs.ledger import Ledger
from landweave.jobs.plan import BlockAction, BlockActionGrid, plan_block_actions
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
    stale
        Whether tiles of rasters whose files changed since are run again.
    accept_missing
        Whether dates whose files or items are gone are marked as not acquired in tiles that lack them.
    ledgers
        Those that have been read already, by path.
    """

    spec: AlignGroup
    area: PolygonArea | None
    group: CubeGroup
    declared: bool
    stale: bool
    accept_missing: bool = False
    ledgers: Mapping[str, Ledger] = field(default_factory=dict, repr=False)

    @cached_property
    def dates(self) -> GroupObservations:
        """The group's dates before this run, read once."""
        return self.group.dates() if self.declared else GroupObservations()

    @cached_property
    def date_plan(self) -> DatePlan:
        """Dates after this run; of a raster none."""
        found = self.spec.series.observations if self.spec.series else ()
        return plan_dates(self.dates.seen, self.dates.observations[self.dates.visible :], found)

    @cached_property
    def shards(self) -> list[PendingShard]:
        """All time shards in order, finished ones too; their ledgers are read once."""
        return [self._shard(each) for each in time_shards(self.date_plan.observations, self.group.template.time_shard)]

    def _shard(self, shard: TimeShard) -> PendingShard:
        stored = self.group.shard_ledger(shard.number, shard.observations) if self.declared else None
        counts = [number for number in self.dates.ledgers.get(shard.number, ()) if number < shard.count]
        ledger = load_shard_ledger(self.group, shard, stored, self.ledgers)
        whole = self.group.tiles(shard.number, counts).whole
        whole[ledger.fields["state"] == BlockState.DAMAGED] = 0
        return PendingShard(pending=self, shard=shard, stored=stored, ledger=ledger, whole=whole)

    @cached_property
    def indices(self) -> dict[str, int]:
        """Of a series, the index of every date among those found, by its datatake id."""
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
    """

    pending: PendingGroup
    shard: TimeShard
    stored: ZarrLedger | None
    ledger: Ledger
    whole: NDArray[np.int64]

    @property
    def committed(self) -> bool:
        """Whether readers see all its dates, by a ledger in force."""
        return self.shard.count in self.pending.dates.ledgers.get(self.shard.number, ())

    @cached_property
    def actions(self) -> BlockActionGrid:
        """The action of every tile."""
        area, group = self.pending.area, self.pending.group
        tiles = group.template.blocks
        return plan_block_actions(
            self.ledger,
            outside=None if area is None else ~area.touched(group.grid, tiles.rows, tiles.columns),
            input_version=self._input_version,
            recompute_stale=self.pending.stale,
        )

    def _input_version(self, index: BlockIndex) -> int:
        """Of a raster, its files as they are now; dates are never stale: they stay as they were aligned."""
        if self.pending.spec.series:
            return int(self.ledger.fields["inputs"][index])
        return raster_version(self.pending.spec.source, self.pending.tile_grid(index))

    def stale_lines(self) -> Iterator[str]:
        """A line for each tile that is kept although its files changed since, with the files."""
        group, source = self.pending.group, self.pending.spec.source
        for index in () if self.pending.stale else self.actions.blocks(BlockAction.STALE):
            written = group.target.written_at(group.object_key(self.shard.number, index, group.template.arrays[0]))
            line = stale_line(index, source.files(self.pending.tile_grid(index)), written)
            yield f"{group.template.modality}, {line}"

    @cached_property
    def todo(self) -> dict[int, list[BlockIndex]]:
        """Tiles to run, by the number of dates that they keep."""
        return self.by_kept(self.actions.todo)

    def by_kept(self, blocks: Iterable[BlockIndex]) -> dict[int, list[BlockIndex]]:
        """Tiles by the number of dates that they keep; a damaged one keeps none."""
        found: defaultdict[int, list[BlockIndex]] = defaultdict(list)
        for index in blocks:
            found[0 if self.ledger.state(index) is BlockState.DAMAGED else int(self.whole[index])].append(index)
        return dict(sorted(found.items()))

    def job(self, kept: int, fence: WriteFence | None = None) -> AlignJob | None:
        """The job of tiles that keep some dates; None when the others are not among those found.

        Where that is accepted they are not acquired.

        Parameters
        ----------
        kept
            Number of dates that the tiles keep.
        fence
            Asked before each object is written.
        """
        lacking = [observation.datatake_id for observation in self.shard.observations[kept:]]
        indices, accept_missing = self.pending.indices, self.pending.accept_missing
        if not accept_missing and any(datatake_id not in indices for datatake_id in lacking):
            return None
        group, number, count = self.pending.group, self.shard.number, self.shard.count
        return AlignJob(
            key=f"align {group.template.modality} {number}-{count}-{kept} of {group.target}",
            grid=group.grid,
            blocks=group.template.blocks,
            source=self.pending.spec.source,
            bands=self.pending.spec.bands,
            indices=tuple(indices.get(datatake_id) for datatake_id in lacking),
            store=CubeTileStore(group=group, shard=number, count=count, kept=kept, fence=fence),
            area=self.pending.area,
            kept=kept,
            accept_missing=accept_missing,
        )


def find_pending(
    cube: CubeStore | None,
    target: Target,
    spec: AlignGroup,
    *,
    area: PolygonArea | None,
    stale: bool,
    accept_missing: bool = False,
    ledgers: Mapping[str, Ledger] | None = None,
) -> PendingGroup:
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
    stale
        Whether tiles of rasters whose files changed since are run again.
    accept_missing, ledgers
        As in `PendingGroup`.

    Raises
    ------
    OutputError
        When the group was aligned with other settings.
    """
    template = spec.template(area)
    declared = cube.group(spec.modality) if cube and spec.modality in cube.modalities else None
    if declared:
        require_same_settings(
            declared.template.fingerprint_fields,
            template.fingerprint_fields,
            f"{target} holds {spec.modality} aligned in another way",
            "Choose another cube, or remove that one.",
        )
    group = declared or CubeGroup(target=target, template=template)
    return PendingGroup(
        spec=spec,
        area=area,
        group=group,
        declared=bool(declared),
        stale=stale,
        accept_missing=accept_missing,
        ledgers=ledgers or {},
    )


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
