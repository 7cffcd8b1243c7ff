"""A driver that aligns a small series slowly, to be run as a process of its own and killed: no tests here.

It ends as the command does when it is told to; blocks are noted as those of `tests.helpers.counted` are.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landweave.aligning.run import INLINE, CubeSetup, run_align
from landweave.core.errors import TERMINATED, Terminated
from landweave.core.protocols import Series
from landweave.engine.settings import EngineSettings
from landweave.jobs.runner import terminable
from landweave.store.objects import Target
from tests.helpers import counted  # noqa: F401  watches this process where it is told to
from tests.helpers.commands import hear_interrupts
from tests.helpers.memory import ArraySeries
from tests.store.cubes.cube_samples import DAYS, part, series


@dataclass(frozen=True, kw_only=True)
class Slow(ArraySeries):
    """A series whose reads take their time."""

    def read(self, *what: Any) -> Series:
        """The pixels, after a pause."""
        time.sleep(float(os.environ["READ_SECONDS"]))
        return super().read(*what)


DASK = EngineSettings(kind="dask", workers=2, address=None, worker_bytes=2 * 2**30)


def start(
    where: str, dates: int, read_seconds: float, *, kind: str = "inline", **environment: str
) -> subprocess.Popen[str]:
    """`main` as a process of its own, in a group of its own."""
    path = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.aligned", where, str(dates), kind],
        env={**os.environ, "PYTHONPATH": path, "READ_SECONDS": str(read_seconds), **environment},
        cwd=Path(__file__).parents[2],
        start_new_session=True,
        preexec_fn=hear_interrupts,
        stderr=subprocess.PIPE,
        text=True,
    )


def main(where: str, dates: int, kind: str) -> int:
    """Align the first ``dates`` days that arrive."""
    from tests.helpers.aligned import Slow  # by the name that workers know it by

    source = series(DAYS[:dates])
    slow = Slow(**{name: getattr(source, name) for name in source.__dataclass_fields__})
    engine = {"inline": INLINE, "dask": DASK}[kind]
    setup = CubeSetup(target=Target.parse(where), groups=(part(slow),), engine=engine)
    try:
        with terminable():
            return run_align(setup).exit_code
    except Terminated:
        return TERMINATED
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2]), sys.argv[3]))
