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

from landweave.timeseries import Step


@dataclass(frozen=True, kw_only=True)
class Dates:
    """What a group knows of its dates; of a raster, one date without a step, visible once every tile was tried.

    Attributes
    ----------
    steps
        In order of arrival; a place in it never changes once it is visible.
    visible
        How many of them readers may see, the first ones.
    ledgers
        For each time shard the numbers of its dates that have a ledger in force, ascending. The last is that of all
        its visible dates; those before it say how many dates are whole in a tile where the last attempt failed.
    """

    steps: tuple[Step, ...] = ()
    visible: int = 0
    ledgers: Mapping[int, tuple[int, ...]] = field(default_factory=dict)

    @property
    def seen(self) -> tuple[Step, ...]:
        """The visible steps, in order of arrival."""
        return self.steps[: self.visible]

    def planning(self, steps: Sequence[Step]) -> Dates:
        """The same with other planned dates; ``steps`` begin with the visible ones."""
        return replace(self, steps=tuple(steps))

    def committing(self, shard: int, counts: tuple[int, ...], length: int) -> Dates:
        """The same with the first ``counts[-1]`` dates of a time shard (of ``length``) visible."""
        ledgers = {**self.ledgers, shard: counts}
        return replace(self, visible=max(self.visible, shard * length + counts[-1]), ledgers=ledgers)

    def to_json(self) -> dict[str, Any]:
        """Plain JSON values."""
        return {
            "steps": [_step_to_json(step) for step in self.steps],
            "visible": self.visible,
            "ledgers": {str(shard): list(counts) for shard, counts in sorted(self.ledgers.items())},
        }

    @classmethod
    def from_json(cls, written: Mapping[str, Any]) -> Dates:
        """What `to_json` wrote down."""
        return cls(
            steps=tuple(_step_from_json(step) for step in written["steps"]),
            visible=written["visible"],
            ledgers={int(shard): tuple(counts) for shard, counts in written["ledgers"].items()},
        )


def _step_to_json(step: Step) -> dict[str, Any]:
    return {"key": step.key, "time": str(step.time.astype("datetime64[s]")), "provenance": dict(step.provenance)}


def _step_from_json(written: Mapping[str, Any]) -> Step:
    return Step(key=written["key"], time=np.datetime64(written["time"], "s"), provenance=written["provenance"])
