"""Validation errors in words: each with its key, the value that was given, and the nearest known key."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Mapping
from typing import Any

from pydantic import ValidationError

from landweave.core.plain import as_plain
from landweave.core.words import problem_text

INPUT_KINDS = ("mosaic", "elevation", "stac", "cube", "patches", "superarea")

UNION_PARTS = ("function-", "tuple[")
"""How pydantic names the members of a union below its key."""


def problem_lines(error: ValidationError, keys: Collection[str]) -> list[str]:
    """One line for each problem of a configuration.

    Parameters
    ----------
    error
        What pydantic found.
    keys
        Every key of every section, from which the nearest one to an unknown key is named.
    """
    return [_line(problem, keys) for problem in error.errors()]


def _line(problem: Any, keys: Collection[str]) -> str:
    kinds = INPUT_KINDS if problem["loc"][:1] == ("inputs",) else ()  # pydantic names the kind below an input
    parts = [str(part) for part in problem["loc"] if part not in kinds]
    key = ".".join(part for part in parts if not part.startswith(UNION_PARTS))
    if problem["type"] == "extra_forbidden":
        last = str(problem["loc"][-1])
        # A key that another section has is unknown here all the same: it is not its own nearest one.
        return f"{key}: unknown key{_nearest(last, set(keys) - {last})}"
    if problem["type"] == "union_tag_not_found":
        return f"{key}.kind: give one of {', '.join(INPUT_KINDS)}."
    if problem["type"] == "union_tag_invalid":
        tag = str(problem["ctx"]["tag"])
        return f"{key}.kind: {tag!r} is none of {', '.join(INPUT_KINDS)}{_nearest(tag, INPUT_KINDS)}"
    reason = problem_text(problem["type"], problem["msg"])
    if problem["type"] == "missing":
        return f"{key}: {reason}."
    return f"{key or 'the whole'}: {reason} (got {_given(key, problem['input'])})"


def _given(key: str, value: Any) -> str:
    """The value as it may be shown: of several values only their kind, as one of them may be a password."""
    if "storage_options" in key or "cluster.settings" in key:
        return f"a {type(value).__name__}, not shown"
    if isinstance(value, Mapping):
        return f"the keys {', '.join(map(str, value))}" if value else "no keys"
    return f"{as_plain(value)!r:.80}"


def _nearest(word: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(word, sorted(known), n=1)
    return f"; did you mean {close[0]!r}?" if close else "."
