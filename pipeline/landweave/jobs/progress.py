"""Progress of a run: a bar on a terminal or in a notebook, a line now and then in a log."""

from __future__ import annotations

import logging
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from html import escape
from typing import Any, Protocol

from rich import progress as rich_progress
from rich.console import Console

from landweave.core.consoles import error_console
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockResult
from landweave.core.words import counted

LOG_SECONDS = 30.0
"""Time between two lines of a log."""

NOTEBOOK_SECONDS = 0.3
"""Time between two updates of a bar in a notebook: each is a message to the browser."""

_SHOWN_FAILURES = 10
"""Failures that are shown one by one; the ledger has them all."""

_logger = logging.getLogger("landweave")


class Progress(Protocol):
    """Shows the progress of a run; called from one thread."""

    def start(self, total: int, engine: str) -> None:
        """The run begins.

        Parameters
        ----------
        total
            Number of its blocks.
        engine
            Name of the engine, with the link to the dashboard where there is one.
        """

    def advance(self, index: BlockIndex, result: BlockResult) -> None:
        """One block has ended.

        Parameters
        ----------
        index
            Of the block.
        result
            Of the block, which may have failed.
        """

    def stop(self) -> None:
        """The run has ended, or was interrupted."""


class SilentProgress:
    """Shows nothing."""

    def start(self, total: int, engine: str) -> None:
        """See `Progress`."""

    def advance(self, index: BlockIndex, result: BlockResult) -> None:
        """See `Progress`."""

    def stop(self) -> None:
        """See `Progress`."""


@dataclass(kw_only=True)
class Tally:
    """Sums over the blocks of this run that have ended.

    Attributes
    ----------
    total
        Blocks of this run.
    ended, failed
        Blocks that have ended, and those of them that failed.
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

    def add(self, index: BlockIndex, result: BlockResult) -> str:
        """Count one block that has ended.

        Parameters
        ----------
        index, result
            Of the block.

        Returns
        -------
        str
            The line to show where it is one of the first failures; empty otherwise.
        """
        self.ended += 1
        self.failed += result.state.failed
        self.pixels += result.counts.get("pixels", 0)
        is_shown = result.state.failed and self.failed <= _SHOWN_FAILURES
        return f"block {index}: {result.state.words}: {result.reason}" if is_shown else ""

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
        """Estimate from the mean pace so far; None before the first block."""
        return self.seconds / self.ended * (self.total - self.ended) if self.ended else None

    def __str__(self) -> str:
        left = "" if self.seconds_left is None else f", {clock(self.seconds_left)} left"
        blocks, speed = counted(self.total, "block"), f"{self.megapixels_per_second:.2f} Mpx/s"
        return f"{self.ended:,} of {blocks}, {self.failed:,} failed, {speed}{left}"


class LogProgress:
    """A line in the log ``landweave`` at the start, at most every `LOG_SECONDS`, and at the end."""

    def start(self, total: int, engine: str) -> None:
        """Log the number of blocks and the engine."""
        self._tally = Tally(total=total)
        self._logged = time.monotonic()
        _logger.info("%s on %s", counted(total, "block"), engine)

    def advance(self, index: BlockIndex, result: BlockResult) -> None:
        """Log a line when it is time for one; the first few failures at once."""
        if failure := self._tally.add(index, result):
            _logger.warning("%s", failure)
        if time.monotonic() - self._logged >= LOG_SECONDS:
            self._logged = time.monotonic()
            _logger.info("%s", self._tally)

    def stop(self) -> None:
        """Log what was done, in what time."""
        _logger.info("%s, in %s", self._tally, clock(self._tally.seconds))


class BarProgress:
    """A bar on the terminal ``console``: blocks, megapixels a second, time left, failures."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = rich_progress.Progress(
            rich_progress.BarColumn(), rich_progress.TextColumn("{task.description}"), console=console
        )

    def start(self, total: int, engine: str) -> None:
        """Draw an empty bar under the engine's name."""
        self._tally = Tally(total=total)
        self._console.print(f"{counted(total, 'block')} on {engine}", markup=False, highlight=False)
        self._task = self._bar.add_task(str(self._tally), total=total)
        self._bar.start()

    def advance(self, index: BlockIndex, result: BlockResult) -> None:
        """Move the bar; the first few failures are printed above it."""
        if failure := self._tally.add(index, result):
            self._console.print(failure, style="red", markup=False, highlight=False)
        self._bar.update(self._task, advance=1, description=str(self._tally))

    def stop(self) -> None:
        """Leave the bar as it is."""
        self._bar.stop()


class NotebookProgress:
    """A bar in the output of a notebook's cell, as plain HTML: rich's own needs ipywidgets there."""

    def __init__(self) -> None:
        self._failures: list[str] = []
        self._shown = 0.0

    def start(self, total: int, engine: str) -> None:
        """Show an empty bar above the engine's name."""
        from IPython.display import display

        self._tally, self._engine, self._failures = Tally(total=total), engine, []
        show: Any = display  # IPython has no types
        self._handle = show(self, display_id=True)

    def advance(self, index: BlockIndex, result: BlockResult) -> None:
        """Move the bar when it is time; the first few failures are listed below it."""
        if failure := self._tally.add(index, result):
            self._failures.append(failure)
        if time.monotonic() - self._shown >= NOTEBOOK_SECONDS:
            self._show()

    def stop(self) -> None:
        """Show the bar as it ends."""
        self._show()

    def _show(self) -> None:
        self._shown = time.monotonic()
        self._handle.update(self)

    def __repr__(self) -> str:
        return f"{self._tally} on {self._engine}"

    def _repr_html_(self) -> str:
        failures = "".join(f"<br><span style='color:#c00'>{escape(line)}</span>" for line in self._failures)
        bar = f"<progress max='{max(self._tally.total, 1)}' value='{self._tally.ended}'></progress>"
        return f"<div>{bar} {escape(str(self._tally))}<br><small>{escape(self._engine)}</small>{failures}</div>"


def progress_on(console: Console) -> Progress:
    """A bar when ``console`` is a terminal, lines in the log otherwise."""
    return BarProgress(console) if console.is_terminal else LogProgress()


def resolve_progress(progress: Progress | bool) -> Progress:
    """The progress to report to: of True a bar in a notebook or on a terminal, nothing elsewhere; of False nothing."""
    if not isinstance(progress, bool):
        return progress
    if progress and _in_notebook():
        return NotebookProgress()
    return BarProgress(error_console()) if progress and sys.stderr.isatty() else SilentProgress()


def _in_notebook() -> bool:
    ipython = sys.modules.get("IPython")  # a notebook has loaded it
    return getattr(ipython and ipython.get_ipython(), "kernel", None) is not None


@contextmanager
def shown(progress: Progress, total: int, engine: str) -> Iterator[None]:
    """Show a run for the length of a ``with`` block, however it ends.

    Parameters
    ----------
    progress
        Started, and stopped in the end.
    total, engine
        As of `Progress.start`.
    """
    progress.start(total, engine)
    try:
        yield
    finally:
        progress.stop()


def clock(seconds: float) -> str:
    """Hours, minutes and seconds.

    >>> clock(3725.2), clock(65)
    ('1:02:05', '1:05')
    """
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
