"""Blocks on a Dask cluster: one Dask task a block, a bounded number in flight, the job sent to each worker once.

::

    driver                          scheduler               worker process (two threads)
      question, job (`admission`) ──────────────────────────> plugin: opened by the first block
      (job's name, block) ── < 2 kB ──> task, restricted ───> block function ── result ──> driver
                                        to admitted workers

The blocks of a worker that dies are retried one by one with nothing else in flight; only a block whose worker dies
then, too, has failed.
"""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import queue
import time
import uuid
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field
from itertools import islice
from operator import length_hint

from distributed import CancelledError, Client, Future, KilledWorker

from landweave.core.budget import THREADS_A_WORKER
from landweave.core.errors import EngineError
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockJob, BlockResult, BlockResults, BlockState, WorkerNeeds
from landweave.engine.admission import Admission, find_workers
from landweave.engine.by_value import ByValue
from landweave.engine.plugins import END_SECONDS, FailurePolicyPlugin, end_run, find_stranded, run_block

_log = logging.getLogger("landweave.engine")

IN_FLIGHT_PER_THREAD = 2
"""Each thread has its next block at hand while the driver is busy; more would only be more to retry alone when a worker
dies, and more to cancel on Ctrl-C."""

PATIENCE_SECONDS = 60.0
"""How long a run waits for workers of its own."""

SILENCE_SECONDS = 30.0
"""After which a run that hears nothing says what it waits for."""

GRACE_SECONDS = 10.0
"""For other workers to reply, once one can run the job, so that what is wrong with them is said before a run begins."""

_POLL_SECONDS = 1.0

_RESULT_SECONDS = 2.0
"""For the few hundred bytes of a block that has ended; where they take longer they are asked for again."""

_RUN_BLOCK, _STRANDED = ByValue(run_block), ByValue(find_stranded)


@dataclass(frozen=True, kw_only=True)
class DaskEngine:
    """Runs blocks on the workers of one scheduler; opened by `landweave.engine.clusters`.

    Attributes
    ----------
    client
        Connected to the scheduler, which needs the driver's Python but not this package. Workers need both.
    patience
        Seconds to wait for a worker that may be given blocks; None for no limit.
    mixed
        Whether workers may differ in CPU and libraries.
    need_bytes
        Memory that a worker needs; 0 where it is not known.
    label
        How the cluster came to be, for people.
    most_threads
        Of a cluster that grows by what waits for it: blocks at once with all its workers. 0 for any other.
    """

    client: Client
    patience: float | None = None
    mixed: bool = False
    need_bytes: int = 0
    label: str = "dask"
    most_threads: int = 0
    named: dict[str, tuple[str, ...]] = field(default_factory=dict, repr=False, compare=False)

    @property
    def name(self) -> str:
        """``dask``, its present workers, and the link to the dashboard."""
        threads = self.client.nthreads().values()
        return f"{self.label}: {len(threads)} workers, {sum(threads)} threads, dashboard {self.client.dashboard_link}"

    @property
    def address(self) -> str:
        """Of the scheduler."""
        return str(self.client.scheduler_info()["address"])

    @property
    def worker_bytes(self) -> int | None:
        """Memory for the two blocks that a plan counts a worker, of the one that has least; None where unlimited."""
        limits = (worker.plan_bytes for worker in find_workers(self.client).values())
        return min((limit for limit in limits if limit), default=None)

    def preflight(self, job: BlockJob | WorkerNeeds, *, wait: bool = True) -> tuple[str, ...]:
        """Ask the workers that are there whether they can run ``job``; what was found, a line each.

        Parameters
        ----------
        job
            What is to be run.
        wait
            Whether to wait for a worker where there is none.

        Raises
        ------
        EngineError
            When none of them can, with everything that is wrong; when none comes in time.
        """
        with closing(self._admission(job, None)) as workers, closing(_Beacons(self.client)) as beacons:
            waiting = _Waiting(self, workers)
            beacons.light(int(wait))
            able_since = None
            while able_since is None or (workers.pending and time.monotonic() - able_since < GRACE_SECONDS):
                workers.look()
                if not workers.present and not wait:
                    return (f"{_address(self.client)} has no worker yet: whether they can run this is not known",)
                waiting.check()
                if workers.admitted and able_since is None:
                    able_since = time.monotonic()
                elif not workers.admitted or workers.pending:
                    time.sleep(min(_POLL_SECONDS, 0.1 + waiting.seconds / 20))
            threads = f"{len(workers.admitted)} workers, {workers.threads} threads at {_address(self.client)}"
            return (f"{threads} can run this", *(line.removeprefix("- ") for line in workers.reasons().splitlines()))

    def run(self, job: BlockJob, blocks: Iterable[BlockIndex]) -> BlockResults:
        """Results as blocks end, each block once: `landweave.core.protocols.Engine.run`.

        Raises
        ------
        EngineError
            When no worker that can run the job appears in time, or the scheduler goes away.
        Exception
            Whatever opening the job raised on a worker.
        """
        with registered(self.client, job.key) as name, closing(self._admission(job, name)) as workers:
            submissions = _Submissions(self, workers, name, blocks)
            try:
                yield from submissions.results()
            finally:
                submissions.cancel()

    def _admission(self, job: BlockJob | WorkerNeeds, name: str | None) -> Admission:
        return Admission(
            client=self.client, name=name, job=job, mixed=self.mixed, need_bytes=self.need_bytes, named=self.named
        )


@contextmanager
def registered(client: Client, key: str) -> Iterator[str]:
    """The name of a run on its scheduler, with the policy of its failures, for the length of a ``with`` block.

    Parameters
    ----------
    client
        Connected to the scheduler.
    key
        Of the job.

    Raises
    ------
    EngineError
        When the scheduler goes away, or has another Python.
    """
    # Not the job's key alone: the scheduler may still have one of a driver that was killed a moment ago.
    name = f"landweave-{key[:64]}-{uuid.uuid4().hex[:8]}"
    _require_same_python(client)
    try:
        client.register_plugin(FailurePolicyPlugin(name, client.id), name=name)
    except OSError as error:
        raise _lost(client) from error
    try:
        yield name
    finally:
        if client.status == "running":
            with suppress(OSError):  # a time-out too: the scheduler itself ends the run when this client leaves
                client.run_on_scheduler(ByValue(end_run), name, callback_timeout=2 * END_SECONDS)


def _require_same_python(client: Client) -> None:
    """Refuse a scheduler with another Python, which could not load what is sent to it."""
    found = str(client.run_on_scheduler(platform.python_version))
    here = platform.python_version()
    if found.split(".")[:2] != here.split(".")[:2]:
        raise EngineError(
            f"The scheduler at {_address(client)} runs Python {found}, this driver {here}: start it with Python "
            f"{here.rpartition('.')[0]}."
        )


class _Waiting:
    """How long a run has had no worker that it may give blocks to."""

    def __init__(self, engine: DaskEngine, workers: Admission) -> None:
        self._engine, self._workers = engine, workers
        self._since = self._said = time.monotonic()
        self._had_some = False

    @property
    def seconds(self) -> float:
        """Since the last of them was there."""
        return time.monotonic() - self._since

    def check(self) -> None:
        """Say what is waited for from time to time; raise where waiting is in vain, or patience at its end."""
        workers, address = self._workers, _address(self._engine.client)
        if workers.admitted:
            self._had_some = True
            self._since = self._said = time.monotonic()
            return
        if (
            workers.refused
            and not workers.pending
            and not self._had_some
            and not workers.present.keys() - workers.refused
        ):
            raise EngineError(f"No worker at {address} can run this:\n{workers.reasons()}")
        refused = f"; others are refused:\n{workers.reasons()}" if workers.refused else ""
        if self._engine.patience is not None and self.seconds > self._engine.patience:
            raise EngineError(
                f"No worker at {address} for {self.seconds:.0f} s: start workers (or see why they stop: memory, an "
                f"import) and run again, or set engine.patience; what is done is kept{refused}"
            )
        if time.monotonic() - self._said >= SILENCE_SECONDS:
            self._said = time.monotonic()
            reply = f"{len(workers.present)} have not replied" if workers.present else "none is there"
            _log.warning("waiting for a worker at %s for %s: %s%s", address, f"{self.seconds:.0f} s", reply, refused)


class _Beacons:
    """Tasks that nobody can run: adaptive clusters start workers for them.

    Blocks themselves are given to workers that are there, a few to each, for which no cluster would grow.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lit: list[Future[int]] = []

    def light(self, count: int) -> None:
        """Keep so many of them."""
        while len(self._lit) < count:
            name = f"landweave-beacon-{uuid.uuid4().hex}"
            self._lit.append(self._client.submit(os.getpid, key=name, pure=False, resources={name: 1}))
        if surplus := self._lit[count:]:
            self._lit = self._lit[:count]
            with suppress(OSError):
                self._client.cancel(surplus, force=True)

    def close(self) -> None:
        """Keep none."""
        if self._client.status == "running":
            self.light(0)


class _Submissions:
    """The blocks of one run on a cluster that are submitted and have no result yet.

    A block is waiting, submitted, to be retried (its worker died), or finished. While there are blocks to be retried
    nothing new is submitted; when no other block is in flight, they are submitted one by one. A block is submitted to
    the workers that are admitted then, and anew when all of them are gone.
    """

    def __init__(self, engine: DaskEngine, workers: Admission, name: str, blocks: Iterable[BlockIndex]) -> None:
        self._client, self._workers, self._name = engine.client, workers, name
        self._waiting_for_workers = _Waiting(engine, workers)
        self._waiting = iter(blocks)
        self._ahead: deque[BlockIndex] = deque()
        self._to_retry: deque[BlockIndex] = deque()
        self._retried: BlockIndex | None = None
        self._submitted: dict[BlockIndex, Future[BlockResult | str]] = {}
        self._given_to: dict[BlockIndex, frozenset[str]] = {}
        self._events: queue.SimpleQueue[tuple[BlockIndex, Future[BlockResult | str]] | None] = queue.SimpleQueue()
        self._most_threads = engine.most_threads
        self._beacons = _Beacons(engine.client)
        self._looked = float("-inf")
        self._ended = self._said = time.monotonic()
        self._number = 0
        self._nonce = uuid.uuid4().hex[:8]
        workers.wake = lambda: self._events.put(None)

    def results(self) -> BlockResults:
        """Submit and wait until every block has its result."""
        self._look()
        while self._submit_more():
            ended = self._wait_for_some()
            gathered = self._gathered(ended)
            for index, future in ended:
                if self._submitted.get(index) is not future:
                    continue
                try:
                    result = self._taken(index, gathered.get(index) or self._fetched([future])[0])
                except KilledWorker as error:
                    result = self._after_death(index, error)
                except (CancelledError, OSError) as error:
                    if future.status == "error":
                        raise
                    if not isinstance(error, TimeoutError):
                        raise _lost(self._client) from error
                    # The worker died after the block and before this call: the scheduler has the block run again.
                    self._look()
                    self._watch(index, future)
                    continue
                self._submitted.pop(index).release()
                self._retried = None
                self._ended = self._said = time.monotonic()
                if result is not None:
                    yield index, result

    def cancel(self) -> None:
        """Cancel what has not begun; a block that is running ends, and its result is dropped."""
        self._beacons.close()
        submitted = list(self._submitted.values())
        if submitted and self._client.status == "running":
            with suppress(OSError):
                self._client.cancel(submitted, force=True)

    def _submit_more(self) -> bool:
        """Submit what there is room for; whether there is anything to wait for."""
        if time.monotonic() - self._looked >= _POLL_SECONDS:
            self._look()
        if self._to_retry:
            if not self._submitted and self._workers.admitted:
                self._retried = self._to_retry.popleft()
                self._submit([self._retried], f"retry-{self._nonce}")
        elif self._retried is None:
            room = IN_FLIGHT_PER_THREAD * self._workers.threads - len(self._submitted)
            self._ahead.extend(islice(self._waiting, max(0, room - len(self._ahead))))
            if (count := min(room, len(self._ahead))) > 0:
                self._submit([self._ahead.popleft() for _ in range(count)], f"block-{self._nonce}")
        if not self._submitted and not self._to_retry and not self._ahead:
            self._ahead.extend(islice(self._waiting, 1))
        more = bool(self._submitted or self._to_retry or self._ahead)
        self._beacons.light(self._wanted_threads() if more else 0)
        return more

    def _submit(self, blocks: list[BlockIndex], kind: str) -> None:
        """Submit blocks in one message: for many short ones the scheduler is told less often."""
        workers = frozenset(self._workers.admitted)
        # A block that is submitted anew has a key of its own.
        keys = [(kind, *index, self._number + place) for place, index in enumerate(blocks)]
        self._number += len(blocks)
        names = [self._name] * len(blocks)
        futures = self._client.map(_RUN_BLOCK, names, blocks, key=keys, pure=False, workers=sorted(workers))
        for index, future in zip(blocks, futures, strict=True):
            self._submitted[index], self._given_to[index] = future, workers
            self._watch(index, future)

    def _watch(self, index: BlockIndex, future: Future[BlockResult | str]) -> None:
        future.add_done_callback(lambda _: self._events.put((index, future)))

    def _wait_for_some(self) -> list[tuple[BlockIndex, Future[BlockResult | str]]]:
        """The blocks that have ended by now, at least one; fewer where a worker has replied, or after a while."""
        events = []
        with suppress(queue.Empty):
            events.append(self._events.get(timeout=_POLL_SECONDS))
            while True:
                events.append(self._events.get_nowait())
        if not events or None in events:
            self._look()
        return [ended for ended in events if ended]

    def _gathered(
        self, ended: list[tuple[BlockIndex, Future[BlockResult | str]]]
    ) -> dict[BlockIndex, BlockResult | str]:
        """What several blocks returned, asked for at once; empty where that is not to be had so."""
        finished = {index: future for index, future in ended if future.status == "finished"}
        if len(finished) < 2:
            return {}
        try:
            return dict(zip(finished, self._fetched(list(finished.values())), strict=True))
        except (KilledWorker, CancelledError, OSError):  # each is asked for alone, and says what it is
            return {}

    def _fetched(self, futures: list[Future[BlockResult | str]]) -> list[BlockResult | str]:
        """What blocks returned, within `_RESULT_SECONDS`.

        Not by their own method: with a time limit it may raise what is no error of a block, on a busy machine.
        """
        asked = self._client.gather(futures, asynchronous=True)
        waiting = asyncio.run_coroutine_threadsafe(asked, self._client.loop.asyncio_loop)  # type: ignore[union-attr]
        try:
            return list(waiting.result(timeout=_RESULT_SECONDS))
        except TimeoutError:
            waiting.cancel()
            raise

    def _taken(self, index: BlockIndex, returned: BlockResult | str) -> BlockResult | None:
        """The result of a block; None where its worker came back at its address and has no job: it is asked again."""
        if isinstance(returned, BlockResult):
            return returned
        self._workers.forget(returned)
        self._ahead.append(index)
        return None

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

    def _look(self) -> None:
        """Look which workers are there; raise when scheduler or workers are gone for too long."""
        if self._client.status != "running":
            raise _lost(self._client)
        self._looked = time.monotonic()
        try:
            self._workers.look()
        except OSError as error:
            if self._client.status != "running":
                raise _lost(self._client) from error
            return  # a busy machine: the connection stands, the workers are found at another time
        self._submit_anew()
        self._waiting_for_workers.check()
        if self._submitted and self._workers.admitted and time.monotonic() - self._said >= SILENCE_SECONDS:
            self._said = time.monotonic()
            self._say_what_runs()

    def _submit_anew(self) -> None:
        """Take back the blocks whose workers are all gone: nobody else may run them as they were submitted."""
        admitted = self._workers.admitted.keys()
        alone = {
            future.key: index
            for index, future in self._submitted.items()
            if not self._given_to[index] & admitted and not future.done()
        }
        # Those that ran on them have failed there; it may not be known here yet.
        for key in self._client.run_on_scheduler(_STRANDED, list(alone)) if alone else ():
            index = alone[key]
            self._client.cancel([self._submitted.pop(index)], force=True)
            if self._retried == index:
                self._to_retry.append(index)
                self._retried = None
            else:
                self._ahead.append(index)

    def _wanted_threads(self) -> int:
        """Threads that a growing cluster does not have yet and blocks wait for; at least one where there is none."""
        waiting = length_hint(self._waiting) + len(self._ahead) + len(self._to_retry)
        missing = min(waiting, self._most_threads - self._workers.threads)
        if not self._workers.present:  # a scheduler without workers counts a worker for each task
            missing = -(-missing // THREADS_A_WORKER)
        return max(missing, 0 if self._workers.admitted else 1)

    def _say_what_runs(self) -> None:
        """One line: no block has ended for a while, which run where since when, and who does not say."""
        silent = time.monotonic() - self._ended
        running, mute = self._workers.running(self._name)
        lines = [f"{index} at {address} for {seconds:.0f} s" for index, address, seconds in running]
        lines += [f"no reply from {address}" for address in mute]
        _log.warning(
            "no block has ended for %s, %d are in flight: %s", f"{silent:.0f} s", len(self._submitted), "; ".join(lines)
        )


def _lost(client: Client) -> EngineError:
    return EngineError(
        f"The scheduler at {_address(client)} went away, with the blocks in flight: start it again and "
        "run again; what is done is kept."
    )


def _address(client: Client) -> str:
    return str(client.scheduler.address) if client.scheduler else "an unknown address"
