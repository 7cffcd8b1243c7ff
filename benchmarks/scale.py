"""What a department costs beside its model: ``python benchmarks/scale.py`` (ten minutes on two quiet cores).

Four tables: the plan of 150 billion pixels of sparse tiles; the headers of 12,000 tiles; driver and scheduler, seconds
of CPU a block and memory, for blocks that do nothing, beside a plain `as_completed` loop over the same cluster; and the
efficiency of workers whose blocks sleep a second.
"""

from __future__ import annotations

import argparse
import gc
import os
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any
from unittest.mock import patch

import psutil
import rasterio
import yaml
from affine import Affine
from benchmark_data import BANDS, ORIGIN, PIXEL, machine, write_card
from dask.distributed import as_completed
from numpy.typing import NDArray

from landweave import api
from landweave.config.load import load_config
from landweave.core.budget import THREADS_A_WORKER
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockFunction, BlockResult, BlockState
from landweave.engine.clusters import local_engine
from landweave.engine.dask import DaskEngine
from landweave.engine.submissions import IN_FLIGHT_PER_THREAD
from landweave.jobs.ledger import Ledger
from landweave.jobs.progress import SilentProgress
from landweave.jobs.runner import run_blocks
from landweave.sources.raster_facts import read_raster_facts

TILE_PX = 25_000
"""Pixels a side of a sparse tile: 5 km."""


@dataclass(frozen=True, kw_only=True)
class SleepingJob:
    """Blocks that take so many seconds and write nothing."""

    seconds: float = 0.0
    key: str = "sleeping"

    def open(self) -> BlockFunction:
        """The function of a block."""
        return self._sleep

    def _sleep(self, index: BlockIndex) -> BlockResult:
        return sleep_block(self.seconds)


def sleep_block(seconds: float) -> BlockResult:
    """A block that takes so many seconds."""
    time.sleep(seconds)
    return BlockResult(state=BlockState.DONE, inputs=7, seconds={"total": seconds}, counts={"windows": 1})


class NoStore:
    """A ledger that is stored nowhere."""

    def save(self, chunk: tuple[int, int], fields: Mapping[str, NDArray[Any]]) -> None:
        """Do nothing."""


def grid_of_blocks(count: int) -> tuple[tuple[int, int], Iterator[BlockIndex]]:
    """Shape of a grid of at least ``count`` blocks, and the first ``count`` of them."""
    side = -(-count // 200), 200
    return side, islice(((row, column) for row in range(side[0]) for column in range(side[1])), count)


def ours(engine: DaskEngine, count: int, seconds: float = 0.0) -> None:
    """Run so many blocks as a map runs them."""
    shape, blocks = grid_of_blocks(count)
    job, ledger = SleepingJob(seconds=seconds), Ledger(shape)
    run_blocks(job, engine, ledger, NoStore(), blocks=blocks, progress=SilentProgress())  # type: ignore[arg-type]


def plain(engine: DaskEngine, count: int, seconds: float = 0.0) -> None:
    """Run so many blocks by a loop over `as_completed` that keeps as many in flight."""
    _, blocks = grid_of_blocks(count)
    in_flight = IN_FLIGHT_PER_THREAD * sum(engine.client.nthreads().values())
    submit = engine.client.submit
    first = [submit(sleep_block, seconds, key=("plain", *index), pure=False) for index in islice(blocks, in_flight)]
    running = as_completed(first, loop=engine.client.loop, with_results=True)
    del first
    for _ in running:
        for index in islice(blocks, 1):
            running.add(submit(sleep_block, seconds, key=("plain", *index), pure=False))


def write_department(folder: Path, side: int) -> Path:
    """Sparse tiles over ``side`` x ``side`` pixels, and a configuration of all of it."""
    (folder / "tiles").mkdir()
    for top in range(0, side, TILE_PX):
        for left in range(0, side, TILE_PX):
            transform = Affine(PIXEL, 0, ORIGIN[0] + left * PIXEL, 0, -PIXEL, ORIGIN[1] - top * PIXEL)
            profile = {"driver": "GTiff", "dtype": "uint8", "count": len(BANDS), "crs": "EPSG:2154", "tiled": True}
            size = {"width": min(TILE_PX, side - left), "height": min(TILE_PX, side - top)}
            name = folder / "tiles" / f"{top}_{left}.tif"
            sparse = {"sparse_ok": True, "nodata": 0}  # without the tag, blocks never written are refused
            with rasterio.open(name, "w", transform=transform, compress="deflate", **profile, **size, **sparse):
                pass
    bands = {band: {"files": "tiles", "band": number} for number, band in enumerate(BANDS, 1)}
    content = {
        "grid": {"crs": "EPSG:2154"},
        "inputs": {"AERIAL_RGBI": {"kind": "mosaic", "bands": bands}},
        "model": {"card": "card.yaml", "weights": "weights.safetensors"},
        "output": {"store": "map.zarr"},
        "engine": {"kind": "dask", "workers": 8, "memory_gib": 8},
    }
    path = folder / "department.yaml"
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return path


def print_plan(side: int) -> None:
    """The plan of a department: its seconds twice, as headers are known the second time."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_card(folder, encoder="resnet18", window=512)
        config = load_config(write_department(folder, side))
        for turn in ("first plan", "again"):
            before = time.process_time()
            plan = api.plan_map(config)
            seconds = time.process_time() - before
            print(
                f"{turn:12} {seconds:7.1f} s of CPU: {side**2 / 1e9:.0f} Gpx, {len(plan.blocks.todo):,} blocks, "
                f"{plan.windows:,} windows, {plan.block_redundancy:.3f} at block edges"
            )


def print_headers(tiles: int) -> None:
    """Facts of so many tiles, and again by what the user's cache knows; a cache of its own, empty at first."""
    with tempfile.TemporaryDirectory() as name, patch.dict(os.environ, XDG_CACHE_HOME=name):
        profile = {"driver": "GTiff", "dtype": "uint8", "count": len(BANDS), "width": 512, "height": 512, "tiled": True}
        paths = [str(Path(name) / f"{number}.tif") for number in range(tiles)]
        for number, path in enumerate(paths):
            transform = Affine(PIXEL, 0, ORIGIN[0] + number * 512 * PIXEL, 0, -PIXEL, ORIGIN[1])
            with rasterio.open(path, "w", transform=transform, crs="EPSG:2154", sparse_ok=True, **profile):
                pass
        time.sleep(2.1)  # what changed just now is not kept
        for turn in ("first", "again"):
            before = time.process_time()
            read_raster_facts(paths)
            print(f"{turn:12} {time.process_time() - before:7.1f} s of CPU: headers of {tiles:,} tiles", flush=True)


def print_overhead(counts: list[int]) -> None:
    """Driver and scheduler, which are one process here, for blocks that do nothing."""
    process = psutil.Process()
    print("  blocks   driver and scheduler, ms of CPU a block: ours, plain    seconds: ours, plain    MB after ours")
    with local_engine(workers=2, torch_threads=1) as engine:
        ours(engine, 50), plain(engine, 50)
        for count in counts:
            costs, walls = [], []
            for run in (ours, plain):
                started, wall = process.cpu_times(), time.perf_counter()
                run(engine, count)
                ended = process.cpu_times()
                costs.append((ended.user + ended.system - started.user - started.system) / count * 1e3)
                walls.append(time.perf_counter() - wall)
                if run is ours:
                    gc.collect()
                    memory = process.memory_info().rss / 1e6
            print(
                f"{count:8,} {costs[0]:40.2f}, {costs[1]:.2f} {walls[0]:22.1f}, {walls[1]:.1f} {memory:12.0f}",
                flush=True,
            )


def print_efficiency(workers: list[int], seconds: float, blocks: int) -> None:
    """Blocks that sleep, ``blocks`` for every thread of every worker."""
    print("  workers   efficiency")
    for count in workers:
        with local_engine(workers=count, torch_threads=1) as engine:
            ours(engine, 2 * count)
            started = time.perf_counter()
            ours(engine, blocks * THREADS_A_WORKER * count, seconds)
            print(f"{count:9} {blocks * seconds / (time.perf_counter() - started):12.3f}", flush=True)


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=387_000, help="pixels of the planned department")
    parser.add_argument("--tiles", type=int, default=12_000, help="whose headers are read")
    parser.add_argument("--blocks", type=int, nargs="+", default=[1_000, 10_000, 40_000])
    parser.add_argument("--workers", type=int, nargs="+", default=[1, 2, 4, 8])
    parser.add_argument("--seconds", type=float, default=1.0, help="that a block sleeps")
    parser.add_argument("--turns", type=int, default=10, help="blocks that sleep, of each thread")
    settings = parser.parse_args()
    print(machine())
    print_plan(settings.side)
    print_headers(settings.tiles)
    print_overhead(settings.blocks)
    print_efficiency(settings.workers, settings.seconds, settings.turns)


if __name__ == "__main__":
    main()
