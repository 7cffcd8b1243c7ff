from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr

from landweave.core.errors import InputError, ReadError
from landweave.sources.arrays import open_arrays
from landweave.store.cubes.views import open_cube
from landweave.store.objects import Target
from tests.store.cubes.cube_samples import DAYS, TILE, Spoilt, align, raster, series


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Seven dates, the oldest of which arrived last, and a raster: to be read only."""
    target = Target.parse(tmp_path_factory.mktemp("whole") / "cube.zarr")
    align(target, series(DAYS[:4]), raster())
    align(target, series(DAYS))
    return target


@pytest.fixture(scope="module")
def source():
    return series(DAYS)


@pytest.mark.parametrize("chunks", [None, {}])
def test_dates_ascend_and_pixels_are_those_of_the_source(whole, source, chunks):
    tree = open_cube(whole.location, chunks=chunks)
    assert isinstance(tree, xr.DataTree)
    assert set(tree.children) == {"SENTINEL2_TS", "SPOT_RGBI"}
    found = tree["SENTINEL2_TS"].dataset
    assert found.indexes["time"].is_monotonic_increasing
    assert found["band_data"].dims == ("time", "band", "y", "x")
    np.testing.assert_array_equal(found["band_data"], source.values)
    np.testing.assert_array_equal(found["pixel_class"], source.pixel_class)
    np.testing.assert_array_equal(tree["SPOT_RGBI"]["valid"], raster().valid)
    assert found["band_data"].dtype == np.uint16
    assert (found["band_data"].chunks is None) == (chunks is None)
    if chunks is not None:
        assert found["band_data"].data.chunksize == (1, 3, TILE, TILE)


@pytest.mark.parametrize(
    "pick",
    [
        {"time": 0},
        {"time": slice(None, None, -2), "y": slice(60, 3, -7)},
        {"time": [6, 0, 0], "band": [2, 0], "x": [70, 3, 4]},
        {"time": slice(5, 6), "band": 1, "y": 40, "x": slice(20, 44)},
        {"time": slice(3, 3)},
    ],
    ids=str,
)
def test_any_pick_is_that_of_the_array(whole, source, pick):
    found = open_cube(whole)["SENTINEL2_TS"].dataset
    plain = xr.DataArray(source.values, dims=("time", "band", "y", "x"))
    np.testing.assert_array_equal(found["band_data"].isel(pick), plain.isel(pick))
    states = {name: part for name, part in pick.items() if name != "band"}
    np.testing.assert_array_equal(
        found["pixel_class"].isel(states), xr.DataArray(source.pixel_class, dims=("time", "y", "x")).isel(states)
    )


def test_what_is_known_of_a_date_stands_beside_it(whole):
    found = open_cube(whole)["SENTINEL2_TS"].dataset
    first = found.sel(time="2021-03-02").squeeze()
    assert first.datatake_id.item() == "2021-03-02_R008"
    assert first.scenes.item() == "S2_31TFJ_2021-03-02 S2_31TFK_2021-03-02"
    assert (first.baseline.item(), first.orbit.item()) == ("04.00", "8")
    assert found["band_data"].sel(band="B8A", time="2022").sizes["time"] == 2
    assert found["pixel_class"].attrs["flag_meanings"].split()[:2] == ["not_acquired", "clear"]


def test_rioxarray_sees_the_place(whole, source):
    tree = open_cube(whole)
    for name, grid in (("SENTINEL2_TS", source.grid), ("SPOT_RGBI", raster().grid)):
        found = tree[name].dataset
        for each in (found, found["band_data"]):
            assert each.rio.crs.to_epsg() == 2154
            assert tuple(each.rio.transform()) == pytest.approx(tuple(grid.transform), abs=1e-8)
        np.testing.assert_array_equal(found.x, grid.x)
        np.testing.assert_array_equal(found.y, grid.y)
    last = tree["SENTINEL2_TS"].dataset["band_data"].isel(time=-1)
    assert last.rio.bounds() == pytest.approx(source.grid.bounds, abs=1e-8)


def test_opening_reads_no_pixel(target):
    align(target, series(DAYS[:1]))
    for name in target.list("SENTINEL2_TS"):
        if "/band_data/c/" in name or "/pixel_class/c/" in name:
            target.put(name, b"damaged")
    tree = open_cube(target, chunks={})
    assert "band_data" in repr(tree)
    with pytest.raises(ReadError):
        tree["SENTINEL2_TS"]["band_data"][0].load()


def test_a_tile_that_failed_is_not_shown_as_nothing(target):
    whole = series(DAYS[:3])
    align(target, Spoilt.of(whole, (whole.observations[1].datatake_id, 1)))
    values = open_cube(target)["SENTINEL2_TS"]["band_data"]
    np.testing.assert_array_equal(values[..., :TILE], whole.values[..., :TILE])
    with pytest.raises(ReadError, match="not aligned"):
        values.load()


def test_a_cube_that_grew_is_seen_when_it_is_opened_again(target):
    source, more = series(DAYS[:2]), series((*DAYS[:2], DAYS[6]))
    align(target, source)
    opened = open_cube(target)["SENTINEL2_TS"].dataset
    align(target, more)
    np.testing.assert_array_equal(opened["band_data"], source.values)
    assert open_cube(target)["SENTINEL2_TS"].sizes["time"] == 3


def test_no_cube(target):
    with pytest.raises(InputError, match="There is no cube"):
        open_cube(target)


def test_a_group_gives_its_exact_grid_and_cloud_mask(tmp_path):
    """Coordinates are floats: an anchor that is no multiple of the pixel cannot be told from them."""
    moved = replace(series(), grid=replace(series().grid, anchor_xy=(Fraction("700000.1"), Fraction("6600000.05"))))
    target = Target.parse(tmp_path / "cube.zarr")
    align(target, moved)
    opened = open_arrays("SENTINEL2_TS", open_cube(target)["SENTINEL2_TS"].to_dataset())
    assert opened.grid.anchor_xy == moved.grid.anchor_xy
    assert opened.grid.resolution == moved.grid.resolution
    assert dict(opened.cloud_mask) == moved.cloud_mask
