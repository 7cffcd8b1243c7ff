"""A driver that aligns a small series slowly, to be run as a process of its own and killed: no tests here."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from landweave.aligning.run import CubeSetup, run_align
from landweave.core.protocols import Series
from landweave.store.objects import Target
from tests.helpers.memory import ArraySeries
from tests.store.cubes.cube_samples import DAYS, part, series


@dataclass(frozen=True, kw_only=True)
class Slow(ArraySeries):
    """A series whose reads take their time."""

    def read(self, *what: Any) -> Series:
        """The pixels, after a pause."""
        time.sleep(float(os.environ["READ_SECONDS"]))
        return super().read(*what)


def start(where: str, dates: int, read_seconds: float) -> subprocess.Popen[str]:
    """`main` as a process of its own."""
    path = os.pathsep.join(path for path in sys.path if path)
    return subprocess.Popen(
        [sys.executable, "-m", "tests.helpers.aligned", where, str(dates)],
        env={**os.environ, "PYTHONPATH": path, "READ_SECONDS": str(read_seconds)},
        cwd=Path(__file__).parents[2],
        stderr=subprocess.PIPE,
        text=True,
    )


def main(where: str, dates: int) -> int:
    """Align the first ``dates`` days that arrive."""
    source = series(DAYS[:dates])
    slow = Slow(**{name: getattr(source, name) for name in source.__dataclass_fields__})
    return run_align(CubeSetup(target=Target.parse(where), groups=(part(slow),))).exit_code


if __name__ == "__main__":
    sys.exit(main(sys.argv[1], int(sys.argv[2])))
