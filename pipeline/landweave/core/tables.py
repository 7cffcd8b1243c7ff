"""Rows of a name and a value: text for a terminal, HTML for a notebook."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from landweave.core.secrets import without_secrets

Rows = Sequence[tuple[str, str]]


def as_text(rows: Rows) -> str:
    """One line a row, the values below each other.

    >>> print(as_text([("read", "3 MB"), ("memory", "1 GiB")]))
    read    3 MB
    memory  1 GiB
    """
    width = max((len(name) for name, _ in rows), default=0)
    return without_secrets("\n".join(f"{name:<{width}}  {value}" for name, value in rows))


def as_html(rows: Sequence[Sequence[str]]) -> str:
    """The same as Jupyter shows it; a row may have several values.

    >>> as_html([("read", "< 3 MB")])
    "<table><tr><th style='text-align:left'>read</th><td>&lt; 3 MB</td></tr></table>"
    """
    lines = (
        f"<tr><th style='text-align:left'>{escape(name)}</th>{''.join(f'<td>{escape(v)}</td>' for v in values)}</tr>"
        for name, *values in rows
    )
    return without_secrets(f"<table>{''.join(lines)}</table>")


def columns(rows: Sequence[Sequence[str]]) -> str:
    """Rows as text in columns, the first to the left, the others to the right.

    >>> print(columns([("class", "IoU"), ("0 water", "0.5")]))
    class    IoU
    0 water  0.5
    """
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(
            [row[0].ljust(widths[0]), *(text.rjust(width) for text, width in zip(row[1:], widths[1:], strict=True))]
        )
        for row in rows
    )


def fact_rows(facts: Mapping[str, Any], prefix: str = "") -> list[tuple[str, str]]:
    """Nested facts as one row each, named by their dotted key; lists are written with commas.

    Parameters
    ----------
    facts
        Plain values by name; mappings may hold further ones.
    prefix
        Written before every name.

    >>> fact_rows({"tiles": 4, "DSM": {"bands": ["DSM"], "nodata": None}}, "DEM_ELEV.")
    [('DEM_ELEV.tiles', '4'), ('DEM_ELEV.DSM.bands', 'DSM'), ('DEM_ELEV.DSM.nodata', 'none')]
    """
    rows: list[tuple[str, str]] = []
    for name, value in facts.items():
        if isinstance(value, Mapping):
            rows += fact_rows(value, f"{prefix}{name}.")
        else:
            rows.append((f"{prefix}{name}", _fact_text(value)))
    return rows


def _fact_text(value: Any) -> str:
    if isinstance(value, list | tuple):
        return ", ".join(map(_fact_text, value)) or "none"
    return "none" if value is None else str(value)


class Table:
    """A record that shows itself as rows of a name and a value: as text, and as a table in a notebook."""

    @property
    def rows(self) -> Rows:
        """The rows, in order."""
        raise NotImplementedError

    def __str__(self) -> str:
        return as_text(self.rows)

    def _repr_html_(self) -> str:
        return as_html(self.rows)
