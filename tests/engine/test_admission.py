"""Workers that are not what a run needs get no blocks, are named, and hold up nothing; each is a process."""

import hashlib
import logging
import os
import time
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from landweave.core.errors import EngineError
from landweave.core.protocols import BlockState
from landweave.core.received import received_path
from landweave.engine.admission import WorkerState
from landweave.engine.clusters import connected_engine
from landweave.engine.software import differences, software_facts
from tests.block_jobs import SquareJob, grid_of, run_squares, wait_until
from tests.helpers.clusters import Processes, edited_code, scheduler, unused_port

SHAPE = (4, 6)


@dataclass(frozen=True, kw_only=True)
class Needy:
    """Says of any process but the one that made it that it lacks something; and needs a file at the driver's path."""

    problems_there: tuple[str, ...] = ()
    content: bytes = b""
    path: Path = Path()
    driver: int = field(default_factory=os.getpid)

    def facts(self):
        return {}

    def problems(self):
        return () if os.getpid() == self.driver else self.problems_there

    def sent_files(self):
        return (
            {self.sha256: self.path if os.getpid() == self.driver else Path("/nowhere/weights.bin")}
            if self.content
            else {}
        )

    @property
    def sha256(self):
        return hashlib.sha256(self.content).hexdigest()


@pytest.fixture(scope="module")
def cluster(tmp_path_factory):
    """A scheduler with a good worker, one whose landweave is edited, and one without."""
    folder = tmp_path_factory.mktemp("cluster")
    with scheduler(folder / "logs", unused_port()) as processes:
        processes.good = processes.worker()
        processes.worker(code=edited_code(folder / "edited"))
        processes.worker_without_landweave()
        with connected_engine(processes.address) as engine:
            processes.wait_for(engine.client, 3)
        yield processes


@pytest.fixture
def engine(cluster: Processes):
    with connected_engine(cluster.address) as engine:
        yield engine


def test_only_the_worker_with_the_same_code_gets_blocks_and_others_are_named(cluster, engine, tmp_path, caplog):
    job = SquareJob(folder=tmp_path)
    with caplog.at_level(logging.WARNING, "landweave"):
        summary, _ = run_squares(job, engine, SHAPE)
    assert (summary.exit_code, summary.counts[BlockState.DONE]) == (0, 24)
    assert job.tried() == dict.fromkeys(grid_of(*SHAPE), 1)
    assert set(job.opened()) == {cluster.good.pid}
    said = [line.split(": ", 1)[1] for line in caplog.messages]
    assert len(said) == 2
    assert "landweave cannot be imported there" in said
    ours = software_facts()["landweave"]
    assert any(
        line.endswith(f" there, {ours} here") and line.startswith("landweave is 0.1.0, sources") for line in said
    )


def test_another_run_on_the_same_scheduler_works_and_ends_at_once(cluster, engine, tmp_path):
    for name in ("first", "second"):
        started = time.monotonic()
        summary, _ = run_squares(SquareJob(folder=tmp_path / name), engine, (2, 2))
        assert summary.exit_code == 0
        assert time.monotonic() - started < 10
    left = engine.client.run(lambda dask_worker: [name for name in dask_worker.plugins if name.startswith("landweave")])
    assert list(left.values()) == [[], [], []]


def test_a_bad_worker_that_joins_late_holds_up_neither_the_run_nor_its_end(cluster, engine, tmp_path, caplog):
    job = SquareJob(folder=tmp_path, block_seconds=0.1)
    deadline, sent = time.monotonic() + 60, 0

    def until_it_is_named():
        nonlocal sent
        while sum("cannot be imported" in line for line in caplog.messages) < 2 and time.monotonic() < deadline:
            yield 0, sent
            sent += 1

    with caplog.at_level(logging.WARNING, "landweave"):
        results = engine.run(job, until_it_is_named())
        next(results)
        late = cluster.worker_without_landweave()
        ended = 1 + sum(1 for _ in results)
    assert ended == sent
    assert time.monotonic() < deadline
    assert set(job.opened()) == {cluster.good.pid}
    late.kill()
    wait_until(lambda: len(engine.client.nthreads()) == 3)


def test_what_cannot_be_reached_is_said_with_all_that_is_wrong(cluster, engine):
    with pytest.raises(EngineError) as refused:
        engine.preflight(Needy(problems_there=("the disk is full", "no GPU")))
    message = str(refused.value)
    assert message.startswith(f"No worker at {cluster.address} can run this:\n- ")
    for part in ("landweave cannot be imported", ": the disk is full", ": no GPU", "sources "):
        assert part in message
    assert refused.value.exit_code == 2


def test_a_file_that_the_worker_lacks_is_sent_once(engine, tmp_path, caplog, monkeypatch):
    path, content = tmp_path / "weights.bin", os.urandom(100_000)
    path.write_bytes(content)
    needs = Needy(content=content, path=path)
    kept = received_path(path, needs.sha256)
    monkeypatch.setattr("landweave.engine.admission.PIECE_BYTES", 30_000)
    try:
        with caplog.at_level(logging.INFO, "landweave.engine"):
            for _ in range(2):
                assert "1 workers, 2 threads" in engine.preflight(needs)[0]
        assert kept.read_bytes() == content
        assert sum(line.startswith(f"sending {path}") for line in caplog.messages) == 1
    finally:
        kept.unlink(missing_ok=True)


@pytest.mark.parametrize(("threads", "limit", "plan"), [(2, 1000, 950), (1, 1000, 950), (4, 1000, 475), (2, 0, 0)])
def test_a_worker_that_runs_more_blocks_than_a_plan_counts_has_less_for_them(threads, limit, plan):
    assert WorkerState(process="a", threads=threads, memory=limit).plan_bytes == plan


def test_what_may_be_mixed():
    ours = {"landweave": "1", "python": "3.11", "torch": "2.6.0", "GDAL": "3.10.3", "CPU": "AVX2", "output a": "held"}
    theirs = ours | {"torch": "2.6.1", "GDAL": "3.10.2", "CPU": "AVX512"}
    assert differences(ours, ours) == ()
    assert differences(ours, theirs) == (
        "torch is 2.6.1 there, 2.6.0 here",
        "GDAL is 3.10.2 there, 3.10.3 here",
        "CPU is AVX512 there, AVX2 on the other workers",
    )
    assert differences(ours, theirs, mixed=True) == ()
    assert len(differences(ours, ours | {"landweave": "2", "python": "3.12", "output a": "free"}, mixed=True)) == 3
