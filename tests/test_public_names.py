"""The demo, the notebooks and the README use Landweave's public names only: what a user needs is public."""

from __future__ import annotations

import ast
import doctest
import inspect
import json
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

import landweave
from tests.helpers.commands import ROOT

PENDING = ROOT / "pipeline/landweave_demo/_pending.py"
"""Names that are still to come."""

DEMO = sorted(path for path in (ROOT / "pipeline/landweave_demo").rglob("*.py") if path != PENDING)
NOTEBOOKS = sorted((ROOT / "notebooks").glob("*.ipynb"))
README = ROOT / "README.md"

PUBLIC_MODULES = {"landweave.errors"}
"""Modules that are public names themselves."""


def code_of(path: Path) -> str:
    """The Python code of a module, a notebook's cells, or a document's blocks."""
    if path.suffix == ".ipynb":
        cells = json.loads(path.read_text())["cells"]
        lines = "\n".join("".join(cell["source"]) for cell in cells if cell["cell_type"] == "code").splitlines()
        return "\n".join("" if line.lstrip().startswith(("%", "!")) else line for line in lines)
    if path.suffix == ".md":
        return "\n".join(re.findall(r"^```python\n(.*?)^```", path.read_text(), re.MULTILINE | re.DOTALL))
    return path.read_text()


def inner_names(source: str) -> list[str]:
    """Inner modules of landweave that ``source`` imports or reaches as attributes of the package."""
    return sorted({name for name in names_used(source) if is_inner(name)})


def names_used(source: str) -> Iterator[str]:
    """Dotted names under ``landweave`` that are imported, or are attributes of the imported package."""
    package = {"landweave"}
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
            package |= {alias.asname for alias in node.names if alias.name == "landweave" and alias.asname}
        elif isinstance(node, ast.ImportFrom) and not node.level:
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in package:
            yield f"landweave.{node.attr}"


def is_inner(name: str) -> bool:
    """Whether a dotted name is a module of landweave, private, or inside a module."""
    top, _, rest = name.partition(".")
    if top != "landweave" or not rest or name in PUBLIC_MODULES:
        return False
    module = ROOT / "pipeline" / Path(*name.split("."))
    return module.is_dir() or module.with_suffix(".py").is_file() or "." in rest or rest.startswith("_")


@pytest.mark.parametrize("path", [*DEMO, *NOTEBOOKS, README], ids=lambda path: str(path.relative_to(ROOT)))
def test_only_public_names_are_imported(path: Path) -> None:
    assert inner_names(code_of(path)) == []


@pytest.mark.parametrize(
    "source",
    [
        "from landweave.core.grid import Grid",
        "from landweave import api",
        "import landweave.models",
        "import landweave.store.maps.views as views",
        "def later():\n    from landweave.formats import figure",
        "import landweave as lw\nlw.core.grid.Grid",
    ],
)
def test_the_check_sees_an_inner_name(source: str) -> None:
    assert inner_names(source)


@pytest.mark.parametrize(
    "source",
    [
        "import landweave as lw\nlw.open_map",
        "from landweave import open_map, run",
        "from landweave_demo import run_demo",
    ],
)
def test_the_check_lets_public_names_pass(source: str) -> None:
    assert inner_names(source) == []


def test_the_code_is_found() -> None:
    assert len(DEMO) > 20
    assert len(NOTEBOOKS) >= 2
    assert "import landweave" in code_of(README)


def test_whatever_takes_an_engine_takes_a_client_too() -> None:
    functions = {name: getattr(landweave, name) for name in landweave.__all__ if name.islower()}
    taken = {name: inspect.signature(each).parameters.keys() for name, each in functions.items() if callable(each)}
    on_workers = {name for name, keys in taken.items() if "engine" in keys}
    assert len(on_workers) == 11
    assert {name for name in on_workers if "client" not in taken[name]} == set()


def test_every_public_name_has_an_example_that_runs() -> None:
    """Those of the package's docstrings run as tests of its modules."""
    called = {name: getattr(landweave, name) for name in landweave.__all__ if name != "errors"}
    without = [name for name, each in called.items() if not doctest.DocTestParser().get_examples(each.__doc__ or "")]
    assert without == []
    skipped = [name for name, each in called.items() if "+SKIP" in each.__doc__]
    assert skipped == []
