"""The files around the code agree with each other, and name nothing of the machine they were written on."""

import ast
import re
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import NormalizedName, canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]

CONDA_NAMES = {"prometheus-client": "prometheus_client", "torch": "pytorch"}
"""conda-forge's names where they are not those of the package index."""

USED_THROUGH = {
    "bokeh": "distributed shows its dashboard with it",
    "pyarrow": "geopandas writes GeoParquet with it",
    "rioxarray": "people ask the maps for .rio",
    "torchvision": "timm and segmentation-models-pytorch import it",
}
"""Dependencies that no module imports itself, and why they are there all the same."""


def requirements(*groups: str) -> dict[NormalizedName, Requirement]:
    """Dependencies and those of the named extras, by canonical name; the package itself left out."""
    lines = list(PROJECT["dependencies"])
    for group in groups:
        lines += PROJECT["optional-dependencies"][group]
    found = {canonicalize_name(Requirement(line).name): Requirement(line) for line in lines}
    return {name: requirement for name, requirement in found.items() if name != "landweave"}


def pins() -> dict[NormalizedName, str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"]
    return {canonicalize_name(name): version for name, version in (line.split("==") for line in lines)}


def tracked(*patterns: str) -> list[Path]:
    """Files git would carry: those of the last commit and new ones not ignored."""
    command = [
        "git",
        "-C",
        str(ROOT),
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        *patterns,
    ]
    answer = subprocess.run(command, capture_output=True, text=True)
    if answer.returncode:
        pytest.skip("not a git checkout")
    return [path for line in answer.stdout.splitlines() if (path := ROOT / line).is_file()]


def test_environment_yml_says_what_pyproject_says() -> None:
    entries = yaml.safe_load((ROOT / "environment.yml").read_text())["dependencies"]
    conda = {re.split(r"[<>=]", entry)[0]: Requirement(entry).specifier for entry in entries if entry != "pip"}
    expected = {
        CONDA_NAMES.get(name, name): requirement.specifier
        for name, requirement in requirements("notebook", "test", "dev").items()
    }
    assert conda.pop("python").contains("3.11")
    assert conda == expected


def test_constraints_are_plain_pins() -> None:
    for line in (ROOT / "constraints.txt").read_text().splitlines():
        assert line.startswith("#") or re.fullmatch(r"[\w.-]+==[\w.]+", line), line


def test_constraints_pin_every_dependency_within_its_range() -> None:
    pinned = pins()
    for name, requirement in requirements("notebook", "test", "dev").items():
        assert requirement.specifier.contains(pinned[name]), requirement


def imported() -> set[str]:
    """Top-level names that the package imports from others."""
    names: set[str] = set()
    for path in (ROOT / "pipeline").rglob("*.py"):
        if path.name == "conftest.py":  # for the examples in docstrings
            continue
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                names |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and not node.level:
                names.add((node.module or "").split(".")[0])
    return names - sys.stdlib_module_names - {"landweave", "landweave_demo"}


IN_NOTEBOOKS = {"IPython"}
"""Imported only where a notebook has loaded it."""

WITH_ENGINES = {"onnx", "onnxruntime", "onnxscript", "openvino"}
"""Imported where a person asks for what they do; of the extra ``engines``."""

WITH_VIEW = {"fastapi", "ipyleaflet", "morecantile", "rio_tiler", "starlette", "titiler", "uvicorn"}
"""Imported where a map is looked at; of the extra ``view``."""


def test_every_dependency_is_used_and_every_import_declared() -> None:
    declared, homes = set(requirements()), packages_distributions()
    used = set()
    assert set(requirements("engines")) >= WITH_ENGINES
    assert {name.replace("-", "_").split(".")[0].removesuffix("_core") for name in requirements("view")} >= WITH_VIEW
    for name in imported() - IN_NOTEBOOKS - WITH_ENGINES - WITH_VIEW:
        # Several distributions may share one name, as odc-geo and odc-loader share odc.
        found = {canonicalize_name(home) for home in homes.get(name, [name])} & declared
        assert found, f"{name} is imported but is not a dependency in pyproject.toml"
        used |= found
    assert declared - used <= set(USED_THROUGH), "declared, never imported, and no reason given"


HOSTS = r"pypi\.org|pythonhosted\.org|download\.pytorch\.org|anaconda\.org|npmjs\.org|debian\.org"
MACHINE = "|".join(r"(?<![\w.])" + re.escape(f"{folder}/") for folder in (ROOT, ROOT.parent / "shared", Path.home()))
"""Folders of whatever machine this runs on: a file that names one was written here and works nowhere else."""


def test_no_file_names_a_registry_or_this_machine() -> None:
    banned = re.compile(f"{HOSTS}|{MACHINE}")
    for path in tracked():
        if path.suffix not in {".safetensors", ".jpg", ".png", ".npz", ".tif"}:
            found = banned.search(path.read_text())
            assert not found, f"{path.relative_to(ROOT)}: {found}"


def test_the_ban_sees_what_it_bans() -> None:
    for text in ("https://pypi" + ".org/simple", f"cd {ROOT}/docs", f"{Path.home()}/.cache"):
        assert re.search(f"{HOSTS}|{MACHINE}", text)


def test_changelog_has_an_unreleased_part() -> None:
    assert re.search(r"^## \[Unreleased\]$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)


def test_documents_point_at_what_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for path in tracked("*.md"):
        text = path.read_text()
        assert set(re.findall(r"`make ([a-z-]+)", text)) <= targets, path
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (path.parent / link).exists(), f"{path.relative_to(ROOT)} points at {link}"
