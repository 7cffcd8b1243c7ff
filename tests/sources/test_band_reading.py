"""What is done with the bands of a file: decided without files, obeyed on one."""

from dataclasses import asdict, replace

import numpy as np
import pytest
from affine import Affine

from landweave.core.lattice import Extent
from landweave.sources.band_reading import BandReading, NodataValue, decide_file, read_bands
from landweave.sources.raster_facts import RasterFacts, read_raster_facts

WINDOW = Extent.of((0, 4), (0, 6))


def facts(**changes):
    four = {
        "path": "a.tif",
        "driver": "GTiff",
        "size": 1,
        "version": "1",
        "crs": "EPSG:2154",
        "crs_problem": "",
        "transform": Affine(1, 0, 0, 0, -1, 0),
        "shape": (4, 6),
        "dtypes": ("uint8",) * 4,
        "nodata": (7.0,) * 4,
        "scales": (1.0,) * 4,
        "offsets": (0.0,) * 4,
        "colours": ("red", "green", "blue", "alpha"),
        "masks": (0,) * 4,
        "control_points": 0,
        "block": (4, 6),
    }
    return RasterFacts(**four | changes)


def band(number=1, **changes):
    return BandReading(**{"band": "R", "number": number, "dtype": "uint8", "resampling": "nearest"} | changes)


def stated(value, origin="setting"):
    return (NodataValue(value=value, origin=origin),)


@pytest.mark.parametrize(
    ("settings", "tag", "counts"),
    [
        ({}, 7.0, "7 (file tag)"),
        ({}, None, "none"),
        ({}, float("nan"), "none"),
        ({}, float("-inf"), "none"),
        ({}, -3.4028234663852886e38, "-3.4028234663852886e+38 (file tag)"),
        ({"nodata": stated(9.0), "file_tag": False}, 7.0, "9 (setting)"),
        ({"nodata": stated(float("nan")), "file_tag": False}, 7.0, "none"),
        ({"nodata": stated(0.0, "product")}, 7.0, "0 (product) and 7 (file tag)"),
        ({"nodata": stated(7.0, "product")}, 7.0, "7 (product)"),
        (
            {"nodata": (*stated(0.0, "product"), *stated(9.0, "item")), "file_tag": False},
            7.0,
            "0 (product) and 9 (item)",
        ),
    ],
)
def test_nodata_comes_from_the_product_the_setting_or_the_item_else_from_the_file(settings, tag, counts):
    (reading,) = decide_file([band(**settings)], facts(nodata=(tag,) * 4)).bands
    assert str(reading) == f"band 1, nodata {counts}, without data where its alpha is 0, nearest, uint8"
    assert not reading.file_tag


@pytest.mark.parametrize(
    ("numbers", "masks", "mask", "found"),
    [
        ((1, 2, 3), (0,) * 4, "alpha", ((), 4)),
        ((1, 4), (0,) * 4, "", ((), 0)),
        ((1, 2), (1,) * 4, "mask", ((1,), 0)),
        ((4,), (1,) * 4, "mask", ((1,), 0)),
        ((2, 3), (1, 2, 3, 0), "mask", ((2, 3), 0)),
    ],
)
def test_a_mask_counts_before_alpha_and_alpha_unless_it_is_a_band_that_is_taken(numbers, masks, mask, found):
    decided = decide_file([band(number) for number in numbers], facts(masks=masks))
    assert {each.mask for each in decided.bands} == {mask}
    assert (decided.masks, decided.alpha) == found


def test_what_is_open_before_a_file_is_opened_is_said():
    assert "nodata 0 (product) and the tag of its file," in str(band(nodata=stated(0.0, "product")))
    assert "x 0.1 -100 (item)" in str(band(scale=0.1, offset=-100, scaled_by="item"))
    assert asdict(band())["file_tag"] is True


@pytest.mark.parametrize(("rule", "holes"), [("any", [(0, 0), (1, 1)]), ("file", [(1, 1)]), ("every", [(1, 1)])])
def test_a_pixel_is_without_data_where_any_band_or_every_band_is(write_tile, rule, holes):
    image = np.full((2, 4, 6), 5, np.uint8)
    image[0, 0, 0] = 7
    image[:, 1, 1] = 7
    path = write_tile("a.tif", image, (0, 4), pixel=1, nodata=7)
    settings = [band(1, nodata_rule=rule), band(2, band="G", nodata_rule=rule)]
    reading = decide_file(settings, read_raster_facts([path])[path])
    planes, measured = read_bands([reading], WINDOW, ("R",))
    assert [tuple(hole) for hole in np.argwhere(~measured)] == holes
    np.testing.assert_array_equal(planes["R"], image[0])


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neither_nan_nor_infinity_nor_the_lowest_float_is_a_measurement(write_tile, dtype):
    image = np.ones((1, 4, 6), dtype)
    image[0, 0, 0], image[0, 2, 3], image[0, 3, 3] = np.nan, np.inf, np.finfo(dtype).min
    path = write_tile("a.tif", image, (0, 4), pixel=1)
    for rule in ("any", "file", "every"):
        reading = decide_file([band(nodata_rule=rule)], read_raster_facts([path])[path])
        _, measured = read_bands([reading], WINDOW, ())
        assert np.argwhere(~measured).tolist() == [[0, 0], [2, 3], [3, 3]]


def test_bands_that_decide_nothing_and_are_not_named_are_not_read(write_tile):
    path = write_tile("a.tif", np.ones((3, 4, 6), np.uint8), (0, 4), pixel=1)
    settings = [band(1), band(2, band="G"), band(3, band="B")]
    reading = decide_file(settings, read_raster_facts([path])[path])
    planes, _ = read_bands([reading], WINDOW, ("G",))
    assert list(planes) == ["G"]
    reading = replace(reading, bands=decide_file(settings, replace_nodata(read_raster_facts([path])[path])).bands)
    planes, _ = read_bands([reading], WINDOW, ("G",))
    assert list(planes) == ["R", "G", "B"]


def replace_nodata(found):
    return replace(found, nodata=(0.0,) * found.count)
