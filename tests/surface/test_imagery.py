"""Mosaics and series opened without a configuration have the pixels that blocks read, loaded where looked at."""

import json
import pickle
import warnings
from types import SimpleNamespace

import numpy as np
import pystac
import pytest
import rasterio
import xarray as xr

from landweave.api import predict
from landweave.config.load import load_config
from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Grid
from landweave.core.timeseries import PixelClass
from landweave.setup.map_setup import set_up_map
from landweave.sources.arrays import grid_of, open_arrays
from landweave.sources.mosaic.source import MosaicSource
from landweave.surface.mosaic import open_mosaic
from landweave.surface.predict import predict_arrays
from landweave.surface.series import open_series
from tests.helpers.scenes_on_disk import radar_item, write_scene
from tests.helpers.small import Small
from tests.helpers.small_series import AREA, CRS, SmallSeries
from tests.helpers.tiles import write_tile

BANDS = {"R": 1, "G": 2, "B": 3}


@pytest.fixture(scope="module")
def small(tmp_path_factory) -> Small:
    return Small.make(tmp_path_factory.mktemp("small"))


@pytest.fixture
def reads(monkeypatch):
    """Grids that are read."""
    found = []
    original = MosaicSource.read
    monkeypatch.setattr(
        MosaicSource, "read", lambda self, grid, bands: found.append(grid) or original(self, grid, bands)
    )
    return found


def test_tiles_are_one_array_on_their_own_grid(small, reads):
    ortho = open_mosaic(small.folder / "rgb", BANDS, modality="AERIAL_RGBI")
    assert (ortho.name, ortho.dims, ortho.dtype) == ("AERIAL_RGBI", ("band", "y", "x"), np.uint8)
    assert ortho.band.values.tolist() == ["R", "G", "B"]
    assert ortho.rio.crs.to_epsg() == 2154
    assert ortho.rio.bounds() == pytest.approx(small.scene.bounds)
    assert grid_of(ortho).extent == small.extent
    assert "valid" in repr(ortho)
    assert not reads
    part = ortho.isel(band=[2, 0], y=slice(160, 181, 5), x=[3, 1, 199])
    np.testing.assert_array_equal(part, small.scene.values[[2, 0], 160:181:5][..., [3, 1, 199]])
    assert [grid.shape for grid in reads] == [(21, 199)]
    np.testing.assert_array_equal(ortho[1, 4], small.scene.values[1, 4])
    assert ortho.valid.all()


def test_bands_have_the_names_of_their_file(small, tmp_path):
    assert open_mosaic(small.folder / "rgb").band.values.tolist() == ["1", "2", "3"]
    ortho = open_mosaic(str(small.folder / "rgb/*.tif"), {"R": 1, "NIR": (small.folder / "irc", 1)})
    np.testing.assert_array_equal(ortho, small.scene.values[[0, 3]])
    named = ortho.load().drop_vars("valid")
    named.attrs["long_name"] = ("red", "near infrared")
    named.rio.to_raster(tmp_path / "named.tif")
    assert open_mosaic([tmp_path / "named.tif"]).band.values.tolist() == ["red", "near infrared"]


def test_chunks_make_dask_arrays(small, reads):
    ortho = open_mosaic(small.folder / "rgb", BANDS, chunks={"y": 100, "x": 200})
    assert ortho.chunks == ((3,), (100, 100, 100), (200, 200, 30))
    assert not reads
    np.testing.assert_array_equal(ortho[:, 250:, 10:20], small.scene.values[:3, 250:, 10:20])
    assert reads
    assert pickle.loads(pickle.dumps(ortho)).shape == ortho.shape


def test_a_grid_may_be_named_or_copied(small):
    x0, y0, _, _ = small.scene.bounds
    box = (x0 + 4, y0 + 4, x0 + 20, y0 + 12)
    coarse = open_mosaic(small.folder / "rgb", BANDS, crs="EPSG:2154", resolution=0.4, bounds=box)
    assert grid_of(coarse) == Grid.from_bounds(box, crs="EPSG:2154", resolution=0.4)
    like = open_mosaic(small.folder / "irc", {"NIR": 1}, like=coarse)
    np.testing.assert_array_equal(like.x, coarse.x)
    np.testing.assert_array_equal(like.y, coarse.y)
    assert open_mosaic(small.folder / "rgb", BANDS, bounds=box).sizes["x"] in (80, 81)
    assert open_mosaic(small.folder / "rgb", BANDS, crs="EPSG:3857", resolution=1).rio.crs.to_epsg() == 3857
    with pytest.raises(ConfigError, match="like, or crs"):
        open_mosaic(small.folder / "rgb", BANDS, like=coarse, crs="EPSG:2154")


def test_what_is_odd_of_the_files_is_warned_of_where_they_are_opened(tmp_path):
    """Nothing else would say it: there is no check."""
    ones = np.ones((1, 20, 20), np.uint8)
    for name in ("a_2019.tif", "b_2021.tif"):
        write_tile(tmp_path / name, ones, corner_xy=(700000, 6600000))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", UserWarning)
        open_mosaic(tmp_path / "a_2019.tif", {"R": 1, "NIR": (tmp_path / "b_2021.tif", 1)}, nodata=-9999)
    caught = [each for each in caught if each.category is UserWarning]
    told = [str(each.message) for each in caught]
    assert sum("bands of different dates are one tile" in text for text in told) == 1
    assert any("nodata -9999 (setting) cannot occur in uint8" in text for text in told)
    assert {each.filename for each in caught} == {__file__}


def test_tiles_without_a_crs_take_the_one_that_is_named(tmp_path):
    ones = np.ones((1, 20, 20), np.uint8)
    path = write_tile(tmp_path / "a.tif", ones, corner_xy=(700000, 6600000), crs=None)
    with pytest.raises(InputError, match=r"no usable CRS: set `tiles_crs`"):
        open_mosaic(path, {"R": 1}, crs="EPSG:2154", resolution=0.2)
    with pytest.warns(UserWarning, match="take EPSG:2154 from the setting"):
        found = open_mosaic(path, {"R": 1}, tiles_crs="EPSG:2154")
    assert found.rio.crs.to_epsg() == 2154
    np.testing.assert_array_equal(found, ones)


def test_a_scale_that_is_stated_wins_over_the_tags(tmp_path):
    path = write_tile(tmp_path / "a.tif", np.full((1, 20, 20), 7, np.int16), corner_xy=(700000, 6600000))
    with rasterio.open(path, "r+") as opened:
        opened.scales = (0.0,)
    with pytest.raises(InputError, match="state scale instead"):
        open_mosaic(path, {"DSM": 1})
    found = open_mosaic(path, {"DSM": 1}, scale=0.5, offset=1)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, np.full((1, 20, 20), 4.5))


def test_ground_without_tiles_is_zero_and_not_valid(small):
    x0, y0, x1, y1 = small.scene.bounds
    wide = open_mosaic(small.folder / "rgb", BANDS, bounds=(x0 - 2, y0, x1, y1))
    assert (wide[..., :10] == 0).all()
    np.testing.assert_array_equal(wide.valid.sum("x"), 430)


def test_of_floats_what_is_not_measured_is_nan(tmp_path):
    values = np.arange(12, dtype=np.float32).reshape(1, 3, 4)
    values[0, 1, 2] = -9999
    write_tile(tmp_path / "dsm.tif", values, corner_xy=(700000, 6600000), nodata=-9999)
    surface = open_mosaic(tmp_path / "dsm.tif", {"DSM": 1})
    assert np.isnan(surface.rio.nodata)
    assert "valid" not in surface.coords
    np.testing.assert_array_equal(surface - surface, np.where(values < 0, np.nan, 0))


def test_its_map_is_that_of_a_run(small):
    ortho = open_mosaic(small.folder / "rgb", {**BANDS, "NIR": (small.folder / "irc", 1)}, modality="AERIAL_RGBI")
    config = small.loaded()
    job = set_up_map(config).job
    (name,) = job.inputs
    names = dict(zip(ortho.band.values.tolist(), job.inputs[name].bands, strict=True))
    ortho = ortho.assign_coords(band=[names[band] for band in ortho.band.values.tolist()])
    found = predict_arrays({name: ortho}, small.card, weights=small.weights, year=None)
    assert grid_of(found).extent == small.extent
    wanted = predict(config)
    part = {"y": slice(100, 160), "x": slice(150, 210)}
    expected = wanted.sel(x=found.x[part["x"]], y=found.y[part["y"]])
    for layer in ("landcover", "confidence"):
        np.testing.assert_array_equal(found[layer].isel(part).values, expected[layer].values)


@pytest.fixture(scope="module")
def series(tmp_path_factory) -> SmallSeries:
    return SmallSeries.make(tmp_path_factory.mktemp("series"))


GROUND = {"crs": CRS, "resolution": 10.24, "bounds": AREA}


def test_scenes_of_a_catalog_are_one_lazy_array(series):
    scenes = open_series(series.folder / "summer.json", "SENTINEL2_TS", bands=["B4", "B8"], **GROUND)
    assert (scenes.dims, scenes.dtype) == (("time", "band", "y", "x"), np.uint16)
    assert scenes.band.values.tolist() == ["B4", "B8"]
    assert scenes.sizes["time"] == 3
    assert scenes.chunks is not None
    assert scenes.rio.crs.to_epsg() == 32631
    assert grid_of(scenes) == Grid.from_bounds(AREA, crs=CRS, resolution=10.24)
    assert (scenes.pixel_class == PixelClass.CLEAR).all()
    assert scenes.attrs["quantity"] == "reflectance"
    assert (
        open_series(
            series.folder / "all.json", "SENTINEL2_TS", bands=["B4"], dates="2022-01-01/2022-12-31", **GROUND
        ).sizes["time"]
        == 1
    )


@pytest.mark.parametrize("chunks", [16, {"x": 16, "band": 1}])
def test_chunks_are_given_as_xarray_takes_them(series, chunks):
    found = open_series(series.folder / "summer.json", "SENTINEL2_TS", bands=["B4"], chunks=chunks, **GROUND)
    assert max(found.chunks[3]) == max(found.pixel_class.chunks[2]) == 16


def test_items_in_memory_do_too(series):
    content = json.loads((series.folder / "summer.json").read_text())
    dicts = content["features"] if isinstance(content, dict) else content
    items = [pystac.Item.from_dict(item) for item in dicts]
    wanted = open_series(series.folder / "summer.json", "SENTINEL2_TS", bands=["B4"], **GROUND)
    searched = SimpleNamespace(items_as_dicts=lambda: iter(dicts))  # as pystac_client.ItemSearch
    for given in (dicts, items, pystac.ItemCollection(items), searched):
        found = open_series(given, "SENTINEL2_TS", bands=["B4"], like=wanted)
        xr.testing.assert_identical(found.load(), wanted.load())
    with pytest.raises(InputError, match="None of 3 items can be used for SENTINEL1-ASC_TS"):
        open_series(dicts, "SENTINEL1-ASC_TS", like=wanted)
    with pytest.raises(ConfigError, match="SENTINEL2_TS needs a grid: give like"):
        open_series(dicts, "SENTINEL2_TS")


def test_items_that_cannot_be_used_are_named_beside_the_others(series):
    good = json.loads((series.folder / "summer.json").read_text())["features"][0]
    bad = [
        7,
        None,
        {"id": "odd", "properties": 3},
        {**good, "id": "when", "properties": {**good["properties"], "datetime": "x"}},
    ]
    scenes = open_series([*bad, good], "SENTINEL2_TS", bands=["B4"], **GROUND)
    assert scenes.sizes["time"] == 1
    for reason in ("has no properties: 7, None, odd", "has the datetime 'x', which is no time: when"):
        assert reason in scenes.attrs["notes"]


def test_decibels_are_made_power_where_a_keyword_says_so(tmp_path):
    power = np.random.default_rng(2).gamma(4, 0.02, (64, 64)).astype(np.float32)
    corner = (AREA[0] - 10.24, AREA[3] + 10.24)
    files = write_scene(tmp_path, {"VV": 10 * np.log10(power)}, corner_xy=corner, crs=CRS, nodata=-99)
    item = radar_item(files)
    item["assets"]["vv"]["raster:bands"] = [{"unit": "dB"}]
    asked = {"bands": ["VV"], "crs": CRS, "resolution": 10, "resampling": "nearest"}
    bounds = (corner[0], corner[1] - 640, corner[0] + 640, corner[1])
    with pytest.raises(InputError, match=r"stores VV in decibels.*stored_as: decibels"):
        open_series([item], "SENTINEL1-ASC_TS", bounds=bounds, **asked)
    scenes = open_series([item], "SENTINEL1-ASC_TS", bounds=bounds, stored_as="decibels", **asked)
    assert scenes.attrs["quantity"] == "gamma0_rtc"
    assert float(scenes.mean()) == pytest.approx(power.mean(), rel=0.05)


def test_scenes_have_the_pixels_that_blocks_read(series, tmp_path):
    config = load_config(series.write(tmp_path / "small.yaml"))
    (item,) = set_up_map(config).job.inputs.values()
    grid = Grid.from_bounds(AREA, crs=CRS, resolution=10.24)
    wanted = item.source.read(grid, ("B8", "B4"), (0, 2))
    scenes = open_series(series.folder / "summer.json", "SENTINEL2_TS", bands=["B4", "B8"], **GROUND)
    dataset = scenes.to_dataset(name="band_data")
    found = open_arrays("SENTINEL2_TS", dataset).read(grid, ("B8", "B4"), (0, 2))
    np.testing.assert_array_equal(found.values, wanted.values)
    np.testing.assert_array_equal(found.pixel_class, wanted.pixel_class)


def test_radar_has_a_quantity_and_no_clouds(series):
    scenes = open_series(series.folder / "radar.json", "SENTINEL1-ASC_TS", **GROUND)
    assert scenes.dtype == np.float32
    assert scenes.attrs["quantity"] == "gamma0_rtc"
    assert float(scenes.sel(band="VV").mean()) == pytest.approx(0.1)
    assert set(np.unique(scenes.pixel_class)) == {PixelClass.CLEAR}


def test_classes_with_a_palette_are_opened_as_numbers_by_nearest_alone(tmp_path):
    write_tile(tmp_path / "classes.tif", np.arange(64, dtype=np.uint8).reshape(1, 8, 8), corner_xy=(0, 0))
    with rasterio.open(tmp_path / "classes.tif", "r+") as dataset:
        dataset.write_colormap(1, {number: (number, 0, 9, 255) for number in range(256)})
    opened = open_mosaic(tmp_path / "classes.tif", {"class": 1}, resampling="nearest")
    np.testing.assert_array_equal(opened.values[0].ravel(), np.arange(64))
    with pytest.raises(InputError, match="numbers are entries of a palette"):
        open_mosaic(tmp_path / "classes.tif", {"class": 1})


def test_tags_of_scale_are_applied(tmp_path):
    path = write_tile(tmp_path / "dsm.tif", np.arange(64, dtype=np.int16).reshape(1, 8, 8), corner_xy=(0, 0))
    with rasterio.open(path, "r+") as dataset:
        dataset.scales, dataset.offsets, dataset.nodata = (0.1,), (50,), 63
    heights = open_mosaic(path, {"DSM": 1})
    assert heights.dtype == np.float32
    np.testing.assert_allclose(heights.values[0].ravel(), [*(np.arange(63) / 10 + 50), np.nan], rtol=1e-6)
