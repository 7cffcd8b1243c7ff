"""Hours, cost and energy of a run before it begins, from the measured pace of its model."""

from __future__ import annotations

from dataclasses import dataclass

from landweave.core.budget import THREADS_A_WORKER
from landweave.core.tables import Rows
from landweave.models.pace import Pace

HOUR = 3600.0


@dataclass(frozen=True, kw_only=True)
class Estimate:
    """What a run will take, about: blending, writing and the last, small overviews are not counted.

    Attributes
    ----------
    bench
        What ``landweave bench`` is called with to measure the pace: the card, and what the run has of its own.
    windows
        To be predicted, those included that fill the last batch of a block.
    decode_seconds
        Of one core, for all that is read.
    workers
        Processes side by side; None where that is not known.
    pace
        Of one process; None where it was not measured: there is no estimate then.
    cost_per_hour, power_watts
        Of one worker; None where they are not stated.
    """

    LISTED = ("worker_hours", "hours", "cost", "energy_kwh")

    bench: str
    windows: int
    decode_seconds: float
    workers: int | None
    pace: Pace | None
    cost_per_hour: float | None = None
    power_watts: float | None = None

    @property
    def worker_hours(self) -> float | None:
        """Hours of all workers together.

        On a CPU decoding takes cores from the network; beside a GPU the two go on side by side, and the longer counts.
        """
        if self.pace is None:
            return None
        compute = self.windows / self.pace.windows_per_second
        if self.pace.device == "cpu":
            return (compute + self.decode_seconds / self.pace.torch_threads) / HOUR
        return max(compute, self.decode_seconds / THREADS_A_WORKER) / HOUR

    @property
    def hours(self) -> float | None:
        """From beginning to end."""
        return None if self.worker_hours is None or self.workers is None else self.worker_hours / self.workers

    @property
    def cost(self) -> float | None:
        """Price of all worker hours."""
        known = self.worker_hours is not None and self.cost_per_hour is not None
        return (self.worker_hours or 0) * (self.cost_per_hour or 0) if known else None

    @property
    def energy_kwh(self) -> float | None:
        """Energy of all worker hours."""
        known = self.worker_hours is not None and self.power_watts is not None
        return (self.worker_hours or 0) * (self.power_watts or 0) / 1000 if known else None

    @property
    def rows(self) -> Rows:
        """The estimate as rows of a plan."""
        if self.pace is None or self.worker_hours is None:
            return [("time", f"not known: measure the model where workers run, by `landweave bench {self.bench}`")]
        measured = f"{self.pace.windows_per_second:.3g} windows a second, {self.pace.hardware}"
        elapsed = "" if self.hours is None else f"{hours_text(self.hours)} on {self.workers}, "
        rows = [("time", f"about {elapsed}{hours_text(self.worker_hours)} on one worker ({measured})")]
        if self.cost is not None:
            rows.append(("cost", f"about {self.cost:,.2f} at {self.cost_per_hour:g} a worker and hour"))
        if self.energy_kwh is not None:
            rows.append(("energy", f"about {self.energy_kwh:,.3g} kWh at {self.power_watts:g} W a worker"))
        return rows


def hours_text(hours: float) -> str:
    """Hours, or minutes or seconds of less than one.

    >>> hours_text(12.34), hours_text(0.5), hours_text(0.01)
    ('12.3 hours', '30 minutes', '36 seconds')
    """
    if hours >= 1:
        return f"{hours:,.1f} hours"
    return f"{hours * 60:.0f} minutes" if hours >= 1 / 60 else f"{hours * HOUR:.0f} seconds"
