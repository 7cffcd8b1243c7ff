"""What pages in a browser are made of: one style and one frame, and a map library with its licence beside it."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import jinja2

from landweave.core.legend import LandClass
from landweave.formats.web_words import LANGUAGES, words

FOLDER = Path(__file__).parent / "web"

CONFIDENCE_RAMP = (
    "#7a0177", "#c51b8a", "#f768a1", "#fbb4b9", "#feebe2", "#f2f5ef", "#cfe3d6", "#8fc1a5", "#3f8f74", "#0b5d5e",
)  # fmt: skip
"""Colours of confidences from 0 to 1, by tenths; the same in every page."""


def page_environment(*folders: Path) -> jinja2.Environment:
    """The templates of some folders, and those that all pages share: ``base.html`` is what they extend."""
    loader = jinja2.FileSystemLoader([FOLDER, *folders])
    return jinja2.Environment(
        loader=loader, autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )


def page_style() -> str:
    """The style of all pages."""
    return _text("page.css")


def map_style() -> str:
    """The style of pages with a map; without the pictures of controls that they do not have."""
    leaflet = re.sub(r"url\((?!\"data:)[^)]*\)", "none", _text("leaflet.css"))
    return leaflet + page_style() + _text("map.css")


def page_policy(scripts: Sequence[str] = ()) -> str:
    """The content security policy of a page that loads nothing and runs no script but these."""
    allowed = f"script-src {' '.join(map(script_digest, scripts))}; " if scripts else ""
    return f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; {allowed}base-uri 'none'; form-action 'none'"


def page_scripts() -> list[str]:
    """The scripts that every page with a map begins with: the map library, and what all pages share."""
    return [re.sub(r"\n//# sourceMappingURL=.*", "", _text("leaflet.js")), _text("page.js")]


def script_facts(classes: Sequence[LandClass], facts: Mapping[str, Any]) -> str:
    """What the scripts of a page with a map read, as JSON that cannot end the element that holds it.

    Parameters
    ----------
    classes
        Those of the map that are shown.
    facts
        What the page has beside them and the words of all languages.
    """
    common = {
        "words": {language: words(language) for language in LANGUAGES},
        "classes": [{**asdict(each), "name_fr": each.name_fr or each.name} for each in classes],
    }
    return json.dumps({**common, **facts}).replace("<", "\\u003c")


def script_digest(script: str) -> str:
    """What a content security policy allows a script by, for its text."""
    return f"'sha256-{base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()}'"


def _text(name: str) -> str:
    return (FOLDER / name).read_text(encoding="utf-8")
