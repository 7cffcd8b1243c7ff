"""What a run writes beside its map: never over an input or a foreign file, and never as an input of the next run."""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from landweave import api
from landweave.config.schema import CubeConfig
from landweave.core.errors import ConfigError, InputError, OutputError
from landweave.core.protocols import BlockState
from landweave.setup.outputs import check_places
from tests.helpers.commands import Command, done, mosaic, shards
from tests.helpers.marks import mostly_slow
from tests.helpers.small import Small


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small.make(tmp_path_factory.mktemp("small"))


@pytest.fixture
def small(made: Small, tmp_path: Path) -> Small:
    folder = tmp_path / "project"
    shutil.copytree(made.folder, folder)
    return Small(folder=folder, card=folder / made.card.name, weights=folder / made.weights.name, scene=made.scene)


@pytest.fixture
def landweave(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


def contents(folder: Path) -> dict[str, bytes | None]:
    found = folder.rglob("*")
    return {str(path.relative_to(folder)): path.read_bytes() if path.is_file() else None for path in found}


def area_of(small: Small, margin: float = 0.0) -> list[float]:
    x0, y0, x1, y1 = small.scene.bounds
    return [x0 + margin, y0 + margin, x1 - margin, y1 - margin]


THERE = (
    "rgb/tile_00000_00000.tif",
    "irc/tile_00000_00000.tif",
    "small.yaml",
    "config.yaml",
    "link.tif",
    "hard.tif",
    "weights",
    "notes.tif",
)
FAST_THERE = {*product(("cog",), THERE), ("picture", "config.yaml")}


@pytest.mark.parametrize(("key", "name"), mostly_slow(product(("cog", "picture"), THERE), fast=FAST_THERE))
def test_no_file_that_is_there_is_written_over(small: Small, landweave: Command, name: str, key: str) -> None:
    if name == "weights":
        name = str(small.weights)
    tile = small.folder / "rgb/tile_00000_00000.tif"
    (small.folder / "link.tif").symlink_to(tile)
    (small.folder / "hard.tif").hardlink_to(tile)
    (small.folder / "notes.tif").write_text("mine")
    copied = small.folder / name
    if key == "picture":
        name = "ours.png"
    config = small.config(output={key: name})
    if key == "picture":
        (small.folder / name).write_bytes(copied.read_bytes())
    before = contents(small.folder)
    for verb in ("check", "run"):
        ended = landweave(verb, config)
        assert ended.code == 2
        assert f"output.{key}" in ended.err
        assert re.search(rf"{Path(name).name} is there already .* choose another name, or remove it", ended.err)
        assert contents(small.folder) == before


def changed(**sections: Any) -> CubeConfig:
    """A configuration of which only the places count."""
    bands = mosaic(R=("tiles/*.tif", 1))
    content = {
        "grid": {"crs": "EPSG:2154"},
        "inputs": {"AERIAL_RGBI": bands, "SENTINEL2_TS": {"kind": "cube", "store": "old.zarr"}},
        "output": {"store": "out.zarr"},
        "cube": {"store": "cube.zarr"},
        **sections,
    }
    return CubeConfig(**content, root=Path("/nowhere/at/all"))


@pytest.mark.parametrize(
    ("sections", "named"),
    [
        ({"output": {"store": "out.zarr", "cog": "out.zarr/map.tif"}}, r"output\.cog .* is or lies in output\.store"),
        (
            {"output": {"store": "out.zarr", "cog": "x/../OUT.zarr/a/m.tif"}},
            r"output\.cog .* is or lies in output\.store",
        ),
        ({"output": {"store": "out.zarr", "picture": "cube.zarr/m.png"}}, r"output\.picture .* lies in cube\.store"),
        ({"output": {"store": "o.zarr", "picture": "old.zarr/m.png"}}, r"output\.picture .* lies in .*2_TS\.store"),
        (
            {"output": {"store": "out.zarr", "cog": "m.png", "picture": "m.png"}},
            r"output\.\w+ .* is or lies in output\.\w+",
        ),
        (
            {"output": {"store": "out.zarr", "cog": "M.PNG", "picture": "m.png"}},
            r"output\.\w+ .* is or lies in output\.\w+",
        ),
        ({"output": {"store": "cube.zarr"}}, r"is or lies in (cube|output)\.store"),
        ({"output": {"store": "file:///nowhere/at/all/cube.zarr/"}}, r"is or lies in (cube|output)\.store"),
        ({"output": {"store": "cube.zarr/map"}}, r"output\.store .* lies in cube\.store"),
        ({"output": {"store": "old.zarr"}}, r"output\.store \(old.zarr\)"),
        (
            {"output": {"store": "s3://b/m"}, "cube": {"store": "s3://b/m/cube"}},
            r"cube\.store .* lies in output\.store",
        ),
        ({"output": {"store": "tiles"}}, r"output\.store \(tiles\) already holds inputs\.AERIAL_RGBI\.R\.files\[0\]"),
        ({"cube": {"store": "."}}, r"(is or lies in|already holds) .*cube\.store|cube\.store \(\.\) already holds"),
        ({"area": {"file": "out.zarr/area.gpkg"}}, r"output\.store .* already holds area\.file"),
        ({"model": {"card": "out.zarr/c.yaml"}}, r"output\.store .* already holds model\.card"),
        (
            {"model": {"card": "LC-A", "weights": "out.zarr"}},
            r"output\.store .* already holds model\.weights",
        ),
    ],
)
def test_no_output_lies_in_another_or_around_an_input(sections: dict[str, Any], named: str) -> None:
    with pytest.raises(OutputError, match=named):
        check_places(changed(**sections))


@pytest.mark.parametrize(
    "sections",
    [
        {},
        {"output": {"store": "tiles/out.zarr", "cog": "tiles/map.tif", "picture": "tiles/map.png"}},
        {"output": {"store": "out.zarr", "cog": "out.zarr.tif"}},
        {"cube": {"store": "old.zarr"}},
        {"output": {"store": "s3://b/m"}, "cube": {"store": "s3://b/m2"}},
    ],
)
def test_outputs_beside_each_other_and_beside_tiles_pass(sections: dict[str, Any]) -> None:
    check_places(changed(**sections))


def test_links_to_a_store_lie_in_it(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    config = changed(output={"store": str(tmp_path / "real"), "cog": str(tmp_path / "link" / "m.tif")})
    with pytest.raises(OutputError, match=r"output\.cog .* is or lies in output\.store"):
        check_places(config)


@pytest.mark.parametrize("path", ["/vsis3/bucket/map.tif", "https://host/map.tif"])
def test_a_file_beside_the_map_is_local_or_in_an_object_store(small: Small, path: str) -> None:
    with pytest.raises(ConfigError, match="only a local file, or an object at s3"):
        small.loaded(output={"cog": path})


@pytest.mark.parametrize("pattern", mostly_slow(["rgb", "rgb/*.tif", "rgb/*", "rgb/**/*.tif"], fast=["rgb"]))
def test_a_run_whose_files_lie_beside_its_tiles_runs_again(small: Small, landweave: Command, pattern: str) -> None:
    bands = mosaic(R=(pattern, 1), G=(pattern, 2), B=(pattern, 3), NIR=("irc/*.tif", 1))
    output = {"store": "rgb/out.zarr", "cog": "rgb/a_map.tif", "picture": "rgb/a_map.png"}
    config = small.config(inputs={"AERIAL_RGBI": bands}, output=output)
    assert "12 done" in done(landweave("run", config))
    first = shards(small.folder / "rgb/out.zarr")
    cog = (small.folder / "rgb/a_map.tif").read_bytes()
    checked = done(landweave("check", config))
    assert f"maps of this program and are not read, {small.folder / 'rgb/a_map'}" in checked
    assert "0 ran" in done(landweave("run", config))
    assert shards(small.folder / "rgb/out.zarr") == first
    assert (small.folder / "rgb/a_map.tif").read_bytes() == cog
    assert sorted(path.name for path in (small.folder / "rgb").glob("*map*")) == [
        "a_map.png",
        "a_map.tif",
        "a_map.tif.aux.xml",
    ]


def test_a_folder_of_maps_alone_has_no_tile(small: Small, landweave: Command) -> None:
    done(landweave("run", small.config(output={"cog": "maps/map.tif"})))
    bands = mosaic(R=("maps", 1), G=("maps", 1), B=("maps", 1), NIR=("maps", 1))
    with pytest.raises(InputError, match=r"maps of this program alone, .*map\.tif the first: 0 tiles"):
        api.check(small.loaded(inputs={"AERIAL_RGBI": bands}, output={"store": "other.zarr"}))


@pytest.mark.parametrize("factor", [1, 2])
def test_the_files_are_those_of_the_area(small: Small, factor: int) -> None:
    area = area_of(small, margin=9.13)
    output = {"cog": "map.tif", "resolution": 0.2 * factor}
    assert api.run(small.loaded(area={"bounds": area}, output=output), progress=False).complete
    pixel = 0.2 * factor
    with rasterio.open(small.folder / "map.tif") as file:
        x0, y0, x1, y1 = area
        snapped = [np.floor(x0 / pixel), np.floor(y0 / pixel), np.ceil(x1 / pixel), np.ceil(y1 / pixel)]
        assert tuple(file.bounds) == pytest.approx([side * pixel for side in snapped])
        values = file.read(1)
    mapped = api.open_map(small.store)
    left, bottom, right, top = (side * pixel for side in snapped)
    part = mapped.landcover.sel(x=slice(left, right), y=slice(top, bottom))
    np.testing.assert_array_equal(values, part.values)
    whole = mapped.landweave.to_cog(small.folder / "whole.tif")
    assert whole.read_bytes() == (small.folder / "map.tif").read_bytes()
    assert mapped.landcover.size > 1.5 * values.size


def test_without_an_area_they_are_those_of_the_imagery(small: Small) -> None:
    assert api.run(small.loaded(output={"cog": "map.tif"}), progress=False).complete
    with rasterio.open(small.folder / "map.tif") as file:
        assert tuple(file.bounds) == pytest.approx(small.scene.bounds)
        assert (file.read(1) != 255).all()


def test_files_of_another_map_are_kept(small: Small) -> None:
    api.run(small.loaded(output={"cog": "map.tif"}), progress=False)
    before = (small.folder / "map.tif").read_bytes()
    other = small.loaded(output={"cog": "map.tif", "store": "other.zarr"}, windows={"overlap": 32})
    with pytest.raises(OutputError, match=r"output\.cog: .*the file of another map"):
        api.run(other, progress=False)
    assert (small.folder / "map.tif").read_bytes() == before
    assert not (small.folder / "other.zarr").exists()


@pytest.fixture
def damaged(small: Small) -> Callable[[], Path]:
    """Makes one tile unreadable in the middle, so that blocks fail."""

    def damage() -> Path:
        path = small.folder / "irc/tile_00170_00200.tif"
        content = bytearray(path.read_bytes())
        content[len(content) // 3 : len(content) // 3 + 200] = b"\xff" * 200
        path.write_bytes(content)
        return path

    return damage


def test_an_incomplete_map_leaves_the_files_of_a_complete_one(small: Small, damaged: Callable[[], Path]) -> None:
    config = small.loaded(output={"cog": "map.tif", "picture": "map.png"})
    assert api.run(config, progress=False).complete
    before = {name: (small.folder / name).read_bytes() for name in ("map.tif", "map.png")}
    damaged()
    result = api.run(config, stale=True, progress=False)
    assert (result.exit_code, result.counts[BlockState.READ_FAILED] > 0) == (3, True)
    assert {name: (small.folder / name).read_bytes() for name in before} == before
    for key, name in (("cog", "map.tif"), ("picture", "map.png")):
        assert any(f"output.{key}: the map is not complete, {small.folder / name}" in note for note in result.notes)
        assert "left as it was" in str(result)


def test_the_files_of_an_incomplete_map_are_said_to_be_so(small: Small, damaged: Callable[[], Path]) -> None:
    damaged()
    result = api.run(small.loaded(output={"cog": "map.tif"}), progress=False)
    assert result.exit_code == 3
    assert (small.folder / "map.tif").exists()
    assert f"output.cog: the map is not complete, nor is {small.folder / 'map.tif'}" in str(result)


def test_a_file_that_cannot_be_written_leaves_the_map(small: Small, landweave: Command, monkeypatch: Any) -> None:
    config = small.config(output={"cog": "map.tif"})

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError("No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("rasterio.shutil.copy", full)
        ended = landweave("run", config)
    assert (ended.code, "map.tif: No space left on device" in ended.err) == (3, True)
    assert api.status(small.store).complete
    again = done(landweave("run", config))
    assert "0 ran" in again
    assert (small.folder / "map.tif").exists()


@pytest.mark.parametrize("what", ["nothing", "folder", "file", "zarr"])
def test_the_status_of_a_place_that_is_neither_is_one_sentence(tmp_path: Path, landweave: Command, what: str) -> None:
    path = tmp_path / what
    if what in ("folder", "zarr"):
        path.mkdir()
        (path / "notes.txt").write_text("mine")
    if what == "zarr":
        (path / "zarr.json").write_text('{"zarr_format": 3, "node_type": "group", "attributes": {"format": "x"}}')
    if what == "file":
        path.write_text("mine")
    ended = landweave("status", path)
    assert ended.code == 2
    sentence = f"There is no map at {path}, nor a cube: give the path of an output.store or cube.store."
    assert ended.err == f"landweave: {sentence}\n"
