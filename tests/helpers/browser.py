"""A headless Chromium, which asks nothing of any other machine."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

PHONE = {"viewport": {"width": 390, "height": 844}, "is_mobile": True, "has_touch": True}
DESKTOP = {"viewport": {"width": 1280, "height": 860}}


@contextmanager
def chromium() -> Iterator[Browser]:
    """The system's Chromium; the test is skipped without one, and fails where CI is set."""
    path = shutil.which("chromium") or shutil.which("chromium-browser")
    if path is None:
        (pytest.fail if os.environ.get("CI") else pytest.skip)("no chromium on this machine")
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        browser.close()


class Watched:
    """A page, with all that it asked for and all that went wrong in it."""

    def __init__(self, browser: Browser, url: str, **context: object) -> None:
        self.requests: list[str] = []
        self.errors: list[str] = []
        self.page: Page = browser.new_context(**context).new_page()  # type: ignore[arg-type]
        self.page.on("request", lambda request: self.requests.append(request.url))
        self.page.on("pageerror", lambda error: self.errors.append(str(error)))
        self.page.on("console", lambda message: self.errors.append(message.text) if message.type == "error" else None)
        self.page.goto(url)
        self.page.wait_for_selector("#map[data-ready]", timeout=60_000)

    @property
    def hosts(self) -> set[str]:
        """Hosts that were asked; the empty one of files."""
        return {urlsplit(url).hostname or "" for url in self.requests if not url.startswith("data:")}

    def overflow(self) -> int:
        """Pixels by which the page is wider than the window."""
        return int(self.page.evaluate("document.documentElement.scrollWidth - window.innerWidth"))

    def colors(self, selector: str) -> dict[str, int]:
        """Pixels of a canvas by their colour ``#rrggbb``; transparent ones are left out."""
        script = """(canvas) => {
          const found = {}, data = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height).data;
          for (let at = 0; at < data.length; at += 4) {
            if (!data[at + 3]) continue;
            const name = "#" + [0, 1, 2].map((band) => data[at + band].toString(16).padStart(2, "0")).join("");
            found[name] = (found[name] || 0) + 1;
          }
          return found;
        }"""
        return dict(self.page.locator(selector).evaluate(script))

    def wait(self, script: str, seconds: float = 60) -> None:
        """Wait until an expression is true: what waits inside the page is refused by its content security policy."""
        until = time.monotonic() + seconds
        while not self.page.evaluate(script):
            assert time.monotonic() < until, script
            time.sleep(0.1)
