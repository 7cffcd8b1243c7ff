"""A map as COGs, beside GDAL's own COG driver: ``python benchmarks/publish.py`` (some minutes).

Both make COGs of classes and confidence with the same compression and their overviews by mode and average; GDAL from
one GeoTIFF of each, with all its threads, ours from the map in Zarr, dalle by dalle on two worker processes, with
styles and STAC items. They take turns, as machines are shared and noisy; the ratio of their seconds of CPU is what
counts. Starting workers is not counted.

Then the memory of one process that publishes 1 and more units of area: it must not grow with them.
"""

from __future__ import annotations

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import rasterio
import rasterio.shutil
from numpy.typing import NDArray

import landweave as lw
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent
from landweave.core.legend import LandClass, Legend
from landweave.core.protocols import BlockResult, BlockState
from landweave.engine.clusters import local_engine
from landweave.engine.inline import InlineEngine
from landweave.jobs.ledger import Ledger
from landweave.store.maps.store import create_map, create_map_ledger
from landweave.store.maps.template import MapTemplate
from landweave.store.objects import Target

CLASSES = 15
ORIGIN = (770_000 * 5, -6_278_000 * 5)
"""Column and row, of 0.2 m, of a kilometre corner."""

DALLE_M = 1000

LAYERS = {"landcover": "MODE", "confidence": "AVERAGE"}


def main() -> None:
    """Print the ratio of the two, and the memory of each area."""
    arguments = parse_arguments()
    if arguments.child:
        folder, side = Path(arguments.child), arguments.side
        print(json.dumps(published_alone(folder, side, arguments.unit // 10)))
        return
    with tempfile.TemporaryDirectory(prefix="landweave-publish-") as name:
        if arguments.turns:
            compare(Path(name), arguments.side, arguments.turns)
        memory(Path(name), arguments.unit, arguments.areas)


def parse_arguments() -> argparse.Namespace:
    """Sizes, from the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--side", type=int, default=16384, help="pixels a side of the map")
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--unit", type=int, default=4096, help="pixels a side of one unit of area")
    parser.add_argument("--areas", type=int, nargs="*", default=[1, 4], help="units a side")
    parser.add_argument("--child", help=argparse.SUPPRESS)
    return parser.parse_args()


def make_map(place: Path, side: int) -> None:
    """A finished map of patches of all sizes, as land is; a fiftieth of its pixels are specks."""
    block = min(4096, -(-side // 512) * 512)
    extent = Extent.of((ORIGIN[1], ORIGIN[1] + side), (ORIGIN[0], ORIGIN[0] + side))
    blocks = Blocks.covering(extent, block)
    colors = [f"#{8 * code:02x}{255 - 8 * code:02x}80" for code in range(CLASSES)]
    classes = tuple(LandClass(code=code, name=f"class {code}", color=color) for code, color in enumerate(colors))
    grid = Grid(crs="EPSG:2154", resolution=Fraction(1, 5), extent=blocks.extent)
    template = MapTemplate(grid=grid, blocks=blocks, legend=Legend(name="made", classes=classes), mapped=extent)
    store = create_map(Target.parse(place), template)
    ledger = Ledger(blocks.shape, store.arrays)
    for number, index in enumerate(blocks):
        objects = store.write(index, pixels_of(block, number))
        ledger.mark(index, BlockResult(state=BlockState.DONE, objects=objects))
    ledger.flush(create_map_ledger(store))


def pixels_of(side: int, seed: int) -> dict[str, NDArray[np.uint8]]:
    """Classes and confidence of one block."""
    rng = np.random.default_rng(seed)
    values = np.zeros((side, side), np.uint8)
    for size, share in ((256, 1.0), (64, 0.3), (16, 0.1)):
        cells = rng.integers(0, CLASSES, (-(-side // size),) * 2).astype(np.uint8)
        shown = rng.random(cells.shape) < share
        patch = np.ones((size, size), np.uint8)
        np.copyto(values, np.kron(cells, patch)[:side, :side], where=np.kron(shown, patch)[:side, :side] > 0)
    specks = rng.random(values.shape) < 0.02
    values[specks] = rng.integers(0, CLASSES, specks.sum())
    near = np.kron(rng.integers(120, 235, (-(-side // 8),) * 2), np.ones((8, 8)))[:side, :side]
    return {"landcover": values, "confidence": (near + rng.integers(0, 16, values.shape)).astype(np.uint8)}


def compare(folder: Path, side: int, turns: int) -> None:
    """Seconds of both, turn by turn, and the median of their ratios."""
    make_map(folder / "map.zarr", side)
    for layer in LAYERS:
        write_plain(folder, layer)
    from benchmark_data import machine  # with torch, which the process that is measured has not

    ratios = []
    print(f"{machine()}\n{side} x {side} pixels, classes and confidence; seconds of CPU (seconds)")
    with local_engine(workers=2, torch_threads=1) as engine:
        for turn in range(turns):
            to = folder / f"out{turn}"
            publish = partial(lw.publish, folder / "map.zarr", to, engine=engine, progress=False, dalle_m=DALLE_M)
            ours = Cost.of(publish)
            gdal = Cost.of(lambda: [write_cog(folder, layer) for layer in LAYERS])
            ratios.append((gdal.cpu / ours.cpu, gdal.seconds / ours.seconds))
            print(f"turn {turn}: ours {ours}, GDAL {gdal}", flush=True)
    cpu, wall = (statistics.median(each) for each in zip(*ratios, strict=True))
    print(f"ours is {cpu:.2f} times as fast as GDAL's COG driver, by CPU; {wall:.2f} times by the clock")


@dataclass(frozen=True, kw_only=True)
class Cost:
    """Seconds of CPU, and by the clock."""

    cpu: float
    seconds: float

    @classmethod
    def of(cls, work: Callable[[], Any]) -> Cost:
        """What some work takes, in all processes."""
        started = time.perf_counter(), cpu_seconds()
        work()
        return cls(seconds=time.perf_counter() - started[0], cpu=cpu_seconds() - started[1])

    def __str__(self) -> str:
        return f"{self.cpu:.1f} ({self.seconds:.1f})"


def cpu_seconds() -> float:
    """Seconds of CPU that this process and those that it started have used: what a shared machine changes least."""
    own = psutil.Process()
    times = [each.cpu_times() for each in (own, *own.children(recursive=True))]
    return float(sum(each.user + each.system for each in times))


def write_plain(folder: Path, layer: str) -> None:
    """A layer of the map as one tiled GeoTIFF, for GDAL."""
    array = lw.open_map(folder / "map.zarr")[layer]
    height, width = array.shape
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 1, "nodata": 255, "tiled": True, "crs": "EPSG:2154"}
    profile |= {"height": height, "width": width, "transform": array.rio.transform(), "compress": "deflate"}
    with rasterio.open(folder / f"{layer}.tif", "w", **profile) as file:
        for top in range(0, height, 512):
            rows = array[top : top + 512].values
            file.write(rows, 1, window=rasterio.windows.Window(0, top, width, len(rows)))


def write_cog(folder: Path, layer: str) -> None:
    """A layer by ``gdal_translate -of COG``."""
    options = {"COMPRESS": "DEFLATE", "LEVEL": "6", "BLOCKSIZE": "512", "NUM_THREADS": "ALL_CPUS", "BIGTIFF": "YES"}
    resampling = {"OVERVIEW_RESAMPLING": LAYERS[layer]}
    plain, written = (str(folder / f"{name}.tif") for name in (layer, "gdal"))
    rasterio.shutil.copy(plain, written, driver="COG", **resampling, **options)


def published_alone(folder: Path, side: int, dalle_m: int) -> dict[str, float]:
    """Publish in this process, half a unit a dalle: its highest memory in MiB, and the seconds it took."""
    started = time.perf_counter()
    place = folder / f"map{side}.zarr"
    lw.publish(place, folder / f"out{side}", engine=InlineEngine(), progress=False, dalle_m=dalle_m)
    # Not getrusage: what it says includes the peak of the process that started this one.
    peak = next(line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return {"seconds": time.perf_counter() - started, "peak_mib": int(peak.split()[1]) / 1024}


def memory(folder: Path, unit: int, areas: list[int]) -> None:
    """A line for each area: units, peak memory of a process of its own, seconds."""
    print("units  peak MiB  seconds")
    for area in areas:
        make_map(folder / f"map{unit * area}.zarr", unit * area)
        command = [sys.executable, __file__, "--child", str(folder), "--side", str(unit * area), "--unit", str(unit)]
        found = json.loads(subprocess.run(command, capture_output=True, text=True, check=True).stdout)
        print(f"{area**2:5d}  {found['peak_mib']:8.0f}  {found['seconds']:7.1f}")


if __name__ == "__main__":
    main()
