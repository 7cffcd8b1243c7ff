"""The configurations for published models, their paths filled in as a user would: `landweave check` passes them."""

from pathlib import Path

import geopandas
import numpy as np
import pytest
import shapely
import torch
import yaml
from safetensors.torch import save_file

from landweave.models.cards.registry import find_card
from landweave.models.factory import build, core
from tests.helpers.commands import start
from tests.helpers.stac_items import optical, radar, with_properties, write_items
from tests.helpers.tiles import write_tile

CONFIGS = Path(__file__).parents[2] / "configs" / "flair-hub"
CORNER = (769638.4, 6280012.8)
"""North-west corner of the imagery: a multiple of 10.24 m and of 1.6 m from the anchor."""

SIDE = 1024
"""Pixels of 0.2 m."""


def write_imagery(folder: Path) -> None:
    """Imagery, elevation and SPOT over the same 205 m, an area inside them, and items over it."""
    random = np.random.default_rng(3)
    for name in ("ortho/rvb", "ortho/irc"):
        write_tile(folder / name / "tile.tif", random.integers(1, 255, (3, SIDE, SIDE), np.uint8), corner_xy=CORNER)
    heights = random.random((1, SIDE, SIDE), np.float32)
    write_tile(folder / "elevation/dsm/tile.tif", heights + 9, corner_xy=CORNER)
    # Nodes on whole metres: the origin in the header is the first node, half a pixel inside.
    nodes = (CORNER[0] + 0.6, CORNER[1] + 0.2)
    write_tile(folder / "elevation/dtm/tile.tif", heights[:, : SIDE // 5, : SIDE // 5], corner_xy=nodes, pixel=1.0)
    spot = random.integers(1, 3000, (4, SIDE // 8, SIDE // 8), np.uint16)
    write_tile(folder / "spot/tile.tif", spot, corner_xy=CORNER, pixel=1.6)
    x, y = CORNER
    area = geopandas.GeoDataFrame(geometry=[shapely.box(x + 20, y - 180, x + 180, y - 20)], crs="EPSG:2154")
    area.to_file(folder / "area.gpkg")


def write_catalog(folder: Path) -> None:
    """Items of both satellites over southern France; their files are not read by a check."""
    passes = [optical("20210614"), optical("20210704")]
    for day, orbit in (("20210601", "ascending"), ("20210602", "descending")):
        item = radar(day, collection="sentinel-1", text="sigma0, orthorectified and calibrated")
        passes.append(with_properties(item, sat__orbit_state=orbit))
    (folder / "sentinel").mkdir()
    write_items(folder / "sentinel" / "catalog.json", *passes)


def write_weights(path: Path, name: str) -> None:
    """Zeros for every tensor of a published model."""
    with torch.device("meta"):
        tensors = core(build(find_card(name), 512)).state_dict()
    path.parent.mkdir()
    save_file({key: torch.zeros(each.shape, dtype=each.dtype) for key, each in tensors.items()}, path)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["LC-A", "LC-D", "LC-F", "LC-L"])
def test_a_filled_configuration_is_passed(name, tmp_path):
    write_imagery(tmp_path)
    write_catalog(tmp_path)
    write_weights(tmp_path / "weights" / f"{name}.safetensors", name)
    config = tmp_path / f"{name}.yaml"
    config.write_text((CONFIGS / config.name).read_text())
    checking = start("check", config)
    told, wrong = checking.communicate(timeout=300)
    assert checking.returncode == 0, wrong
    for modality in yaml.safe_load(config.read_text())["inputs"]:
        assert modality in told
    assert not (tmp_path / "landcover.zarr").exists()


def test_every_input_of_the_card_is_in_its_configuration():
    files = sorted(CONFIGS.glob("*.yaml"))
    assert [file.stem for file in files] == ["LC-A", "LC-D", "LC-F", "LC-L"]
    for file in files:
        content = yaml.safe_load(file.read_text())
        assert content["model"]["card"] == file.stem
        assert set(content["inputs"]) == set(find_card(file.stem).inputs)
