"""Page and viewer driven in a headless Chromium: on a desk, on a phone and by keyboard, with no network."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from itertools import pairwise
from signal import SIGINT

import numpy as np
import pytest
from playwright.sync_api import Browser

from tests.helpers.browser import DESKTOP, PHONE, Watched, chromium
from tests.helpers.commands import ROOT
from tests.reporting.conftest import HOSTILE, Reported

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

CANVAS = "#map canvas"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium() as found:
        yield found


def counted(reported: Reported) -> dict[str, int]:
    codes, counts = np.unique(reported.arrays["landcover"], return_counts=True)
    colors = {each.code: each.color for each in reported.store.legend.classes}
    return {colors[code]: count for code, count in zip(codes.tolist(), counts.tolist(), strict=True) if code in colors}


def test_the_page_on_a_desk(browser: Browser, reported: Reported) -> None:
    shown = Watched(browser, reported.page.as_uri(), **DESKTOP)
    page, expected = shown.page, counted(reported)
    assert shown.colors(CANVAS) == expected
    assert page.title() == f"Land cover of {HOSTILE}"
    first = page.locator("#legend input").first
    first.uncheck()
    code = int(first.get_attribute("value") or "")
    color = next(each.color for each in reported.store.legend.classes if each.code == code)
    assert shown.colors(CANVAS) == {name: count for name, count in expected.items() if name != color}
    page.click("#none")
    assert shown.colors(CANVAS) == {}
    page.click("#all")
    page.check("#swipe")
    before = page.locator("#divider-line").bounding_box()
    page.focus("#divider")
    for _ in range(20):
        page.keyboard.press("ArrowRight")
    after = page.locator("#divider-line").bounding_box()
    assert before
    assert after
    assert after["x"] > before["x"]
    assert "polygon" in page.locator(".leaflet-shown-pane").evaluate("pane => pane.style.clipPath")
    page.locator("#opacity").evaluate("slider => { slider.value = 40; slider.dispatchEvent(new Event('input')) }")
    assert page.locator(".leaflet-shown-pane").evaluate("pane => pane.style.opacity") == "0.4"
    page.click("[data-language=en]")
    assert page.locator("#areas h2").inner_text() == "Areas by class"
    page.click("#class-areas th:nth-child(3) button")
    hectares = page.locator("#class-areas tbody td:nth-child(3)").evaluate_all("all => all.map(e => +e.dataset.v)")
    assert hectares == sorted(hectares, reverse=True)
    page.select_option("#zone", "1")
    assert float(page.locator("#total").get_attribute("data-v") or 0) < sum(hectares)
    assert (shown.hosts, shown.errors) == ({""}, [])


def test_the_page_by_keyboard(browser: Browser, reported: Reported) -> None:
    shown = Watched(browser, reported.page.as_uri(), **DESKTOP)
    page, seen = shown.page, list[str]()
    for _ in range(14):
        page.keyboard.press("Tab")
        seen.append(page.evaluate("(e => e.id || e.name || e.dataset.language || e.className)(document.activeElement)"))
    assert seen[:4] == ["skip", "fr", "en", "map"]
    order = [seen.index(each) for each in ("map", "layer", "opacity", "aerial", "swipe", "all", "none")]
    assert order == sorted(order)
    page.focus("#map")
    centre = "document.querySelector('.leaflet-map-pane').style.transform"
    before = page.evaluate(centre)
    page.keyboard.press("+")
    page.keyboard.press("ArrowRight")
    shown.wait(f"{centre} !== {before!r}")
    page.focus("input[name=layer]")
    page.keyboard.press("ArrowRight")
    assert page.locator("#map").get_attribute("data-layer") == "confidence"
    unnamed = page.evaluate(
        "[...document.querySelectorAll('button, input, select, [role]')]"
        ".filter(e => !(e.textContent.trim() || e.ariaLabel || (e.labels && e.labels.length))).length"
    )
    assert unnamed == 0


def test_the_page_on_a_phone(browser: Browser, reported: Reported) -> None:
    shown = Watched(browser, reported.page.as_uri(), **PHONE)
    assert shown.overflow() == 0
    boxes = [shown.page.locator(selector).bounding_box() for selector in ("header", "#map-box", "#panel", "#areas")]
    for above, below in pairwise(boxes):
        assert above
        assert below
        assert above["y"] + above["height"] <= below["y"] + 1
    shown.page.check("#swipe")
    assert shown.page.locator("#divider").is_visible()


def test_the_viewer_and_its_end(browser: Browser, reported: Reported) -> None:
    command = [sys.executable, "-m", "landweave", "view", str(reported.folder / "map.yaml")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=ROOT / "pipeline", bufsize=1) as server:
        try:
            assert server.stdout
            (url,) = re.findall(r"http://127\.0\.0\.1:\d+/\S+/", server.stdout.readline())
            shown = Watched(browser, url, **PHONE)
            loaded = "[...document.querySelectorAll('.leaflet-tile')].length > 1"
            loaded += " && [...document.querySelectorAll('.leaflet-tile')].every(tile => tile.complete)"
            shown.wait(loaded)
            shown.page.check("#swipe")
            shown.page.click(".leaflet-control-zoom-in")
            shown.page.locator("#legend input").first.uncheck()
            shown.wait(
                f"{loaded} && [...document.querySelectorAll('.leaflet-tile')].some(e => e.src.includes('?hide='))"
            )
            shown.page.locator("#map").scroll_into_view_if_needed()  # the legend lies below it on a phone
            box = shown.page.locator("#map").bounding_box()
            assert box
            shown.page.mouse.click(box["x"] + box["width"] * 0.6, box["y"] + box["height"] * 0.4)
            shown.wait("!document.getElementById('readout').hidden")
            assert shown.overflow() == 0
            assert (shown.hosts, shown.errors) == ({"127.0.0.1"}, [])
            server.send_signal(SIGINT)
            assert server.wait(30) == 0
        finally:
            server.kill()
