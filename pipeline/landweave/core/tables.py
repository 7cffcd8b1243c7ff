"""Rows of a name and a value: aligned text for a terminal, a table for a notebook."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape

Rows = Sequence[tuple[str, str]]


def as_text(rows: Rows) -> str:
    """One line a row, the values below each other.

    >>> print(as_text([("read", "3 MB"), ("memory", "1 GiB")]))
    read    3 MB
    memory  1 GiB
    """
    width = max((len(name) for name, _ in rows), default=0)
    return "\n".join(f"{name:<{width}}  {value}" for name, value in rows)


def as_html(rows: Rows) -> str:
    """The same as Jupyter shows it.

    >>> as_html([("read", "< 3 MB")])
    "<table><tr><th style='text-align:left'>read</th><td>&lt; 3 MB</td></tr></table>"
    """
    lines = (f"<tr><th style='text-align:left'>{escape(n)}</th><td>{escape(v)}</td></tr>" for n, v in rows)
    return f"<table>{''.join(lines)}</table>"


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
