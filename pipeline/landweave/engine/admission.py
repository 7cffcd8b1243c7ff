"""Which workers of a scheduler are given blocks: each is asked what it runs with and what it can reach, once.

::

    driver                                           worker
      looks for new workers, once a second
      question: the job, pickled ──────────────────> imports the package, opens the job's facts
      facts, problems, missing files <──────────────
      differs? named, gets no block
      sends missing files, then the job ───────────> JobPlugin

Questions go to workers by address and past the scheduler's plugins: a worker that cannot be asked, or gives no reply,
holds up nothing and nobody. Late workers are asked alike.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from distributed import Client, Worker
from distributed.protocol import pickle

from landweave.core.budget import GIB, THREADS_A_WORKER
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockJob, WorkerNeeds
from landweave.core.received import find_file, received_path
from landweave.engine.by_value import ByValue
from landweave.engine.plugins import JobPlugin, running_blocks
from landweave.engine.settings import TERMINATE_SHARE
from landweave.engine.software import HARDWARE, differences, software_facts

PIECE_BYTES = 16 << 20
"""Of a file on its way to a worker: what the scheduler, which passes it on, holds at once."""

REPLY_SECONDS = 5.0
"""For a worker to say what it runs."""

_log = logging.getLogger("landweave.engine")


@dataclass(frozen=True, kw_only=True)
class Facts:
    """What a worker replies: what it runs with, what it lacks, and files that it needs to be sent, by sha256."""

    facts: Mapping[str, str]
    problems: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()


@dataclass(frozen=True, kw_only=True)
class WorkerState:
    """A worker as the scheduler sees it; ``process`` is another one after a restart at the same address."""

    process: str
    threads: int
    memory: int

    @property
    def plan_bytes(self) -> int:
        """Memory for the blocks that a plan counts a worker: it may run more at once; 0 for no limit."""
        return int(self.memory * TERMINATE_SHARE * min(1, THREADS_A_WORKER / self.threads))


def workers_now(dask_scheduler: Any = None) -> dict[str, tuple[str, int, int]]:
    """Every worker by address: its process, threads and memory limit; runs on the scheduler."""
    return {
        worker.address: (worker.server_id, worker.nthreads, worker.memory_limit)
        for worker in dask_scheduler.workers.values()
    }


def find_workers(client: Client) -> dict[str, WorkerState]:
    """Every worker of the client's scheduler, by address."""
    found = client.run_on_scheduler(ByValue(workers_now))
    return {
        address: WorkerState(process=process, threads=threads, memory=memory or 0)
        for address, (process, threads, memory) in found.items()
    }


def reply(pickled: bytes) -> Facts:
    """What this process replies to the question of a run.

    Parameters
    ----------
    pickled
        The job; unpickled only where this is the driver's code.
    """
    digest, pickled = pickled[:16].decode(), pickled[16:]
    facts = dict(software_facts())
    if not facts["landweave"].endswith(digest):
        return Facts(facts=facts)
    needs = pickle.loads(pickled)
    if not isinstance(needs, WorkerNeeds):
        return Facts(facts=facts)
    missing = tuple(sha256 for sha256, path in needs.sent_files().items() if find_file(path, sha256) is None)
    return Facts(facts={**facts, **needs.facts()}, problems=tuple(needs.problems()), missing=missing)


async def ask(pickled: bytes, dask_worker: Worker | None = None) -> Facts:
    """Reply in a thread: imports must not hold up a worker's event loop; runs on the worker."""
    try:
        return await asyncio.to_thread(reply, pickled)
    except Exception as error:  # noqa: BLE001  whatever a library raises where it is imported: it is told the driver
        return Facts(facts=software_facts(), problems=(f"the job cannot be opened: {type(error).__name__}: {error}",))


async def receive_job(name: str, job: bytes, dask_worker: Worker | None = None) -> None:
    """Keep a job for its blocks; runs on the worker."""
    assert dask_worker is not None
    await dask_worker.plugin_add(plugin=JobPlugin(name, job), name=name)


def receive_piece(named: Path, sha256: str, start: int, piece: bytes, last: bool) -> None:
    """Keep a part of a file; runs on the worker, in order, by one driver."""
    path = received_path(named, sha256)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    partial = path.with_suffix(".partial")
    with partial.open("r+b" if start else "wb") as file:
        file.seek(start)
        file.write(piece)
    if last:
        partial.replace(path)


@dataclass(kw_only=True)
class Admission:
    """The workers of one run on a scheduler.

    Attributes
    ----------
    client
        Connected to the scheduler.
    name
        Under which admitted workers keep the job; None only to ask.
    job
        What is run.
    mixed
        Whether workers may differ in CPU and libraries.
    need_bytes
        Memory that a worker needs for the blocks of the job; 0 where it is not known.
    wake
        Called, in another thread, when a worker has replied.
    named
        Processes whose refusal was logged, by what was wrong; shared by the runs of an engine.
    """

    client: Client
    name: str | None
    job: BlockJob | WorkerNeeds
    mixed: bool = False
    need_bytes: int = 0
    wake: Callable[[], None] = lambda: None
    named: dict[str, tuple[str, ...]] = field(default_factory=dict)
    present: dict[str, WorkerState] = field(default_factory=dict)
    refused: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        needs = self.job if isinstance(self.job, WorkerNeeds) else None
        facts = {**software_facts(), **(needs.facts() if needs else {})}
        self._expected = {name: value for name, value in facts.items() if name not in HARDWARE}
        self._pickled: bytes = pickle.dumps(self.job)
        self._files = needs.sent_files() if needs else {}
        self._asked: dict[str, Future[tuple[str, ...] | None]] = {}
        self._admitted: dict[str, WorkerState] = {}
        self._hosts: dict[str, asyncio.Lock] = {}

    @property
    def admitted(self) -> dict[str, WorkerState]:
        """Workers that are there and may be given blocks."""
        return self._admitted

    @property
    def threads(self) -> int:
        """Blocks that they run at once."""
        return sum(worker.threads for worker in self._admitted.values())

    @property
    def pending(self) -> bool:
        """Whether any worker has not replied yet."""
        return bool(self._asked)

    def look(self) -> None:
        """Find the workers that are there now, ask those that are new, and take up what was replied."""
        now = find_workers(self.client)
        gone = {address for address, worker in self.present.items() if now.get(address) != worker}
        for address in gone:
            self.forget(address)
        self.present = now
        self.take_replies()
        for address in now.keys() - self._admitted.keys() - self.refused.keys() - self._asked.keys():
            self._asked[address] = self._start(address, now[address])

    def take_replies(self) -> None:
        """Admit or refuse those that have replied."""
        for address, future in list(self._asked.items()):
            if not future.done():
                continue
            del self._asked[address]
            reasons = None if future.cancelled() else future.result()
            if reasons is None or address not in self.present:
                continue  # it went away meanwhile, or is asked again
            if reasons:
                self._refuse(address, reasons)
            else:
                self._admitted[address] = self.present[address]

    def forget(self, address: str) -> None:
        """Take a worker for one that was never seen: it is asked again if it is there."""
        self._admitted.pop(address, None)
        self.refused.pop(address, None)
        if future := self._asked.pop(address, None):
            future.cancel()
        self.present.pop(address, None)

    def running(self, name: str) -> tuple[list[tuple[BlockIndex, str, float]], list[str]]:
        """Blocks of the run called ``name`` that run now, their worker and seconds; and workers that do not say."""
        addresses = list(self._admitted)

        async def all_workers() -> list[Any]:
            calls = (asyncio.wait_for(self._call(each, running_blocks, name), REPLY_SECONDS) for each in addresses)
            return await asyncio.gather(*calls, return_exceptions=True)

        found = asyncio.run_coroutine_threadsafe(all_workers(), self._loop).result()
        replied = dict(zip(addresses, found, strict=True))
        running = [
            (index, address, seconds)
            for address, blocks in replied.items()
            if isinstance(blocks, dict)
            for index, seconds in blocks.items()
        ]
        return running, [address for address, blocks in replied.items() if not isinstance(blocks, dict)]

    def close(self) -> None:
        """Ask no more."""
        for future in self._asked.values():
            future.cancel()

    def reasons(self) -> str:
        """Why workers were refused, a line for each reason with the workers that it keeps out."""
        by_reason: dict[str, list[str]] = {}
        for address, reasons in sorted(self.refused.items()):
            for reason in reasons:
                by_reason.setdefault(reason, []).append(address)
        return "\n".join(f"- {_listed(addresses)}: {reason}" for reason, addresses in by_reason.items())

    def _refuse(self, address: str, reasons: tuple[str, ...]) -> None:
        self.refused[address] = reasons
        process = self.present[address].process
        if self.named.get(process) != reasons:
            self.named[process] = reasons
            _log.warning("worker %s gets no blocks: %s", address, "; ".join(reasons))

    def _start(self, address: str, worker: WorkerState) -> Future[tuple[str, ...] | None]:
        future = asyncio.run_coroutine_threadsafe(self._admit(address, worker), self._loop)
        future.add_done_callback(lambda _: self.wake())
        return future

    async def _admit(self, address: str, worker: WorkerState) -> tuple[str, ...] | None:
        """Why a worker gets no blocks; nothing where it has the job now, None where it went away."""
        memory = self._memory_reasons(worker)
        question = software_facts()["landweave"][-16:].encode() + self._pickled
        replied = await self._call(address, ask, question)
        if not isinstance(replied, Facts):
            return None if _gone(replied) else (*_no_reply(replied), *memory)
        reasons = (*differences(self._expected, replied.facts, mixed=self.mixed), *replied.problems, *memory)
        if reasons:
            return reasons
        for name in HARDWARE:  # of the first that may work, before anything is waited for
            if name in replied.facts:
                self._expected.setdefault(name, replied.facts[name])
        if replied.missing and (failed := await self._send_files(address, question)):
            return failed
        if self.name is not None:
            failed = await self._call(address, receive_job, self.name, self._pickled)
            if failed is not None:
                return None if _gone(failed) else (f"it did not take the job: {failed}",)
        return ()

    @property
    def _loop(self) -> asyncio.AbstractEventLoop:
        assert self.client.loop is not None
        loop: asyncio.AbstractEventLoop = self.client.loop.asyncio_loop  # type: ignore[attr-defined]
        return loop

    def _memory_reasons(self, worker: WorkerState) -> tuple[str, ...]:
        if not 0 < worker.plan_bytes < self.need_bytes:
            return ()
        return (
            f"its memory limit of {worker.memory / GIB:.2f} GiB and {worker.threads} threads leave "
            f"{worker.plan_bytes / GIB:.2f} GiB, a worker needs {self.need_bytes / GIB:.2f} GiB: start it with more, "
            "or make output.block (cube.tile) or engine.memory_gib smaller",
        )

    async def _send_files(self, address: str, question: bytes) -> tuple[str, ...]:
        """Send what a worker lacks, to one of a host at a time: the next finds it there."""
        async with self._hosts.setdefault(address.rpartition(":")[0], asyncio.Lock()):
            replied = await self._call(address, ask, question)
            for sha256 in replied.missing if isinstance(replied, Facts) else ():
                path = self._files[sha256]
                size = path.stat().st_size
                _log.info("sending %s (%.2f GiB) to %s, which cannot read it", path, size / GIB, address)
                with path.open("rb") as file:
                    while piece := file.read(PIECE_BYTES):
                        end = file.tell()
                        where = (path, sha256, end - len(piece), piece, end == size)
                        if (failed := await self._call(address, receive_piece, *where)) is not None:
                            return (f"{path} cannot be kept there: {type(failed).__name__}: {failed}",)
        return ()

    async def _call(self, address: str, function: Callable[..., Any], *arguments: Any) -> Any:
        """What a function returns on a worker, or what it raised; `OSError` where the worker went away."""
        found = await self.client.run(function, *arguments, workers=[address], on_error="return", asynchronous=True)
        return found.get(address, OSError("it went away"))


def _gone(replied: object) -> bool:
    return isinstance(replied, OSError)


def _no_reply(error: object) -> tuple[str, ...]:
    text = str(error) or type(error).__name__  # what a worker could not load comes as text alone
    if "No module named 'landweave" in text:
        return ("landweave cannot be imported there",)
    return (f"it cannot reply, its landweave may be another one: {text}",)


def _listed(addresses: list[str], shown: int = 3) -> str:
    rest = f" and {len(addresses) - shown} more" if len(addresses) > shown else ""
    return f"{', '.join(addresses[:shown])}{rest}"
