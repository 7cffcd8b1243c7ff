"""Retries of requests after transient errors, for files on the web and for object stores: bounded, and counted.

::

    request ── transient error ── pause ── request …   each pause about twice the one before
       │            └ the last of its attempts: the server counts as gone, and other requests get two attempts only
       └ any response: it is there again
"""

from __future__ import annotations

import asyncio
import math
import random
import threading
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TypeVar

T = TypeVar("T")

RETRIES = "retries"
"""Name of the number of retries among the counts of a block and the sums of a run."""


class _Count:
    """Retries of this process that nobody has taken yet."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._number = 0

    def add(self, number: int = 1) -> None:
        with self._lock:
            self._number += number

    def take(self) -> int:
        with self._lock:
            taken, self._number = self._number, 0
        return taken


_COUNT = _Count()


def count_retry() -> None:
    """Count a retry that a library makes by itself."""
    _COUNT.add()


def take_retries() -> int:
    """The number of retries of this process since it was last taken.

    A block takes those of its process when it ends, the driver the rest: each is counted once.
    """
    return _COUNT.take()


class Outage:
    """Whether requests were given up and none had a response since; one for all requests of a kind in a process."""

    def __init__(self) -> None:
        self.lasts = False


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Number, pauses and occasions of retries.

    Attributes
    ----------
    pauses_s
        Seconds before the second attempt, the third, …, shortened by up to a half at random, so that many clients do
        not come back at once; an error of the last attempt is raised.
    is_transient
        Whether a request may succeed after an error: dropped connections, time-outs, HTTP status 5xx.
    budget_s
        Seconds since its first attempt after which a request is not tried again.
    outage
        Set when a request is given up: until one has a response each is tried again once only, so that a run ends soon.

    Examples
    --------
    >>> answers = iter([TimeoutError(), 7])
    >>> def request():
    ...     answer = next(answers)
    ...     if isinstance(answer, Exception):
    ...         raise answer
    ...     return answer
    >>> Retry(pauses_s=(0.0,), is_transient=lambda error: isinstance(error, TimeoutError)).call(request)
    7
    """

    pauses_s: tuple[float, ...]
    is_transient: Callable[[BaseException], bool]
    budget_s: float = math.inf
    outage: Outage = field(default_factory=Outage, compare=False, repr=False)

    def call(self, request: Callable[[], T]) -> T:
        """Return the value of ``request``."""
        attempts = _Attempts(self)
        while True:
            try:
                return attempts.answered(request())
            except Exception as error:  # noqa: BLE001  raised again unless it may pass
                time.sleep(attempts.pause_after(error))

    async def call_async(self, request: Callable[[], Awaitable[T]]) -> T:
        """Return the value of ``request``, awaited."""
        attempts = _Attempts(self)
        while True:
            try:
                return attempts.answered(await request())
            except Exception as error:  # noqa: BLE001  raised again unless it may pass
                await asyncio.sleep(attempts.pause_after(error))


class _Attempts:
    """The attempts of one request."""

    def __init__(self, rule: Retry) -> None:
        self._rule, self._failed, self._began = rule, 0, time.monotonic()

    def answered(self, value: T) -> T:
        self._rule.outage.lasts = False
        return value

    def pause_after(self, error: Exception) -> float:
        """Seconds before the next attempt; raises ``error`` where there is none."""
        rule = self._rule
        if not rule.is_transient(error):
            rule.outage.lasts = False
            raise error
        pauses = rule.pauses_s[:1] if rule.outage.lasts else rule.pauses_s
        if self._failed >= len(pauses) or time.monotonic() - self._began > rule.budget_s:
            rule.outage.lasts = True
            raise error
        pause = pauses[self._failed] * random.uniform(0.5, 1)
        self._failed += 1
        count_retry()
        return pause
