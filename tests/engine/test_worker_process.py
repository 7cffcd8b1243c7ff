"""Settings of workers: those that the command starts have them from the first, others while a run goes on."""

import os

import dask
import pytest
from distributed import Client

from landweave.core.errors import ConfigError
from landweave.engine.clusters import connected_engine
from landweave.engine.worker_process import worker_command
from landweave.engine.worker_settings import WORKER_SETTINGS, own_settings
from tests.block_jobs import SquareJob, grid_of
from tests.helpers.clusters import SAME_CODE, Processes, scheduler, unused_port


def state(dask_worker):
    memory = dask_worker.memory_manager
    clocks = [dask_worker.periodic_callbacks.get(name) for name in ("profile", "profile-cycle")]
    return {
        "fractions": [memory.memory_target_fraction, memory.memory_spill_fraction, memory.memory_pause_fraction],
        "profiled": any(clock is not None and clock.is_running() for clock in clocks),
        "threads": dask_worker.state.nthreads,
        "limit": memory.memory_limit,
        "environment": {name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "MALLOC_ARENA_MAX")},
        "resources": dask_worker.state.total_resources,
    }


OFF = {"fractions": [False] * 3, "profiled": False}


@pytest.fixture
def processes(tmp_path):
    with scheduler(tmp_path / "logs", unused_port()) as processes:
        yield processes


def found(client: Client, name: str) -> dict:
    [address] = [each for each, worker in client.scheduler_info()["workers"].items() if worker["name"] == name]
    return client.run(state, workers=[address])[address]


def test_the_command_starts_one_rightly_and_a_run_sets_others_for_its_time(processes: Processes, tmp_path):
    command = ["-m", "landweave", "worker", processes.address, "--torch-threads", "3", "--memory-limit", "2GiB"]
    options = ["--no-nanny", "--no-dashboard", "--name", "ours", "--resources", "tiles=1"]
    processes.start(*command, *options, OMP_NUM_THREADS="")
    processes.worker("--name", "theirs", code=SAME_CODE)
    with connected_engine(processes.address) as engine:
        processes.wait_for(engine.client, 2)
        ours, before = found(engine.client, "ours"), found(engine.client, "theirs")
        assert ours == ours | OFF
        assert (ours["threads"], ours["limit"], ours["resources"]) == (2, 2 << 30, {"tiles": 1})
        assert ours["environment"] == {"OMP_NUM_THREADS": "3", "MALLOC_ARENA_MAX": "1"}
        assert (before["fractions"], before["profiled"]) == ([0.6, 0.7, 0.8], True)
        results = engine.run(SquareJob(folder=tmp_path, block_seconds=0.2), grid_of(1, 12))
        while len(SquareJob(folder=tmp_path).opened()) < 2:
            next(results)
        during = found(engine.client, "theirs")
        assert during == during | OFF
        results.close()
        assert found(engine.client, "theirs") == before


def test_what_the_user_has_configured_stays():
    assert own_settings() == dict(WORKER_SETTINGS)
    with dask.config.set({"distributed.worker.memory.pause": 0.9, "distributed.comm.timeouts.connect": "300s"}):
        left = {"distributed.worker.memory.pause", "distributed.comm.timeouts.connect"}
        assert own_settings().keys() == WORKER_SETTINGS.keys() - left


def test_a_variable_that_is_set_wins(monkeypatch, tmp_path):
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.delenv("MKL_NUM_THREADS", raising=False)
    authority = tmp_path / "a.pem"
    authority.touch()
    security = {"ca": str(authority)}
    command, variables = worker_command("tls://a:1", torch_threads=2, security=security, options=["--name", "b"])
    assert command[-4:] == ["--tls-ca-file", str(authority), "--name", "b"]
    assert (variables["OMP_NUM_THREADS"], variables["MKL_NUM_THREADS"]) == ("7", "2")
    assert variables["DASK_DISTRIBUTED__WORKER__MEMORY__PAUSE"] == "False"


@pytest.mark.parametrize(
    ("address", "files", "why"),
    [
        ("nonsense", {}, "nonsense is no address of a scheduler: write it as tcp://host:8786"),
        ("tcp://host", {}, "no address"),
        ("ftp://host:8786", {}, "no address"),
        ("tls://host:8786", {}, "needs certificates: give --tls-ca-file"),
        ("tls://host:8786", {"ca": "/nowhere/ca.pem"}, "/nowhere/ca.pem cannot be read"),
    ],
)
def test_what_no_worker_can_connect_to_is_refused(address, files, why):
    with pytest.raises(ConfigError, match=why):
        worker_command(address, security=files)
    worker_command("host:8786")


def test_a_limit_that_is_no_size_is_refused():
    assert "8 GB" in worker_command("tcp://10.0.0.1:8786", memory_limit="8 GB")[0]
    with pytest.raises(ConfigError, match="--memory-limit lots is no size: write it as 16GiB"):
        worker_command("tcp://10.0.0.1:8786", memory_limit="lots")
