import json
import random
from dataclasses import replace

import numpy as np
import pytest

from landweave.sources.stac.observations import group_observations
from landweave.sources.stac.records import Scene
from landweave.sources.stac.sentinel1 import read_sentinel1
from landweave.sources.stac.sentinel2 import read_sentinel2
from tests.helpers.stac_items import optical, radar, real_items, with_properties


def scene(day="20210614", **settings):
    return read_sentinel2(optical(day, **settings), ("B2",))


def ids(observations):
    return [[each.id for each in entry.scenes] for entry in observations]


@pytest.fixture
def scenes():
    """Three passes of four tiles; two tiles in two versions, one of them made twice with one baseline."""
    made = [scene(day, tile=tile) for day in ("20210604", "20210609", "20210614") for tile in ("31TDJ", "31TEJ")]
    made += [scene("20210609", tile="31TEJ", baseline="0300", made="20210609T130000")]
    made += [scene("20210614", tile="31TDJ", made=f"2023020{n}T000000") for n in (1, 2)]
    return made


@pytest.mark.parametrize("seed", range(5))
def test_law_the_order_of_the_items_is_of_no_account(scenes, seed):
    shuffled = random.Random(seed).sample([*scenes, *scenes[:3]], len(scenes) + 3)
    assert group_observations(shuffled) == group_observations(scenes)


def test_law_a_date_holds_each_tile_once_and_every_scene_is_kept_or_dropped(scenes):
    observations, dropped = group_observations(scenes)
    for entry in observations:
        tiles = [each.tile for each in entry.scenes]
        assert len(tiles) == len(set(tiles))
    kept = [name for group in ids(observations) for name in group]
    assert sorted(kept + [each.id for each in dropped]) == sorted({each.id for each in scenes})


def test_law_dates_ascend_and_their_names_stay_in_another_search(scenes):
    observations, _ = group_observations(scenes)
    order = [(entry.observation.time, entry.observation.datatake_id) for entry in observations]
    assert order == sorted(order)
    some, _ = group_observations([each for each in scenes if each.tile == "31TDJ"])
    assert [entry.observation.datatake_id for entry in some] == [
        entry.observation.datatake_id for entry in observations
    ]
    assert len({entry.observation.datatake_id for entry in observations}) == len(observations)


def test_of_two_versions_the_newest_baseline_is_kept_then_the_one_made_last(scenes):
    observations, dropped = group_observations(scenes)
    assert [each.processed for each in observations[2].scenes] == [
        np.datetime64("2023-02-02"),
        np.datetime64("2023-01-01"),
    ]
    reasons = {each.id[11:19] + each.id[-15:-7]: each.reason for each in dropped}
    assert reasons == {
        "2021060920210609": "an older version: baseline 03.00, and 05.00 is there",
        "2021061420230101": "an older version: the same baseline was processed again later",
        "2021061420230201": "an older version: the same baseline was processed again later",
    }


def test_a_newer_baseline_wins_though_it_was_made_earlier():
    old, new = scene(baseline="0301", made="20240101T000000"), scene(baseline="0500", made="20230101T000000")
    (entry,), (dropped,) = group_observations([old, new])
    assert (entry.scenes, dropped.id) == ((new,), old.id)


@pytest.mark.parametrize("ids", [("a", "b"), ("b", "a")])
def test_of_one_baseline_the_version_made_last_wins_whatever_it_is_called(ids):
    first, last = (
        replace(scene(), id=name, processed=np.datetime64(f"2023-0{month}-01", "s"))
        for name, month in zip(ids, (1, 2), strict=True)
    )
    for given in ([first, last], [last, first]):
        (entry,), (dropped,) = group_observations(given)
        assert (entry.scenes, dropped.id) == ((last,), first.id)


def test_scenes_are_read_newest_baseline_first_then_by_tile():
    given = [
        scene(tile=tile, baseline=base) for tile, base in (("31TCJ", "0301"), ("31TEJ", "0500"), ("31TDJ", "0500"))
    ]
    (entry,), _ = group_observations(given)
    assert [each.tile for each in entry.scenes] == ["31TDJ", "31TEJ", "31TCJ"]


def test_two_parts_of_a_pass_that_were_received_apart_are_both_kept():
    parts = [replace(scene(), id=f"part{n}", datastrip=f"20210614T10503{n}") for n in (1, 2)]
    older = replace(scene(baseline="0300"), datastrip="20210614T105031")
    (entry,), dropped = group_observations([*parts, older])
    assert [each.id for each in entry.scenes] == ["part1", "part2"]
    assert [each.id for each in dropped] == [older.id]


def test_tiles_of_one_datatake_are_one_date_in_two_zones(shared):
    items = real_items(shared("data/stac") / "sentinel-2-l2a-pc.json")
    (entry,), _ = group_observations(read_sentinel2(item, ("B2",)) for item in items)
    assert entry.observation.datatake_id == "S2B_20240419T095549"
    assert [each.tile for each in entry.scenes] == ["46XER", "46XES", "47XMJ", "47XML"]
    assert {each.assets["B2"].crs for each in entry.scenes} == {"EPSG:32646", "EPSG:32647"}


def test_two_satellites_over_one_tile_are_two_dates(shared):
    items = real_items(shared("data/stac") / "two-sentinel-2-items.json")
    observations, _ = group_observations(read_sentinel2(item, ("B2",)) for item in items)
    assert [entry.observation.datatake_id for entry in observations] == ["S2A_20240823T174901", "S2B_20240825T173909"]


def test_a_strip_is_not_cut_where_the_solar_day_changes():
    west, east = scene(tile="60KZF"), scene(tile="01KAA")
    assert west.solar_day != east.solar_day
    assert len(group_observations([west, east])[0]) == 1


def test_a_relative_orbit_that_comes_again_is_another_date():
    passes = [replace(scene(day), datatake="S2A_R051") for day in ("20210604", "20210614")]
    keys = [entry.observation.datatake_id for entry in group_observations(passes)[0]]
    assert keys == ["S2A_R051_20210604", "S2A_R051_20210614"]


def test_frames_of_one_radar_pass_are_one_date_and_its_halves_are_two(shared):
    items = real_items(shared("data/stac") / "sentinel-1-rtc-pc.json")
    frames = [read_sentinel1(item, ("VV",)) for item in items]
    (entry,), dropped = group_observations(frames)
    assert (entry.observation.datatake_id, len(entry.scenes), dropped) == ("S1A_A053498_DES", 4, ())
    assert entry.observation.time == np.datetime64("2024-04-19T04:58:01")
    other = read_sentinel1(with_properties(items[0], sat__orbit_state="ascending"), ("VV",))
    assert len(group_observations([*frames[1:], other])[0]) == 2


def test_a_radar_frame_made_again_counts_once():
    first = radar(s1__processing_datetime="2021-06-14T20:00:00Z")
    again = {**with_properties(first, s1__processing_datetime="2022-01-01T00:00:00Z"), "id": "again"}
    (entry,), (dropped,) = group_observations(read_sentinel1(item, ("VV",)) for item in (again, first))
    assert (entry.scenes[0].id, dropped.id) == ("again", first["id"])


def test_a_date_says_where_it_comes_from_in_plain_json():
    given = [scene(tile="31TDJ"), scene(tile="31TEJ", baseline="0301")]
    (entry,), _ = group_observations([replace(each, orbit_state="descending") for each in given])
    provenance = entry.observation.provenance
    assert json.loads(json.dumps(provenance)) == provenance
    assert provenance == {
        "scenes": [each.id for each in given],
        "collections": ["sentinel-2-l2a"],
        "solar_day": "2021-06-14",
        "baselines": ["03.01", "05.00"],
        "offsets": ["none in 03.01", "raw: -1000 applied here"],
        "orbit_state": "descending",
        "relative_orbit": 51,
        "quantity": "reflectance",
    }


def test_nothing_gives_nothing():
    assert group_observations(list[Scene]()) == ((), ())
