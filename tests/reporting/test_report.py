"""What a page holds: the map's own codes and areas, nothing of the outside, names as text."""

from __future__ import annotations

import base64
import json
import re
import zlib
from collections import Counter
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import landweave as lw
from landweave.core.errors import ConfigError, InputError, OutputError
from landweave.core.legend import NODATA
from landweave.core.pyramid import base_of, coarsen, level_extent
from landweave.formats.picture import _subtitle
from landweave.reporting.facts import planned_rows
from landweave.reporting.layers import map_layers, read_reduced, shown_level
from tests.helpers.kills import killed_after_renames
from tests.publishing.conftest import finished_map
from tests.reporting.conftest import HOSTILE, Reported

VOID = {"meta", "link", "input", "br", "img", "hr"}


class Tree(HTMLParser):
    """Elements that are open, and all that were seen with their attributes; texts by the element they stand in."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: list[tuple[str, dict[str, str | None]]] = []
        self.texts: list[tuple[str, str]] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag, f"</{tag}> closes another element"

    def handle_data(self, data: str) -> None:
        self.texts.append((self.open[-1] if self.open else "", data))


@pytest.fixture(scope="module")
def text(reported: Reported) -> str:
    return reported.page.read_text()


def facts_of(text: str) -> dict[str, Any]:
    found = re.search(r'<script type="application/json" id="facts">(.*?)</script>', text, re.DOTALL)
    assert found
    return dict(json.loads(found[1]))


def layer_of(text: str, name: str) -> np.ndarray:
    found = re.search(rf'<script type="text/plain" id="layer-{name}">(.*?)</script>', text)
    facts = next(each for each in facts_of(text)["layers"] if each["name"] == name)
    assert found
    codes = np.frombuffer(zlib.decompress(base64.b64decode(found[1])), np.uint8)
    return codes.reshape(facts["height"], facts["width"])


def test_elements_close_and_ids_are_unique(text: str) -> None:
    tree = Tree(text)
    assert tree.open == []
    ids = Counter(attributes["id"] for _, attributes in tree.seen if "id" in attributes)
    assert max(ids.values()) == 1
    labelled = {attributes["for"] for tag, attributes in tree.seen if tag == "label" and "for" in attributes}
    assert {"opacity", "zone"} <= labelled <= set(ids)


def test_nothing_of_the_outside_is_asked_for(text: str) -> None:
    loading = {"src", "href", "srcset", "action", "data", "poster", "ping"}
    for tag, attributes in Tree(text).seen:
        for name in loading & attributes.keys():
            assert (attributes[name] or "").startswith(("#", "data:")), (tag, attributes)
    (policy,) = (each["content"] for _, each in Tree(text).seen if each.get("http-equiv") == "Content-Security-Policy")
    assert policy
    assert policy.startswith("default-src 'none'; img-src data:;")
    assert policy.count("'sha256-") == 3
    assert "unsafe-inline" not in policy.split("script-src")[1]


def test_names_are_text_wherever_they_come_from(text: str) -> None:
    tree = Tree(text)
    assert HOSTILE not in text
    shown = [data for where, data in tree.texts if HOSTILE in data and where != "script"]
    assert len(shown) >= 5  # title, class in legend and tables, zone, credit
    assert [tag for tag, _ in tree.seen].count("script") == 3 + 1 + len(re.findall('id="layer-', text)) + 1
    assert facts_of(text)["zones"][2]["name"] == HOSTILE


def test_codes_are_those_of_the_map(reported: Reported, text: str) -> None:
    np.testing.assert_array_equal(layer_of(text, "landcover"), reported.arrays["landcover"])
    confidence, stored = layer_of(text, "confidence"), reported.arrays["confidence"]
    np.testing.assert_array_equal(confidence == NODATA, stored == NODATA)
    assert (stored.astype(int) - confidence)[stored != NODATA].max() < 5
    assert (layer_of(text, "progress") == 1).all()


def test_areas_are_those_counted_on_every_pixel(reported: Reported, text: str) -> None:
    whole, west, east = facts_of(text)["zones"]
    counts = np.bincount(reported.arrays["landcover"].ravel(), minlength=256)[:255]
    expected = {str(code): count * 0.04 / 1e4 for code, count in enumerate(counts.tolist()) if count}
    assert whole["hectares"] == pytest.approx(expected)
    for code, hectares in whole["hectares"].items():
        assert west["hectares"].get(code, 0) + east["hectares"].get(code, 0) == pytest.approx(hectares)
    assert [west["name"], len(west["rings"])] == ["Ouest", 1]


def test_the_page_states_provenance_and_progress(text: str) -> None:
    for value in ("f" * 64, "LC-A", "Licence Ouverte 2.0", "2021-04-05", "2021-09-18", "torch 2.0", "Lambert-93"):
        assert value in text
    assert '<html lang="fr">' in text
    assert "Surfaces par classe" in text


@pytest.mark.parametrize("level", [0, 1, 2, 3, 4, 5])
def test_levels_that_are_not_stored_are_those_that_would_be(reported: Reported, level: int) -> None:
    store, arrays = reported.store, reported.arrays
    base = base_of(level)[0] if level else 0
    wanted = coarsen("landcover", arrays["landcover"], base)[-1] if base else arrays["landcover"]
    wanted = coarsen("landcover", wanted, level - base)[-1] if level else wanted
    np.testing.assert_array_equal(read_reduced(store, "landcover", level), wanted)


def test_the_level_fits_the_budget(reported: Reported) -> None:
    store = reported.store
    sizes = [level_extent(store.grid, store.mapped_extent, shown_level(store, most)).size for most in (10**6, 6144, 50)]
    assert sizes[0] == store.mapped_extent.size
    assert 6144 / 4 <= sizes[1] <= 6144
    assert sizes[2] <= 50
    shown = next(map_layers(store, shown_level(store, 6144), complete=True))
    assert shown.bounds == store.grid.bounds


def test_a_map_that_is_not_complete_says_so(tmp_path: Path) -> None:
    finished_map(tmp_path / "map.zarr", left=2)
    page = lw.report(tmp_path / "map.zarr", tmp_path / "new/map.html").read_text()
    assert 'data-w="incomplete"' in page
    assert {0, 1} == set(np.unique(layer_of(page, "progress")))
    assert "without its configuration" in page
    assert "aerial-picture" not in page.split("<script>")[0]


def test_in_a_crs_that_does_not_keep_areas_none_is_stated(tmp_path: Path) -> None:
    store, _ = finished_map(tmp_path / "map.zarr", crs="EPSG:3857")
    page = lw.report(tmp_path / "map.zarr", tmp_path / "map.html").read_text()
    assert (facts_of(page)["zones"], facts_of(page)["true_scale"]) == ([], False)
    assert 'data-w="no_areas"' in page
    subtitle = _subtitle(store.grid, store.read("landcover", store.grid.extent), store.grid)
    assert subtitle.startswith("pixels of 0.2 m")


def test_only_earlier_pages_are_replaced(reported: Reported, tmp_path: Path) -> None:
    where = tmp_path / "page.html"
    where.write_text("<p>mine")
    with pytest.raises(OutputError, match="no report"):
        lw.report(reported.folder / "out.zarr", where)
    with pytest.raises(OutputError, match=r"ends in \.html"):
        lw.report(reported.folder / "out.zarr", tmp_path / "page.pdf")
    with pytest.raises(ConfigError, match="'de'"):
        lw.report(reported.folder / "out.zarr", tmp_path / "new.html", language="de")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no map"):
        lw.report(tmp_path / "nothing.zarr", tmp_path / "new.html")
    where.unlink()
    lw.report(reported.folder / "out.zarr", where)
    assert lw.report(reported.folder / "out.zarr", where) == where
    assert [path.name for path in tmp_path.iterdir()] == ["page.html"]


@pytest.mark.slow
def test_killed_and_run_again_it_is_the_same_page(reported: Reported, tmp_path: Path) -> None:
    place, page = str(reported.folder / "out.zarr"), tmp_path / "page.html"
    whole = lw.report(place, tmp_path / "whole.html").read_bytes()
    killed_after_renames(f"lw.report({place!r}, {str(page)!r})", 0)
    assert not page.exists()
    assert lw.report(place, page).read_bytes() == whole
    assert {path.name for path in tmp_path.iterdir()} == {"page.html", "whole.html"}


def test_the_last_run_stands_beside_its_plan() -> None:
    """What is not known is a dash; cost and energy are those of the hours that it took."""
    planned = {"hours": 2.0, "cost": 10.0, "windows": 40, "memory_bytes": 2e9}
    run = {"seconds": 3600.0, "peak_bytes": 1_500_000_000, "sums": {"windows": 41}, "planned": planned}
    rows = {word: (plan and plan.number, measure and measure.number) for word, plan, measure in planned_rows(run)}
    assert rows == {"elapsed": (2.0, 60.0), "memory": (2.0, 1.5), "windows": (40, 41), "price": (10.0, 5.0)}
    del planned["hours"], run["peak_bytes"]
    rows = {word: (plan and plan.number, measure and measure.number) for word, plan, measure in planned_rows(run)}
    assert rows == {"elapsed": (None, 60.0), "memory": (2.0, None), "windows": (40, 41), "price": (10.0, None)}
    assert not list(planned_rows({}))
