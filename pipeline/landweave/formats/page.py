"""One self-contained HTML page of tables and charts: no file beside it, nothing from the network."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from jinja2 import Environment

from landweave.core.secrets import without_secrets

_TEMPLATE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>{{ title }}</title>
<style>
body { font: 15px/1.5 system-ui, sans-serif; color: #1a1a1a; max-width: 60rem; margin: 2rem auto; padding: 0 1rem }
h1 { font-size: 1.6rem; margin-bottom: .3rem } h2 { font-size: 1.15rem; margin-top: 2rem }
table { border-collapse: collapse; font-size: .9rem } td, th { padding: .2rem .7rem; border-bottom: 1px solid #e4e4e4 }
th { text-align: left; font-weight: 600 } td { font-variant-numeric: tabular-nums }
table.wide td + td, table.wide th + th { text-align: right } img { max-width: 100%; height: auto }
.table { overflow-x: auto } p.lead { color: #6e6e6e; margin-top: 0 }
i { display: inline-block; width: .8em; height: .8em; margin-right: .5em; border: 1px solid #9a9a9a }
</style>
</head>
<body>
<h1>{{ title }}</h1>
<p class="lead">{{ lead }}</p>
{% for section in sections %}
<h2>{{ section.title }}</h2>
{% if section.text %}<p>{{ section.text }}</p>{% endif %}
{% if section.rows %}<div class="table"><table>
{% for name, value in section.rows %}<tr><th>{{ name }}</th><td>{{ value }}</td></tr>
{% endfor %}</table></div>{% endif %}
{% if section.table %}<div class="table"><table class="wide">
<tr>{% for name in section.table[0] %}<th>{{ name }}</th>{% endfor %}</tr>
{% for row in section.table[1:] %}
<tr>{% for value in row %}
<td>{% if loop.first and value in section.colors %}<i style="background:{{ section.colors[value] }}"></i>{% endif %}
{{ value }}</td>
{% endfor %}</tr>
{% endfor %}</table></div>{% endif %}
{% if section.chart %}
<p><img alt="{{ section.title }}" src="data:image/png;base64,{{ section.encoded }}"></p>
{% endif %}
{% endfor %}
</body>
</html>
"""


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
    template = Environment(autoescape=True, trim_blocks=True, lstrip_blocks=True).from_string(_TEMPLATE)
    return without_secrets(template.render(title=title, lead=lead, sections=sections))
