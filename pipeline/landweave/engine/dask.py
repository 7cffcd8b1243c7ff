"""Blocks on a Dask cluster: one task a block, a bounded number in flight, the job carried to each worker once.

::

    driver                          scheduler                       worker process (two threads)
      job ── once, pickled ───────────> keeps it for late workers ────> carrier: opened by the first block
      (job's name, block) ── < 2 kB ──> task ─────────────────────────> block function ── result ──> driver

A worker that dies takes its blocks with it: they are run again one by one with nothing else in flight, and only
a block that kills its worker then, alone, is given up.
"""

from __future__ import annotations

import queue
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import islice
from typing import Any

from distributed import CancelledError, Client, Future, KilledWorker

from landweave.core.errors import EngineError
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockJob, BlockResult, BlockResults, BlockState
from landweave.engine.plugins import FailurePolicyPlugin, JobPlugin, end_run, run_block

IN_FLIGHT_PER_THREAD = 2
"""Each thread has its next block at hand while the driver is busy; more would only be more to run again alone when
a worker dies, and more to take back on Ctrl-C."""

PATIENCE_SECONDS = 60.0
"""How long a run waits for the first worker, or for another when all are gone."""

_POLL_SECONDS = 1.0

_RESULT_SECONDS = 10.0
"""For the few hundred bytes of a block that has ended."""


@dataclass(frozen=True, kw_only=True)
class DaskEngine:
    """Runs blocks on the workers of one scheduler. `landweave.engine.clusters` makes them.

    Attributes
    ----------
    client
        Connected to the scheduler. Scheduler and workers must be able to import this package.
    in_flight_per_thread
        Blocks submitted for each thread of the cluster.
    patience_s
        Seconds without any worker after which a run ends with an `EngineError`.
    """

    client: Client
    in_flight_per_thread: int = IN_FLIGHT_PER_THREAD
    patience_s: float = PATIENCE_SECONDS

    @property
    def name(self) -> str:
        """``dask``, the workers there are now, and where to look at them."""
        threads = self.client.nthreads().values()
        return f"dask: {len(threads)} workers, {sum(threads)} threads, dashboard {self.dashboard_link}"

    @property
    def worker_bytes(self) -> int | None:
        """Memory at which a nanny kills its worker, of the one that has least; None where none is limited."""
        limits = self.client.run_on_scheduler(_memory_limits)
        return min(filter(None, limits), default=None)

    @property
    def dashboard_link(self) -> str:
        """Address of the cluster's dashboard for a browser."""
        return str(self.client.dashboard_link)

    def run(self, job: BlockJob, blocks: Iterable[BlockIndex]) -> BlockResults:
        """Results as blocks end, each block once.

        Raises
        ------
        EngineError
            When no worker appears in time, or the scheduler goes away.
        Exception
            Whatever opening the job raised on a worker.
        """
        with carried(self.client, job) as name:
            flight = _Flight(self, name, blocks)
            try:
                yield from flight.results()
            finally:
                flight.cancel()


def _memory_limits(dask_scheduler: Any = None) -> list[int]:
    return [worker.memory_limit for worker in dask_scheduler.workers.values()]


@contextmanager
def carried(client: Client, job: BlockJob) -> Iterator[str]:
    """The name under which ``job`` waits on all workers, late ones too, for the length of a ``with`` block."""
    # Not the job's key alone: a driver that was killed a moment ago may still be known under it.
    name = f"landweave-{job.key[:64]}-{uuid.uuid4().hex[:8]}"
    try:
        client.register_plugin(FailurePolicyPlugin(name, client.id), name=name)
        client.register_plugin(JobPlugin(name, job), name=name)
    except OSError as error:
        raise _lost(client) from error
    try:
        yield name
    finally:
        if client.status == "running":
            with suppress(OSError):
                client.run_on_scheduler(end_run, name)


class _Flight:
    """The blocks of one run that are submitted and not yet answered.

    A block is either waiting, in flight, a suspect (its worker died), or answered. While there are suspects
    nothing new is submitted; when the others have landed, suspects fly one by one.
    """

    def __init__(self, engine: DaskEngine, name: str, blocks: Iterable[BlockIndex]) -> None:
        self._engine, self._client, self._name = engine, engine.client, name
        self._waiting = iter(blocks)
        self._suspects: deque[BlockIndex] = deque()
        self._alone: BlockIndex | None = None
        self._flying: dict[BlockIndex, Future[BlockResult]] = {}
        self._landed: queue.SimpleQueue[BlockIndex] = queue.SimpleQueue()
        self._threads = 0
        self._counted = float("-inf")
        self._worker_seen = time.monotonic()
        self._nonce = uuid.uuid4().hex[:8]

    def results(self) -> BlockResults:
        """Submit, wait, answer, until every block is answered."""
        self._submit_what_may_fly()
        while self._flying:
            index = self._wait_for_one()
            future = self._flying[index]
            try:
                result: BlockResult | None = future.result(timeout=_RESULT_SECONDS)
            except KilledWorker as error:
                result = self._judge(index, error)
            except (CancelledError, OSError) as error:
                if future.status == "error":
                    raise
                if not isinstance(error, TimeoutError):
                    raise _lost(self._client) from error
                # The worker died after the block and before this call: the scheduler has the block run again.
                self._look_around()
                self._watch(index, future)
                continue
            self._flying.pop(index).release()
            self._alone = None
            if result is not None:
                yield index, result
            self._submit_what_may_fly()

    def cancel(self) -> None:
        """Take back what has not begun; a block that runs ends where it is, unheard."""
        flying = list(self._flying.values())
        if flying and self._client.status == "running":
            with suppress(OSError):
                self._client.cancel(flying, force=True)

    def _submit_what_may_fly(self) -> None:
        if self._suspects:
            if not self._flying:
                self._alone = self._suspects.popleft()
                self._submit(self._alone, f"alone-{self._nonce}")
        elif self._alone is None:
            for index in islice(self._waiting, max(0, self._room())):
                self._submit(index, f"block-{self._nonce}")

    def _submit(self, index: BlockIndex, kind: str) -> None:
        future = self._client.submit(run_block, self._name, index, key=(kind, *index), pure=False)
        self._flying[index] = future
        self._watch(index, future)

    def _watch(self, index: BlockIndex, future: Future[BlockResult]) -> None:
        future.add_done_callback(lambda _: self._landed.put(index))

    def _room(self) -> int:
        if time.monotonic() - self._counted >= _POLL_SECONDS:
            self._count_threads()
        # With no worker yet one block flies ahead: `_wait_for_one` then keeps the deadline.
        return max(1, self._engine.in_flight_per_thread * self._threads) - len(self._flying)

    def _wait_for_one(self) -> BlockIndex:
        while True:
            try:
                return self._landed.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                self._look_around()

    def _judge(self, index: BlockIndex, error: KilledWorker) -> BlockResult | None:
        """The verdict on a block whose worker died; None when it is to be tried again, alone."""
        if self._alone != index:
            self._suspects.append(index)
            return None
        return BlockResult(
            state=BlockState.SUSPECT,
            reason="Its worker died twice, the second time with no other block in flight (last on "
            f"{error.last_worker.address}): out of memory, or a crash in native code. See that worker's log.",
        )

    def _look_around(self) -> None:
        """Raise when nobody is left who could answer; see late workers."""
        if self._client.status != "running":
            raise _lost(self._client)
        self._count_threads()
        waited = time.monotonic() - self._worker_seen
        if waited > self._engine.patience_s:
            raise EngineError(
                f"No worker at {_address(self._client)} for {waited:.0f} s, and {len(self._flying)} blocks "
                "in flight: start workers (or see why they stop: memory, an import) and run again; what is done "
                "is kept."
            )

    def _count_threads(self) -> None:
        self._counted = time.monotonic()
        try:
            self._threads = sum(self._client.nthreads().values())
        except OSError as error:
            if self._client.status != "running":
                raise _lost(self._client) from error
            return  # a busy machine: the connection stands, the answer comes at another time
        if self._threads:
            self._worker_seen = self._counted


def _lost(client: Client) -> EngineError:
    return EngineError(
        f"The scheduler at {_address(client)} went away, with the blocks in flight: start it again and "
        "run again; what is done is kept."
    )


def _address(client: Client) -> str:
    return str(client.scheduler.address) if client.scheduler else "an unknown address"
