"""Files that pages in a browser are made of: a map library as it was published, with its licence beside it."""

from __future__ import annotations

import re
from pathlib import Path

FOLDER = Path(__file__).parent / "web"


def leaflet_script() -> str:
    """Leaflet, to stand in a page: without the address of its source map."""
    return re.sub(r"\n//# sourceMappingURL=.*", "", _text("leaflet.js"))


def leaflet_style() -> str:
    """Its style, to stand in a page: without the pictures of controls that the pages do not have."""
    return re.sub(r"url\([^)]*\)", "none", _text("leaflet.css"))


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
