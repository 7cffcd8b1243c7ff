import pickle

import pytest

from landweave.core.errors import ConfigError, InputError
from landweave.sources.stac.search import StacQuery, search
from tests.helpers.stac_items import BANDS, BOX, optical, radar, write_items

SITE2 = "data/stac/site2-2020_jun_jul-35MNM.geojson"
HERE = (27.2, -8.0, 27.3, -7.9)


def optical_query(catalog, **settings):
    return StacQuery(catalog=str(catalog), modality="SENTINEL2_TS", bands=BANDS, **settings)


def radar_query(catalog, **settings):
    settings = {"modality": "SENTINEL1-ASC_TS", **settings}
    return StacQuery(catalog=str(catalog), bands=("VV", "VH"), **settings)


def test_a_real_series_comes_as_its_dates(shared):
    found = search(optical_query(shared(SITE2), dates="2020-06-10/2020-07-20"), HERE)
    days = [str(entry.observation.time)[:10] for entry in found.observation_scenes]
    # Typed from the product names: every five days, two satellites in turn.
    assert days == [
        *("2020-06-11", "2020-06-16", "2020-06-21", "2020-06-26"),
        *("2020-07-01", "2020-07-06", "2020-07-11", "2020-07-16"),
    ]
    assert (found.items, found.dropped) == (8, ())
    assert {tuple(entry.scenes[0].assets) for entry in found.observation_scenes} == {(*BANDS, "SCL")}
    assert pickle.loads(pickle.dumps(found)) == found


def test_what_was_found_says_what_was_asked_found_kept_and_dropped(tmp_path):
    lacking = optical("20210619")
    del lacking["assets"]["SCL"]
    old = optical("20210614", baseline="0300")
    path = write_items(tmp_path / "items.json", optical("20210609"), optical("20210614"), old, lacking)
    lines = str(search(optical_query(path), BOX)).splitlines()
    assert lines == [
        "modality    SENTINEL2_TS",
        "bands       B2 B3 B4 B5 B6 B7 B8 B8A B11 B12 SCL",
        f"catalog     {path}",
        "collections all",
        "dates       2021-01-01/2021-12-31",
        "bounds      2.9 43.2 4.2 44.2",
        "found       4 items",
        "kept        2 dates, 2021-06-09 to 2021-06-14, of 2 scenes",
        "dropped     2:",
        f"- 1 an older version: baseline 03.00, and 05.00 is there: {old['id']}",
        f"- 1 has no asset for SCL; it has B02, B03, B04, B05, B06, B07, B08, B11, B12, B8A: {lacking['id']}",
    ]


def test_a_search_that_finds_nothing_says_where_it_looked_and_what_there_is(shared):
    path = shared(SITE2)
    with pytest.raises(InputError) as error:
        search(optical_query(path, collections=("sentinel-2-l2a",), dates="2021-06-10/2021-07-20"), HERE)
    assert str(error.value) == (
        f"{path} has no item of sentinel-2-l2a within 27.2 -8 27.3 -7.9 from 2021-06-10/2021-07-20. It covers 13 "
        "items of sentinel-2-l2a from 2020-06-01 to 2020-07-31 within 26.9998 -8.2305 27.9967 -7.2362. Ask for "
        "other dates, another area or another collection."
    )
    with pytest.raises(InputError, match="has no item within 3 43 4 44"):
        search(optical_query(path, dates="2020-06-10/2020-07-20"), (3, 43, 4, 44))


def test_an_asset_that_no_item_has_is_an_error_with_what_they_have(shared):
    query = optical_query(shared(SITE2), dates="2020-06-10/2020-07-20", cloud_source="probability")
    with pytest.raises(
        InputError, match=r"None of 8 items .*SENTINEL2_TS:\n- 8 has no asset for CLOUD, SNOW; it has AOT"
    ):
        search(query, HERE)


def test_probabilities_are_searched_for_where_they_are_asked_for(shared):
    path = shared("data/stac") / "S2A_OPER_MSI_L2A_TL_2APS_20240108T121951_A044635_T34VEL.json"
    query = optical_query(path, dates="2024-01-01/2024-12-31", cloud_source="probability", cloud_max=40, snow_max=40)
    (entry,) = search(query, (20, 58, 22, 60)).observation_scenes
    assert [name for name in entry.scenes[0].assets if name not in BANDS] == ["CLOUD", "SNOW"]


def test_radar_is_of_the_orbit_that_its_modality_names(shared):
    path = shared("data/stac") / "sentinel-1-rtc-pc.json"
    whole = {"dates": "2024-01-01/2024-12-31"}
    assert (
        len(search(radar_query(path, modality="SENTINEL1-DESC_TS", **whole), (14, 30, 15, 35)).observation_scenes) == 1
    )
    with pytest.raises(InputError, match="4 is descending, ascending was asked"):
        search(radar_query(path, **whole), (14, 30, 15, 35))
    with pytest.raises(InputError, match="4 measures gamma0_rtc, sigma0 was asked"):
        search(radar_query(path, modality="SENTINEL1-DESC_TS", quantity="sigma0", **whole), (14, 30, 15, 35))


def test_raw_radar_is_listed_and_refused(shared):
    path = shared("data/stac") / "mspc-s1-grd.json"
    with pytest.raises(InputError, match=r"None of 1 item .*\n- 1 is raw: .*Take a calibrated, orthorectified"):
        search(radar_query(path, modality="SENTINEL1-DESC_TS", dates="2024-01-01/2024-12-31"), (4, 51, 5, 52))


def test_raw_radar_among_others_is_left_out(tmp_path):
    path = write_items(tmp_path / "items.json", radar("20210614"), radar("20210626", collection="sentinel-1-grd"))
    found = search(radar_query(path), BOX)
    assert [len(found.observation_scenes), len(found.dropped)] == [1, 1]


def test_two_quantities_are_no_series_until_one_is_named(tmp_path):
    path = write_items(
        tmp_path / "items.json", radar("20210614"), radar("20210626", collection="sigma0", text="orthorectified")
    )
    with pytest.raises(InputError, match="gives gamma0_rtc and sigma0 for SENTINEL1-ASC_TS"):
        search(radar_query(path), BOX)
    assert [
        entry.observation.datatake_id for entry in search(radar_query(path, quantity="sigma0"), BOX).observation_scenes
    ] == ["S1A_A038026_ASC"]


def test_an_item_that_does_not_say_when_is_dropped_with_the_reason(tmp_path):
    timeless = optical("20210619")
    del timeless["properties"]["datetime"]
    found = search(optical_query(write_items(tmp_path / "a.json", optical(), timeless)), BOX)
    assert [each.reason for each in found.dropped] == ["has neither datetime nor start_datetime"]


def test_a_query_is_a_value():
    query = optical_query("items.json")
    assert pickle.loads(pickle.dumps(query)) == query
    assert query.assets[-1] == "SCL"
    assert radar_query("items.json").assets == ("VV", "VH")
    assert [radar_query("a", modality=f"SENTINEL1-{way}_TS").orbit for way in ("ASC", "DESC")] == [
        "ascending",
        "descending",
    ]
    assert optical_query("a").orbit is None


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"dates": "2021"}, "first and the last day"),
        ({"dates": "2021-12-31/2021-01-01"}, "first and the last day"),
        ({"dates": "2021-02-30/2021-03-01"}, "first and the last day"),
        ({"modality": "SPOT_RGBI"}, "'SPOT_RGBI' has no series"),
        ({"bands": ("B2", "B13")}, r"asked for bands \['B13'\]: it has B2, B3"),
        ({"bands": ()}, "asked for bands none"),
        ({"modality": "SENTINEL1-ASC_TS", "bands": ("B2",)}, "it has VV, VH"),
        ({"cloud_source": "guess"}, "scl or probability"),
        ({"orbit_state": "up"}, "ascending or descending"),
        ({"modality": "SENTINEL1-ASC_TS", "bands": ("VV",), "orbit_state": "descending"}, "take the other modality"),
        ({"quantity": "sigma0"}, "of Sentinel-1 only"),
        ({"modality": "SENTINEL1-ASC_TS", "bands": ("VV",), "quantity": "beta0"}, "sigma0 or gamma0_rtc"),
        ({"sign": "nobody"}, "Nobody signs as 'nobody': planetary-computer does"),
    ],
)
def test_a_query_that_cannot_be_asked_is_refused(settings, message):
    with pytest.raises(ConfigError, match=message):
        StacQuery(**{"catalog": "items.json", "modality": "SENTINEL2_TS", "bands": ("B2",), **settings})
