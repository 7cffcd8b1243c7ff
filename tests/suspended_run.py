"""The command, which suspends itself once, just before or after it looks at its lease ahead of an object.

The driver's own looks, between blocks and at each beat of its lease, come when the clock says so: they do not count.
"""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass
from typing import Any

from landweave.cli.main import main
from landweave.core.protocols import WriteFence
from landweave.store.zarr_store import RecordingStore

_objects = iter(range(10**6))
_create = RecordingStore.__init__


@dataclass(frozen=True)
class SuspendingFence:
    fence: WriteFence

    def check(self) -> None:
        stop = next(_objects) == int(os.environ["STOP_AT"])
        if stop and os.environ["STOP"] == "before the look":
            _suspend()
        self.fence.check()
        if stop and os.environ["STOP"] == "after the look":
            _suspend()


def _suspend() -> None:
    time.sleep(1)  # other objects of the block have had their look: they are written before, not when it is woken
    os.kill(os.getpid(), signal.SIGSTOP)


def _init(self: RecordingStore, store: Any, written: Any = None, fence: WriteFence | None = None) -> None:
    of_driver = fence is not None and not isinstance(fence, SuspendingFence)
    _create(self, store, written, SuspendingFence(fence) if of_driver else fence)


if __name__ == "__main__":
    RecordingStore.__init__ = _init  # type: ignore[method-assign]
    main()
