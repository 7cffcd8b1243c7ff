"""Folders import only from folders below them, and each big library has one home."""

import ast
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[1] / "pipeline" / "landweave"

ADAPTERS = ("sources", "models", "store", "engine", "formats")
FEATURES = ("mapping", "aligning", "publishing", "evaluating", "comparing", "reporting", "viewing")
BELOW_SETUP = ("core", *ADAPTERS, *FEATURES, "config", "jobs")

MAY_IMPORT: dict[str, tuple[str, ...]] = {
    "core": ("core",),
    "config": ("core", "config"),
    "jobs": ("core", "jobs"),
    **{adapter: ("core", adapter) for adapter in ADAPTERS},
    # One client, one retry loop and one answer on credentials of object stores.
    "sources": ("core", "sources", "store.clients", "store.credentials", "store.gdal_options", "store.objects"),
    **{feature: ("core", *ADAPTERS, "jobs", feature) for feature in FEATURES},
    "setup": (*BELOW_SETUP, "setup"),
    "surface": (*BELOW_SETUP, "setup", "surface"),
    "api": (*BELOW_SETUP, "setup", "surface"),
    "cli": (
        *("api", "cli", "config", "core.consoles", "core.errors", "core.plain", "core.secrets", "core.yaml_text"),
        "engine.worker_process",
        *("jobs.progress", "jobs.runner", "models", "setup"),
    ),
    "__init__": ("api", "core.errors", "models"),
    "__main__": ("cli", "core.errors"),
}
"""Folders that each folder may import, by dotted path under ``landweave``: those below it, and itself."""

HOMES = {
    "dask": ("engine",),
    "distributed": ("engine",),
    "prometheus_client": ("engine",),
    "numba": ("core.compiled",),
    "torch": ("models",),
    "onnx": ("models",),
    "onnxruntime": ("models",),
    "timm": ("models._torchvision",),
    "segmentation_models_pytorch": ("models._torchvision",),
    "torchvision": ("models._torchvision",),
    "zarr": ("store",),
    "obstore": ("store",),
    "rasterio": ("sources", "formats"),
    "rio_tiler": ("viewing",),
    "titiler": ("viewing",),
    "stackstac": ("sources.stac",),
    "pystac_client": ("sources.stac",),
    "typer": ("cli",),
    "landweave_demo": ("cli",),
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
        return [f"{module} belongs to no folder: add it to MAY_IMPORT"]
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
        ("core.grid", "from landweave.store import objects", "landweave.store"),
        ("store.maps.store", "from landweave.models.cards import card", "landweave.models"),
        ("store.maps.store", "from ...engine import dask", "landweave.engine"),
        ("jobs.runner", "def later():\n    from landweave import mapping", "landweave.mapping"),
        ("mapping.job", "from landweave.aligning.job import AlignJob", "landweave.aligning"),
        ("config.schema", "from landweave.models.cards import card", "landweave.models"),
        ("jobs.runner", "from landweave.store import objects", "landweave.store"),
        ("setup.map_setup", "from landweave.surface import accessor", "landweave.surface"),
        ("surface.accessor", "from landweave import api", "landweave.api"),
        ("surface.accessor", "import torch", "torch"),
        ("cli.main", "from landweave import jobs", "landweave.jobs"),
        ("jobs.runner", "from distributed import Client", "distributed"),
        ("sources.mosaic.source", "import dask.array as da", "dask"),
        ("core.blending", "def f():\n    import torch", "torch"),
        ("models.networks.unet", "import timm", "timm"),
        ("api", "from zarr.storage import ObjectStore", "zarr"),
        ("store.maps.store", "import rasterio", "rasterio"),
        ("setup.map_setup", "import landweave_demo", "landweave_demo"),
        ("utils.text", "", "no folder"),
    ],
)
def test_the_check_sees_a_violation(module: str, source: str, named: str) -> None:
    (found,) = violations(module, source)
    assert named in found


def test_the_check_lets_the_allowed_pass() -> None:
    assert violations("store.maps.store", "import zarr\nfrom landweave.core import grid\nfrom .views import x") == []
    assert violations("surface.accessor", "from landweave.formats import cog\nfrom landweave.setup import x") == []
    assert violations("models.networks.unet", "import torch\nfrom landweave.models.cards.card import ModelCard") == []


def test_the_walks_through_the_code_are_short_and_name_modules_that_are_there() -> None:
    """A block passes 20 modules at most on its way to the ledger, an item takes 14 forms at most up to a tensor."""
    text = (PACKAGE.parents[1] / "docs" / "architecture.md").read_text(encoding="utf-8")
    walks = text.partition("## Two walks")[2]
    block, item = (part.split("\n\n")[1] for part in walks.split("\n\n**")[1:3])
    passed = dict.fromkeys(re.findall(r"`([\w/]+\.py)`", re.sub(r" \(or .*?\)", "", block)))
    missing = [name for name in passed if not (PACKAGE / name).is_file()]
    forms = re.findall(r"(?m)^\d+\. ", item)
    assert (missing, len(passed) <= 20, len(forms) <= 14) == ([], True, True), (missing, len(passed), len(forms))
    assert list(passed)[-1] == "store/ledger_store.py"
    assert len(forms) > 10


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
