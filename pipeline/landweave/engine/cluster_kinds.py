"""Clusters that a configuration describes: their classes, what these are called with, and how they grow and shrink.

::

    engine.cluster ──> ClusterSettings ──> a class of dask-jobqueue, dask-kubernetes, ... ──> adapt(min, max) ──> Client

A batch system ends its jobs at their walltime. A worker retires some minutes before, by Dask's own lifetime: the
scheduler gives its blocks to others as work that was never begun, not as the suspects of a worker's death.
"""

from __future__ import annotations

import logging
import shutil
import signal
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

from distributed.security import Security

from landweave.core.budget import THREADS_A_WORKER
from landweave.core.errors import ConfigError, EngineError
from landweave.engine.settings import ClusterSettings, walltime_seconds
from landweave.engine.worker_settings import environment

ADAPTIVE = {"interval": "2s", "wait_count": 15, "target_duration": "500ms"}
"""A worker that was idle for half a minute is let go; every block that waits asks for a thread, however short."""

STARTING_S = 60
"""Of its walltime a job may have spent when its worker's lifetime begins: modules, imports, a busy file system."""

ROLES = ("scheduler", "worker", "client")

LARGEST_STAGGER_S = 300
"""Workers that started together retire over twice this time, not all at once."""


@dataclass(frozen=True, kw_only=True)
class ClusterKind:
    """How one kind of cluster is made.

    Attributes
    ----------
    module, name
        Of its class.
    package
        That has it, for whoever lacks it.
    arguments
        From settings to those of the class.
    adaptive
        Whether it takes `ADAPTIVE`.
    """

    module: str
    name: str
    package: str
    arguments: Callable[[ClusterSettings], dict[str, Any]]
    adaptive: bool = True


@contextmanager
def started_cluster(settings: ClusterSettings) -> Iterator[Any]:
    """A cluster for the length of a ``with`` block, growing and shrinking between its limits.

    Parameters
    ----------
    settings
        Of the configuration.

    Raises
    ------
    ConfigError
        When its package is not installed, or its class refuses an argument.
    EngineError
        When it cannot be started.
    """
    kind = KINDS[settings.kind]
    cluster_class = _cluster_class(settings.kind)
    try:
        with warnings.catch_warnings():
            # The dashboard of a second run on this machine has another port, which is in the link that is printed.
            warnings.filterwarnings("ignore", message="Port .* is already in use")
            cluster = cluster_class(**_merged(kind.arguments(settings), settings.settings))
    except (TypeError, ValueError) as error:
        raise ConfigError(f"engine.cluster: {kind.name} refuses its settings: {error}.") from error
    except Exception as error:  # each library has its own, of a queue or a server that does not answer
        raise EngineError(f"The {kind.name} did not start: {type(error).__name__}: {error}.") from error
    with cluster:
        limits = {"minimum": settings.min_workers, "maximum": settings.max_workers}
        cluster.adapt(**limits, **(ADAPTIVE if kind.adaptive else {}))
        yield cluster


def _merged(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that are given win over our own; of two lists all elements are used, ours first."""
    both = {key: [*own[key], *given[key]] for key in own.keys() & given.keys() if isinstance(own[key], list)}
    return {**own, **given, **both}


def import_quietly(module: str) -> ModuleType:
    """Import a module, and leave Ctrl-C as it is: dask-jobqueue, once imported, makes it an end with exit code 0."""
    handler = signal.getsignal(signal.SIGINT)
    try:
        return import_module(module)
    finally:
        if handler is not None and signal.getsignal(signal.SIGINT) is not handler:
            signal.signal(signal.SIGINT, handler)


def _cluster_class(kind: str) -> Any:
    row = KINDS[kind]
    try:
        found = getattr(import_quietly(row.module), row.name)
    except ImportError as error:
        raise ConfigError(
            f"engine.cluster.kind {kind} needs {row.package}, which is not installed: "
            f"install the extra {'gpu' if kind == 'local-gpus' else 'clusters'} of landweave."
        ) from error
    submit = getattr(getattr(found, "job_cls", None), "submit_command", "").split(" ")[0]
    if submit and shutil.which(submit) is None:
        raise ConfigError(f"engine.cluster.kind {kind}: there is no {submit} here: run on a machine that submits jobs.")
    return found


def _local(settings: ClusterSettings) -> dict[str, Any]:
    return {
        "n_workers": settings.min_workers,
        "threads_per_worker": THREADS_A_WORKER,
        "memory_limit": settings.memory_limit,
        "dashboard_address": "127.0.0.1:8787",
        "silence_logs": logging.CRITICAL,  # the run reports workers that are lost once
        **_tls(settings),
    }


def _tls(settings: ClusterSettings) -> dict[str, Any]:
    if settings.security is None:
        return {}
    authority, certificate, key = settings.security
    files = {f"tls_{role}_{part}": path for role in ROLES for part, path in (("cert", certificate), ("key", key))}
    return {
        "protocol": "tls://",
        "security": Security(require_encryption=True, tls_ca_file=authority, **files),
    }


def _gpus(settings: ClusterSettings) -> dict[str, Any]:
    """One process a GPU is what the class is for; a worker's memory is the machine's share, not the GPU's."""
    own = _local(settings)
    return {**own, "n_workers": None if settings.min_workers == 0 else settings.min_workers}


def _queue(settings: ClusterSettings) -> dict[str, Any]:
    """A job has one worker process; its threads are blocks at once, its cores those of the numeric libraries."""
    walltime = settings.settings.get("walltime")
    return {
        "cores": THREADS_A_WORKER,
        "processes": 1,
        "memory": f"{settings.memory_limit} B",
        "silence_logs": logging.CRITICAL,
        "worker_command": "landweave worker",
        "worker_extra_args": ["--torch-threads", str(settings.torch_threads), *lifetime_arguments(walltime)],
        **({"job_cpu": settings.cores} if settings.kind == "slurm" else {}),
        **_tls(settings),
    }


def _kubernetes(settings: ClusterSettings) -> dict[str, Any]:
    limits = {"cpu": str(settings.cores), "memory": f"{settings.memory_limit // 2**20}Mi"}
    return {
        "n_workers": settings.min_workers,
        "resources": {"requests": limits, "limits": limits},
        "env": environment(settings.torch_threads),
        "quiet": True,
    }


def _gateway(settings: ClusterSettings) -> dict[str, Any]:
    return {}  # what a worker is, is decided by the options that its administrator offers


KINDS: Mapping[str, ClusterKind] = {
    "local": ClusterKind(module="distributed", name="LocalCluster", package="distributed", arguments=_local),
    "local-gpus": ClusterKind(module="dask_cuda", name="LocalCUDACluster", package="dask-cuda", arguments=_gpus),
    **{
        kind: ClusterKind(module="dask_jobqueue", name=name, package="dask-jobqueue", arguments=_queue)
        for kind, name in {"slurm": "SLURMCluster", "pbs": "PBSCluster"}.items()
    },
    "kubernetes": ClusterKind(
        module="dask_kubernetes.operator",
        name="KubeCluster",
        package="dask-kubernetes",
        arguments=_kubernetes,
        adaptive=False,
    ),
    "gateway": ClusterKind(
        module="dask_gateway", name="GatewayCluster", package="dask-gateway", arguments=_gateway, adaptive=False
    ),
}


def lifetime_arguments(walltime: str | None) -> list[str]:
    """Options of ``dask worker`` with which it retires before its job ends; none where there is no walltime.

    >>> lifetime_arguments("24:00:00")
    ['--lifetime', '85440s', '--lifetime-stagger', '300s']
    """
    if walltime is None:
        return []
    seconds = walltime_seconds(walltime)
    stagger = min(LARGEST_STAGGER_S, seconds // 20)
    lifetime = max(seconds // 2, seconds - 3 * stagger - STARTING_S)
    return ["--lifetime", f"{lifetime}s", "--lifetime-stagger", f"{stagger}s"]
