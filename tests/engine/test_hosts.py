"""Several hosts with TLS between them: one is cut off in the middle, one stops; the work is complete and right."""

import os
import signal
import time

import pytest

from landweave.core.protocols import BlockState
from landweave.engine.clusters import connected_engine
from landweave.engine.inline import InlineEngine
from tests.block_jobs import SquareJob, grid_of, run_squares
from tests.helpers.clusters import scheduler, unused_port
from tests.helpers.hosts import hosts
from tests.helpers.tls import Certificates

LOST = {"DASK_DISTRIBUTED__COMM__TIMEOUTS__TCP": "20s", "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "15s"}
"""How soon the scheduler takes a host that is cut off, or stands still, for lost: half a minute and five by default."""


@pytest.mark.slow
def test_a_host_that_is_cut_off_and_one_that_stands_still_lose_nothing(tmp_path, monkeypatch):
    for name, value in LOST.items():
        monkeypatch.setenv(name, value)
    reference = SquareJob(folder=tmp_path / "reference")
    run_squares(reference, InlineEngine(), (6, 10))
    certificates = Certificates.make(tmp_path / "tls")
    security = (str(certificates.ca), str(certificates.cert), str(certificates.key))
    with hosts(4) as (head, *others):
        settings = {"protocol": "tls", "host": head.address, "prefix": head.prefix, "options": certificates.options}
        with scheduler(tmp_path / "logs", unused_port(), **settings) as processes:
            started = {host: processes.worker("--host", f"tls://{host.address}", prefix=host.prefix) for host in others}
            with connected_engine(processes.address, security=security) as engine:
                processes.wait_for(engine.client, 3)
                job, ended = SquareJob(folder=tmp_path / "job", block_seconds=0.4), 0
                began = time.monotonic()
                for _, result in engine.run(job, grid_of(6, 10)):
                    assert result.state is BlockState.DONE
                    ended += 1
                    if ended == 12:
                        others[0].cut_off()
                    if ended == 20:
                        os.kill(started[others[1]].pid, signal.SIGSTOP)
                assert time.monotonic() - began < 150
                assert len(engine.client.nthreads()) == 1
    assert ended == 60
    assert job.outputs() == reference.outputs()
    assert job.tried().total() <= 60 + 2 * 4 + 2  # what was at hand on the two, and what they were writing
