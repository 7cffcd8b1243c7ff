"""Where a Dask engine's workers come from: processes of this machine, or a cluster that runs already."""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Iterator
from contextlib import contextmanager

import dask
from distributed import Client, LocalCluster, Worker
from distributed.diagnostics.plugin import WorkerPlugin

from landweave.core.budget import THREADS_A_WORKER
from landweave.core.errors import EngineError
from landweave.engine.dask import PATIENCE_SECONDS, DaskEngine
from landweave.engine.malloc import MALLOC_ENVIRONMENT


@contextmanager
def local_engine(
    *,
    workers: int,
    threads_per_worker: int = THREADS_A_WORKER,
    memory_limit: int | str = "auto",
    torch_threads: int | None = None,
    patience_s: float = PATIENCE_SECONDS,
) -> Iterator[DaskEngine]:
    """An engine with worker processes of its own on this machine, each watched by a nanny that restarts it.

    Parameters
    ----------
    workers, threads_per_worker
        Processes, and blocks that each has in hand.
    memory_limit
        Bytes a worker may take before its nanny kills it, or a share of the machine's: ``auto``.
    torch_threads
        Exported as ``OMP_NUM_THREADS`` and its like before a worker starts, where a nanny would export 1: some
        libraries read it once, when they are loaded.
    """
    with (
        _own_environment(),
        dask.config.set(_settings(torch_threads)),
        _cluster(workers, threads_per_worker, memory_limit) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        client.register_plugin(_IgnoreInterruptPlugin())
        yield DaskEngine(client=client, patience_s=patience_s)


@contextmanager
def connected_engine(address: str, *, patience_s: float = PATIENCE_SECONDS) -> Iterator[DaskEngine]:
    """An engine on a scheduler that runs already; its workers, their threads and their memory are its own affair.

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
        yield DaskEngine(client=client, patience_s=patience_s)


@contextmanager
def _cluster(workers: int, threads_per_worker: int, memory_limit: int | str) -> Iterator[LocalCluster]:
    with warnings.catch_warnings():
        # A second run on this machine has its dashboard elsewhere; the link that is printed says where.
        warnings.filterwarnings("ignore", message="Port .* is already in use")
        try:
            cluster = LocalCluster(
                n_workers=workers,
                threads_per_worker=threads_per_worker,
                memory_limit=memory_limit,
                dashboard_address="127.0.0.1:8787",
                # Killed workers are told once, by the run, not by four components with tracebacks.
                silence_logs=logging.CRITICAL,
            )
        except (OSError, RuntimeError) as error:  # time-outs are of the first, nannies that give up of the second
            raise EngineError(
                f"{workers} local workers did not start: {type(error).__name__}: {error}. The machine may be short of "
                "time or memory: run again, or with fewer workers."
            ) from error
    with cluster:
        yield cluster


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
    settings: dict[str, object] = {
        # Blocks hold nothing that Dask could spill, and a worker that is paused for its memory would wait forever
        # for blocks that are not Dask's to free it: it works on, or its nanny kills it.
        "distributed.worker.memory.target": False,
        "distributed.worker.memory.spill": False,
        "distributed.worker.memory.pause": False,
        # A tree of call stacks for each second of the last hour: a worker grows by 3 MB a minute while a network
        # computes. A run tells the seconds of its stages itself.
        "distributed.worker.profile.enabled": False,
        # A nanny always brings its worker back. By default a cluster looks 15 s after a worker's death and, should
        # the worker be away at that instant (slow to start, or dead again), drops its nanny for good.
        "distributed.deploy.lost-worker-timeout": "365 days",
        **{f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in MALLOC_ENVIRONMENT.items()},
    }
    if torch_threads is not None:
        for variable in _THREAD_VARIABLES:
            settings[f"distributed.nanny.pre-spawn-environ.{variable}"] = torch_threads
    return settings


class _IgnoreInterruptPlugin(WorkerPlugin):
    """Ctrl-C in a terminal reaches all its processes; stopping the workers is the driver's business."""

    name = "landweave-no-interrupt"

    def setup(self, worker: Worker) -> None:
        """Called in the main thread of the worker's process."""
        signal.signal(signal.SIGINT, signal.SIG_IGN)
