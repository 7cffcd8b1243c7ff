"""Scenes on the grid beside oracles that share no code with the reader: pyproj on pixel centres, and odc-stac."""

import re
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import odc.stac
import pyproj
import pytest
import xarray as xr
from affine import Affine
from rasterio.warp import transform_bounds

from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.timeseries import PixelClass
from landweave.sources.stac.series import StacSeries
from tests.helpers.scenes_on_disk import (
    as_pystac,
    coded,
    observations_of,
    optical_item,
    radar_item,
    write_scene,
)

LAMBERT, UTM30, UTM31 = "EPSG:2154", "EPSG:32630", "EPSG:32631"
ADDED = 1000
"""What baseline 05.00 adds to stored reflectance."""


def grid_at(x: int, y: int, width: int, height: int, *, resolution: int = 10, crs: str = LAMBERT) -> Grid:
    """Pixels north-east of a corner."""
    bounds = (x, y, x + width * resolution, y + height * resolution)
    return Grid.from_bounds(bounds, crs=crs, resolution=resolution)


def corner_for(grid: Grid, crs: str, margin: int = 200) -> tuple[float, float]:
    """A corner on whole 20 m, north-west of the grid."""
    bounds = transform_bounds(grid.crs, crs, *grid.bounds, densify_pts=21)
    return bounds[0] // 20 * 20 - margin, bounds[3] // 20 * 20 + margin


EDGE = 0.051
"""A little more than what a pixel may lie beyond the last measurement and still take its value."""


@dataclass(frozen=True)
class Oracle:
    """A plane and where its pixels lie."""

    plane: np.ndarray
    transform: Affine
    crs: str = UTM31

    def places(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Rows and columns, float, of the pixel centres of ``grid``; 0.5 is the centre of the first pixel."""
        x, y = np.meshgrid(grid.x, grid.y)
        x, y = pyproj.Transformer.from_crs(grid.crs, self.crs, always_xy=True).transform(x, y)
        return (y - self.transform.f) / self.transform.e, (x - self.transform.c) / self.transform.a

    def nearest(self, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
        """Values, 0 beyond the plane, and where they are beyond doubt: on no edge of two pixels, nor of a hole."""
        rows, columns = self.places(grid)
        values = self._at(np.floor(rows), np.floor(columns))
        sure = np.ones(grid.shape, bool)
        for place in (rows, columns):
            sure &= np.abs(place - np.rint(place)) > 1e-3
        for down in (-EDGE, EDGE):
            for across in (-EDGE, EDGE):
                beside = self._at(np.floor(rows + down), np.floor(columns + across))
                sure &= (beside != 0) == (values != 0)
        return values, sure

    def bilinear(self, grid: Grid) -> np.ndarray:
        """Values under the kernel, only of pixels that are not 0; 0 where the nearest is 0."""
        rows, columns = self.places(grid)
        top, left = np.floor(rows - 0.5), np.floor(columns - 0.5)
        total, weight = np.zeros(grid.shape), np.zeros(grid.shape)
        for down in (0, 1):
            for across in (0, 1):
                value = self._at(top + down, left + across)
                share = (1 - np.abs(top + down + 0.5 - rows)) * (1 - np.abs(left + across + 0.5 - columns))
                total += np.where(value != 0, value * share, 0)
                weight += np.where(value != 0, share, 0)
        measured = (self.nearest(grid)[0] != 0) & (weight > 0)
        return np.where(measured, total / np.where(weight > 0, weight, 1), 0)

    def _at(self, rows: np.ndarray, columns: np.ndarray) -> np.ndarray:
        height, width = self.plane.shape
        inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
        rows, columns = np.where(inside, rows, 0).astype(int), np.where(inside, columns, 0).astype(int)
        return np.where(inside, self.plane[rows, columns], 0)


@dataclass(frozen=True)
class Written:
    """A scene on disk, its item, and the oracle of each band."""

    item: dict[str, Any]
    oracles: dict[str, Oracle]


def write(
    folder: Path, planes: dict[str, np.ndarray], corner: tuple[float, float], crs: str = UTM31, **item: Any
) -> Written:
    files = write_scene(folder, planes, corner_xy=corner, crs=crs, nodata=0)
    make = radar_item if "VV" in planes else optical_item
    oracles = {band: Oracle(plane, files[band].transform, crs) for band, plane in planes.items()}
    return Written(make(files, **item), oracles)


def open_series(
    *items: dict[str, Any], grid: Grid, bands: tuple[str, ...] = ("B2", "B5"), **settings: Any
) -> StacSeries:
    observations = observations_of(items, (*bands, "SCL"))
    return StacSeries.open(observations, modality="SENTINEL2_TS", bands=bands, grid=grid, **settings)


def assert_reflectance(values: np.ndarray, oracle: Oracle, grid: Grid, kernel: str, offset: int = -ADDED) -> None:
    """Equal to one digital number on every pixel; nothing measured on the same ones."""
    if kernel == "nearest":
        expected, sure = oracle.nearest(grid)
    else:
        expected, sure = oracle.bilinear(grid), oracle.nearest(grid)[1]
    brought = np.where(expected != 0, np.clip(expected + offset, 1, 65535), 0)
    assert sure.mean() > 0.9
    limit = 0 if kernel == "nearest" else 1
    assert np.abs(values.astype(float) - brought)[sure].max() <= limit
    assert ((values == 0) == (expected == 0))[sure].all()


GRID = grid_at(700000, 6600000, 120, 100)


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """All of the grid and more, with holes in the fine band, the coarse one and the classes."""
    planes = {
        "B2": coded((200, 220), seed=1),
        "B5": coded((100, 110), seed=2),
        "SCL": np.random.default_rng(3).choice(np.arange(12, dtype=np.uint8), (100, 110)),
    }
    planes["B2"][60:70, 80:95] = 0
    planes["B5"][50:55, 60:64] = 0
    return write(tmp_path_factory.mktemp("scene"), planes, corner_for(GRID, UTM31))


@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
def test_every_pixel_is_where_pyproj_says(scene: Written, kernel: str) -> None:
    series = open_series(scene.item, grid=GRID, resampling=kernel)
    whole = series.read(GRID, ("B2", "B5"), (0,))
    classes, sure = scene.oracles["SCL"].nearest(GRID)
    held = np.isin(classes, range(2, 12))
    for oracle in scene.oracles.values():
        held &= oracle.nearest(GRID)[0] != 0
        sure &= oracle.nearest(GRID)[1]
    state = whole.pixel_class[0]
    expected = np.select([~held, classes == 3, np.isin(classes, (8, 9, 10)), classes == 11], [5, 4, 2, 3], 1)
    assert sure.mean() > 0.9
    np.testing.assert_array_equal(state[sure], expected[sure])
    for place, band in enumerate(("B2", "B5")):
        oracle = scene.oracles[band]
        seen = whole.values[0, place]
        assert (seen[held & sure] > 0).all()
        assert (seen[~held & sure] == 0).all()
        wanted = oracle.nearest(GRID)[0] if kernel == "nearest" else oracle.bilinear(GRID)
        away = np.abs(seen - np.clip(wanted - ADDED, 1, None))[held & sure]
        assert away.max() <= (0 if kernel == "nearest" else 1)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic"])
def test_any_two_extents_give_the_same_bits(scene: Written, kernel: str) -> None:
    series = open_series(scene.item, grid=GRID, resampling=kernel)
    whole = series.read(GRID, ("B2", "B5"), (0,))
    random = np.random.default_rng(11)
    for _ in range(6):
        (top, bottom), (left, right) = (sorted(random.choice(size, 2, replace=False)) for size in GRID.shape)
        y, x = GRID.extent.y.start, GRID.extent.x.start
        part = GRID.with_extent(Extent.of((y + top, y + bottom), (x + left, x + right)))
        read = series.read(part, ("B5", "B2"), (0, 0))
        cut = (slice(top, bottom), slice(left, right))
        for again in (0, 1):
            np.testing.assert_array_equal(read.values[again, ::-1], whole.values[0][:, *cut])
            np.testing.assert_array_equal(read.pixel_class[again], whole.pixel_class[0][cut])


def test_a_scene_of_coordinates_holds_no_half_pixel(tmp_path: Path) -> None:
    """Each pixel holds its easting, and bilinear gives the easting of any point: errors of a metre would show."""
    corner = corner_for(GRID, UTM31)
    columns, rows = np.arange(220), np.arange(200)
    east = np.broadcast_to(1000 + 20 * columns, (200, 220)).astype(np.uint16)
    north = np.broadcast_to((1000 + 20 * rows)[:, None], (200, 220)).astype(np.uint16)
    classes = np.full((100, 110), 4, np.uint8)
    written = write(tmp_path, {"B2": east, "B3": north, "SCL": classes}, corner, baseline="0300")
    series = open_series(written.item, grid=GRID, bands=("B2", "B3"))
    values = series.read(GRID, ("B2", "B3"), (0,)).values[0].astype(float)
    x, y = np.meshgrid(GRID.x, GRID.y)
    x, y = pyproj.Transformer.from_crs(LAMBERT, UTM31, always_xy=True).transform(x, y)
    # 20 digital numbers a pixel of 10 m: a number is half a metre, the rounding a quarter.
    assert np.abs((values[0] - 1000) / 2 - (x - corner[0] - 5)).max() < 0.26
    assert np.abs((values[1] - 1000) / 2 - (corner[1] - 5 - y)).max() < 0.26


def test_pixels_on_the_grid_are_copied(tmp_path: Path) -> None:
    """In its own CRS and on its own pixels a scene comes as it is, coarse bands between their neighbours."""
    grid = grid_at(500040, 4899000, 60, 50, crs=UTM31)
    planes = {"B2": coded((100, 120)), "B5": coded((50, 60)), "SCL": np.full((50, 60), 4, np.uint8)}
    written = write(tmp_path, planes, (500000, 4900000))
    read = open_series(written.item, grid=grid).read(grid, ("B2", "B5"), (0,))
    np.testing.assert_array_equal(read.values[0, 0] + ADDED, planes["B2"][50:100, 4:64])
    assert_reflectance(read.values[0, 1], written.oracles["B5"], grid, "bilinear")


def test_a_coarser_grid_takes_the_mean_of_what_it_covers(tmp_path: Path) -> None:
    """Stripes of one pixel in every four, which a pixel of 40 m would see wholly or never if it took the nearest."""
    grid = grid_at(500000, 4898000, 40, 40, resolution=40, crs=UTM31)
    plane = coded((220, 220), low=2000, high=2010)
    plane[:, ::4] = 9000
    planes = {"B2": plane, "SCL": np.full((110, 110), 4, np.uint8)}
    written = write(tmp_path, planes, (499800, 4899800))
    read = open_series(written.item, grid=grid, bands=("B2",)).read(grid, ("B2",), (0,)).values[0, 0]
    assert np.abs(read + ADDED - (9000 + 3 * 2005) / 4).max() < 10


def test_two_tiles_of_one_pass_in_two_zones(tmp_path: Path) -> None:
    """The first in order where it holds a value, the other beyond, each from its own zone; nothing averaged."""
    grid = grid_at(500000, 6600000, 100, 80)  # near 0 degrees east, where zones 30 and 31 meet
    corners = {crs: corner_for(grid, crs) for crs in (UTM30, UTM31)}
    scenes = {}
    for crs, tile, seed in ((UTM30, "30TYT", 1), (UTM31, "31TBN", 2)):
        planes = {"B2": coded((160, 200), seed=seed), "SCL": np.full((80, 100), 4 + seed, np.uint8)}
        if crs == UTM30:
            planes["B2"][:, 70:] = 0
            planes["SCL"][:, 35:] = 0
        else:
            planes["B2"][:, 20:40] = 0  # a hole where the first one holds
        scenes[crs] = write(tmp_path / tile, planes, corners[crs], crs, tile=tile)
    series = open_series(scenes[UTM31].item, scenes[UTM30].item, grid=grid, bands=("B2",))
    assert [len(entry.scenes) for entry in series.observation_scenes] == [2]
    read = series.read(grid, ("B2",), (0,))
    values = read.values[0, 0]
    first, second = (scenes[crs].oracles["B2"] for crs in (UTM30, UTM31))
    left, sure = first.nearest(grid)
    sure &= second.nearest(grid)[1]
    expected = np.where(left != 0, first.bilinear(grid), second.bilinear(grid)) - ADDED
    assert 0.1 < (left != 0).mean() < 0.9
    assert (expected > 0)[sure].all()
    assert (read.pixel_class[0][sure] == PixelClass.CLEAR).all()
    assert np.abs(values - expected)[sure].max() <= 1


def test_beyond_every_scene_nothing_was_acquired(tmp_path: Path) -> None:
    """A scene over half of the grid, itself half empty: three kinds of ground."""
    corner = corner_for(GRID, UTM31)
    planes = {"B2": coded((200, 130)), "SCL": np.full((100, 65), 4, np.uint8)}
    planes["B2"][:, 80:] = 0
    written = write(tmp_path, planes, corner)
    state = open_series(written.item, grid=GRID, bands=("B2",)).read(GRID, ("B2",), (0,)).pixel_class[0]
    oracle = written.oracles["B2"]
    rows, columns = oracle.places(GRID)
    inside = (columns >= 0) & (columns < 130) & (rows >= 0) & (rows < 200)
    values, sure = oracle.nearest(GRID)
    expected = np.where(values != 0, PixelClass.CLEAR, np.where(inside, PixelClass.NODATA, PixelClass.NOT_ACQUIRED))
    sure &= np.abs(columns - 130) > 0.1
    np.testing.assert_array_equal(state[sure], expected[sure])
    assert set(np.unique(state)) == {PixelClass.CLEAR, PixelClass.NODATA, PixelClass.NOT_ACQUIRED}


def test_offset_once_on_dark_water(tmp_path: Path) -> None:
    """Stored 1005 is reflectance 5, 995 is -5 and becomes 1; not 1005, not 65531, not 0."""
    corner = corner_for(GRID, UTM31)
    water = np.full((200, 220), 1005, np.uint16)
    water[70:] = 995
    written = write(tmp_path, {"B2": water, "SCL": np.full((100, 110), 6, np.uint8)}, corner)
    values = open_series(written.item, grid=GRID, bands=("B2",)).read(GRID, ("B2",), (0,)).values[0, 0]
    assert set(np.unique(values)) <= {1, 2, 3, 4, 5}
    assert (values == 5).mean() > 0.3
    assert (values == 1).mean() > 0.3


def test_radar_is_masked_before_it_is_resampled(tmp_path: Path) -> None:
    """NaN, the nodata tag, 0 and less never enter the kernel; decibels are taken of what was resampled."""
    corner = corner_for(GRID, UTM31)
    power = np.random.default_rng(5).gamma(4, 0.02, (200, 220)).astype(np.float32)
    holes = [(np.s_[50:60, 50:60], np.nan), (np.s_[70:80, 50:60], -32768), (np.s_[90:95, 60:70], 0)]
    clean = power.copy()
    for where, value in holes:
        power[where], clean[where] = value, 0
    written = write(tmp_path, {"VV": power, "VH": power * np.float32(0.2)}, corner)
    observations = observations_of([written.item], ("VV", "VH"))
    oracle = Oracle(clean, written.oracles["VV"].transform)
    expected, sure = oracle.bilinear(GRID), oracle.nearest(GRID)[1]
    series = StacSeries.open(observations, modality="SENTINEL1-ASC_TS", bands=("VV", "VH"), grid=GRID)
    read = series.read(GRID, ("VV",), (0,))
    assert (series.quantity, read.values.dtype, dict(series.cloud_mask)) == ("gamma0_rtc", np.float32, {})
    seen = read.values[0, 0]
    assert np.isfinite(seen).all()
    assert ((seen > 0) == (expected > 0))[sure].all()
    np.testing.assert_allclose(seen[sure], expected[sure], atol=2e-4 * clean.max())
    np.testing.assert_array_equal(read.pixel_class[0], np.where(seen > 0, PixelClass.CLEAR, PixelClass.NODATA))
    loud = StacSeries.open(observations, modality="SENTINEL1-ASC_TS", bands=("VV", "VH"), grid=GRID, decibels=True)
    decibels = loud.read(GRID, ("VV",), (0,))
    assert loud.quantity == "gamma0_rtc_db"
    np.testing.assert_array_equal(decibels.pixel_class, read.pixel_class)
    held = seen > 0
    np.testing.assert_allclose(decibels.values[0, 0][held], 10 * np.log10(seen[held]), rtol=1e-5)
    assert (decibels.values[0, 0][~held] == 0).all()


def test_a_bright_target_makes_no_power_of_nothing(tmp_path: Path) -> None:
    """The cubic kernel undershoots beside it; all that was measured stays positive, and finite in decibels."""
    power = np.full((200, 220), 0.001, np.float32)
    power[100, 110] = 50
    written = write(tmp_path, {"VV": power, "VH": power}, corner_for(GRID, UTM31))
    observations = observations_of([written.item], ("VV", "VH"))
    for decibels, lowest in ((False, 1e-6), (True, -60)):
        series = StacSeries.open(
            observations,
            modality="SENTINEL1-ASC_TS",
            bands=("VV", "VH"),
            grid=GRID,
            resampling="cubic",
            decibels=decibels,
        )
        read = series.read(GRID, ("VV",), (0,))
        assert (read.pixel_class == PixelClass.CLEAR).all()
        assert read.values.min() == pytest.approx(lowest)


def test_odc_stac_agrees(scene: Written) -> None:
    """GDAL's own warper and another library: where both hold a value, of 1000 pixels 999 have the same nearest one,
    and the same number to one digit under the kernel (GDAL's transformer is approximate)."""
    names = {"B02": "B2", "B05": "B5", "SCL": "SCL"}
    series = {kernel: open_series(scene.item, grid=GRID, resampling=kernel) for kernel in ("nearest", "bilinear")}
    for kernel, mine in series.items():
        theirs = odc.stac.load(
            as_pystac([scene.item]),
            bands=list(names),
            geobox=GRID.geobox,
            resampling={"*": kernel, "SCL": "nearest"},
            nodata=0,
            dtype="uint16",
            groupby="solar_day",
        )
        read = mine.read(GRID, ("B2", "B5"), (0,))
        for place, name in enumerate(("B02", "B05")):
            other, seen = theirs[name].values[0].astype(int), read.values[0, place].astype(int)
            both = (other != 0) & (seen != 0)
            away = np.abs(other[both] - ADDED - seen[both])
            assert both.mean() > 0.7
            assert (away <= (0 if kernel == "nearest" else 1)).mean() > 0.999
            assert (away == 0).mean() > 0.99


Shared = Callable[[str], Path]
SITE = "data/flanders/S2_L2A_{}m_00002806639B424A_32631_2017-08-01_2018-11-30.nc"


@pytest.mark.parametrize("kernel", ["nearest", "bilinear"])
def test_real_dates(shared: Shared, tmp_path: Path, kernel: str) -> None:
    """Every fifteenth date near Lille, from UTM onto Lambert-93: every band and class where pyproj puts it."""
    fine, coarse = (xr.open_dataset(shared(SITE.format(side)), mask_and_scale=False) for side in (10, 20))
    grid = grid_at(700000, 6600000, 1, 1)
    bounds = transform_bounds(UTM31, LAMBERT, 501360, 5629040, 502000, 5629680)
    grid = grid.with_extent(grid.covering(bounds).grow(3))
    bands = {"B2": fine["B02"], "B8": fine["B08"], "B5": coarse["B05"], "B12": coarse["B12"], "SCL": coarse["SCL"]}
    items, oracles = [], []
    for number in range(0, fine.sizes["timestamp"], 15):
        planes = {band: np.nan_to_num(cube[number].values).astype(np.uint16) for band, cube in bands.items()}
        day = str(fine["timestamp"].values[number])[:10].replace("-", "")
        written = write(tmp_path / day, planes, (501360, 5629680), day=day, tile="31UDS", baseline="0206")
        items.append(written.item)
        oracles.append(written.oracles)
    names = tuple(band for band in bands if band != "SCL")
    series = open_series(*items, grid=grid, bands=names, resampling=kernel)
    read = series.read(grid, names, range(len(items)))
    for values, state, known in zip(read.values, read.pixel_class, oracles, strict=True):
        classes, sure = known["SCL"].nearest(grid)
        held = np.logical_and.reduce([known[band].nearest(grid)[0] != 0 for band in names]) & (classes > 1)
        for band in bands:
            sure &= known[band].nearest(grid)[1]
        np.testing.assert_array_equal(np.isin(state, (1, 2, 3, 4))[sure], held[sure])
        np.testing.assert_array_equal((state == PixelClass.CLOUD)[sure], (held & np.isin(classes, (8, 9, 10)))[sure])
        for plane, band in zip(values, names, strict=True):
            wanted = known[band].nearest(grid)[0] if kernel == "nearest" else known[band].bilinear(grid)
            away = np.abs(plane - np.where(held, wanted, 0))[sure]
            assert away.max() <= (0 if kernel == "nearest" else 1)
    assert {PixelClass.CLEAR, PixelClass.CLOUD, PixelClass.NOT_ACQUIRED} <= set(np.unique(read.pixel_class))


@pytest.mark.slow
def test_the_benchmark_prints_its_ratios() -> None:
    script = Path(__file__).parents[3] / "benchmarks" / "align.py"
    small = ["--side", "128", "--tile", "128", "--dates", "2", "--turns", "1"]
    table = subprocess.run([sys.executable, str(script), *small], capture_output=True, text=True, check=True).stdout
    for what in ("read", "cube"):
        assert float(re.search(rf"{what}: ours takes (\S+) of odc-stac's time", table)[1]) > 0
    rows = [line.split() for line in table.splitlines() if re.match(r"(read|cube) (ours|odc) ", line)]
    assert len(rows) == 4
    assert all(float(number) > 0 for row in rows for number in row[3:])
