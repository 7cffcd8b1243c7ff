import gzip
import json
import threading
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pystac
import pytest
import shapely

from landweave.core.errors import InputError
from landweave.sources.stac import catalogs
from landweave.sources.stac.catalogs import CatalogQuery, kind_of, list_items, may_refer
from tests.helpers.stac_items import made_item, optical, real_items, with_properties, write_items
from tests.helpers.web import served

WORLD = (-180.0, -90.0, 180.0, 90.0)


def wanted(first="2000-01-01", last="2099-12-31", bounds=WORLD, collections=()):
    return CatalogQuery(first=np.datetime64(first), last=np.datetime64(last), bounds=bounds, collections=collections)


def names(listing):
    return [item["id"] for item in listing.items]


@pytest.fixture
def written(tmp_path):
    """A catalog of two collections in folders, written by pystac: four items with relative addresses."""
    catalog = pystac.Catalog("root", "for tests")
    for name in ("north", "south"):
        extent = pystac.Extent(
            pystac.SpatialExtent([list(WORLD)]), pystac.TemporalExtent([[datetime(2021, 1, 1, tzinfo=UTC), None]])
        )
        collection = pystac.Collection(name, "for tests", extent)
        catalog.add_child(collection)
        for day in (1, 2):
            box = shapely.box(3, 43, 4, 44)
            item = pystac.Item(
                f"{name}{day}",
                shapely.geometry.mapping(box),
                list(box.bounds),
                datetime(2021, 6, day, 10, tzinfo=UTC),
                {},
            )
            item.add_asset("B02", pystac.Asset("./bands/B02.tif"))
            item.add_asset("far", pystac.Asset("https://files.example/far.tif"))
            collection.add_item(item)
    catalog.normalize_and_save(str(tmp_path / "stac"), pystac.CatalogType.SELF_CONTAINED)
    return tmp_path / "stac"


def by_pystac(path):
    """Ids and addresses as pystac resolves them."""
    found = {}
    for item in pystac.Catalog.from_file(str(path)).get_items(recursive=True):
        found[item.id] = {key: asset.get_absolute_href() for key, asset in item.assets.items()}
    return found


def test_law_a_catalog_in_files_gives_the_items_and_addresses_that_pystac_resolves(written):
    listing = list_items(str(written / "catalog.json"), wanted())
    ours = {item["id"]: {key: asset["href"] for key, asset in item["assets"].items()} for item in listing.items}
    assert ours == by_pystac(written / "catalog.json")
    assert Path(ours["north1"]["B02"]) == written / "north" / "north1" / "bands" / "B02.tif"


def test_a_collection_in_files_gives_its_own_items(written):
    assert names(list_items(str(written / "south" / "collection.json"), wanted())) == ["south1", "south2"]


def test_collections_are_chosen_by_id(written):
    listing = list_items(str(written / "catalog.json"), wanted(collections=("north",)))
    assert names(listing) == ["north1", "north2"]


def test_a_catalog_on_a_web_server_has_the_same_items_at_its_own_addresses(written):
    with served(written) as address:
        listing = list_items(f"{address}/catalog.json", wanted())
        assert names(listing) == ["north1", "north2", "south1", "south2"]
        item = listing.items[0]
        assert item["assets"]["B02"]["href"] == f"{address}/north/north1/bands/B02.tif"
        assert item["assets"]["far"]["href"] == "https://files.example/far.tif"


def test_a_file_that_is_linked_twice_or_in_a_ring_is_read_once(written):
    path = written / "south" / "collection.json"
    document = json.loads(path.read_text())
    document["links"] += [{"rel": "child", "href": "../catalog.json"}, {"rel": "item", "href": "./south1/south1.json"}]
    path.write_text(json.dumps(document))
    assert len(list_items(str(written / "catalog.json"), wanted()).items) == 4


@pytest.mark.parametrize("shape", ["one", "several", "list"])
def test_items_are_read_from_one_file_in_any_form(tmp_path, shape):
    items = [optical("20210614"), optical("20210609")]
    items[0]["assets"]["B02"]["href"] = "./near/B02.tif"
    documents = {"one": items[0], "several": {"type": "FeatureCollection", "features": items}, "list": items}
    path = tmp_path / "items.json"
    path.write_text(json.dumps(documents[shape]))
    listing = list_items(str(path), wanted())
    assert names(listing) == sorted(item["id"] for item in (items[:1] if shape == "one" else items))
    near = next(item for item in listing.items if item["id"] == items[0]["id"])
    assert near["assets"]["B02"]["href"] == str(tmp_path / "near" / "B02.tif")


def test_items_are_handed_on_as_served(shared):
    path = shared("data/stac") / "S2A_28QCH_20200714_0_L2A.json"
    (item,) = list_items(str(path), wanted()).items
    assert item["properties"] == real_items(path)[0]["properties"]
    assert item["stac_version"] == "1.0.0-beta.1"


def test_every_real_file_is_a_list_of_items(shared):
    counts = {path.name: len(list_items(str(path), wanted()).items) for path in shared("data/stac").iterdir()}
    several = {
        "site2-2020_jun_jul-35MNM.geojson": 13,
        "sentinel-2-l2a-pc.json": 4,
        "sentinel-1-rtc-pc.json": 4,
        "two-sentinel-2-items.json": 2,
    }
    assert counts == {name: several.get(name, 1) for name in counts}


# Where and when.


@pytest.mark.parametrize(
    ("first", "last", "days"),
    [
        ("2021-06-14", "2021-06-14", ["14"]),
        ("2021-06-10", "2021-06-14", ["14"]),
        ("2021-06-09", "2021-06-13", ["09"]),
        ("2021-06-15", "2021-12-31", []),
    ],
)
def test_the_first_and_the_last_day_are_included(tmp_path, first, last, days):
    path = write_items(tmp_path / "items.json", optical("20210609"), optical("20210614"))
    assert [name[17:19] for name in names(list_items(path, wanted(first, last)))] == days


@pytest.mark.parametrize(
    ("bounds", "touches"),
    [
        ((3.5, 43.5, 3.6, 43.6), True),
        ((4.2, 43.5, 5, 43.6), True),
        ((4.3, 43.5, 5, 43.6), False),
        ((3.5, 45, 3.6, 46), False),
        ((170, 43.5, 3.0, 43.6), True),
        ((170, 43.5, -170, 43.6), False),
    ],
)
def test_an_item_is_wanted_where_its_outline_touches(bounds, touches):
    item = optical()
    assert wanted(bounds=bounds).matches(item) == touches
    assert wanted(bounds=bounds).matches({**item, "geometry": None}) == touches


def test_the_outline_counts_not_the_box_around_it():
    item = optical()
    item["geometry"] = {"type": "Polygon", "coordinates": [[[2.9, 43.2], [4.2, 43.2], [2.9, 44.2], [2.9, 43.2]]]}
    assert not wanted(bounds=(4.1, 44.1, 4.15, 44.15)).matches(item)


@pytest.mark.parametrize(("bounds", "touches"), [((179, 60, 179.5, 61), True), ((0, 60, 1, 61), False)])
def test_an_item_across_the_180th_meridian_is_not_everywhere(bounds, touches):
    item = {**optical(), "geometry": None, "bbox": [178.5, 60, -178.9, 61]}
    assert wanted(bounds=bounds).matches(item) == touches


def test_an_item_that_does_not_say_when_is_left_for_its_reader_to_refuse():
    assert wanted().matches(made_item("a", collection="c"))


def test_where_nothing_is_found_what_there_is_is_told(tmp_path, written):
    path = write_items(tmp_path / "items.json", optical("20210609"), optical("20210614"))
    assert list_items(path, wanted("2030-01-01")).covers == (
        "2 items of sentinel-2-l2a from 2021-06-09 to 2021-06-14 within 2.9 43.2 4.2 44.2"
    )
    listing = list_items(str(written / "catalog.json"), wanted("2030-01-01"))
    assert listing.covers == "4 items of north, south from 2021-06-01 to 2021-06-02 within 3 43 4 44"
    assert list_items(path, wanted()).covers == ""


# What is no catalog.


def test_a_file_that_is_not_there_is_unreachable(tmp_path):
    with pytest.raises(InputError, match=r"catalog .*absent\.json cannot be reached: .*No such file"):
        list_items(str(tmp_path / "absent.json"), wanted())


def test_a_server_that_is_not_there_is_unreachable(free_port):
    with pytest.raises(InputError, match=f"127.0.0.1:{free_port}.* cannot be reached"):
        list_items(f"http://127.0.0.1:{free_port}/stac", wanted())


def test_a_page_that_is_not_there_is_unreachable(tmp_path):
    with served(tmp_path) as address, pytest.raises(InputError, match="cannot be reached: it answered 404"):
        list_items(f"{address}/stac", wanted())


@pytest.mark.parametrize("text", ["<html>", "", '{"cut": '])
def test_what_is_no_json_cannot_be_read(tmp_path, text):
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(InputError, match=r"a\.json cannot be read as STAC"):
        list_items(str(tmp_path / "a.json"), wanted())


@pytest.mark.parametrize(
    "document",
    [
        {"name": "lodash", "version": "4"},
        [1, 2],
        [],
        {"type": "FeatureCollection", "features": [{"type": "Feature", "properties": {}, "geometry": None}]},
    ],
)
def test_json_that_is_no_stac_is_named(tmp_path, document):
    (tmp_path / "a.json").write_text(json.dumps(document))
    with pytest.raises(InputError, match=r"a\.json is not STAC: neither an item"):
        list_items(str(tmp_path / "a.json"), wanted())


@pytest.mark.parametrize(
    ("document", "kind"),
    [
        ({"type": "Catalog", "stac_version": "1.0.0", "links": [{"rel": "search"}]}, "api"),
        ({"type": "Catalog", "conformsTo": ["https://api.stacspec.org/v1.0.0/item-search"], "links": []}, "api"),
        ({"type": "Collection", "links": [{"rel": "items"}, {"rel": "root"}]}, "api collection"),
        ({"type": "Collection", "stac_version": "1.0.0", "links": [{"rel": "item"}, {"rel": "root"}]}, "files"),
        ({"type": "Catalog", "stac_version": "1.0.0", "links": []}, "files"),
        ({"stac_version": "0.9.0", "id": "old", "links": []}, "files"),
        (with_properties(optical()), "items"),
        ({"type": "Feature", "stac_version": "1.0.0"}, ""),
        ("text", ""),
    ],
)
def test_kinds_of_catalogs_are_told_by_what_they_say_of_themselves(document, kind):
    assert kind_of(document) == kind


def test_an_item_file_that_cannot_be_read_ends_no_search(written):
    (written / "south" / "south1" / "south1.json").write_text("{")
    (written / "south" / "south2" / "south2.json").unlink()
    listing = list_items(str(written / "catalog.json"), wanted())
    assert names(listing) == ["north1", "north2"]
    assert [(each.id.rsplit("/", 1)[1], each.reason[:14]) for each in listing.dropped] == [
        ("south1.json", "cannot be read"),
        ("south2.json", "cannot be read"),
    ]


def test_a_catalog_below_that_cannot_be_read_ends_it(written):
    """Nobody knows how many items are missing then."""
    (written / "south" / "collection.json").write_text("{")
    with pytest.raises(InputError, match="cannot be read as STAC"):
        list_items(str(written / "catalog.json"), wanted())


@pytest.mark.parametrize("links", [None, {}, [None, {}, {"rel": "item"}, {"href": "a"}, {"rel": 3, "href": "a"}]])
def test_links_that_are_none_are_left_out(written, links):
    path = written / "south" / "collection.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "links": links}))
    assert names(list_items(str(written / "catalog.json"), wanted())) == ["north1", "north2"]


def test_what_stands_among_items_and_is_none_is_named(tmp_path):
    path = tmp_path / "items.json"
    path.write_text(json.dumps([optical("20210614"), 7, None, {"type": "Feature"}]))
    listing = list_items(str(path), wanted())
    assert [each.reason for each in listing.dropped] == ["is no STAC item"] * 2
    assert len(listing.items) == 2


@pytest.mark.parametrize("turn", [1, -1])
def test_of_two_items_of_one_id_the_one_updated_last_is_used_and_a_copy_counts_once(tmp_path, turn):
    old, new = (with_properties(optical(), updated=f"2024-0{month}-01T00:00:00Z") for month in (1, 2))
    copy = {**new, "links": [{"rel": "self", "href": "elsewhere"}]}
    path = write_items(tmp_path / "items.json", *[old, new, copy][::turn])
    listing = list_items(path, wanted())
    assert [item["properties"]["updated"][:7] for item in listing.items] == ["2024-02"]
    assert [each.reason for each in listing.dropped] == ["shares its id with a later item of other content"]


def test_pages_of_an_api_that_repeat_come_to_an_end(tmp_path):
    """Some servers link their last page to itself."""
    with served(tmp_path) as address:
        landing = {
            "type": "Catalog",
            "stac_version": "1.0.0",
            "id": "api",
            "description": "",
            "conformsTo": ["https://api.stacspec.org/v1.0.0/item-search"],
            "links": [{"rel": "search", "href": f"{address}/search", "method": "GET"}],
        }
        page = {
            "type": "FeatureCollection",
            "features": [optical("20210614"), optical("20210609")],
            "links": [{"rel": "next", "href": f"{address}/search?page=2", "method": "GET"}],
        }
        (tmp_path / "landing.json").write_text(json.dumps(landing))
        (tmp_path / "search").write_text(json.dumps(page))
        assert len(list_items(f"{address}/landing.json", wanted()).items) == 2


HREFS = [
    "file:///etc/passwd", "FILE:/etc/passwd", "zip+file:///tmp/a.zip!a.tif", "tar:///tmp/a.tar!a.tif", "C:/a.tif",
    "vsizip:/tmp/a.zip",
]  # fmt: skip


@pytest.mark.parametrize("href", HREFS)
def test_a_catalog_on_the_web_names_no_file_of_this_machine(href):
    assert not may_refer("https://host/catalog.json", href)
    assert may_refer("/data/catalog.json", href)


@pytest.mark.parametrize("href", ["https://a/b.tif", "HTTP://a/b.tif", "s3://bucket/b.tif", "abfss://c@a/b.tif"])
def test_a_catalog_on_the_web_names_files_on_the_web(href):
    assert may_refer("http://host/catalog.json", href)


def test_items_and_links_of_a_served_catalog_that_lead_to_this_machine_are_named(tmp_path):
    (tmp_path / "served").mkdir()
    local = tmp_path / "local.json"
    write_items(local, optical("20210614"))
    item = optical("20210704")
    item["assets"]["B04"]["href"] = "file:///etc/passwd"
    (tmp_path / "served" / "item.json").write_text(json.dumps(item))
    root = {**CATALOG, "links": [{"rel": "item", "href": "item.json"}, {"rel": "item", "href": f"file://{local}"}]}
    (tmp_path / "served" / "catalog.json").write_text(json.dumps(root))
    with served(tmp_path / "served") as address:
        found = list_items(f"{address}/catalog.json", wanted())
    assert not found.items
    assert [each.id for each in found.dropped] == [item["id"], f"file://{local}"]
    assert all("could be any file of this machine" in each.reason for each in found.dropped)


CATALOG = {"type": "Catalog", "stac_version": "1.0.0", "id": "a", "description": "a", "links": []}


def test_a_chain_and_a_crowd_of_catalogs_end(tmp_path, monkeypatch):
    for number in range(catalogs.MOST_LEVELS + 2):
        links = [{"rel": "child", "href": f"{number + 1}.json"}]
        (tmp_path / f"{number}.json").write_text(json.dumps({**CATALOG, "links": links}))
    with pytest.raises(InputError, match="does not end"):
        list_items(str(tmp_path / "0.json"), wanted())
    monkeypatch.setattr(catalogs, "MOST_FILES", 50)
    links = [{"rel": "item", "href": f"{number}.json"} for number in range(60)]
    (tmp_path / "wide.json").write_text(json.dumps({**CATALOG, "links": links}))
    with pytest.raises(InputError, match="51 files or items"):
        list_items(str(tmp_path / "wide.json"), wanted())
    deep = "[" * 100_000
    (tmp_path / "deep.json").write_text(f'{{"type": "FeatureCollection", "features": {deep}')
    with pytest.raises(InputError):
        list_items(str(tmp_path / "deep.json"), wanted())


def test_a_document_is_not_read_beyond_its_bound(tmp_path, monkeypatch):
    """A response says nothing of its length, and is packed: what counts is what comes of it."""
    monkeypatch.setattr(catalogs, "MOST_BYTES", 3 * 2**20)
    huge, small = tmp_path / "huge.json", tmp_path / "small.json"
    with huge.open("wb") as file:
        file.truncate(2 * 10**9)  # on a disk it takes no room
    with pytest.raises(InputError, match="more than 3,145,728 bytes"):
        list_items(str(huge), wanted())
    write_items(small, optical("20210614"))
    assert names(list_items(str(small), wanted()))
    with packed_zeros(60) as address:
        with pytest.raises(InputError, match="more than 3,145,728 bytes"):
            list_items(address, wanted())
        catalog = {"type": "Catalog", "stac_version": "1.0.0", "id": "a"}
        (tmp_path / "a.json").write_text(json.dumps({**catalog, "links": [{"rel": "item", "href": address}]}))
        dropped = list_items(str(tmp_path / "a.json"), wanted()).dropped
    assert "more than 3,145,728 bytes" in dropped[0].reason


@contextmanager
def packed_zeros(mebibytes):
    """A server whose only document is so many zeros, gzipped."""

    class Zeros(BaseHTTPRequestHandler):
        def log_message(self, *_):
            """Nothing: a test's output is its own."""

        def do_GET(self):
            self.send_response(200)
            self.send_header("Content-Encoding", "gzip")
            self.end_headers()
            with suppress(OSError):
                self.wfile.write(gzip.compress(bytes(2**20)) * mebibytes)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Zeros)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/items.json"
    finally:
        server.shutdown()
        server.server_close()
