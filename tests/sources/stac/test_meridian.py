"""Areas across the 180th meridian and around the poles: the scenes there, of both sides and of nowhere else."""

import json
import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest
import shapely

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.sources.stac.catalogs import CatalogQuery, list_items
from landweave.sources.stac.search import StacQuery, search
from tests.helpers.stac_items import BANDS, optical, write_items

FIJI = Grid.from_bounds((800000, 8100000, 860000, 8140000), crs="EPSG:32760", resolution=10)
"""179.8° to -179.6°: the meridian runs through it."""


def lying(name, geometry, bbox):
    item = optical("20210614", tile=name)
    return {**item, "id": name, "geometry": shapely.geometry.mapping(geometry), "bbox": bbox}


def box(west, east, south=-18, north=-16):
    return shapely.box(west, south, east, north)


CUT = shapely.union(box(179.5, 180), box(-180, -179.5))
ITEMS = [
    lying("60KZF", box(178, 179.9), [178, -18, 179.9, -16]),
    lying("01KAB", box(-179.9, -178), [-179.9, -18, -178, -16]),
    lying("60KZG", CUT, [179.5, -18, -179.5, -16]),
    lying("60KZH", box(179.5, 180.5), [179.5, -18, 180.5, -16]),
    lying("01KAC", box(-179.5, 179.5), [-179.5, -18, 179.5, -16]),  # the long way round: nobody's scene is so wide
    lying("31TEJ", box(2, 3, 43, 44), [2, 43, 3, 44]),
    lying("02KAB", box(-177, -176), [-177, -18, -176, -16]),
    lying("59KZZ", box(176, 177), [176, -18, 177, -16]),
]
NEAR = {"60KZF", "01KAB", "60KZG", "60KZH", "01KAC"}


def names(catalog, bounds):
    days = {"first": np.datetime64("2021-01-01"), "last": np.datetime64("2021-12-31")}
    return {item["id"] for item in list_items(catalog, CatalogQuery(**days, bounds=bounds)).items}


@contextmanager
def strict_api(items):
    """An API that, as many do, takes a box whose west is east of its east for a mistake."""
    boxes = []

    class Api(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            address = f"http://127.0.0.1:{self.server.server_port}"
            links = [{"rel": "search", "method": "POST", "href": f"{address}/search"}]
            self._give(200, {"type": "Catalog", "stac_version": "1.0.0", "id": "api", "links": links})

        def do_POST(self):
            asked = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            west, south, east, north = asked["bbox"]
            boxes.append(asked["bbox"])
            here = shapely.box(west, south, east, north)
            found = [item for item in items if shapely.geometry.shape(item["geometry"]).intersects(here)]
            self._give(200 if west <= east else 400, {"type": "FeatureCollection", "features": found, "links": []})

        def _give(self, status, document):
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", boxes
    finally:
        server.shutdown()
        server.server_close()


def test_bounds_in_degrees_go_the_short_way():
    west, south, east, north = FIJI.lonlat_bounds
    assert (179.8 < west < 179.9, -179.7 < east < -179.6) == (True, True)
    assert -17.2 < south < north < -16.7


def test_around_a_pole_all_longitudes_are_asked():
    pole = Grid.from_bounds((-100000, -100000, 100000, 100000), crs="EPSG:3413", resolution=100)
    assert pole.lonlat_bounds == pytest.approx((-180, 88.7, 180, 90), abs=0.1)
    south = Grid.from_bounds((-100000, -100000, 100000, 100000), crs="EPSG:3031", resolution=100)
    assert south.lonlat_bounds == pytest.approx((-180, -90, 180, -88.7), abs=0.1)


def test_files_give_the_scenes_of_both_sides(tmp_path):
    assert names(write_items(tmp_path / "items.json", *ITEMS), FIJI.lonlat_bounds) == NEAR


def test_an_api_is_asked_for_two_boxes_and_gives_each_scene_once():
    with strict_api(ITEMS) as (address, boxes):
        found = names(address, FIJI.lonlat_bounds)
    assert found <= NEAR
    assert {"60KZF", "01KAB", "60KZG"} <= found
    assert [[*map(round, each)] for each in boxes] == [[180, -17, 180, -17], [-180, -17, -180, -17]]
    assert boxes[0][2] == 180
    assert boxes[1][0] == -180


def test_an_area_that_ends_at_the_meridian_is_one_box(tmp_path):
    days = {"first": np.datetime64("2021-01-01"), "last": np.datetime64("2021-12-31")}
    assert CatalogQuery(**days, bounds=(180.0, -17, -179.9, -16)).boxes == ((-180.0, -17, -179.9, -16),)
    assert CatalogQuery(**days, bounds=(179.9, -17, -180.0, -16)).boxes == ((179.9, -17, 180.0, -16),)
    assert CatalogQuery(**days, bounds=(2, 43, 3, 44)).boxes == ((2, 43, 3, 44),)


def test_the_whole_world_is_one_box(tmp_path):
    everything = names(write_items(tmp_path / "items.json", *ITEMS), (-180.0, -90.0, 180.0, 90.0))
    assert everything == {item["id"] for item in ITEMS}


def test_an_area_beyond_the_earth_is_refused(tmp_path):
    query = StacQuery(catalog=write_items(tmp_path / "items.json", *ITEMS), modality="SENTINEL2_TS", bands=BANDS)
    lost = Grid.from_bounds((1e12, 1e12, 1e12 + 100, 1e12 + 100), crs="EPSG:32631", resolution=10)
    with pytest.raises(InputError, match=r"correct area or grid\.crs"):
        search(query, lost.lonlat_bounds)
