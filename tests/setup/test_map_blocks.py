"""Blocks of a map: by its area, its workers and their memory, and those of an output that is begun."""

from pathlib import Path
from typing import Any

import pytest

from landweave import api
from landweave.config.load import load_config
from landweave.core.errors import LatticeError, OutputError
from landweave.mapping.run import read_output
from landweave.mapping.setup import MapSetup
from landweave.setup.map_setup import set_up_map
from tests.helpers.small import Small


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small.make(tmp_path)


def made(small: Small, **sections: Any) -> MapSetup:
    return set_up_map(load_config(small.config(**sections), overrides={"output.block": None}))


def engine(workers: int) -> dict[str, Any]:
    return {"kind": "dask", "workers": workers, "memory_gib": 4}


def test_more_workers_have_more_blocks_and_repeat_few_windows(small: Small) -> None:
    one, four = made(small, engine=engine(1)).job, made(small, engine=engine(4)).job
    assert len(one.blocks) == 1
    assert len(four.blocks) > 1
    windows = [job.needed().counts(job.blocks.rows, job.blocks.columns).sum() for job in (one, four)]
    assert windows[0] < windows[1] <= 1.15 * windows[0]
    assert one.blocks.extent == four.blocks.extent


def test_a_map_that_is_begun_goes_on_with_its_blocks_on_other_workers(small: Small) -> None:
    assert api.run(load_config(small.config(), overrides={"output.block": None})).exit_code == 0
    first = made(small)
    again = made(small, engine=engine(4))
    assert again.job.blocks == first.job.blocks
    assert again.fingerprint.sha256 == first.fingerprint.sha256
    assert not read_output(again).ledger.todo()


def test_a_larger_area_is_another_map(small: Small) -> None:
    """Whatever its blocks: what is there is kept, and the settings that differ are named."""
    x0, _, _, y1 = small.scene.bounds
    bounds = [[x0, y1 - side, x0 + side, y1] for side in (30, 50)]
    assert api.run(load_config(small.config(area={"bounds": bounds[0]}))).exit_code == 0
    with pytest.raises(OutputError, match=r"holds the map of another run(.|\n)*area(.|\n)*output\.pixels"):
        api.run(load_config(small.config(area={"bounds": bounds[1]})))
    assert api.run(load_config(small.config(area={"bounds": bounds[0]}))).exit_code == 0


def test_a_block_off_the_chunks_is_refused(small: Small) -> None:
    with pytest.raises(LatticeError, match="block of 100 base pixels does not lie on multiples of 64"):
        set_up_map(load_config(small.config(), overrides={"output.block": 100}))


def test_the_store_covers_the_area_out_to_whole_chunks(small: Small) -> None:
    x0, _, _, y1 = small.scene.bounds
    setup = made(small, area={"bounds": [x0 + 7, y1 - 40, x0 + 40, y1 - 3]})
    extent = setup.job.grid.covering([x0 + 7, y1 - 40, x0 + 40, y1 - 3])
    assert setup.template.grid.extent == extent.snap(64)
    assert setup.template.mapped_extent == extent
