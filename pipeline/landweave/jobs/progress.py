"""How far a run is: a bar on a terminal, a line now and then in a log."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, field
from typing import Protocol

from rich import progress as rich_progress
from rich.console import Console

from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockResult

LOG_SECONDS = 30.0
"""Time between two lines of a log."""

_FAILURES_TOLD = 10
"""Failures that are named one by one; the ledger names them all."""

_logger = logging.getLogger("landweave")


class Progress(Protocol):
    """Told by the runner what happens; called from one thread."""

    def start(self, total: int, engine: str) -> None:
        """``total`` blocks begin on ``engine`` (its name, with the dashboard's link where there is one)."""

    def advance(self, index: BlockIndex, result: BlockResult) -> None:
        """Block ``index`` has ended, well or not."""

    def stop(self) -> None:
        """No more will be told: everything ended, or the run was interrupted."""


class SilentProgress:
    """Says nothing."""

    def start(self, total: int, engine: str) -> None:
        """Nothing."""

    def advance(self, index: BlockIndex, result: BlockResult) -> None:
        """Nothing."""

    def stop(self) -> None:
        """Nothing."""


@dataclass(kw_only=True)
class Tally:
    """Sums over the blocks of this run that have ended.

    Attributes
    ----------
    total
        Blocks of this run.
    ended, failed
        Of them, how many have ended, and how many of those gave nothing.
    pixels
        Output pixels of the ended ones.
    started
        `time.monotonic` at the start.
    """

    total: int = 0
    ended: int = 0
    failed: int = 0
    pixels: int = 0
    started: float = field(default_factory=time.monotonic)

    def add(self, result: BlockResult) -> None:
        """Count one block that has ended."""
        self.ended += 1
        self.failed += result.state.failed
        self.pixels += result.counts.get("pixels", 0)

    @property
    def seconds(self) -> float:
        """Wall time since the start."""
        return time.monotonic() - self.started

    @property
    def megapixels_per_second(self) -> float:
        """Output pixels over wall time; 0 for a job without pixels."""
        return self.pixels / 1e6 / max(self.seconds, 1e-9)

    @property
    def seconds_left(self) -> float | None:
        """By the mean pace so far; None before the first block."""
        return self.seconds / self.ended * (self.total - self.ended) if self.ended else None

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", {clock(self.seconds_left)} left"
        return (
            f"{self.ended} of {self.total} blocks, {self.failed} failed, {self.megapixels_per_second:.2f} Mpx/s{left}"
        )


class LogProgress:
    """A line in the log ``landweave`` at the start, at most every `LOG_SECONDS`, and at the end.

    Parameters
    ----------
    every_seconds
        Least time between two lines.
    """

    def __init__(self, every_seconds: float = LOG_SECONDS) -> None:
        self._every_seconds = every_seconds
        self._tally = Tally()
        self._told = 0.0

    def start(self, total: int, engine: str) -> None:
        """One line: how many blocks, on what."""
        self._tally = Tally(total=total)
        self._told = time.monotonic()
        _logger.info("%d blocks on %s", total, engine)

    def advance(self, index: BlockIndex, result: BlockResult) -> None:
        """A line when it is time for one; the first few failures at once."""
        self._tally.add(result)
        if result.state.failed and self._tally.failed <= _FAILURES_TOLD:
            _logger.warning("%s", failure_line(index, result))
        if time.monotonic() - self._told >= self._every_seconds:
            self._told = time.monotonic()
            _logger.info("%s", self._tally)

    def stop(self) -> None:
        """One line: what was done, in what time."""
        _logger.info("%s, in %s", self._tally, clock(self._tally.seconds))


class BarProgress:
    """A bar: blocks, megapixels a second, time left, failures.

    Parameters
    ----------
    console
        A terminal.
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._tally = Tally()
        self._bar = rich_progress.Progress(
            rich_progress.TextColumn("blocks"),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TextColumn("{task.description}"),
            console=console,
        )

    def start(self, total: int, engine: str) -> None:
        """Draw an empty bar under the engine's name."""
        self._tally = Tally(total=total)
        self._console.print(f"{total} blocks on {engine}", markup=False, highlight=False)
        self._task = self._bar.add_task("", total=total)
        self._bar.start()

    def advance(self, index: BlockIndex, result: BlockResult) -> None:
        """Move the bar; the first few failures are told above it."""
        self._tally.add(result)
        if result.state.failed and self._tally.failed <= _FAILURES_TOLD:
            self._console.print(failure_line(index, result), style="red", markup=False, highlight=False)
        self._bar.update(self._task, advance=1, description=self._rates())

    def stop(self) -> None:
        """Leave the bar as it stands."""
        self._bar.stop()

    def _rates(self) -> str:
        tally = self._tally
        failed = f"  [red]{tally.failed} failed[/red]" if tally.failed else ""
        return f"{tally.megapixels_per_second:.2f} Mpx/s  {clock(tally.seconds_left or 0)} left{failed}"


def progress_on(console: Console) -> Progress:
    """A bar when ``console`` is a terminal, lines in the log otherwise."""
    return BarProgress(console) if console.is_terminal else LogProgress()


def failure_line(index: BlockIndex, result: BlockResult) -> str:
    """One line about a block that gave nothing."""
    return f"block {index}: {result.state.words}: {result.reason}"


def clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> clock(3725.2), clock(65)
    ('1:02:05', '1:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
