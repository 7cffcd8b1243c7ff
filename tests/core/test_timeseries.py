"""Laws of dates: the ladder written out date by date, positions against the calendar, composites by hand."""

from collections import Counter
from datetime import date, timedelta
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from pydantic import ValidationError

from landweave.core.timeseries import (
    DateFallback,
    DatesRule,
    MaxCloudFraction,
    MinClearFraction,
    PixelClass,
    compose,
    measured,
    padded_length,
)

NOT_ACQUIRED, CLEAR, CLOUD, SNOW, SHADOW, NODATA = PixelClass
STATES = hnp.arrays(
    np.uint8,
    st.tuples(st.integers(0, 5), st.integers(1, 3), st.integers(1, 4)),
    elements=st.sampled_from([CLEAR, CLEAR, CLEAR, CLOUD, SNOW, SHADOW, NOT_ACQUIRED, NODATA]),
)
SHARES = st.sampled_from([0.25, 0.5, 0.75, 0.95, 1.0])
FILTERS = st.one_of(
    st.builds(MinClearFraction, min_clear_fraction=SHARES, clearest=st.integers(0, 3)),
    st.builds(MaxCloudFraction, max_cloud_fraction=SHARES),
)


def select(state: np.ndarray, rule: DatesRule) -> tuple[tuple[int, ...], DateFallback]:
    """Dates of a window without a composite, and how far the rule fell back."""
    found = rule.select(state, [np.datetime64("2021-01-01") + day for day in range(len(state))])
    assert len(found.day_offsets) == len(found.dates) <= found.padded_length
    return tuple(date for (date,) in found.dates), found.date_fallback


def ladder(state: np.ndarray, rule: MinClearFraction | MaxCloudFraction | None) -> tuple[list[int], int]:
    """The rules as documented, one date after the other, in fractions."""
    seen = [Counter(PixelClass(value) for value in image.ravel().tolist()) for image in state]
    dates = range(len(seen))

    def share(index: int, *states: PixelClass) -> Fraction:
        return Fraction(sum(seen[index][each] for each in states), state[0].size)

    def passes(index: int, *, clouds: bool) -> bool:
        limit = Fraction(str(getattr(rule, "min_clear_fraction", None) or rule.max_cloud_fraction))
        if isinstance(rule, MinClearFraction):
            good = (CLEAR,) if clouds else (CLEAR, CLOUD, SHADOW)
            return share(index, *good) >= limit
        spoilt = (SNOW, NOT_ACQUIRED, NODATA, *((CLOUD,) if clouds else ()))
        return share(index, *spoilt) < limit

    there = [index for index in dates if share(index, NOT_ACQUIRED, NODATA) < 1]
    if rule is None:
        return there, 0 if there else 3
    for date_fallback, clouds in ((0, True), (1, False)):
        if kept := [index for index in dates if passes(index, clouds=clouds)]:
            return kept, date_fallback
    there.sort(key=lambda index: (-share(index, CLEAR), share(index, NOT_ACQUIRED, NODATA), index))
    kept = sorted(there[: rule.clearest])
    return kept, 2 if kept else 3


@settings(max_examples=150, deadline=None)
@given(STATES, st.one_of(st.none(), FILTERS))
def test_the_ladder_is_climbed_down_as_told(
    state: np.ndarray, rule: MinClearFraction | MaxCloudFraction | None
) -> None:
    dates, date_fallback = select(state, DatesRule(filter=rule))
    assert (list(dates), date_fallback) == ladder(state, rule)
    assert measured(state)[list(dates)].any((1, 2)).all()


@given(STATES, FILTERS, st.randoms())
def test_where_pixels_lie_in_a_window_does_not_matter(state, rule, random) -> None:
    dates, height, width = state.shape
    order = list(range(height * width))
    random.shuffle(order)
    moved = state.reshape(dates, height * width)[:, order].reshape(state.shape)
    assert select(moved, DatesRule(filter=rule)) == select(state, DatesRule(filter=rule))


def test_95_in_100_is_enough_and_exactly_so() -> None:
    state = np.full((2, 10, 10), CLEAR, np.uint8)
    state.reshape(2, 100)[0, :5] = CLOUD
    state.reshape(2, 100)[1, :6] = CLOUD
    assert select(state, DatesRule(filter=MinClearFraction()))[0] == (0,)


@pytest.mark.parametrize("missing", [NOT_ACQUIRED, NODATA])
@pytest.mark.parametrize("rule", [MinClearFraction(), MaxCloudFraction(max_cloud_fraction=0.5)])
def test_an_unacquired_swath_is_not_clear_sky(rule, missing) -> None:
    """Of its pixels that were acquired the first date is the clearest; half of the window it never saw."""
    state = np.full((3, 4, 4), CLEAR, np.uint8)
    state[0, :, :2] = missing
    state[1, 0, 0] = CLOUD if isinstance(rule, MaxCloudFraction) else CLEAR
    state[2] = missing
    assert select(state, DatesRule(filter=rule))[0] == (1,)
    assert select(state[2:], DatesRule(filter=rule))[1] is DateFallback.ABSENT
    assert select(state, DatesRule())[0] == (0, 1)


def test_snow_alone_then_the_clearest_then_nothing() -> None:
    rule = DatesRule(filter=MinClearFraction(clearest=2))
    state = np.full((4, 2, 2), CLOUD, np.uint8)
    state[0] = SNOW
    assert select(state, rule) == ((1, 2, 3), DateFallback.CLOUDY)
    state[1:, 0] = SNOW
    state[2:, 1, 1] = CLEAR
    assert select(state, rule) == ((2, 3), DateFallback.CLEAREST)
    assert select(state, DatesRule(filter=MinClearFraction(clearest=0)))[1] is DateFallback.ABSENT


days = st.dates(date(2016, 1, 1), date(2029, 12, 31))


@given(days, days, st.integers(0, 86_399))
def test_positions_agree_with_the_calendar(day: date, reference: date, second: int) -> None:
    told = "02-28" if (reference.month, reference.day) == (2, 29) else f"{reference:%m-%d}"
    time = np.datetime64(day) + np.timedelta64(second, "s")
    here = date(day.year, int(told[:2]), int(told[3:]))
    after = DatesRule(reference=told).day_offset(time)
    assert after == (day - here).days
    assert here + timedelta(days=after) == day
    assert DatesRule(reference=told, position="before").day_offset(time) == -after


def test_positions_begin_anew_each_january() -> None:
    rule = DatesRule()
    times = [np.datetime64("2020-12-31T23:59:59"), np.datetime64("2021-01-01T00:00:00")]
    assert [rule.day_offset(time) for time in times] == [230.0, -134.0]


@pytest.mark.parametrize("reference", ["02-30", "13-01", "02-29", "5-15"])
def test_a_reference_is_a_day_of_every_year(reference: str) -> None:
    with pytest.raises(ValidationError, match=r"05-15|pattern"):
        DatesRule(reference=reference)


@pytest.mark.parametrize("wrong", ["clear", ["clear"], 0.95, True])
def test_a_filter_that_is_no_section_is_refused_in_words(wrong: object) -> None:
    with pytest.raises(ValidationError, match="filter"):
        DatesRule.model_validate({"filter": wrong})


def times_of(*told: str) -> list[np.datetime64]:
    return [np.datetime64(day, "s") for day in told]


@given(st.lists(days, min_size=1, max_size=12, unique=True).map(sorted), st.sampled_from(["month", "half-month"]))
def test_periods_are_those_of_the_calendar(dates: list[date], composite: str) -> None:
    def middle(day: date) -> date:
        if composite == "month":
            return day.replace(day=15)
        return day.replace(day=8 if day.day <= 15 else 23)

    clear = np.full((len(dates), 1, 1), CLEAR, np.uint8)
    found = DatesRule(composite=composite).select(clear, times_of(*map(str, dates)))
    expected: dict[date, list[int]] = {}
    for index, day in enumerate(dates):
        expected.setdefault(middle(day), []).append(index)
    assert [list(indices) for indices in found.dates] == [expected[day] for day in sorted(expected)]
    assert list(found.day_offsets) == [(day - date(day.year, 5, 15)).days for day in sorted(expected)]


def test_a_month_that_shows_nothing_is_left_out() -> None:
    state = np.full((4, 2, 2), CLEAR, np.uint8)
    state[2] = CLOUD
    times = times_of("2021-01-03", "2021-01-20", "2021-02-11", "2021-04-30")
    found = DatesRule(composite="month").select(state, times)
    assert found.dates == ((0, 1), (3,))  # of 15 January and 15 April
    assert found.day_offsets == (-120.0, -30.0)
    nothing = DatesRule(composite="month").select(np.full_like(state, CLOUD), times)
    assert (nothing.dates, nothing.date_fallback) == ((), DateFallback.ABSENT)


@settings(max_examples=60, deadline=None)
@given(
    hnp.arrays(np.uint16, (4, 2, 2, 3), elements=st.integers(0, 65535)),
    hnp.arrays(np.uint8, (4, 2, 3), elements=st.sampled_from(list(PixelClass))),
    st.sampled_from(["mean", "median"]),
)
def test_composites_are_of_clear_pixels_alone(values, state, statistic) -> None:
    composed, valid = compose(values, state, statistic)
    assert composed.dtype == np.float32
    of = {"mean": np.mean, "median": np.median}[statistic]
    for y, x in np.ndindex(valid.shape):
        clear = [index for index in range(4) if state[index, y, x] == CLEAR]
        assert valid[y, x] == bool(clear)
        for band in range(2):
            expected = of([float(values[index, band, y, x]) for index in clear]) if clear else 0
            assert composed[band, y, x] == np.float32(expected)


def test_lengths_only_grow_and_hold_what_they_are_for() -> None:
    lengths = [padded_length(count) for count in range(400)]
    assert lengths == sorted(lengths)
    assert all(max(count, 1) <= length for count, length in enumerate(lengths))
    assert all(length <= 1.5 * count for count, length in enumerate(lengths) if 2 <= count <= 128)
    assert len(set(lengths[:129])) < 20
