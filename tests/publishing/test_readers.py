"""The recipes of docs/publishing.md, as they are written there."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import morecantile
import numpy as np
import pytest
from starlette.testclient import TestClient

import landweave as lw
from tests.helpers.commands import ROOT
from tests.publishing.conftest import finished_map
from tests.publishing.test_run import published

# Their libraries take seconds to import, and warn.
pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A working directory with a map and its publication, named as in the document."""
    made = tmp_path_factory.mktemp("work")
    finished_map(made / "out/landcover.zarr")
    published(made / "out/landcover.zarr", made / "delivery", dalle_m=20)
    return made


def recipe(number: int) -> str:
    return re.findall(r"^```python\n(.*?)^```", (ROOT / "docs/publishing.md").read_text(), re.M | re.S)[number]


def test_rio_tiler_reads_the_cogs_and_the_map(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(recipe(0), names)
    shown, codes = names["image"].data, set(np.unique(lw.open_map("out/landcover.zarr").landcover))
    assert set(np.unique(shown)) <= codes
    assert len(np.unique(shown)) > 3
    np.testing.assert_array_equal(np.unique(shown), np.unique(names["pixels"].data))
    assert names["png"].startswith(b"\x89PNG")


def test_titiler_serves_the_zarr(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(folder)
    names: dict[str, Any] = {}
    exec(recipe(1), names)
    west, south, east, north = lw.open_map("out/landcover.zarr").rio.transform_bounds("EPSG:4326")
    tile = morecantile.tms.get("WebMercatorQuad").tile((west + east) / 2, (south + north) / 2, 20)
    asked = {"url": "out/landcover.zarr", "group": "map/0", "variable": "landcover"}
    response = TestClient(names["app"]).get(f"/tiles/WebMercatorQuad/{tile.z}/{tile.x}/{tile.y}.png", params=asked)
    assert (response.status_code, response.headers["content-type"]) == (200, "image/png"), response.text
