"""A gap in one band: nodata in the map, or what the next tile gives; from files and from a cube alike."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import rasterio
import xarray as xr
import yaml

from landweave import api
from landweave.config.load import load_config
from landweave.core.errors import ConfigError
from landweave.engine.inline import InlineEngine
from landweave.setup.context import resolve_card, resolve_context
from landweave.setup.cube_setup import set_up_cube
from landweave.setup.map_setup import set_up_map
from tests.helpers.commands import mosaic, write_config
from tests.helpers.networks import RGBI, unet, write_card, write_weights
from tests.helpers.tiles import Imagery, textured, write_tile

HOLE = np.s_[30:70, 40:90]
FORMS = {
    "products": mosaic(R=("rgb", 1), G=("rgb", 2), B=("rgb", 3), NIR=("irc", 1)),
    "a file a band": mosaic(R=("r", 1), G=("g", 1), B=("b", 1), NIR=("nir", 1)),
    "one file": mosaic(R=("all", 1), G=("all", 2), B=("all", 3), NIR=("all", 4)),
}
FOLDERS = {
    "products": {"rgb": (0, 1, 2), "irc": (3,)},
    "a file a band": {"r": (0,), "g": (1,), "b": (2,), "nir": (3,)},
    "one file": {"all": (0, 1, 2, 3)},
}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    folder = tmp_path_factory.mktemp("model")
    card = write_card(folder / "small.yaml", unet(), window=64, overlap=16)
    return card, write_weights(card)


@pytest.fixture(scope="module")
def scene():
    return Imagery(values=textured((110, 140), 4), top=-128 * 9 + 20, left=128 * 5 + 11)


def write_tiles(folder: Path, form: str, planes, scene: Imagery, name: str, **profile) -> None:
    for product, bands in FOLDERS[form].items():
        corner = (scene.left * 0.2, -scene.top * 0.2)
        write_tile(
            folder / product / f"{name}.tif", planes[list(bands)], corner_xy=corner, photometric="minisblack", **profile
        )


def configured(folder: Path, model, form: str, **sections):
    content = {"AERIAL_RGBI": {**FORMS[form], **sections.pop("aerial", {})}}
    card, weights = model
    sections = {"model": {"card": str(card), "weights": str(weights), "torch_threads": 1}, "inputs": content} | sections
    return load_config(write_config(folder, card, weights, **sections))


def mapped(config) -> xr.Dataset:
    assert api.run(config, engine=InlineEngine(), progress=False).exit_code == 0
    return api.open_map(config.path(config.output.store)).load()


def with_cube(config, store: str):
    """The same map from a cube that the mosaic is aligned into first."""
    aerial = config.inputs["AERIAL_RGBI"].model_copy(update={"align": True})
    cube = {"store": f"{store}.cube.zarr", "tile": 64, "chunk": 32, "margin_m": 15}
    content = config.model_dump(by_alias=True, exclude_none=True)
    content |= {"inputs": {"AERIAL_RGBI": aerial.model_dump(exclude_none=True)}, "cube": cube}
    content["output"]["store"] = f"{store}.zarr"
    woven = api.Config(**content, root=config.root)
    assert api.align(woven, engine=InlineEngine(), progress=False).exit_code == 0
    return woven


@dataclass(frozen=True, kw_only=True)
class Gap:
    """A hole of ``nodata`` in some bands of a mosaic, tagged by its files or stated."""

    form: str
    dtype: str
    nodata: float
    bands: tuple[int, ...]
    stated: bool = False
    cube: bool = False


@pytest.mark.parametrize(
    "gap",
    [
        Gap(form="products", dtype="uint8", nodata=0, bands=(3,), cube=True),
        Gap(form="a file a band", dtype="uint16", nodata=65535, bands=(0,), stated=True),
        pytest.param(Gap(form="one file", dtype="int16", nodata=-9999, bands=(3,), cube=True), marks=pytest.mark.slow),
        Gap(form="one file", dtype="uint8", nodata=0, bands=(0, 1, 2, 3), stated=True),
    ],
)
def test_a_gap_in_one_band_is_nodata_or_the_next_tile(tmp_path, model, scene, gap):
    planes = scene.values.astype(gap.dtype)
    holed = planes.copy()
    for band in gap.bands:
        holed[band][HOLE] = gap.nodata
    tag, aerial = ({}, {"nodata": gap.nodata}) if gap.stated else ({"nodata": gap.nodata}, {})
    maps, configs = {}, {}
    for name, tiles in {"whole": [planes], "holed": [holed], "filled": [holed, planes]}.items():
        for number, values in enumerate(tiles):
            write_tiles(tmp_path / name, gap.form, values, scene, str(number), **tag)
        configs[name] = configured(tmp_path / name, model, gap.form, aerial=aerial)
        maps[name] = mapped(configs[name])
    covered = maps["whole"].landcover.values != 255
    assert covered.sum() == 110 * 140
    hole = np.zeros_like(covered)
    hole[20:130, 11:151][HOLE] = True  # the first block begins 20 rows and 11 columns before the scene
    np.testing.assert_array_equal(maps["holed"].landcover.values != 255, covered & ~hole)
    for name in ("landcover", "confidence", "probability"):
        np.testing.assert_array_equal(maps["filled"][name].values, maps["whole"][name].values)
    for name in ("holed", "filled") if gap.cube else ():
        woven = mapped(with_cube(configs[name], "woven"))
        np.testing.assert_array_equal(woven.landcover.values, maps[name].landcover.values)


@pytest.fixture(scope="module")
def red_and_green(tmp_path_factory):
    """A card that takes two of the four bands."""
    folder = tmp_path_factory.mktemp("two")
    card = write_card(folder / "two.yaml", unet(), window=64, overlap=16)
    content = yaml.safe_load(card.read_text())
    content["inputs"]["AERIAL_RGBI"]["bands"] = {name: {"mean": 110, "std": 50} for name in ("NIR", "R")}
    card.write_text(yaml.safe_dump(content, sort_keys=False))
    return card, None


def test_a_band_that_the_card_does_not_take_is_left_out_of_maps_cubes_and_grids(tmp_path, scene, red_and_green):
    planes = scene.values.astype(np.int16)
    planes[2][HOLE] = -9999
    write_tiles(tmp_path, "a file a band", planes, scene, "a", nodata=-9999)
    write_tile(tmp_path / "g/a.tif", planes[1:2], corner_xy=(0, 0))  # a partner elsewhere is no problem either
    config = configured(tmp_path, red_and_green, "a file a band", grid={"own": "AERIAL_RGBI", "crs": None})
    card = resolve_card(config, config.model)
    context = resolve_context(config, card)
    section = config.inputs["AERIAL_RGBI"]
    grid = context.pixels
    source = context.open("AERIAL_RGBI", section, grid)
    assert source.bands == ("R", "NIR")
    assert source.read(grid, ("NIR", "R")).valid.all()
    cubed = configured(
        tmp_path,
        red_and_green,
        "a file a band",
        aerial={"align": True},
        cube={"store": "cube.zarr", "tile": 64, "chunk": 32},
    )
    (group,) = set_up_cube(cubed).groups
    assert group.source.bands == ("R", "NIR")
    assert group.source.read(grid, ("NIR", "R")).valid.all()


def test_a_cube_aligned_without_a_card_says_what_its_mask_rests_on(tmp_path, scene, model):
    planes = np.concatenate([scene.values, scene.values[:1]]).astype(np.int16)
    planes[4][HOLE] = -9999
    write_tile(tmp_path / "all/a.tif", planes, corner_xy=(scene.left * 0.2, -scene.top * 0.2), nodata=-9999)
    aerial = mosaic(**dict(zip((*RGBI, "SWIR"), (("all", number) for number in range(1, 6)), strict=True)))
    cube = api.CubeConfig(
        grid={"crs": "EPSG:2154"},
        area={"bounds": scene.bounds},
        inputs={"AERIAL_RGBI": {**aerial, "align": True, "resolution": 0.2}},
        cube={"store": "cube.zarr", "tile": 64, "chunk": 32, "margin_m": 0},
        root=tmp_path,
    )
    assert api.align(cube, engine=InlineEngine(), progress=False).exit_code == 0
    of_cube = {"AERIAL_RGBI": {"kind": "cube", "store": "cube.zarr"}}
    setup = set_up_map(configured(tmp_path, model, "one file", inputs=of_cube))
    assert any("also SWIR, which the model leaves out" in note for note in setup.notes)


@pytest.mark.parametrize(("scale", "refused"), [(1 / 255, True), (0.5, True), (1.0, False), (2.0, False)])
def test_tags_that_no_statistics_of_the_card_fit_are_refused(tmp_path, scene, model, scale, refused):
    write_tiles(tmp_path, "one file", scene.values, scene, "a")
    with rasterio.open(tmp_path / "all/a.tif", "r+") as dataset:
        dataset.scales = (scale,) * 4
    config = configured(tmp_path, model, "one file")
    if not refused:
        set_up_map(config)
        return
    with pytest.raises(ConfigError, match=rf"AERIAL_RGBI R: .*to 0 to {255 * scale:g}, .*mean of 110 .*scale: 1"):
        set_up_map(config)
    as_stored = configured(tmp_path, model, "one file", aerial={"scale": 1})
    assert set_up_map(as_stored).job.inputs["AERIAL_RGBI"].source.dtype == np.uint8
