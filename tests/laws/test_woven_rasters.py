"""A mosaic kept in a cube gives the map that its files give."""

import numpy as np
import pytest

from landweave import api
from landweave.engine.inline import InlineEngine
from tests.helpers.small import Small


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    return Small.make(tmp_path_factory.mktemp("woven"))


@pytest.mark.slow
def test_a_map_from_the_cube_is_the_map_from_the_files(small):
    """With an area the files may be gone; without one they say where the map lies."""
    plain, inline = small.loaded(area={"bounds": list(small.scene.bounds)}), InlineEngine()
    assert api.run(plain, engine=inline).exit_code == 0
    straight = api.open_map(small.store).load()
    content = plain.model_dump(by_alias=True, exclude_none=True)
    content["inputs"]["AERIAL_RGBI"]["align"] = True
    content["output"]["store"] = "woven.zarr"
    content["cube"] = {"store": "cube.zarr", "tile": 64, "chunk": 32, "margin_m": 15}
    woven = api.Config(**content, root=plain.root)
    assert "AERIAL_RGBI" in str(api.plan_align(woven))
    assert api.align(woven, engine=inline).exit_code == 0
    for section in ("rgb", "irc"):
        (plain.root / section).rename(plain.root / f"{section}-away")
        (plain.root / section).mkdir()
    assert api.run(woven, engine=inline).exit_code == 0
    found = api.open_map(plain.root / "woven.zarr").load()
    for name in straight.data_vars:
        np.testing.assert_array_equal(found[name].values, straight[name].values)
    tree = api.open_cube(plain.root / "cube.zarr")
    assert tree["AERIAL_RGBI"]["band_data"].dims == ("band", "y", "x")
