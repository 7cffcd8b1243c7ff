"""A run that is killed in the middle and run again gives the bytes of one that was not, with little done twice."""

import os
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from landweave import api
from landweave.core.protocols import BlockState
from landweave.jobs.runner import FLUSH_SECONDS
from tests.block_jobs import wait_until
from tests.helpers.commands import shards, start
from tests.helpers.counted import Watched, environment
from tests.helpers.small import Small

BATCH = 2
ENGINES = {
    "inline": ({"kind": "inline"}, 1),
    "dask": ({"kind": "dask", "workers": 2, "memory_gib": 2}, 4),
}
"""Settings, and blocks that can be at work at once."""


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small.make(tmp_path)


@pytest.fixture
def reference(mapped_once: Small) -> tuple[dict[str, bytes], dict[tuple[int, int], int]]:
    """Shards of a run that nobody disturbed, and how often the predictor is called for each block."""
    store = mapped_once.store
    windows = api.open_ledger(store)["windows"].values
    calls = {(row, column): -(-int(windows[row, column]) // BATCH) for row in range(3) for column in range(4)}
    return shards(store), calls


def watched_run(small: Small, config: Path, name: str, endless: int = 0) -> subprocess.Popen[str]:
    notes = environment(small.folder / name, wait_seconds=0.06, endless=endless)
    return start("run", config, module="tests.helpers.counted", **notes)


def interrupt(small: Small, config: Path, how: Callable[[subprocess.Popen[str]], None]) -> tuple[int, Watched]:
    """Start a run, interrupt it once a part is done and in the ledger, and give its exit code."""
    first = small.folder / "first"
    process = watched_run(small, config, "first", endless=12)
    try:
        wait_until(lambda: process.poll() is not None or len(Watched.read(first).ended) >= 4, 200)
        wait_until(lambda: process.poll() is not None or done_in_ledger(small), 60)
        assert process.poll() is None, process.stderr and process.stderr.read()
        how(process)
        return process.wait(120), Watched.read(first)
    finally:
        process.kill()


def done_in_ledger(small: Small) -> set[tuple[int, int]]:
    states = api.open_ledger(small.store)["state"].values
    return {(row, column) for row in range(3) for column in range(4) if states[row, column] == BlockState.DONE}


def finish(small: Small, config: Path) -> Watched:
    process = watched_run(small, config, "second")
    said, problems = process.communicate(timeout=240)
    assert process.returncode == 0, problems
    assert "12 done" in said
    return Watched.read(small.folder / "second")


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_run_killed_in_the_middle_goes_on_where_it_was(small: Small, reference, kind: str) -> None:
    settings, at_once = ENGINES[kind]
    config = small.config(engine=settings)
    _, first = interrupt(small, config, lambda process: process.kill())
    done = done_in_ledger(small)
    flushed = (small.store / "ledger/state/c/0/0").stat().st_mtime
    second = finish(small, config)

    expected, calls = reference
    assert shards(small.store) == expected
    assert set(second.begun) == set(calls) - done
    assert set(second.begun_times.values()) == {1}
    twice = set(first.begun) & set(second.begun)
    in_flight = {index for index in twice if index not in first.ended}
    assert len(in_flight) <= at_once
    # Those that had ended did so after the ledger was last written, which happens every two seconds.
    late = twice - in_flight
    assert all(first.ended[index] > flushed - 0.5 for index in late)
    assert all(max(first.ended.values()) - first.ended[index] < FLUSH_SECONDS + 1 for index in late)
    again = sum(calls[index] for index in twice)
    assert first.calls + second.calls <= sum(calls.values()) + again


STROKES = {"ctrl-c": (signal.SIGINT, 130), "terminated": (signal.SIGTERM, 143), "hung up": (signal.SIGHUP, 129)}


@pytest.mark.parametrize("stroke", STROKES)
@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.timeout(600)
@pytest.mark.slow
def test_a_signal_ends_the_run_with_its_code_and_loses_nothing_that_was_done(
    small: Small, reference, kind: str, stroke: str
) -> None:
    """SIGTERM is what Slurm, Kubernetes and systemd end a job with, SIGHUP a terminal: all processes get it."""
    (number, expected_code), (settings, at_once) = STROKES[stroke], ENGINES[kind]
    config = small.config(engine=settings)
    struck = 0.0

    def strike(process: subprocess.Popen[str]) -> None:
        nonlocal struck
        struck = time.time()
        os.killpg(process.pid, number)

    code, first = interrupt(small, config, strike)
    assert code == expected_code
    others = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # who share the machine
    assert time.time() - struck < 10 * others
    assert not list(small.folder.rglob("*lease*"))
    done = done_in_ledger(small)
    second = finish(small, config)

    expected, calls = reference
    assert shards(small.store) == expected
    assert set(second.begun) == set(calls) - done
    twice = set(first.begun) & set(second.begun)
    late = twice & set(first.ended)
    assert len(twice - late) <= at_once
    # A worker goes on until it is told: what ended meanwhile is not heard. Half a second is the way to the driver.
    assert all(struck - 0.5 < first.ended[index] < struck + 30 for index in late)
