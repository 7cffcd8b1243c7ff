"""Runs any block job on any engine, and keeps the ledger: it knows no model and no raster.

::

    blocks ──> engine ──> results ──> ledger in memory ── at most every 2 s ──> ledger store
                  │                └> progress
                  └ attempt(block): what a block raises becomes its state
"""

from __future__ import annotations

import signal
import threading
import time
import traceback
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import FrameType, MappingProxyType
from typing import Protocol

from landweave.core.errors import LandweaveError, PredictError, ReadError
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockFunction, BlockJob, BlockResult, BlockState, Engine, LedgerStore
from landweave.jobs.lease import Lease
from landweave.jobs.ledger import Ledger
from landweave.jobs.progress import Progress, Tally

FLUSH_SECONDS = 2.0
"""Least time between two writes of the ledger; what a killed driver may have to run again."""

EXIT_COMPLETE = 0
EXIT_FAILED_BLOCKS = 3


class BlockSet(Protocol):
    """Blocks to run: a list, or `landweave.core.lattice.Blocks`."""

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[BlockIndex]: ...


@dataclass(frozen=True, kw_only=True)
class Summary:
    """What a run did.

    Attributes
    ----------
    counts
        Blocks of the whole ledger in every state, those of earlier runs too.
    ran
        Blocks of this run.
    seconds
        Wall time of this run.
    pixels
        Output pixels of this run, where the job counts them.
    stage_seconds
        Seconds of this run by stage, summed over blocks (workers side by side: more than the wall time).
    """

    counts: Mapping[BlockState, int]
    ran: int
    seconds: float
    pixels: int
    stage_seconds: Mapping[str, float]

    @property
    def megapixels_per_second(self) -> float:
        """Output pixels of this run over its wall time."""
        return self.pixels / 1e6 / max(self.seconds, 1e-9)

    @property
    def complete(self) -> bool:
        """Whether nothing is left to do for any block."""
        return all(state.finished for state, number in self.counts.items() if number)

    def __str__(self) -> str:
        found = (f"{count:,} {state.words}" for state, count in self.counts.items() if count)
        speed = f"{self.megapixels_per_second:.2f} Mpx/s"
        return f"blocks: {', '.join(found)}; {self.ran:,} ran in {self.seconds:.1f} s ({speed})"

    @property
    def exit_code(self) -> int:
        """0 when complete, 3 when blocks failed or are left."""
        return EXIT_COMPLETE if self.complete else EXIT_FAILED_BLOCKS


def run_blocks(
    job: BlockJob,
    engine: Engine,
    ledger: Ledger,
    ledger_store: LedgerStore,
    *,
    blocks: BlockSet,
    progress: Progress,
    lease: Lease | None = None,
) -> Summary:
    """Run ``blocks`` of ``job``, note what becomes of each, and say how it went.

    A block that raises fails alone. Whatever ends the run early (Ctrl-C, an engine that went away, a model that
    cannot be opened) is raised on, after what is done has been saved: another run does only the rest.

    Parameters
    ----------
    blocks
        Usually ``ledger.todo()``, with the stale ones when they are to be computed again.
    lease
        Held on the output, where several drivers could meet; looked at before every write of the ledger.

    Raises
    ------
    OutputError
        When the ledger cannot be written, or another driver has taken the output over.
    """
    book = _Book(ledger, ledger_store, lease)
    tally = Tally(total=len(blocks))
    stages: defaultdict[str, float] = defaultdict(float)
    progress.start(len(blocks), engine.name)
    with ExitStack() as at_the_end:  # last in, first out; each is done even if one before it raises
        at_the_end.callback(book.save)
        at_the_end.callback(progress.stop)
        heard = at_the_end.enter_context(interrupts())
        results = at_the_end.enter_context(closing(engine.run(Attempted(job), blocks)))
        for index, result in results:
            book.note(index, result)
            if heard:
                raise KeyboardInterrupt
            tally.add(result)
            for stage, seconds in result.seconds.items():
                stages[stage] += seconds
            progress.advance(index, result)
        if heard:
            raise KeyboardInterrupt
    return Summary(
        counts=MappingProxyType(ledger.counts()),
        ran=tally.ended,
        seconds=tally.seconds,
        pixels=tally.pixels,
        stage_seconds=MappingProxyType(dict(stages)),
    )


@contextmanager
def interrupts() -> Iterator[list[int]]:
    """Interrupts (Ctrl-C) of this process as they come, each raised as ever besides.

    What is raised inside a finalizer or a callback Python prints and forgets, and the futures of a cluster have both.
    """
    heard: list[int] = []
    before = signal.getsignal(signal.SIGINT)
    if threading.current_thread() is not threading.main_thread() or not callable(before):
        yield heard  # signals belong to the main thread, or are ignored
        return

    def hear(number: int, frame: FrameType | None) -> None:
        heard.append(number)
        before(number, frame)

    signal.signal(signal.SIGINT, hear)
    try:
        yield heard
    finally:
        signal.signal(signal.SIGINT, before)


@contextmanager
def begun() -> Iterator[None]:
    """Mark errors of a run that has begun to write: it is not as if nothing had happened."""
    try:
        yield
    except LandweaveError as error:
        error.exit_code = EXIT_FAILED_BLOCKS
        raise


@dataclass(frozen=True)
class Attempted:
    """A job whose block function never raises: the form in which every engine gets it."""

    job: BlockJob

    @property
    def key(self) -> str:
        """The job's own."""
        return self.job.key

    @property
    def torch_threads(self) -> int | None:
        """The job's own."""
        return self.job.torch_threads

    def open(self) -> BlockFunction:
        """The job's block function inside `attempt`. What opening raises is raised: no block could be done."""
        return partial(attempt, self.job.open())


def attempt(block_function: BlockFunction, index: BlockIndex) -> BlockResult:
    """What became of block ``index``, whatever it raised; runs where the block runs.

    `ReadError` becomes `BlockState.READ_FAILED`, `PredictError` `BlockState.MODEL_FAILED`, anything else (a full
    disk, a bug) `BlockState.FAILED` with its type and the line it came from.
    """
    started = time.perf_counter()
    try:
        return block_function(index)
    except ReadError as error:
        state, reason = BlockState.READ_FAILED, str(error)
    except PredictError as error:
        state, reason = BlockState.MODEL_FAILED, str(error)
    except Exception as error:  # noqa: BLE001  one block must not end the run, whatever is wrong with it
        state, reason = BlockState.FAILED, _told(error)
    return BlockResult(state=state, reason=reason, seconds={"total": time.perf_counter() - started})


def _told(error: Exception) -> str:
    where = traceback.extract_tb(error.__traceback__)[-1]
    return f"{type(error).__name__}: {error} ({where.name}, line {where.lineno} of {Path(where.filename).name})"


class _Book:
    """The ledger with its store: marks at once, saves at most every `FLUSH_SECONDS`."""

    def __init__(self, ledger: Ledger, store: LedgerStore, lease: Lease | None) -> None:
        self._ledger, self._store, self._lease = ledger, store, lease
        self._saved = time.monotonic()

    def note(self, index: BlockIndex, result: BlockResult) -> None:
        self._ledger.mark(index, result)
        if time.monotonic() - self._saved >= FLUSH_SECONDS:
            self.save()

    def save(self) -> None:
        if self._lease is not None:
            self._lease.check()
        self._ledger.flush(self._store)
        self._saved = time.monotonic()
