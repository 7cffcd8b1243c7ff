"""Polygons and hectares of a map against `rasterio.features` on the same pixels, and their memory by area.

    python benchmarks/zones.py --side 16384 --memory-sides 4096 8192 16384

Both sides are given the pixels in memory, one thread. Polygons: `rasterio.features.shapes` of each dalle, as geometries
in a GeoDataFrame, against `map_polygons`. Hectares: `rasterio.features.rasterize` of a partition and `numpy.bincount`
over zone and class, of pixels and of confidence, against `Zones.count`. They take turns; seconds are those of CPU,
which a shared machine changes least. Memory: the peak of a process of its own that measures and publishes a stored map
of that many pixels a side.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import rasterio.features
import shapely
from scipy import ndimage

import landweave as lw
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent
from landweave.core.legend import LandClass, Legend
from landweave.core.protocols import BlockResult, BlockState
from landweave.core.zonal import CODES, Zones
from landweave.engine.inline import InlineEngine
from landweave.formats.polygons import map_polygons
from landweave.jobs.ledger import Ledger
from landweave.store.maps.store import create_map, create_map_ledger
from landweave.store.maps.template import MapTemplate
from landweave.store.objects import Target

LEGEND = Legend(name="made", classes=tuple(LandClass(code=i, name=f"class {i}", color="#808080") for i in range(12)))
TILE = 2048
CORNER = (-32_768_000, 3_584_000)
"""First row and column from the anchor: whole blocks begin there."""


@dataclass(frozen=True, kw_only=True)
class Pixels:
    """A made map: patches of a hundred to a thousand pixels, as land cover at 0.2 m has, repeated and mirrored."""

    grid: Grid
    classes: np.ndarray
    confidence: np.ndarray

    @classmethod
    def of(cls, side: int) -> Pixels:
        """The map of ``side`` x ``side`` pixels."""
        rng = np.random.default_rng(0)
        fields = [ndimage.gaussian_filter(rng.normal(size=(TILE, TILE)).astype(np.float32), 12) for _ in LEGEND.classes]
        tile = np.argmax(fields, axis=0).astype(np.uint8)
        twice = np.block([[tile, tile[:, ::-1]], [tile[::-1], tile[::-1, ::-1]]])
        classes = np.tile(twice, (-(-side // len(twice)),) * 2)[:side, :side].copy()
        confidence = rng.integers(80, 251, (TILE, TILE)).astype(np.uint8)
        confidence = np.tile(confidence, (-(-side // TILE),) * 2)[:side, :side].copy()
        top, left = CORNER
        extent = Extent.of((top, top + side), (left, left + side))
        grid = Grid(crs="EPSG:2154", resolution=Fraction(1, 5), extent=extent)
        return cls(grid=grid, classes=classes, confidence=confidence)


def some_zones(grid: Grid, count: int) -> np.ndarray:
    """A partition of the map in cells with outlines of ten metres, as communes have."""
    x0, y0, x1, y1 = grid.bounds
    points = np.random.default_rng(1).uniform((x0, y0), (x1, y1), (count, 2))
    cells = shapely.get_parts(
        shapely.voronoi_polygons(shapely.multipoints(points), extend_to=shapely.box(*grid.bounds))
    )
    return shapely.segmentize(cells, 10)


def compare(name: str, ours: Callable[[], Any], theirs: Callable[[], Any], turns: int) -> None:
    """Print seconds of CPU of both, the medians of some turns."""
    taken: list[list[float]] = [[], []]
    for _ in range(turns):
        for work, seconds in zip((ours, theirs), taken, strict=True):
            started = time.process_time()
            work()
            seconds.append(time.process_time() - started)
    here, there = map(statistics.median, taken)
    print(f"{name}: {here:.2f} s, rasterio.features {there:.2f} s: {there / here:.2f} times as fast", flush=True)


def parts(pixels: Pixels, size: int) -> list[Extent]:
    """Squares of ``size`` pixels, fewer at the edges."""
    blocks = Blocks.covering(pixels.grid.extent, size)
    return [blocks[index].intersect(pixels.grid.extent) for index in blocks]


def our_polygons(pixels: Pixels, dalle: int) -> int:
    """Polygons of each dalle by this package: their number."""
    found = 0
    for extent in parts(pixels, dalle):
        here = extent.slices_in(pixels.grid.extent)
        grid = pixels.grid.with_extent(extent)
        found += len(map_polygons(grid, pixels.classes[here], pixels.confidence[here], LEGEND))
    return found


def their_polygons(pixels: Pixels, dalle: int) -> int:
    """Polygons of each dalle by rasterio, without confidence: their number."""
    found = 0
    for extent in parts(pixels, dalle):
        here = extent.slices_in(pixels.grid.extent)
        transform = pixels.grid.with_extent(extent).transform
        shapes = rasterio.features.shapes(pixels.classes[here], connectivity=4, transform=transform)
        rows = [(shapely.geometry.shape(shape), int(code)) for shape, code in shapes]
        frame = geopandas.GeoDataFrame({"class": [code for _, code in rows]}, geometry=[shape for shape, _ in rows])
        found += len(frame)
    return found


def our_hectares(pixels: Pixels, cells: np.ndarray) -> np.ndarray:
    """Pixels by zone and class by this package."""
    zones, total = Zones(cells), np.zeros((len(cells), CODES), int)
    for extent in parts(pixels, 4096):
        here = extent.slices_in(pixels.grid.extent)
        counts = zones.count(pixels.grid.with_extent(extent), pixels.classes[here], pixels.confidence[here])
        total[counts.zones] += counts.pixels
    return total


def their_hectares(pixels: Pixels, cells: np.ndarray) -> np.ndarray:
    """Pixels by zone and class by rasterio and numpy, for zones that do not overlap."""
    total = np.zeros((len(cells) + 1) * CODES, int)
    confidence = np.zeros((len(cells) + 1) * CODES)
    for extent in parts(pixels, 4096):
        here = extent.slices_in(pixels.grid.extent)
        transform, classes = pixels.grid.with_extent(extent).transform, pixels.classes[here]
        numbered = ((cell, number) for number, cell in enumerate(cells, 1))
        ids = rasterio.features.rasterize(numbered, classes.shape, transform=transform, dtype=np.int32)
        key = (ids * CODES + classes).ravel()
        total += np.bincount(key, minlength=total.size)
        confidence += np.bincount(key, weights=pixels.confidence[here].ravel(), minlength=total.size)
    return total.reshape(-1, CODES)[1:]


def write_map(pixels: Pixels, path: Path) -> None:
    """The map in a store, complete."""
    blocks = Blocks.covering(pixels.grid.extent, 1024)
    grid = pixels.grid.with_extent(blocks.extent)
    template = MapTemplate(grid=grid, blocks=blocks, legend=LEGEND, chunk=512, attributes={"title": "Made"})
    store = create_map(Target.parse(path), template)
    ledger = Ledger(blocks.shape, store.arrays)
    whole = {"landcover": pixels.classes, "confidence": pixels.confidence}
    for index in blocks:
        here = blocks[index].slices_in(grid.extent)
        objects = store.write(index, {name: values[here] for name, values in whole.items()})
        ledger.mark(index, BlockResult(state=BlockState.DONE, objects=objects))
    ledger.flush(create_map_ledger(store))


def peak_mb() -> float:
    """Peak memory of this process: what `resource` gives begins with that of the process it was made of."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measure(folder: Path) -> None:
    """In a process of its own: hectares of a stored map, then its polygons by dalle; prints the peak of each in MB."""
    lw.area_by_class(folder / "map.zarr", str(folder / "zones.gpkg"))
    peaks = [peak_mb()]
    zones = {"file": str(folder / "zones.gpkg")}
    settings = {"polygons": True, "zones": zones, "confidence": False, "dalle_m": 200}
    lw.publish(folder / "map.zarr", folder / "out", engine=InlineEngine(), progress=False, **settings)
    peaks.append(peak_mb())
    print(*(f"{peak:.0f}" for peak in peaks))


def memory(side: int) -> tuple[float, float]:
    """Peak memory in MB of hectares, and of a publication, of a map of ``side`` pixels a side."""
    with tempfile.TemporaryDirectory() as place:
        folder, pixels = Path(place), Pixels.of(side)
        write_map(pixels, folder / "map.zarr")
        cells = geopandas.GeoDataFrame(geometry=some_zones(pixels.grid, 30), crs=pixels.grid.crs)
        cells.to_file(folder / "zones.gpkg")
        command = [sys.executable, __file__, "--measure", place]
        printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()
    return float(printed[-2]), float(printed[-1])


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--side", type=int, default=4096, help="pixels a side")
    parser.add_argument("--dalle", type=int, default=5000, help="pixels a side of a dalle")
    parser.add_argument("--zones", type=int, default=300)
    parser.add_argument("--turns", type=int, default=3)
    parser.add_argument("--memory-sides", type=int, nargs="*", default=[])
    parser.add_argument("--measure", type=Path)
    chosen = parser.parse_args()
    if chosen.measure:
        measure(chosen.measure)
        return
    if chosen.turns:
        compare_all(chosen)
    for side in chosen.memory_sides:
        hectares, publication = memory(side)
        print(f"memory at {side} px a side: hectares {hectares:.0f} MB, publication {publication:.0f} MB", flush=True)


def compare_all(chosen: argparse.Namespace) -> None:
    """Hectares and polygons of both."""
    pixels = Pixels.of(chosen.side)
    cells = some_zones(pixels.grid, chosen.zones)
    assert (our_hectares(pixels, cells) == their_hectares(pixels, cells)).all()
    from benchmark_data import machine  # with torch, which the process that is measured has not

    print(f"{machine()}\n{chosen.side} x {chosen.side} pixels, {chosen.zones} zones; seconds of CPU")
    compare("hectares", lambda: our_hectares(pixels, cells), lambda: their_hectares(pixels, cells), chosen.turns)
    compare(
        "polygons",
        lambda: our_polygons(pixels, chosen.dalle),
        lambda: their_polygons(pixels, chosen.dalle),
        chosen.turns,
    )


if __name__ == "__main__":
    main()
