"""CRSs of tiles as deliveries state them: one under several names, none, a wrong one, one that lies nowhere."""

import numpy as np
import pyproj
import pytest
import rasterio
from rasterio.warp import transform as warp_points

from landweave.core.errors import InputError
from landweave.sources.mosaic.tile_index import index_tiles
from landweave.sources.raster_facts import read_raster_facts
from tests.sources.mosaic.test_source import LAMBERT, X, Y, coded, grid_of, open_mosaic

IMAGE = coded((40, 60))
ESRI = pyproj.CRS(2154).to_wkt("WKT1_ESRI").replace("RGF_1993_Lambert_93", "RGF93_Lambert_93")
NUMBERS = "+proj=lcc +lat_0=46.5 +lon_0=3 +lat_1=49 +lat_2=44 +x_0=700000 +y_0=6600000 +units=m"
UNKNOWN = f"{NUMBERS} +ellps=GRS80"
BESSEL = "+proj=tmerc +lat_0=0 +lon_0=9 +k=1 +x_0=3500000 +y_0=0 +ellps=bessel +units=m"
SITE = 'LOCAL_CS["site",UNIT["metre",1]]'


def test_one_crs_under_several_names_is_pasted(write_tile, tmp_path):
    names = (LAMBERT, "EPSG:9794", "EPSG:2154+5720", ESRI, f"{NUMBERS} +ellps=GRS80 +towgs84=0,0,0,0,0,0,0")
    for place, crs in enumerate(names):
        write_tile(f"{place}.tif", IMAGE[:, :, place * 12 : place * 12 + 12], (X + 2.4 * place, Y), crs=crs)
    grid = grid_of(60, 40)
    source = open_mosaic(tmp_path, grid=grid)
    assert source.describe()["crs"] == [LAMBERT]
    assert source.alignment.pasted
    np.testing.assert_array_equal(source.read(grid, ("R",)).values, IMAGE)
    assert open_mosaic(tmp_path, grid=grid_of(60, 40, crs="EPSG:9794")).alignment.pasted


def test_two_datums_are_resampled(write_tile, tmp_path):
    """NTF is RGF93 in another place: PROJ says where, rasterio agrees to the metres that the datums are known to."""
    write_tile("a.tif", IMAGE, (600000, 2200000), crs="EPSG:27572")
    (x,), (y,) = warp_points("EPSG:27572", LAMBERT, [600006], [2199996])
    source = open_mosaic(tmp_path, grid=grid_of(40, 30, x=round(x) - 4, y=round(y) + 3))
    assert not source.alignment.pasted
    x0, y0, x1, y1 = source.bounds(source.grid)
    assert x0 < x < x1
    assert y0 < y < y1
    assert any("EPSG:27572 comes to EPSG:2154 by" in note for note in source.describe()["notes"])


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        (UNKNOWN, "Unknown based on GRS 1980 ellipsoid"),
        (BESSEL, "Unknown based on Bessel 1841 ellipsoid"),
        (SITE, "Engineering CRS, named 'site'"),
        ("EPSG:4936", "Geocentric CRS"),
    ],
)
def test_a_crs_without_a_known_datum_is_refused_and_the_setting_is_obeyed(write_tile, tmp_path, stated, problem):
    write_tile("a.tif", IMAGE, (X, Y), crs=stated)
    with pytest.raises(InputError, match=rf"1 of 1 files have no usable CRS: set `crs`(.|\n)*{problem}"):
        open_mosaic(tmp_path, grid=grid_of(60, 40))
    source = open_mosaic(tmp_path, grid=grid_of(60, 40), crs="EPSG:9794")
    assert source.alignment.pasted
    np.testing.assert_array_equal(source.read(source.grid, ("R",)).values, IMAGE)
    assert any(problem in note and "take EPSG:2154 from the setting" in note for note in source.describe()["notes"])


def test_a_setting_that_no_file_takes_is_refused(write_tile, tmp_path):
    write_tile("a.tif", IMAGE, (X, Y), crs="EPSG:32631")
    with pytest.raises(InputError, match=r"All 1 files state a CRS, EPSG:32631, and `crs` is EPSG:2154"):
        open_mosaic(tmp_path, grid=grid_of(60, 40), crs=LAMBERT)
    write_tile("b.tif", IMAGE, (X, Y), crs=None)
    notes = index_tiles(open_mosaic(tmp_path, grid=grid_of(60, 40), crs=LAMBERT).index.spec).notes
    assert "b.tif has no CRS" in notes[0]
    assert "1 files keep the CRS that they state" in notes[1]
    assert "a.tif the first (EPSG:32631)" in notes[1]


def test_a_setting_that_says_what_the_files_say_is_no_matter(write_tile, tmp_path):
    write_tile("a.tif", IMAGE, (X, Y), crs="EPSG:9794")
    assert open_mosaic(tmp_path, grid=grid_of(60, 40), crs=LAMBERT).describe()["notes"] == []


@pytest.mark.parametrize("crs", ["EPSG:2263", "EPSG:4326", "EPSG:4807", "EPSG:4979"])
def test_tiles_in_feet_degrees_and_grads_lie_where_rasterio_puts_them(write_tile, tmp_path, crs):
    target, point = ("EPSG:26918", (583000, 4507000)) if crs == "EPSG:2263" else (LAMBERT, (652000, 6862000))
    (x,), (y,) = warp_points(target, "EPSG:4326" if crs == "EPSG:4979" else crs, [point[0]], [point[1]])
    pixel = 3.28 if crs == "EPSG:2263" else 1e-5
    write_tile("a.tif", coded((64, 64)), (x - 32 * pixel, y + 32 * pixel), crs=crs, pixel=pixel)
    grid = grid_of(8, 8, x=point[0] - 2, y=point[1] + 2, crs=target, resolution=0.5)
    source = open_mosaic(tmp_path, grid=grid, resampling="nearest")
    x0, y0, x1, y1 = source.bounds(grid)
    assert abs((x0 + x1) / 2 - point[0]) < 3
    assert abs((y0 + y1) / 2 - point[1]) < 3
    assert source.read(grid, ("R",)).valid.all()


def test_a_code_that_one_database_lacks_is_no_raw_error(write_tile, monkeypatch):
    path = write_tile("a.tif", IMAGE, (X, Y), crs="EPSG:2987")  # that no other test has asked for

    def unknown(_):
        raise rasterio.errors.CRSError("The EPSG code is unknown")

    monkeypatch.setattr("landweave.sources.raster_facts.usable_crs", unknown)
    assert "GDAL cannot read" in read_raster_facts([path])[path].crs_problem
