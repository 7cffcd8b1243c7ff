"""One CRS under all its names, and no two datums under one: the oracle is where PROJ puts a point."""

import re

import numpy as np
import pyproj
import pytest
import rasterio

from landweave.core.crs import areal_scales, canonical_crs, metric_crs, transformation_note, usable_crs
from landweave.core.errors import ConfigError

LAMBERT = pyproj.CRS(2154)
NUMBERS = "+proj=lcc +lat_0=46.5 +lon_0=3 +lat_1=49 +lat_2=44 +x_0=700000 +y_0=6600000"
NAMES = {
    "code": "EPSG:2154",
    "number": 2154,
    "realisation v2": "EPSG:9793",
    "realisation v2b": "EPSG:9794",
    "with heights": "EPSG:2154+5720",
    "with heights, one code": "EPSG:5698",
    "of IGN": "IGNF:LAMB93",
    "of ESRI": "ESRI:102110",
    "text of ESRI": LAMBERT.to_wkt("WKT1_ESRI").replace("RGF_1993_Lambert_93", "RGF93_Lambert_93"),
    "text without codes": re.sub(r',AUTHORITY\["EPSG","\d+"\]', "", LAMBERT.to_wkt("WKT1_GDAL")),
    "text with another name": LAMBERT.to_wkt("WKT1_GDAL").replace("RGF93 v1 / Lambert-93", "unnamed"),
    "GRS 80 that is WGS 84": f"{NUMBERS} +ellps=GRS80 +towgs84=0,0,0,0,0,0,0",
    "of rasterio": rasterio.CRS.from_epsg(2154),
    "of pyproj": LAMBERT,
}


@pytest.mark.parametrize("name", NAMES)
def test_one_crs_has_one_name(name):
    assert canonical_crs(NAMES[name]) == "EPSG:2154"
    stated = NAMES[name] if not hasattr(NAMES[name], "to_wkt") else NAMES[name].to_wkt()
    to_lambert = pyproj.Transformer.from_crs(stated, "EPSG:2154", always_xy=True)
    np.testing.assert_allclose(to_lambert.transform(712345.6, 6543210.9), (712345.6, 6543210.9), atol=0.01)


@pytest.mark.parametrize(
    ("stated", "name"),
    [
        ("EPSG:27582", "EPSG:27572"),
        ("EPSG:4979", "EPSG:4326"),
        ("OGC:CRS84", "EPSG:4326"),
        ("EPSG:9850", "EPSG:3950"),
        ("EPSG:5677", "EPSG:31467"),
        ("EPSG:3044", "EPSG:25832"),
    ],
)
def test_deprecated_codes_heights_and_orders_of_axes_are_names(stated, name):
    assert canonical_crs(stated) == name


@pytest.mark.parametrize(
    ("one", "other", "point"),
    [
        (27572, 2154, (600000, 2200000)),  # NTF, RGF93
        (23031, 25831, (450000, 5000000)),  # ED50, ETRS89
        (26717, 26917, (500000, 4200000)),  # NAD27, NAD83
        (27700, 25830, (400000, 300000)),  # OSGB36, ETRS89
        (28355, 7855, (500000, 6000000)),  # GDA94, GDA2020
        (31467, 25832, (500000, 5500000)),  # DHDN, ETRS89
    ],
)
def test_two_datums_are_two_however_they_are_written(one, other, point):
    moved = pyproj.Transformer.from_crs(one, other, always_xy=True).transform(*point)
    assert np.abs(np.subtract(moved, point)).max() > 0.4
    for form in ("WKT1_GDAL", "WKT1_ESRI", "WKT2_2019"):
        names = [canonical_crs(pyproj.CRS(code).to_wkt(form)) for code in (one, other)]
        assert names == [f"EPSG:{one}", f"EPSG:{other}"]
        texts = [pyproj.CRS(code).to_wkt(form) for code in (one, other)]
        bare = [re.sub(r',(AUTHORITY|ID)\["EPSG",("\d+"|\d+)\]', "", text) for text in texts]
        assert [canonical_crs(text) for text in bare] == names


def test_rasterios_name_of_a_datum_is_not_another_datum():
    """Its database is another version: the code counts where the numbers are those of the code."""
    for code in (3067, 3126, 3134, 26986, 32631, 3035, 2263, 4807, 31370, 28992):
        for version in ("WKT2_2019", "WKT1_GDAL"):
            assert canonical_crs(rasterio.CRS.from_epsg(code).to_wkt(version=version)) == f"EPSG:{code}"


def test_a_code_beside_other_numbers_does_not_count():
    shifted = LAMBERT.to_wkt("WKT1_GDAL").replace("700000", "0")
    assert canonical_crs(shifted) != "EPSG:2154"
    to_lambert = pyproj.Transformer.from_crs(canonical_crs(shifted), "EPSG:2154", always_xy=True)
    np.testing.assert_allclose(to_lambert.transform(0, 6600000), (700000, 6600000), atol=1e-6)


@pytest.mark.parametrize(
    ("stated", "problem"),
    [
        (f"{NUMBERS} +ellps=GRS80", "its datum is 'Unknown based on GRS 1980 ellipsoid'"),
        ("+proj=tmerc +lon_0=9 +x_0=3500000 +ellps=bessel", "Unknown based on Bessel 1841 ellipsoid"),
        ("EPSG:4004", "Not specified"),
        ('LOCAL_CS["site",UNIT["metre",1]]', "Engineering CRS, named 'site', which lies on no map"),
        ("EPSG:4936", "Geocentric"),
        ("EPSG:5720", "Vertical"),
        ("Lambert-ninety", "no CRS that PROJ can read"),
        ("EPSG:99999", "no CRS that PROJ can read"),
        ("IAU_2015:30100", "of a body of 1,737 km, the Earth's radius is 6,378"),
        ("", "no CRS that PROJ can read"),
    ],
)
def test_what_lies_nowhere_is_no_crs(stated, problem):
    assert usable_crs(stated)[0] == ""
    assert problem in usable_crs(stated)[1]
    with pytest.raises(ConfigError, match=r"as EPSG:2154"):
        canonical_crs(stated)


def test_towgs84_places_an_unknown_datum():
    stated = "+proj=tmerc +lon_0=9 +x_0=3500000 +ellps=bessel +towgs84=598.1,73.7,418.2,0.202,0.045,-2.455,6.7"
    there = pyproj.Transformer.from_crs(canonical_crs(stated), 25832, always_xy=True).transform(3500000, 5500000)
    expected = pyproj.Transformer.from_crs(31467, 4326, always_xy=True)
    known = pyproj.Transformer.from_crs(4326, 25832, always_xy=True).transform(*expected.transform(3500000, 5500000))
    np.testing.assert_allclose(there, known, atol=3)
    odd = stated.replace("598.1", "698.1")
    assert canonical_crs(odd).startswith("BOUNDCRS")


@pytest.mark.parametrize(
    ("stated", "counts"),
    [
        ("EPSG:4326", "in degree"),
        ("EPSG:2263", "in US survey foot"),
        ("EPSG:4807", "in grad"),
        ("EPSG:2048", "westwards"),
    ],
)
def test_a_grid_counts_metres_eastwards(stated, counts):
    with pytest.raises(ConfigError, match=f"counts {counts}"):
        metric_crs(stated)


def test_a_coarse_way_between_datums_is_noted():
    assert transformation_note("EPSG:2154", "EPSG:2154", (7e5, 6.6e6)) == ""
    assert transformation_note("EPSG:32631", "EPSG:2154", (450000, 5000000)) == ""
    note = transformation_note("EPSG:27700", "EPSG:25830", (400000, 300000))
    assert re.search(r"EPSG:27700 comes to EPSG:25830 by '.*', accurate to [\d.]+ m", note) or note == ""
    assert "unknown accuracy" in transformation_note("EPSG:22210", "EPSG:22710", (500000, 5500000))


def test_areal_scales_are_areas_on_the_plane_over_those_on_the_ellipsoid() -> None:
    corner, side = np.array([700_000.0, 6_200_000.0]), 100.0
    for crs, north in (
        ("EPSG:2154", corner),
        ("EPSG:3857", np.array([500_000.0, 5_400_000.0])),
        ("EPSG:3035", np.array([3_800_000.0, 2_500_000.0])),
    ):
        x, y = north[0] + np.array([0, side, side, 0]), north[1] + np.array([0, 0, side, side])
        lon, lat = pyproj.Transformer.from_crs(crs, "EPSG:4326", always_xy=True).transform(x, y)
        ground, _ = pyproj.Geod(ellps="GRS80" if crs != "EPSG:3857" else "WGS84").polygon_area_perimeter(lon, lat)
        smallest, largest = areal_scales(crs, (*north, *(north + side)))
        assert smallest <= largest
        assert side**2 / abs(ground) == pytest.approx(smallest, rel=1e-3)
