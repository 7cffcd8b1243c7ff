"""The viewer's tiles are the map's own pixels; nobody but who has its address reads them."""

from __future__ import annotations

import re
from pathlib import Path

import morecantile
import numpy as np
import pytest

# Its libraries take seconds to import, and warn.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]

import landweave as lw  # noqa: E402
from tests.publishing.test_run import published  # noqa: E402
from tests.reporting.conftest import Reported, reported  # noqa: E402, F401

TMS = morecantile.tms.get("WebMercatorQuad")


@pytest.fixture
def client(reported: Reported):  # noqa: F811
    from starlette.testclient import TestClient

    from landweave.surface.view import open_view
    from landweave.viewing.server import make_app

    view = open_view(lw.load_config(reported.folder / "map.yaml"), reported.store.target)
    return TestClient(make_app(view, "token"), base_url="http://127.0.0.1")


def tile_over(reported: Reported, zoom: int) -> morecantile.Tile:  # noqa: F811
    west, south, east, north = lw.open_map(reported.folder / "out.zarr").rio.transform_bounds("EPSG:4326")
    return TMS.tile((west + east) / 2, (south + north) / 2, zoom)


def image(content: bytes) -> np.ndarray:
    from rasterio.io import MemoryFile

    with MemoryFile(content) as memory, memory.open() as dataset:
        return dataset.read()


def test_tiles_have_the_colours_of_the_classes_and_hidden_ones_are_clear(client, reported: Reported) -> None:  # noqa: F811
    tile = tile_over(reported, 21)
    address = f"/token/landcover/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png"
    shown = image(client.get(address).content)
    colors = {tuple(pixel) for pixel in shown[:3, shown[3] > 0].T.tolist()}
    known = {each.rgb: each.code for each in reported.store.legend.classes}
    assert len(colors) > 3
    assert colors <= known.keys()
    hidden = next(iter(colors))
    without = image(client.get(f"{address}?hide={known[hidden]}").content)
    assert not ((without[:3] == np.array(hidden)[:, None, None]).all(axis=0) & (without[3] > 0)).any()
    assert (without[3] == 0).sum() > (shown[3] == 0).sum()
    aerial = image(client.get(address.replace("landcover", "aerial")).content)
    assert np.abs(aerial[1, aerial[3] > 0].astype(int) - 120).max() <= 1


def test_values_are_those_of_the_map(client, reported: Reported) -> None:  # noqa: F811
    from pyproj import Transformer

    mapped, tile = lw.open_map(reported.folder / "out.zarr"), tile_over(reported, 22)
    left, bottom, right, top = TMS.xy_bounds(tile)
    for row, column in ((3, 200), (100, 7), (255, 255)):
        x, y = left + (column + 0.5) * (right - left) / 256, top - (row + 0.5) * (top - bottom) / 256
        x, y = Transformer.from_crs(3857, 2154, always_xy=True).transform(x, y)
        expected = int(mapped.landcover.sel(x=x, y=y, method="nearest"))
        found = client.get(f"/token/landcover/value/{tile.z}/{tile.x}/{tile.y}/{row}/{column}").json()["value"]
        assert found == (None if expected == 255 else expected)


def test_other_hosts_and_other_addresses_are_refused(client) -> None:
    assert client.get("/token/").status_code == 200
    assert "frame-ancestors 'none'" in client.get("/token/").headers["content-security-policy"]
    assert client.get("/token/", headers={"host": "evil.example"}).status_code == 400
    assert client.get("/token/", headers={"host": "localhost:1234"}).status_code == 200
    assert client.get("/").status_code == 404
    assert client.get("/other/status").status_code == 404
    assert client.get("/token/nothing/tiles/WebMercatorQuad/3/1/1.png").status_code == 404
    assert client.get("/token/landcover/tiles/WebMercatorQuad/3/1/1.png").status_code == 204
    assert client.get("/token/status").json()["done"] == client.get("/token/status").json()["total"]


def test_a_publication_is_shown_by_its_cogs(reported: Reported, tmp_path: Path) -> None:  # noqa: F811
    from landweave.store.objects import Target
    from landweave.surface.view import open_view

    published(reported.folder / "out.zarr", tmp_path / "delivery", dalle_m=20)
    view = open_view(tmp_path / "delivery", Target.parse(tmp_path / "delivery"))
    shown = view.layers["landcover"].tile(tile_over(reported, 21), TMS).array
    assert set(shown.compressed().tolist()) <= {each.code for each in view.classes}
    assert len(set(shown.compressed().tolist())) > 3


def test_a_notebook_shows_a_part_of_a_map(reported: Reported) -> None:  # noqa: F811
    import httpx

    part = lw.open_map(reported.folder / "out.zarr").isel(y=slice(0, 64), x=slice(0, 64))
    shown = part.landweave.view()
    tile = TMS.tile(*part.rio.transform_bounds("EPSG:4326")[:2], 21)
    try:
        layer = next(each for each in shown.layers if each.name == "landcover")
        assert re.match(r"http://127\.0\.0\.1:\d+/", layer.url)
        assert httpx.get(layer.url.format(z=tile.z, x=tile.x, y=tile.y)).content.startswith(b"\x89PNG")
    finally:
        shown.server.stop()
