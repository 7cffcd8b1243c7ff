"""Settings of Dask that this work needs, set by the program wherever a worker starts or joins.

What a user's own Dask configuration states otherwise than Dask's defaults is left alone.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Worker

from landweave.engine.malloc import MALLOC_ENVIRONMENT, keep_freed_memory

WORKER_SETTINGS: Mapping[str, Any] = {
    # Dask can spill nothing of a block, and a paused worker would wait forever for memory that only blocks free: it
    # goes on, or its nanny kills it.
    "distributed.worker.memory.target": False,
    "distributed.worker.memory.spill": False,
    "distributed.worker.memory.pause": False,
    # A tree of call stacks for each second of the last hour: a worker grows by 3 MB a minute while a network computes.
    # A run measures the seconds of its stages itself.
    "distributed.worker.profile.enabled": False,
    # Hundreds of workers that start at once wait for one scheduler, and import from one file system meanwhile.
    "distributed.comm.timeouts.connect": "120s",
}

THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
"""Read once, when a numeric library is loaded; a nanny exports 1."""


def own_settings() -> dict[str, Any]:
    """Those of `WORKER_SETTINGS` that the user's configuration leaves at Dask's defaults, or has as they are here.

    While workers of this process run, its configuration has them.
    """
    return {key: value for key, value in WORKER_SETTINGS.items() if _is_default(key) or dask.config.get(key) == value}


def _is_default(key: str) -> bool:
    defaults: Any = dask.config.merge(*dask.config.defaults)
    for part in key.split("."):
        if not isinstance(defaults, Mapping) or part not in defaults:
            return dask.config.get(key, None) is None
        defaults = defaults[part]
    return bool(dask.config.get(key) == defaults)


def environment(threads: int | None) -> dict[str, str]:
    """Variables of a worker's process, read when it starts: of the C library's memory, and threads of libraries."""
    own = {} if threads is None else dict.fromkeys(THREAD_VARIABLES, str(threads))
    return MALLOC_ENVIRONMENT | own


@contextmanager
def settings_applied(worker: Worker) -> Iterator[None]:
    """Let the settings hold on a worker that somebody else started, for the length of a ``with`` block.

    Its configuration was read when it started. What has no other way in is set on the running worker: the shares of
    memory, the profiler's clock, the C library's memory (which stays as it is).
    """
    own, memory = own_settings(), worker.memory_manager
    before: dict[str, Any] = {}
    for part in ("target", "spill", "pause"):
        if f"distributed.worker.memory.{part}" in own:
            name = f"memory_{part}_fraction"
            before[name] = getattr(memory, name)
            setattr(memory, name, False)
    stopped = []
    if "distributed.worker.profile.enabled" in own:
        clocks = [worker.periodic_callbacks.get(name) for name in ("profile", "profile-cycle")]
        stopped = [clock for clock in clocks if clock is not None and clock.is_running()]
    for clock in stopped:
        clock.stop()
    keep_freed_memory()
    try:
        # A `.compute()` inside a block would go to the scheduler and wait there for a thread that it blocks itself.
        with dask.config.set(scheduler="synchronous"):
            yield
    finally:
        for name, value in before.items():
            setattr(memory, name, value)
        for clock in stopped:
            clock.start()
