"""Blocks on real worker processes: each once, same bytes, and what happens when workers come and go."""

import os
import pickle
import subprocess
import sys
import threading
import time
from contextlib import closing, contextmanager
from dataclasses import dataclass

import dask
import numpy as np
import psutil
import pytest
from distributed.protocol import pickle as dask_pickle

from landweave.core.errors import EngineError, WeightsError
from landweave.core.protocols import BlockResult, BlockState
from landweave.engine import admission
from landweave.engine.by_value import ByValue
from landweave.engine.clusters import connected_engine, local_engine
from landweave.engine.dask import registered
from landweave.engine.inline import InlineEngine
from landweave.engine.plugins import FailurePolicyPlugin, JobPlugin, run_block
from landweave.engine.submissions import IN_FLIGHT_PER_THREAD
from tests.block_jobs import SquareJob, grid_of, run_squares, start_driver, wait_until
from tests.helpers.clusters import scheduler as scheduler_process
from tests.helpers.clusters import unused_port

SHAPE = (4, 6)
WORKER_BYTES = 600_000_000


@pytest.fixture
def scheduler(two_workers):
    return two_workers.client.cluster.scheduler


@pytest.fixture
def reference(tmp_path):
    job = SquareJob(folder=tmp_path / "reference")
    run_squares(job, InlineEngine(), SHAPE)
    return job.outputs()


def test_each_block_runs_once_and_writes_the_reference_bytes(two_workers, tmp_path, reference):
    job = SquareJob(folder=tmp_path)
    summary, _ = run_squares(job, two_workers, SHAPE)
    assert summary.exit_code == 0
    assert job.tried() == dict.fromkeys(grid_of(*SHAPE), 1)
    assert job.outputs() == reference
    assert set(job.opened().values()) == {1}
    assert len(job.opened()) == 2


def test_one_worker_gives_the_same(tmp_path, reference):
    job = SquareJob(folder=tmp_path)
    with local_engine(workers=1) as engine:
        summary, _ = run_squares(job, engine, SHAPE)
    assert summary.exit_code == 0
    assert job.tried() == dict.fromkeys(grid_of(*SHAPE), 1)
    assert job.outputs() == reference
    assert len(job.opened()) == 1


def test_what_a_block_raises_is_its_state_and_only_it_is_run_again(two_workers, tmp_path, reference):
    trouble = {(0, 1): "read", (1, 2): "predict", (2, 3): "bug"}
    broken = SquareJob(folder=tmp_path, trouble=trouble)
    summary, ledger = run_squares(broken, two_workers, SHAPE)
    assert summary.exit_code == 3
    assert [ledger.state(index) for index in trouble] == [
        BlockState.READ_FAILED,
        BlockState.MODEL_FAILED,
        BlockState.FAILED,
    ]
    assert ledger.reason((0, 1)) == "tile 0612.jp2: 4 of 12 code blocks missing"

    repaired = SquareJob(folder=tmp_path)
    summary, _ = run_squares(repaired, two_workers, SHAPE)
    assert (summary.ran, summary.exit_code) == (3, 0)
    assert repaired.outputs() == reference


def test_blocks_on_a_worker_that_dies_are_run_again(two_workers, tmp_path, reference, capfd):
    job = SquareJob(folder=tmp_path, trouble={(1, 1): "die once"})
    summary, _ = run_squares(job, two_workers, SHAPE)
    assert summary.exit_code == 0
    assert job.outputs() == reference
    assert job.tried()[1, 1] == 2
    assert capfd.readouterr().err == ""


def test_a_block_that_kills_again_alone_is_named_and_the_others_complete(two_workers, tmp_path, capfd):
    job = SquareJob(folder=tmp_path, trouble={(1, 1): "die always", (2, 2): "die twice"})
    summary, ledger = run_squares(job, two_workers, SHAPE)
    assert summary.exit_code == 3
    assert summary.counts[BlockState.DONE] == 23
    [failure] = ledger.failures()
    assert failure.startswith("block (1, 1): worker died: ")
    assert "died 3 times, at last with no other block of this run on it" in failure
    assert (job.tried()[1, 1], job.tried()[2, 2]) == (3, 3)
    assert set(job.opened().values()) == {1}
    assert capfd.readouterr().err == ""


@pytest.mark.slow
def test_a_block_is_retried_alone_on_a_worker_and_the_others_go_on(two_workers, tmp_path):
    @dataclass(frozen=True, kw_only=True)
    class Witness(SquareJob):
        """Notes begin and end of every block with its process; the second try waits for a block that ends meanwhile."""

        def square(self, index):
            log = self.folder / "log"
            again = index == (2, 3) and (self.folder / "died-2-3").exists()
            self.note(f"{'again' if again else 'begin'} {os.getpid()}")
            before = log.read_text().count("end")
            while again and log.read_text().count("end") == before:
                time.sleep(0.02)  # for ever, where nothing else runs: the test then times out
            result = super().square(index)
            self.note(f"end {os.getpid()}")
            return result

        def note(self, line):
            with (self.folder / "log").open("a") as file:
                file.write(f"{line}\n")

    job = Witness(folder=tmp_path, trouble={(2, 3): "die once"}, block_seconds=0.05)
    summary, _ = run_squares(job, two_workers, (10, 12))
    assert summary.exit_code == 0
    lines = [line.split() for line in (tmp_path / "log").read_text().splitlines()]
    [(start, pid)] = [(number, pid) for number, (what, pid) in enumerate(lines) if what == "again"]
    own = [what for what, of in lines[: start + 1] if of == pid]
    assert own.count("begin") == own.count("end")  # nothing else is on its worker when it begins
    assert next(what for what, of in lines[start + 1 :] if of == pid) == "end"  # nor until it has ended
    assert "end" in {what for what, of in lines[start + 1 :] if of != pid}


def test_blocks_are_drawn_as_room_appears(two_workers, tmp_path):
    drawn, answered, most = 0, 0, 0

    def blocks():
        nonlocal drawn, most
        for index in grid_of(10, 10):
            drawn += 1
            most = max(most, drawn - answered)
            yield index

    for _ in two_workers.run(SquareJob(folder=tmp_path), blocks()):
        answered += 1
    assert (drawn, answered) == (100, 100)
    assert most == IN_FLIGHT_PER_THREAD * 4


def test_a_task_carries_a_name_and_an_index(two_workers, tmp_path):
    """Measured on the scheduler, with a job of 200 kB."""

    def sizes(dask_scheduler):
        specs = [task.run_spec for task in dask_scheduler.tasks.values()]
        return [len(dask_pickle.dumps(spec)) for spec in specs]

    job = SquareJob(folder=tmp_path, key="f" * 64, ballast=os.urandom(200_000), block_seconds=0.1)
    with closing(two_workers.run(job, grid_of(*SHAPE))) as results:
        next(results)
        found = two_workers.client.run_on_scheduler(sizes)
    assert found
    assert max(found) < 2000
    assert len(pickle.dumps((ByValue(run_block), "landweave-" + 64 * "f" + "-12345678", (1000, 1000)))) < 2000


def test_a_scheduler_that_is_slow_to_answer_has_not_gone_away(two_workers, tmp_path, monkeypatch):
    """On a busy machine a question to the scheduler may time out while its connection stands."""
    find, asked = admission.find_workers, []

    def slow(client):
        asked.append(1)
        if len(asked) in (2, 3):
            raise TimeoutError("Timed out trying to connect to tcp://127.0.0.1:8786 after 30 s")
        return find(client)

    monkeypatch.setattr("landweave.engine.admission.find_workers", slow)
    monkeypatch.setattr("landweave.engine.submissions.POLL_SECONDS", 0.1)
    results = list(two_workers.run(SquareJob(folder=tmp_path, block_seconds=0.2), grid_of(*SHAPE)))
    assert len(asked) > 3
    assert {result.state for _, result in results} == {BlockState.DONE}
    assert len(results) == 24


def test_a_late_worker_gets_the_job(two_workers, tmp_path):
    job = SquareJob(folder=tmp_path, block_seconds=0.05)
    deadline = time.monotonic() + 60

    def until_three_work():
        column = 0
        while len(job.opened()) < 3 and time.monotonic() < deadline:
            yield 0, column
            column += 1

    results = two_workers.run(job, until_three_work())
    next(results)
    two_workers.client.cluster.scale(3)
    answered = 1 + sum(1 for _ in results)
    two_workers.client.cluster.scale(2)
    assert set(job.opened().values()) == {1}
    assert len(job.opened()) == 3
    assert job.tried().total() == answered
    wait_until(lambda: len(two_workers.client.nthreads()) == 2)


def test_a_run_leaves_the_cluster_as_it_was(two_workers, scheduler, tmp_path):
    before = scheduler.allowed_failures
    assert before > 0
    with closing(two_workers.run(SquareJob(folder=tmp_path), grid_of(*SHAPE))) as results:
        next(results)
        assert scheduler.allowed_failures == 0
        wait_until(lambda: registered_jobs(two_workers) == 2)
    assert scheduler.allowed_failures == before
    assert registered_jobs(two_workers) == 0
    assert not policies(scheduler)
    wait_until(lambda: not scheduler.tasks)


def test_two_runs_side_by_side_do_not_disturb_each_other(two_workers, scheduler, tmp_path):
    before = scheduler.allowed_failures
    with connected_engine(scheduler.address) as other:
        first = two_workers.run(SquareJob(folder=tmp_path / "a"), grid_of(*SHAPE))
        second = other.run(SquareJob(folder=tmp_path / "b"), grid_of(*SHAPE))
        next(first), next(second)
        first.close()
        assert scheduler.allowed_failures == 0
        assert sum(1 for _ in second) == 23
    assert scheduler.allowed_failures == before


def test_a_driver_that_is_killed_leaves_nothing_behind(two_workers, scheduler, tmp_path):
    before = scheduler.allowed_failures
    driver = start_driver(tmp_path, scheduler.address, (20, 20), 0.2)
    try:
        wait_until(lambda: len(SquareJob(folder=tmp_path).outputs()) > 3)
        assert (scheduler.allowed_failures, len(policies(scheduler))) == (0, 1)
    finally:
        driver.kill()
        driver.communicate()
    wait_until(lambda: not policies(scheduler) and registered_jobs(two_workers) == 0)
    assert scheduler.allowed_failures == before
    assert not any(name.startswith("landweave-squares") for name in scheduler.plugins)


def test_closing_takes_back_what_has_not_begun(two_workers, scheduler, tmp_path):
    job = SquareJob(folder=tmp_path, block_seconds=0.3)
    results = two_workers.run(job, grid_of(*SHAPE))
    next(results)
    started = time.monotonic()
    results.close()
    assert time.monotonic() - started < 5
    wait_until(lambda: not scheduler.tasks)
    tried = job.tried().total()
    time.sleep(0.5)
    assert job.tried().total() == tried <= 4 + IN_FLIGHT_PER_THREAD * 4


def test_a_job_that_cannot_be_opened_ends_the_run(two_workers, tmp_path):
    with pytest.raises(WeightsError, match="3 tensors are missing"):
        run_squares(Unfit(folder=tmp_path), two_workers, SHAPE)


@dataclass(frozen=True, kw_only=True)
class Unfit(SquareJob):
    def open(self):
        raise WeightsError("3 tensors are missing")


@dataclass(frozen=True, kw_only=True)
class Looking(SquareJob):
    """Says what a block sees of its process."""

    def square(self, index):
        beside = dask.delayed(threading.get_ident)().compute()
        return BlockResult(
            state=BlockState.DONE,
            counts={
                "stayed": beside == threading.get_ident(),
                "main": threading.current_thread() is threading.main_thread(),
                "omp": int(os.environ.get("OMP_NUM_THREADS", 0)),
                "mkl": int(os.environ.get("MKL_NUM_THREADS", 0)),
            },
        )


def test_inside_a_block_nothing_goes_to_the_scheduler(two_workers, tmp_path):
    counts = [result.counts for _, result in two_workers.run(Looking(folder=tmp_path), grid_of(2, 4))]
    assert {(seen["stayed"], seen["main"]) for seen in counts} == {(1, 0)}


def test_workers_are_started_with_the_threads_of_the_run(two_workers, tmp_path):
    counts = [result.counts for _, result in two_workers.run(Looking(folder=tmp_path), grid_of(2, 4))]
    assert {(seen["omp"], seen["mkl"]) for seen in counts} == {(2, 2)}


@dataclass(frozen=True, kw_only=True)
class Torch(SquareJob):
    """Applies its threads as a model does, in the thread that computes, and says what torch then uses."""

    def square(self, index):
        import torch

        torch.set_num_threads(self.torch_threads)
        return BlockResult(state=BlockState.DONE, counts={"threads": torch.get_num_threads()})


@pytest.mark.slow
def test_torch_has_the_same_threads_inline_and_on_workers(two_workers, tmp_path):
    import torch

    before = torch.get_num_threads()
    try:
        for threads in (1, 2, 1):
            job = Torch(folder=tmp_path, torch_threads=threads)
            for engine in (InlineEngine(), two_workers):
                counts = [result.counts["threads"] for _, result in engine.run(job, grid_of(2, 4))]
                assert counts == [threads] * 8
    finally:
        torch.set_num_threads(before)


class Scattering(SquareJob):
    """A block that frees 256 MiB in pieces, and leaves one of every 4 MiB behind; notes the memory it began with."""

    def square(self, index):
        (self.folder / f"{index[1]}.rss").write_text(str(psutil.Process().memory_info().rss))
        pieces = [bytearray(64 << 10) for _ in range(4096)]
        left.extend(pieces[::64])
        return super().square(index)


left: list[bytearray] = []


@pytest.mark.slow
def test_memory_that_a_block_frees_is_the_systems_again(tmp_path, monkeypatch):
    monkeypatch.setattr("landweave.engine.clusters.THREADS_A_WORKER", 1)
    with local_engine(workers=1) as engine:
        run_squares(Scattering(folder=tmp_path), engine, (1, 3))
    began = [int((tmp_path / f"{column}.rss").read_text()) for column in range(3)]
    assert max(began) < min(began) + (64 << 20)


@pytest.mark.slow
def test_workers_keep_no_history_of_their_call_stacks(two_workers, tmp_path):
    run_squares(SquareJob(folder=tmp_path), two_workers, SHAPE)
    time.sleep(2.5)  # Dask files what it has seen once a second
    assert list(two_workers.client.run(lambda dask_worker: len(dask_worker.profile_history)).values()) == [0, 0]


def test_without_workers_a_run_ends_with_an_error(monkeypatch):
    monkeypatch.setattr("landweave.engine.clusters.PATIENCE_SECONDS", 1.5)
    with (
        local_engine(workers=0) as engine,
        pytest.raises(EngineError, match=r"No worker at tcp://.* for \d s: start workers"),
    ):
        list(engine.run(Looking(folder=None), [(0, 0)]))


def test_workers_that_cannot_start_are_an_error():
    with (
        dask.config.set({"distributed.comm.timeouts.connect": "1us"}),
        pytest.raises(EngineError, match=r"2 local workers did not start: \w+"),
        local_engine(workers=2),
    ):
        pass


def test_an_address_where_nobody_answers_is_an_error(free_port):
    with dask.config.set({"distributed.comm.timeouts.connect": "1s"}):
        address = f"tcp://127.0.0.1:{free_port}"
        with pytest.raises(EngineError, match=address), connected_engine(address):
            pass


def test_the_engine_says_where_to_look(two_workers):
    assert two_workers.client.dashboard_link.startswith("http://127.0.0.1:")
    assert two_workers.name == f"dask: 2 workers, 4 threads, dashboard {two_workers.client.dashboard_link}"


@dataclass(frozen=True, kw_only=True)
class Greedy(SquareJob):
    """Takes 1 GB for one of its blocks."""

    def square(self, index):
        if index == (1, 1):
            taken = np.ones(125_000_000)
            time.sleep(5 * taken[-1])
        return super().square(index)


@contextmanager
def own_workers(folder):
    with local_engine(workers=2, memory_limit=WORKER_BYTES) as engine:
        yield engine


@contextmanager
def workers_of_an_operator(folder):
    """Two behind an address, each with a nanny that starts it again."""
    with scheduler_process(folder / "logs", unused_port()) as processes:
        for _ in range(2):
            processes.worker("--nanny", "--memory-limit", str(WORKER_BYTES))
        with connected_engine(processes.address) as engine:
            processes.wait_for(engine.client, 2)
            yield engine


@pytest.mark.slow
@pytest.mark.parametrize("opened", [own_workers, workers_of_an_operator])
def test_of_twelve_blocks_exactly_those_that_kill_are_named(opened, tmp_path, reference):
    """One ends its process whenever it runs, one takes more memory than a worker has."""
    job = Greedy(folder=tmp_path, trouble={(2, 3): "die always"})
    with opened(tmp_path) as engine:
        summary, ledger = run_squares(job, engine, (3, 4))
        wait_until(lambda: len(engine.client.nthreads()) == 2)  # the last one that died is there again
    named = {index: ledger.reason(index) for index in grid_of(3, 4) if ledger.state(index) is BlockState.WORKER_DIED}
    assert named.keys() == {(1, 1), (2, 3)}
    assert all("out of memory, or a crash in native code" in reason for reason in named.values())
    assert job.tried()[2, 3] == max(job.tried().values()) == 3
    assert summary.counts[BlockState.DONE] == 10
    assert job.outputs() == {name: reference[name] for name in job.outputs()}
    assert len(job.outputs()) == 10


@pytest.mark.slow
def test_a_scheduler_that_goes_away_is_an_error_and_no_hang(tmp_path, free_port):
    with processes_of_a_cluster(free_port) as (address, scheduler_process):
        job = SquareJob(folder=tmp_path, block_seconds=0.2)
        with connected_engine(address) as engine:
            results = engine.run(job, grid_of(20, 20))
            next(results)
            scheduler_process.kill()
            started = time.monotonic()
            with pytest.raises(EngineError, match="went away"):
                list(results)
            # A client that meets the loss in a call tries to come back for 30 seconds, by Dask's own setting.
            assert time.monotonic() - started < 90


@pytest.mark.slow
def test_workers_that_all_go_away_are_an_error_and_no_hang(tmp_path, monkeypatch):
    monkeypatch.setattr("landweave.engine.clusters.PATIENCE_SECONDS", 3)
    with local_engine(workers=1) as engine:
        results = engine.run(SquareJob(folder=tmp_path, block_seconds=0.2), grid_of(20, 20))
        next(results)
        engine.client.cluster.scale(0)
        with pytest.raises(EngineError, match="No worker"):
            list(results)


@contextmanager
def processes_of_a_cluster(port):
    """A scheduler and a worker as a person starts them."""
    address = f"tcp://127.0.0.1:{port}"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    command = [sys.executable, "-m", "distributed.cli.dask_scheduler", "--port", str(port), "--no-dashboard"]
    worker = [sys.executable, "-m", "distributed.cli.dask_worker", address, "--nthreads", "2", "--no-dashboard"]
    started = [subprocess.Popen(line, env=environment, stderr=subprocess.DEVNULL) for line in (command, worker)]
    try:
        yield address, started[0]
    finally:
        for process in started:
            process.terminate()
            process.wait()


def policies(scheduler):
    """Loaded as classes of their own."""
    return [plugin for plugin in scheduler.plugins.values() if type(plugin).__name__ == FailurePolicyPlugin.__name__]


def registered_jobs(engine):
    """Workers that hold a job."""
    held = engine.client.run(
        lambda dask_worker: sum(isinstance(plugin, JobPlugin) for plugin in dask_worker.plugins.values())
    )
    return sum(held.values())


def test_the_name_of_a_run_is_its_own(two_workers):
    with registered(two_workers.client, "squares") as first, registered(two_workers.client, "squares") as second:
        assert first != second
