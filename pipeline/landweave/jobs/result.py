"""What a run did, and how far an output is."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import ClassVar

from landweave.core.block_states import BlockStates, states_text
from landweave.core.errors import EXIT_FAILED_BLOCKS
from landweave.core.plain import UNLISTED
from landweave.core.protocols import BlockState
from landweave.core.retry import RETRIES
from landweave.core.tables import Rows, as_html, as_text
from landweave.core.words import counted, first_lines
from landweave.jobs.ledger import Ledger
from landweave.jobs.run_report import Rates, join_rates, report_rows

EXIT_COMPLETE = 0

SMALL_SHARE = 0.1
"""Share of the covered pixels with a measurement below which a person is told."""

SHOWN_FAILURES = 20
"""Failures of a run that are shown; `Status` shows them all."""


@dataclass(frozen=True, kw_only=True)
class RunResult:
    """What a run or an alignment did; shown as a table in a notebook.

    Attributes
    ----------
    counts
        Number of blocks of the whole output by state, those of earlier runs included.
    ran
        Number of blocks of this run.
    seconds
        Wall time of this run.
    pixels
        Output pixels of this run.
    sums
        Sums of `landweave.core.protocols.BlockResult.counts` over the blocks of this run.
    stage_seconds
        Seconds of this run by stage, summed over blocks (workers run side by side: more than the wall time).
    part_seconds
        Wall time of the driver by part, in their order: ``start`` (everything before the first block), ``blocks``,
        ``overviews``, and each file that is written beside a map.
    rates
        Seconds since the first block was asked for, and megapixels a second since the entry before; at most 32.
    windows_needed
        Windows that the blocks of this run need, those at their edges once; ``sums`` has those that ran.
    peak_bytes
        Most memory that a process with blocks of this run has held.
    processes
        That ran blocks of this run, those included that took the place of others.
    engine
        What ran the blocks; empty where nothing was to do.
    planned
        What the plan of this run said, as far as it was known: ``hours``, ``worker_hours``, ``cost``, ``energy_kwh``,
        ``windows``, ``memory_bytes`` of a worker.
    failures
        One line for each block that failed.
    notes
        What a person should know.
    empty
        Names of what is complete and holds no measurement at all: the map, or modalities of a cube.
    stale
        One line for each block that was kept although its files changed since, with the files.
    """

    LISTED: ClassVar = ("complete", "exit_code", "megapixels_per_second", "device_use")

    counts: Mapping[BlockState, int]
    ran: int = 0
    seconds: float = 0.0
    pixels: int = 0
    sums: Mapping[str, int] = field(default_factory=dict)
    stage_seconds: Mapping[str, float] = field(default_factory=dict)
    part_seconds: Mapping[str, float] = field(default_factory=dict)
    rates: Rates = ()
    windows_needed: int = 0
    peak_bytes: int = 0
    processes: int = 0
    engine: str = ""
    planned: Mapping[str, float] = field(default_factory=dict)
    failures: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    empty: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()

    @property
    def megapixels_per_second(self) -> float:
        """Output pixels of this run over its wall time."""
        return self.pixels / 1e6 / max(self.seconds, 1e-9)

    @property
    def complete(self) -> bool:
        """Whether every block is finished."""
        return _is_complete(self.counts)

    @property
    def exit_code(self) -> int:
        """0 when complete, 3 when blocks failed, are pending or stale, or nothing at all was measured."""
        return EXIT_COMPLETE if self.complete and not self.empty and not self.stale else EXIT_FAILED_BLOCKS

    @property
    def retries(self) -> int:
        """Requests to servers and object stores that were tried again, on all workers and in the driver."""
        return self.sums.get(RETRIES, 0)

    def with_retries(self, number: int) -> RunResult:
        """The result with more retries: those of the driver."""
        return replace(self, sums={**self.sums, RETRIES: self.retries + number}) if number else self

    def with_stale_kept(self) -> RunResult:
        """The result for who wants the blocks kept whose files changed since: they are a note."""
        kept = [f"{counted(len(self.stale), 'block', 'is')} kept although files changed since"] if self.stale else []
        return replace(self, stale=(), notes=(*self.notes, *kept))

    def __str__(self) -> str:
        speed = f"{self.ran:,} ran in {self.seconds:.1f} s ({self._speed})"
        lines = [f"blocks: {count_words(self.counts)}; {speed}", *self._notes()]
        report = [as_text(self.report)] if self.report else []
        return "\n".join([*lines, *self._shown_failures(), *report])

    @property
    def report(self) -> Rows:
        """Where the time of this run went, as rows of a table; none where nothing ran."""
        if not self.ran:
            return []
        return report_rows(
            part_seconds=self.part_seconds,
            stage_seconds=self.stage_seconds,
            rates=self.rates,
            windows=(self.windows_needed, self.sums.get("windows", 0)),
            peak_bytes=self.peak_bytes,
            device=self.device_use,
        )

    @property
    def device_use(self) -> float:
        """Share of the wall time of all processes with blocks in which the network ran, whatever the device."""
        whole = self.seconds * self.processes
        return self.stage_seconds.get("predict", 0.0) / whole if whole else 0.0

    def with_parts(self, **seconds: float) -> RunResult:
        """The result with the seconds of further parts of the run; those of one that it has are added."""
        parts = {name: self.part_seconds.get(name, 0.0) + value for name, value in seconds.items()}
        return replace(self, part_seconds={**self.part_seconds, **parts})

    def _repr_html_(self) -> str:
        return as_html(
            [
                ("blocks", count_words(self.counts)),
                ("ran", f"{counted(self.ran, 'block')} in {self.seconds:.1f} s, {self._speed}"),
                *[("note", note) for note in self._notes()],
                *[("failed", line) for line in self._shown_failures()],
                *self.report,
            ]
        )

    @property
    def _speed(self) -> str:
        return f"{self.megapixels_per_second:.2f} Mpx/s"

    def _notes(self) -> list[str]:
        retries = [retries_line(self.retries)] if self.retries else []
        empty = [f"{name}: nothing is left, no pixel of any block holds a measurement" for name in self.empty]
        return [*retries, *self.notes, *empty]

    def _shown_failures(self) -> list[str]:
        return [*_first(self.failures), *_first(self.stale)]


def retries_line(number: int) -> str:
    """How often a request was tried again, as a person is told."""
    return f"requests tried again: {number:,}"


def _first(lines: Sequence[str]) -> list[str]:
    return first_lines(lines, SHOWN_FAILURES, "more, in the status")


def is_empty(counts: Mapping[BlockState, int]) -> bool:
    """Whether every block was finished and none of them holds a measurement."""
    return _is_complete(counts) and not counts[BlockState.DONE] and counts[BlockState.NO_INPUT] > 0


def coverage_notes(name: str, results: Iterable[RunResult]) -> list[str]:
    """A line where far less of a run's ground holds a measurement than it covers.

    Parameters
    ----------
    name
        Of the map or the modality.
    results
        Of its blocks, whose counts are ``covered`` and ``valid`` pixels.
    """
    sums = [result.sums for result in results]
    covered, valid = (sum(each.get(key, 0) for each in sums) for key in ("covered", "valid"))
    if not 0 < valid < SMALL_SHARE * covered:
        return []
    return [f"{name}: {valid:,} of {covered:,} pixels that are covered hold a measurement ({valid / covered:.1%})"]


def join_results(
    results: Sequence[RunResult],
    ledgers: Iterable[Ledger],
    failures: Iterable[str],
    notes: tuple[str, ...],
    empty: tuple[str, ...] = (),
    stale: Iterable[str] = (),
) -> RunResult:
    """One result of several runs.

    Parameters
    ----------
    results
        What ran, one after the other.
    ledgers
        The states of all blocks, those of which nothing ran too.
    failures, notes, empty, stale
        Of the whole.
    """
    stages = {stage for result in results for stage in result.stage_seconds}
    sums = sum((Counter(result.sums) for result in results), Counter[str]())
    return RunResult(
        counts=total_counts(ledger.counts() for ledger in ledgers),
        ran=sum(result.ran for result in results),
        seconds=sum(result.seconds for result in results),
        pixels=sum(result.pixels for result in results),
        sums=sums,
        stage_seconds={name: sum(result.stage_seconds.get(name, 0.0) for result in results) for name in stages},
        rates=join_rates([(result.seconds, result.rates) for result in results]),
        peak_bytes=max((result.peak_bytes for result in results), default=0),
        processes=max((result.processes for result in results), default=0),
        engine=next((result.engine for result in results if result.engine), ""),
        failures=tuple(failures),
        notes=notes,
        empty=empty,
        stale=tuple(stale),
    )


@dataclass(frozen=True, kw_only=True)
class Status:
    """How far a map, a cube or one of its modalities is; shown as a table in a notebook.

    Attributes
    ----------
    counts
        Number of blocks by state.
    failures
        One line for each block that failed.
    stale
        One line for each block whose files changed since, where the configuration was given.
    dates
        Dates of a series that readers see; None where there are no dates.
    dates_to_come
        Dates that a run has begun and readers do not see yet.
    groups
        Of a cube: the status by modality.
    states
        `BlockState` of every block, uint8 ``(block_y, block_x)``, of several time shards the one that most needs a
        look; None for a whole cube.
    drawn
        Whether the text shows every block as a character.
    """

    LISTED: ClassVar = ("complete", "done")

    counts: Mapping[BlockState, int]
    failures: tuple[str, ...] = ()
    stale: tuple[str, ...] = ()
    dates: int | None = None
    dates_to_come: int = 0
    groups: Mapping[str, Status] = field(default_factory=dict)
    states: BlockStates | None = field(default=None, repr=False, compare=False, metadata=UNLISTED)
    drawn: bool = field(default=False, metadata=UNLISTED)

    @property
    def complete(self) -> bool:
        """Whether every block is finished, and readers see every date."""
        return _is_complete(self.counts) and not self.dates_to_come

    @property
    def done(self) -> float:
        """Share of the blocks inside the area and with input that are done, 0 to 1."""
        idle = self.counts[BlockState.OUTSIDE] + self.counts[BlockState.NO_INPUT]
        mappable = sum(self.counts.values()) - idle
        return self.counts[BlockState.DONE] / mappable if mappable else 1.0

    @property
    def rows(self) -> Rows:
        """The status as rows of a table: by modality, or by state."""
        if self.groups:
            return [(name, ", ".join(group._facts())) for name, group in self.groups.items()]
        return [(state.words, f"{count:>9,}") for state, count in self.counts.items() if count]

    def _facts(self) -> list[str]:
        dates = [] if self.dates is None else [counted(self.dates, "date")]
        to_come = [f"{self.dates_to_come:,} to come"] if self.dates_to_come else []
        return [*dates, *to_come, f"blocks: {count_words(self.counts) or 'none yet'}"]

    def __str__(self) -> str:
        grids = [f"{title}\n{states_text(states)}" for title, states in self.grids.items()] if self.drawn else []
        return "\n".join([as_text(self.rows), *self.failures, *self.stale, *grids])

    @property
    def grids(self) -> dict[str, BlockStates]:
        """The states of all blocks by title: the map, or each modality."""
        if self.groups:
            return {name: group.states for name, group in self.groups.items() if group.states is not None}
        return {} if self.states is None else {"blocks": self.states}

    def _repr_html_(self) -> str:
        lines = [*(("failed", line) for line in self.failures), *(("stale", line) for line in self.stale)]
        return as_html([*self.rows, *lines])


def join_status(groups: Mapping[str, Status]) -> Status:
    """The status of a cube, from those of its modalities."""
    return Status(
        counts=total_counts(group.counts for group in groups.values()),
        failures=tuple(line for group in groups.values() for line in group.failures),
        dates_to_come=sum(group.dates_to_come for group in groups.values()),
        groups=groups,
    )


def total_counts(counts: Iterable[Mapping[BlockState, int]]) -> dict[BlockState, int]:
    """Number of blocks by state over several ledgers, zeros included."""
    listed = list(counts)
    return {state: sum(each.get(state, 0) for each in listed) for state in BlockState}


def count_words(counts: Mapping[BlockState, int]) -> str:
    """Blocks by state in one line, such as ``12 done, 1 read failed``."""
    return ", ".join(f"{count:,} {state.words}" for state, count in counts.items() if count)


def _is_complete(counts: Mapping[BlockState, int]) -> bool:
    return all(state.finished for state, count in counts.items() if count)
