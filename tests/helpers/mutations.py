"""STAC items with one field broken, seeded: no tests here."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from random import Random
from typing import Any

from tests.helpers.stac_items import Item

BROKEN: tuple[Any, ...] = (
    *(None, "", "None", "EPSG:None", "abcdef", "²³", "NaN", "2021-13-45T99:00:00Z", "0001-01-01T00:00:00+14:00"),
    *(0, -1, 5, 10**400, 1.5, float("nan"), float("inf"), True, False),
    *([], [None], ["a"], [0, 0, 0, 0, 0, 0], [1e300] * 9, [[[[]]]], [float("nan")] * 4, [500, 100, -500, -100]),
    *({}, {"a": None}, {"type": "Polygon", "coordinates": None}, {"type": "Point", "coordinates": [1e9, 1e9]}),
    *([{}], [{"name": None}], [{"nodata": [0], "scale": "1e-4"}], [{"scale": 0}], [7, None], "image/geotiff"),
)


def mutated(item: Item, seed: int) -> Item:
    """A copy of ``item`` with one to three fields taken away, broken or swapped, anywhere in it."""
    random, copy = Random(seed), deepcopy(item)
    for _ in range(random.choice((1, 1, 1, 2, 3))):
        owner, key = random.choice(list(_places(copy)))
        if random.random() < 0.15:
            del owner[key]
        else:
            owner[key] = deepcopy(random.choice(BROKEN))
    return copy


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    """Every place below a value: who owns it, and its key."""
    keys = value.keys() if isinstance(value, dict) else range(len(value)) if isinstance(value, list) else ()
    for key in list(keys):
        yield value, key
        yield from _places(value[key])
