"""The runner on the reference engine, with a job that has no model and no raster."""

import logging
import os
import signal
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from landweave.core.errors import HungUp, OutputError, WeightsError
from landweave.core.lattice import Blocks, Extent
from landweave.core.protocols import BlockResult, BlockState
from landweave.engine.inline import InlineEngine
from landweave.jobs.lease import Holder, Lease
from landweave.jobs.ledger import Ledger
from landweave.jobs.progress import LogProgress, SilentProgress
from landweave.jobs.runner import FLUSH_SECONDS, run_blocks, terminable, try_block
from tests.block_jobs import (
    TROUBLES,
    FolderObjects,
    NpyLedgerStore,
    SquareJob,
    grid_of,
    hear_interrupts,
    run_shown,
    run_squares,
    start_driver,
    wait_until,
)

SHAPE = (3, 5)


def test_every_block_is_run_once(tmp_path):
    job = SquareJob(folder=tmp_path)
    summary, ledger = run_squares(job, InlineEngine(), SHAPE)
    assert job.tried() == dict.fromkeys(grid_of(*SHAPE), 1)
    assert len(job.outputs()) == 15
    assert summary.exit_code == 0
    assert (summary.ran, summary.pixels, summary.counts[BlockState.DONE]) == (15, 120, 15)
    assert summary.stage_seconds["total"] <= summary.seconds
    assert summary.megapixels_per_second == pytest.approx(120e-6 / summary.seconds)
    assert ledger.fields["windows"].tolist() == [[2] * 5] * 3
    stored = Ledger.load(NpyLedgerStore(tmp_path / "ledger", SHAPE), ledger.arrays)
    assert stored.counts() == ledger.counts()


def test_a_finished_run_does_nothing_again(tmp_path):
    job = SquareJob(folder=tmp_path)
    run_squares(job, InlineEngine(), SHAPE)
    summary, _ = run_squares(job, InlineEngine(), SHAPE)
    assert (summary.ran, summary.exit_code, summary.counts[BlockState.DONE]) == (0, 0, 15)
    assert job.tried().total() == 15


def test_a_block_that_raises_fails_alone_and_is_run_again(tmp_path):
    trouble = {(0, 1): "read", (1, 2): "predict", (2, 3): "bug", (2, 4): "full disk"}
    broken = SquareJob(folder=tmp_path, trouble=trouble)
    summary, ledger = run_squares(broken, InlineEngine(), SHAPE)
    assert summary.exit_code == 3
    assert summary.counts[BlockState.DONE] == 11
    assert [ledger.state(index) for index in trouble] == [
        BlockState.READ_FAILED,
        BlockState.MODEL_FAILED,
        BlockState.FAILED,
        BlockState.FAILED,
    ]
    assert ledger.reason((0, 1)) == "tile 0612.jp2: 4 of 12 code blocks missing"
    assert ledger.reason((2, 3)).startswith("KeyError: 'height' (_misbehave, line ")
    assert "No space left on device" in ledger.reason((2, 4))

    repaired = SquareJob(folder=tmp_path)
    summary, ledger = run_squares(repaired, InlineEngine(), SHAPE)
    assert (summary.ran, summary.exit_code) == (4, 0)
    assert ledger.failures() == []
    assert repaired.tried() == {index: 1 + (index in trouble) for index in grid_of(*SHAPE)}


@pytest.mark.parametrize("how", TROUBLES)
def test_what_a_block_raises_becomes_its_state(how):
    def fail(index):
        raise TROUBLES[how]

    result = try_block(fail, (0, 0))
    assert result.state.failed
    assert result.reason
    assert result.seconds["total"] >= 0


def test_an_interrupt_is_no_failure_of_a_block():
    def interrupted(index):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        try_block(interrupted, (0, 0))


def test_blocks_of_a_lattice_can_be_given_as_they_are(tmp_path):
    blocks = Blocks.covering(Extent.of((-7, 9), (3, 30)), 8)
    ledger = Ledger(blocks.shape, ("squares",))
    store = NpyLedgerStore(tmp_path / "ledger", blocks.shape)
    job = SquareJob(folder=tmp_path)
    summary = run_blocks(job, InlineEngine(), ledger, store, blocks=blocks, progress=SilentProgress())
    assert summary.ran == len(blocks)
    assert set(job.tried()) == set(blocks)


def test_a_stale_block_that_is_asked_for_is_run_again(tmp_path):
    job = SquareJob(folder=tmp_path)
    _, ledger = run_squares(job, InlineEngine(), SHAPE)
    store = NpyLedgerStore(tmp_path / "ledger", SHAPE)
    summary = run_blocks(job, InlineEngine(), ledger, store, blocks=[(1, 1)], progress=SilentProgress())
    assert (summary.ran, summary.counts[BlockState.DONE]) == (1, 15)
    assert job.tried()[1, 1] == 2


def test_many_blocks_make_few_writes_of_the_ledger(tmp_path):
    class Instant:
        key = "instant"

        def open(self):
            return lambda index: BlockResult(state=BlockState.OUTSIDE)

    shape = (130, 66)
    store = NpyLedgerStore(tmp_path, shape, ())
    started = time.monotonic()
    summary = run_blocks(
        Instant(),
        InlineEngine(),
        Ledger(shape),
        store,
        blocks=grid_of(*shape),
        progress=SilentProgress(),
    )
    flushes = 1 + (time.monotonic() - started) / FLUSH_SECONDS
    assert summary.counts[BlockState.OUTSIDE] == 130 * 66
    assert set(store.saved) == {(row, column) for row in range(3) for column in range(2)}
    # Row by row, a flush meets a row of two chunks, or two rows of them.
    assert len(store.saved) <= 6 + 4 * flushes


def test_a_slow_block_is_in_the_store_when_the_next_one_ends(tmp_path, monkeypatch):
    monkeypatch.setattr("landweave.jobs.runner.FLUSH_SECONDS", 0.05)
    job = SquareJob(folder=tmp_path, block_seconds=0.06)
    store = NpyLedgerStore(tmp_path / "ledger", (1, 4))
    seen = []

    class Watching(SilentProgress):
        def advance(self, index, result):
            seen.append(Ledger.load(store, store.arrays).counts()[BlockState.DONE])

    run_blocks(job, InlineEngine(), Ledger((1, 4), ("squares",)), store, blocks=grid_of(1, 4), progress=Watching())
    assert seen == [1, 2, 3, 4]


def test_an_interrupt_leaves_all_that_was_done(tmp_path):
    class Impatient(SilentProgress):
        stopped = False

        def advance(self, index, result):
            if index == (1, 1):
                raise KeyboardInterrupt

        def stop(self):
            self.stopped = True

    job = SquareJob(folder=tmp_path)
    store = NpyLedgerStore(tmp_path / "ledger", SHAPE)
    progress = Impatient()
    ledger = Ledger(SHAPE, store.arrays)
    with pytest.raises(KeyboardInterrupt):
        run_shown(job, InlineEngine(), ledger, store, progress)
    assert progress.stopped
    assert Ledger.load(store, store.arrays).counts()[BlockState.DONE] == 7
    summary, _ = run_squares(job, InlineEngine(), SHAPE)
    assert summary.exit_code == 0
    assert job.tried() == dict.fromkeys(grid_of(*SHAPE), 1)


class Unlucky:
    """Is interrupted while it is being forgotten, where Python prints what is raised and goes on."""

    def __del__(self):
        signal.raise_signal(signal.SIGINT)
        time.sleep(0)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
@pytest.mark.parametrize(("where", "done"), [((1, 1), (7, 8)), ((2, 4), (15,))])
def test_an_interrupt_that_python_swallows_ends_the_run_all_the_same(tmp_path, where, done):
    """Ctrl-C may come while a finalizer or a callback runs: those of a cluster's futures run after every block."""

    class Forgetful(SilentProgress):
        def advance(self, index, result):
            if index == where:
                Unlucky()

    hear_interrupts()
    job, before = SquareJob(folder=tmp_path), signal.getsignal(signal.SIGINT)
    store, ledger = NpyLedgerStore(tmp_path / "ledger", SHAPE), Ledger(SHAPE, ("squares",))
    with pytest.raises(KeyboardInterrupt):
        run_blocks(job, InlineEngine(), ledger, store, blocks=ledger.todo(), progress=Forgetful())
    assert signal.getsignal(signal.SIGINT) is before
    assert Ledger.load(store, store.arrays).counts()[BlockState.DONE] in done


def test_a_run_in_a_thread_of_its_own_leaves_signals_alone(tmp_path):
    with ThreadPoolExecutor(1) as pool:
        summary, _ = pool.submit(run_squares, SquareJob(folder=tmp_path), InlineEngine(), SHAPE).result()
    assert summary.exit_code == 0


def test_a_job_that_cannot_be_opened_ends_the_run(tmp_path):
    class Unfit(SquareJob):
        def open(self):
            raise WeightsError("3 tensors are missing")

    with pytest.raises(WeightsError, match="3 tensors"):
        run_squares(Unfit(folder=tmp_path), InlineEngine(), SHAPE)


def test_a_driver_that_lost_its_output_writes_nothing_more(tmp_path, monkeypatch):
    monkeypatch.setattr("landweave.jobs.lease.BEAT_SECONDS", 0.02)
    store = NpyLedgerStore(tmp_path / "ledger", SHAPE)
    place = FolderObjects(tmp_path)
    lease = Lease(place, "lease")

    class Overtaken(SilentProgress):
        def advance(self, index, result):
            place.put("lease", Holder(host="node7", machine="another").to_bytes())
            time.sleep(0.1)

    ledger = Ledger(SHAPE, store.arrays)
    with pytest.raises(OutputError, match="node7"):
        run_blocks(
            SquareJob(folder=tmp_path),
            InlineEngine(),
            ledger,
            store,
            blocks=ledger.todo(),
            progress=Overtaken(),
            lease=lease,
        )
    lease.release()
    assert store.saved == []


def test_the_log_tells_of_a_run(tmp_path, caplog):
    store = NpyLedgerStore(tmp_path / "ledger", SHAPE)
    job = SquareJob(folder=tmp_path, trouble={(0, 1): "read"})
    ledger = Ledger(SHAPE, store.arrays)
    with caplog.at_level(logging.INFO, logger="landweave"):
        run_shown(job, InlineEngine(), ledger, store, LogProgress())
    assert caplog.messages[0] == "15 blocks on inline"
    assert caplog.messages[1].startswith("block (0, 1): read failed: tile 0612.jp2")
    assert caplog.messages[-1].startswith("15 of 15 blocks, 1 failed")


def check_resumption_after(sign, folder, kind, *, shape, in_flight, code):
    """Kill a driver in the middle, run again: what was done twice is what flew, and one flush."""
    job = SquareJob(folder=folder)
    driver = start_driver(folder, kind, shape, 0.1)
    wait_until(lambda: any((folder / "ledger").glob("*.npz")) and len(job.outputs()) > 20, seconds=120)
    os.killpg(driver.pid, sign)
    killed = time.time()
    driver.communicate()
    assert driver.returncode == code
    written = [path.stat().st_mtime for path in (folder / "out").glob("*")]
    done_before = Ledger.load(NpyLedgerStore(folder / "ledger", shape), ("squares",)).counts()[BlockState.DONE]

    again = start_driver(folder, kind, shape, 0.0)
    _, complaint = again.communicate()
    assert (again.returncode, complaint) == (0, "")
    unsaved = sum(moment > killed - FLUSH_SECONDS - 1.0 for moment in written)
    twice = job.tried().total() - shape[0] * shape[1]
    assert done_before > 0
    assert twice <= in_flight + unsaved
    assert set(job.tried()) == set(grid_of(*shape))

    reference = SquareJob(folder=folder / "reference")
    run_squares(reference, InlineEngine(), shape)
    assert job.outputs() == reference.outputs()
    return twice


def test_a_killed_driver_is_followed_by_the_next_run(tmp_path):
    check_resumption_after(signal.SIGKILL, tmp_path, "inline", shape=(8, 10), in_flight=1, code=-signal.SIGKILL)


@pytest.fixture
def deaf():
    """A shell without job control starts what it puts in the background deaf to Ctrl-C, and all its children."""
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGINT, before)


def test_a_driver_of_a_deaf_test_run_hears_its_interrupt(tmp_path, deaf):
    driver = start_driver(tmp_path, "inline", (8, 10), 0.2)
    wait_until(lambda: any((tmp_path / "out").glob("*")))
    os.killpg(driver.pid, signal.SIGINT)
    driver.communicate()
    assert driver.returncode == 130


@pytest.mark.slow
def test_an_interrupted_driver_repeats_only_what_flew(tmp_path):
    assert check_resumption_after(signal.SIGINT, tmp_path, "inline", shape=(8, 10), in_flight=1, code=130) <= 1


@pytest.mark.slow
@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_of_a_cluster_is_followed_by_the_next_run(tmp_path, sign):
    code = 130 if sign == signal.SIGINT else -sign
    twice = check_resumption_after(sign, tmp_path, "2", shape=(16, 20), in_flight=8, code=code)
    assert sign == signal.SIGKILL or twice <= 8


def test_a_terminal_that_closes_is_heard_once_and_not_where_it_is_ignored():
    before = signal.getsignal(signal.SIGHUP)
    try:
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        with terminable():
            with pytest.raises(HungUp):
                signal.raise_signal(signal.SIGHUP)
            signal.raise_signal(signal.SIGHUP)  # while what is done is saved
        assert signal.getsignal(signal.SIGHUP) == signal.SIG_DFL

        signal.signal(signal.SIGHUP, signal.SIG_IGN)  # as nohup does
        with terminable():
            signal.raise_signal(signal.SIGHUP)
    finally:
        signal.signal(signal.SIGHUP, before)
