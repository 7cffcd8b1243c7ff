"""Items of other products and sensors are refused by what they are."""

import json

import pytest

from landweave.core.errors import InputError
from landweave.sources.stac.items import StacItem, UnusableItem
from landweave.sources.stac.products import refuse_unsupported
from landweave.sources.stac.search import StacQuery, search
from tests.helpers.stac_items import made_item, optical, radar, real_items, with_properties

CASES = "cases/stac"


@pytest.mark.parametrize(
    ("name", "modality", "what", "instead"),
    [
        ("HLS.S30.T19LDD.2022166T144741.v2.0.json", "SENTINEL2_TS", "is HLS, ", "sentinel-2-l2a"),
        ("Sentinel-1_IW_mosaic_2020_M01_01LGD_0_0.json", "SENTINEL1-ASC_TS", "is a mosaic of Sen", "sentinel-1-rtc"),
    ],
)
def test_real_products_that_are_no_scenes_are_refused_by_their_names(shared, name, modality, what, instead):
    path = shared(CASES) / name
    (item,) = real_items(path)
    west, south, east, north = item.get("bbox") or (-70, -16, -68, -14)
    bands = ("VV", "VH") if "SENTINEL1" in modality else ("B2", "B8")
    query = StacQuery(catalog=str(path), modality=modality, bands=bands, dates="2019-01-01/2023-01-01")
    with pytest.raises(InputError, match=f"{what}.*{instead}"):
        search(query, (west, south, east, north))


@pytest.mark.parametrize(
    ("item", "mission", "what"),
    [
        (made_item("LC09_L2SP_199030_20230601_02_T1", collection="landsat-c2-l2"), "sentinel-2", "is Landsat"),
        (made_item("MOD09A1.A2021001.h18v04.061", collection="modis-09A1-061"), "sentinel-2", "is MODIS"),
        (made_item("VNP09GA.A2021001", collection="viirs"), "sentinel-2", "is VIIRS"),
        (made_item("S3A_OL_2_LFR____20210101", collection="sentinel-3-olci"), "sentinel-2", "is Sentinel-3"),
        (made_item("S5P_L2_NO2", collection="sentinel-5p-l2"), "sentinel-2", "is Sentinel-5P"),
        (made_item("HLSL30.T31TEJ.2021", collection="HLSL30_2.0"), "sentinel-2", "is HLS"),
        (
            made_item("S1A_IW_SLC__1SDV_20210614T173953", collection="sentinel-1-slc"),
            "sentinel-1",
            "is Sentinel-1 SLC: complex numbers",
        ),
        (made_item("S1A_IW_OCN__2SDV_20210614", collection="sentinel-1-ocn"), "sentinel-1", "is Sentinel-1 OCN"),
        (
            made_item("S2B_31QGB_20200831_0_L1C", collection="sentinel-2-l1c"),
            "sentinel-2",
            "is Sentinel-2 level 1C: reflectance at the top of the atmosphere",
        ),
        (
            made_item("q1", collection="c", start_datetime="2021-01-01T00:00:00Z", end_datetime="2021-03-31T23:59:59Z"),
            "sentinel-2",
            "spans 89 days, from start to end: a composite",
        ),
        (with_properties(optical(), platform="planetscope"), "sentinel-2", "is of planetscope, and sentinel-2"),
        (with_properties(optical(), platform="sentinel-2a"), "sentinel-1", "is of sentinel-2a, and sentinel-1"),
        (radar(), "sentinel-2", "is of sentinel-1a, and sentinel-2 is needed"),
    ],
)
def test_other_products_say_what_they_are_and_what_is_taken_instead(item, mission, what):
    with pytest.raises(UnusableItem, match=rf"^{what}.*Take ") as error:
        refuse_unsupported(StacItem(item), mission)
    assert mission in str(error.value).split("Take ")[1].lower()


def test_scenes_of_both_satellites_are_none_of_these(shared):
    for path in sorted(shared("data/stac").iterdir()):
        for item in real_items(path):
            is_radar = item["id"].startswith("S1")
            refuse_unsupported(StacItem(item), "sentinel-1" if is_radar else "sentinel-2")


def test_terrain_corrected_power_that_was_made_from_an_slc_is_no_slc():
    item = radar(collection="opera-rtc-s1")
    item["id"] = "S1A_IW_SLC__1SDV_20210614T173953_RTC"
    refuse_unsupported(StacItem(item), "sentinel-1")


def test_level_1c_among_level_2a_is_left_out_by_name(tmp_path):
    top = json.loads(json.dumps(optical("20210619")).replace("MSIL2A", "MSIL1C"))
    path = tmp_path / "items.json"
    path.write_text(json.dumps([optical(), top]))
    found = search(StacQuery(catalog=str(path), modality="SENTINEL2_TS", bands=("B2",)), (2.9, 43.2, 4.2, 44.2))
    (left,) = found.dropped
    assert (left.id, len(found.observation_scenes)) == (top["id"], 1)
    assert left.reason.startswith("is Sentinel-2 level 1C")
