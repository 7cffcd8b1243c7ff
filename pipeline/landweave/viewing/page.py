"""The page of the viewer."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from landweave.core.grid import Bounds
from landweave.core.legend import LandClass
from landweave.formats.web_assets import map_style, page_environment, page_scripts, script_digest, script_facts
from landweave.formats.web_words import words

ASSETS = Path(__file__).parent / "assets"


def render_page(
    title: str, classes: tuple[LandClass, ...], layers: Mapping[str, Bounds], note: str = ""
) -> tuple[str, str]:
    """The page as HTML, and its content security policy: it may ask its own server alone.

    Parameters
    ----------
    title, classes
        Of the map.
    layers
        Bounds in degrees of each layer that is served, by name.
    note
        Why there is no aerial picture.
    """
    scripts = [*page_scripts(), (ASSETS / "view.js").read_text(encoding="utf-8")]
    text = (
        page_environment(ASSETS)
        .get_template("view.html")
        .render(
            title=title,
            language="en",
            mark="",
            policy="",  # in a header
            classes=classes,
            layers=layers,
            note=note,
            word=words("en"),
            style=map_style() + (ASSETS / "view.css").read_text(encoding="utf-8"),
            facts=script_facts(classes, {"layers": layers}),
            scripts=scripts,
        )
    )
    digests = " ".join(map(script_digest, scripts))
    policy = (
        f"default-src 'none'; img-src 'self' data:; connect-src 'self'; style-src 'unsafe-inline'; "
        f"script-src {digests}; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    )
    return text, policy
