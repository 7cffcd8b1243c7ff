"""Dates of Sentinel-2 into a cube, beside odc-stac: ``python benchmarks/align.py`` (about a quarter of an hour).

Both read the same files of one UTM zone onto the same Lambert-93 pixels and write Zarr, on one thread, each in a
process of its own that keeps freed memory as workers do, taking turns, since machines are shared and noisy; the ratios
are what counts, of seconds on the clock and of seconds that a core worked. Bytes read count those of temporary files.
Ours also applies offsets, tells clouds from shadows and lays scenes over each other; odc-stac writes the stored
numbers. ``read`` is the reading alone, ``cube`` reading and writing, both with the same codecs at the same level.

Then the memory of the cube step alone, in processes of their own: it must grow neither with the dates of a time shard
nor with the area, and be near what the plan promises for one thread.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import dask
import numpy as np
import odc.stac
import psutil
import pystac
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.warp import transform_bounds

from landweave.aligning.groups import AlignGroup
from landweave.aligning.job import tile_memory
from landweave.aligning.run import CubeSetup, run_align
from landweave.core.budget import THREADS_A_WORKER
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks
from landweave.engine.malloc import MALLOC_ENVIRONMENT
from landweave.sources.stac.search import StacQuery, search
from landweave.sources.stac.series import StacSeries
from landweave.store.cubes.layout import CODEC
from landweave.store.objects import Target

BANDS = {"B2": 10, "B3": 10, "B4": 10, "B8": 10, "B5": 20, "B6": 20, "B7": 20, "B8A": 20, "B11": 20, "B12": 20}
"""Bands by our names, with the pixel of their files in metres."""

UTM, LAMBERT = "EPSG:32631", "EPSG:2154"
ORIGIN = (706560, 6604800)
"""South-west corner: a whole number of tiles of the usual sizes from the anchor."""

CORNER = 64
"""Pixels a side of what is done before anything is measured."""

MARGIN = 2000
"""Metres of scene around the grid."""


@dataclass(frozen=True, kw_only=True)
class Cost:
    """What one process needed.

    Attributes
    ----------
    seconds, core_seconds
        Of the work alone, on the clock and of all cores.
    read_bytes
        Asked of files.
    peak_bytes, before_bytes
        Most memory it ever held, and what it held before the work.
    """

    seconds: float
    core_seconds: float
    read_bytes: int
    peak_bytes: int
    before_bytes: int


@dataclass(frozen=True, kw_only=True)
class Peak:
    """Memory of a cube of ``dates`` and ``tiles``: what the plan promises for one thread, and the peak; bytes."""

    dates: int
    tiles: int
    promised: int
    measured: int


@dataclass(frozen=True, kw_only=True)
class Task:
    """What is to be done: files of ``dates`` in ``folder``, on ``side`` x ``side`` pixels in tiles of ``tile``."""

    folder: Path
    side: int
    dates: int
    tile: int

    @property
    def grid(self) -> Grid:
        """Pixels of 10 m."""
        x, y = ORIGIN
        return Grid.from_bounds((x, y, x + 10 * self.side, y + 10 * self.side), crs=LAMBERT, resolution=10)

    @property
    def catalog(self) -> Path:
        """The items."""
        return self.folder / "items.json"


def write_catalog(task: Task) -> None:
    """Scenes of one UTM zone, one a date, as cloud-optimised GeoTIFFs, and their items."""
    bounds = transform_bounds(LAMBERT, UTM, *task.grid.bounds)
    x0, y1 = bounds[0] // 20 * 20 - MARGIN, bounds[3] // 20 * 20 + MARGIN
    width, height = (int(side // 20) for side in (bounds[2] + MARGIN - x0, y1 - bounds[1] + MARGIN))
    items = []
    for number in range(task.dates):
        day = np.datetime64("2021-06-01") + 5 * number
        assets = {}
        for band, plane, side in _planes(number, (height, width)):
            path = task.folder / str(day) / f"{band}.tif"
            assets[band] = _write(path, plane, Affine(side, 0, x0, 0, -side, y1))
        items.append(_item(str(day), assets, transform_bounds(LAMBERT, "EPSG:4326", *task.grid.bounds)))
    task.catalog.write_text(json.dumps({"type": "FeatureCollection", "features": items}))


def _planes(number: int, shape: tuple[int, int]) -> Iterator[tuple[str, NDArray[Any], int]]:
    """Bands and classes of 20 m pixels ``shape``, or twice as many of 10 m."""
    rng = np.random.default_rng(number)
    for band, side in BANDS.items():
        height, width = (size * 20 // side for size in shape)
        # Neighbouring pixels are alike, as in real images: noise alone would not compress.
        fields = rng.integers(1200, 6000, (height // 16 + 1, width // 16 + 1)).repeat(16, 0).repeat(16, 1)
        plane = fields[:height, :width] + rng.normal(0, 60, (height, width))
        yield band, plane.clip(1001, 20000).astype(np.uint16), side
    yield "SCL", rng.choice(np.array([4, 5, 9], np.uint8), shape, p=[0.5, 0.45, 0.05]), 20


def _write(path: Path, plane: NDArray[Any], transform: Affine) -> dict[str, Any]:
    path.parent.mkdir(parents=True, exist_ok=True)
    height, width = plane.shape
    place = {"width": width, "height": height, "crs": UTM, "transform": transform}
    form = {"driver": "COG", "compress": "deflate", "predictor": "yes", "overviews": "none"}
    with rasterio.open(path, "w", count=1, dtype=plane.dtype, nodata=0, **place, **form) as dataset:
        dataset.write(plane, 1)
    return {
        "href": str(path),
        "type": "image/tiff; application=geotiff; profile=cloud-optimized",
        "proj:epsg": int(UTM.split(":")[1]),
        "proj:shape": [height, width],
        "proj:transform": list(transform)[:6],
    }


def _item(day: str, assets: dict[str, Any], box: tuple[float, float, float, float]) -> dict[str, Any]:
    name = f"S2A_MSIL2A_{day.replace('-', '')}T105031_N0500_R051_T31TEJ_20230101T000000"
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": "sentinel-2-l2a",
        "bbox": list(box),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {"datetime": f"{day}T10:50:31Z", "s2:mgrs_tile": "31TEJ", "s2:product_uri": f"{name}.SAFE"},
        "links": [],
        "assets": assets,
    }


def _series(task: Task) -> StacSeries:
    days = f"2021-01-01/{np.datetime64('2021-06-01') + 5 * task.dates - 1}"
    query = StacQuery(catalog=str(task.catalog), dates=days, modality="SENTINEL2_TS", bands=tuple(BANDS))
    found = search(query, transform_bounds(LAMBERT, "EPSG:4326", *task.grid.bounds))
    return StacSeries.open(found, modality="SENTINEL2_TS", bands=tuple(BANDS), grid=task.grid)


def read_ours(task: Task) -> None:
    """Every date of every tile, as the cube asks for them."""
    series = _series(task)
    for tile in _tiles(task):
        for number in range(task.dates):
            series.read(tile, series.bands, (number,))


def cube_ours(task: Task) -> None:
    """A cube of one time shard."""
    group = AlignGroup(
        modality="SENTINEL2_TS",
        source=_series(task),
        grid=task.grid,
        bands=tuple(BANDS),
        tile=task.tile,
        chunk=task.tile // 8,
        time_shard=task.dates,
    )
    target = Target.parse(str(task.folder / f"ours-{time.time_ns()}.zarr"))
    done = run_align(CubeSetup(target=target, groups=(group,)))
    if not done.complete:
        raise SystemExit(str(done))


def read_odc(task: Task) -> None:
    """Every tile in one call, all dates together: what it does best."""
    for tile in _tiles(task):
        _load(task, tile)


def cube_odc(task: Task) -> None:
    """The same pixels with ``to_zarr``, in chunks of one date and tile."""
    lazy = _load(task, task.grid, chunks={"time": 1, "x": task.tile, "y": task.tile})
    encoding = {name: {"compressors": CODEC} for name in lazy.data_vars}
    lazy.to_zarr(task.folder / f"odc-{time.time_ns()}.zarr", consolidated=False, encoding=encoding)


def _load(task: Task, grid: Grid, **settings: Any) -> Any:
    items = [pystac.Item.from_dict(item) for item in json.loads(task.catalog.read_text())["features"]]
    resampling = {"*": "bilinear", "SCL": "nearest"}
    wanted = {"bands": [*BANDS, "SCL"], "geobox": grid.geobox, "dtype": "uint16", "nodata": 0}
    return odc.stac.load(items, groupby="solar_day", resampling=resampling, pool=1, **wanted, **settings)


def _tiles(task: Task) -> Iterator[Grid]:
    blocks = Blocks.covering(task.grid.extent, task.tile)
    for index in blocks:
        yield task.grid.with_extent(blocks[index])


WORKS: dict[str, Callable[[Task], None]] = {
    "read ours": read_ours,
    "read odc": read_odc,
    "cube ours": cube_ours,
    "cube odc": cube_odc,
}


def cost(work: str, task: Task) -> Cost:
    """What ``work`` costs in this process, once a small corner of it was done: libraries are there."""
    warnings.simplefilter("ignore")  # odc-geo speaks of affine's future
    with dask.config.set(scheduler="synchronous"):
        WORKS[work](replace(task, side=CORNER, tile=CORNER, dates=1))
    before, started, worked = _asked_bytes(), time.perf_counter(), time.process_time()
    held = psutil.Process().memory_info().rss
    with dask.config.set(scheduler="synchronous"):
        WORKS[work](task)
    seconds, core_seconds = time.perf_counter() - started, time.process_time() - worked
    return Cost(
        seconds=seconds,
        core_seconds=core_seconds,
        read_bytes=_asked_bytes() - before,
        peak_bytes=_peak_bytes(),
        before_bytes=held,
    )


def _asked_bytes() -> int:
    """Bytes that this process has read from files, cached or not; 0 where the system does not count them."""
    counts = Path("/proc/self/io")
    return int(counts.read_text().split()[1]) if counts.exists() else 0


def _peak_bytes() -> int:
    """Most memory that this process has held. Not ``ru_maxrss``, which begins with what its parent held."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("VmHWM"))


def _in_process(work: str, task: Task) -> Cost:
    settings = [str(value) for value in (task.folder, task.side, task.dates, task.tile)]
    command = [sys.executable, __file__, "--work", work, "--task", *settings]
    environment = {**os.environ, **MALLOC_ENVIRONMENT}
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    return Cost(**json.loads(done.stdout.splitlines()[-1]))


def measure(task: Task, turns: int) -> dict[str, list[Cost]]:
    """Costs of each work, taking turns."""
    write_catalog(task)
    costs: dict[str, list[Cost]] = {work: [] for work in WORKS}
    for _ in range(turns):
        for work, found in costs.items():
            found.append(_in_process(work, task))
            print(f"{work}: {found[-1].seconds:.1f} s", flush=True)
    return costs


def measure_memory(folder: Path, *, tile: int, dates: Sequence[int], areas: Sequence[int]) -> list[Peak]:
    """Peaks of one tile over every number of ``dates``, then of ``areas`` (tiles a side) over the first."""
    peaks = []
    for side, numbers in ((1, dates), *((area, dates[:1]) for area in areas)):
        below = folder / f"{side}-tiles"
        below.mkdir()
        write_catalog(Task(folder=below, side=side * tile, dates=max(numbers), tile=tile))
        peaks += [_peak(Task(folder=below, side=side * tile, dates=number, tile=tile)) for number in numbers]
    return peaks


def _peak(task: Task) -> Peak:
    done = _in_process("cube ours", task)
    promised = tile_memory(task.tile**2 * (len(BANDS) * 2 + 1)) // THREADS_A_WORKER
    tiles = (task.side // task.tile) ** 2
    return Peak(dates=task.dates, tiles=tiles, promised=promised, measured=done.peak_bytes - done.before_bytes)


def report(costs: dict[str, list[Cost]]) -> str:
    """Medians as a table, and ours over odc-stac's."""
    lines = [f"{'':<10} {'s':>8} {'core s':>8} {'MB read':>8} {'MB peak':>8}"]
    for work, found in costs.items():
        seconds, cores, read, peak = (statistics.median(column) for column in zip(*map(_row, found), strict=True))
        lines.append(f"{work:<10} {seconds:>8.2f} {cores:>8.2f} {read / 1e6:>8.0f} {peak / 1e6:>8.0f}")
    for what in ("read", "cube"):
        pairs = [pair for pair in zip(costs[f"{what} ours"], costs[f"{what} odc"], strict=True)]
        ratio = statistics.median(ours.seconds / theirs.seconds for ours, theirs in pairs)
        cores = statistics.median(ours.core_seconds / theirs.core_seconds for ours, theirs in pairs)
        lines.append(f"{what}: ours takes {ratio:.2f} of odc-stac's time, {cores:.2f} of its core seconds")
    return "\n".join(lines)


def _row(cost: Cost) -> tuple[float, float, float, float]:
    return cost.seconds, cost.core_seconds, cost.read_bytes, cost.peak_bytes


def report_memory(peaks: Sequence[Peak]) -> str:
    """The peaks as a table."""
    lines = [f"{'dates':>7} {'tiles':>6} {'promised MB':>12} {'measured MB':>12}"]
    lines += [
        f"{peak.dates:>7} {peak.tiles:>6} {peak.promised / 1e6:>12.0f} {peak.measured / 1e6:>12.0f}" for peak in peaks
    ]
    lines.append(f"largest over smallest: {max(p.measured for p in peaks) / min(p.measured for p in peaks):.2f}")
    return "\n".join(lines)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--side", type=int, default=2048, help="pixels of 10 m a side of the area")
    parser.add_argument("--tile", type=int, default=1024, help="pixels a side of what is read and written at once")
    parser.add_argument("--dates", type=int, default=6)
    parser.add_argument("--memory-dates", type=int, nargs="*", default=[8, 16, 32], help="dates of a time shard")
    parser.add_argument("--memory-areas", type=int, nargs="*", default=[2, 4], help="tiles a side of larger areas")
    parser.add_argument("--work", choices=WORKS, help=argparse.SUPPRESS)
    parser.add_argument("--task", nargs=4, help=argparse.SUPPRESS)
    asked = parser.parse_args()
    if asked.work:
        folder, side, dates, tile = asked.task
        task = Task(folder=Path(folder), side=int(side), dates=int(dates), tile=int(tile))
        print(json.dumps(asdict(cost(asked.work, task))))
        return
    with tempfile.TemporaryDirectory() as folder:
        task = Task(folder=Path(folder), side=asked.side, dates=asked.dates, tile=asked.tile)
        if asked.turns:
            print(report(measure(task, asked.turns)))
        if asked.memory_dates:
            settings = {"tile": asked.tile, "dates": asked.memory_dates, "areas": asked.memory_areas}
            print(report_memory(measure_memory(Path(folder), **settings)))


if __name__ == "__main__":
    main()
