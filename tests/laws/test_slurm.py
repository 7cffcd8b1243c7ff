"""A map by jobs of a real Slurm: one held in the queue, one cancelled, each retired before its walltime."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import yaml

from landweave import api
from landweave.core.protocols import BlockState
from landweave.engine.cluster_kinds import import_quietly
from tests.helpers.commands import shards, start
from tests.helpers.slurm import Slurm, running_slurm, slurm_is_here
from tests.helpers.small import Small

HELD_SECONDS = 120
"""For which the queue holds the first job: twice as long as a run with workers of its own waits for one."""

pytestmark = [
    pytest.mark.slow,
    pytest.mark.timeout(700),
    pytest.mark.skipif(not slurm_is_here() and not os.environ.get("CI"), reason="no slurmctld here, or not root"),
]


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Slurm]:
    with running_slurm(tmp_path_factory.mktemp("slurm")) as running:
        yield running


def await_that(ready: Callable[[], object], seconds: float, process: subprocess.Popen[str]) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert process.poll() is None, process.communicate()
        assert time.monotonic() < deadline
        time.sleep(0.5)


def job_states(slurm: Slurm) -> dict[str, str]:
    """How each job is or has ended, by its id."""
    lines = slurm("squeue", "--noheader", "--states", "all", "--format", "%i %T").splitlines()
    return dict(line.split() for line in lines if line)


def cluster_file(folder: Path) -> Path:
    """The cluster of ``configs/``, small and with walltimes of two minutes."""
    cluster = folder / "slurm.yaml"
    content = yaml.safe_load((Path(__file__).parents[2] / "configs/clusters/slurm.yaml").read_text())
    content["memory_gib"] = 1.5
    content["cluster"]["max_workers"] = 2
    content["cluster"]["settings"] |= {
        "walltime": "00:02:00",
        "log_directory": str(folder / "logs"),
        "local_directory": str(folder / "temporary"),
        "worker_extra_args": ["--preload", "tests.helpers.slow_blocks"],
    }
    cluster.write_text(yaml.safe_dump(content))
    return cluster


def test_a_job_waits_one_is_cancelled_and_all_reach_their_walltime(slurm: Slurm, tmp_path: Path) -> None:
    small = Small.make(tmp_path / "project")
    inline = small.folder / "inline.zarr"
    reference = api.run(small.loaded(output={"store": str(inline), "block": 64}))
    assert reference.exit_code == 0
    config = small.config(output={"block": 64})
    cluster = cluster_file(tmp_path)

    slurm.set_partition("DOWN")
    process = start("run", config, "--cluster", cluster, "--json", **slurm.environment)
    try:
        await_that(lambda: slurm.jobs("PENDING"), 60, process)
        held = time.monotonic()
        while time.monotonic() - held < HELD_SECONDS:
            assert process.poll() is None, process.communicate()
            time.sleep(2)
        assert not slurm.jobs("RUNNING")
        assert not small.store.exists()
        slurm.set_partition("UP")
        await_that(lambda: len(slurm.jobs("RUNNING")) == 2, 60, process)
        flushed = small.store / "ledger/state/c"  # nothing is written before the first worker can run it
        await_that(lambda: flushed.exists() and api.status(small.store).counts[BlockState.DONE], 90, process)
        cancelled = slurm.jobs("RUNNING")[0]
        slurm("scancel", cancelled)
        out, err = process.communicate(timeout=400)
    finally:
        process.kill()  # it waits for workers without an end

    result = yaml.safe_load(out)
    assert process.returncode == 0, err
    assert result["counts"]["done"] == result["ran"] == reference.counts[BlockState.DONE]
    assert shards(small.store) == shards(inline)
    ended = job_states(slurm)
    assert ended[cancelled] == "CANCELLED"
    assert len(ended) >= 4, ended  # those that retired were replaced
    logs = [path.read_text() for path in (tmp_path / "logs").glob("*.err")]
    assert any("worker-lifetime-reached" in log for log in logs)  # before the walltime of its job
    assert (api.open_ledger(small.store)["attempts"].values == 1).all()  # and no block was a suspect
    assert "waiting for a worker" in err


def test_a_cluster_object_of_ones_own_is_given(slurm: Slurm, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in a notebook: a ``SLURMCluster`` that was made elsewhere, which is left running."""
    for name, value in slurm.environment.items():
        monkeypatch.setenv(name, value)
    small = Small.make(tmp_path / "project")
    inline = small.folder / "inline.zarr"
    assert api.run(small.loaded(output={"store": str(inline)})).exit_code == 0
    with import_quietly("dask_jobqueue").SLURMCluster(
        cores=1,
        memory="1536MiB",
        walltime="00:10:00",
        log_directory=str(tmp_path / "logs"),
        local_directory=str(tmp_path / "temporary"),
        scheduler_options={"dashboard_address": ":0"},
    ) as cluster:
        cluster.scale(1)
        assert api.run(small.loaded(), client=cluster, progress=False).ran == 12
        assert cluster.status.name == "running"
    assert shards(small.store) == shards(inline)
