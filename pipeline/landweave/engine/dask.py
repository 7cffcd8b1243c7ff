"""Blocks on a Dask cluster: one Dask task a block, a bounded number in flight, the job sent to each worker once.

::

    driver                          scheduler                       worker process (two threads)
      job ── once, pickled ───────────> keeps it for late workers ────> plugin: opened by the first block
      (job's name, block) ── < 2 kB ──> task ─────────────────────────> block function ── result ──> driver

The blocks of a worker that dies are retried one by one with nothing else in flight; only a block whose worker dies
then, too, has failed.
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

from landweave.core.budget import THREADS_A_WORKER
from landweave.core.errors import EngineError
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockJob, BlockResult, BlockResults, BlockState
from landweave.engine.plugins import FailurePolicyPlugin, JobPlugin, end_run, run_block

IN_FLIGHT_PER_THREAD = 2
"""Each thread has its next block at hand while the driver is busy; more would only be more to retry alone when a worker
dies, and more to cancel on Ctrl-C."""

PATIENCE_SECONDS = 60.0
"""How long a run waits for the first worker, or for another when all are gone."""

TERMINATE_SHARE = 0.95
"""Of its memory limit at which a nanny kills its worker (``distributed.worker.memory.terminate``)."""

_POLL_SECONDS = 1.0

_RESULT_SECONDS = 10.0
"""For the few hundred bytes of a block that has ended."""


@dataclass(frozen=True, kw_only=True)
class DaskEngine:
    """Runs blocks on the workers of one scheduler; opened by `landweave.engine.clusters`.

    Attributes
    ----------
    client
        Connected to the scheduler. Scheduler and workers must be able to import this package.
    expected_threads
        Of the workers of a cluster that grows by what waits: so many blocks wait for it from the beginning.
    """

    client: Client
    expected_threads: int = 0

    @property
    def name(self) -> str:
        """``dask``, its present workers, and the link to the dashboard."""
        threads = self.client.nthreads().values()
        return f"dask: {len(threads)} workers, {sum(threads)} threads, dashboard {self.client.dashboard_link}"

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return str(self.client.scheduler_info()["address"])

    @property
    def worker_bytes(self) -> int | None:
        """Memory for the two blocks that a plan counts a worker, of the one that has least; None where unlimited."""
        limits = self.client.run_on_scheduler(_memory_limits)
        return min((int(limit * TERMINATE_SHARE) for limit in limits if limit), default=None)

    def run(self, job: BlockJob, blocks: Iterable[BlockIndex]) -> BlockResults:
        """Results as blocks end, each block once: `landweave.core.protocols.Engine.run`.

        Raises
        ------
        EngineError
            When no worker appears in time, or the scheduler goes away.
        Exception
            Whatever opening the job raised on a worker.
        """
        with registered(self.client, job) as name:
            submissions = _Submissions(self.client, name, blocks, self.expected_threads)
            try:
                yield from submissions.results()
            finally:
                submissions.cancel()


def _memory_limits(dask_scheduler: Any = None) -> list[int]:
    # Workers that others started may run more blocks at once than a plan counts.
    return [
        int(worker.memory_limit * min(1, THREADS_A_WORKER / worker.nthreads))
        for worker in dask_scheduler.workers.values()
    ]


@contextmanager
def registered(client: Client, job: BlockJob) -> Iterator[str]:
    """The name under which ``job`` is on all workers, late ones too, for the length of a ``with`` block.

    Parameters
    ----------
    client
        Connected to the scheduler.
    job
        Pickled once.
    """
    # Not the job's key alone: the scheduler may still have one of a driver that was killed a moment ago.
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


class _Submissions:
    """The blocks of one run on a cluster that are submitted and have no result yet.

    A block is waiting, submitted, to be retried (its worker died), or finished. While there are blocks to be retried
    nothing new is submitted; when no other block is in flight, they are submitted one by one.
    """

    def __init__(self, client: Client, name: str, blocks: Iterable[BlockIndex], expected_threads: int = 0) -> None:
        self._expected_threads = expected_threads
        self._client, self._name = client, name
        self._waiting = iter(blocks)
        self._to_retry: deque[BlockIndex] = deque()
        self._retried: BlockIndex | None = None
        self._submitted: dict[BlockIndex, Future[BlockResult]] = {}
        self._finished: queue.SimpleQueue[BlockIndex] = queue.SimpleQueue()
        self._threads = 0
        self._counted = float("-inf")
        self._worker_seen = time.monotonic()
        self._nonce = uuid.uuid4().hex[:8]

    def results(self) -> BlockResults:
        """Submit and wait until every block has its result."""
        self._submit_more()
        while self._submitted:
            index = self._wait_for_one()
            future = self._submitted[index]
            try:
                result: BlockResult | None = future.result(timeout=_RESULT_SECONDS)
            except KilledWorker as error:
                result = self._after_death(index, error)
            except (CancelledError, OSError) as error:
                if future.status == "error":
                    raise
                if not isinstance(error, TimeoutError):
                    raise _lost(self._client) from error
                # The worker died after the block and before this call: the scheduler has the block run again.
                self._check_workers()
                self._watch(index, future)
                continue
            self._submitted.pop(index).release()
            self._retried = None
            if result is not None:
                yield index, result
            self._submit_more()

    def cancel(self) -> None:
        """Cancel what has not begun; a block that is running ends, and its result is dropped."""
        submitted = list(self._submitted.values())
        if submitted and self._client.status == "running":
            with suppress(OSError):
                self._client.cancel(submitted, force=True)

    def _submit_more(self) -> None:
        if self._to_retry:
            if not self._submitted:
                self._retried = self._to_retry.popleft()
                self._submit(self._retried, f"retry-{self._nonce}")
        elif self._retried is None:
            for index in islice(self._waiting, max(0, self._room())):
                self._submit(index, f"block-{self._nonce}")

    def _submit(self, index: BlockIndex, kind: str) -> None:
        future = self._client.submit(run_block, self._name, index, key=(kind, *index), pure=False)
        self._submitted[index] = future
        self._watch(index, future)

    def _watch(self, index: BlockIndex, future: Future[BlockResult]) -> None:
        future.add_done_callback(lambda _: self._finished.put(index))

    def _room(self) -> int:
        """Number of blocks to submit now."""
        if time.monotonic() - self._counted >= _POLL_SECONDS:
            self._count_threads()
        # With no worker yet one block is submitted: `_wait_for_one` then keeps the deadline.
        wanted = max(1, self._expected_threads, IN_FLIGHT_PER_THREAD * self._threads)
        return wanted - len(self._submitted)

    def _wait_for_one(self) -> BlockIndex:
        while True:
            try:
                return self._finished.get(timeout=_POLL_SECONDS)
            except queue.Empty:
                self._check_workers()

    def _after_death(self, index: BlockIndex, error: KilledWorker) -> BlockResult | None:
        """The result of a block whose worker died; None when the block is to be retried alone."""
        if self._retried != index:
            self._to_retry.append(index)
            return None
        return BlockResult(
            state=BlockState.WORKER_DIED,
            reason="Its worker died twice, the second time with no other block in flight (last on "
            f"{error.last_worker.address}): out of memory, or a crash in native code. See that worker's log.",
        )

    def _check_workers(self) -> None:
        """Count the workers' threads again; raise when scheduler or workers are gone for too long."""
        if self._client.status != "running":
            raise _lost(self._client)
        self._count_threads()
        waited = time.monotonic() - self._worker_seen
        if waited > PATIENCE_SECONDS:
            raise EngineError(
                f"No worker at {_address(self._client)} for {waited:.0f} s, and {len(self._submitted)} blocks "
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
            return  # a busy machine: the connection stands, the count comes at another time
        if self._threads:
            self._worker_seen = self._counted


def _lost(client: Client) -> EngineError:
    return EngineError(
        f"The scheduler at {_address(client)} went away, with the blocks in flight: start it again and "
        "run again; what is done is kept."
    )


def _address(client: Client) -> str:
    return str(client.scheduler.address) if client.scheduler else "an unknown address"
