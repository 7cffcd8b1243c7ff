"""A map on a scheduler whose workers are not all what the run needs: the inline run's bytes, or an error at once."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from landweave import api
from landweave.core.errors import EngineError
from landweave.engine.clusters import connected_engine
from tests.helpers.clusters import edited_code, scheduler, unused_port
from tests.helpers.commands import shards, start
from tests.helpers.small import Small


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small.make(tmp_path / "small")


@pytest.mark.slow
def test_workers_with_other_code_or_none_change_no_byte_and_hold_up_no_later_run(small: Small, tmp_path: Path) -> None:
    reference = small.folder / "reference.zarr"
    api.run(small.loaded(output={"store": str(reference)}))
    edited = edited_code(tmp_path / "edited", "core/legend.py", "NODATA = 255", "NODATA = 254")
    with scheduler(tmp_path / "logs", unused_port()) as processes:
        processes.worker(code=edited)
        processes.worker()
        with connected_engine(processes.address) as engine:
            processes.wait_for(engine.client, 2)
        engine_section = {"kind": "dask", "address": processes.address}
        running = start("run", small.config(engine=engine_section))
        processes.worker_without_landweave()
        try:
            out, err = running.communicate(timeout=240)
        finally:
            running.kill()  # it waits for workers without an end
        assert running.returncode == 0, err
        assert "gets no blocks: landweave is " in err
        assert f"the blocks ran on dask at {processes.address}" in out
        assert shards(small.store) == shards(reference)
        again = small.folder / "again.zarr"
        with connected_engine(processes.address) as engine:
            processes.wait_for(engine.client, 3)
        started = time.monotonic()
        assert api.run(small.loaded(engine=engine_section, output={"store": str(again)})).exit_code == 0
        assert time.monotonic() - started < 90
        assert shards(again) == shards(reference)


@pytest.mark.slow
def test_workers_without_the_memory_are_refused_before_anything_is_written(small: Small, tmp_path: Path) -> None:
    """Two reasons at once: the memory limit, and an output that cannot be written there."""
    with scheduler(tmp_path / "logs", unused_port()) as processes:
        processes.worker("--memory-limit", "450MiB")
        with connected_engine(processes.address) as engine:
            processes.wait_for(engine.client, 1)
        config = small.loaded(engine={"kind": "dask", "address": processes.address, "memory_gib": 2})
        for call in (api.check, api.run):
            with pytest.raises(EngineError) as refused:
                call(config)
            message = str(refused.value)
            assert f"No worker at {processes.address} can run this:" in message
            assert "its memory limit of 0.44 GiB and 2 threads leave 0.42 GiB, a worker needs 0." in message
            assert refused.value.exit_code == 2
        assert not small.store.exists()
        processes.worker("--memory-limit", "2GiB")
        with connected_engine(processes.address) as engine:
            processes.wait_for(engine.client, 2)
        assert api.run(config).complete


@pytest.mark.slow
def test_a_map_is_run_by_the_client_or_cluster_that_is_given(small: Small, tmp_path: Path) -> None:
    from distributed import Client, LocalCluster

    cluster = LocalCluster(n_workers=1, threads_per_worker=2, memory_limit="2GiB", dashboard_address="127.0.0.1:0")
    with cluster, Client(cluster, set_as_default=False) as client:
        for number, given in enumerate((client, cluster)):
            config = small.loaded(output={"store": f"{number}.zarr"})
            result = api.run(config, client=given)
            assert result.complete
            assert "the blocks ran on dask, the " in str(result)
        assert client.status == "running"
    libraries = api.open_map(small.folder / "0.zarr").attrs["provenance"]["libraries"]
    assert libraries["landweave"].startswith("0.1.0, sources ")
    assert {"GDAL", "torch", "numpy", "zarr", "python"} <= set(libraries)
