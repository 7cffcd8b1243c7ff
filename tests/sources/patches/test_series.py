"""Series of patches: every value and pixel class of the arrays they were cut from, dates and masks of each patch."""

from __future__ import annotations

import json
from fractions import Fraction

import geopandas
import numpy as np
import pytest

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.modalities import SENTINEL2_BANDS
from landweave.core.timeseries import PixelClass
from landweave.sources.patches.layout import open_dataset
from landweave.sources.patches.series import PatchSeriesSpec, open_patch_series
from tests.helpers.patches import CORNER_XY, MadeRegion, write_flair_hub

DAYS = ("20200107", "20200305", "20200305", "20200901")
RNG = np.random.default_rng(0)
VALUES = RNG.integers(1, 9000, (4, 10, 20, 30)).astype(np.uint16)
VALUES[0, :, :5, :5] = 0
MASKS = RNG.integers(0, 4, (4, 2, 20, 30)).astype(np.uint8)
POWER = RNG.random((4, 2, 20, 30)).astype(np.float32)
POWER[1, 0, 3, 4] = np.nan
LABELS = np.zeros((1, 128, 192), np.uint8)


def made(**changes):
    series = {"SENTINEL2_TS": VALUES, "SENTINEL1-ASC_TS": POWER}
    settings = {"arrays": {"AERIAL_LABEL-COSIA": LABELS}, "side": 64, "series": series, "masks": MASKS, "days": DAYS}
    return MadeRegion(domain="D012-2019", name="AA-S1-1", missing=((1, 2),), **{**settings, **changes})


def grid(extent=((0, 20), (0, 30))) -> Grid:
    """Pixels of a tenth of a patch of 64 px, from the region's corner."""
    anchor = tuple(Fraction(str(value)) for value in CORNER_XY)
    return Grid(crs="EPSG:2154", resolution=Fraction(32, 25), extent=Extent.of(*extent), anchor_xy=anchor)


def spec(folder, modality="SENTINEL2_TS", **changes) -> PatchSeriesSpec:
    dataset = open_dataset(folder)
    (region,) = dataset.regions.values()
    masks = region.files["SENTINEL2_MSK-SC"] if modality == "SENTINEL2_TS" else ()
    dates = str(dataset.dates_file(modality))
    return PatchSeriesSpec(
        modality=modality, files=region.files[modality], masks=masks, dates_file=dates, root=str(folder), **changes
    )


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory):
    return write_flair_hub(tmp_path_factory.mktemp("series"), made())


def test_values_and_pixel_classes_are_those_of_the_arrays(folder):
    series = open_patch_series(spec(folder, cloud_max=2), grid())
    assert [each.datatake_id for each in series.observations] == ["20200107", "20200305", "20200305#2", "20200901"]
    assert series.observations[-1].time == np.datetime64("2020-09-01")
    found = series.read(grid(((3, 20), (7, 30))), ("B8", "B2"), (3, 0))
    snow, cloud = MASKS[[3, 0], 0], MASKS[[3, 0], 1]
    expected = np.full((2, 20, 30), PixelClass.CLEAR, np.uint8)
    expected[(snow > 1)] = PixelClass.SNOW
    expected[(cloud > 2)] = PixelClass.CLOUD
    expected[1, :5, :5] = PixelClass.NODATA
    expected[:, 10:, 20:] = PixelClass.NOT_ACQUIRED
    clear = (expected == PixelClass.CLEAR)[:, 3:, 7:]
    np.testing.assert_array_equal((found.pixel_class == PixelClass.CLEAR), clear)
    np.testing.assert_array_equal(found.pixel_class[:, 7:, 13:], PixelClass.NOT_ACQUIRED)
    assert (found.pixel_class[1, :2] == PixelClass.NODATA).sum() == 0  # columns 7 and on: the gap ends at 5
    bands = [SENTINEL2_BANDS.index("B8"), SENTINEL2_BANDS.index("B2")]
    inside = (expected != PixelClass.NOT_ACQUIRED)[:, None, 3:, 7:]
    np.testing.assert_array_equal(found.values, VALUES[[3, 0]][:, bands, 3:, 7:] * inside)


def test_a_pixel_is_the_same_whatever_is_read_with_it(folder):
    series = open_patch_series(spec(folder), grid())
    whole = series.read(grid(), series.bands, range(4))
    part = series.read(grid(((8, 13), (18, 25))), series.bands, (2,))
    np.testing.assert_array_equal(part.values[0], whole.values[2, :, 8:13, 18:25])
    np.testing.assert_array_equal(part.pixel_class[0], whole.pixel_class[2, 8:13, 18:25])
    beyond = series.read(grid(((-4, 2), (28, 40))), series.bands, (1,))
    assert (beyond.pixel_class[0, :4] == PixelClass.NOT_ACQUIRED).all()
    np.testing.assert_array_equal(beyond.values[0, :, 4:, :2], VALUES[1, :, :2, 28:])


def test_radar_is_power_with_gaps_where_it_is_no_number(folder):
    series = open_patch_series(spec(folder, "SENTINEL1-ASC_TS"), grid())
    assert (series.bands, series.quantity, dict(series.cloud_mask)) == (("VV", "VH"), "sigma0", {})
    found = series.read(grid(), ("VV", "VH"), (1,))
    assert found.pixel_class[0, 3, 4] == PixelClass.NODATA
    assert not found.values[0, :, 3, 4].any()
    assert (found.pixel_class == PixelClass.CLEAR).sum() == 500 - 1


def test_what_disagrees_is_named(folder, tmp_path):
    shifted = Grid(crs="EPSG:2154", resolution=Fraction(32, 25), extent=grid().extent)
    with pytest.raises(InputError, match="Anchor the grid at the corner"):
        open_patch_series(spec(folder), shifted)
    write_flair_hub(tmp_path / "fewer", made(days=DAYS[:3]))
    with pytest.raises(InputError, match=r"has 40 bands, and .* 3 dates of 10 bands each: 30"):
        open_patch_series(spec(tmp_path / "fewer"), grid())
    dates = tmp_path / "fewer/GLOBAL_ALL_MTD/GLOBAL_SENTINEL2_MTD_DATES.gpkg"
    frame = geopandas.read_file(dates)
    frame[frame.patch_id != "D012-2019_AA-S1-1_0-1"].assign(
        acquisition_dates=json.dumps(dict(enumerate(DAYS)))
    ).to_file(dates)
    with pytest.raises(InputError, match="Patch D012-2019_AA-S1-1_0-1 of SENTINEL2_TS has no dates"):
        open_patch_series(spec(tmp_path / "fewer"), grid())
    dates.write_text("no file of this kind")
    with pytest.raises(InputError, match="cannot be read"):
        open_patch_series(spec(tmp_path / "fewer"), grid())
