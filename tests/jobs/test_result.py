from xml.etree import ElementTree

import pytest

from landweave.core.errors import EXIT_FAILED_BLOCKS
from landweave.core.protocols import BlockResult, BlockState
from landweave.jobs.ledger import Ledger
from landweave.jobs.result import (
    EXIT_COMPLETE,
    SHOWN_FAILURES,
    RunResult,
    Status,
    coverage_notes,
    is_empty,
    join_results,
    join_status,
)

FAILED = "block (0, 1): read failed: tile <a>.jp2: cut short"


def ledger(*states: BlockState) -> Ledger:
    marked = Ledger((1, len(states)))
    for column, state in enumerate(states):
        marked.mark((0, column), BlockResult(state=state))
    return marked


def result(**changes) -> RunResult:
    counts = ledger(BlockState.DONE, BlockState.READ_FAILED).counts()
    return RunResult(
        **{"counts": counts, "ran": 2, "seconds": 2.0, "pixels": 3_000_000, "failures": (FAILED,), **changes}
    )


def test_a_result_says_what_ran_what_failed_and_what_to_know() -> None:
    text = str(result(notes=("windows of 64 px",)))
    assert text == f"blocks: 1 done, 1 read failed; 2 ran in 2.0 s (1.50 Mpx/s)\nwindows of 64 px\n{FAILED}"
    table = ElementTree.fromstring(result(notes=("windows of 64 px",))._repr_html_())
    assert [row.find("th").text for row in table] == ["blocks", "ran", "note", "failed"]
    assert table[-1].find("td").text == FAILED


def test_of_many_failures_the_first_are_shown() -> None:
    many = tuple(f"block (0, {column}): failed: disk full" for column in range(SHOWN_FAILURES + 7))
    lines = str(result(failures=many)).splitlines()
    assert lines[1:-1] == list(many[:SHOWN_FAILURES])
    assert lines[-1] == "and 7 more, in the status"


def test_the_exit_code_is_that_of_every_block() -> None:
    assert result().exit_code == EXIT_FAILED_BLOCKS
    finished = ledger(BlockState.DONE, BlockState.OUTSIDE, BlockState.NO_INPUT).counts()
    assert (result(counts=finished).complete, result(counts=finished).exit_code) == (True, EXIT_COMPLETE)
    assert result(counts=ledger(BlockState.DONE, BlockState.PENDING).counts()).exit_code == EXIT_FAILED_BLOCKS


def test_nothing_at_all_is_told_and_is_no_success() -> None:
    empty = result(counts=ledger(BlockState.NO_INPUT).counts(), failures=(), empty=("SENTINEL1-ASC_TS",))
    assert (empty.complete, empty.exit_code) == (True, EXIT_FAILED_BLOCKS)
    line = "SENTINEL1-ASC_TS: nothing is left, no pixel of any block holds a measurement"
    assert line in str(empty)
    assert line in empty._repr_html_()


@pytest.mark.parametrize(
    ("states", "empty"),
    [
        ((BlockState.NO_INPUT, BlockState.OUTSIDE), True),
        ((BlockState.NO_INPUT, BlockState.DONE), False),
        ((BlockState.NO_INPUT, BlockState.READ_FAILED), False),
        ((BlockState.OUTSIDE,), False),
        ((), False),
    ],
)
def test_what_is_empty(states: tuple[BlockState, ...], empty: bool) -> None:
    assert is_empty(ledger(*states).counts()) is empty


def test_a_small_share_of_what_is_covered_is_told() -> None:
    runs = [result(sums={"covered": 900, "valid": 20}), result(sums={"covered": 100, "valid": 30})]
    assert coverage_notes("S", runs) == ["S: 50 of 1,000 pixels that are covered hold a measurement (5.0%)"]
    assert coverage_notes("S", [result(sums={"covered": 1000, "valid": 100})]) == []
    assert coverage_notes("S", [result()]) == []


def test_several_runs_are_one_result() -> None:
    ledgers = [ledger(BlockState.DONE, BlockState.DONE), ledger(BlockState.PENDING)]
    parts = [result(stage_seconds={"read": 1.0}), result(stage_seconds={"read": 2.0, "write": 4.0})]
    joined = join_results(parts, ledgers, [FAILED], ("a note",))
    assert (joined.ran, joined.seconds, joined.pixels) == (4, 4.0, 6_000_000)
    assert joined.stage_seconds == {"read": 3.0, "write": 4.0}
    assert (joined.counts[BlockState.DONE], joined.counts[BlockState.PENDING]) == (2, 1)
    assert (joined.failures, joined.notes, set(joined.counts)) == ((FAILED,), ("a note",), set(BlockState))
    assert join_results([], ledgers, [], ()).ran == 0


def test_the_status_of_a_cube_is_that_of_its_modalities() -> None:
    series = Status(counts=ledger(BlockState.DONE).counts(), dates=4, dates_to_come=2)
    raster = Status(counts=ledger(BlockState.READ_FAILED).counts(), failures=(FAILED,))
    cube = join_status({"SENTINEL2_TS": series, "SPOT_RGBI": raster})
    assert str(cube) == (
        "SENTINEL2_TS  4 dates, 2 to come, blocks: 1 done\nSPOT_RGBI     blocks: 1 read failed\n" + FAILED
    )
    assert (cube.complete, series.complete, raster.complete) == (False, False, False)
    assert ElementTree.fromstring(cube._repr_html_())[-1].find("td").text == FAILED
    assert str(Status(counts=ledger(BlockState.DONE).counts())).split() == ["done", "1"]
