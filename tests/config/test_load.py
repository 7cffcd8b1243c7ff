"""Configurations from files: paths count from the file's own folder, values are replaced by dotted key."""

from pathlib import Path
from typing import Any

import pytest
import yaml

from landweave.config.load import example_config, load_config, load_cube_config, load_engine
from landweave.core.blending import Blend
from landweave.core.errors import ConfigError
from tests.helpers.commands import ROOT

BARE: dict[str, Any] = {
    "grid": {"crs": "EPSG:2154"},
    "inputs": {"AERIAL_RGBI": {"kind": "mosaic", "bands": {"R": {"files": "rvb"}}}},
    "model": {"card": "demo-unet"},
    "output": {"store": "out.zarr"},
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "here" / "map.yaml"
    path.parent.mkdir()
    path.write_text(yaml.safe_dump(BARE))
    return path


def test_paths_count_from_the_files_folder(file: Path) -> None:
    config = load_config(file)
    assert config.path("a/b.tif") == str(file.parent / "a" / "b.tif")
    assert config.path("/a/b.tif") == "/a/b.tif"
    assert config.path("s3://bucket/x.zarr") == "s3://bucket/x.zarr"
    assert config.path("/vsicurl/https://host/x.tif") == "/vsicurl/https://host/x.tif"
    assert config.path("~/x") == str(Path.home() / "x")


def test_values_replace_those_of_the_file_and_nothing_else(file: Path) -> None:
    overrides = {"engine.workers": 8, "windows.blend": "crop", "inputs.AERIAL_RGBI.bands.NIR": {"files": "irc"}}
    config = load_config(file, overrides=overrides)
    assert config.engine.workers == 8
    assert config.windows.blend is Blend.CROP
    assert set(config.inputs["AERIAL_RGBI"].bands) == {"R", "NIR"}
    assert load_config(file).engine.workers is None


def test_a_value_below_something_that_is_no_section(file: Path) -> None:
    with pytest.raises(ConfigError, match=r"model\.card\.name.*'demo-unet'"):
        load_config(file, overrides={"model.card.name": "x"})


def test_problems_are_told_with_the_file(file: Path) -> None:
    with pytest.raises(ConfigError, match=rf"^{file}: 1 problem in the configuration:\n- engine.kind: "):
        load_config(file, overrides={"engine.kind": "dusk"})


@pytest.mark.parametrize("key", ["root", "self", 1])
def test_keys_that_are_no_sections_are_refused(file: Path, key: Any) -> None:
    file.write_text(yaml.safe_dump({**BARE, key: "x"}))
    for load in (load_config, load_cube_config):
        with pytest.raises(ConfigError, match=f"{key}: unknown key"):
            load(file)


def test_an_example_counts_paths_from_the_working_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("demo", "department", "naip", "bd-ortho"):
        assert example_config(name).root == tmp_path
    with pytest.raises(ConfigError, match=r"'no-such'.*bd-ortho.*demo"):
        example_config("no-such")


def test_every_configuration_that_comes_with_the_project_loads() -> None:
    files = [file for file in (ROOT / "configs").rglob("*.yaml") if "grid" in yaml.safe_load(file.read_text())]
    assert len(files) >= 5
    for file in files:
        assert load_config(file).inputs


def test_a_cluster_is_a_name_a_file_an_address_or_a_number(tmp_path: Path) -> None:
    file = tmp_path / "mine.yaml"
    file.write_text("memory_gib: 2\ncluster: {kind: local, min_workers: 0, max_workers: 3}\n")
    assert load_engine("4").workers == 4
    assert load_engine("tls://host:8786").address == "tls://host:8786"
    for named in ("local", file):
        found = load_engine(named).cluster
        assert found is not None
        assert found.kind == "local"
    for wrong, why in {
        "slrum": "none of address, gateway",
        "0": "workers",
        str(tmp_path / "none.yaml"): "cannot be read",
    }.items():
        with pytest.raises(ConfigError, match=why):
            load_engine(wrong)
    file.write_text("memory_gib: 2\ncluster: {kind: local, min_workers: 0, max_wrokers: 3}\n")
    with pytest.raises(ConfigError, match=r"max_wrokers"):
        load_engine(file)
