"""Which windows go to the model together: those whose series have the same lengths, without waiting for long."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator


def group_windows(keys: Iterable[Hashable], *, size: int, ahead: int) -> Iterator[tuple[int, ...]]:
    """Places of ``keys``, each once, in groups of at most ``size`` equal ones.

    A group goes as soon as it is full, or when ``ahead`` keys have been drawn since its first: so at most ``ahead``
    answers wait for an earlier one. With one key only, groups are runs of ``size``.

    >>> list(group_windows("aabaab", size=2, ahead=3))
    [(0, 1), (3, 4), (2, 5)]
    >>> list(group_windows("abbbb", size=2, ahead=3))
    [(1, 2), (0,), (3, 4)]
    """
    waiting: dict[Hashable, list[int]] = {}  # in the order of their first places
    for place, key in enumerate(keys):
        group = waiting.setdefault(key, [])
        group.append(place)
        if len(group) == size:
            yield tuple(waiting.pop(key))
        oldest = next(iter(waiting), None)
        if oldest is not None and place - waiting[oldest][0] >= ahead:
            yield tuple(waiting.pop(oldest))
    yield from map(tuple, waiting.values())
