"""Waiting for workers: what is said meanwhile, when it ends, and the tasks that make a cluster grow."""

from __future__ import annotations

import logging
import os
import time
import uuid
from contextlib import suppress

from distributed import Client, Future

from landweave.core.budget import THREADS_A_WORKER
from landweave.core.errors import EngineError
from landweave.engine.admission import Admission

SILENCE_SECONDS = 30.0
"""After which a run that hears nothing says what it waits for."""

_log = logging.getLogger("landweave.engine")


class Waiting:
    """How long a run has had no worker that it may give blocks to.

    Parameters
    ----------
    client
        Connected to the scheduler.
    patience
        Seconds to wait for a worker; None for no limit.
    workers
        Of the run.
    """

    def __init__(self, client: Client, patience: float | None, workers: Admission) -> None:
        self._address, self._patience, self._workers = address_of(client), patience, workers
        self._since = self._said = time.monotonic()
        self._had_some = False

    @property
    def seconds(self) -> float:
        """Since the last of them was there."""
        return time.monotonic() - self._since

    def check(self) -> None:
        """Say what is waited for from time to time; raise where waiting is in vain, or patience at its end."""
        workers = self._workers
        if workers.admitted:
            self._had_some = True
            self._since = self._said = time.monotonic()
            return
        all_refused = workers.refused and not workers.pending and not workers.present.keys() - workers.refused
        if all_refused and not self._had_some:
            raise EngineError(f"No worker at {self._address} can run this:\n{workers.reasons()}")
        refused = f"; others are refused:\n{workers.reasons()}" if workers.refused else ""
        if self._patience is not None and self.seconds > self._patience:
            raise EngineError(
                f"No worker at {self._address} for {self.seconds:.0f} s: start workers (or see why they stop: memory, "
                f"an import) and run again, or set engine.patience; what is done is kept{refused}"
            )
        if time.monotonic() - self._said >= SILENCE_SECONDS:
            self._said = time.monotonic()
            reply = f"{len(workers.present)} have not replied" if workers.present else "none is there"
            waited = f"{self.seconds:.0f} s"
            _log.warning("waiting for a worker at %s for %s: %s%s", self._address, waited, reply, refused)


class Beacons:
    """Tasks that nobody can run: adaptive clusters start workers for them.

    Blocks themselves are given to workers that are there, a few to each, for which no cluster would grow.

    Parameters
    ----------
    client
        Connected to the scheduler.
    """

    def __init__(self, client: Client) -> None:
        self._client = client
        self._lit: list[Future[int]] = []

    def light(self, count: int) -> None:
        """Keep so many of them."""
        while len(self._lit) < count:
            name = f"landweave-beacon-{uuid.uuid4().hex}"
            self._lit.append(self._client.submit(os.getpid, key=name, pure=False, resources={name: 1}))
        if surplus := self._lit[count:]:
            self._lit = self._lit[:count]
            with suppress(OSError):
                self._client.cancel(surplus, force=True)

    def close(self) -> None:
        """Keep none."""
        if self._client.status == "running":
            self.light(0)


def wanted_threads(blocks: int, workers: Admission, most_threads: int) -> int:
    """Threads that a growing cluster does not have yet and blocks wait for; at least one where there is none.

    Parameters
    ----------
    blocks
        That wait.
    workers
        Of the run.
    most_threads
        Of the cluster; 0 where it does not grow.
    """
    missing = min(blocks, most_threads - workers.threads)
    if not workers.present:  # a scheduler without workers counts a worker for each task
        missing = -(-missing // THREADS_A_WORKER)
    return max(missing, 0 if workers.admitted else 1)


def address_of(client: Client) -> str:
    """Of the client's scheduler."""
    return str(client.scheduler.address) if client.scheduler else "an unknown address"


def lost(client: Client) -> EngineError:
    """The error of a scheduler that went away."""
    return EngineError(
        f"The scheduler at {address_of(client)} went away, or its client was closed, with the blocks in flight: "
        "start it again and run again; what is done is kept."
    )
