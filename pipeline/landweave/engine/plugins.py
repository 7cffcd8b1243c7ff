"""Dask plugins of a run: the job on each worker, and the policy of failures on the scheduler."""

from __future__ import annotations

import asyncio
import threading
from contextlib import ExitStack, suppress
from typing import Any, cast

import dask
from distributed import Scheduler, Worker, get_worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin
from distributed.protocol import pickle

from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockFunction, BlockJob, BlockResult
from landweave.engine.malloc import trim

END_SECONDS = 5.0
"""For taking a job back from its workers."""


class JobPlugin(WorkerPlugin):
    """A job on one worker: pickled until the first block opens it, in that block's thread, once.

    The scheduler has it for workers that come late or come back, so a Dask task needs no more than its name.

    Parameters
    ----------
    name
        Of the run.
    job
        Pickled here.
    """

    def __init__(self, name: str, job: BlockJob) -> None:
        self.name = name
        # Pickled here, not by distributed: unpickling imports torch, which must not hold up a worker's event loop.
        self._pickled = pickle.dumps(job)

    def setup(self, worker: Worker) -> None:
        """Called when the worker receives the job; opens nothing."""
        self._lock = threading.Lock()
        self._function: BlockFunction | None = None
        # A `.compute()` inside a block would go to the scheduler and wait there for a thread that it blocks itself.
        self._settings = ExitStack()
        self._settings.enter_context(dask.config.set(scheduler="synchronous"))

    def teardown(self, worker: Worker) -> None:
        """Called at the end of the run: the model can be freed."""
        self._function = None
        trim()
        self._settings.close()

    def run(self, index: BlockIndex) -> BlockResult:
        """Run one block; called from the worker's threads."""
        with self._lock:
            if self._function is None:
                self._function = pickle.loads(self._pickled).open()
            function = self._function
        try:
            return function(index)
        finally:
            trim()


def run_block(name: str, index: BlockIndex) -> BlockResult:
    """Run one block in a worker: the function of every Dask task.

    Parameters
    ----------
    name
        Of the `JobPlugin`.
    index
        Of the block.
    """
    return cast(JobPlugin, get_worker().plugins[name]).run(index)


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
        others = [plugin for plugin in scheduler.plugins.values() if isinstance(plugin, FailurePolicyPlugin)]
        self._allowed_failures = others[0]._allowed_failures if others else scheduler.allowed_failures
        scheduler.allowed_failures = 0

    def remove_client(self, scheduler: Scheduler, client: str) -> None:
        """Called when any driver leaves, killed ones too."""
        if client == self._client_id:
            scheduler._ongoing_background_tasks.call_soon(self.end, scheduler)

    async def end(self, scheduler: Scheduler) -> None:
        """Restore the scheduler's setting, and remove the job from the workers."""
        if scheduler.plugins.pop(self.name, None) is None:
            return
        if not any(isinstance(plugin, FailurePolicyPlugin) for plugin in scheduler.plugins.values()):
            scheduler.allowed_failures = self._allowed_failures
        # A worker that dies meanwhile takes its copy with it, and is not waited for: that may take half a minute.
        with suppress(OSError, ValueError):
            await asyncio.wait_for(scheduler.unregister_worker_plugin(None, self.name), END_SECONDS)


async def end_run(name: str, dask_scheduler: Any = None) -> None:
    """End the run called ``name``, on the scheduler."""
    plugin = dask_scheduler.plugins.get(name)
    if isinstance(plugin, FailurePolicyPlugin):
        await plugin.end(dask_scheduler)
