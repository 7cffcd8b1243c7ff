"""Runs any block job on any engine and stores its ledger; it knows no model and no raster.

::

    blocks ──> engine ──> results ──> ledger in memory ── at most every 2 s ──> ledger store
                  │                └> progress
                  └ try_block(block): what a block raises becomes its state
"""

from __future__ import annotations

import os
import platform
import resource
import signal
import sys
import threading
import time
import traceback
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

from landweave.core.errors import EXIT_FAILED_BLOCKS, HungUp, LandweaveError, PredictError, ReadError, Terminated
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockFunction, BlockJob, BlockResult, BlockState, Engine, LedgerStore, WorkerNeeds
from landweave.core.retry import RETRIES, take_retries
from landweave.jobs.lease import Lease
from landweave.jobs.ledger import Ledger
from landweave.jobs.progress import Progress, Tally
from landweave.jobs.result import RunResult
from landweave.jobs.run_report import RateLog

_ENDS: dict[int, type[KeyboardInterrupt]] = {signal.SIGTERM: Terminated, signal.SIGHUP: HungUp}
"""Signals that end the command as Ctrl-C does."""

FLUSH_SECONDS = 2.0
"""Least time between two writes of the ledger; what a killed driver may have to run again."""


def run_blocks(
    job: BlockJob,
    engine: Engine,
    ledger: Ledger,
    ledger_store: LedgerStore,
    *,
    blocks: Iterable[BlockIndex],
    progress: Progress,
    lease: Lease | None = None,
) -> RunResult:
    """Run ``blocks`` of ``job`` and record the state of each.

    A block that raises fails alone. What ends the run early (Ctrl-C, an engine that went away, a model that cannot be
    opened) is raised after the ledger has been stored: another run does only the rest.

    Parameters
    ----------
    job
        Picklable; its blocks run in any order.
    engine
        Runs the blocks.
    ledger
        The states of all blocks.
    ledger_store
        Where the ledger is stored, at most every `FLUSH_SECONDS` and at the end.
    blocks
        Those to run.
    progress
        Advanced with every block.
    lease
        Of the output, checked before every write of the ledger.

    Raises
    ------
    OutputError
        When the ledger cannot be written, or another driver has taken the output over.
    """
    writer = _LedgerWriter(ledger, ledger_store, lease)
    tally, stage_seconds, sums = Tally(), defaultdict[str, float](float), Counter[str]()
    peak_bytes, processes, rate_log = 0, set[str](), RateLog()
    with ExitStack() as at_the_end:  # last in, first out; each is done even if one before it raises
        at_the_end.callback(writer.save)
        interrupts = at_the_end.enter_context(recorded_interrupts())
        results = at_the_end.enter_context(closing(engine.run(CatchingJob(job), blocks)))
        for index, result in results:
            writer.mark(index, result)
            if interrupts:
                raise interrupt(interrupts[0])
            tally.add(index, result)
            for stage, seconds in result.seconds.items():
                stage_seconds[stage] += seconds
            sums.update(result.counts)
            peak_bytes = max(peak_bytes, result.peak_bytes)
            processes.update(filter(None, [result.process]))
            rate_log.add(tally.seconds, tally.pixels)
            progress.advance(index, result)
        if interrupts:
            raise interrupt(interrupts[0])
    return RunResult(
        counts=ledger.counts(),
        ran=tally.ended,
        seconds=(seconds := tally.seconds),
        pixels=tally.pixels,
        rates=rate_log.rates(seconds, tally.pixels),
        sums=dict(sums),
        stage_seconds=dict(stage_seconds),
        peak_bytes=peak_bytes,
        processes=len(processes),
        engine=engine.name,
        failures=tuple(ledger.failures()),
    )


@contextmanager
def recorded_interrupts() -> Iterator[list[int]]:
    """Interrupts of this process as they come, by the number of their signal, each raised as usual too.

    Ctrl-C, and SIGTERM and SIGHUP where the program handles them. Python prints and forgets what is raised inside a
    finalizer or a callback, and the futures of a cluster have both.
    """
    interrupts: list[int] = []
    handlers = {number: signal.getsignal(number) for number in (signal.SIGINT, *_ENDS)}
    if threading.current_thread() is not threading.main_thread():
        yield interrupts  # only the main thread receives signals
        return
    with ExitStack() as restored:
        for number, before in handlers.items():
            if callable(before):  # they may be ignored, or end the program
                signal.signal(number, partial(_record, interrupts, before))
                restored.callback(signal.signal, number, before)
        yield interrupts


def _record(interrupts: list[int], before: Callable[..., Any], number: int, frame: FrameType | None) -> None:
    interrupts.append(number)
    before(number, frame)


def interrupt(number: int) -> KeyboardInterrupt:
    """The exception of a signal: of Ctrl-C, SIGTERM or SIGHUP."""
    return _ENDS.get(number, KeyboardInterrupt)()


@contextmanager
def terminable() -> Iterator[None]:
    """Let SIGTERM and SIGHUP end this process as Ctrl-C does, for the length of a ``with`` block; the command's own.

    Where SIGHUP is ignored it stays so (``nohup``). A terminal that closes sends it twice: the second is not heard.
    """
    heard: list[int] = []

    def stop(number: int, frame: FrameType | None) -> None:
        if number == signal.SIGHUP and heard:
            return
        heard.append(number)
        raise interrupt(number)

    before = {number: signal.getsignal(number) for number in _ENDS}
    with ExitStack() as restored:
        for number, handler in before.items():
            if number != signal.SIGHUP or handler is not signal.SIG_IGN:
                restored.callback(signal.signal, number, handler)
                signal.signal(number, stop)
        yield


@contextmanager
def writing_begun() -> Iterator[None]:
    """Give errors of a run that has begun to write an exit code of their own: `EXIT_FAILED_BLOCKS`."""
    try:
        yield
    except LandweaveError as error:
        error.exit_code = EXIT_FAILED_BLOCKS
        raise


@dataclass(frozen=True)
class CatchingJob:
    """A job whose block function returns failures instead of raising them: the form that every engine runs."""

    job: BlockJob

    @property
    def key(self) -> str:
        """The key of the job."""
        return self.job.key

    def facts(self) -> Mapping[str, str]:
        """Those of the job, as `landweave.core.protocols.WorkerNeeds`."""
        return self.job.facts() if isinstance(self.job, WorkerNeeds) else {}

    def problems(self) -> Sequence[str]:
        """Those of the job."""
        return self.job.problems() if isinstance(self.job, WorkerNeeds) else ()

    def sent_files(self) -> Mapping[str, Path]:
        """Those of the job."""
        return self.job.sent_files() if isinstance(self.job, WorkerNeeds) else {}

    def open(self) -> BlockFunction:
        """The job's block function inside `try_block`. What opening raises is raised: no block could be run."""
        return partial(try_block, self.job.open())


def try_block(block_function: BlockFunction, index: BlockIndex) -> BlockResult:
    """The result of block ``index``, or the failure it raised, with the retries of this process; runs where it runs.

    `ReadError` becomes `BlockState.READ_FAILED`, `PredictError` `BlockState.MODEL_FAILED`, anything else (a full
    disk, a bug) `BlockState.FAILED` with its type and the line it came from.

    Parameters
    ----------
    block_function
        Does one block.
    index
        Of the block.
    """
    result = _try(block_function, index)
    retries = take_retries()
    return replace(result, counts={**result.counts, RETRIES: retries}) if retries else result


def _try(block_function: BlockFunction, index: BlockIndex) -> BlockResult:
    started = time.perf_counter()
    try:
        return replace(block_function(index), peak_bytes=_peak_bytes(), process=f"{platform.node()} {os.getpid()}")
    except ReadError as error:
        state, reason = BlockState.READ_FAILED, str(error)
    except PredictError as error:
        state, reason = BlockState.MODEL_FAILED, str(error)
    except Exception as error:  # noqa: BLE001  one block must not end the run, whatever is wrong with it
        where = traceback.extract_tb(error.__traceback__)[-1]
        line = f"{where.name}, line {where.lineno} of {Path(where.filename).name}"
        state, reason = BlockState.FAILED, f"{type(error).__name__}: {error} ({line})"
    seconds = {"total": time.perf_counter() - started}
    return BlockResult(state=state, reason=reason, seconds=seconds, peak_bytes=_peak_bytes())


def _peak_bytes() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


class _LedgerWriter:
    """The ledger with its store: marked at once, stored at most every `FLUSH_SECONDS`."""

    def __init__(self, ledger: Ledger, store: LedgerStore, lease: Lease | None) -> None:
        self._ledger, self._store, self._lease = ledger, store, lease
        self._saved = time.monotonic()

    def mark(self, index: BlockIndex, result: BlockResult) -> None:
        self._ledger.mark(index, result)
        if time.monotonic() - self._saved >= FLUSH_SECONDS:
            self.save()

    def save(self) -> None:
        if self._lease is not None:
            self._lease.check()
        self._ledger.flush(self._store)
        self._saved = time.monotonic()
