"""A raster in the configuration's own cube is held against its settings and its files before it is mapped."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from landweave import align, check, plan_map
from landweave.config.schema import Config, CubeConfig
from landweave.core.errors import OutputError
from landweave.setup.aligned_rasters import compare_with_files
from landweave.setup.context import resolve_context
from landweave.setup.map_setup import set_up_map
from tests.helpers.commands import RGBI_FILES
from tests.helpers.marks import mostly_slow
from tests.helpers.small import Small
from tests.helpers.tiles import PIXEL, write_tile

CUBE = {"store": "cube.zarr", "tile": 128, "chunk": 64, "margin_m": 20}
Ask = Callable[..., Config]


@pytest.fixture(params=mostly_slow(["area", "imagery"], fast=["area"]))
def ask(request: pytest.FixtureRequest, tmp_path: Path) -> Ask:
    """A configuration whose mosaic was aligned, with changes of its input."""
    small = Small.make(tmp_path / "project")
    area = {"area": {"bounds": list(small.scene.bounds)}} if request.param == "area" else {}

    def loaded(**changes: Any) -> Config:
        return small.loaded(inputs={"AERIAL_RGBI": {**RGBI_FILES, "align": True, **changes}}, cube=CUBE, **area)

    assert align(loaded(), progress=False).exit_code == 0
    return loaded


def test_a_setting_that_changed_since_is_refused(ask: Ask) -> None:
    """The cube holds what the old ones made, and another cube would hold what the new ones make."""
    reordered = {band: RGBI_FILES["bands"][band] for band in ("B", "R", "G", "NIR")}
    for same in (ask(), ask(bands=reordered)):
        assert not any("aligned" in note for note in plan_map(same).notes)
    for changes, told in (
        ({"nodata": 50, "nodata_rule": "any"}, "nodata_rule"),
        ({"nodata_border": True}, "nodata_border"),
        ({"scale": 2.0}, "pixels.R"),
    ):
        for verb in (check, plan_map):
            with pytest.raises(OutputError, match=rf"(?s)cube.zarr holds AERIAL_RGBI aligned in another way.*- {told}"):
                verb(ask(**changes))


def test_a_tile_that_was_added_since_is_refused(ask: Ask) -> None:
    config = ask()
    with rasterio.open(sorted((config.root / "rgb").glob("*.tif"))[0]) as first:
        x, y = first.bounds.left + 430 * PIXEL, first.bounds.top
    for folder, bands in (("rgb", 3), ("irc", 1)):
        write_tile(config.root / folder / "tile_new.tif", np.full((bands, 60, 60), 90, np.uint8), corner_xy=(x, y))
    with pytest.raises(OutputError, match=r"(?s)or from other files.*scenes.*another cube \(cube.store\)"):
        plan_map(config)


def test_a_tile_that_was_rewritten_since_is_noted_until_it_is_aligned_again(ask: Ask) -> None:
    config = ask()
    path = sorted((config.root / "rgb").glob("*.tif"))[0]
    with rasterio.open(path, "r+") as tile:
        tile.write(255 - tile.read())
    os.utime(path, (path.stat().st_atime, path.stat().st_mtime + 10))
    for notes in (check(config).notes, plan_map(config).notes):
        [stale] = [note for note in notes if "align --stale" in note]
        assert stale.startswith("AERIAL_RGBI: ")
        assert path.name in stale
    assert align(config, stale=True, progress=False).exit_code == 0
    assert not any("align --stale" in note for note in plan_map(config).notes)


def test_the_notes_of_the_files_are_those_of_the_cube(tmp_path: Path) -> None:
    small = Small.make(tmp_path / "project")
    (small.folder / "irc").rename(small.folder / "irc_2021")
    (small.folder / "rgb").rename(small.folder / "rgb_2019")
    bands = {name: {**band, "files": band["files"].replace("rgb", "rgb_2019").replace("irc", "irc_2021")}
             for name, band in RGBI_FILES["bands"].items()}  # fmt: skip
    for area in ({}, {"area": {"bounds": list(small.scene.bounds)}}):
        config = small.loaded(inputs={"AERIAL_RGBI": {**RGBI_FILES, "bands": bands, "align": True}}, cube=CUBE, **area)
        before = [note for note in plan_map(config).notes if "different dates" in note]
        if not area:
            assert align(config, progress=False).exit_code == 0
        assert [note for note in plan_map(config).notes if "different dates" in note] == before
        assert len(before) == 1


def test_files_that_are_gone_are_noted(ask: Ask) -> None:
    config = ask()
    if config.area is None:
        pytest.skip("without an area the files say where the map lies")
    (config.root / "irc").rename(config.root / "away")
    notes = set_up_map(config).notes
    assert any("cannot be compared with the files" in note and "irc" in note for note in notes)


def test_heights_are_compared_as_well(tmp_path: Path) -> None:
    """Both models by their own settings, with the name of the model."""
    x, y = 700000.0, 6600000.0
    for name in ("dsm", "dtm"):
        write_tile(tmp_path / f"{name}.tif", np.full((1, 64, 64), 9, np.float32), corner_xy=(x, y))

    def loaded(**changes: Any) -> CubeConfig:
        heights = {"kind": "elevation", "dsm": {"files": "dsm.tif", **changes}, "dtm": {"files": "dtm.tif"}}
        return CubeConfig(
            area={"bounds": [x, y - 12, x + 12, y]},
            grid={"crs": "EPSG:2154"},
            inputs={"DEM_ELEV": {**heights, "align": True, "resolution": 0.2}},
            cube={**CUBE, "store": "cube.zarr"},
            root=tmp_path,
        )

    assert align(loaded(), progress=False).exit_code == 0
    context = resolve_context(loaded(nodata=9), None)
    section = context.config.inputs["DEM_ELEV"]
    aligned = context.find_stored("DEM_ELEV", section)
    with pytest.raises(OutputError, match=r"(?s)DEM_ELEV aligned in another way.*dsm.nodata"):
        compare_with_files(context, "DEM_ELEV", section, aligned)
    context = resolve_context(loaded(), None)
    assert compare_with_files(context, "DEM_ELEV", context.config.inputs["DEM_ELEV"], aligned).notes == ()
