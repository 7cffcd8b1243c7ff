"""Items of an iterator, made in a thread of their own before they are asked for: a bounded number of them."""

from __future__ import annotations

from collections import deque
from collections.abc import Generator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any, TypeVar

T = TypeVar("T")


def look_ahead(items: Generator[T], depth: int) -> Generator[T]:
    """The items in their order, up to ``depth`` of them made ahead; with 0 each is made when it is asked for.

    Parameters
    ----------
    items
        Run in one thread, which is not the caller's unless ``depth`` is 0, and closed at the end. What it raises is
        raised here, after the items before it.
    depth
        Items that are ready, or being made, while the caller works on another one.
    """
    end: Any = object()
    with closing(items):
        if not depth:
            yield from items
            return
        ahead: deque[Future[T]] = deque()
        with ThreadPoolExecutor(1, thread_name_prefix="landweave-ahead") as thread:
            try:
                ahead.extend(thread.submit(next, items, end) for _ in range(depth))
                while (item := ahead.popleft().result()) is not end:
                    ahead.append(thread.submit(next, items, end))
                    yield item
            finally:
                for future in ahead:
                    future.cancel()
