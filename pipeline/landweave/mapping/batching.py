"""Which windows are predicted together: those whose series have the same lengths, without waiting for long."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator


def group_windows(keys: Iterable[Hashable], *, size: int, ahead: int) -> Iterator[tuple[int, ...]]:
    """Numbers of ``keys``, each once, in groups of at most ``size`` equal ones.

    A group is given as soon as it is full, or when ``ahead`` keys have been drawn since its first: at most ``ahead``
    predictions wait for an earlier one. With a single key, groups are runs of ``size``.

    Parameters
    ----------
    keys
        What windows of one group must have in common, window by window.
    size
        Largest group.
    ahead
        Keys drawn after the first of a group before it is given incomplete.

    Examples
    --------
    >>> list(group_windows("aabaab", size=2, ahead=3))
    [(0, 1), (3, 4), (2, 5)]
    >>> list(group_windows("abbbb", size=2, ahead=3))
    [(1, 2), (0,), (3, 4)]
    """
    waiting: dict[Hashable, list[int]] = {}  # in the order of their first numbers
    for number, key in enumerate(keys):
        group = waiting.setdefault(key, [])
        group.append(number)
        if len(group) == size:
            yield tuple(waiting.pop(key))
        oldest = next(iter(waiting), None)
        if oldest is not None and number - waiting[oldest][0] >= ahead:
            yield tuple(waiting.pop(oldest))
    yield from map(tuple, waiting.values())
