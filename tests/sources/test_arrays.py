"""Xarray objects as sources: exact grids from coordinates, and pixels that mean what tiles and catalogs mean."""

import json
import pickle
from fractions import Fraction

import numpy as np
import pytest
import xarray as xr

from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.timeseries import PixelClass
from landweave.sources.arrays import XarrayRaster, XarraySeries, grid_of, open_arrays


def grid(resolution="1/5", anchor=(0, 0), shape=(6, 9), start=(-33_000_007, 3_500_011)) -> Grid:
    extent = Extent.of((start[0], start[0] + shape[0]), (start[1], start[1] + shape[1]))
    anchor_xy = (Fraction(anchor[0]), Fraction(anchor[1]))
    return Grid(crs="EPSG:2154", resolution=Fraction(resolution), extent=extent, anchor_xy=anchor_xy)


def raster(on: Grid, values=None, **variables) -> xr.Dataset:
    values = np.arange(1, 1 + 2 * on.extent.size, dtype=np.uint16).reshape(2, *on.shape) if values is None else values
    dataset = xr.Dataset(
        {"band_data": (("band", "y", "x"), values), **variables},
        coords={"band": ["R", "G"], "y": on.y, "x": on.x},
    )
    return dataset.rio.write_crs(on.crs)


def series(on: Grid, values, times, **variables) -> xr.Dataset:
    dataset = xr.Dataset(
        {"band_data": (("time", "band", "y", "x"), values), **variables},
        coords={"time": np.array(times, "M8[ns]"), "band": ["B4"], "y": on.y, "x": on.x},
    )
    return dataset.rio.write_crs(on.crs)


@pytest.mark.parametrize("resolution", ["1/5", "256/25", "1/3", "5/2", "1", "0.15"])
@pytest.mark.parametrize("shape", [(6, 9), (2, 1), (1, 2), (3000, 2)])
def test_the_grid_is_exact(resolution, shape):
    on = grid(resolution, shape=shape, start=(-650_007, 70_011))
    dataset = xr.Dataset(coords={"y": on.y, "x": on.x}).rio.write_crs(on.crs)
    assert grid_of(dataset) == on


@pytest.mark.parametrize("anchor", [("0.1", "0.05"), ("1/8", "3/16")])
def test_an_anchor_is_found_within_a_pixel_of_the_origin(anchor):
    on = grid(anchor=anchor)
    assert grid_of(raster(on)) == on


def test_a_far_anchor_is_kept_where_it_is_stated():
    on = grid(anchor=("700000.1", "6600000.05"), start=(4, 5))
    derived = grid_of(raster(on))
    assert derived.bounds == pytest.approx(on.bounds)
    assert derived != on
    stated = {"crs": on.crs, "resolution": "1/5", "anchor_xy": ["700000.1", "6600000.05"]}
    assert grid_of(raster(on).assign_attrs(grid=stated)) == on
    part = raster(on).assign_attrs(grid=json.dumps(stated)).isel(x=slice(3, 6), y=2)
    assert grid_of(part) == on.with_extent(Extent.of((6, 7), (8, 11)))
    moved = raster(on).assign_attrs(grid=stated).assign_coords(x=on.x + 0.1)
    assert grid_of(moved).bounds[0] == pytest.approx(on.bounds[0] + 0.1)


def test_a_single_pixel_has_the_size_of_its_transform():
    on = grid()
    dataset = raster(on).rio.write_transform(on.transform)
    assert grid_of(dataset.isel(x=4, y=2)).resolution == Fraction(1, 5)
    with pytest.raises(InputError, match="single pixel of unknown size"):
        grid_of(raster(on).isel(x=4, y=2))


def test_degrees_and_two_sides_are_refused():
    on = grid()
    with pytest.raises(ConfigError, match="degree"):
        grid_of(raster(on).rio.write_crs("EPSG:4326"))
    with pytest.raises(InputError, match=r"0\.2 m along y and 0\.4 m along x"):
        grid_of(raster(on).isel(x=slice(None, None, 2)))


def test_one_crs_has_one_name_and_nonsense_is_refused():
    on = grid()
    assert grid_of(raster(on).rio.write_crs("EPSG:9794")) == on
    with pytest.raises(ConfigError, match="its datum is 'Unknown"):
        grid_of(raster(on).rio.write_crs("+proj=utm +zone=31 +ellps=GRS80"))
    garbled = raster(on)
    garbled["spatial_ref"].attrs = {"crs_wkt": "PROJCS[nonsense", "spatial_ref": "PROJCS[nonsense"}
    with pytest.raises(InputError, match=r"CRS"):
        grid_of(garbled)


def test_pixels_are_read_over_any_extent_and_band():
    on = grid()
    dataset = raster(on)
    source = open_arrays("AERIAL_RGBI", dataset)
    assert isinstance(source, XarrayRaster)
    assert (source.bands, source.dtype, source.bounds(on)) == (("R", "G"), np.uint16, on.bounds)
    wide = on.with_extent(on.extent.grow(2))
    found = pickle.loads(pickle.dumps(source)).read(wide, ("G", "R"))
    np.testing.assert_array_equal(found.values[:, 2:-2, 2:-2], dataset.band_data.values[::-1])
    assert found.valid[2:-2, 2:-2].all()
    assert found.valid.sum() == on.extent.size
    assert not found.values[:, :2].any()
    away = on.with_extent(Extent.of((0, 3), (0, 4)))
    assert not source.read(away, ("R",)).valid.any()
    with pytest.raises(ConfigError, match="has no band"):
        source.read(on, ("B",))
    turned = dataset.transpose("x", "band", "y")
    np.testing.assert_array_equal(open_arrays("A", turned).read(on, ("R",)).values, dataset.band_data.values[:1])
    one = open_arrays("A", dataset.isel(band=1, y=3).chunk())
    np.testing.assert_array_equal(one.read(on, ("G",)).values[0, 3], dataset.band_data.values[1, 3])


def test_valid_wins_over_nodata_and_nan_is_never_valid():
    on = grid(shape=(2, 2))
    values = np.array([[[0, 0], [5, np.nan]], [[0, 7], [5, 5]]], np.float32)
    whole = raster(on, values)
    np.testing.assert_array_equal(open_arrays("A", whole).read(on, ("R", "G")).valid, [[True, True], [True, False]])
    tagged = whole.copy()
    tagged.band_data.attrs["nodata"] = 0
    np.testing.assert_array_equal(open_arrays("A", tagged).read(on, ("R", "G")).valid, [[False, True], [True, False]])
    masked = tagged.assign(valid=(("y", "x"), np.array([[True, False], [True, True]])))
    found = open_arrays("A", masked).read(on, ("R", "G"))
    np.testing.assert_array_equal(found.valid, [[True, False], [True, False]])
    assert not np.isnan(found.values).any()
    with pytest.raises(InputError, match="valid of A is float32: it has to be bool"):
        open_arrays("A", tagged.assign(valid=whole.band_data[0]))


def test_dates_ascend_and_scenes_of_one_acquisition_are_one_date():
    on = grid(shape=(1, 3))
    values = np.arange(1, 13, dtype=np.uint16).reshape(4, 1, 1, 3)
    clear, cloud, none, nodata = PixelClass.CLEAR, PixelClass.CLOUD, PixelClass.NOT_ACQUIRED, PixelClass.NODATA
    states = np.array([[[clear, none, none]], [[cloud, clear, nodata]], [[clear] * 3], [[clear] * 3]], np.uint8)
    dataset = series(
        on,
        values,
        ["2021-06-01T10", "2021-06-01T10:00:10", "2021-03-01", "2021-05-01"],
        pixel_class=(("time", "y", "x"), states),
    ).assign_coords(datatake_id=("time", ["june", "june", "march", "may"]))
    source = open_arrays("SENTINEL2_TS", dataset)
    assert isinstance(source, XarraySeries)
    assert [each.datatake_id for each in source.observations] == ["march", "may", "june"]
    assert str(source.observations[2].time) == "2021-06-01T10:00:00"
    found = source.read(on, ("B4",), (2, 0))
    np.testing.assert_array_equal(found.values[:, 0, 0], [[1, 5, 0], [7, 8, 9]])
    np.testing.assert_array_equal(found.pixel_class[:, 0], [[clear, clear, nodata], [clear] * 3])
    unnamed = dataset.drop_vars("datatake_id").assign_coords(time=dataset.time.values[[0, 0, 2, 3]])
    alone = open_arrays("SENTINEL2_TS", unnamed)
    assert len({each.datatake_id for each in alone.observations}) == 4


def test_radar_without_classes_is_clear_where_it_measured():
    on = grid(shape=(1, 3))
    values = np.array([0.5, 0, np.nan], np.float32).reshape(1, 1, 1, 3)
    dataset = series(on, values, ["2021-06-01"])
    with pytest.raises(InputError, match=r"SENTINEL1-ASC_TS does not say what it measures: .*sigma0"):
        open_arrays("SENTINEL1-ASC_TS", dataset)
    dataset.band_data.attrs["quantity"] = "sigma0"
    source = open_arrays("SENTINEL1-ASC_TS", dataset)
    assert (source.quantity, source.cloud_mask) == ("sigma0", {})
    found = source.read(on, ("B4",), (0,))
    np.testing.assert_array_equal(found.values.ravel(), [0.5, 0, 0])
    np.testing.assert_array_equal(found.pixel_class.ravel(), [PixelClass.CLEAR, 0, 0])


def test_radar_without_classes_heeds_nodata():
    on = grid(shape=(1, 3))
    dataset = series(on, np.array([0.5, -9999, 3], np.float32).reshape(1, 1, 1, 3), ["2021-06-01"])
    dataset.band_data.attrs = {"quantity": "sigma0", "nodata": -9999}
    found = open_arrays("SENTINEL1-ASC_TS", dataset).read(on, ("B4",), (0,))
    np.testing.assert_array_equal(found.values.ravel(), [0.5, 0, 3])
    np.testing.assert_array_equal(found.pixel_class.ravel(), [PixelClass.CLEAR, 0, PixelClass.CLEAR])


def test_infinity_is_no_measurement():
    on = grid(shape=(1, 3))
    values = np.array([np.inf, 1, -np.inf], np.float32)
    found = open_arrays("A", raster(on, np.stack([values, values])[:, None])).read(on, ("R", "G"))
    np.testing.assert_array_equal(found.valid, [[False, True, False]])
    assert np.isfinite(found.values).all()
    clear = (("time", "y", "x"), np.full((1, 1, 3), PixelClass.CLEAR, np.uint8))
    for variables in ({}, {"pixel_class": clear}):
        dataset = series(on, values[None, None, None], ["2021-06-01"], **variables)
        dataset.band_data.attrs["quantity"] = "sigma0"
        dated = open_arrays("SENTINEL1-ASC_TS", dataset).read(on, ("B4",), (0,))
        np.testing.assert_array_equal(dated.pixel_class.ravel() == PixelClass.CLEAR, [False, True, False])
        assert np.isfinite(dated.values).all()


@pytest.mark.parametrize("name", ["_FillValue", "missing_value", "nodata"])
@pytest.mark.parametrize("kept_in", ["attrs", "encoding"])
@pytest.mark.parametrize(
    ("value", "empty"), [(-9999, False), (256, False), (np.nan, False), (2.5, False), ("none", False), (7, True)]
)
def test_a_nodata_value_that_the_pixels_cannot_hold_is_none(name, kept_in, value, empty):
    on = grid(shape=(1, 2))
    dataset = raster(on, np.array([[[7, 1]], [[7, 1]]], np.uint8))
    getattr(dataset.band_data, kept_in)[name] = value
    np.testing.assert_array_equal(open_arrays("A", dataset).read(on, ("R", "G")).valid, [[not empty, True]])


def test_a_nodata_value_counts_as_the_pixels_hold_it():
    on = grid(shape=(1, 2))
    dataset = raster(on, np.array([[[-9999.0059, 1]], [[-9999.0059, 1]]], np.float32))
    dataset.band_data.attrs = {"_FillValue": np.nan, "nodata": -9999.0059}
    np.testing.assert_array_equal(open_arrays("A", dataset).read(on, ("R", "G")).valid, [[False, True]])


@pytest.mark.parametrize("text", ["lambert", "{}", "[1]", '{"resolution": "1/5"}', '{"crs": "EPSG:2154"}'])
@pytest.mark.parametrize("name", ["grid", "layout", "cloud_mask"])
def test_attributes_of_other_meaning_are_left_alone(name, text):
    on = grid(shape=(2, 3))
    clear = (("time", "y", "x"), np.full((1, 2, 3), PixelClass.CLEAR, np.uint8))
    dataset = series(on, np.ones((1, 1, 2, 3), np.uint16), ["2021-06-01"], pixel_class=clear)
    assert open_arrays("SENTINEL2_TS", dataset.assign_attrs({name: text})).grid == on


def test_a_grid_that_is_stated_by_halves_is_no_grid():
    on = grid()
    whole = {"crs": on.crs, "resolution": "1/5", "anchor_xy": ["0", "0"]}
    for change in ({"resolution": "fine"}, {"resolution": None}, {"anchor_xy": ["0"]}, {"anchor_xy": 3}):
        assert grid_of(raster(on).assign_attrs(grid={**whole, **change})) == on


def test_a_time_that_was_left_over_is_named():
    on = grid()
    dataset = raster(on).assign_coords(time=np.datetime64("2021-06-01", "ns"))
    with pytest.raises(InputError, match=r"pixel_class.*\.drop_vars\('time'\)"):
        open_arrays("AERIAL_RGBI", dataset)
    assert isinstance(open_arrays("AERIAL_RGBI", dataset.drop_vars("time")), XarrayRaster)


@pytest.mark.parametrize(("nodata", "valid"), [(-9999, [False, False]), (0, [True, False])])
def test_a_nodata_value_that_cannot_be_data_counts_in_any_band(nodata, valid):
    on = grid(shape=(1, 2))
    dataset = raster(on, np.array([[[nodata, nodata]], [[7, nodata]]], np.int16))
    dataset.band_data.attrs["nodata"] = nodata
    np.testing.assert_array_equal(open_arrays("A", dataset).read(on, ("R", "G")).valid, [valid])
    assert open_arrays("A", dataset).read(on, ("G",)).valid.tolist() == [[True, False]]


@pytest.mark.parametrize("value", [1e300, -np.finfo(np.float64).max, 3e38])
def test_a_number_that_is_infinite_to_a_model_is_no_measurement(value):
    on = grid(shape=(1, 2))
    values = np.array([[[value, 1]], [[1, 1]]])
    found = open_arrays("A", raster(on, values)).read(on, ("R", "G"))
    assert found.valid.tolist() == [[False, True]]
    assert np.isfinite(found.values.astype(np.float32)).all()
    clear = (("time", "y", "x"), np.full((1, 1, 2), PixelClass.CLEAR, np.uint8))
    dated = open_arrays("SENTINEL2_TS", series(on, values[:1, None], ["2021-06-01"], pixel_class=clear))
    assert dated.read(on, ("B4",), (0,)).pixel_class.ravel().tolist() == [PixelClass.NODATA, PixelClass.CLEAR]


@pytest.mark.parametrize("dated", [False, True])
def test_scale_and_offset_of_the_attributes_are_applied_after_nodata(dated):
    """As rioxarray opens decimetres: the numbers as stored, and scale_factor beside them."""
    on = grid(shape=(1, 3))
    values = np.array([[[-9999, 300, 7]]], np.int16)
    clear = (("time", "y", "x"), np.full((1, 1, 3), PixelClass.CLEAR, np.uint8))
    dataset = (
        series(on, values[None], ["2021-06-01"], pixel_class=clear)
        if dated
        else raster(on, np.concatenate([values, values]))
    )
    dataset.band_data.attrs = {"_FillValue": -9999, "scale_factor": 0.1, "add_offset": -2.0}
    source = open_arrays("SENTINEL2_TS" if dated else "DEM_ELEV", dataset)
    found = source.read(on, ("B4",), (0,)) if dated else source.read(on, ("R",))
    assert source.dtype == found.values.dtype == np.float32
    seen = found.pixel_class[0] == PixelClass.CLEAR if dated else found.valid
    np.testing.assert_array_equal(seen, [[dated, True, True]])
    expected = (values[0, 0].astype(np.float64) * 0.1 - 2).astype(np.float32)
    np.testing.assert_array_equal(found.values.ravel()[1:], expected[1:])
    plain = open_arrays(source.modality, dataset.assign(band_data=dataset.band_data.assign_attrs(scale_factor=1.0)))
    assert plain.fingerprint_fields != source.fingerprint_fields


def test_a_scale_of_the_encoding_was_applied_when_the_object_was_opened():
    on = grid(shape=(1, 2))
    dataset = raster(on, np.full((2, 1, 2), 30, np.float32))
    dataset.band_data.encoding = {"scale_factor": 0.1}
    dataset.band_data.attrs = {"scale_factor": 1.0, "add_offset": 0.0}
    assert (open_arrays("A", dataset).read(on, ("R",)).values == 30).all()
    whole = raster(on)
    whole.band_data.attrs = {"scale_factor": 1.0, "add_offset": 0.0}
    assert open_arrays("A", whole).dtype == np.uint16


@pytest.mark.parametrize(
    ("dtype", "attributes", "problem"),
    [
        (np.float32, {"scale_factor": 0.1}, "is float32 and states a scale of 0.1 and an offset of 0.*decode_cf.*drop"),
        (np.int16, {"scale_factor": 0.0}, "states a scale of 0 "),
        (np.int16, {"add_offset": np.nan}, "an offset of nan"),
        (np.int16, {"scale_factor": "tenth"}, "'tenth'"),
        (np.int16, {"scales": (0.1, 1.0)}, "by band"),
        (np.int16, {"offsets": (0.0, 1.0)}, "by band"),
    ],
)
def test_a_scale_that_leaves_open_what_the_values_are_is_refused(dtype, attributes, problem):
    on = grid(shape=(1, 2))
    dataset = raster(on, np.ones((2, 1, 2), dtype))
    dataset.band_data.attrs = attributes
    with pytest.raises(InputError, match=problem):
        open_arrays("A", dataset)


def test_objects_of_another_type_or_shape_are_refused():
    on = grid(shape=(1, 2))
    for dtype in ("complex64", "bool", "datetime64[s]", "O"):
        with pytest.raises(InputError, match=r"A holds .*, and integers and real numbers are read"):
            open_arrays("A", raster(on, np.ones((2, 1, 2)).astype(dtype)))
    with pytest.raises(InputError, match="A has several bands named R: name each once"):
        open_arrays("A", raster(on).assign_coords(band=["R", "R"]))
    coarse = raster(grid(shape=(6, 2)))
    with pytest.raises(InputError, match=r"A: some pixels have one y, as .*: give it in float64"):
        open_arrays("A", coarse.assign_coords(y=coarse.y.astype("float32")))
    of_bands = (("band", "y", "x"), np.ones((2, 1, 2), bool))
    with pytest.raises(InputError, match="valid of A has the dimension band: one value counts for all bands"):
        open_arrays("A", raster(on, valid=of_bands))
