"""One driver at a time on one output: a small object that names the driver and the time of its last sign of life.

::

    create ──> beat ── beat ── beat ──> delete          the holder, every BEAT_SECONDS
       others are refused while it beats; it is taken over at once when the holder ran on this machine and is gone
       (kill -9), otherwise when it has been silent for SILENT_SECONDS

A holder that was overtaken writes nothing more: its `Fence` is looked at before every object, where it is written.
"""

from __future__ import annotations

import json
import os
import socket
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from math import isfinite
from typing import Protocol

from landweave.core.errors import OutputError
from landweave.core.processes import has_ended, machine

LEASE = ".lease"
"""Suffix of the object beside an output that its driver holds."""

BEAT_SECONDS = 10.0
"""Time between two signs of life."""

SILENT_SECONDS = 60.0
"""A holder without a sign of life for so long is dead."""

_SETTLE_SECONDS = 0.5
"""Two drivers may find the same dead holder: the one that has the lease after this time is its owner."""


_LARGEST_PID = 2**31

_HELD: set[str] = set()
"""Tokens of the leases that this process holds, or tried to take."""


class SmallObjects(Protocol):
    """What a lease needs of the folder or bucket of an output; each method raises `OSError` when it fails."""

    def create(self, name: str, content: bytes) -> bool:
        """Write a new object, atomically against other writers.

        Parameters
        ----------
        name, content
            Of the object.

        Returns
        -------
        bool
            False, with nothing written, when the object exists.
        """

    def get(self, name: str) -> bytes | None:
        """The whole object; None when there is none."""

    def put(self, name: str, content: bytes) -> object:
        """Write an object, or replace it, atomically.

        Parameters
        ----------
        name, content
            Of the object.
        """

    def delete(self, name: str) -> None:
        """Remove an object; nothing happens when there is none."""


class Output(Protocol):
    """What is written under a lease."""

    def beside(self, suffix: str) -> tuple[SmallObjects, str]:
        """Return where an object beside the output lies, and its name: the output's with a ``suffix``."""

    def remove_unfinished(self) -> None:
        """Remove what killed writers left half written."""


@dataclass(frozen=True, kw_only=True)
class Holder:
    """The driver that writes to an output.

    Attributes
    ----------
    token
        Differs for every lease that was ever taken.
    host, pid
        Of the process, for a person.
    machine
        Identifies the running kernel and its process namespace: only there can `pid` be looked up.
    seen
        When the lease was last renewed, seconds since 1970 by the holder's clock.
    """

    token: str = field(default_factory=lambda: uuid.uuid4().hex)
    host: str = field(default_factory=socket.gethostname)
    pid: int = field(default_factory=os.getpid)
    machine: str = field(default_factory=machine)
    seen: float = field(default_factory=time.time)

    @classmethod
    def from_bytes(cls, content: bytes) -> Holder | None:
        """The holder that a lease object names; None when it is no such object (cut short by a loss of power)."""
        try:
            stored = json.loads(content)
            texts = {name: str(stored[name]) for name in ("token", "host", "machine")}
            found = cls(**texts, pid=int(stored["pid"]), seen=float(stored["seen"]))
        except (ValueError, TypeError, KeyError, OverflowError, RecursionError):
            return None
        return found if 0 < found.pid < _LARGEST_PID and isfinite(found.seen) else None

    def to_bytes(self) -> bytes:
        """JSON, a few hundred bytes."""
        return json.dumps(asdict(self)).encode()

    @property
    def gone(self) -> bool:
        """Whether it surely has ended: it ran on this machine, and no living process has its number."""
        if self.machine != machine():
            return False
        if self.pid == os.getpid():
            return self.token not in _HELD  # it could not be given back: its store was out of reach
        return has_ended(self.pid)


@dataclass(frozen=True, kw_only=True)
class Fence:
    """The proof that a driver still holds its lease, to be looked at just before a write. Picklable with its ``place``.

    Attributes
    ----------
    place, name
        Folder or bucket and name of the lease object.
    token
        Of the holder.
    """

    place: SmallObjects
    name: str
    token: str

    def check(self) -> None:
        """Raise `OutputError` when the lease is another's, or is gone: who finds no lease was overtaken, too."""
        current = _read(self.place, self.name)
        if current is None or current.token != self.token:
            by = _described(current) if current else "it has ended since, or its lease was removed"
            raise OutputError(
                f"This driver was silent for so long that another took its output over: {by}. Nothing more is written "
                "here; run again to go on."
            )


class Lease:
    """The right to write to an output, held until `release`; renewed by a thread of its own.

    Parameters
    ----------
    place, name
        Folder or bucket and name of the lease object.

    Attributes
    ----------
    fence
        Looked at by whoever writes for this driver.
    followed
        Whether a driver before this one ended without a word: it, or its workers, may still write a block.

    Raises
    ------
    OutputError
        When another driver holds it: its host, process and age are named.
    """

    def __init__(self, place: SmallObjects, name: str) -> None:
        self._place, self._name = place, name
        self._holder, self.followed = _take(place, name)
        self.fence = Fence(place=place, name=name, token=self._holder.token)
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, name="landweave-lease", daemon=True)
        self._thread.start()

    def check(self) -> None:
        """Raise `OutputError` when this driver was overtaken: it was suspended for too long."""
        self.fence.check()

    def release(self) -> None:
        """Stop renewing, and free the output if it is still this driver's.

        Where its store is out of reach the lease stays, and is dead: what ended the run is what is raised.
        """
        self._ended.set()
        self._thread.join()
        _HELD.discard(self._holder.token)
        with suppress(OSError):
            if self._is_held():
                self._place.delete(self._name)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_SECONDS):
            try:
                looked = time.monotonic()
                if not self._is_held():
                    return
                if time.monotonic() - looked < BEAT_SECONDS:  # else suspended in between: it may be another's by now
                    self._place.put(self._name, replace(self._holder, seen=time.time()).to_bytes())
            except OSError:
                # The store may answer at the next beat; if it never does, writing the ledger fails.
                continue

    def _is_held(self) -> bool:
        current = _read(self._place, self._name)
        return current is not None and current.token == self._holder.token


@contextmanager
def hold(place: SmallObjects, name: str) -> Iterator[Lease]:
    """A `Lease` for the length of a ``with`` block; parameters as of `Lease`."""
    lease = Lease(place, name)
    try:
        yield lease
    finally:
        lease.release()


@contextmanager
def hold_output(output: Output) -> Iterator[Lease]:
    """Hold the lease of an output; where all ends well nothing is left that is half written."""
    with hold(*output.beside(LEASE)) as lease:
        yield lease
        output.remove_unfinished()


def _take(place: SmallObjects, name: str) -> tuple[Holder, bool]:
    """The new holder, and whether it follows one that never gave the lease back."""
    mine = Holder()
    _HELD.add(mine.token)
    if place.create(name, mine.to_bytes()):
        return mine, False
    other = _read(place, name)
    if other is not None and not other.gone and not _silent(place, name, other):
        raise OutputError(
            f"The output is being written by another driver: {_described(other)}. "
            "Wait for it or stop it; if it is dead, run again in a minute."
        )
    place.delete(name)
    created = place.create(name, mine.to_bytes())
    time.sleep(_SETTLE_SECONDS)
    winner = _read(place, name)
    if not created or winner is None or winner.token != mine.token:
        raise OutputError(f"Another driver took this output over just now: {_described(winner)}.")
    return mine, True


def _silent(place: SmallObjects, name: str, other: Holder) -> bool:
    """Whether a holder is dead by its last sign of life.

    Clocks of two machines differ: a holder that seems silent is watched for longer than a beat before it is taken for
    dead.
    """
    if 0 <= time.time() - other.seen < SILENT_SECONDS:
        return False
    time.sleep(2 * BEAT_SECONDS)
    return _read(place, name) == other


def _read(place: SmallObjects, name: str) -> Holder | None:
    content = place.get(name)
    return None if content is None else Holder.from_bytes(content)


def _described(holder: Holder | None) -> str:
    if holder is None:
        return "its lease cannot be read"
    return f"process {holder.pid} on {holder.host}, last seen {max(0.0, time.time() - holder.seen):.0f} s ago"
