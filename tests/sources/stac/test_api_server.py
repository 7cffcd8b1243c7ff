"""The search against an API that catalogs really run, on this machine, with more items than it gives at a time."""

from collections import Counter

import pytest

from landweave.core.errors import InputError
from landweave.sources.stac.catalogs import PAGE
from landweave.sources.stac.search import StacQuery, search
from tests.helpers.pgstac import stac_api
from tests.helpers.stac_items import BANDS, BOX, optical, radar, real_items, write_items

pytestmark = pytest.mark.slow

HERE = (3.4, 43.5, 3.6, 43.7)
DAYS = [f"2021{month:02}{day:02}" for month in range(1, 13) for day in range(1, 26, 5)]
TILES = ("31TEJ", "31TDJ", "31TEK")
NORTH = (2.9, 44.5, 4.2, 45.5)


def collection(name):
    spatial, temporal = [[-180, -90, 180, 90]], [["2015-06-27T00:00:00Z", None]]
    return {
        "type": "Collection",
        "stac_version": "1.0.0",
        "id": name,
        "description": "for tests",
        "license": "proprietary",
        "links": [],
        "extent": {"spatial": {"bbox": spatial}, "temporal": {"interval": temporal}},
    }


@pytest.fixture(scope="module")
def items(shared):
    """A year of three tiles, one of them in the north, some in an older version too; radar; and a real series."""
    boxes = dict(zip(TILES, (BOX, BOX, NORTH), strict=True))
    made = [optical(day, tile=tile, box=boxes[tile]) for day in DAYS for tile in TILES]
    made += [optical(day, baseline="0300", made=f"{day}T130000") for day in DAYS[:7]]
    made += [radar("20210614"), radar("20210626")]
    return [*made, *real_items(shared("data/stac/site2-2020_jun_jul-35MNM.geojson"))]


@pytest.fixture(scope="module")
def api(items, tmp_path_factory):
    names = sorted({item["collection"] for item in items})
    with stac_api(tmp_path_factory.mktemp("api"), map(collection, names), items) as running:
        yield running


@pytest.fixture(scope="module")
def on_disk(items, tmp_path_factory):
    return write_items(tmp_path_factory.mktemp("files") / "items.json", *items)


def query(catalog, **settings):
    return StacQuery(catalog=catalog, modality="SENTINEL2_TS", bands=BANDS, **settings)


def test_a_year_comes_page_by_page_and_is_what_the_same_items_in_a_file_give(api, on_disk):
    before = api.asked("/search")
    found, expected = search(query(api.address), HERE), search(query(on_disk), HERE)
    assert found.items > PAGE
    assert api.asked("/search") - before >= 2
    assert [entry.observation.datatake_id for entry in found.observation_scenes] == [
        f"S2A_{day}T105031" for day in DAYS
    ]
    assert [[scene.tile for scene in entry.scenes] for entry in found.observation_scenes] == [["31TDJ", "31TEJ"]] * len(
        DAYS
    )
    radar_too = 2  # listed, for no collection was named, and not used
    assert (found.items, len(found.dropped)) == (2 * len(DAYS) + 7 + radar_too, 7 + radar_too)
    assert (found.observation_scenes, found.dropped) == (expected.observation_scenes, expected.dropped)


def test_a_collection_of_the_api_is_a_catalog_too(api):
    address = f"{api.address}/collections/sentinel-2-l2a"
    found = search(query(address, dates="2021-06-01/2021-06-30"), HERE)
    assert Counter(str(entry.observation.time)[:7] for entry in found.observation_scenes) == {"2021-06": 5}
    assert found.dropped == ()


def test_a_real_series_comes_back_from_the_api_as_from_its_file(api, shared):
    asked = {"dates": "2020-06-01/2020-07-31", "collections": ("sentinel-2-l2a",)}
    here = (27.2, -8.0, 27.3, -7.9)
    observations = search(query(api.address, **asked), here).observation_scenes
    assert len(observations) == 13
    assert (
        observations
        == search(query(str(shared("data/stac/site2-2020_jun_jul-35MNM.geojson")), **asked), here).observation_scenes
    )


def test_radar_is_found_in_its_own_collection(api):
    asked = StacQuery(
        catalog=api.address, collections=("sentinel-1-rtc",), modality="SENTINEL1-ASC_TS", bands=("VV", "VH")
    )
    assert [entry.observation.datatake_id for entry in search(asked, HERE).observation_scenes] == [
        "S1A_A038014_ASC",
        "S1A_A038026_ASC",
    ]


def test_where_the_api_has_nothing_its_collections_are_told(api):
    with pytest.raises(InputError, match=r"covers sentinel-\d.* from 2015-06-27 to \.\. within -180 -90 180 90"):
        search(query(api.address, dates="2019-01-01/2019-12-31"), HERE)
    with pytest.raises(InputError, match="no item of sentinel-3 within"):
        search(query(api.address, collections=("sentinel-3",)), HERE)
