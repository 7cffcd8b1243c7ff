"""Which dates a group of a cube will have, in order of arrival, and the time shards that hold them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from landweave.core.timeseries import Observation
from landweave.jobs.fingerprint import Fingerprint


@dataclass(frozen=True, kw_only=True)
class DatePlan:
    """Dates of a group after an alignment.

    Attributes
    ----------
    observations
        In order of arrival: those of the cube, those that an unfinished run has begun, those found now.
    kept
        Number of those of the cube, which come first and are never read again.
    changed
        Ids of kept dates whose scenes are others now than those aligned.
    """

    observations: tuple[Observation, ...] = ()
    kept: int = 0
    changed: tuple[str, ...] = ()

    @property
    def new(self) -> int:
        """Number of dates that are added."""
        return len(self.observations) - self.kept


def plan_dates(seen: Sequence[Observation], planned: Sequence[Observation], found: Sequence[Observation]) -> DatePlan:
    """Which dates a group will have, and in which order.

    Parameters
    ----------
    seen
        Dates of the cube, in order of arrival: each keeps its place and its pixels, whatever is found now.
    planned
        Dates that an earlier run has begun: they keep their order, so that its work is not lost, and are dropped
        where they are not found any more.
    found
        Dates of the source, ascending in time.
    """
    now = {observation.datatake_id: observation for observation in found}
    kept = {observation.datatake_id: observation for observation in seen}
    order = dict.fromkeys([*(observation.datatake_id for observation in planned), *now])
    changed = tuple(
        key for key in kept if key in now and Fingerprint(now[key].provenance) != Fingerprint(kept[key].provenance)
    )
    added = [now[key] for key in order if key in now and key not in kept]
    return DatePlan(observations=(*seen, *added), kept=len(seen), changed=changed)


@dataclass(frozen=True, kw_only=True)
class TimeShard:
    """Dates of one time shard: its ``number``, and its ``observations`` in order of arrival (none for a raster)."""

    number: int
    observations: tuple[Observation, ...] = ()

    @property
    def count(self) -> int:
        """Number of dates; 1 for a raster."""
        return max(len(self.observations), 1)

    def __str__(self) -> str:
        days = sorted(observation.day for observation in self.observations)
        return f"time shard {self.number}" + (f", dates {days[0]} to {days[-1]}" if days else "")


def time_shards(observations: Sequence[Observation], length: int | None) -> tuple[TimeShard, ...]:
    """Time shards of a group; the last one may be shorter.

    Parameters
    ----------
    observations
        In order of arrival.
    length
        Dates of a full time shard; None for a raster, which is one shard without dates.
    """
    if length is None:
        return (TimeShard(number=0),)
    return tuple(
        TimeShard(number=number, observations=tuple(observations[start : start + length]))
        for number, start in enumerate(range(0, len(observations), length))
    )
