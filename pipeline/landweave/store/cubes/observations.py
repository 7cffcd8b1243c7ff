"""The observations of a group in the order they arrived: which are planned, which readers may see, and their ledgers.

::

    arrival   0 ........ 31 | 32 33 34 | 35 36        time shards of 32: the first is full, the second is partial
              ^ visible              ^   ^ planned     a planned one is visible when its tiles were done, or tried
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.timeseries import Observation


@dataclass(frozen=True, kw_only=True)
class GroupObservations:
    """The observations of a group; of a raster none, but one visible date once every tile was tried.

    Attributes
    ----------
    observations
        In order of arrival; the index of one never changes once it is visible.
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

    def columns(self) -> dict[str, NDArray[Any]]:
        """Return the coordinates of the visible ones by name, in order of arrival."""
        provenance = [json.dumps(each.provenance, sort_keys=True, ensure_ascii=False) for each in self.seen]
        return {
            "time": np.array([each.time for each in self.seen], "datetime64[s]").astype(np.int64),
            "datatake_id": np.array([each.datatake_id for each in self.seen], object),
            "provenance": np.array(provenance, object),
        }

    def to_json(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            "observations": [
                {
                    "datatake_id": observation.datatake_id,
                    "time": str(observation.time.astype("datetime64[s]")),
                    "provenance": dict(observation.provenance),
                }
                for observation in self.observations
            ],
            "visible": self.visible,
            "ledgers": {str(shard): list(counts) for shard, counts in sorted(self.ledgers.items())},
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> GroupObservations:
        """Return what `to_json` wrote."""
        observations = (
            Observation(**{**entry, "time": np.datetime64(entry["time"], "s")}) for entry in written["observations"]
        )
        return cls(
            observations=tuple(observations),
            visible=written["visible"],
            ledgers={int(shard): tuple(counts) for shard, counts in written["ledgers"].items()},
        )
