"""The rooms keep to themselves: a module imports only from rooms below, each big library has one home."""

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pipeline" / "landweave"

RULES = frozenset(
    [
        "errors",
        "lattice",
        "grid",
        "legend",
        "legends",
        "blending",
        "timeseries",
        "budget",
        "metrics",
        "pyramid",
        "shipped",
        "tables",
    ]
)
ADAPTERS = frozenset(["sources", "models", "store", "engine", "formats"])
CORE = RULES | {"ports"}

MAY_IMPORT: dict[str, frozenset[str]] = {
    **dict.fromkeys(RULES, RULES),
    "ports": RULES,
    **{adapter: CORE | {adapter} for adapter in ADAPTERS},
    "work": CORE | {"work"},
    # A step describes its blocks in the values that any block job is planned and recognised by; never the reverse.
    "steps": CORE | {"steps", "work.fingerprint", "work.plan"},
    "testing": CORE,  # stands in for every adapter, so it knows none
    "config": CORE,  # what was asked, not yet who does it
    "satellites": CORE | {"config", "models", "sources", "store"},
    "ground": CORE | ADAPTERS | {"config", "deliveries", "satellites", "steps"},
    "aligning": CORE | ADAPTERS | {"aligning", "steps", "work"},
    "mapping": CORE | {"assembly", "store", "work"},
    "weaving": CORE | ADAPTERS | {"aligning", "config", "deliveries", "ground", "satellites"},
    "assembly": CORE | ADAPTERS | {"config", "ground", "steps", "work"},
    "deliveries": CORE | {"config", "sources"},
    "selection": CORE | {"config", "models", "store"},
    "lazy": CORE | ADAPTERS | {"assembly", "config", "selection", "steps", "work"},
    "api": CORE
    | ADAPTERS
    | {"aligning", "api", "assembly", "config", "lazy", "mapping", "satellites", "steps", "weaving", "work", "demo"},
    "demo": CORE | ADAPTERS | {"api", "config", "demo", "work"},  # a user of the package, and it trains a model
    "catalogue": CORE | {"assembly", "config", "models", "steps"},
    "cli_models": frozenset({"catalogue", "cli_models"}),
    "cli": frozenset(
        {"api", "cli", "cli_models", "config", "demo", "errors", "work.progress"}
    ),  # it owns the terminal that progress is drawn on
    "__init__": frozenset({"api"}),
    "__main__": frozenset({"cli", "errors"}),
}
"""Rooms that each room may import, by dotted path under ``landweave``."""

HOMES = {
    "dask": ("engine",),
    "distributed": ("engine",),
    "torch": ("models", "demo.train"),
    "timm": ("models._torchvision",),
    "segmentation_models_pytorch": ("models._torchvision",),
    "torchvision": ("models._torchvision",),
    "zarr": ("store",),
    "obstore": ("store",),
    "rasterio": ("sources", "formats", "demo"),
    "stackstac": ("sources.stac",),
    "pystac_client": ("sources.stac",),
    "typer": ("cli", "cli_models"),
}
"""Modules that alone may import a library."""


def within(name: str, room: str) -> bool:
    return name == room or name.startswith(f"{room}.")


def imports(module: str, source: str) -> Iterator[str]:
    """Every dotted name that ``source`` imports, wherever it stands; relative ones made absolute."""
    package = ["landweave", *module.split(".")]
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = [*package[: -node.level], node.module or ""] if node.level else [node.module or ""]
            yield from (".".join(filter(None, [*base, alias.name])) for alias in node.names)


def violations(module: str, source: str) -> list[str]:
    """What ``source`` imports against the rules; ``module`` is its dotted path under ``landweave``."""
    room = module.split(".")[0]
    if room not in MAY_IMPORT:
        return [f"{module} belongs to no room: add it to MAY_IMPORT"]
    wrong = []
    for name in imports(module, source):
        top, _, inner = name.partition(".")
        if top == "landweave" and inner and not any(within(inner, allowed) for allowed in MAY_IMPORT[room]):
            wrong.append(f"{module} imports landweave.{inner}")
        if top in HOMES and not any(within(module, home) for home in HOMES[top]):
            wrong.append(f"{module} imports {top}")
    return wrong


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" and len(parts) > 1 else parts)


@pytest.mark.parametrize("path", sorted(PACKAGE.rglob("*.py")), ids=dotted)
def test_a_module_imports_only_from_below(path: Path) -> None:
    assert violations(dotted(path), path.read_text()) == []


@pytest.mark.parametrize(
    ("module", "source", "named"),
    [
        ("grid", "from landweave.ports import Source", "landweave.ports"),
        ("ports", "import landweave.store.maps", "landweave.store.maps"),
        ("store.maps", "from landweave.models import card", "landweave.models"),
        ("store.maps", "from ..engine import dask", "landweave.engine"),
        ("work.runner", "def later():\n    from landweave import steps", "landweave.steps"),
        ("steps.map", "from landweave.work.runner import run", "landweave.work.runner"),
        ("cli", "from landweave import work", "landweave.work"),
        ("work.runner", "from distributed import Client", "distributed"),
        ("sources.mosaic", "import dask.array as da", "dask"),
        ("blending", "def f():\n    import torch", "torch"),
        ("demo.scene", "import torch.nn", "torch"),
        ("models.unet", "import timm", "timm"),
        ("api", "from zarr.storage import ObjectStore", "zarr"),
        ("store.maps", "import rasterio", "rasterio"),
        ("utils", "", "no room"),
    ],
)
def test_the_check_sees_a_violation(module: str, source: str, named: str) -> None:
    (found,) = violations(module, source)
    assert named in found


def test_the_check_lets_the_allowed_pass() -> None:
    assert violations("store.maps", "import zarr\nfrom landweave import grid\nfrom .cubes import Cube") == []
    assert violations("demo.train", "import torch\nfrom landweave.models.card import Card") == []


def test_importing_the_package_loads_nothing_heavy() -> None:
    heavy = [
        "numpy",
        "xarray",
        "dask",
        "distributed",
        "torch",
        "zarr",
        "rasterio",
        "pydantic",
        "landweave.api",
    ]
    code = f"import landweave, sys; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"
