import itertools
import json

import numpy as np
import pytest

from landweave.sources.stac.items import UnusableItem
from landweave.sources.stac.scene_reader import SceneReading
from landweave.sources.stac.sentinel2 import decide_offset, read_sentinel2
from tests.helpers.stac_items import BANDS, optical, real_items, with_properties

ALL = (*BANDS, "SCL")
RAW, STATED, OLD = -1000.0, -1000.0, 0.0

# Typed from the names of the products and the text of the items, one item a line:
# file; datatake; tile; baseline; offset; relative orbit (in R…; None where no name tells it); zone.
EXPECTED = [
    ("S2A_28QCH_20200714_0_L2A.json", "S2A_20200714T115221", "28QCH", "02.14", OLD, 123, 32628),
    (
        "S2A_MSIL2A_20190212T192651_N0212_R013_T07HFE_20201007T160857.json",
        "S2A_20190212T192651",
        "07HFE",
        "02.12",
        OLD,
        13,
        32707,
    ),
    (
        "S2A_MSIL2A_20230625T234621_N0509_R073_T01WCP_20230626T022157.json",
        "S2A_20230625T234621",
        "01WCP",
        "05.09",
        STATED,
        73,
        32601,
    ),
    (
        "S2A_OPER_MSI_L2A_TL_2APS_20240108T121951_A044635_T34VEL.json",
        "S2A_A044635",
        "34VEL",
        "05.10",
        STATED,
        None,
        32634,
    ),
    ("S2B_31QGB_20200831_0_L2A.json", "S2B_20200831T100559", "31QGB", "02.14", OLD, 22, 32631),
    (
        "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json",
        "S2B_20190629T212529",
        "06VVN",
        "02.12",
        OLD,
        43,
        32606,
    ),
    (
        "S2B_MSIL2A_20200914T231559_N0500_R087_T01VCG_20230315T224658.json",
        "S2B_A018417",
        "01VCG",
        "05.00",
        STATED,
        None,
        32601,
    ),
    (
        "S2B_MSIL2A_20220413T150759_N0400_R025_T33XWJ_20220414T082126.json",
        "S2B_20220413T150759",
        "33XWJ",
        "04.00",
        STATED,
        25,
        32633,
    ),
    (
        "esa_S2B_MSIL2A_20210122T133229_N0214_R081_T22HBD_20210122T155500.json",
        "S2B_20210122T133229",
        "22HBD",
        "02.14",
        OLD,
        81,
        32722,
    ),
    ("sentinel-2-item.json", "S2B_20220612T182919", "24XWR", "04.00", RAW, 27, 32624),
    ("sentinel-2-l2a-pc.json", "S2B_20240419T095549", "46XER", "05.10", RAW, 122, 32646),
    ("sentinel-2-l2a-pc.json", "S2B_20240419T095549", "46XES", "05.10", RAW, 122, 32646),
    ("sentinel-2-l2a-pc.json", "S2B_20240419T095549", "47XMJ", "05.10", RAW, 122, 32647),
    ("sentinel-2-l2a-pc.json", "S2B_20240419T095549", "47XML", "05.10", RAW, 122, 32647),
    ("two-sentinel-2-items.json", "S2A_20240823T174901", "13TDE", "05.11", RAW, 141, 32613),
    ("two-sentinel-2-items.json", "S2B_20240825T173909", "13TDE", "05.11", RAW, 98, 32613),
    *(
        ("site2-2020_jun_jul-35MNM.geojson", datatake, "35MNM", "02.12", OLD, 78, 32735)
        for datatake in (
            "S2A_20200601T080611",
            "S2A_20200611T080611",
            "S2A_20200621T080611",
            "S2A_20200701T080611",
            "S2A_20200711T080611",
            "S2A_20200721T080611",
            "S2A_20200731T080611",
            "S2B_20200606T080609",
            "S2B_20200616T080609",
            "S2B_20200626T080609",
            "S2B_20200706T080609",
            "S2B_20200716T080609",
            "S2B_20200726T080609",
        )
    ),
]
ESA_NAMES = dict(zip(BANDS, ("B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B11", "B12"), strict=True))
FINE = ("B2", "B3", "B4", "B8")


@pytest.fixture
def earth_search(shared):
    """A real item of Earth Search v1 as its younger ones are: baseline 05.10, the offset stated in every band."""
    (item,) = real_items(shared("data/stac") / "S2B_31QGB_20200831_0_L2A.json")
    for asset in item["assets"].values():
        for band in asset.get("raster:bands", ()):
            band |= {"offset": -0.1} if "offset" in band and asset.get("eo:bands") else {}
    return with_properties(item, s2__processing_baseline="05.10", earthsearch__boa_offset_applied=True)


@pytest.mark.parametrize("name", sorted({row[0] for row in EXPECTED}))
def test_every_real_item_is_read_as_its_names_say(shared, name):
    scenes = sorted(
        (read_sentinel2(item, ALL) for item in real_items(shared("data/stac") / name)),
        key=lambda scene: (scene.datatake, scene.tile),
    )
    read = [
        (name, scene.datatake, scene.tile, scene.baseline, offset, scene.relative_orbit, int(crs.split(":")[1]))
        for scene in scenes
        for offset, crs in {(scene.assets[band].offset, scene.assets[band].crs) for band in BANDS}
    ]
    assert read == [row for row in EXPECTED if row[0] == name]


def test_no_optical_item_file_is_left_out(shared):
    optical_files = {path.name for path in shared("data/stac").iterdir() if "s1" not in path.name.lower()[:9]}
    assert {row[0] for row in EXPECTED} == optical_files - {"sentinel-1-rtc-pc.json"}


@pytest.mark.parametrize("name", sorted({row[0] for row in EXPECTED}))
def test_every_band_is_its_own_file_at_its_native_pixel(shared, name):
    for item in real_items(shared("data/stac") / name):
        scene = read_sentinel2(item, ALL)
        assets = scene.assets
        for band, esa in {**ESA_NAMES, "SCL": "SCL"}.items():
            asset = assets[band]
            pixel = 10 if band in FINE else 20
            assert f"{esa}" in asset.href.rsplit("/", 1)[1]
            assert (asset.transform.a, asset.transform.e) == (pixel, -pixel)
            assert asset.shape == (109_800 // pixel, 109_800 // pixel)
            reading = SceneReading(bands=ALL).band(scene, band)
            assert (reading.scale, {each.value for each in reading.nodata}, reading.number) == (1, {0}, 1)
        assert len({asset.href for asset in assets.values()}) == len(ALL)


def test_orbits_times_and_versions_of_real_items(shared):
    (item,) = real_items(shared("data/stac") / "S2B_MSIL2A_20190629T212529_R043_T06VVN_20201006T080531.json")
    scene = read_sentinel2(item, ALL)
    assert scene.orbit_state == "descending"
    assert scene.time == np.datetime64("2019-06-29T21:25:29")
    assert scene.solar_day == np.datetime64("2019-06-29")
    assert scene.processed == np.datetime64("2020-10-06T08:05:31")
    assert scene.datastrip == "20190629T212530"
    assert scene.bounds == (-148.86876, 60.336300316820406, -146.81763, 61.33432012718688)


def test_probabilities_are_read_where_an_item_has_them_and_0_is_one(shared):
    (item,) = real_items(shared("data/stac") / "S2A_OPER_MSI_L2A_TL_2APS_20240108T121951_A044635_T34VEL.json")
    scene = read_sentinel2(item, ("CLOUD", "SNOW"))
    assets = scene.assets
    assert [assets[name].href[-14:] for name in ("CLOUD", "SNOW")] == ["qi/CLD_20m.jp2", "qi/SNW_20m.jp2"]
    readings = [SceneReading(bands=("CLOUD", "SNOW")).band(scene, name) for name in ("CLOUD", "SNOW")]
    assert [(reading.nodata, reading.file_tag) for reading in readings] == [((), False), ((), False)]


# The offset, on the numbers.


WATER = 100
"""Reflectance x 10000 of dark water: once too often gives -900, forgotten gives 1100."""


def decode(asset, stored):
    return stored * asset.scale + asset.offset


@pytest.mark.parametrize("band", BANDS)
def test_dark_water_of_planetary_computer_comes_out_dark(shared, band):
    (item,) = real_items(shared("data/stac") / "sentinel-2-item.json")
    scene = read_sentinel2(item, (band,))
    assert decode(scene.assets[band], 1100) == WATER
    assert scene.offset_decision == "raw: -1000 applied here"


@pytest.mark.parametrize("band", BANDS)
def test_dark_water_of_an_esa_product_with_a_stated_offset_comes_out_dark(shared, band):
    (item,) = real_items(shared("data/stac") / "S2A_MSIL2A_20230625T234621_N0509_R073_T01WCP_20230626T022157.json")
    scene = read_sentinel2(item, (band,))
    assert decode(scene.assets[band], 1100) == WATER
    assert scene.offset_decision == "stated as scale and offset: -1000 applied here"


@pytest.mark.parametrize("band", BANDS)
def test_a_flag_that_it_was_applied_counts_before_the_offset_that_is_stated_all_the_same(earth_search, band):
    assert earth_search["assets"]["blue"]["raster:bands"][0]["offset"] == -0.1
    scene = read_sentinel2(earth_search, (band,))
    assert decode(scene.assets[band], 100) == WATER
    assert scene.offset_decision == "already applied by the provider, by its flag"


def test_the_flag_is_not_about_the_originals_beside_the_copies(earth_search):
    earth_search["assets"].pop("blue")
    scene = read_sentinel2(earth_search, ("B2", "B3"))
    assert scene.assets["B2"].href.endswith("B02.jp2")
    assert decode(scene.assets["B2"], 1100) == decode(scene.assets["B3"], 100) == WATER
    assert scene.offset_decision.count(";") == 1


def test_a_flag_that_it_was_not_applied_is_believed(earth_search):
    item = with_properties(earth_search, earthsearch__boa_offset_applied=False)
    assert decode(read_sentinel2(item, ("B2",)).assets["B2"], 1100) == WATER


@pytest.mark.parametrize("stated", [(None, None), (0.0001, 0.0), (0.0001, -0.1)])
@pytest.mark.parametrize(("applied", "stored"), [(True, 100), (False, 1100)])
def test_beside_a_flag_the_stated_offset_is_of_no_account(applied, stored, stated):
    scale, offset, _ = decide_offset(baseline="05.10", applied=applied, stated=stated)
    assert stored * scale + offset == WATER


def test_a_tile_of_an_old_baseline_has_no_offset_whatever_its_date_and_a_new_one_has():
    old = optical("20220301", baseline="0301")
    new = optical("20190301", baseline="0500")
    assert decode(read_sentinel2(old, ("B2",)).assets["B2"], 100) == WATER
    assert decode(read_sentinel2(new, ("B2",)).assets["B2"], 1100) == WATER


# Whoever takes the offset off and says so nowhere can be read by nobody.
PROVIDERS = [
    (baseline, takes_off, flags, states)
    for baseline, takes_off, flags, states in itertools.product(["02.14", "04.00", "05.11"], *[[False, True]] * 3)
    if flags or states or not takes_off
]


@pytest.mark.parametrize(("baseline", "takes_off", "flags", "states"), PROVIDERS)
def test_law_the_ground_comes_back_whatever_the_provider_did_and_however_it_says_so(baseline, takes_off, flags, states):
    added = 1000 if float(baseline) >= 4 else 0
    left = 0 if takes_off else added
    scale, shift, _ = decide_offset(
        baseline=baseline,
        applied=(takes_off and added > 0) if flags else None,
        stated=(0.0001, -left / 10_000) if states else (None, None),
    )
    for reflectance in (1, WATER, 4000):
        assert (reflectance + left) * scale + shift == reflectance


@pytest.mark.parametrize(
    ("baseline", "stated", "why"),
    [
        ("", (None, None), "neither its processing baseline nor its offset"),
        ("02.14", (0.0001, -0.1), "states an offset of -1000, and its baseline 02.14 has none"),
        ("05.10", (0.0001, -1000.0), "states an offset of -1e[+]07 where 0 or -1000"),
        ("02.14", (None, -0.1), "states an offset of -1000, and its baseline 02.14 has none"),
        ("02.14", (1.0, -1000.0), "states an offset of -1000, and its baseline 02.14 has none"),
    ],
)
def test_what_contradicts_itself_or_says_nothing_is_not_guessed(baseline, stated, why):
    with pytest.raises(UnusableItem, match=why):
        decide_offset(baseline=baseline, applied=None, stated=stated)


@pytest.mark.parametrize("stated", [(None, -0.1), (1.0, -1000.0), (1, -0.1)])
def test_an_offset_alone_is_one_too(stated):
    assert decide_offset(baseline="", applied=None, stated=stated)[:2] == (1, -1000)


def test_a_scale_of_one_states_nothing():
    assert decide_offset(baseline="05.10", applied=None, stated=(1.0, 0.0))[:2] == (1, -1000)


def test_floats_without_a_scale_are_not_guessed():
    item = optical()
    item["assets"]["B02"]["raster:bands"] = [{"data_type": "float32"}]
    with pytest.raises(UnusableItem, match="stores float32 without a scale in 'b02'"):
        read_sentinel2(item, ("B2",))


# Names.


def test_the_copernicus_data_space_is_read_by_its_names():
    name = "S2B_MSIL2A_20250302T095029_N0511_R079_T33UXP_20250302T104753"
    item = optical("20250302", tile="33UXP")
    item |= {"id": name, "stac_version": "1.1.0"}
    item["properties"] = {
        "datetime": "2025-03-02T09:50:29.024000Z",
        "grid:code": "MGRS-33UXP",
        "processing:version": "05.11",
        "processing:datetime": "2025-03-02T10:47:53.000000Z",
        "eopf:datatake_id": "GS2B_20250302T095029_041703_N05.11",
        "sat:orbit_state": "descending",
        "sat:relative_orbit": 79,
    }
    item["assets"] = {
        f"B8A_{pixel}m": {
            "href": f"s3://eodata/Sentinel-2/MSI/L2A/2025/03/02/{name}.SAFE/R{pixel}m/T33UXP_B8A_{pixel}m.jp2",
            "type": "image/jp2",
            "proj:code": "EPSG:32633",
            "proj:transform": [pixel, 0, 600000, 0, -pixel, 5400000],
            "data_type": "uint16",
            "nodata": 0,
            "raster:scale": 0.0001,
            "raster:offset": -0.1,
            "bands": [{"name": "B8A", "eo:common_name": "nir08", "eo:center_wavelength": 0.865}],
        }
        for pixel in (60, 20)
    }
    scene = read_sentinel2(item, ("B8A",))
    asset = scene.assets["B8A"]
    assert (scene.datatake, scene.baseline, scene.tile) == ("S2B_20250302T095029", "05.11", "33UXP")
    assert scene.processed == np.datetime64("2025-03-02T10:47:53")
    assert (asset.href[-12:], asset.crs, asset.offset) == ("_B8A_20m.jp2", "EPSG:32633", -1000)


def test_bands_of_one_file_are_told_apart_by_its_list_of_bands():
    item = optical()
    bands = [{"name": f"x{n}", "common_name": "rededge", "center_wavelength": w} for n, w in enumerate((0.70, 0.78))]
    item["assets"] = {"all": {"href": "https://files.example/all.tif", "eo:bands": [*bands, {"name": "B8A"}]}}
    assets = read_sentinel2(item, ("B5", "B7", "B8A")).assets
    assert [assets[name].band for name in ("B5", "B7", "B8A")] == [1, 2, 3]


def test_versions_of_one_datatake_share_its_name_in_every_catalog(shared):
    (item,) = real_items(shared("data/stac") / "S2B_31QGB_20200831_0_L2A.json")
    text = json.dumps(item).replace("N0214", "N0500").replace("N02.14", "N05.00").replace('"02.14"', '"05.00"')
    younger = json.loads(text)
    bare = with_properties(item, s2__datatake_id=None, s2__datastrip_id=None, s2__granule_id=None)
    read = [read_sentinel2(each, ("B2",)) for each in (item, younger, bare)]
    assert {scene.datatake for scene in read} == {"S2B_20200831T100559"}
    assert [scene.baseline for scene in read] == ["02.14", "05.00", "02.14"]


def test_level_1c_is_refused():
    item = json.loads(json.dumps(optical()).replace("MSIL2A", "MSIL1C"))
    with pytest.raises(UnusableItem, match="level 1C"):
        read_sentinel2(item, ("B2",))


def test_reflectance_at_the_top_of_the_atmosphere_is_refused_by_the_words_of_its_asset():
    item = optical()
    item["assets"]["B02"]["title"] = "Blue, TOA reflectance"
    with pytest.raises(UnusableItem, match="level 1C"):
        read_sentinel2(item, ("B2",))
    assert read_sentinel2(item, ("B3",)).assets


def test_a_missing_band_is_named_with_what_there_is():
    item = optical()
    del item["assets"]["B05"]
    with pytest.raises(UnusableItem, match=r"no asset for B5, CLOUD; it has B02, B03, B04, B06, .*SCL"):
        read_sentinel2(item, ("B2", "B5", "CLOUD"))


def test_a_pass_without_a_name_is_known_by_its_orbit_or_not_at_all():
    item = with_properties(optical(), s2__product_uri=None, s2__processing_baseline="05.00", platform="Sentinel-2A")
    item = json.loads(json.dumps(item).replace(item["id"], "scene"))
    with pytest.raises(UnusableItem, match="gives no datatake"):
        read_sentinel2(item, ("B2",))
    assert read_sentinel2(with_properties(item, sat__relative_orbit=51), ("B2",)).datatake == "S2A_R051"
