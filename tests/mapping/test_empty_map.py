"""A map without a measurement is told, and is no success; nodata that the network makes is told."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import yaml
from safetensors.torch import load_file, save_file

from landweave import api
from tests.helpers.commands import Command
from tests.helpers.scenes_on_disk import coded, optical_item, write_scene
from tests.helpers.small import Small
from tests.helpers.small_series import CORNER, CRS, SUMMER, SmallSeries
from tests.helpers.stac_items import write_items


@pytest.fixture
def config(valley: SmallSeries, tmp_path: Path) -> Callable[[int], Path]:
    """A configuration of a summer with one scene class everywhere."""

    def write(scene_class: int) -> Path:
        items = []
        for day in SUMMER:
            planes = {"B4": coded((64, 64)), "B8": coded((64, 64)), "SCL": np.full((32, 32), scene_class, np.uint8)}
            items.append(optical_item(write_scene(tmp_path / day, planes, corner_xy=CORNER, crs=CRS), day))
        inputs = {"SENTINEL2_TS": {**valley.optical(), "catalog": write_items(tmp_path / "items.json", *items)}}
        return valley.write(tmp_path / "config.yaml", inputs=inputs, cube=None)

    return write


def test_a_map_without_a_pixel_ends_with_3_and_so_it_does_again(
    config: Callable[[int], Path], landweave: Command
) -> None:
    path = config(0)
    for _ in range(2):
        ended = landweave("run", path)
        assert ended.code == 3
        assert "the map: nothing is left, no pixel of any block holds a measurement" in ended.out


@pytest.mark.slow
def test_a_map_with_pixels_does_not(config: Callable[[int], Path], landweave: Command) -> None:
    ended = landweave("run", config(4))
    assert ended.code == 0
    assert "nothing is left" not in ended.out
    assert "hold a measurement" not in ended.out


@pytest.mark.parametrize("trained", [True, False])
def test_pixels_of_which_a_class_never_trained_has_everything_are_told(
    tmp_path: Path, landweave: Command, trained: bool
) -> None:
    small = Small.make(tmp_path)
    card, weights = yaml.safe_load(small.card.read_text()), load_file(small.weights)
    card["outputs"]["LABEL"]["legend"]["classes"][2]["trained"] = trained
    small.card.write_text(yaml.safe_dump(card))
    weights["segmentation_head.0.bias"][2] += 500
    save_file(weights, small.weights)

    ended = landweave("run", small.config())
    mapped = np.unique(api.open_map(small.store)["landcover"].values[:300, :430])
    assert ended.code == 0
    assert ("classes that were never trained have all the probability" in ended.out) is not trained
    assert (2 in mapped, 0 in mapped) == (trained, False)
