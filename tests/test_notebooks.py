"""Notebooks are stored as they ran, from the first cell to the last (``make notebooks-store``), and small."""

from __future__ import annotations

import importlib.util
import json
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from tests.helpers.commands import ROOT

NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))

ABSOLUTE = re.compile(r"(?<![\w./:~-])/(?:tmp|home|root|usr|var|opt|mnt|work|srv|Users|private)/|[A-Z]:\\\\")
"""A path of the machine that a notebook ran on."""

FIGURE_BYTES, ALL_BYTES = 200_000, 1_600_000
"""Most of one picture, and of all notebooks."""

ONE_CELL = {
    "nbformat": 4,
    "nbformat_minor": 5,
    "metadata": {},
    "cells": [
        {
            "cell_type": "code",
            "id": "warn",
            "metadata": {},
            "execution_count": None,
            "outputs": [],
            "source": "import warnings; warnings.warn('mind the gap')",
        }
    ],
}


def code_cells(path: Path) -> list[dict[str, Any]]:
    return [cell for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]


def outputs(path: Path) -> Iterator[dict[str, Any]]:
    yield from (output for cell in code_cells(path) for output in cell["outputs"])


def faults(cells: list[dict[str, Any]]) -> list[str]:
    """What is wrong with how a notebook is stored."""
    found = []
    if [cell["execution_count"] for cell in cells] != list(range(1, len(cells) + 1)):
        found.append("not run from the first cell to the last")
    shown = [output for cell in cells for output in cell["outputs"]]
    found += ["an error" for output in shown if output["output_type"] == "error"]
    found += [f"on stderr: {output['text']}" for output in shown if output.get("name") == "stderr"]
    found += [f"a path of a machine: {text[:200]}" for text in map(json.dumps, shown) if ABSOLUTE.search(text)]
    found += [f"a warning: {text[:200]}" for text in map(json.dumps, shown) if "Warning:" in text]
    found += ["metadata of a run" for cell in cells if cell["metadata"]]
    return found


def test_there_are_five() -> None:
    assert [path.name[:2] for path in NOTEBOOKS] == ["01", "02", "03", "04", "05"]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_is_stored_as_it_ran(path: Path) -> None:
    assert faults(code_cells(path)) == []


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_it_has_pictures_that_load_quickly(path: Path) -> None:
    pictures = [
        text for output in outputs(path) for kind, text in output.get("data", {}).items() if kind.startswith("image/")
    ]
    assert len(pictures) >= 2
    assert max(len(text) * 3 / 4 for text in pictures) < FIGURE_BYTES


def test_all_of_them_are_small() -> None:
    assert sum(path.stat().st_size for path in NOTEBOOKS) < ALL_BYTES


@pytest.mark.parametrize(
    ("cell", "fault"),
    [
        ({"execution_count": None}, "not run"),
        ({"outputs": [{"output_type": "error", "ename": "ValueError"}]}, "an error"),
        ({"outputs": [{"output_type": "stream", "name": "stderr", "text": "hm"}]}, "on stderr"),
        ({"outputs": [{"output_type": "display_data", "data": {"text/plain": "at /tmp/x.zarr"}}]}, "a path"),
        ({"outputs": [{"output_type": "stream", "name": "stdout", "text": "UserWarning: x"}]}, "a warning"),
        ({"metadata": {"execution": {"iopub.execute_input": "2026-01-01T00:00:00"}}}, "metadata"),
    ],
)
def test_faults_are_seen(cell: dict[str, Any], fault: str) -> None:
    sound = {"execution_count": 1, "outputs": [], "metadata": {}}
    assert faults([sound]) == []
    assert [each.startswith(fault) for each in faults([sound | cell])] == [True]


@pytest.fixture(scope="module")
def store() -> ModuleType:
    spec = importlib.util.spec_from_file_location("store_notebooks", ROOT / "notebooks/store.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_scratch_folders_are_not_stored(store: ModuleType) -> None:
    path = store.tempfile.gettempdir() + "/tmpab_c1/landcover.zarr"
    shown = store.portable({"data": {"text/html": f"<td>{path}</td>"}})
    assert shown == {"data": {"text/html": "<td>landcover.zarr</td>"}}
    assert store.portable({"name": "stdout", "text": path}) == {"name": "stdout", "text": "landcover.zarr"}


def test_what_xarray_shows_is_stored_as_text(store: ModuleType) -> None:
    shown = {"text/html": "<pre class='xr-text-repr-fallback'>…</pre>", "text/plain": "<xarray.Dataset>"}
    assert store.portable({"data": shown}) == {"data": {"text/plain": "<xarray.Dataset>"}}


def test_a_notebook_that_warns_is_not_stored(store: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "warns.ipynb"
    path.write_text(json.dumps(ONE_CELL))
    before = path.read_text()
    with pytest.raises(SystemExit, match="mind the gap"):
        store.store(path)
    assert path.read_text() == before
