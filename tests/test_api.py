"""What a notebook calls: values that print themselves, and runs that go on where they were."""

import os
import re
import shutil
import xml.etree.ElementTree as ET
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import geopandas
import numpy as np
import psutil
import pytest
import shapely
from distributed import Client, LocalCluster

import landweave
from landweave import api
from landweave.core.budget import GIB
from landweave.core.errors import ConfigError, EngineError, InputError, OutputError
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockResult, BlockState
from landweave.engine.dask import DaskEngine
from landweave.engine.inline import InlineEngine
from landweave.jobs.lease import LEASE, hold
from landweave.jobs.plan import BlockAction
from landweave.jobs.progress import SilentProgress
from tests.helpers.commands import shards
from tests.helpers.small import Small
from tests.helpers.stored import stored_map


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small.make(tmp_path)


class Heard(SilentProgress):
    """Keeps what a run tells."""

    def __init__(self) -> None:
        self.total, self.engine, self.ended = 0, "", list[BlockIndex]()

    def start(self, total: int, engine: str) -> None:
        self.total, self.engine = total, engine

    def advance(self, index: BlockIndex, result: BlockResult) -> None:
        self.ended.append(index)


def test_the_package_gives_what_a_notebook_calls() -> None:
    for name in landweave.__all__:
        assert getattr(landweave, name) is not None
    for name in ("load_config", "check", "plan_map", "run", "predict", "open_map", "open_ledger"):
        assert getattr(landweave, name) is getattr(api, name)
    assert landweave.errors.InputError is InputError
    with pytest.raises(AttributeError, match="no attribute 'weave'"):
        _ = landweave.weave


def test_check_says_how_the_inputs_lie_and_writes_nothing(small: Small) -> None:
    found = str(api.check(small.loaded()))
    for part in (
        "small: A small small",
        "EPSG:2154, 0.2 m",
        "64 px, overlap 16, cosine",
        "12 of 128 x 128 px",
        "px off the grid",
    ):
        assert part in found
    imagery = re.search(r"^AERIAL_RGBI +(.*)$", found, re.MULTILINE)[1].split("; ")
    assert {"tiles: 4", "files: 8", "alignment: paste", "bands: R, G, B, NIR"} <= set(imagery)
    assert not small.store.exists()


@pytest.mark.parametrize("called", [api.check, api.plan_map, api.run, api.align])
def test_a_path_in_place_of_a_configuration_is_named(called: Any) -> None:
    with pytest.raises(ConfigError, match=r"give landweave\.load_config\('gard\.yaml'\)"):
        called("gard.yaml")


def test_a_run_hears_of_every_block_and_ends_complete(small: Small) -> None:
    heard = Heard()
    summary = api.run(small.loaded(), progress=heard)
    assert (heard.total, heard.engine, len(heard.ended)) == (12, "inline", 12)
    assert (summary.exit_code, summary.complete, summary.ran) == (0, True, 12)
    assert summary.pixels == 300 * 430
    assert set(summary.stage_seconds) >= {"read", "predict", "blend", "argmax", "write", "total"}
    assert api.status(small.store).done == 1
    assert not list(small.folder.rglob("*lease*"))
    assert api.status(small.store).complete
    provenance = api.open_map(small.store).attrs["provenance"]
    assert provenance["model"]["card"] == "small"
    assert len(provenance["model"]["card_sha256"]) == len(provenance["model"]["weights"]) == 64
    assert set(provenance["libraries"]) >= {"torch", "rasterio", "zarr"}
    assert str(small.folder) not in str(provenance["fingerprint_fields"])


@pytest.mark.slow
def test_several_runs_share_the_workers_of_one_engine(small: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second = (
        small.loaded(engine={"kind": "dask", "workers": 1}, output={"store": name}) for name in ("1.zarr", "2.zarr")
    )
    with api.open_engine(first) as engine:
        assert isinstance(engine, DaskEngine)
        before = engine.client.run(os.getpid)
        assert api.run(first, engine=engine).complete
        # What is free now the workers have taken: a second run is not refused for it, nor given other blocks.
        monkeypatch.setattr(psutil, "virtual_memory", lambda: SimpleNamespace(available=1 << 20))
        assert api.run(second, engine=engine).complete
        assert engine.client.run(os.getpid) == before
    assert shards(small.folder / "1.zarr") == shards(small.folder / "2.zarr")


def test_a_run_uses_the_dask_client_that_is_active(small: Small) -> None:
    heard = Heard()
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=2, memory_limit="4GiB", processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster) as client,
    ):
        before = client.run(os.getpid)
        assert api.run(small.loaded(engine={"kind": "dask", "workers": None}), progress=heard).complete
        assert f"1 workers, 2 threads, dashboard {client.dashboard_link}" in heard.engine
        assert client.run(os.getpid) == before
        # What is planned and checked beforehand, and looked at afterwards, is what these workers run.
        assert not api.plan_map(small.loaded(engine={"kind": "dask", "workers": None})).blocks.todo
        own = Heard()
        part = {"bounds": [*small.scene.bounds[:2], *(side + 20 for side in small.scene.bounds[:2])]}
        inline = small.loaded(area=part, output={"store": "inline.zarr"}, engine={"kind": "inline"})
        assert api.run(inline, progress=own).complete
        assert own.engine == "inline"


def test_blocks_are_those_that_the_memory_of_an_active_client_allows(small: Small) -> None:
    """Before, during and after a run alike; its workers may run more blocks at once than a plan counts."""
    config = small.loaded(engine={"kind": "dask", "workers": None}, output={"block": None})
    alone = api.check(config).engine.worker_bytes
    with (
        LocalCluster(
            n_workers=1, threads_per_worker=4, memory_limit="4GiB", processes=False, dashboard_address="127.0.0.1:0"
        ) as cluster,
        Client(cluster),
    ):
        setup = api.check(config)
        assert setup.engine.worker_bytes < 2 * GIB < alone
        on_gpu = landweave.load_config(small.config(engine={"kind": "dask"}), overrides={"model.device": "cuda"})
        assert api.plan_map(on_gpu).memory.gpu  # the workers may have what this machine lacks
        with pytest.raises(
            EngineError, match=r"can run this:\n- inproc://\S+: model.device is cuda, and torch sees no"
        ):
            api.check(on_gpu)
        assert api.plan_map(config).memory == setup.memory


def test_a_plan_with_the_memory_of_a_worker_asks_no_scheduler(small: Small) -> None:
    nowhere = {"kind": "dask", "address": "tcp://127.0.0.1:1", "memory_gib": 2}
    assert len(api.plan_map(small.loaded(engine=nowhere)).blocks.todo) == 12


def test_a_finished_map_is_left_alone(mapped: Small) -> None:
    before = {path: path.stat().st_mtime_ns for path in mapped.store.rglob("*") if path.is_file()}
    summary = api.run(mapped.loaded())
    assert (summary.ran, summary.exit_code) == (0, 0)
    assert {path: path.stat().st_mtime_ns for path in mapped.store.rglob("*") if path.is_file()} == before


class Tired(InlineEngine):
    """Goes away after a few blocks."""

    def run(self, job, blocks):
        for count, answer in enumerate(super().run(job, blocks)):
            if count == 5:
                raise OutputError("the cluster went away")
            yield answer


def test_a_run_that_broke_off_goes_on(small: Small, mapped_once: Small) -> None:
    config = small.loaded()
    with pytest.raises(OutputError, match="went away"):
        api.run(config, engine=Tired())
    half = api.status(small.store)
    assert (half.counts[BlockState.DONE], half.counts[BlockState.PENDING], half.complete) == (5, 7, False)
    assert half.done == pytest.approx(5 / 12)
    assert len(api.plan_map(config).blocks.todo) == 7
    heard = Heard()
    assert api.run(config, progress=heard).exit_code == 0
    assert len(heard.ended) == 7
    assert shards(small.store) == shards(mapped_once.store)


def test_a_map_whose_driver_died_before_its_ledger_goes_on(small: Small) -> None:
    with pytest.raises(OutputError, match="went away"):
        api.run(small.loaded(), engine=Tired())
    shutil.rmtree(small.store / "ledger")
    assert len(api.plan_map(small.loaded()).blocks.todo) == 12
    assert api.run(small.loaded()).ran == 12


def test_blocks_outside_the_area_are_marked_and_not_run(small: Small) -> None:
    x0, _, _, y1 = small.scene.bounds
    corner = shapely.Polygon([(x0 + 1, y1 - 1), (x0 + 55, y1 - 1), (x0 + 1, y1 - 40)])
    geopandas.GeoDataFrame({"code": ["30"]}, geometry=[corner], crs=2154).to_file(small.folder / "area.gpkg")
    config = small.loaded(area={"file": "area.gpkg", "where": "code = '30'"})
    outside = api.plan_map(config).blocks.count(BlockAction.OUTSIDE)
    assert outside > 0
    summary = api.run(config)
    assert summary.exit_code == 0
    assert summary.counts[BlockState.OUTSIDE] == outside
    assert api.status(small.store).done == 1
    states = api.open_ledger(small.store)["state"].values
    assert ((states == BlockState.OUTSIDE).sum(), (states == BlockState.DONE).sum() > 0) == (outside, True)
    grid, found = stored_map(small.store).grid, api.open_map(small.store)
    inside = shapely.contains_xy(corner, *np.meshgrid(grid.x, grid.y))
    np.testing.assert_array_equal(found["landcover"].values != 255, inside)


def test_two_drivers_do_not_write_one_map(small: Small) -> None:
    config = small.loaded()
    made = api.check(config)
    with hold(*made.target.beside(LEASE)), pytest.raises(OutputError, match="written by another driver"):
        api.run(config)
    assert api.run(config).exit_code == 0


def test_the_map_beside_the_zarr_is_written_when_asked_for(mapped: Small) -> None:
    config = mapped.loaded(output={"cog": "map.tif", "picture": "map.png"})
    assert api.run(config).ran == 0
    assert (mapped.folder / "map.tif").exists()
    assert (mapped.folder / "map.png").read_bytes()[:4] == b"\x89PNG"


def test_overviews_follow_the_map(mapped_once: Small) -> None:
    found = stored_map(mapped_once.store)
    assert len(found.grids) > 1
    fine, coarse = found.read("landcover", found.grids[0].extent), found.read("landcover", found.grids[1].extent, 1)
    blocks = fine.reshape(coarse.shape[0], 2, coarse.shape[1], 2)
    same = (blocks == blocks[:, :1, :, :1]).all((1, 3))
    assert same.mean() > 0.2
    np.testing.assert_array_equal(coarse[same], blocks[:, 0, :, 0][same])


def test_a_status_of_a_place_without_a_map(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no map at"):
        api.status(tmp_path / "nothing.zarr")
    assert not (tmp_path / "nothing.zarr").exists()


def test_tables_are_well_formed(mapped: Small) -> None:
    config = mapped.loaded()
    assert len(ET.fromstring(api.check(config)._repr_html_()).findall("tr")) >= 6
    assert len(ET.fromstring(api.plan_map(config)._repr_html_()).findall("tr")) >= 10
    assert len(ET.fromstring(api.run(config, progress=False)._repr_html_()).findall("tr")) >= 2
    assert len(ET.fromstring(api.status(mapped.store)._repr_html_()).findall("tr")) == 1
