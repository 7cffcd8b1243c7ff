"""Dask plugins of a run: the job on each worker, and the policy of failures on the scheduler."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from typing import Any

from distributed import Scheduler, Worker, get_worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
from distributed.protocol import pickle

from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockFunction, BlockResult
from landweave.engine.by_value import ByValue
from landweave.engine.malloc import trim
from landweave.engine.metrics import count_block
from landweave.engine.worker_settings import settings_applied

CLEAN_UP_SECONDS = 10.0
"""For workers to drop the job of a run that has ended: one that hangs, or is cut off, holds up nobody."""


class JobPlugin(WorkerPlugin):
    """A job on one worker: pickled until the first block opens it, in that block's thread, once.

    Only workers that were asked have it, so a Dask task needs no more than its name.

    Parameters
    ----------
    name
        Of the run.
    pickled
        The job.
    """

    def __init__(self, name: str, pickled: bytes) -> None:
        self.name = name
        # Pickled by the driver, not by distributed: unpickling imports torch, which must not hold up an event loop.
        self._pickled = pickled

    def setup(self, worker: Worker) -> None:
        """Called when the worker receives the job; opens nothing."""
        self._lock = threading.Lock()
        self._function: BlockFunction | None = None
        self._begun: dict[BlockIndex, float] = {}
        self._settings = ExitStack()
        self._settings.enter_context(settings_applied(worker))

    def teardown(self, worker: Worker) -> None:
        """Called at the end of the run: the model can be freed."""
        self._function = None
        trim()
        self._settings.close()

    def run(self, index: BlockIndex) -> BlockResult:
        """Run one block; called from the worker's threads."""
        self._begun[index] = time.monotonic()
        try:
            with self._lock:
                if self._function is None:
                    self._function = pickle.loads(self._pickled).open()
                function = self._function
            result = function(index)
        finally:
            del self._begun[index]
            trim()
        count_block(result)
        return result

    def running(self) -> dict[BlockIndex, float]:
        """Seconds since each block was begun that runs now."""
        now = time.monotonic()
        return {index: now - begun for index, begun in list(self._begun.items())}


def running_blocks(name: str, dask_worker: Worker | None = None) -> dict[BlockIndex, float]:
    """Seconds since each block of a run was begun that runs now; runs on the worker.

    Parameters
    ----------
    name
        Of the `JobPlugin`.
    dask_worker
        Where it runs.
    """
    assert dask_worker is not None
    plugin = dask_worker.plugins.get(name)
    return plugin.running() if isinstance(plugin, JobPlugin) else {}


def run_block(name: str, index: BlockIndex) -> BlockResult | str:
    """Run one block in a worker: the function of every Dask task; the worker's address where it has no such job.

    Parameters
    ----------
    name
        Of the `JobPlugin`.
    index
        Of the block.
    """
    worker = get_worker()
    plugin: Any = worker.plugins.get(name)  # no class is named here: the function travels with what it names
    return plugin.run(index) if plugin else worker.address


class FailurePolicyPlugin(SchedulerPlugin):
    """Failures of a run on the scheduler: blocks of a dead worker return to their driver; a dead driver's job ends.

    By default a scheduler gives the tasks of a dead worker to up to three more, which one bad block would kill too.

    Parameters
    ----------
    name
        Of the run.
    client_id
        Of its driver.
    """

    def __init__(self, name: str, client_id: str) -> None:
        self.name = name
        self._client_id = client_id
        self._allowed_failures = 0

    async def start(self, scheduler: Scheduler) -> None:
        """Forbid retries; several runs side by side all remember the setting before the first."""
        others = _policies(scheduler)
        self._allowed_failures = others[0]._allowed_failures if others else scheduler.allowed_failures
        scheduler.allowed_failures = 0

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Called when any driver leaves, killed ones too."""
        if client == self._client_id:
            scheduler._ongoing_background_tasks.call_soon(self.end, scheduler)

    async def end(self, scheduler: Scheduler) -> None:
        """Restore the scheduler's setting, and remove the job from the workers that reply in time."""
        if scheduler.plugins.pop(self.name, None) is None:
            return
        if not _policies(scheduler):
            scheduler.allowed_failures = self._allowed_failures
        # Of the workers those without the job say so; one that dies meanwhile takes its copy with it.
        with suppress(OSError):
            message = {"op": "plugin-remove", "name": self.name}
            await asyncio.wait_for(scheduler.broadcast(msg=message, on_error="ignore"), CLEAN_UP_SECONDS)

    def __reduce__(self) -> tuple[Any, ...]:
        return ByValue(FailurePolicyPlugin), (self.name, self._client_id)


def _policies(scheduler: Scheduler) -> list[Any]:
    """Policies of all runs; each was loaded as a class of its own."""
    found = (plugin for plugin in scheduler.plugins.values() if type(plugin).__name__ == "FailurePolicyPlugin")
    return list(found)


async def end_run(name: str, dask_scheduler: Any = None) -> None:
    """End the run called ``name``, on the scheduler."""
    if plugin := dask_scheduler.plugins.get(name):
        await plugin.end(dask_scheduler)


def find_stranded(keys: Iterable[Any], dask_scheduler: Any = None) -> list[Any]:
    """Those of the tasks that wait for workers which are gone; runs on the scheduler."""
    tasks = {key: dask_scheduler.tasks.get(key) for key in keys}
    return [key for key, task in tasks.items() if task is not None and task.state == "no-worker"]
