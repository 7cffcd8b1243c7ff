"""Radar in decibels: refused by name, unit and numbers, or made power where a setting says so."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from landweave.core.errors import ConfigError, InputError, ReadError
from landweave.core.grid import Grid
from landweave.core.timeseries import PixelClass
from landweave.sources.stac.search import StacQuery, search
from landweave.sources.stac.series import StacSeries
from tests.helpers.scenes_on_disk import radar_item, write_scene
from tests.helpers.stac_items import Item, write_items

UTM, SHAPE, CORNER = "EPSG:32631", (120, 100), (500000.0, 4900000.0)
GRID = Grid.from_bounds((500000, 4898800, 501000, 4900000), crs=UTM, resolution=10)
POWER = np.random.default_rng(5).gamma(4, 0.02, SHAPE).astype(np.float32)
DECIBELS = (10 * np.log10(POWER)).astype(np.float32)


def item_of(folder: Path, plane: np.ndarray, name: str = "VV", nodata: float | None = -99) -> Item:
    files = write_scene(folder, {"VV": plane}, corner_xy=CORNER, nodata=nodata)
    item = radar_item(files)
    item["assets"]["vv"]["raster:bands"] = [{}]
    if name != "VV":
        renamed = files["VV"].path.rename(folder / f"{name}.tif")
        item["assets"]["vv"]["href"] = str(renamed)
    return item


def opened(folder: Path, *items: Item, grid: Grid = GRID, **settings: Any) -> StacSeries:
    resampling, modality = settings.pop("resampling", "nearest"), "SENTINEL1-ASC_TS"
    catalog = write_items(folder / "items.json", *items)
    found = search(StacQuery(catalog=catalog, modality=modality, bands=("VV",), **settings), (2.9, 44.2, 3.1, 44.3))
    return StacSeries.open(found, modality=modality, bands=("VV",), grid=grid, resampling=resampling)


@pytest.mark.parametrize("name", ["S1A_VV_grd_mli_geo_norm_db", "S1A.VV.dB", "sigma_decibel_VV"])
def test_a_file_named_decibels_is_refused_with_the_way_out(tmp_path: Path, name: str) -> None:
    with pytest.raises(InputError, match=rf"stores VV in decibels, .*{name}.*stored_as: decibels makes power"):
        opened(tmp_path, item_of(tmp_path, DECIBELS, name))


@pytest.mark.parametrize("what", ["units", "descriptions"])
def test_the_unit_and_the_description_in_a_file_count(tmp_path: Path, what: str) -> None:
    item = item_of(tmp_path, DECIBELS)
    with rasterio.open(item["assets"]["vv"]["href"], "r+", IGNORE_COG_LAYOUT_BREAK="YES") as dataset:
        setattr(dataset, what, ("dB",))
    with pytest.raises(InputError, match="stores VV in decibels"):
        opened(tmp_path, item)


def test_amplitude_is_no_power(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"stores VV as amplitude, .*VV_amplitude\.tif: power is its square"):
        opened(tmp_path, item_of(tmp_path, np.sqrt(POWER), "VV_amplitude"))


def test_digital_numbers_that_nothing_names_are_no_power(tmp_path: Path) -> None:
    with pytest.raises(ReadError, match=r"above 100 \(20 dB\) of .* in VV: these are amplitudes or digital numbers"):
        opened(tmp_path, item_of(tmp_path, np.sqrt(POWER) * 1000)).read(GRID, ("VV",), (0,))


@pytest.mark.parametrize("name", ["S1A_0DB3", "S1A_4DB", "dbname", "VV"])
def test_codes_and_other_words_are_no_decibels(tmp_path: Path, name: str) -> None:
    read = opened(tmp_path, item_of(tmp_path, POWER, name)).read(GRID, ("VV",), (0,))
    np.testing.assert_array_equal(read.values[0, 0], POWER)


@pytest.mark.parametrize("stored_as", [None, "power"])
def test_numbers_of_decibels_are_never_all_nodata(tmp_path: Path, stored_as: str | None) -> None:
    series = opened(tmp_path, item_of(tmp_path, DECIBELS), stored_as=stored_as)
    with pytest.raises(
        ReadError, match=r"VV\.tif holds 1.,... numbers from -80 to -1 in VV, .*Set stored_as: decibels"
    ):
        series.read(GRID, ("VV",), (0,))


def test_power_that_is_said_to_be_decibels_is_not_made_power_twice(tmp_path: Path) -> None:
    series = opened(tmp_path, item_of(tmp_path, POWER), stored_as="decibels")
    with pytest.raises(ReadError, match=r"from 0 to 1: these are power. Set stored_as: power"):
        series.read(GRID, ("VV",), (0,))


def test_power_from_which_noise_was_taken_off_is_power(tmp_path: Path) -> None:
    power = POWER - np.float32(0.07)
    read = opened(tmp_path, item_of(tmp_path, power)).read(GRID, ("VV",), (0,))
    np.testing.assert_array_equal(read.values[0, 0] > 0, power > 0)


@pytest.mark.parametrize("name", ["VV", "VV_db"])
def test_law_decibels_made_power_are_the_power(tmp_path: Path, name: str) -> None:
    holed = DECIBELS.copy()
    holed[30:50, 20:40] = -99
    holed[60:64, 7] = np.nan
    series = opened(tmp_path, item_of(tmp_path, holed, name), stored_as="decibels")
    read = series.read(GRID, ("VV",), (0,))
    hole = (holed == -99) | np.isnan(holed)
    np.testing.assert_array_equal(read.pixel_class[0] == PixelClass.NODATA, hole)
    np.testing.assert_allclose(read.values[0, 0], np.where(hole, 0, POWER), rtol=2e-6)
    assert "decibels made power" in series.describe()["pixels"]["VV"]
    other = opened(tmp_path, item_of(tmp_path / "b", POWER))
    assert other.fingerprint_fields != series.fingerprint_fields


def test_law_decibels_are_averaged_as_power(tmp_path: Path) -> None:
    """On coarser pixels the same as power would give: an average of decibels is another one."""
    coarse = Grid.from_bounds(GRID.bounds, crs=UTM, resolution=20)
    made = opened(tmp_path, item_of(tmp_path / "a", DECIBELS), grid=coarse, resampling="bilinear", stored_as="decibels")
    power = opened(tmp_path, item_of(tmp_path / "b", POWER), grid=coarse, resampling="bilinear")
    np.testing.assert_allclose(
        made.read(coarse, ("VV",), (0,)).values, power.read(coarse, ("VV",), (0,)).values, rtol=1e-5
    )


def test_what_is_stored_is_no_matter_of_optical_scenes() -> None:
    with pytest.raises(ConfigError, match="stored_as 'decibels' of SENTINEL2_TS: power or decibels, of Sentinel-1"):
        StacQuery(catalog="a", modality="SENTINEL2_TS", bands=("B2",), stored_as="decibels")
