"""The settings that decide the values of a run, as canonical JSON: equal settings have the same sha256."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from landweave.core.errors import OutputError
from landweave.core.protocols import SourceFile
from landweave.core.words import bullets

_SHOWN = 60
"""Characters of one value shown in a difference."""


@dataclass(frozen=True)
class Fingerprint:
    """Settings that decide the values of a run: grid, lattice, blending, card, numerics, legend, ids of files in order.

    Two fingerprints are equal exactly when their canonical JSON is: neither the order of keys nor tuples in the
    place of lists matter; the order of lists does.

    Attributes
    ----------
    parts
        Nested mappings with string keys, sequences, strings, finite numbers, booleans and None.

    Raises
    ------
    TypeError
        When a value is no plain JSON value (the message says where).
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
        """JSON with sorted keys and no spaces, of which `sha256` is taken."""
        return _canonical(self.parts)

    @property
    def sha256(self) -> str:
        """64 hexadecimal digits."""
        return hashlib.sha256(self.canonical.encode()).hexdigest()

    def __hash__(self) -> int:
        return hash(self.canonical)


def differences(old: Fingerprint, new: Fingerprint) -> list[str]:
    """One line for each setting in which two runs differ.

    Parameters
    ----------
    old
        Of the output.
    new
        Of this run: *here*.

    Examples
    --------
    >>> differences(Fingerprint({"blend": "linear"}), Fingerprint({"blend": "cosine"}))
    ['blend: cosine here, linear in the output']
    """
    return list(_differences("", old.parts, new.parts))


def require_same_settings(old: Mapping[str, Any], new: Mapping[str, Any], problem: str, advice: str) -> None:
    """Refuse an output that was written with other settings.

    Parameters
    ----------
    old
        Settings of the output, plain JSON values.
    new
        Settings of this run.
    problem
        First sentence of the error, without its full stop.
    advice
        Last sentence of the error.

    Raises
    ------
    OutputError
        With every setting that differs.
    """
    if differing := differences(Fingerprint(old), Fingerprint(new)):
        raise OutputError(f"{problem}. What differs:{bullets(differing)}\n{advice}")


def digest_files(files: Iterable[tuple[str, SourceFile]]) -> int:
    """A uint64 that changes when any of some files does, by their modality: the input version of a block."""
    return digest64([modality, file.id, file.size, file.version] for modality, file in files)


def digest64(items: Iterable[Any]) -> int:
    """A uint64 that changes when any item (plain JSON values) or their order does; 0 for no items."""
    listed = list(items)
    if not listed:
        return 0
    return int.from_bytes(hashlib.sha256(_canonical(_plain(listed, "")).encode()).digest()[:8], "big")


def _canonical(value: Any) -> str:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _plain(value: Any, path: str) -> Any:
    """The value in the types that JSON reads back; anything else is refused, with where it is."""
    if isinstance(value, Mapping):
        odd = [key for key in value if not isinstance(key, str)]
        if odd:
            raise TypeError(f"A fingerprint's keys are strings: {odd[0]!r} under {path or 'the root'!r} is not.")
        return {key: _plain(item, f"{path}.{key}".lstrip(".")) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, f"{path}[{number}]") for number, item in enumerate(value)]
    if value is None or type(value) in (str, bool, int, float):
        return value
    raise TypeError(
        f"{path or 'The root'} of a fingerprint is a {type(value).__name__}: "
        "write it as a string, a number, a list or a mapping."
    )


_ABSENT = object()


def _differences(path: str, old: Any, new: Any) -> Iterator[str]:
    if isinstance(old, dict) and isinstance(new, dict):
        for key in sorted(old.keys() | new.keys()):
            yield from _differences(f"{path}.{key}".lstrip("."), old.get(key, _ABSENT), new.get(key, _ABSENT))
    elif old is _ABSENT or new is _ABSENT or _canonical(old) != _canonical(new):
        yield f"{path}: {_both(old, new)}"


def _both(old: Any, new: Any) -> str:
    """Both values; of long lists (ids of files) the lengths and the first entry that differs."""
    are_lists = isinstance(old, list) and isinstance(new, list)
    if not are_lists or max(len(_canonical(old)), len(_canonical(new))) <= _SHOWN:
        return f"{_shown(new)} here, {_shown(old)} in the output"
    shorter = min(len(old), len(new))
    first = next((n for n in range(shorter) if _canonical(old[n]) != _canonical(new[n])), shorter)
    here, there = (_shown(items[first]) if first < len(items) else "absent" for items in (new, old))
    return f"{len(new)} entries here, {len(old)} in the output; entry {first} is {here} here, {there} there"


def _shown(value: Any) -> str:
    if value is _ABSENT:
        return "absent"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    half = (_SHOWN - 1) // 2  # an address ends with the name of the file
    return text if len(text) <= _SHOWN else f"{text[:half]}…{text[-half:]}"
