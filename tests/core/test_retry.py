"""Retries are bounded, counted, and few while nothing responds."""

import asyncio
from collections.abc import Callable

import pytest

from landweave.core.retry import Retry, take_retries


class PassingError(Exception):
    """An error that may pass."""


def rule(*pauses: float, budget_s: float = 60.0) -> Retry:
    return Retry(pauses_s=pauses, is_transient=lambda error: isinstance(error, PassingError), budget_s=budget_s)


def failing(times: int, error: Exception, calls: list[int]) -> Callable[[], int]:
    def request() -> int:
        calls.append(1)
        if len(calls) <= times:
            raise error
        return 7

    return request


@pytest.fixture(autouse=True)
def _nothing_counted() -> None:
    take_retries()


def test_every_retry_is_counted_once() -> None:
    assert rule(0.0, 0.0, 0.0).call(failing(2, PassingError(), [])) == 7
    assert (take_retries(), take_retries()) == (2, 0)


def test_what_is_awaited_is_tried_again_alike() -> None:
    sync, calls = failing(2, PassingError(), []), rule(0.0, 0.0)

    async def request() -> int:
        return sync()

    assert asyncio.run(calls.call_async(request)) == 7
    assert take_retries() == 2


@pytest.mark.parametrize(("error", "tries"), [(PassingError(), 4), (ValueError(), 1)])
def test_attempts_are_bounded_and_a_refusal_is_final(error: Exception, tries: int) -> None:
    calls: list[int] = []
    with pytest.raises(type(error)):
        rule(0.0, 0.0, 0.0).call(failing(99, error, calls))
    assert len(calls) == tries


def test_a_request_has_a_budget_of_time() -> None:
    calls: list[int] = []
    with pytest.raises(PassingError):
        rule(*[0.05] * 100, budget_s=0.1).call(failing(200, PassingError(), calls))
    assert 2 <= len(calls) < 10


def test_after_one_was_given_up_the_others_end_soon_until_there_is_a_response() -> None:
    retry = rule(0.0, 0.0, 0.0)
    for expected in (4, 2, 2):
        calls: list[int] = []
        with pytest.raises(PassingError):
            retry.call(failing(99, PassingError(), calls))
        assert len(calls) == expected
    assert retry.call(failing(1, PassingError(), [])) == 7  # it is there again
    calls = []
    with pytest.raises(PassingError):
        retry.call(failing(99, PassingError(), calls))
    assert len(calls) == 4
