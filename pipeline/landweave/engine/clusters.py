"""Opens engines: this process, worker processes of this machine, or a Dask cluster that is running already."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass

import dask
from distributed import Client, LocalCluster, Worker
from distributed.diagnostics.plugin import WorkerPlugin

from landweave.core.budget import THREADS_A_WORKER
from landweave.core.errors import EngineError
from landweave.core.protocols import Engine
from landweave.engine.dask import TERMINATE_SHARE, DaskEngine
from landweave.engine.inline import InlineEngine
from landweave.engine.malloc import MALLOC_ENVIRONMENT


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Which engine runs the blocks: ``kind``, local ``workers``, scheduler ``address``, bytes of memory a worker."""

    kind: str
    workers: int
    address: str | None
    worker_bytes: int


def open_engine(
    settings: EngineSettings, torch_threads: int | None, given: Engine | None = None, *, idle: bool = False
) -> AbstractContextManager[Engine]:
    """The engine of ``settings`` for the length of a ``with`` block.

    Parameters
    ----------
    settings
        Which engine, with how many workers and how much memory.
    torch_threads
        Threads of numeric libraries in each local worker; None where no model runs.
    given
        An open engine to be used instead; it stays open.
    idle
        Whether there is nothing to run: no workers are started.

    Raises
    ------
    EngineError
        When workers do not start, or no scheduler answers.
    """
    if given is not None:
        return nullcontext(given)
    if idle or settings.kind == "inline":
        return nullcontext(InlineEngine())
    if settings.address:
        return connected_engine(settings.address)
    memory_limit = int(settings.worker_bytes / TERMINATE_SHARE)
    return local_engine(workers=settings.workers, memory_limit=memory_limit, torch_threads=torch_threads)


def active_engine() -> DaskEngine | None:
    """An engine on the Dask client that is active in this process; None where there is none."""
    try:
        client = Client.current()
    except ValueError:
        return None
    return None if client.asynchronous else DaskEngine(client=client)


@contextmanager
def local_engine(
    *, workers: int, memory_limit: int | str = "auto", torch_threads: int | None = None
) -> Iterator[DaskEngine]:
    """An engine with worker processes of its own on this machine, each restarted by a nanny when it dies.

    Parameters
    ----------
    workers
        Number of processes, each with `landweave.core.budget.THREADS_A_WORKER` blocks at once.
    memory_limit
        Bytes at which a nanny kills its worker, or a share of the machine's memory: ``auto``.
    torch_threads
        Exported as ``OMP_NUM_THREADS`` and its like before a worker starts, where a nanny would export 1: some
        libraries read it once, when they are loaded.

    Raises
    ------
    EngineError
        When the workers do not start.
    """
    with (
        _own_environment(),
        dask.config.set(_settings(torch_threads)),
        _cluster(workers, memory_limit) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.register_plugin(_IgnoreInterruptPlugin())
        yield DaskEngine(client=client)


@contextmanager
def connected_engine(address: str) -> Iterator[DaskEngine]:
    """An engine on a scheduler that is running already, with the workers that it has.

    Parameters
    ----------
    address
        ``tcp://host:8786``.

    Raises
    ------
    EngineError
        When no scheduler answers there.
    """
    try:
        client = Client(address, set_as_default=False)
    except (OSError, TimeoutError, ValueError) as error:
        raise EngineError(f"No Dask scheduler answers at {address}: {error}. Start one, or correct it.") from error
    with client:
        yield DaskEngine(client=client)


def _cluster(workers: int, memory_limit: int | str) -> LocalCluster:
    with warnings.catch_warnings():
        # The dashboard of a second run on this machine has another port, which is in the link that is printed.
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        try:
            return LocalCluster(
                n_workers=workers,
                threads_per_worker=THREADS_A_WORKER,
                memory_limit=memory_limit,
                dashboard_address="127.0.0.1:8787",
                # The run reports killed workers once; without this, four components do so with tracebacks.
                silence_logs=logging.CRITICAL,
            )
        except (OSError, RuntimeError) as error:  # time-outs are of the first, nannies that give up of the second
            raise EngineError(
                f"{workers} local workers did not start: {type(error).__name__}: {error}. The machine may be short of "
                "time or memory: run again, or with fewer workers."
            ) from error


_THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")


@contextmanager
def _own_environment() -> Iterator[None]:
    """Keep the variables of this process as they were before.

    A nanny lets a variable of this process win over the setting, and writes what it exports into this process too:
    a second engine would start its workers with the first one's threads.
    """
    names = (*_THREAD_VARIABLES, *MALLOC_ENVIRONMENT)
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


def _settings(torch_threads: int | None) -> dict[str, object]:
    threads = {} if torch_threads is None else dict.fromkeys(_THREAD_VARIABLES, str(torch_threads))
    environment = MALLOC_ENVIRONMENT | threads
    return {
        # Dask can spill nothing of a block, and a paused worker would wait forever for memory that only blocks free:
        # it goes on, or its nanny kills it.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        # A tree of call stacks for each second of the last hour: a worker grows by 3 MB a minute while a network
        # computes. A run measures the seconds of its stages itself.
        "distributed.worker.profile.enabled": False,
        # A nanny always restarts its worker. By default a cluster looks 15 s after a worker's death and drops the
        # nanny for good if the worker is missing at that instant (slow to start, or dead again).
        "distributed.deploy.lost-worker-timeout": "365 days",
        **{f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in environment.items()},
    }


class _IgnoreInterruptPlugin(WorkerPlugin):
    """Lets workers ignore Ctrl-C and SIGTERM, which come to all processes of a job: the driver stops them.

    A nanny would start those anew that end by a signal, and its driver wait for that, with all imports, to end them.
    """

    name = "landweave-no-interrupt"

    def setup(self, worker: Worker) -> None:
        """Called in the main thread of the worker's process."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
