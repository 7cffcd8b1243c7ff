"""A bad scene fails its blocks, not the run; repaired and run again it gives the bytes of a clean run."""

import os
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from landweave import api
from landweave.core.budget import GIB
from landweave.core.errors import InputError
from landweave.core.protocols import BlockResult, BlockState
from landweave.jobs.plan import BlockAction
from landweave.jobs.progress import SilentProgress
from landweave.setup.map_setup import set_up_map
from tests.helpers.commands import Command, pixels, shards
from tests.helpers.small import Small
from tests.helpers.stored import stored_map


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small.make(tmp_path)


class Saboteur(SilentProgress):
    """Cuts a file short as soon as the first block has ended."""

    def __init__(self, tile: Path) -> None:
        self.tile = tile

    def advance(self, index: tuple[int, int], result: BlockResult) -> None:
        self.tile.write_bytes(self.tile.read_bytes()[:2000])


def last_tile(small: Small) -> Path:
    return sorted((small.folder / "rgb").glob("*.tif"))[-1]


def test_a_tile_that_turns_unreadable_during_the_run(small: Small, mapped_once: Small, landweave: Command) -> None:
    tile, config = last_tile(small), small.config()
    whole, times = tile.read_bytes(), tile.stat()

    summary = api.run(api.load_config(config), progress=Saboteur(tile))
    assert summary.exit_code == 3
    failed = summary.counts[BlockState.READ_FAILED]
    assert (summary.counts[BlockState.DONE], failed > 0) == (12 - failed, True)
    status = landweave("status", small.store)
    assert re.search(rf"^read failed +{failed}$", status.out, re.M)
    assert len(re.findall(rf"^block \(\d, \d\): read failed: .*{re.escape(tile.name)}", status.out, re.M)) == failed

    with pytest.raises(InputError, match="is truncated"):
        api.plan_map(api.load_config(config))
    assert landweave("run", config).code == 2

    tile.write_bytes(whole)
    os.utime(tile, ns=(times.st_atime_ns, times.st_mtime_ns))
    planned = api.plan_map(api.load_config(config))
    assert (planned.blocks.count(BlockAction.FAILED), len(planned.blocks.todo)) == (failed, failed)
    ended = landweave("run", config)
    assert ended.code == 0
    assert f"{failed} ran" in ended.out
    assert shards(small.store) == shards(mapped_once.store)
    attempts = api.open_ledger(small.store)["attempts"].values
    assert sorted(np.unique(attempts)) == [1, 2]
    assert int((attempts == 2).sum()) == failed


def test_a_changed_scene_makes_its_blocks_stale(mapped: Small, landweave: Command) -> None:
    small, config = mapped, mapped.config()
    before = shards(small.store)
    darken(last_tile(small))

    planned = landweave("plan", config)
    stale = api.plan_map(api.load_config(config)).blocks.blocks(BlockAction.STALE)
    assert 0 < len(stale) < 12
    assert f"{len(stale)} (kept; --stale runs them again): blocks " in planned.out
    assert all(str(index) in planned.out for index in stale)
    told = landweave("run", config)
    assert (told.code, "0 ran" in told.out) == (3, True)
    status = landweave("status", config)
    for index in stale:
        line = f"block {index}: stale: {last_tile(small)} changed since"
        assert line in told.out
        assert line in status.out
    assert "stale" not in landweave("status", small.store).out  # a store alone knows no files
    kept = landweave("run", config, "--keep-stale")
    assert (kept.code, f"{len(stale)} blocks are kept although files changed since" in kept.out) == (0, True)
    assert shards(small.store) == before

    assert f"{len(stale)} (run again)" in landweave("plan", config, "--stale").out
    again = landweave("run", config, "--stale")
    assert (again.code, f"{len(stale)} ran" in again.out) == (0, True)
    clean = small.folder / "clean.zarr"
    assert api.run(small.loaded(output={"store": str(clean)})).exit_code == 0
    assert shards(small.store) == shards(clean)
    assert shards(small.store) != before
    assert api.plan_map(api.load_config(config)).blocks.count(BlockAction.STALE) == 0


def darken(tile: Path) -> None:
    with rasterio.open(tile, "r+") as dataset:
        dataset.write(dataset.read() // 3 + 20)


def test_a_tile_put_aside_during_the_run_is_no_nodata(small: Small) -> None:
    """With the file gone the blocks fail; nothing of them reads as mapped."""

    class Thief(Saboteur):
        def advance(self, index: tuple[int, int], result: BlockResult) -> None:
            self.tile.unlink(missing_ok=True)

    summary = api.run(small.loaded(), progress=Thief(last_tile(small)))
    assert summary.exit_code == 3
    found, states = stored_map(small.store), api.open_ledger(small.store)["state"].values
    for index in zip(*np.nonzero(states == BlockState.READ_FAILED), strict=True):
        block: Any = found.block(index)
        assert (pixels(small.store, block)["landcover"] == 255).all()
    assert api.status(small.store).done < 1


@pytest.mark.slow
def test_a_worker_lives_with_the_memory_that_the_plan_asks_for(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that has to compile the kernels first, as on a new machine, takes the most."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "kernels"))
    asked = set_up_map(small.loaded()).memory.worker / GIB
    config = small.loaded(engine={"kind": "dask", "workers": 1, "memory_gib": asked})
    assert api.run(config).exit_code == 0
