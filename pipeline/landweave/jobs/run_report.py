"""Where the time of a run went, and how fast it was over time: rows for people, fields for ``run.json``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from landweave.core.tables import Rows

MOST_RATES = 32
"""Entries of a rate over time; of a longer run each covers more of it."""

FIRST_SPAN_S = 1.0

Rates = tuple[tuple[float, float], ...]
"""Seconds since the first block was asked for, and megapixels a second since the entry before."""


class RateLog:
    """Megapixels a second over the time of a run, in a bounded number of entries."""

    def __init__(self) -> None:
        self._entries: list[tuple[float, int]] = []
        self._span_s = FIRST_SPAN_S

    def add(self, seconds: float, pixels: int) -> None:
        """Note how many pixels were mapped after so many seconds; called with every block.

        Parameters
        ----------
        seconds
            Since the start.
        pixels
            Since the start.
        """
        if self._entries and seconds - self._entries[-1][0] < self._span_s:
            return
        self._entries.append((seconds, pixels))
        if len(self._entries) > MOST_RATES:
            self._entries = self._entries[1::2]
            self._span_s *= 2

    def rates(self, seconds: float, pixels: int) -> Rates:
        """The rate of each span.

        Parameters
        ----------
        seconds, pixels
            As of `add`, at the end.
        """
        if not pixels:
            return ()
        ends = [entry for entry in self._entries if seconds - entry[0] > self._span_s / 2] + [(seconds, pixels)]
        starts = [(0.0, 0), *ends[:-1]]
        return tuple(
            (round(end, 3), round((done - before) / 1e6 / max(end - start, 1e-9), 4))
            for (start, before), (end, done) in zip(starts, ends, strict=True)
        )


def join_rates(parts: Sequence[tuple[float, Rates]]) -> Rates:
    """The rates of several runs, one after the other, each with its seconds."""
    joined: list[tuple[float, float]] = []
    before = 0.0
    for seconds, rates in parts:
        joined += [(round(before + end, 3), rate) for end, rate in rates]
        before += seconds
    return tuple(joined)


def report_rows(
    *,
    part_seconds: Mapping[str, float],
    stage_seconds: Mapping[str, float],
    rates: Rates,
    windows: tuple[int, int],
    peak_bytes: int,
    device: float,
) -> Rows:
    """The table at the end of a run.

    Parameters
    ----------
    part_seconds
        Wall time of the driver, by part of the run.
    stage_seconds
        Of blocks by stage, summed over workers.
    rates
        As of `RateLog`.
    windows
        Needed and run; none of them where nothing was predicted.
    peak_bytes
        Of the process that held most.
    device
        Share of the time in which the network ran, over all processes.
    """
    needed, ran = windows
    total = sum(part_seconds.values())
    stages = {name: seconds for name, seconds in stage_seconds.items() if name != "total"}
    known = sum(stages.values())
    whole = max(stage_seconds.get("total", known), known)
    if stages and whole > known:
        stages["other"] = whole - known
    stages = dict(sorted(stages.items(), key=lambda item: -item[1]))
    rows = [
        ("time", _shares(part_seconds, total)),
        ("in blocks", _shares(stages, whole)),
        ("device", f"the network ran {device:.0%} of the time" if device else ""),
        ("Mpx/s", _rates_text(rates)),
        ("windows", f"{needed:,} needed, {ran:,} run ({ran / needed:.3f})" if needed else ""),
        ("peak memory", f"{peak_bytes / 2**30:.2f} GiB in a process" if peak_bytes else ""),
    ]
    return [(name, text) for name, text in rows if text]


def _shares(seconds: Mapping[str, float], whole: float) -> str:
    return ", ".join(f"{name} {value:.1f} s ({value / max(whole, 1e-9):.0%})" for name, value in seconds.items())


def _rates_text(rates: Rates) -> str:
    """At most eight of the rates, evenly over the time."""
    shown = rates[:: -(-len(rates) // 8) or 1]
    return ", ".join(f"{rate:.2f} at {end:.0f} s" for end, rate in shown)
