"""Small areas at any offset, as whole commands: ``python benchmarks/regional.py`` (half an hour on two cores).

Of each area: windows that it needs (counted one by one, from the weights of the windows), windows planned and run, the
blocks, the seconds of a whole command, and of those the seconds before its first window. The command is a process of
its own, with a plain loop for one worker and a Dask cluster for several; the first window is timed in the plain loop.

``--plan-only`` for areas whose run takes too long: the windows alone.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import yaml
from benchmark_data import ORIGIN, PIXEL, machine, write_card, write_config, write_tiles

from landweave import api
from landweave.config.load import load_config
from landweave.config.schema import Config
from landweave.setup.map_setup import set_up_map

OFFSETS = ((0, 0), (177, 93), (384, 511))
"""Pixels from a corner where windows, chunks and strides of the usual sizes meet, southwards and eastwards."""


@dataclass(frozen=True, kw_only=True)
class Row:
    """What one area takes; seconds are None where it was planned only."""

    side: int
    offset: tuple[int, int]
    workers: int
    needed: int
    planned: int
    blocks: tuple[int, int]
    run: int | None = None
    seconds: float | None = None
    before: float | None = None

    def __str__(self) -> str:
        measured = [self.run, self.seconds, self.before]
        shown = ["-" if value is None else f"{value:,.1f}".removesuffix(".0") for value in measured]
        down, across = self.blocks
        return (
            f"{self.side**2 / 1e6:8.2f} {self.offset!s:>12} {self.workers:8} {down:3} x {across:<3} {self.needed:8,} "
            f"{self.planned:8,} {self.planned / self.needed:6.3f} {shown[0]:>8} {shown[1]:>9} {shown[2]:>9}"
        )


def needed_windows(config: Config) -> int:
    """Windows that give some pixel of the area a weight, tried one by one along each axis."""
    job = set_up_map(config).job
    weighted, stride = np.flatnonzero(job.blending.weights), job.blending.lattice.stride
    counts = []
    for span in (job.bounds.y, job.bounds.x):
        starts = range((span.start // stride - 9) * stride, span.stop, stride)
        counts.append(sum(bool(((weighted + s >= span.start) & (weighted + s < span.stop)).any()) for s in starts))
    return counts[0] * counts[1]


def moved(folder: Path, side: int, offset: tuple[int, int], workers: int) -> Path:
    """A configuration of an area of ``side`` pixels at an offset, with blocks by default."""
    path = folder / f"area-{side}-{offset[0]}-{offset[1]}-{workers}.yaml"
    content = yaml.safe_load((folder / f"map-{side}.yaml").read_text())
    x0, y1 = ORIGIN[0] + offset[1] * PIXEL, ORIGIN[1] - offset[0] * PIXEL
    content["area"]["bounds"] = [x0, y1 - side * PIXEL, x0 + side * PIXEL, y1]
    content["output"] = {"store": f"{path.stem}.zarr", "chunk": content["output"]["chunk"]}
    content["engine"] = {"kind": "inline"} if workers == 1 else {"kind": "dask", "workers": workers}
    content["model"]["torch_threads"] = 1
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def command(path: Path) -> dict[str, Any]:
    """The measures of a whole command, in a process of its own."""
    started = time.perf_counter()
    done = subprocess.run([sys.executable, __file__, "--one", str(path)], capture_output=True, text=True, check=True)
    return {**json.loads(done.stdout.splitlines()[-1]), "seconds": time.perf_counter() - started}


def run_one(path: Path) -> None:
    """Run one configuration in this process, and print what it took."""
    born, first = psutil.Process().create_time(), []
    config = load_config(path)
    if config.engine.kind == "inline":
        from landweave.models.inference import TorchPredictor

        predict = TorchPredictor.predict

        def timed(self: TorchPredictor, batch: Any) -> Any:
            first.append(time.time() - born)
            return predict(self, batch)

        TorchPredictor.predict = timed  # type: ignore[method-assign]
    result = api.run(config, progress=False)
    assert result.exit_code == 0, result
    windows = int(api.open_ledger(config.path(config.output.store))["windows"].sum())
    print(json.dumps({"run": windows, "before": first[0] if first else None}))


def measure(folder: Path, sides: Sequence[int], workers: Sequence[int], offsets: int, *, plan_only: bool) -> list[Row]:
    """A row for every area, number of workers, and each of the first ``offsets``."""
    rows = []
    for side in sides:
        for offset in OFFSETS[:offsets]:
            for count in workers:
                path = moved(folder, side, offset, count)
                plan = api.plan_map(config := load_config(path))
                measured = {} if plan_only else command(path)
                row = Row(
                    side=side,
                    offset=offset,
                    workers=count,
                    needed=needed_windows(config),
                    planned=plan.windows,
                    blocks=plan.blocks.actions.shape,
                    **measured,
                )
                print(row, flush=True)
                rows.append(row)
    return rows


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--sides", type=int, nargs="+", default=[1024, 2048, 4096, 8192], help="pixels")
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 4])
    parser.add_argument("--encoder", default="resnet34")
    parser.add_argument("--window", type=int, default=512)
    parser.add_argument("--chunk", type=int, default=512)
    parser.add_argument("--offsets", type=int, default=len(OFFSETS), help="how many of them")
    parser.add_argument("--plan-only", action="store_true")
    parser.add_argument("--one", type=Path, help=argparse.SUPPRESS)
    settings = parser.parse_args()
    if settings.one:
        run_one(settings.one)
        return
    print(machine())
    print(f"windows of {settings.window} px, overlap {settings.window // 4}, U-Net with {settings.encoder}")
    print("     Mpx       offset  workers  blocks   needed  planned  ratio      run  seconds   before")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_tiles(folder / "tiles", max(settings.sides) + 1024)
        write_card(folder, encoder=settings.encoder, window=settings.window)
        for side in settings.sides:
            write_config(folder, side=side, block=settings.chunk, chunk=settings.chunk)
        measure(folder, settings.sides, settings.workers, settings.offsets, plan_only=settings.plan_only)


if __name__ == "__main__":
    main()
