"""Files that pages in a browser are made of: a map library as it was published, with its licence beside it."""

from __future__ import annotations

import base64
import hashlib
import re
from pathlib import Path

FOLDER = Path(__file__).parent / "web"

CONFIDENCE_RAMP = (
    "#7a0177", "#c51b8a", "#f768a1", "#fbb4b9", "#feebe2", "#f2f5ef", "#cfe3d6", "#8fc1a5", "#3f8f74", "#0b5d5e",
)  # fmt: skip
"""Colours of confidences from 0 to 1, by tenths; the same in every page."""


def page_style() -> str:
    """The style of all pages; without the pictures of controls that they do not have."""
    return re.sub(r"url\((?!\"data:)[^)]*\)", "none", _text("leaflet.css")) + _text("page.css")


def page_scripts() -> list[str]:
    """The scripts that every page begins with: the map library, and what all pages share."""
    return [re.sub(r"\n//# sourceMappingURL=.*", "", _text("leaflet.js")), _text("page.js")]


def script_digest(script: str) -> str:
    """What a content security policy allows a script by, for its text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
