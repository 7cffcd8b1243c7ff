"""Small real inputs that gave a wrong map: what is read of them, or how they are refused."""

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
import yaml

from landweave import open_cube
from landweave.core.timeseries import PixelClass
from tests.helpers.commands import Command, done

DECIBELS = "S1A__IW___A_20150309T173017_VV_grd_mli_geo_norm_db.tif"


@pytest.fixture
def case(shared: Callable[[str], Path], tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a folder of them."""
    return lambda name: Path(shutil.copytree(shared(f"cases/{name}"), tmp_path / name))


def stored(path: Path) -> np.ndarray:
    with rasterio.open(path) as dataset:
        return dataset.read(1)


def test_the_nodata_tag_of_reflectance_counts_where_no_item_states_one(
    case: Callable[[str], Path], landweave: Command
) -> None:
    folder = case("nodata-tag")
    done(landweave("align", folder / "config.yaml"))
    cube = open_cube(folder / "cube.zarr", chunks=None)["SENTINEL2_TS"]
    bands = [stored(folder / f"eo5tag_20230623_{band}.tif") for band in ("B02", "B03", "B04")]
    hole = (np.array(bands) == 65535).any(0) | (np.array(bands) == 0).any(0)
    hole |= np.isin(stored(folder / "eo5tag_20230623_SCL.tif"), [0, 1, 65535])
    with rasterio.open(folder / "eo5tag_20230623_B02.tif") as dataset:
        x0, y0, x1, y1 = dataset.bounds
    found = cube.sel(x=slice(x0, x1), y=slice(y1, y0))
    assert hole.sum() == 2455
    np.testing.assert_array_equal(found["pixel_class"][0] == PixelClass.NODATA, hole)
    for number, band in enumerate(bands):
        np.testing.assert_array_equal(found["band_data"][0, number], np.where(hole, 0, band))


def decibels(folder: Path, **settings: str) -> Path:
    section = {
        "kind": "stac",
        "catalog": "pyrosar.json",
        "dates": "2015-03-01/2015-03-31",
        "resolution": 20,
        "bands": ["VV"],
        "resampling": "nearest",
        **settings,
    }
    content = {
        "area": {"bounds": [620048.241204, 4825774.70107, 625408.241204, 4830114.70107]},
        "grid": {"crs": "EPSG:32631", "resolution": 20, "anchor": ["8.241204", "14.70107"]},
        "inputs": {"SENTINEL1-ASC_TS": section},
        "cube": {"store": "cube.zarr", "margin_m": 0, "tile": 128, "chunk": 64},
        "engine": {"kind": "inline"},
    }
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def test_decibels_by_name_alone_are_refused_before_anything_is_written(
    case: Callable[[str], Path], landweave: Command
) -> None:
    folder = case("decibels")
    ended = landweave("align", decibels(folder))
    assert ended.code == 2
    assert f"stores VV in decibels, by its words or the name of its file {DECIBELS}" in ended.err
    assert "stored_as: decibels" in ended.err
    assert not (folder / "cube.zarr").exists()


def test_decibels_by_their_numbers_are_no_nodata(case: Callable[[str], Path], landweave: Command) -> None:
    ended = landweave("align", decibels(case("decibels"), stored_as="power"))
    assert ended.code == 3
    assert "Set stored_as: decibels for this input" in ended.out


def test_decibels_are_made_power(case: Callable[[str], Path], landweave: Command) -> None:
    folder = case("decibels")
    done(landweave("align", decibels(folder, stored_as="decibels")))
    cube = open_cube(folder / "cube.zarr", chunks=None)["SENTINEL1-ASC_TS"]
    with rasterio.open(folder / DECIBELS) as dataset:
        values = dataset.read(1, masked=True)
        x0, y0, x1, y1 = dataset.bounds
    found = cube["band_data"][0, 0].sel(x=slice(x0, x1), y=slice(y1, y0))
    np.testing.assert_allclose(found, 10 ** (values.filled(np.nan).astype(float) / 10), rtol=1e-5)
