"""Which parameters of a law the fast suite takes: no tests here."""

from __future__ import annotations

from collections.abc import Container, Iterable
from typing import Any

import pytest


def mostly_slow(values: Iterable[Any], *, fast: Container[Any]) -> list[Any]:
    """Parameters that are marked slow but for those in ``fast``; of a tuple, each is an argument of its own."""
    parts = ((value, value if isinstance(value, tuple) else (value,)) for value in values)
    return [pytest.param(*part, marks=[] if value in fast else pytest.mark.slow) for value, part in parts]
