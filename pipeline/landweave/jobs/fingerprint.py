"""The meaning of a run as canonical JSON: two runs that mean the same have the same sha256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_SHOWN = 60
"""Characters of one value shown in a difference."""


@dataclass(frozen=True)
class Fingerprint:
    """What a run means: grid, lattice, blending, card, numerics, legend, scene ids with their order.

    Two fingerprints are equal exactly when their canonical JSON is: neither the order of keys nor tuples in the
    place of lists matter; the order of lists does.

    Attributes
    ----------
    parts
        Nested mappings with string keys, sequences, strings, finite numbers, booleans and None.

    Raises
    ------
    TypeError
        When a part is not a plain JSON value (its place is named).
    ValueError
        When a number is not finite.

    Examples
    --------
    >>> Fingerprint({"windows": {"size": 512, "blend": "cosine"}}).canonical
    '{"windows":{"blend":"cosine","size":512}}'
    """

    parts: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "parts", _plain(self.parts, ""))

    @property
    def canonical(self) -> str:
        """JSON with sorted keys and no spaces; what `sha256` is taken of, and what is stored with a map."""
        return _canonical(self.parts)

    @property
    def sha256(self) -> str:
        """64 hexadecimal digits."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    @classmethod
    def from_json(cls, text: str) -> Fingerprint:
        """The fingerprint whose `canonical` text was stored."""
        return cls(json.loads(text))

    def __hash__(self) -> int:
        return hash(self.canonical)


def differences(old: Fingerprint, new: Fingerprint) -> list[str]:
    """Where two runs differ, one line a part: ``new`` is the run *here*, ``old`` the one *in the output*.

    >>> differences(Fingerprint({"blend": "linear"}), Fingerprint({"blend": "cosine"}))
    ['blend: cosine here, linear in the output']
    """
    return list(_differences("", old.parts, new.parts))


def digest64(items: Iterable[Any]) -> int:
    """A uint64 that changes when any item or their order does; 0 for no items.

    Parameters
    ----------
    items
        Plain JSON values: ``(modality, scene id, size, version)`` of every scene that a block reads.
    """
    listed = list(items)
    if not listed:
        return 0
    return int.from_bytes(hashlib.sha256(_canonical(_plain(listed, "")).encode()).digest()[:8], "big")


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any, place: str) -> Any:
    """The same value in the types JSON reads back; anything else is refused with its place."""
    if isinstance(value, Mapping):
        odd = [key for key in value if not isinstance(key, str)]
        if odd:
            raise TypeError(f"A fingerprint's keys are strings: {odd[0]!r} under {place or 'the root'!r} is not.")
        return {key: _plain(item, f"{place}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{place}[{number}]") for number, item in enumerate(value)]
    if value is None or type(value) in (str, bool, int, float):
        return value
    raise TypeError(
        f"{place or 'The root'} of a fingerprint is a {type(value).__name__}: "
        "write it as a string, a number, a list or a mapping."
    )


_ABSENT = object()


def _differences(place: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(f"{place}.{key}".lstrip("."), old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif isinstance(old, list) and isinstance(new, list) and _canonical(old) != _canonical(new):
        yield f"{place}: {_list_difference(old, new)}"
    elif old is _ABSENT or new is _ABSENT or _canonical(old) != _canonical(new):
        yield f"{place}: {_shown(new)} here, {_shown(old)} in the output"


def _list_difference(old: list[Any], new: list[Any]) -> str:
    """Short lists whole; of long ones (scene ids) the lengths and the first place where they part."""
    if len(_canonical(old)) <= _SHOWN and len(_canonical(new)) <= _SHOWN:
        return f"{_shown(new)} here, {_shown(old)} in the output"
    shorter = min(len(old), len(new))
    first = next((n for n in range(shorter) if _canonical(old[n]) != _canonical(new[n])), shorter)
    here, there = (_shown(items[first]) if first < len(items) else "absent" for items in (new, old))
    return f"{len(new)} entries here, {len(old)} in the output; entry {first} is {here} here, {there} there"


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else text[: _SHOWN - 1] + "…"
