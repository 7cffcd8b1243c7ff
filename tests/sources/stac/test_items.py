import numpy as np
import pyproj
import pytest
from affine import Affine

from landweave.sources.stac.items import StacItem, UnusableItem, middle_longitude, pick_file, solar_day, to_time
from tests.helpers.stac_items import made_item

SIX = [10.0, 0.0, 600000.0, 0.0, -10.0, 5400000.0]
PLACED = (Affine(10, 0, 600000, 0, -10, 5400000), (10980, 10980))


def read_one(asset, **properties):
    item = made_item("a", collection="c", **properties)
    item["assets"]["red"] = {"href": "https://files.example/red.tif", **asset}
    (band,) = StacItem(item).bands()
    return band


@pytest.mark.parametrize(
    ("text", "time"),
    [
        ("2024-04-19T09:55:49.924000Z", "2024-04-19T09:55:49"),
        ("2024-04-19 04:59:16.653405+00:00", "2024-04-19T04:59:16"),
        ("2024-04-19T11:55:49+02:00", "2024-04-19T09:55:49"),
        ("2022-06-13T12:32:51.87450Z", "2022-06-13T12:32:51"),
        ("20201006T080531", "2020-10-06T08:05:31"),
        ("2021-06-14", "2021-06-14T00:00:00"),
        ("yesterday", "NaT"),
        (None, "NaT"),
    ],
)
def test_times_are_utc_whatever_way_they_are_written(text, time):
    assert str(to_time(text)) == time


def test_an_interval_counts_by_its_start_and_no_time_is_no_use():
    assert StacItem(made_item("a", collection="c", start_datetime="2021-06-14T10:00:00Z")).time == np.datetime64(
        "2021-06-14T10:00:00"
    )
    with pytest.raises(UnusableItem, match="neither datetime nor start_datetime"):
        _ = StacItem(made_item("a", collection="c")).time


@pytest.mark.parametrize(
    ("box", "expected"), [([1, 2, 3, 4], (1, 2, 3, 4)), ([1, 2, 90, 3, 4, 99], (1, 2, 3, 4)), (None, (0, 0, 2, 1))]
)
def test_bounds_are_flat_and_come_from_the_outline_where_there_is_no_box(box, expected):
    item = {"bbox": box, "geometry": {"type": "LineString", "coordinates": [[0, 0], [2, 1]]}}
    assert StacItem(item).bounds == expected


def test_no_place_is_no_use():
    with pytest.raises(UnusableItem, match="neither bbox nor geometry"):
        _ = StacItem({"geometry": None}).bounds


@pytest.mark.parametrize(("bounds", "middle"), [((2, 0, 4, 1), 3), ((178, 0, -178, 1), -180), ((-10, 0, 10, 1), 0)])
def test_the_middle_lies_the_short_way_round(bounds, middle):
    assert middle_longitude(bounds) == middle


@pytest.mark.parametrize(
    ("time", "longitude", "day"),
    [
        ("2021-06-14T10:50", 3, "2021-06-14"),
        ("2021-06-14T23:59", 0.25, "2021-06-15"),
        ("2021-06-14T23:59", 0.2, "2021-06-14"),
        ("2021-06-14T01:00", -100, "2021-06-13"),
        ("2021-12-31T22:00", 178, "2022-01-01"),
    ],
)
def test_the_solar_day_turns_at_the_suns_midnight(time, longitude, day):
    assert solar_day(np.datetime64(time, "s"), longitude) == np.datetime64(day)


@pytest.mark.parametrize("numbers", [SIX, [*SIX, 0, 0, 1]])
@pytest.mark.parametrize("crs", [{"proj:code": "EPSG:32631"}, {"proj:epsg": 32631}])
def test_the_grid_of_a_file_is_read_in_all_its_forms(numbers, crs):
    place = {"proj:transform": numbers, "proj:shape": [10980, 10980]}
    of_asset = read_one({**crs, **place}).file
    of_item = read_one({}, **{name.replace(":", "__"): value for name, value in {**crs, **place}.items()}).file
    for file in (of_asset, of_item):
        assert (file.transform, file.shape) == PLACED
        assert file.crs == "EPSG:32631"


def test_the_assets_own_place_counts_and_a_shape_only_beside_its_transform():
    file = read_one(
        {"proj:transform": SIX, "proj:code": "EPSG:32630"},
        proj__shape=[1, 1],
        proj__transform=[60, 0, 0, 0, -60, 0],
        proj__epsg=32631,
    ).file
    assert (file.transform, file.shape, file.crs) == (PLACED[0], None, "EPSG:32630")


def test_what_an_item_does_not_say_is_left_for_the_file_to_say():
    file = read_one({}, proj__shape=[5, 5]).file
    assert (file.crs, file.transform, file.shape, file.nodata) == (None, None, None, None)
    assert read_one({"proj:transform": [1, 2, 3]}).file.transform is None


@pytest.mark.parametrize(
    "form",
    [
        {"raster:bands": [{"scale": 0.5, "offset": -3, "nodata": 7, "data_type": "uint16", "unit": "dB"}]},
        {"bands": [{"raster:scale": 0.5, "raster:offset": -3, "nodata": "7", "data_type": "uint16", "unit": "dB"}]},
        {"raster:scale": 0.5, "raster:offset": -3, "nodata": 7, "data_type": "uint16", "unit": "dB"},
    ],
)
def test_numbers_of_a_band_are_read_in_all_their_forms(form):
    band = read_one(form)
    assert (band.stated, band.file.nodata, band.dtype, band.unit) == ((0.5, -3), 7, "uint16", "db")


def test_nodata_may_be_nan():
    assert np.isnan(read_one({"raster:bands": [{"nodata": "nan"}]}).file.nodata)


@pytest.mark.parametrize(
    "form",
    [
        {"eo:bands": [{"name": "B04", "common_name": "red", "center_wavelength": 0.665}]},
        {"bands": [{"name": "B04", "eo:common_name": "red", "eo:center_wavelength": 0.665}]},
    ],
)
def test_names_of_a_band_are_read_in_all_their_forms(form):
    band = read_one(form)
    assert (band.names, band.wavelength) == (("b04", "red"), 0.665)


@pytest.mark.parametrize(
    ("key", "bare", "original"),
    [("B8A_20m", "b8a", False), ("red-jp2", "red", True), ("SCL", "scl", False), ("b02_10m-jp2", "b02", True)],
)
def test_a_key_is_bare_of_resolution_and_format(key, bare, original):
    item = made_item("a", collection="c")
    item["assets"][key] = {"href": "x"}
    (band,) = StacItem(item).bands()
    assert (band.key, band.original) == (bare, original)


@pytest.mark.parametrize(
    ("key", "asset"),
    [
        ("visual", {}),
        ("visual_20m", {}),
        ("rendered_preview", {}),
        ("thumbnail", {}),
        ("TCI_10m", {}),
        ("metadata", {"type": "application/xml"}),
        ("browse", {"type": "image/png"}),
    ],
)
def test_pictures_and_metadata_are_no_bands(key, asset):
    item = made_item("a", collection="c")
    item["assets"][key] = {"href": "x", **asset}
    assert StacItem(item).bands() == ()


def test_of_several_files_of_a_band_the_one_of_its_native_pixel_is_read():
    item = made_item("a", collection="c")
    for key, pixel in (("red_60m", 60), ("red_20m", 20), ("red", 10), ("red-jp2", 10)):
        item["assets"][key] = {"href": key, "gsd": pixel}
    bands = StacItem(item).bands()
    assert [pick_file(bands, resolution=pixel).file.href for pixel in (10, 20, 60)] == ["red", "red_20m", "red_60m"]
    assert pick_file(bands[::-1], resolution=10).file.href == "red"


def test_a_crs_comes_in_any_of_its_forms():
    lambert = pyproj.CRS(2154)
    forms = {
        "proj:code": ["EPSG:2154", "EPSG:9794", "IGNF:LAMB93"],
        "proj:epsg": [2154, "2154"],
        "proj:wkt2": [lambert.to_wkt()],
        "proj:projjson": [lambert.to_json_dict()],
    }
    for name, values in forms.items():
        for value in values:
            assert read_one({name: value}).file.crs == "EPSG:2154"
    assert read_one({"proj:code": None, "proj:epsg": None}).file.crs is None


@pytest.mark.parametrize("stated", ["EPSG:99999", "Lambert", "EPSG:4004"])
def test_a_crs_that_names_no_known_map_is_left_to_the_file(stated):
    assert read_one({}, proj__code=stated).file.crs is None
