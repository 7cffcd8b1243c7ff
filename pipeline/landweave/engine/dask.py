"""Blocks on a Dask cluster: one Dask task a block, a bounded number in flight, the job sent to each worker once.

::

    driver                          scheduler               worker process (two threads)
      question, job (`admission`) ──────────────────────────> plugin: opened by the first block
      (job's name, block) ── < 2 kB ──> task, restricted ───> block function ── result ──> driver
                                        to admitted workers

The blocks of a worker that dies are retried one by one on a worker that has nothing else (`submissions`); only a block
whose worker dies then, too, has failed.
"""

from __future__ import annotations

import platform
import time
import uuid
from collections.abc import Iterable, Iterator
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, field

from distributed import Client

from landweave.core.errors import EngineError
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockJob, BlockResults, WorkerNeeds
from landweave.engine.admission import Admission, find_workers
from landweave.engine.by_value import ByValue
from landweave.engine.plugins import END_SECONDS, FailurePolicyPlugin, end_run
from landweave.engine.submissions import POLL_SECONDS, Submissions
from landweave.engine.waiting import Beacons, Waiting, address_of, lost, wanted_threads

PATIENCE_SECONDS = 60.0
"""How long a run waits for workers of its own."""

GRACE_SECONDS = 10.0
"""For other workers to reply, once one can run the job, so that what is wrong with them is said before a run begins."""


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

    def preflight(self, job: BlockJob | WorkerNeeds, *, blocks: int = 1) -> tuple[str, ...]:
        """Ask the workers that are there whether they can run ``job``; what was found, a line each.

        Parameters
        ----------
        job
            What is to be run.
        blocks
            That wait for workers: a cluster that grows starts so many. 0 not to wait for any worker.

        Raises
        ------
        EngineError
            When none of them can, with everything that is wrong; when none comes in time.
        """
        with closing(self._admission(job, None)) as workers, closing(Beacons(self.client)) as beacons:
            waiting = Waiting(self.client, self.patience, workers)
            able_since = None
            while able_since is None or (workers.pending and time.monotonic() - able_since < GRACE_SECONDS):
                workers.look()
                beacons.light(wanted_threads(blocks, workers, self.most_threads) if blocks else 0)
                if not workers.present and not blocks:
                    return (f"{address_of(self.client)} has no worker yet: whether they can run this is not known",)
                waiting.check()
                if workers.admitted and able_since is None:
                    able_since = time.monotonic()
                elif not workers.admitted or workers.pending:
                    time.sleep(min(POLL_SECONDS, 0.1 + waiting.seconds / 20))
            threads = f"{len(workers.admitted)} workers, {workers.threads} threads at {address_of(self.client)}"
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
            waiting = Waiting(self.client, self.patience, workers)
            submissions = Submissions(self.client, workers, waiting, blocks, name=name, most_threads=self.most_threads)
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
    try:
        _require_same_python(client)
        client.register_plugin(FailurePolicyPlugin(name, client.id), name=name)
    except OSError as error:
        raise lost(client) from error
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
            f"The scheduler at {address_of(client)} runs Python {found}, this driver {here}: start it with Python "
            f"{here.rpartition('.')[0]}."
        )
