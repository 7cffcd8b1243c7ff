"""One self-contained HTML page of tables and charts: no file beside it, nothing from the network."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from landweave.core.secrets import without_secrets
from landweave.formats.web_assets import page_environment, page_policy, page_style
from landweave.formats.web_words import words


@dataclass(frozen=True, kw_only=True)
class PageSection:
    """A part of a page: a title, and what it has of text, rows, a table and a chart.

    Attributes
    ----------
    title, text
        Plain text.
    rows
        Names and values.
    table
        Rows of equal length, the first with the names of the columns.
    colors
        Colour of a row of the table, ``#rrggbb`` by its first cell.
    chart
        PNG.
    """

    title: str
    text: str = ""
    rows: Sequence[tuple[str, str]] = ()
    table: Sequence[Sequence[str]] = ()
    colors: Mapping[str, str] = field(default_factory=dict)
    chart: bytes = b""

    @property
    def encoded(self) -> str:
        """The chart as text."""
        return b64encode(self.chart).decode()


def make_page(title: str, lead: str, sections: Sequence[PageSection]) -> str:
    """The HTML of a page.

    Parameters
    ----------
    title, lead
        At its top.
    sections
        Below each other.
    """
    frame = {"language": "en", "mark": "", "policy": page_policy(), "style": page_style(), "word": words("en")}
    template = page_environment().get_template("tables.html")
    return without_secrets(template.render(title=title, lead=lead, sections=sections, **frame))
