"""What runs the blocks, as a configuration states it: plain records, made without Dask, which is slow to import."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from landweave.core.errors import ConfigError

TERMINATE_SHARE = 0.95
"""Of its memory limit at which a nanny kills its worker (``distributed.worker.memory.terminate``)."""


@dataclass(frozen=True, kw_only=True)
class ClusterSettings:
    """A cluster that is started for a run.

    Attributes
    ----------
    kind
        One of `KINDS`.
    min_workers, max_workers
        It has between these, by the blocks that wait.
    memory_limit
        Bytes of a worker's process.
    cores
        CPU cores of a worker.
    torch_threads
        Of a worker, as ``model.torch_threads``.
    security
        Files of the authority, of a certificate for scheduler, workers and driver, and of its key, on a file system
        that all see; None for Dask's configuration.
    settings
        Further arguments of the cluster's class; they win. Never shown: environments and tokens are among them.
    """

    kind: str
    min_workers: int
    max_workers: int
    memory_limit: int
    cores: int
    torch_threads: int
    security: tuple[str, str, str] | None = None
    settings: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __str__(self) -> str:
        workers = f"{self.min_workers} to {self.max_workers} workers"
        return f"{self.kind}: {workers} of {self.cores} cores and {self.memory_limit / 2**30:.1f} GiB"


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Which engine runs the blocks.

    Attributes
    ----------
    kind
        ``inline`` or ``dask``.
    workers
        Worker processes on this machine.
    address
        Of a running scheduler, instead of them.
    worker_bytes
        Memory of a worker.
    patience
        Seconds to wait for a worker; None for `PATIENCE_SECONDS` with workers of its own, else no limit.
    mixed_workers
        Whether workers may differ in CPU and library versions.
    security
        Files of the authority, the certificate and its key; None for those of Dask's configuration.
    cluster
        A cluster to start, instead of workers on this machine.
    cost_per_hour, power_watts
        Of one worker; None where they are not stated.
    """

    kind: str
    workers: int
    address: str | None
    worker_bytes: int
    patience: float | None = None
    mixed_workers: bool = False
    security: tuple[str, str, str] | None = None
    cluster: ClusterSettings | None = None
    cost_per_hour: float | None = None
    power_watts: float | None = None


def walltime_seconds(walltime: str) -> int:
    """Seconds of a walltime as batch systems write it: ``MM``, ``MM:SS``, ``HH:MM:SS``, ``D-HH[:MM[:SS]]``.

    >>> walltime_seconds("30"), walltime_seconds("01:30:00"), walltime_seconds("2-12")
    (1800, 5400, 216000)

    Raises
    ------
    ConfigError
        When it is none of these.
    """
    if not re.fullmatch(r"(\d+-)?\d+(:\d+){0,2}", walltime):
        raise ConfigError(f"engine.cluster.settings.walltime {walltime!r}: write it as 'HH:MM:SS', in quotes.")
    days, _, clock = walltime.rpartition("-")
    parts = [int(part) for part in clock.split(":")]
    if days:
        hours, minutes, seconds = (*parts, 0, 0)[:3]
        return ((int(days) * 24 + hours) * 60 + minutes) * 60 + seconds
    hours, minutes, seconds = {1: (0, *parts, 0), 2: (0, *parts), 3: tuple(parts)}[len(parts)]
    return (hours * 60 + minutes) * 60 + seconds
