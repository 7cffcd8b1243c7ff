"""Records as plain values, such as JSON holds: what commands print with ``--json``, and what is stored of a run."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Set
from dataclasses import fields, is_dataclass
from enum import Enum, IntEnum
from fractions import Fraction
from typing import Any

from landweave.core.secrets import without_secrets

UNLISTED: Mapping[str, bool] = {"unlisted": True}
"""Metadata of a dataclass field that is left out."""


def as_plain(value: Any) -> Any:
    """``value`` as nested dicts, lists, text, finite numbers, booleans and None, without secrets in any text.

    A dataclass gives its public fields, and the properties that it names in ``LISTED``; a field that is added later
    is there by itself. An object with a ``plain`` property gives that.

    >>> as_plain({"size": Fraction(1, 5), "seconds": float("nan"), "files": ("https://me:pw@host/a.tif",)})
    {'size': 0.2, 'seconds': None, 'files': ['https://host/a.tif']}
    """
    if hasattr(value, "plain"):
        return as_plain(value.plain)
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Enum):
        return value.name.lower() if isinstance(value, IntEnum) else as_plain(value.value)
    if isinstance(value, str):
        return without_secrets(value)
    if isinstance(value, int | float | Fraction):
        return _number(value)
    return _nested(value)


def json_text(value: Any) -> str:
    """``value`` as JSON that people read, as `as_plain` has it."""
    return json.dumps(as_plain(value), indent=2, ensure_ascii=False)


def _number(value: float | Fraction) -> int | float | None:
    number = float(value) if isinstance(value, Fraction) else value
    return number if math.isfinite(number) else None


def _nested(value: Any) -> Any:
    if hasattr(value, "model_dump"):  # a pydantic model
        return as_plain(value.model_dump(mode="json"))
    if is_dataclass(value) and not isinstance(value, type):
        listed = [each.name for each in fields(value) if each.name[0] != "_" and "unlisted" not in each.metadata]
        return {name: as_plain(getattr(value, name)) for name in (*listed, *getattr(value, "LISTED", ()))}
    if isinstance(value, Mapping):
        return {str(as_plain(key)): as_plain(inner) for key, inner in value.items()}
    if isinstance(value, list | tuple | Set):
        return [as_plain(inner) for inner in value]
    if hasattr(value, "tolist"):  # an array or a number of numpy
        return as_plain(value.tolist())
    return without_secrets(str(value))
