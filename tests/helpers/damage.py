"""Seeded damage: a valid value or file in, one that differs in a place or two out; no tests here.

The same seed gives the same damage, so that a failure that names its seed is found again::

    damage = mutated({"a": {"b": 1}}, Random(7))
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from random import Random
from typing import Any

Place = tuple[Any, ...]

ODD: tuple[Any, ...] = (
    None, True, False, 0, -1, 1, 2**31, -(2**63), 10**30, 0.5, -0.0, 1e-300, 1e308, float("nan"), float("inf"),
    "", " ", "nan", "0", "-1", "x" * 5000, "../..", "/", "\x00", "\ud800", "é\u202e", "1/0", "EPSG:0", "EPSG:4326",
    "2021-13-45", "9999-12-31T23:59:60Z", "0001-01-01T00:00:00+14:00", "EPSG:None", "image/geotiff", "²³",
    "%s{}", [], {}, [None], [[]], [1, "a", None], [0, 0, 0, 0], [1, 2, 3],
    [1e300] * 9, [float("nan")] * 4, [500, 100, -500, -100], 10**400, {"": None}, {"a": {"b": {}}}, [[[[[1]]]]],
    {"type": "Polygon", "coordinates": None}, {"type": "Point", "coordinates": [1e9, 1e9]}, [{"name": None}],
    [{"nodata": [0], "scale": "1e-4"}], [{"scale": 0}],
)  # fmt: skip
"""Values that no field expects all of."""


def places(value: Any, here: Place = ()) -> Iterator[Place]:
    """Path of every value inside a nested one."""
    inside: Any = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in inside:
        yield (*here, key)
        yield from places(inner, (*here, key))


def mutated(value: Any, random: Random) -> tuple[Any, list[Place]]:
    """A copy of nested JSON values with one to three places changed, and these places."""
    copy, changed = deepcopy(value), []
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        known = list(places(copy))
        if not known:
            break
        place = random.choice(known)
        owner = copy
        for key in place[:-1]:
            owner = owner[key]
        random.choice(_CHANGES)(owner, place[-1], random)
        changed.append(place)
    return copy, changed


def mutated_bytes(content: bytes, random: Random, *, within: int | None = None) -> bytes:
    """A copy of a file's bytes: cut, flipped, blanked, repeated or grown, somewhere in its first ``within`` bytes."""
    size = min(len(content), within or len(content))
    start = random.randrange(size) if size else 0
    stop = min(len(content), start + random.choice((1, 1, 4, 16, 200)))
    return random.choice(_DAMAGES)(content, start, stop, random)


@contextmanager
def damaged(path: Path, content: bytes) -> Iterator[None]:
    """Within the block, the file has other bytes."""
    before = path.read_bytes()
    path.write_bytes(content)
    try:
        yield
    finally:
        path.write_bytes(before)


def _replace(owner: Any, key: Any, random: Random) -> None:
    owner[key] = deepcopy(random.choice(ODD))


def _delete(owner: Any, key: Any, random: Random) -> None:
    del owner[key]


def _nest(owner: Any, key: Any, random: Random) -> None:
    owner[key] = random.choice(([owner[key]], {"a": owner[key]}, [owner[key], owner[key]]))


def _as_text(owner: Any, key: Any, random: Random) -> None:
    owner[key] = random.choice((str(owner[key]), f"{owner[key]} ", f"{owner[key]}x", repr(owner[key]).upper()))


def _negate(owner: Any, key: Any, random: Random) -> None:
    old = owner[key]
    is_number = isinstance(old, int | float) and not isinstance(old, bool)
    is_number = is_number and not (isinstance(old, int) and abs(old) > 10**300)  # those have no float
    owner[key] = random.choice((-old, old * 1e9, old / 3, old + 1)) if is_number else deepcopy(random.choice(ODD))


def _same_type(owner: Any, key: Any, random: Random) -> None:
    old = owner[key]
    if isinstance(old, bool):
        owner[key] = not old
    elif isinstance(old, int):
        owner[key] = random.choice((0, 1, -1, 2, 7, old * 2, old - 1, -old, 10**6, 2**31, 10**18))
    elif isinstance(old, float):
        owner[key] = random.choice((0.0, -old, 1e-9, old * 1.001, old * 1e6, 1e30, float("nan"), float("inf")))
    elif isinstance(old, str):
        owner[key] = random.choice([value for value in ODD if isinstance(value, str)])
    elif isinstance(old, list):
        owner[key] = random.choice((old[::-1], old + old, old[:1], [*old[1:], *old[:1]], []))


def _cut_text(owner: Any, key: Any, random: Random) -> None:
    old = owner[key]
    owner[key] = old[: random.randrange(len(old))] if isinstance(old, str | list) and old else None


def _swap(owner: Any, key: Any, random: Random) -> None:
    other = random.choice(list(owner) if isinstance(owner, dict) else range(len(owner)))
    owner[key], owner[other] = owner[other], owner[key]


def _rename(owner: Any, key: Any, random: Random) -> None:
    if isinstance(owner, dict):
        owner[random.choice((f"{key}x", str(key).upper(), "", "type"))] = owner.pop(key)
    else:
        owner.append(owner[key])


_CHANGES: tuple[Callable[[Any, Any, Random], None], ...] = (
    _same_type, _same_type, _same_type, _same_type, _replace, _replace, _replace, _delete, _delete,
    _nest, _as_text, _negate, _cut_text, _swap, _rename,
)  # fmt: skip

_DAMAGES: tuple[Callable[[bytes, int, int, Random], bytes], ...] = (
    lambda content, start, stop, random: content[:start],
    lambda content, start, stop, random: content[:start] + random.randbytes(stop - start) + content[stop:],
    lambda content, start, stop, random: content[:start] + bytes(stop - start) + content[stop:],
    lambda content, start, stop, random: content[:start] + b"\xff" * (stop - start) + content[stop:],
    lambda content, start, stop, random: content[:start] + content[start:stop] * 2 + content[stop:],
    lambda content, start, stop, random: content[:start] + content[stop:],
    lambda content, start, stop, random: (
        content[:start] + bytes([content[start] ^ 1 << random.randrange(8)]) + content[start + 1 :]
    ),
)
