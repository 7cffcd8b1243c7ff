"""Opens engines: this process, worker processes of this machine, or a Dask cluster that is running already.

::

    kind: inline ──────────────────────────────────────────────> InlineEngine
    workers of this machine ──> local_engine ──> Client ──┐
    cluster ──> started_cluster ──> engine_on ────────────┤
    address ──> connected_engine ──> Client ──────────────┼────> DaskEngine
    a client or any cluster object ──> engine_on ─────────┘
"""

from __future__ import annotations

import logging
import os
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import replace
from typing import Any

import dask
from distributed import Client, LocalCluster, Worker
from distributed.diagnostics.plugin import WorkerPlugin

from landweave.core.budget import THREADS_A_WORKER
from landweave.core.errors import ConfigError, EngineError
from landweave.core.protocols import Engine, WorkerNeeds
from landweave.engine.cluster_kinds import started_cluster
from landweave.engine.dask import PATIENCE_SECONDS, DaskEngine
from landweave.engine.inline import InlineEngine
from landweave.engine.malloc import MALLOC_ENVIRONMENT
from landweave.engine.settings import TERMINATE_SHARE, ClusterSettings, EngineSettings
from landweave.engine.tls import connect
from landweave.engine.waiting import address_of
from landweave.engine.worker_settings import THREAD_VARIABLES, environment, own_settings


@contextmanager
def open_engine(
    settings: EngineSettings,
    torch_threads: int | None,
    given: Engine | None = None,
    *,
    needs: WorkerNeeds | None = None,
    need_bytes: int = 0,
    blocks: int = 1,
) -> Iterator[Engine]:
    """The engine of ``settings`` for the length of a ``with`` block.

    Parameters
    ----------
    settings
        Which engine, with how many workers and how much memory.
    torch_threads
        Threads of numeric libraries in each local worker; None where no model runs.
    given
        An open engine to be used instead; it stays open.
    needs, need_bytes
        What is to be run, and the memory that a worker needs for it: when this engine is open a worker that can run it
        is there.
    blocks
        That are to be run; of 0 no workers are started, none are waited for.

    Raises
    ------
    EngineError
        When workers do not start, no scheduler answers, or no worker can run what is to be run: with all reasons.
    """
    with _opened(settings, torch_threads, given, idle=not blocks) as engine:
        if not isinstance(engine, DaskEngine):
            yield engine
            return
        engine = replace(engine, need_bytes=need_bytes, mixed=settings.mixed_workers)
        if needs is not None and blocks:
            engine.preflight(needs, blocks=blocks)
        yield engine


def _opened(
    settings: EngineSettings, torch_threads: int | None, given: Engine | None, *, idle: bool
) -> AbstractContextManager[Engine]:
    if given is not None:
        return nullcontext(given)
    if idle or settings.kind == "inline":
        return nullcontext(InlineEngine())
    if settings.cluster:
        return cluster_engine(settings.cluster, patience=settings.patience)
    if settings.address:
        return connected_engine(settings.address, patience=settings.patience, security=settings.security)
    memory_limit = int(settings.worker_bytes / TERMINATE_SHARE) + 1
    return local_engine(
        workers=settings.workers, memory_limit=memory_limit, torch_threads=torch_threads, patience=settings.patience
    )


def active_client() -> Client | None:
    """The Dask client that is active in this process; None where there is none."""
    try:
        client: Client = Client.current()
    except ValueError:
        return None
    return client


@contextmanager
def local_engine(
    *,
    workers: int,
    memory_limit: int | str = "auto",
    torch_threads: int | None = None,
    patience: float | None = None,
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
    patience
        Seconds to wait for a worker; None for `PATIENCE_SECONDS`.

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
        yield DaskEngine(client=client, patience=PATIENCE_SECONDS if patience is None else patience)


@contextmanager
def cluster_engine(settings: ClusterSettings, *, patience: float | None = None) -> Iterator[DaskEngine]:
    """An engine on a cluster that is started for it, and ended after it.

    Parameters
    ----------
    settings
        Of the cluster.
    patience
        Seconds to wait for a worker; None for no limit.

    Raises
    ------
    ConfigError
        When its package is not installed, or its class refuses an argument.
    EngineError
        When it cannot be started.
    """
    with (
        _own_environment(),
        dask.config.set(_nanny_settings(environment(settings.torch_threads))),
        started_cluster(settings) as cluster,
        engine_on(cluster, patience=patience) as engine,
    ):
        yield replace(engine, label=f"dask on {settings.kind}", most_threads=settings.max_workers * THREADS_A_WORKER)


@contextmanager
def connected_engine(
    address: str, *, patience: float | None = None, security: tuple[str, str, str] | None = None
) -> Iterator[DaskEngine]:
    """An engine on a scheduler that is running already, with the workers that it has.

    Parameters
    ----------
    address
        ``tcp://host:8786`` or ``tls://host:8786``.
    patience
        Seconds to wait for a worker; None for no limit.
    security
        Files of the authority, of the certificate and of its key; None for those of Dask's configuration.

    Raises
    ------
    ConfigError
        When the certificates of a ``tls://`` address are missing or are none.
    EngineError
        When no scheduler answers there, or it refuses the certificate.
    """
    with connect(address, security) as client:
        yield DaskEngine(client=client, patience=patience, label=f"dask at {address}")


@contextmanager
def engine_on(given: Any, *, patience: float | None = None) -> Iterator[DaskEngine]:
    """An engine on a Dask client or a cluster that somebody else started; it stays open.

    Parameters
    ----------
    given
        A `distributed.Client`, or whatever it takes: LocalCluster, SLURMCluster, KubeCluster, a cluster of Gateway or
        Coiled.
    patience
        Seconds to wait for a worker; None for no limit.

    Raises
    ------
    ConfigError
        When the client is asynchronous, or this is neither a client nor a cluster.
    EngineError
        When its scheduler does not answer.
    """
    if isinstance(given, Client):
        label = f"dask, the client of {address_of(given)}"
        yield DaskEngine(client=_usable(given), patience=patience, label=label)
        return
    if not hasattr(given, "scheduler_address"):
        raise ConfigError(f"client is a {type(given).__name__}: give a distributed.Client, or a Dask cluster object.")
    if getattr(given, "asynchronous", False):
        raise ConfigError(
            f"The {type(given).__name__} is asynchronous, a run is not: make one without asynchronous=True."
        )
    try:
        client = Client(given, set_as_default=False)
    except (OSError, TimeoutError) as error:
        raise EngineError(f"The scheduler of the {type(given).__name__} does not answer: {error}.") from error
    with client:
        yield DaskEngine(client=client, patience=patience, label=f"dask, the given {type(given).__name__}")


def _usable(client: Client) -> Client:
    if client.asynchronous:
        raise ConfigError(
            "The Dask client is asynchronous, a run is not: give or make active one without asynchronous=True, or set "
            "engine.workers for workers of the run's own."
        )
    if client.status != "running":
        raise ConfigError(f"The Dask client is {client.status}: give one that is connected.")
    return client


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
                f"{workers} local workers did not start: {type(error).__name__}: {str(error).rstrip('.')}. In a "
                'script they start only where it is called under `if __name__ == "__main__":`, as workers import it. '
                "Otherwise the machine may be short of time or memory: run again, or with fewer workers."
            ) from error


@contextmanager
def _own_environment() -> Iterator[None]:
    """Keep the variables of this process as they were before.

    A nanny lets a variable of this process win over the setting, and writes what it exports into this process too:
    a second engine would start its workers with the first one's threads.
    """
    names = (*THREAD_VARIABLES, *MALLOC_ENVIRONMENT)
    before = {name: os.environ.pop(name) for name in names if name in os.environ}
    try:
        yield
    finally:
        for name in names:
            os.environ.pop(name, None)
        os.environ.update(before)


def _settings(torch_threads: int | None) -> dict[str, object]:
    return {
        **_nanny_settings(environment(torch_threads)),
        # A nanny always restarts its worker. By default a cluster looks 15 s after a worker's death and drops the
        # nanny for good if the worker is missing at that instant (slow to start, or dead again).
        "distributed.deploy.lost-worker-timeout": "365 days",
    }


def _nanny_settings(variables: Mapping[str, str]) -> dict[str, object]:
    exported = {f"distributed.nanny.pre-spawn-environ.{name}": value for name, value in variables.items()}
    return {**{key: value for key, value in own_settings().items() if ".worker." in key}, **exported}


class _IgnoreInterruptPlugin(WorkerPlugin):
    """Lets workers ignore Ctrl-C, SIGTERM and SIGHUP, which come to all processes of a job: the driver stops them.

    A nanny would start those anew that end by a signal, and its driver wait for that, with all imports, to end them.
    """

    name = "landweave-no-interrupt"

    def setup(self, worker: Worker) -> None:
        """Called in the main thread of the worker's process."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
