"""Without an area the map covers its imagery: the same before and after `align`, and nothing for empty ground."""

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shapely

from landweave import align, check, plan_align, plan_map, run
from landweave.config.load import load_config
from landweave.config.schema import Config
from landweave.jobs.plan import BlockAction
from landweave.setup.map_setup import set_up_map
from tests.helpers.commands import RGBI_FILES
from tests.helpers.small import Small
from tests.helpers.stored import stored_map
from tests.helpers.tiles import textured, write_tile

ARRAYS = ("landcover", "confidence", "probability")
X, Y = 700000.0, 6600000.0


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small.make(tmp_path / "project")


def aligned(small: Small, **sections: Any) -> Config:
    cube = {"store": "cube.zarr", "tile": 128, "chunk": 64, "margin_m": 40}
    return small.loaded(inputs={"AERIAL_RGBI": {**RGBI_FILES, "align": True}}, cube=cube, **sections)


def read_map(folder: Path) -> dict[str, Any]:
    stored = stored_map(folder / "out.zarr")
    return {name: stored.read(name, stored.grid.extent) for name in ARRAYS}


@pytest.mark.slow
def test_a_map_is_the_same_before_and_after_align_and_align_runs_twice(small: Small) -> None:
    straight = set_up_map(aligned(small))
    assert run(aligned(small)).exit_code == 0
    expected = read_map(small.folder)
    shutil.rmtree(small.folder / "out.zarr")
    for _ in range(2):
        assert align(aligned(small)).exit_code == 0
        after = set_up_map(aligned(small))
        assert after.template.grid == straight.template.grid
        assert after.fingerprint.parts["output"] == straight.fingerprint.parts["output"]
    assert plan_align(aligned(small)).todo == 0
    assert "cube" in after.job.inputs["AERIAL_RGBI"].source.describe()
    assert run(aligned(small)).exit_code == 0
    for name, values in read_map(small.folder).items():
        np.testing.assert_array_equal(values, expected[name])


def scattered(folder: Path, places: list[tuple[float, float]], size: int = 300) -> None:
    """Tiles of four bands whose north-west corners are ``places``."""
    for number, place in enumerate(places):
        values = textured((size, size), 4, seed=number)
        write_tile(folder / f"rgb/{number}.tif", values[:3], corner_xy=place)
        write_tile(folder / f"irc/{number}.tif", values[3:], corner_xy=place)


def emptied(small: Small) -> Small:
    for name in ("rgb", "irc"):
        shutil.rmtree(small.folder / name)
    return small


def test_three_far_tiles_are_three_blocks(small: Small) -> None:
    places = [(X, Y), (X + 60_000, Y - 20_000), (X + 95_000, Y - 94_000)]
    scattered(emptied(small).folder, places)
    config = small.loaded(output={"block": None})
    started = time.process_time()
    plan = plan_map(config)
    assert time.process_time() - started < 20
    assert 3 <= len(plan.blocks.todo) <= 12
    assert plan.blocks.count(BlockAction.OUTSIDE) == plan.blocks.actions.size - len(plan.blocks.todo)
    assert plan.map_pixels < 10**9
    assert any("State an area" in note for note in plan.notes)
    setup = check(config)
    assert any("State an area" in text for _, text in setup.rows)
    assert setup.template.grid.extent.size > 10**11
    blocks = setup.job.blocks
    rows, columns = ([(span.start * 0.2, span.stop * 0.2) for span in spans] for spans in (blocks.rows, blocks.columns))
    (north, south), (west, east) = -np.array(rows).T[..., None], np.array(columns).T
    boxes = [shapely.box(x, y - 60, x + 60, y) for x, y in places]
    shares = [shapely.area(shapely.intersection(shapely.box(west, south, east, north), box)) for box in boxes]
    np.testing.assert_array_equal(setup.job.outside, np.max(shares, axis=0) < 0.01)


@pytest.mark.slow
def test_what_is_mapped_between_far_tiles_is_what_each_alone_gives(small: Small) -> None:
    places = [(X, Y), (X + 300, Y - 200)]
    scattered(emptied(small).folder, places)
    assert run(small.loaded()).exit_code == 0
    stored = stored_map(small.store)
    both = stored.read("landcover", stored.grid.extent)
    ledger = stored.ledger.read("state")
    assert (both != 255).sum() == 2 * 300 * 300
    assert np.count_nonzero(ledger == 6) or np.unique(ledger).size > 1
    for number, (x, y) in enumerate(places):
        one = small.loaded(area={"bounds": [x, y - 60, x + 60, y]}, output={"store": f"{number}.zarr"})
        assert run(one).exit_code == 0
        alone = stored_map(small.folder / f"{number}.zarr")
        extent = alone.grid.covering((x, y - 60, x + 60, y))
        np.testing.assert_array_equal(alone.read("landcover", extent), both[extent.slices_in(stored.grid.extent)])


@pytest.mark.slow
def test_far_tiles_are_aligned_in_their_own_tiles_of_the_cube(small: Small) -> None:
    scattered(emptied(small).folder, [(X, Y), (X + 500, Y - 250)])
    plan = plan_align(aligned(small)).groups[0]
    assert plan.tiles > 200
    assert plan.outside > 0.7 * plan.tiles
    assert align(aligned(small)).exit_code == 0
    assert plan_align(aligned(small)).todo == 0
    assert run(aligned(small)).exit_code == 0
    stored = stored_map(small.store)
    assert (stored.read("landcover", stored.grid.extent) != 255).sum() == 2 * 300 * 300


def test_tiles_in_another_crs_are_found_where_they_lie(small: Small) -> None:
    """Blocks that have a measured pixel are never outside, and few others are not."""
    for name, bands in (("rgb", 3), ("irc", 1)):
        shutil.rmtree(small.folder / name)
        for number, place in enumerate([(500000.0, 5100000.0), (501000.0, 5100700.0)]):
            values = textured((300, 300), bands)
            write_tile(small.folder / f"{name}/{number}.tif", values, corner_xy=place, crs="EPSG:32631")
    config = load_config(small.config())
    setup = set_up_map(config)
    assert run(config).exit_code == 0
    stored = stored_map(small.store)
    mapped = stored.read("landcover", stored.grid.extent) != 255
    blocks = setup.job.blocks
    holds = np.reshape([mapped[blocks[index].slices_in(blocks.extent)].any() for index in blocks], blocks.shape)
    assert not (holds & setup.job.outside).any()
    assert (~setup.job.outside).sum() <= holds.sum() + 8
    assert mapped.sum() > 2 * 290 * 290
