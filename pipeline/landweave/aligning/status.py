"""How far a cube is: the dates of every modality that readers see, and the states of its tiles."""

from __future__ import annotations

from landweave.aligning.dates import time_shards
from landweave.aligning.pending import failure_lines
from landweave.jobs.ledger import Ledger
from landweave.jobs.result import Status, join_status, total_counts
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.store import CubeStore


def cube_status(cube: CubeStore) -> Status:
    """How far a cube is, by modality, from its ledgers."""
    return join_status({name: _group_status(group) for name, group in cube.groups.items()})


def _group_status(group: CubeGroup) -> Status:
    dates, template = group.dates(), group.template
    ledgers: list[Ledger] = []
    failures: list[str] = []
    for shard in time_shards(dates.observations, template.time_shard):
        stored = group.shard_ledger(shard.number, shard.observations)
        ledger = Ledger.load(stored, template.arrays) if stored else Ledger(template.blocks.shape, template.arrays)
        ledgers.append(ledger)
        failures += failure_lines(template.modality, shard, ledger)
    return Status(
        counts=total_counts(ledger.counts() for ledger in ledgers),
        failures=tuple(failures),
        dates=dates.visible if template.is_series else None,
        dates_to_come=len(dates.observations) - dates.visible if template.is_series else 0,
    )
