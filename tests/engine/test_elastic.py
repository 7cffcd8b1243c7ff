"""Clusters that grow and shrink, and workers that stop or are cut off: nothing is lost, and a silent run says why."""

import asyncio
import logging
import os
import signal
import threading
import time

import pytest
from distributed import Client, LocalCluster

import landweave.engine.waiting as engine_waiting
from landweave.core.errors import ConfigError, EngineError
from landweave.core.protocols import BlockState
from landweave.engine.clusters import connected_engine, engine_on
from tests.block_jobs import SquareJob, grid_of, run_squares, wait_until
from tests.helpers.clusters import edited_code, scheduler, unused_port


@pytest.fixture
def empty_cluster():
    """A cluster object with no workers yet, as those of Slurm or Kubernetes are."""
    with LocalCluster(
        n_workers=0, threads_per_worker=2, dashboard_address="127.0.0.1:0", silence_logs=logging.CRITICAL
    ) as cluster:
        yield cluster


@pytest.mark.slow
def test_a_run_waits_for_the_first_worker_and_says_so(empty_cluster, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(engine_waiting, "SILENCE_SECONDS", 0.3)

    def grow():
        wait_until(lambda: any("none is there" in line for line in caplog.messages))
        empty_cluster.scale(1)

    threading.Thread(target=grow).start()
    with engine_on(empty_cluster) as engine, caplog.at_level(logging.WARNING, "landweave"):
        assert engine.name.startswith("dask, the given LocalCluster: 0 workers")
        summary, _ = run_squares(SquareJob(folder=tmp_path), engine, (2, 3))
    assert summary.exit_code == 0
    said = [
        line
        for line in caplog.messages
        if line.startswith(f"waiting for a worker at {empty_cluster.scheduler_address}")
    ]
    assert said
    assert any("none is there" in line for line in said)
    assert empty_cluster.status.name == "running"


def test_patience_ends(empty_cluster, tmp_path):
    with (
        engine_on(empty_cluster, patience=1) as engine,
        pytest.raises(EngineError, match=r"No worker at tcp://.* for 1 s"),
    ):
        engine.preflight(SquareJob(folder=tmp_path))
    with engine_on(empty_cluster) as engine:
        [line] = engine.preflight(SquareJob(folder=tmp_path), blocks=0)
        assert "has no worker yet" in line


@pytest.mark.slow
def test_adaptive_from_none_to_four_and_back(empty_cluster, tmp_path):
    """A task that nobody can run asks for the first worker; each then has more blocks at hand than it can run."""
    most = 0
    job = SquareJob(folder=tmp_path, block_seconds=0.5)
    empty_cluster.adapt(minimum=0, maximum=4, interval="500ms", target_duration="1s", wait_count=3)
    with engine_on(empty_cluster) as engine:
        for _ in engine.run(job, grid_of(10, 12)):
            most = max(most, len(engine.client.nthreads()))
        assert most == 4
        wait_until(lambda: not engine.client.nthreads())
        tried = job.tried()
        assert set(tried) == set(grid_of(10, 12))
        assert tried.total() == 120
        summary, _ = run_squares(SquareJob(folder=tmp_path / "again"), engine, (2, 2))  # from none once more
    assert summary.exit_code == 0


@pytest.mark.slow
def test_workers_that_leave_in_the_middle_lose_nothing(empty_cluster, tmp_path):
    job = SquareJob(folder=tmp_path, block_seconds=0.2)
    empty_cluster.scale(3)
    with engine_on(empty_cluster) as engine:
        wait_until(lambda: len(engine.client.nthreads()) == 3)
        scaled = iter((1, 3, 0, 2))
        ended = 0
        for _, result in engine.run(job, grid_of(8, 10)):
            assert result.state is BlockState.DONE
            ended += 1
            if ended % 15 == 0 and (count := next(scaled, None)) is not None:
                empty_cluster.scale(count)
                if count == 0:
                    threading.Timer(2, lambda: empty_cluster.scale(2)).start()
    assert ended == 80
    assert set(job.tried()) == set(grid_of(8, 10))
    assert job.tried().total() <= 80 + 12  # those that were running, or at hand, on workers that left


@pytest.fixture(scope="module")
def one_worker(tmp_path_factory):
    """A scheduler and a worker, each a process."""
    with scheduler(tmp_path_factory.mktemp("logs"), unused_port()) as processes:
        processes.only = processes.worker()
        yield processes


@pytest.fixture
def impatient(monkeypatch, caplog):
    """Says after half a second that nothing was heard; and what was said."""
    monkeypatch.setattr("landweave.engine.submissions.SILENCE_SECONDS", 0.5)
    monkeypatch.setattr("landweave.engine.admission.REPLY_SECONDS", 0.5)
    with caplog.at_level(logging.WARNING, "landweave"):
        yield caplog


def test_a_long_block_is_named_with_its_worker(one_worker, tmp_path, impatient):
    with connected_engine(one_worker.address) as engine:
        assert len(list(engine.run(SquareJob(folder=tmp_path, block_seconds=2), [(3, 4)]))) == 1
    said = [line for line in impatient.messages if line.startswith("no block has ended for")]
    assert "1 are in flight: (3, 4) at tcp://127.0.0.1" in said[-1]


def test_a_worker_that_stops_is_named_and_the_run_waits_for_it(one_worker, tmp_path, impatient):
    with connected_engine(one_worker.address) as engine:
        results = engine.run(SquareJob(folder=tmp_path, block_seconds=0.1), grid_of(1, 6))
        next(results)
        os.kill(one_worker.only.pid, signal.SIGSTOP)
        threading.Timer(3, lambda: os.kill(one_worker.only.pid, signal.SIGCONT)).start()
        assert sum(1 for _ in results) == 5
    said = [line for line in impatient.messages if line.startswith("no block has ended for")]
    assert any("no reply from tcp://127.0.0.1" in line for line in said)


@pytest.mark.slow
def test_a_worker_that_hangs_while_it_is_asked_holds_up_nothing(tmp_path):
    """Its package sleeps when it is imported, as on a file system that does not reply."""
    with scheduler(tmp_path / "logs", unused_port()) as processes:
        processes.worker()
        sleepy = edited_code(
            tmp_path / "sleepy",
            "core/blending.py",
            "import numpy as np\n",
            "import time; time.sleep(600)\nimport numpy as np\n",
        )
        processes.worker(code=sleepy)
        with connected_engine(processes.address) as engine:
            processes.wait_for(engine.client, 2)
            started = time.monotonic()
            assert run_squares(SquareJob(folder=tmp_path), engine, (2, 3))[0].exit_code == 0
            assert time.monotonic() - started < 25


def test_an_asynchronous_client_is_refused(empty_cluster):
    async def given():
        async with Client(empty_cluster.scheduler_address, asynchronous=True, set_as_default=False) as client:
            with pytest.raises(ConfigError, match="asynchronous, a run is not"), engine_on(client):
                pass

    asyncio.run(given())


def test_what_is_neither_client_nor_cluster_is_refused():
    with pytest.raises(ConfigError, match=r"client is a str: give a distributed\.Client"), engine_on("tcp://a:1"):
        pass
