import io
import logging
from types import SimpleNamespace

import IPython.display  # noqa: F401  as a notebook has it
import pytest
from rich.console import Console

from landweave.core.protocols import BlockResult, BlockState
from landweave.jobs.progress import (
    BarProgress,
    LogProgress,
    NotebookProgress,
    SilentProgress,
    Tally,
    clock,
    progress_on,
    resolve_progress,
    shown,
)

DONE = BlockResult(state=BlockState.DONE, counts={"pixels": 2_000_000})
BAD = BlockResult(state=BlockState.READ_FAILED, reason="tile [a].jp2: cut short")
LINK = "dask: 2 workers, 4 threads, dashboard http://127.0.0.1:8787/status"


def test_a_terminal_gets_a_bar_and_a_file_gets_lines():
    assert isinstance(progress_on(Console(force_terminal=True, file=io.StringIO())), BarProgress)
    assert isinstance(progress_on(Console(file=io.StringIO())), LogProgress)


def test_the_bar_shows_blocks_rate_time_left_failures_and_the_link():
    screen = io.StringIO()
    bar = BarProgress(Console(force_terminal=True, file=screen, width=120, color_system=None))
    bar.start(3, LINK)
    for index, result in enumerate([DONE, BAD, DONE]):
        bar.advance((0, index), result)
    bar.stop()
    text = screen.getvalue()
    assert LINK in text
    assert "3 of 3 blocks" in text
    assert "Mpx/s" in text
    assert "0:00 left" in text
    assert "1 failed" in text
    assert "block (0, 1): read failed: tile [a].jp2: cut short" in text


class Handle:
    """What IPython shows, update by update."""

    def __init__(self):
        self.shown = []

    def display(self, what, *, display_id):
        assert display_id is True
        self.update(what)
        return self

    def update(self, what):
        self.shown.append(what._repr_html_())


@pytest.fixture
def handle(monkeypatch):
    handle = Handle()
    monkeypatch.setattr("IPython.display.display", handle.display)
    return handle


def test_a_notebook_gets_a_bar_of_html(handle, monkeypatch):
    monkeypatch.setattr("landweave.jobs.progress.NOTEBOOK_SECONDS", 0)
    bar = NotebookProgress()
    with shown(bar, 3, LINK):
        for index, result in enumerate([DONE, BAD, DONE]):
            bar.advance((0, index), result)
    assert "value='0'" in handle.shown[0]
    assert "<progress max='3' value='3'>" in handle.shown[-1]
    assert LINK in handle.shown[-1]
    assert "1 failed" in handle.shown[-1]
    assert "block (0, 1): read failed: tile [a].jp2: cut short" in handle.shown[-1]
    assert repr(bar).startswith("3 of 3 blocks, 1 failed")


def test_a_notebook_is_updated_a_few_times_a_second(handle, monkeypatch):
    monkeypatch.setattr("landweave.jobs.progress.NOTEBOOK_SECONDS", 3600)
    bar = NotebookProgress()
    with shown(bar, 1000, "inline"):
        for column in range(1000):
            bar.advance((0, column), DONE)
    assert len(handle.shown) <= 3
    assert "value='1000'" in handle.shown[-1]


def test_progress_is_shown_where_somebody_looks(monkeypatch):
    log = LogProgress()
    assert resolve_progress(log) is log
    assert isinstance(resolve_progress(progress=False), SilentProgress)
    assert isinstance(resolve_progress(progress=True), SilentProgress)
    monkeypatch.setattr("sys.stderr.isatty", lambda: True, raising=False)
    assert isinstance(resolve_progress(progress=True), BarProgress)
    monkeypatch.setattr("IPython.get_ipython", lambda: SimpleNamespace(kernel=object()))
    assert isinstance(resolve_progress(progress=True), NotebookProgress)
    assert isinstance(resolve_progress(progress=False), SilentProgress)


def test_progress_stops_however_a_run_ends():
    stopped = []

    class Stopping(SilentProgress):
        def stop(self):
            stopped.append(1)

    with pytest.raises(KeyboardInterrupt), shown(Stopping(), 1, "inline"):
        raise KeyboardInterrupt
    assert stopped == [1]


def test_a_log_gets_a_line_now_and_then(caplog):
    log = LogProgress()
    with caplog.at_level(logging.INFO, logger="landweave"):
        log.start(1000, LINK)
        for column in range(1000):
            log.advance((0, column), DONE)
        log.stop()
    assert len(caplog.messages) == 2
    assert caplog.messages[0] == f"1,000 blocks on {LINK}"
    assert caplog.messages[1].startswith("1,000 of 1,000 blocks, 0 failed, ")


def test_a_log_names_the_first_failures_only(caplog):
    log = LogProgress()
    with caplog.at_level(logging.WARNING, logger="landweave"):
        log.start(1000, "inline")
        for column in range(1000):
            log.advance((0, column), BAD)
    assert len(caplog.messages) == 10


def test_a_log_that_is_due_gets_its_line(caplog, monkeypatch):
    monkeypatch.setattr("landweave.jobs.progress.LOG_SECONDS", 0)
    log = LogProgress()
    with caplog.at_level(logging.INFO, logger="landweave"):
        log.start(2, "inline")
        log.advance((0, 0), DONE)
    assert caplog.messages[1].startswith("1 of 2 blocks, 0 failed, ")
    assert caplog.messages[1].endswith(" left")


def test_the_tally_counts_and_foresees(monkeypatch):
    tally = Tally(total=10)
    assert tally.seconds_left is None
    monkeypatch.setattr("time.monotonic", lambda: tally.started + 8)
    for result in (DONE, DONE, DONE, BAD):
        tally.add((0, 0), result)
    assert (tally.ended, tally.failed) == (4, 1)
    assert tally.megapixels_per_second == pytest.approx(0.75)
    assert tally.seconds_left == pytest.approx(12)


@pytest.mark.parametrize(
    ("seconds", "text"), [(0.4, "0:00"), (59.6, "1:00"), (3599.7, "1:00:00"), (90_061, "25:01:01")]
)
def test_clock(seconds, text):
    assert clock(seconds) == text
