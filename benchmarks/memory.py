"""What a worker takes beside what the plan promised: ``python benchmarks/memory.py`` (about half an hour).

A real worker behind its nanny maps areas of 16, 64 and 256 blocks, each in a process of its own. Its resident memory
is looked at every few milliseconds; what counts is the peak beyond its memory after a first block, when libraries are
there. It must not grow with the area, and be near what the plan said of inputs, sums, outputs, model and files. A
peak is a maximum, and higher the more often one looks: small areas are mapped again and again, until as many blocks ran
as the largest has. An area has 16 blocks at least, so that both threads come to hold a whole block at the same moment,
and GDAL's cache is full, in each of them.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import threading
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil
from benchmark_data import write_card, write_config, write_tiles

from landweave.core.budget import GIB
from landweave.engine.clusters import local_engine
from landweave.engine.dask import DaskEngine
from landweave.engine.malloc import trim
from landweave.jobs.runner import CatchingJob
from landweave.mapping.run import declare_output, read_output
from landweave.mapping.setup import MapSetup
from landweave.setup.map_setup import set_up_map


@dataclass(frozen=True, kw_only=True)
class Peak:
    """One area: its blocks, the promise, and the peak beyond the memory after the first block; bytes."""

    blocks: int
    promised: int
    measured: int

    @property
    def ratio(self) -> float:
        """Measured over promised."""
        return self.measured / self.promised


class Watch:
    """Highest resident memory of a process while the ``with`` block lasts."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self.peak = 0

    def __enter__(self) -> Watch:
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _look(self) -> None:
        while not self._over.wait(0.003):
            self.peak = max(self.peak, self._process.memory_info().rss)


def measure(folder: Path, *, block: int, encoder: str, window: int, sides: Sequence[int]) -> list[Peak]:
    """Peaks for areas of ``side ** 2`` blocks, each over as many blocks as the largest area has."""
    write_tiles(folder / "tiles", max(sides) * block)
    write_card(folder, encoder=encoder, window=window)
    return [_printed(_peak(folder, side, block, turns=(max(sides) // side) ** 2)) for side in sides]


def _printed(peak: Peak) -> Peak:
    print(f"{peak.blocks} blocks: {peak.ratio:.2f} of the promise", flush=True)
    return peak


def _peak(folder: Path, side: int, block: int, *, turns: int) -> Peak:
    setup = set_up_map(write_config(folder, side=side * block, block=block, chunk=block // 4))
    with local_engine(workers=1, torch_threads=2) as engine:
        (pid,) = engine.client.run(_trim_and_pid).values()
        declare_output(setup, read_output(setup))
        _run(setup, engine, side=1)
        engine.client.run(_trim_and_pid)
        before = psutil.Process(pid).memory_info().rss
        with Watch(pid) as watch:
            for _ in range(turns):
                _run(setup, engine, side=side)
    # A run takes its model with it when it ends: the next one loads it again, so that the promise holds it too.
    return Peak(blocks=side**2, promised=setup.memory.work, measured=watch.peak - before)


def _trim_and_pid() -> int:
    """Return freed memory to the system; the id of the process."""
    gc.collect()
    trim()
    return os.getpid()


def _run(setup: MapSetup, engine: DaskEngine, *, side: int) -> None:
    blocks = [(row, column) for row in range(side) for column in range(side)]
    for _, result in engine.run(CatchingJob(setup.job), blocks):
        if result.reason:
            raise RuntimeError(result.reason)


def report(peaks: list[Peak]) -> str:
    """The peaks as a table."""
    lines = [f"{'blocks':>7} {'promised GiB':>13} {'measured GiB':>13} {'ratio':>6}"]
    lines += [
        f"{peak.blocks:>7} {peak.promised / GIB:>13.3f} {peak.measured / GIB:>13.3f} {peak.ratio:>6.2f}"
        for peak in peaks
    ]
    lines.append(f"largest over smallest: {max(p.measured for p in peaks) / min(p.measured for p in peaks):.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--block", type=int, default=1024, help="pixels a side of a block")
    parser.add_argument("--sides", type=int, nargs="+", default=[4, 8, 16], help="blocks a side of each area")
    parser.add_argument("--window", type=int, default=256)
    parser.add_argument("--encoder", default="resnet18")
    asked = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        print(report(measure(Path(folder), **vars(asked))))


if __name__ == "__main__":
    main()
