"""Python code that is killed at a moment that matters."""

from __future__ import annotations

import signal
import subprocess
import sys

_KILLED = """
import os, pathlib, signal
import landweave as lw
rename, left = pathlib.Path.replace, [{renames}]
def replace(path, target):
    if path.parent.suffix == ".part":
        left[0] -= 1
        if left[0] < 0:
            os.kill(os.getpid(), signal.SIGKILL)
    return rename(path, target)
pathlib.Path.replace = replace
{code}
"""


def killed_after_renames(code: str, renames: int) -> None:
    """Run code in a process of its own, which is killed where so many files have their names and the next has not.

    Parameters
    ----------
    code
        With ``lw``.
    renames
        Files that are whole.
    """
    done = subprocess.run([sys.executable, "-c", _KILLED.format(code=code, renames=renames)], check=False)
    assert done.returncode == -signal.SIGKILL, "it ended before it was killed"
