"""The blocks of one run on a cluster: which are submitted, to which workers, and what becomes of a dead worker's.

::

    waiting ──> submitted to all admitted workers ──> result
                    │ its worker dies
                    └> to be retried ──> submitted to one worker that has no other block ──> result, or failed

While there are blocks to be retried one worker is reserved for them: it gets nothing new, and what it has ends first.
The others go on meanwhile.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import random
import time
import uuid
from collections import Counter, deque
from collections.abc import Iterable
from contextlib import suppress
from itertools import islice
from operator import length_hint

from distributed import CancelledError, Client, Future, KilledWorker

from landweave.core.errors import LandweaveError
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockResult, BlockResults, BlockState
from landweave.engine.admission import Admission
from landweave.engine.by_value import ByValue
from landweave.engine.plugins import find_stranded, run_block
from landweave.engine.waiting import SILENCE_SECONDS, Beacons, Waiting, lost, wanted_threads

IN_FLIGHT_PER_THREAD = 2
"""Each thread has its next block at hand while the driver is busy; more would only be more to retry alone when a worker
dies, and more to cancel on Ctrl-C."""

MOST_DEATHS = 3
"""Of workers under one block, the last two with no other of its run on it: its worker may also have been taken away,
or have died of a block of another run."""

POLL_SECONDS = 1.0

_RESULT_SECONDS = 2.0
"""For the few hundred bytes of a block that has ended; where they take longer they are asked for again."""

_RUN_BLOCK, _STRANDED = ByValue(run_block), ByValue(find_stranded)

_log = logging.getLogger("landweave.engine")


class Submissions:
    """The blocks of one run on a cluster that have no result yet.

    A block is submitted to the workers that are admitted then, and anew when all of them are gone.

    Parameters
    ----------
    client
        Connected to the scheduler.
    workers
        Of the run.
    waiting
        For workers.
    blocks
        Drawn as room appears.
    name
        Of the run.
    most_threads
        As of `landweave.engine.dask.DaskEngine`.
    """

    def __init__(
        self,
        client: Client,
        workers: Admission,
        waiting: Waiting,
        blocks: Iterable[BlockIndex],
        *,
        name: str,
        most_threads: int = 0,
    ) -> None:
        self._client, self._workers, self._name = client, workers, name
        self._waiting_for_workers = waiting
        self._waiting = iter(blocks)
        self._ahead: deque[BlockIndex] = deque()
        self._to_retry: deque[BlockIndex] = deque()
        self._retried: BlockIndex | None = None
        self._reserved: str | None = None
        self._deaths = Counter[BlockIndex]()
        self._submitted: dict[BlockIndex, Future[BlockResult | str]] = {}
        self._given_to: dict[BlockIndex, frozenset[str]] = {}
        self._events: queue.SimpleQueue[tuple[BlockIndex, Future[BlockResult | str]] | None] = queue.SimpleQueue()
        self._most_threads = most_threads
        self._beacons = Beacons(client)
        self._looked = float("-inf")
        self._ended = self._said = time.monotonic()
        self._number = 0
        self._nonce = uuid.uuid4().hex[:8]
        workers.wake = lambda: self._events.put(None)

    def results(self) -> BlockResults:
        """Submit and wait until every block has its result."""
        try:
            yield from self._results()
        except Exception as error:
            if isinstance(error, LandweaveError) or self._client.status == "running":
                raise
            raise lost(self._client) from error

    def _results(self) -> BlockResults:
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
                        raise lost(self._client) from error
                    # The worker died after the block and before this call: the scheduler has the block run again.
                    self._look()
                    self._watch(index, future)
                    continue
                self._submitted.pop(index).release()
                if self._retried == index:
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
        if time.monotonic() - self._looked >= POLL_SECONDS:
            self._look()
        self._reserve()
        if self._to_retry and self._retried is None and self._reserved and not self._is_on(self._reserved):
            self._retried = self._to_retry.popleft()
            self._submit([self._retried], f"retry-{self._nonce}", {self._reserved})
        others = self._workers.admitted.keys() - {self._reserved}
        threads = sum(self._workers.admitted[address].threads for address in others)
        room = IN_FLIGHT_PER_THREAD * threads - len(self._submitted) + (self._retried is not None)
        self._ahead.extend(islice(self._waiting, max(0, room - len(self._ahead))))
        if (count := min(room, len(self._ahead))) > 0:
            self._submit([self._ahead.popleft() for _ in range(count)], f"block-{self._nonce}", others)
        if not self._submitted and not self._to_retry and not self._ahead:
            self._ahead.extend(islice(self._waiting, 1))
        more = bool(self._submitted or self._to_retry or self._ahead)
        waiting = length_hint(self._waiting) + len(self._ahead) + len(self._to_retry)
        self._beacons.light(wanted_threads(waiting, self._workers, self._most_threads) if more else 0)
        return more

    def _reserve(self) -> None:
        """Keep one worker for the blocks that are to be retried; any, so that two runs seldom keep the same."""
        if not self._to_retry and self._retried is None:
            self._reserved = None
        elif self._reserved not in self._workers.admitted:
            self._reserved = random.choice(list(self._workers.admitted) or [None])

    def _is_on(self, address: str) -> bool:
        """Whether a block may be on a worker."""
        return any(address in self._given_to[index] for index in self._submitted)

    def _submit(self, blocks: list[BlockIndex], kind: str, to: Iterable[str]) -> None:
        """Submit blocks in one message: for many short ones the scheduler is told less often."""
        workers = frozenset(to)
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
            events.append(self._events.get(timeout=POLL_SECONDS))
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
        (self._to_retry if self._retried == index else self._ahead).append(index)
        return None

    def _after_death(self, index: BlockIndex, error: KilledWorker) -> BlockResult | None:
        """The result of a block whose worker died; None when the block is to be retried alone."""
        self._deaths[index] += 1
        if self._deaths[index] < MOST_DEATHS:
            self._to_retry.append(index)
            return None
        return BlockResult(
            state=BlockState.WORKER_DIED,
            reason=f"Its worker died {MOST_DEATHS} times, at last with no other block of this run on it (last on "
            f"{error.last_worker.address}): out of memory, or a crash in native code. See that worker's log.",
        )

    def _look(self) -> None:
        """Look which workers are there; raise when scheduler or workers are gone for too long."""
        if self._client.status != "running":
            raise lost(self._client)
        self._looked = time.monotonic()
        try:
            self._workers.look()
            self._submit_anew()
        except OSError as error:
            if self._client.status != "running":
                raise lost(self._client) from error
            return  # a busy machine: the connection stands, the workers are found at another time
        self._waiting_for_workers.check()
        said_after = self._said - self._ended  # once more after twice as long: some blocks take an hour
        patience = max(SILENCE_SECONDS, said_after)
        if self._submitted and self._workers.admitted and time.monotonic() - self._said >= patience:
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

    def _say_what_runs(self) -> None:
        """One line: no block has ended for a while, which run where since when, and who does not say."""
        silent = time.monotonic() - self._ended
        running, mute = self._workers.running(self._name)
        lines = [f"{index} at {address} for {seconds:.0f} s" for index, address, seconds in running]
        lines += [f"no reply from {address}" for address in mute]
        _log.warning(
            "no block has ended for %s, %d are in flight: %s", f"{silent:.0f} s", len(self._submitted), "; ".join(lines)
        )
