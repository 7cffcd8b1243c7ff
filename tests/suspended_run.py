"""The command, which suspends itself once, just before or after it looks at its lease ahead of an object."""

from __future__ import annotations

import os
import signal

from landweave.cli.main import main
from landweave.jobs.lease import Fence

_calls = iter(range(10**6))
_look = Fence.check


def _check(self: Fence) -> None:
    stop = next(_calls) == int(os.environ["STOP_AT"])
    if stop and os.environ["STOP"] == "before the look":
        os.kill(os.getpid(), signal.SIGSTOP)
    _look(self)
    if stop and os.environ["STOP"] == "after the look":
        os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    Fence.check = _check  # type: ignore[method-assign]
    main()
