"""The command: what bad input gets, before anything is written, and how ends become exit codes."""

import os
import pickle
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
import yaml
import zarr
from safetensors.torch import load_file, save_file

from landweave.core.errors import EngineError, LandweaveError, OutputError
from landweave.engine import clusters
from landweave.engine.inline import InlineEngine
from landweave.mapping.job import MapJob
from tests.helpers.commands import ROOT, Command, Ended, mosaic, start
from tests.helpers.small import Small
from tests.helpers.tiles import write_tile


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Small:
    """One scene and its weights for all tests here; each works on a copy."""
    return Small.make(tmp_path_factory.mktemp("small"))


@pytest.fixture
def small(made: Small, tmp_path: Path) -> Small:
    folder = tmp_path / "project"
    shutil.copytree(made.folder, folder)
    return Small(folder=folder, card=folder / made.card.name, weights=folder / made.weights.name, scene=made.scene)


@pytest.fixture
def landweave(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture
def refused(small: Small, landweave: Command) -> Callable[..., str]:
    """Runs the command, which must refuse with exit code 2 and write nothing; gives its message."""

    def run(config: Path, *arguments: Any, verb: str = "run") -> str:
        before = sorted(small.folder.rglob("*"))
        ended = landweave(verb, config, *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("landweave: ")
        assert "Traceback" not in ended.err
        assert sorted(small.folder.rglob("*")) == before
        return ended.err

    return run


def rgbi(**changes: Any) -> dict[str, Any]:
    bands = mosaic(R=("rgb/*.tif", 1), G=("rgb/*.tif", 2), B=("rgb/*.tif", 3), NIR=("irc/*.tif", 1))
    return {"AERIAL_RGBI": {**bands, **changes}}


def test_a_run_ends_with_0_and_says_what_it_did(small: Small, landweave: Command) -> None:
    config = small.config()
    assert landweave("check", config).code == 0
    planned = landweave("plan", config)
    assert planned.code == 0
    assert "blocks to run               12 of 12, 128 x 128 px" in planned.out
    ran = landweave("run", config)
    assert ran.code == 0
    assert "12 done" in ran.out
    status = landweave("status", small.store)
    assert (status.code, status.out.split()) == (0, ["done", "12"])
    again = landweave("run", config)
    assert again.code == 0
    assert "0 ran" in again.out


def test_unknown_and_misspelt_keys(small: Small, refused: Callable[..., str]) -> None:
    config = small.config()
    content = yaml.safe_load(config.read_text())
    content["windows"] = {"overlapp": 3}
    content["outputt"] = content.pop("output")
    config.write_text(yaml.safe_dump(content))
    message = refused(config)
    assert "windows.overlapp: unknown key; did you mean 'overlap'?" in message
    assert "outputt: unknown key; did you mean 'output'?" in message
    assert "output: required, and not given." in message
    assert "3 problems" in message


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ("grid: [", ["is not YAML"]),
        ("just text", ["holds a text, not keys and values"]),
        (None, ["cannot be read", "No such file"]),
        (b"grid: {crs: \xe9}", ["is not UTF-8", "position 12"]),
    ],
)
def test_a_configuration_that_is_none(
    small: Small, refused: Callable[..., str], text: str | bytes | None, parts: list[str]
) -> None:
    config = small.folder / "other.yaml"
    if text is not None:
        config.write_bytes(text if isinstance(text, bytes) else text.encode())
    message = refused(config)
    for part in [*parts, "other.yaml"]:
        assert part in message


def test_a_value_set_below_one_that_is_no_section(small: Small, refused: Callable[..., str]) -> None:
    assert "engine.kind.name" in refused(small.config(), "--set", "engine.kind.name=1")
    assert "setting" in refused(small.config(), "--set", "output.setting=1")


@pytest.mark.parametrize("given", ["area.bounds=[1, canary", "output.store", "=canary", "a=b: c: canary"])
def test_a_value_to_set_that_is_none(small: Small, refused: Callable[..., str], given: str) -> None:
    message = refused(small.config(), "--set", given)
    assert f"{given.partition('=')[0] or 'A value to set'}: write it as KEY=VALUE" in message
    assert "canary" not in message


def test_no_tile_touches_the_area(small: Small, refused: Callable[..., str]) -> None:
    message = refused(small.config(area={"bounds": [700000, 6600000, 700100, 6600100]}))
    for part in ("AERIAL_RGBI", "700000.0", "6600100.0", "touches"):
        assert part in message


def test_an_area_whose_filter_finds_nothing(small: Small, refused: Callable[..., str]) -> None:
    frame = geopandas.GeoDataFrame({"code": ["30"]}, geometry=[shapely.box(*small.scene.bounds)], crs=2154)
    frame.to_file(small.folder / "area.gpkg")
    message = refused(small.config(area={"file": "area.gpkg", "where": "code = '31'"}))
    assert "code = '31'" in message
    assert "area.gpkg" in message
    assert "no_such" in refused(small.config(area={"file": "area.gpkg", "where": "no_such = '31'"}))
    assert "missing.gpkg" in refused(small.config(area={"file": "missing.gpkg"}))


def test_every_missing_band_and_input_is_named_at_once(small: Small, refused: Callable[..., str]) -> None:
    card = yaml.safe_load(small.card.read_text())
    card["inputs"]["DEM_ELEV"] = {"pixel": 0.2, "bands": {"NDSM": {"mean": 5}, "DSM": {}}}
    small.card.write_text(yaml.safe_dump(card, sort_keys=False))
    message = refused(small.config(inputs={"AERIAL_RGBI": mosaic(R=("rgb/*.tif", 1), B=("rgb/*.tif", 3))}))
    assert "AERIAL_RGBI lacks G, NIR of R, G, B, NIR: it has R, B" in message
    assert "DEM_ELEV is missing (bands NDSM, DSM)" in message


def test_a_band_number_that_a_file_has_not(small: Small, refused: Callable[..., str]) -> None:
    bands = rgbi()["AERIAL_RGBI"]["bands"]
    message = refused(small.config(inputs=rgbi(bands={**bands, "NIR": {"files": "irc/*.tif", "band": 4}})))
    assert "'NIR' is band 4, the file has 1" in message
    assert message.count("irc/tile_") == 4


def test_a_pattern_without_files(small: Small, refused: Callable[..., str]) -> None:
    bands = rgbi()["AERIAL_RGBI"]["bands"]
    message = refused(small.config(inputs=rgbi(bands={**bands, "NIR": {"files": "nir/*.tif", "band": 1}})))
    assert "'nir/*.tif' names 0 files" in message


def test_a_tile_without_crs(small: Small, refused: Callable[..., str], landweave: Command) -> None:
    tile = sorted((small.folder / "irc").glob("*.tif"))[1]
    with rasterio.open(tile) as dataset:
        values, corner = dataset.read(), dataset.transform @ (0, 0)
    write_tile(tile, values, corner_xy=corner, crs=None)
    message = refused(small.config())
    assert f"{tile} has no CRS" in message
    assert "set `crs`" in message
    checked = landweave("check", small.config(inputs=rgbi(crs="EPSG:2154")))
    assert checked.code == 0
    assert "1 of 8 files take EPSG:2154 from the setting" in checked.out


def test_a_plan_tells_of_tiles_that_lack_a_product(small: Small, landweave: Command) -> None:
    """Without an area they are left out, and the map has a hole there: not to be found out afterwards."""
    sorted((small.folder / "irc").glob("*.tif"))[1].unlink()
    planned = landweave("plan", small.config())
    assert planned.code == 0
    assert re.search(r"^note +AERIAL_RGBI: 1 footprints lack a product and are not read, rgb/tile_", planned.out, re.M)


def test_a_truncated_tiff_and_a_file_that_is_no_raster(small: Small, refused: Callable[..., str]) -> None:
    tile = sorted((small.folder / "rgb").glob("*.tif"))[0]
    size = tile.stat().st_size
    tile.write_bytes(tile.read_bytes()[: size * 2 // 3])
    (small.folder / "rgb" / "notes.tif").write_text("not a raster at all")
    message = refused(small.config())
    assert str(tile) in message
    assert "is truncated" in message
    assert f"the file has {size * 2 // 3}" in message
    assert "notes.tif' not recognized as being in a supported file format. Otherwise leave it out" in message
    assert "2 of 9 files" in message


def test_a_truncated_jpeg2000(small: Small, refused: Callable[..., str]) -> None:
    for tile in sorted((small.folder / "irc").glob("*.tif")):
        with rasterio.open(tile) as dataset:
            values, corner = dataset.read(), dataset.transform @ (0, 0)
        tile.unlink()
        settings = {"driver": "JP2OpenJPEG", "quality": 100, "reversible": True}
        write_tile(tile.with_suffix(".jp2"), values, corner_xy=corner, tiled=None, compress=None, **settings)
    first, *_ = sorted((small.folder / "irc").glob("*.jp2"))
    first.write_bytes(first.read_bytes()[:-500])
    bands = rgbi()["AERIAL_RGBI"]["bands"]
    message = refused(small.config(inputs=rgbi(bands={**bands, "NIR": {"files": "irc/*.jp2", "band": 1}})))
    assert str(first) in message
    assert "truncated" in message


def test_weights_that_do_not_fit(small: Small, refused: Callable[..., str]) -> None:
    tensors = load_file(small.weights)
    names = sorted(tensors)
    del tensors[names[0]]
    tensors["stranger"] = torch.zeros(3)
    tensors["segmentation_head.0.weight"] = torch.zeros(2, 8, 3, 3)
    save_file(tensors, small.weights)
    message = refused(small.config())
    for part in (f"1 missing: {names[0]}", "1 unexpected: stranger", "(2, 8, 3, 3)", "(5, 8, 3, 3)"):
        assert part in message


def test_weights_of_another_checksum(small: Small, refused: Callable[..., str]) -> None:
    message = refused(small.config(model={"sha256": "0" * 64}))
    assert "0" * 64 in message
    assert "have sha256" in message


class Bomb:
    def __reduce__(self) -> Any:
        return print, ("this ran while weights were loaded",)


def test_a_pickle_that_is_more_than_tensors(small: Small, refused: Callable[..., str]) -> None:
    bad = small.folder / "bad.pth"
    torch.save({"weight": torch.zeros(2), "more": Bomb()}, bad)
    message = refused(small.config(model={"weights": "bad.pth"}))
    assert "more than plain tensors" in message
    bad.write_bytes(pickle.dumps(Bomb(), protocol=2))
    message = refused(small.config(model={"weights": "bad.pth"}))
    assert "this ran" not in message


def test_weights_and_card_that_are_not_there(small: Small, refused: Callable[..., str]) -> None:
    assert "no.safetensors" in refused(small.config(model={"weights": "no.safetensors"}))
    assert "no.yaml" in refused(small.config(model={"card": "no.yaml"}))
    assert "did you mean flair1-unet-resnet34" in refused(small.config(model={"card": "flair1-unet-resnet3"}))


@pytest.mark.parametrize(
    ("sections", "parts"),
    [
        ({"windows": {"size": 65}}, ["65", "multiple of 32"]),
        ({"windows": {"overlap": 64}}, ["overlap of 64 does not fit windows of 64", "from 0 to 63"]),
        ({"windows": {"overlap": 70}}, ["overlap of 70 does not fit windows of 64"]),
        ({"output": {"block": 100}}, ["100", "64 or 128"]),
        ({"output": {"block": 0}}, ["0", "64"]),
        ({"output": {"resolution": 0.5}}, ["0.5", "2.5 pixels of 0.2 m"]),
        ({"grid": {"resolution": 0.5}}, ["0.5 m", "0.2 m"]),
        ({"model": {"device": "abacus"}}, ["abacus", "cuda"]),
        ({"model": {"resize_tables": True}}, ["no network of FLAIR-HUB", "leave model.resize_tables out"]),
        ({"model": {"output": "OTHER"}}, ["OTHER", "LABEL"]),
        ({"grid": {"crs": "EPSG:0"}}, ["EPSG:0"]),
        ({"inputs": {"SPOT_RGBI": rgbi()["AERIAL_RGBI"]}}, ["no use for inputs.SPOT_RGBI: it reads AERIAL_RGBI"]),
        ({"output": {"store": "ftp://host/x"}}, ["ftp"]),
        ({"area": {"bounds": [1, 2, 0, 4]}}, ["area: ", "x0 < x1"]),
        ({"area": {"bounds": [0, 0, 4, float("inf")]}}, ["area: ", "finite"]),
        ({"grid": {"crs": "EPSG:4326"}}, ["EPSG:4326 counts in degree", "metres"]),
        ({"grid": {"crs": "EPSG:2263"}}, ["EPSG:2263 counts in US survey foot", "metres"]),
        ({"grid": {"resolution": "0,2"}}, ["grid.resolution", "'0,2'", "1/3"]),
        ({"grid": {"resolution": "1/0"}}, ["grid.resolution", "1/3"]),
        ({"grid": {"resolution": 0}}, ["grid.resolution", "more than 0"]),
        ({"grid": {"anchor": ["a", 0]}}, ["grid.anchor", "'a'"]),
        ({"model": {"pixel": -1}}, ["model.pixel", "more than 0"]),
        ({"output": {"resolution": 0}}, ["output.resolution", "more than 0"]),
        ({"output": {"resolution": float("nan")}}, ["output.resolution", "1/3"]),
        ({"output": {"chunk": 0}}, ["output.chunk", "greater than 0"]),
        ({"output": {"chunk": -64}}, ["output.chunk", "greater than 0"]),
        ({"output": {"cog": "file/map.tif"}}, ["file", "Cannot write"]),
        ({"output": {"cog": "rgb"}}, ["output.cog", "is a folder"]),
        ({"output": {"picture": "map.tiff3"}}, ["output.picture", ".png"]),
        ({"engine": {"kind": "inline", "address": "tcp://host:8786"}}, ["engine: ", "address", "kind: dask"]),
        ({"engine": {"kind": "dask", "address": "host"}}, ["host is no address of a scheduler", "tcp://host:8786"]),
    ],
)
def test_settings_that_cannot_be(
    small: Small, refused: Callable[..., str], sections: dict[str, Any], parts: list[str]
) -> None:
    (small.folder / "file").write_text("in the way")
    message = refused(small.config(**sections))
    for part in parts:
        assert part in message


def test_sizes_off_the_unit_name_the_nearest_valid_ones(small: Small, refused: Callable[..., str]) -> None:
    """With an input of 1.6 m beside 0.2 m the unit is 8 base pixels."""
    card = yaml.safe_load(small.card.read_text())
    card["inputs"]["SPOT_RGBI"] = {"pixel": 1.6, "required": False, "bands": {"R": {}}}
    card["window"] = {"size": 64, "overlap": 16, "min_untrained_size": 32}
    small.card.write_text(yaml.safe_dump(card))
    assert "48 or 56" in refused(small.config(windows={"overlap": 13}))
    assert "64 or 72" in refused(small.config(windows={"size": 68}))


def test_an_output_that_holds_another_runs_map(small: Small, landweave: Command) -> None:
    assert landweave("run", small.config(area={"bounds": _part(small)})).code == 0
    before = {path: path.stat().st_mtime_ns for path in small.store.rglob("*")}
    for verb in ("run", "plan", "check"):
        ended = landweave(verb, small.config(area={"bounds": _part(small)}, windows={"overlap": 32}))
        assert ended.code == 2
        assert "holds the map of another run" in ended.err
        assert "windows.overlap: 32 here, 16 in the output" in ended.err
        assert "area" not in ended.err.partition("What differs")[2].partition("Choose")[0]
    assert {path: path.stat().st_mtime_ns for path in small.store.rglob("*")} == before


def _part(small: Small) -> list[float]:
    x0, _, _, y1 = small.scene.bounds
    return [x0, y1 - 20, x0 + 20, y1]


def test_an_output_that_cannot_be_written(small: Small, refused: Callable[..., str]) -> None:
    (small.folder / "file").write_text("in the way")
    message = refused(small.config(output={"store": "file/out.zarr"}))
    assert "file/out.zarr" in message
    assert "Cannot write" in message
    assert "Cannot write" in refused(small.config(output={"store": "file"}))
    assert "/proc/none.zarr" in refused(small.config(output={"store": "/proc/none.zarr"}))


@pytest.mark.parametrize("place", ["rgb", ".", "", "results"])
@pytest.mark.parametrize("verb", ["run", "check", "plan"])
def test_an_output_where_other_things_lie(small: Small, refused: Callable[..., str], place: str, verb: str) -> None:
    (small.folder / "results").mkdir()
    (small.folder / "results" / "thesis.txt").write_text("three years")
    message = refused(small.config(output={"store": place}), verb=verb)
    assert "already holds" in message
    assert "would remove" in message


def test_not_enough_memory(small: Small, refused: Callable[..., str]) -> None:
    message = refused(small.config(engine={"memory_gib": 0.01}))
    for part in ("A worker needs", "0.01 GiB", "output.block", "engine.memory_gib"):
        assert part in message


def test_a_status_of_nothing(small: Small, refused: Callable[..., str]) -> None:
    assert "no map at" in refused(small.folder / "nothing.zarr", verb="status")


def test_an_interrupt_ends_with_130(small: Small, landweave: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: Any) -> Any:
        raise KeyboardInterrupt
        yield

    monkeypatch.setattr(InlineEngine, "run", interrupted)
    ended = landweave("run", small.config())
    assert ended.code == 130
    assert "run again" in ended.err


@pytest.mark.parametrize(
    "error",
    [
        EngineError("The scheduler went away"),
        pytest.param(OutputError(28, "No space left on device"), marks=pytest.mark.slow),
    ],
)
def test_a_run_that_loses_its_workers_or_its_output_is_not_bad_input(
    small: Small, landweave: Command, monkeypatch: pytest.MonkeyPatch, error: LandweaveError
) -> None:
    """Exit code 2 says that nothing was written: here a part of the map is there, and the next run goes on from it."""
    run = InlineEngine.run

    def lost(self: InlineEngine, job: Any, blocks: Any) -> Any:
        yield from islice(run(self, job, blocks), 5)
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(InlineEngine, "run", lost)
        ended = landweave("run", small.config())
    assert ended.code == 3
    assert str(error) in ended.err
    again = landweave("run", small.config())
    assert (again.code, "7 ran" in again.out) == (0, True)


def test_a_map_that_is_whole_needs_no_workers(
    mapped: Small, landweave: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clusters, "local_engine", None)
    monkeypatch.setattr(MapJob, "open", None)
    for settings in ({"kind": "dask", "workers": 2}, {"kind": "inline"}):
        again = landweave("run", mapped.config(engine=settings))
        assert (again.code, "12 done; 0 ran" in again.out) == (0, True)


def test_a_store_that_is_no_map(small: Small, refused: Callable[..., str]) -> None:
    zarr.create_group(small.folder / "cube.zarr", attributes={"format": "landweave-cube"})
    message = refused(small.config(output={"store": "cube.zarr"}))
    assert "'landweave-cube', a map has 'landweave-map'" in message


@pytest.mark.parametrize("loaded", ["yaml", "typer"])
def test_an_interrupt_while_the_command_loads_ends_with_130(small: Small, loaded: str) -> None:
    process = start("check", small.config(), PYTHONPROFILEIMPORTTIME="1")
    assert process.stderr is not None
    lines = iter(process.stderr.readline, "")
    told = next((line for line in lines if line.rpartition("|")[2].strip() == loaded), "")
    os.killpg(process.pid, signal.SIGINT)
    said, problems = process.communicate(timeout=60)
    assert (bool(told), process.returncode, said) == (True, 130, "")
    assert "Traceback" not in problems
    assert problems.endswith("landweave: interrupted.\n")


def test_no_arguments_show_the_verbs(landweave: Command) -> None:
    ended: Ended = landweave("--help")
    assert ended.code == 0
    for verb in ("check", "plan", "run", "status"):
        assert verb in ended.out


def test_a_failed_read_is_no_nodata(small: Small, landweave: Command) -> None:
    """A tile that is whole by its header and damaged inside fails its blocks, and is named."""
    assert np.isin(small.scene.values, 0).sum() == 0
    config = small.config()
    tile = sorted((small.folder / "rgb").glob("*.tif"))[-1]
    good = tile.read_bytes()
    with rasterio.open(tile) as dataset:
        blocks = [int(dataset.tags(ns="TIFF", bidx=1).get(f"BLOCK_OFFSET_{x}_0", 0)) for x in range(2)]
    start = blocks[0] or len(good) // 2
    tile.write_bytes(good[:start] + b"\xff" * 200 + good[start + 200 :])
    ended = landweave("run", config)
    assert ended.code == 3
    status = landweave("status", small.store)
    assert status.code == 0
    assert "read failed" in status.out
    assert tile.name in status.out
    failed = int(status.out.split("read failed")[1].split()[0])
    assert 0 < failed < 12
    tile.write_bytes(good)
    again = landweave("run", config, "--keep-stale")  # blocks that read the tile before are as they were
    assert again.code == 0
    assert f"{failed} ran" in again.out


def test_help_loads_no_library() -> None:
    heavy = ("torch", "xarray", "rasterio", "zarr", "matplotlib", "distributed", "numpy", "dask", "pyproj")
    program = f"import sys, landweave.cli.main; sys.exit(' '.join(set({heavy}) & set(sys.modules)) or None)"
    path = {**os.environ, "PYTHONPATH": str(ROOT / "pipeline")}
    ended = subprocess.run([sys.executable, "-c", program], env=path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")
