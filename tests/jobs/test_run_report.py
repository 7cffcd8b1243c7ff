"""Where the time of a run went: rates over time in a bounded number, shares that add up, a table at the end."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from landweave.core.protocols import BlockState
from landweave.jobs.result import RunResult
from landweave.jobs.run_report import FIRST_SPAN_S, MOST_RATES, RateLog, join_rates


@given(st.lists(st.tuples(st.floats(1, 50), st.integers(0, 10**7)), min_size=1, max_size=200))
def test_rates_are_few_and_add_up_to_all_pixels(steps: list[tuple[float, int]]) -> None:
    log, seconds, pixels = RateLog(), 0.0, 0
    for lasted, mapped in steps:
        seconds, pixels = seconds + lasted, pixels + mapped
        log.add(seconds, pixels)
    rates = log.rates(seconds, pixels)
    assert len(rates) <= MOST_RATES + 1
    ends = [end for end, _ in rates]
    assert ends == sorted(ends)
    if pixels:
        assert ends[-1] == pytest.approx(seconds, abs=1e-3)
        spans = [end - before for before, end in itertools.pairwise([0.0, *ends])]
        summed = sum(rate * span for (_, rate), span in zip(rates, spans, strict=True))
        assert summed == pytest.approx(pixels / 1e6, rel=2e-3, abs=1e-4 * seconds)  # of rounded numbers


def test_a_rate_that_falls_is_seen() -> None:
    log = RateLog()
    for second in range(1, 11):
        log.add(second * FIRST_SPAN_S, min(second, 5) * 10**6)
    assert log.rates(10.0, 5 * 10**6) == tuple((float(n), 1.0 if n <= 5 else 0.0) for n in range(1, 11))


def test_rates_of_several_runs_follow_each_other() -> None:
    assert join_rates([(2.0, ((1.0, 3.0), (2.0, 4.0))), (1.5, ((1.5, 1.0),))]) == ((1, 3), (2, 4), (3.5, 1))


def test_the_table_has_shares_of_the_whole() -> None:
    result = RunResult(
        counts=dict.fromkeys(BlockState, 0),
        ran=2,
        seconds=8.0,
        pixels=16 * 10**6,
        sums={"windows": 22},
        stage_seconds={"read": 2.0, "predict": 6.0, "total": 10.0},
        part_seconds={"start": 2.0, "blocks": 8.0},
        rates=((4.0, 3.0), (8.0, 1.0)),
        windows_needed=20,
        peak_bytes=3 * 2**29,
        processes=2,
    ).with_parts(start=1.0, cog=1.0)
    assert dict(result.report) == {
        "time": "start 3.0 s (25%), blocks 8.0 s (67%), cog 1.0 s (8%)",
        "in blocks": "predict 6.0 s (60%), read 2.0 s (20%), other 2.0 s (20%)",
        "device": "the network ran 38% of the time",
        "Mpx/s": "3.00 at 4 s, 1.00 at 8 s",
        "windows": "20 needed, 22 run (1.100)",
        "peak memory": "1.50 GiB in a process",
    }
    assert str(result).splitlines()[-6:] == [f"{name:<11}  {text}" for name, text in result.report]
    assert "start 3.0 s" in result._repr_html_()


def test_a_run_with_nothing_to_do_has_no_table() -> None:
    assert "\n" not in str(RunResult(counts=dict.fromkeys(BlockState, 0)))
