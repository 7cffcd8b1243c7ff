"""The dates of a group in the order they arrived: which are planned, which readers may see, where their ledgers are.

::

    arrival   0 ........ 31 | 32 33 34 | 35 36        time shards of 32: the first is full, the second is partial
              ^ visible              ^   ^ planned     a planned date is seen when its tiles were done, or tried
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from landweave.core.timeseries import Observation


@dataclass(frozen=True, kw_only=True)
class Dates:
    """What a group knows of its dates; of a raster, one date without a step, visible once every tile was tried.

    Attributes
    ----------
    observations
        In order of arrival; a place in it never changes once it is visible.
    visible
        How many of them readers may see, the first ones.
    ledgers
        For each time shard the numbers of its dates that have a ledger in force, ascending. The last is that of all
        its visible dates; those before it say how many dates are whole in a tile where the last attempt failed.
    """

    observations: tuple[Observation, ...] = ()
    visible: int = 0
    ledgers: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def seen(self) -> tuple[Observation, ...]:
        """The visible observations, in order of arrival."""
        return self.observations[: self.visible]

    def planning(self, observations: Sequence[Observation]) -> Dates:
        """The same with other planned dates; ``observations`` begin with the visible ones."""
        return replace(self, observations=tuple(observations))

    def committing(self, shard: int, counts: tuple[int, ...], length: int) -> Dates:
        """The same with the first ``counts[-1]`` dates of a time shard (of ``length``) visible."""
        ledgers = {**self.ledgers, shard: counts}
        return replace(self, visible=max(self.visible, shard * length + counts[-1]), ledgers=ledgers)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "observations": [_observation_to_json(observation) for observation in self.observations],
            "visible": self.visible,
            "ledgers": {str(shard): list(counts) for shard, counts in sorted(self.ledgers.items())},
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Dates:
        """What `to_json` wrote down."""
        return cls(
            observations=tuple(_observation_from_json(observation) for observation in written["observations"]),
            visible=written["visible"],
            ledgers={int(shard): tuple(counts) for shard, counts in written["ledgers"].items()},
        )


def _observation_to_json(observation: Observation) -> dict[str, Any]:
    return {
        "key": observation.datatake_id,
        "time": str(observation.time.astype("datetime64[s]")),
        "provenance": dict(observation.provenance),
    }


def _observation_from_json(written: Mapping[str, Any]) -> Observation:
    return Observation(
        datatake_id=written["key"], time=np.datetime64(written["time"], "s"), provenance=written["provenance"]
    )
