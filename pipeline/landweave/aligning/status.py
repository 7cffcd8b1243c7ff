"""How far a cube is: of every modality the dates that readers see, and what became of its tiles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from landweave.aligning.job import TimeShard, shards
from landweave.core.protocols import BlockState
from landweave.core.tables import as_text
from landweave.jobs.ledger import Ledger
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.store import CubeStore


@dataclass(frozen=True, kw_only=True)
class GroupStatus:
    """How far one modality is.

    Attributes
    ----------
    dates, to_come
        Dates that readers see, and those planned behind them; None for a raster.
    counts
        Blocks (tile x time shard) in every state.
    failures
        One line a block that failed.
    """

    dates: int | None
    to_come: int
    counts: Mapping[BlockState, int]
    failures: tuple[str, ...]

    def __str__(self) -> str:
        dates = [] if self.dates is None else [f"{self.dates:,} dates"]
        to_come = [f"{self.to_come:,} to come"] if self.to_come else []
        states = [f"{n:,} {state.words}" for state, n in self.counts.items() if n]
        return ", ".join([*dates, *to_come, "blocks: " + (", ".join(states) or "none yet")])


@dataclass(frozen=True, kw_only=True)
class CubeStatus:
    """How far a cube is, by modality."""

    parts: Mapping[str, GroupStatus]

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do of what was begun."""
        unfinished = (n for part in self.parts.values() for state, n in part.counts.items() if not state.finished)
        return not any(unfinished) and not any(part.to_come for part in self.parts.values())

    def __str__(self) -> str:
        rows = [(name, str(part)) for name, part in self.parts.items()]
        return "\n".join([as_text(rows), *(line for part in self.parts.values() for line in part.failures)])


def cube_status(cube: CubeStore) -> CubeStatus:
    """What the ledgers of a cube say."""
    return CubeStatus(parts={name: _part_status(group) for name, group in cube.groups.items()})


def failure_lines(modality: str, shard: TimeShard, ledger: Ledger) -> Iterator[str]:
    """One line a block of a time shard that failed."""
    observations = sorted(shard.observations, key=lambda observation: observation.time)
    dates = (
        f", dates {observations[0].time.astype('M8[D]')} to {observations[-1].time.astype('M8[D]')}"
        if observations
        else ""
    )
    for failure in ledger.failures():
        yield f"{modality}, time shard {shard.number}{dates}, {failure}"


def _part_status(group: CubeGroup) -> GroupStatus:
    dates, template = group.dates(), group.template
    parts = shards(dates.observations, group.length) if template.is_series else (TimeShard(number=0, observations=()),)
    counts: Counter[BlockState] = Counter()
    failures: list[str] = []
    for shard in parts:
        saved = group.shard_ledger(shard.number, shard.observations)
        ledger = Ledger.load(saved, template.arrays) if saved else Ledger(template.blocks.shape, template.arrays)
        counts.update(ledger.counts())
        failures += failure_lines(template.modality, shard, ledger)
    return GroupStatus(
        dates=dates.visible if template.is_series else None,
        to_come=len(dates.observations) - dates.visible if template.is_series else 0,
        counts=dict(counts),
        failures=tuple(failures),
    )
