"""The process of a worker that an operator starts: Dask's own command, with what this work needs set beforehand.

| what | why |
|---|---|
| two threads | while one block computes, another reads or writes; the model runs in one thread of its own |
| the C library keeps freed memory | activations are mapped anew for every batch otherwise: 1.7 times as long |
| threads of numeric libraries | read once, when they are loaded; a nanny exports 1 unless the variable is set |
| shares of memory, profiler, time-outs | see `landweave.engine.worker_settings` |

A variable that is set, and what Dask's own configuration states, stay as they are. A worker that was started otherwise
does the same work: a run sets on it what can be set on a running process.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence

from dask.utils import parse_bytes

from landweave.core.budget import THREADS_A_WORKER
from landweave.core.errors import ConfigError
from landweave.engine.tls import check_worker_address
from landweave.engine.worker_settings import environment, own_settings


def worker_command(
    address: str,
    *,
    memory_limit: str | None = None,
    torch_threads: int = 2,
    security: Mapping[str, str] | None = None,
    options: Sequence[str] = (),
) -> tuple[list[str], dict[str, str]]:
    """The command line and the environment of a worker.

    Parameters
    ----------
    address
        Of the scheduler.
    memory_limit
        ``16GiB``, at which it is ended and started again; Dask's own share of the machine by default.
    torch_threads
        As ``model.torch_threads``.
    security
        Files ``ca``, ``cert`` and ``key``, with TLS.
    options
        Further ones of ``dask worker``, which win.

    Raises
    ------
    ConfigError
        When this is no address, or one with TLS and certificates are missing, or the limit is no size.
    """
    check_worker_address(address, security or {}, options)
    command = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", str(THREADS_A_WORKER)]
    if memory_limit:
        _check_memory_limit(memory_limit)
        command += ["--memory-limit", memory_limit]
    names = {"ca": "--tls-ca-file", "cert": "--tls-cert", "key": "--tls-key"}
    for name, path in (security or {}).items():
        command += [names[name], path]
    variables = {f"DASK_{key.upper().replace('.', '__')}": str(value) for key, value in own_settings().items()}
    return [*command, *options], {**variables, **environment(torch_threads), **os.environ}


def _check_memory_limit(text: str) -> None:
    try:
        if text != "auto":
            parse_bytes(text)
    except ValueError as error:
        raise ConfigError(f"--memory-limit {text} is no size: write it as 16GiB.") from error


def become_worker(address: str, **settings: object) -> None:
    """Replace this process by a worker.

    Parameters
    ----------
    address
        Of the scheduler.
    **settings
        Those of `worker_command`.
    """
    command, variables = worker_command(address, **settings)  # type: ignore[arg-type]
    os.execvpe(command[0], command, variables)
