"""What files say beside their items: nodata, scale and offset; by rasterio and numpy."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio
import xarray as xr

import landweave as lw
from landweave.core.errors import InputError, ReadError
from landweave.core.grid import Grid
from landweave.core.timeseries import PixelClass
from landweave.sources.stac.search import StacQuery, search
from landweave.sources.stac.series import StacSeries
from tests.helpers.cog_server import serving
from tests.helpers.scenes_on_disk import SceneFile, coded, optical_item, radar_item, write_scene
from tests.helpers.stac_items import Item, write_items

UTM = "EPSG:32631"
SHAPE, CORNER = (120, 100), (500000.0, 4900000.0)
GRID = Grid.from_bounds((500000, 4898800, 501000, 4900000), crs=UTM, resolution=10)
BOX = (2.9, 44.2, 3.1, 44.3)
PROBABILITY = {"source": "probability", "cloud_max": 1, "snow_max": 1}


def optical_planes(hole: float, where: slice = slice(30, 50)) -> dict[str, np.ndarray]:
    planes = {"B2": coded(SHAPE), "B8": coded(SHAPE, seed=1), "SCL": np.full((60, 50), 4, np.uint16)}
    planes["B2"][where, 20:40] = hole
    return planes


def series_of(tmp_path: Path, item: Item, modality: str = "SENTINEL2_TS", **settings: Any) -> StacSeries:
    radar = modality.startswith("SENTINEL1")
    mask = settings.pop("cloud_mask", {"source": "scl"})
    query = StacQuery(
        catalog=write_items(tmp_path / "items.json", item),
        modality=modality,
        bands=("VV", "VH") if radar else ("B2", "B8"),
        cloud_source=mask["source"],
        **settings,
    )
    found = search(query, BOX)
    return StacSeries.open(
        found, modality=modality, bands=query.bands, grid=GRID, cloud_mask=mask, resampling="nearest"
    )


def with_tags(files: dict[str, SceneFile], scale: float, offset: float, *bands: str) -> None:
    for band in bands or files:
        with rasterio.open(files[band].path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
            dataset.scales, dataset.offsets = (scale,), (offset,)


@pytest.mark.parametrize(
    ("tag", "stated", "holes"),
    [
        (65535, None, {65535}),
        (None, 65535, {65535}),
        (65535, 65535, {65535}),
        (65535, 0, {65535}),
        (65535, 7, {65535, 7}),
        (7, 65535, {65535, 7}),
        (None, None, set()),
        (float("nan"), 7, {7}),
    ],
)
def test_law_the_nodata_of_the_file_and_that_of_the_item_both_count(
    tmp_path: Path, tag: float | None, stated: float | None, holes: set[int]
) -> None:
    """In the aligned read, in the lazy stack and in `open_series` alike, whichever is missing or another."""
    planes = optical_planes(65535)
    planes["B2"][60:70, 5:9] = 7
    tag = None if tag != tag else tag
    item = optical_item(write_scene(tmp_path / "a", planes, corner_xy=CORNER, nodata=tag), baseline="0301")
    for key in ("B02", "B08"):
        item["assets"][key]["raster:bands"] = [{"nodata": stated}]
    series = series_of(tmp_path, item)
    read = series.read(GRID, ("B2", "B8"), (0,))
    hole = np.isin(planes["B2"], list(holes))
    np.testing.assert_array_equal(read.pixel_class[0] == PixelClass.NODATA, hole)
    np.testing.assert_array_equal(read.values[0, 0], np.where(hole, 0, planes["B2"]))
    np.testing.assert_array_equal(read.values[0, 1], np.where(hole, 0, planes["B8"]))
    lazy = lw.open_series(
        [item], "SENTINEL2_TS", crs=UTM, resolution=10, bounds=GRID.bounds, bands=("B2", "B8"), resampling="nearest"
    ).compute()
    np.testing.assert_array_equal(lazy.pixel_class[0], read.pixel_class[0])
    for values in (lazy, series.stack().compute()):
        measured = (values[0] != 0).all("band").values
        np.testing.assert_array_equal(xr.where(measured, values[0], 0).transpose("band", "y", "x"), read.values[0])
    differ = any("both count" in note for note in series.notes)
    assert differ == (None not in (tag, stated) and tag != stated)


@pytest.mark.parametrize(("tag", "stated"), [(9999, None), (None, 9999), (9999, -32768), (-32768, 9999)])
def test_law_a_positive_nodata_of_radar_is_no_power(tmp_path: Path, tag: float | None, stated: float | None) -> None:
    power = np.random.default_rng(1).gamma(4, 0.02, SHAPE).astype(np.float32)
    holed = power.copy()
    holed[30:50, 20:40] = 9999
    files = write_scene(tmp_path / "a", {"VV": holed, "VH": power / 4}, corner_xy=CORNER, nodata=tag)
    item = radar_item(files)
    for asset in item["assets"].values():
        asset["raster:bands"] = [{"nodata": stated}]
    read = series_of(tmp_path, item, "SENTINEL1-ASC_TS").read(GRID, ("VV", "VH"), (0,))
    hole = holed == 9999
    np.testing.assert_array_equal(read.pixel_class[0] == PixelClass.NODATA, hole)
    np.testing.assert_array_equal(read.values[0, 0], np.where(hole, 0, power))


@pytest.mark.parametrize("code", [255, 256, 260, 65535, 12])
@pytest.mark.parametrize("side", [1, 2])
def test_what_is_no_scene_class_is_no_measurement(tmp_path: Path, code: int, side: int) -> None:
    """260 is not 4 in fewer bits, whether the classes lie on pixels of the bands or on their own."""
    planes = optical_planes(1500)
    planes["SCL"] = np.full((120 // side, 100 // side), 4, np.uint16)
    planes["SCL"][20:40, 10:20] = code
    files = write_scene(tmp_path / "a", planes, corner_xy=CORNER, nodata=None)
    if side == 1:
        fine = write_scene(tmp_path / "b", {"B2": planes["SCL"]}, corner_xy=CORNER, nodata=65535)
        files["SCL"] = fine["B2"]
    read = series_of(tmp_path, optical_item(files, baseline="0301")).read(GRID, ("B2", "B8"), (0,))
    expected = np.where(planes["SCL"] == code, PixelClass.NODATA, PixelClass.CLEAR).repeat(side, 0).repeat(side, 1)
    np.testing.assert_array_equal(read.pixel_class[0], expected)


@pytest.mark.parametrize("none", [255, 101, float("nan"), -1])
@pytest.mark.parametrize("name", ["CLOUD", "SNOW"])
def test_what_is_no_probability_is_no_measurement_and_not_clear(tmp_path: Path, none: float, name: str) -> None:
    planes = optical_planes(1500) | {"CLOUD": np.zeros((60, 50), np.float32), "SNOW": np.zeros((60, 50), np.float32)}
    planes[name][20:40, 10:20] = none
    item = optical_item(write_scene(tmp_path / "a", planes, corner_xy=CORNER, nodata=None), baseline="0301")
    series = series_of(tmp_path, item, cloud_mask=PROBABILITY)
    assert any(f"stores {name} in floats: 0 to 100 are read" in note for note in series.notes)
    read = series.read(GRID, ("B2",), (0,))
    expected = np.full(SHAPE, PixelClass.CLEAR)
    expected[40:80, 20:40] = PixelClass.NODATA
    np.testing.assert_array_equal(read.pixel_class[0], expected)


def test_a_probability_of_0_that_its_file_and_item_call_nodata_is_clear(tmp_path: Path) -> None:
    planes = optical_planes(1500) | {"CLOUD": np.zeros((60, 50), np.uint8), "SNOW": np.zeros((60, 50), np.uint8)}
    item = optical_item(write_scene(tmp_path / "a", planes, corner_xy=CORNER, nodata=0), baseline="0301")
    item["assets"]["CLOUD"]["raster:bands"] = [{"nodata": 0}]
    read = series_of(tmp_path, item, cloud_mask=PROBABILITY).read(GRID, ("B2",), (0,))
    assert (read.pixel_class == PixelClass.CLEAR).all()


def test_a_scale_of_probabilities_is_not_guessed(tmp_path: Path) -> None:
    planes = optical_planes(1500) | {"CLOUD": np.zeros((60, 50), np.uint8), "SNOW": np.zeros((60, 50), np.uint8)}
    files = write_scene(tmp_path / "a", planes, corner_xy=CORNER)
    item = optical_item(files, baseline="0301")
    item["assets"]["CLOUD"]["raster:bands"] = [{"scale": 0.01}]
    with pytest.raises(InputError, match=r"states a scale of 0\.01 for CLOUD: probabilities of 0 to 100"):
        series_of(tmp_path, item, cloud_mask=PROBABILITY)
    with_tags(files, 0.01, 0, "SNOW")
    with pytest.raises(InputError, match=r"states scale 0\.01 and offset 0 in the file of SNOW"):
        series_of(tmp_path, optical_item(files, baseline="0301"), cloud_mask=PROBABILITY)


def nameless(item: Item) -> Item:
    """Without any word of its baseline."""
    item["id"] = "scene"
    item["properties"] = {"datetime": item["properties"]["datetime"], "sat:relative_orbit": 51, "platform": "s2a"}
    return item


@pytest.mark.parametrize(
    ("tags", "baseline", "stated", "offset"),
    [
        ((0.0001, -0.1), None, None, -1000),
        ((1, -1000), None, None, -1000),
        ((0.0001, -0.1), "0500", None, -1000),
        ((0.0001, -0.1), "0500", (0.0001, -0.1), -1000),
        ((0.0001, 0), "0500", None, -1000),
        ((0.0001, 0), "0301", None, 0),
        ((0.0001, 0), "0500", (0.0001, 0), 0),
        ((1, 0), "0500", (0.0001, -0.1), -1000),
    ],
)
def test_law_scale_and_offset_are_decided_by_item_baseline_and_file(
    tmp_path: Path, tags: tuple[float, float], baseline: str | None, stated: Any, offset: float
) -> None:
    planes = optical_planes(1500)
    files = write_scene(tmp_path / "a", planes, corner_xy=CORNER)
    with_tags(files, *tags, "B2", "B8")
    item = optical_item(files, baseline=baseline or "0500")
    item = item if baseline else nameless(item)
    for key in ("B02", "B08"):
        item["assets"][key] |= {"raster:bands": [{"scale": stated[0], "offset": stated[1]}]} if stated else {}
    read = series_of(tmp_path, item).read(GRID, ("B2",), (0,))
    np.testing.assert_array_equal(read.values[0, 0], planes["B2"].astype(int) + offset)


CONTRADICTIONS: list[tuple[tuple[float, float], str, Any, Callable[[Item], None], str]] = [
    ((0.0001, -0.1), "0301", None, lambda _: None, "states an offset of -1000, and its baseline 03.01 has none"),
    ((0.0001, -0.1), "0500", (0.0001, 0), lambda _: None, "comes to an offset of 0 .* states -1000"),
    ((0.0002, 0), "0500", (0.0001, -0.1), lambda _: None, "comes to a scale of 0.0001, and .* states 0.0002"),
    ((1, -0.1), "0500", None, lambda _: None, "states an offset of -0.1 where 0 or -1000 is known"),
    (
        (0.0001, -0.1),
        "0500",
        None,
        lambda item: item["properties"].update({"earthsearch:boa_offset_applied": True}),
        "comes to an offset of 0 .* states -1000",
    ),
]


@pytest.mark.parametrize(("tags", "baseline", "stated", "change", "reason"), CONTRADICTIONS)
def test_a_file_that_contradicts_its_item_drops_it_with_the_reason(
    tmp_path: Path, tags: tuple[float, float], baseline: str, stated: Any, change: Callable[[Item], None], reason: str
) -> None:
    files = write_scene(tmp_path / "a", optical_planes(1500), corner_xy=CORNER)
    with_tags(files, *tags, "B2")
    item = optical_item(files, baseline=baseline)
    for key in ("B02", "B08"):
        item["assets"][key] |= {"raster:bands": [{"scale": stated[0], "offset": stated[1]}]} if stated else {}
    change(item)
    with pytest.raises(InputError, match=reason):
        series_of(tmp_path, item)


def test_a_band_that_its_file_or_another_band_claims_drops_the_item(tmp_path: Path) -> None:
    """Catalogs that a script made: two bands in one place, and a file under another band's key."""
    files = write_scene(tmp_path / "a", optical_planes(1500), corner_xy=CORNER)
    item = optical_item(files)
    assets = item["assets"]
    with pytest.raises(InputError, match=r"has one picture for B2 and B8: B2\.tif"):
        series_of(tmp_path, {**item, "assets": {**assets, "B08": assets["B02"]}})
    signed = {"href": "https://127.0.0.1:9/S2.tif?token=canary"}
    with pytest.raises(InputError, match=r"has one picture for B2 and B8: S2\.tif") as error:
        series_of(tmp_path, {**item, "assets": {**assets, **{key: assets[key] | signed for key in ("B02", "B08")}}})
    assert "canary" not in str(error.value)
    with rasterio.open(files["B8"].path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        dataset.descriptions = ("B08, near infrared",)
    series_of(tmp_path, item)
    for numbered in ("B1", "B01", "B0", "B00"):
        with rasterio.open(files["B2"].path, "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
            dataset.descriptions = (numbered,)
        series_of(tmp_path, item)
    with pytest.raises(InputError, match=r"takes B2 from band 1 of the file of B2 \(B8\.tif\), which calls it B8"):
        series_of(tmp_path, {**item, "assets": {**assets, "B02": assets["B08"], "B08": assets["B02"]}})


def test_bands_of_one_item_with_two_offsets_drop_it(tmp_path: Path) -> None:
    item = optical_item(write_scene(tmp_path / "a", optical_planes(1500), corner_xy=CORNER))
    item["assets"]["B02"]["raster:bands"] = [{"scale": 0.0001, "offset": 0}]
    with pytest.raises(InputError, match="has bands with an offset of -1000 and of 0"):
        series_of(tmp_path, item)


def test_scene_classes_that_were_interpolated_fail_their_read(tmp_path: Path) -> None:
    planes = optical_planes(1500) | {"SCL": np.full((60, 50), 4, np.float32)}
    planes["SCL"][7, 9] = 5.5
    item = optical_item(write_scene(tmp_path / "a", planes, corner_xy=CORNER, nodata=None))
    with pytest.raises(ReadError, match=r"holds the scene class 5\.5: classes that were interpolated are others"):
        series_of(tmp_path, item).read(GRID, ("B2",), (0,))


def test_a_contradiction_of_a_file_on_the_web_fails_its_read(tmp_path: Path) -> None:
    """Nobody asks a server for every file of a search: its first read does."""
    files = write_scene(tmp_path / "a", optical_planes(1500), corner_xy=CORNER)
    with_tags(files, 0.0001, -0.1, "B2")
    item = optical_item(files, baseline="0301")
    with serving(tmp_path / "a") as server:
        item["assets"]["B02"]["href"] = f"{server.address}/B2.tif"
        series = series_of(tmp_path, item)
        with pytest.raises(ReadError, match=r"comes to an offset of 0 .*B2.tif\) states -1000\. Leave it out by skip"):
            series.read(GRID, ("B2",), (0,))


def test_reflectance_as_a_fraction_is_not_taken_for_10000_times_it(tmp_path: Path) -> None:
    planes = {name: (plane / 10_000).astype(np.float32) for name, plane in optical_planes(1500).items()}
    files = write_scene(tmp_path / "a", planes | {"SCL": np.full((60, 50), 4, np.uint8)}, corner_xy=CORNER)
    item = optical_item(files, baseline="0301")
    with pytest.raises(InputError, match=r"stores float32 without a scale in the file of B2 \(B2.tif\)"):
        series_of(tmp_path, item)
    for key in ("B02", "B08"):
        item["assets"][key]["raster:bands"] = [{"scale": 0.0001, "data_type": "uint16"}]
    with pytest.raises(InputError, match="stores float32 without a scale in the file of B2"):
        series_of(tmp_path, item)


@pytest.mark.parametrize(("stated", "expected"), [(None, 0.001), (0.001, 0.001)])
def test_the_scale_of_a_radar_file_counts_where_its_item_states_none(
    tmp_path: Path, stated: float | None, expected: float
) -> None:
    power = np.random.default_rng(1).gamma(4, 20, SHAPE).astype(np.float32)
    files = write_scene(tmp_path / "a", {"VV": power, "VH": power / 4}, corner_xy=CORNER, nodata=0)
    with_tags(files, 0.001, 0)
    item = radar_item(files)
    for asset in item["assets"].values():
        asset["raster:bands"] = [{"scale": stated}]
    read = series_of(tmp_path, item, "SENTINEL1-ASC_TS").read(GRID, ("VV",), (0,))
    np.testing.assert_allclose(read.values[0, 0], power * np.float32(expected), rtol=1e-6)
    with serving(tmp_path / "a") as server:
        for name, asset in item["assets"].items():
            asset["href"] = f"{server.address}/{name.upper()}.tif"
        there = series_of(tmp_path, item, "SENTINEL1-ASC_TS").read(GRID, ("VV",), (0,))
    np.testing.assert_array_equal(there.values, read.values)


def test_a_radar_file_of_another_scale_than_its_item_is_dropped(tmp_path: Path) -> None:
    power = np.full(SHAPE, 50, np.float32)
    files = write_scene(tmp_path / "a", {"VV": power, "VH": power / 4}, corner_xy=CORNER, nodata=0)
    with_tags(files, 0.001, 0)
    item = radar_item(files)
    item["assets"]["vv"]["raster:bands"] = [{"scale": 0.01}]
    with pytest.raises(InputError, match=r"states scale 0\.01 and offset 0 for VV, and the file of VV .* 0\.001 and 0"):
        series_of(tmp_path, item, "SENTINEL1-ASC_TS")
