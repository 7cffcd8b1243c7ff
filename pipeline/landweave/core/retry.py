"""Retries of requests after transient errors, for files on the web and for object stores."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class Retry:
    """Number, pauses and occasions of retries.

    Attributes
    ----------
    pauses_s
        Seconds before the second attempt, the third, …; an error of the last attempt is raised.
    is_transient
        Whether a request may succeed after an error: dropped connections, time-outs, HTTP status 5xx.

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

    def call(self, request: Callable[[], T]) -> T:
        """Return the value of ``request``."""
        for pause in self.pauses_s:
            try:
                return request()
            except Exception as error:
                if not self.is_transient(error):
                    raise
            time.sleep(pause)
        return request()

    async def call_async(self, request: Callable[[], Awaitable[T]]) -> T:
        """Return the value of ``request``, awaited."""
        for pause in self.pauses_s:
            try:
                return await request()
            except Exception as error:
                if not self.is_transient(error):
                    raise
            await asyncio.sleep(pause)
        return await request()
