"""Clusters that a configuration describes, on real processes: they grow with what waits, shrink, and serve figures."""

from __future__ import annotations

import signal
import subprocess
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from landweave.core.protocols import BlockState
from landweave.engine import cluster_kinds
from landweave.engine.cluster_kinds import lifetime_arguments
from landweave.engine.clusters import cluster_engine
from landweave.engine.settings import ClusterSettings
from tests.block_jobs import SquareJob, grid_of
from tests.helpers.commands import ROOT

LOCAL = ClusterSettings(kind="local", min_workers=0, max_workers=4, memory_limit=1 << 30, cores=1, torch_threads=1)


def await_that(ready: Callable[[], object], seconds: float) -> None:
    deadline = time.monotonic() + seconds
    while not ready():
        assert time.monotonic() < deadline
        time.sleep(0.2)


def test_ctrl_c_is_not_taken_by_a_library(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As dask-jobqueue does where it is imported: a run that was interrupted would end with exit code 0."""
    (tmp_path / "taking.py").write_text("import signal, sys\nsignal.signal(signal.SIGINT, lambda *_: sys.exit())\n")
    monkeypatch.syspath_prepend(tmp_path)
    before = signal.getsignal(signal.SIGINT)
    assert "taking" in cluster_kinds.import_quietly("taking").__name__
    assert signal.getsignal(signal.SIGINT) is before


@pytest.mark.slow
def test_it_is_asked_for_all_its_workers_at_once_with_tls(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """From none to as many as blocks wait for, and back: nothing is lost, nothing runs twice."""
    monkeypatch.setattr(cluster_kinds, "ADAPTIVE", {**cluster_kinds.ADAPTIVE, "interval": "500ms", "wait_count": 4})
    subprocess.run([ROOT / "deploy/certificates.sh", tmp_path / "tls"], check=True, capture_output=True)
    files = tuple(str(tmp_path / "tls" / name) for name in ("ca.pem", "worker.pem", "worker.key"))
    job, seen = SquareJob(folder=tmp_path, block_seconds=1), Counter[Any]()
    with cluster_engine(replace(LOCAL, max_workers=3, security=files)) as engine:
        assert engine.address.startswith("tls://")
        assert engine.client.nthreads() == {}
        wanted = []
        for index, result in engine.run(job, grid_of(8, 8)):
            assert result.state is BlockState.DONE
            wanted.append(len(engine.client.cluster.worker_spec))
            seen[index] += 1
        await_that(lambda: not engine.client.nthreads(), 120)
    assert set(seen) == set(grid_of(8, 8))
    assert seen.total() == job.tried().total() == 64
    assert wanted[0] == max(wanted) == 3


@pytest.mark.slow
def test_few_blocks_start_few_workers(tmp_path: Any) -> None:
    with cluster_engine(LOCAL) as engine:
        seen = [
            len(engine.client.nthreads())
            for _ in engine.run(SquareJob(folder=tmp_path, block_seconds=2), grid_of(1, 2))
        ]
    assert max(seen) == 1


@dataclass(frozen=True, kw_only=True)
class Failing(SquareJob):
    """One of its blocks cannot be read."""

    def square(self, index: tuple[int, int]) -> Any:
        result = super().square(index)
        state = BlockState.READ_FAILED if index == (0, 1) else BlockState.DONE
        return replace(result, state=state, seconds={"read": 2.0, "total": 3.0}, counts={"pixels": 50, "windows": 4})


@pytest.mark.slow
def test_workers_serve_the_figures_of_their_blocks(tmp_path: Any) -> None:
    with cluster_engine(replace(LOCAL, max_workers=1)) as engine:
        assert len(list(engine.run(Failing(folder=tmp_path), grid_of(2, 3)))) == 6
        (worker,) = engine.client.scheduler_info()["workers"].values()
        port = worker["services"]["dashboard"]
        text = urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=30).read().decode()
    figures = dict(line.rsplit(" ", 1) for line in text.splitlines() if line.startswith(("landweave", "process")))
    assert float(figures['landweave_blocks_total{state="done"}']) == 5
    assert float(figures['landweave_blocks_total{state="read_failed"}']) == 1
    assert float(figures["landweave_pixels_total"]) == 300
    assert float(figures["landweave_windows_total"]) == 24
    assert float(figures['landweave_stage_seconds_total{stage="read"}']) == 12
    assert float(figures["landweave_block_seconds_count"]) == 6
    assert float(figures["process_resident_memory_bytes"]) > 1e7


@pytest.mark.parametrize(("walltime", "latest"), [("00:01:00", 45), ("04:00:00", 14340), ("1-00:00:00", 86340)])
def test_a_worker_retires_before_its_walltime(walltime: str, latest: int) -> None:
    _, lifetime, _, stagger = lifetime_arguments(walltime)
    assert int(lifetime[:-1]) + int(stagger[:-1]) <= latest
