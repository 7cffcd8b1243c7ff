"""An environment with the dependencies of a run alone: the package, its examples, and areas from files work in it."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.helpers.commands import ROOT
from tests.helpers.example_inputs import override, write_inputs

EXAMPLES = sorted([*(ROOT / "configs").glob("*.yaml"), *(ROOT / "configs").glob("[ef]*/*.yaml")])

pytestmark = [pytest.mark.slow, pytest.mark.timeout(1200)]


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the programs of a new environment: no extra of the package is installed."""
    folder = tmp_path_factory.mktemp("environment")
    subprocess.run([sys.executable, "-m", "venv", folder], check=True)
    programs = folder / "bin"
    install = [programs / "python", "-m", "pip", "install", "--quiet", "-c", ROOT / "constraints.txt"]
    subprocess.run([*install, "--upgrade", "pip"], check=True, cwd=folder)
    subprocess.run([*install, "--no-compile", ROOT], check=True, cwd=folder)
    return programs


def answer(*command: object, cwd: Path) -> str:
    """What a command prints, run away from the checkout."""
    clean = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    ended = subprocess.run(list(map(str, command)), cwd=cwd, env=clean, capture_output=True, text=True)
    assert ended.returncode == 0, ended.stderr + ended.stdout
    return ended.stdout


def test_the_installed_package_is_the_one_that_runs(programs: Path, tmp_path: Path) -> None:
    code = "import landweave; print(landweave.errors.__name__, landweave.__file__)"
    name, file = answer(programs / "python", "-c", code, cwd=tmp_path).split()
    assert name == "landweave.core.errors"
    assert Path(file).is_relative_to(programs.parent)


def test_nothing_but_the_dependencies_of_a_run_is_there(programs: Path, tmp_path: Path) -> None:
    listed = answer(programs / "python", "-m", "pip", "list", "--format", "freeze", cwd=tmp_path)
    names = {line.split("==")[0].lower() for line in listed.splitlines()}
    assert {"torch", "geopandas", "landweave"} <= names
    assert not {"pytest", "mypy", "moto", "nbmake", "ipykernel"} & names


def test_the_examples_come_with_the_package(programs: Path, tmp_path: Path) -> None:
    code = "import landweave; print(landweave.example_config('demo'))"
    assert "AERIAL_RGBI" in answer(programs / "python", "-c", code, cwd=tmp_path)
    assert "flair1-unet-resnet34" in answer(programs / "landweave", "models", "list", cwd=tmp_path)


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_passes_the_check(example: Path, programs: Path, tmp_path: Path) -> None:
    """With its area from a GeoPackage where it names one; what only a cluster has is left out."""
    config = Path(shutil.copy(example, tmp_path))
    if example.stem == "department":
        override(
            config,
            output={"store": "map.zarr", "storage_options": None},
            engine={"kind": "inline", "address": None},
            model={"device": "cpu", "bfloat16": False},
        )
    write_inputs(config)
    said = answer(programs / "landweave", "check", config, cwd=tmp_path)
    assert "blocks" in said
    assert not list(tmp_path.glob("*.zarr"))
