"""One word per idea: modules, classes, keys of configurations and cards, and stored names avoid replaced words."""

from __future__ import annotations

import ast
import importlib
import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, get_args, get_origin

import pytest
import yaml
from pydantic import BaseModel

ROOT = Path(__file__).parents[1]
PACKAGE = ROOT / "pipeline" / "landweave"

AT_THE_ROOT = {"__init__", "__main__", "api"}
"""Modules that stand in no folder."""

REPLACED = {
    "alive": "peak memory",
    "answer answers answering": "prediction, probabilities",
    "assembly": "setup",
    "blank": "dummy inputs",
    "borrow": "dataset pool",
    "builder builders": "factory",
    "called": "input checks",
    "canvas": "block accumulator",
    "carrier": "job plugin",
    "choice chosen kept": "date selection",
    "collar": "nodata border",
    "decide decision": "argmax",
    "deliveries": "mosaic inputs",
    "divisor": "std, scale",
    "fellows": "batching",
    "footprint footprints": "window footprint, bounds, tile index",
    "fused": "unet_utae",
    "give": "trim",
    "ground": "setup context, bounds",
    "guard": "failure policy plugin",
    "handle handles": "dataset pool",
    "header headers": "raster facts",
    "heap": "malloc",
    "held": "loaded input",
    "lot": "block action",
    "meaning": "fingerprint fields",
    "others": "min_untrained_size",
    "pass passes": "observation, time",
    "placements": "placement consistency",
    "price prices": "cost",
    "reach": "halo, receptive field",
    "rung": "date_fallback",
    "satellites": "series inputs",
    "selection": "setup",
    "shipped": "package_data",
    "spoilt": "max_cloud_fraction",
    "step steps": "observation, job",
    "strip strips": "observation",
    "subtrahend": "mean",
    "taps": "kernel weights",
    "told tell tells": "the field's word",
    "weave weaving woven": "cube, aligning",
}
"""Words that no name contains, whatever else it is made of, and what is said instead."""

COMPOUNDS = {"date_selection", "window_footprint"}
"""The names in which a word of `REPLACED` has its one place."""

CODE_NAMES = {
    "axes": "pixel coordinates",
    "band": "row accumulator",
    "lines": "kernel weights",
    "networks": "architectures",
    "nodes": "pixel coordinates",
    "place": "georeference",
    "points": "kernel weights",
    "task": "block action",
    "warping": "pixel coordinates",
    "work": "jobs",
}
"""Whole names that no module and no class has, of words that have a meaning elsewhere."""

FOLDERS = {"models/networks"}
"""A folder whose name is replaced only as that of a module."""

YAML_NAMES = {"clouds": "cloud_mask", "from": "source", "key": "datatake_id", "options": "storage_options"}
"""Whole names that no key of a configuration or card has."""

STORED_NAMES = {"key": "datatake_id", "state": "pixel_class", "values": "band_data"}
"""Whole names that no array or coordinate of a map or a cube has; a ledger has the ``state`` of blocks."""


@dataclass(frozen=True)
class Name:
    """A name that people meet, and where it is defined."""

    text: str
    where: str

    @property
    def words(self) -> str:
        """Lower case, joined by underscores: ``WindowFootprint`` is ``window_footprint``."""
        spaced = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", self.text)
        return spaced.lower().strip("_")


def problems(names: list[Name], whole: Mapping[str, str]) -> list[str]:
    """One line for each name with a replaced word, or that is one of ``whole``: where, and what the field says."""
    words = {word: instead for line, instead in REPLACED.items() for word in line.split()}
    found = []
    for name in names:
        remaining = "_".join(re.split("|".join(sorted(COMPOUNDS)), name.words))
        hits = [f"{word!r} (now: {words[word]})" for word in remaining.split("_") if word in words]
        if name.words in whole:
            hits.append(f"the whole name (now: {whole[name.words]})")
        found += [f"{name.where}: {name.text} has {hit}" for hit in hits]
    return found


def sources() -> Iterator[tuple[str, ast.Module]]:
    for path in sorted(PACKAGE.rglob("*.py")):
        yield str(path.relative_to(PACKAGE)), ast.parse(path.read_text())


def module_names() -> list[Name]:
    """Every module and folder of the package."""
    paths = {path.relative_to(PACKAGE) for path in PACKAGE.rglob("*.py") if path.stem != "__init__"}
    folders = {path.relative_to(PACKAGE).parent for path in PACKAGE.rglob("*.py")} - {Path()}
    names = sorted(paths | folders)
    return [Name(path.stem, str(path)) for path in names if path.as_posix() not in FOLDERS]


def class_names() -> list[Name]:
    """Every class, nested and private ones too."""
    return [
        Name(node.name, f"{path}:{node.lineno}")
        for path, tree in sources()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    ]


def schema_classes() -> list[type[BaseModel]]:
    """Every pydantic model of the package that a person fills in a YAML file."""
    for path, tree in sources():
        if any(isinstance(node, ast.ImportFrom) and node.module == "pydantic" for node in tree.body):
            importlib.import_module("landweave." + path.removesuffix(".py").replace("/", "."))
    found, waiting = [], [BaseModel]
    while waiting:
        for child in waiting.pop().__subclasses__():
            waiting.append(child)
            # Files of other projects that are read have their words, and so has what is imported of other packages.
            if child.__module__.startswith("landweave.") and "flair_import" not in child.__module__:
                found.append(child)
    return found


def literals(annotation: Any) -> Iterator[str]:
    """Words that a field takes as its value."""
    if get_origin(annotation) is Literal:
        yield from (value for value in get_args(annotation) if isinstance(value, str))
    for part in get_args(annotation):
        yield from literals(part)


def yaml_names() -> list[Name]:
    """Keys, and values that are one of a few words, of configurations and cards: by schema, and in files that exist."""
    names = []
    for schema in schema_classes():
        where = f"{schema.__module__}.{schema.__qualname__}"
        for key, field in schema.model_fields.items():
            names += [Name(field.alias or key, where), *(Name(value, where) for value in literals(field.annotation))]
    for path in sorted((ROOT / "configs").rglob("*.yaml")):
        names += [Name(key, path.name) for key in keys_of(yaml.load(path.read_text(), yaml.CSafeLoader))]
    return sorted(set(names), key=lambda name: (name.where, name.text))


def keys_of(content: Any) -> Iterator[str]:
    if isinstance(content, dict):
        yield from (str(key) for key in content)
        for value in content.values():
            yield from keys_of(value)
    elif isinstance(content, list):
        for value in content:
            yield from keys_of(value)


def stored_names(folder: Path) -> list[Name]:
    """Every array of a Zarr store, coordinates included."""
    return [Name(path.parent.name, str(path.parent.relative_to(folder))) for path in folder.rglob("zarr.json")]


def test_modules_have_the_fields_words() -> None:
    assert problems(module_names(), CODE_NAMES) == []


def test_classes_have_the_fields_words() -> None:
    assert problems(class_names(), CODE_NAMES) == []


def test_configurations_and_cards_have_the_fields_words() -> None:
    certificates = ("landweave.config.schema.SecuritySection", "address.yaml")  # TLS has no other word for a key
    names = [name for name in yaml_names() if name.text != "key" or name.where not in certificates]
    assert problems(names, YAML_NAMES) == []


def test_maps_and_ledgers_have_the_fields_words(tmp_path: Path) -> None:
    from landweave.store.maps.store import create_map, create_map_ledger
    from landweave.store.objects import Target
    from tests.store.samples import template

    store = create_map(Target.parse(tmp_path / "map"), template(probability=True, date_fallback=True))
    create_map_ledger(store)
    names = stored_names(tmp_path)
    assert {"landcover", "date_fallback", "probability", "reason"} <= {name.text for name in names}
    assert problems(names, {}) == []
    assert problems([name for name in names if "/ledger/" not in name.where], STORED_NAMES) == []


def test_cubes_have_the_fields_words(tmp_path: Path) -> None:
    from landweave.store.objects import Target
    from tests.store.cubes.cube_samples import align, raster, series

    align(Target.parse(tmp_path / "cube"), series(), raster())
    names = stored_names(tmp_path)
    assert {"band_data", "pixel_class", "valid", "datatake_id"} <= {name.text for name in names}
    assert problems([name for name in names if "/ledger/" not in name.where], STORED_NAMES) == []


def test_no_class_name_stands_for_two_things() -> None:
    names = class_names()
    counts = Counter(name.text for name in names)
    assert [f"{name.where}: {name.text}" for name in names if counts[name.text] > 1] == []


def test_modules_stand_in_folders() -> None:
    assert {path.stem for path in PACKAGE.glob("*.py")} == AT_THE_ROOT


@pytest.mark.parametrize(
    "text",
    ["Canvas", "_Strip", "HeldInput", "WeavingRule", "strip_files", "date_rung", "others_from", "give_back", "ground",
     "SpoiltDates", "Footprint", "cube_selection"],
)  # fmt: skip
def test_a_replaced_word_is_seen_in_a_name(text: str) -> None:
    assert problems([Name(text, "here")], {})


@pytest.mark.parametrize(
    ("text", "whole"),
    [("Band", CODE_NAMES), ("warping", CODE_NAMES), ("options", YAML_NAMES), ("from", YAML_NAMES),
     ("values", STORED_NAMES), ("state", STORED_NAMES)],
)  # fmt: skip
def test_a_replaced_name_is_seen(text: str, whole: Mapping[str, str]) -> None:
    assert problems([Name(text, "here")], whole)
    assert not problems([Name(f"{text}_more", "here")], whole)


@pytest.mark.parametrize(
    "text", ["DateSelection", "WindowFootprint", "date_selection", "storage_options", "Bandwidth", "stripes"]
)
def test_the_fields_words_pass(text: str) -> None:
    assert problems([Name(text, "here")], CODE_NAMES | YAML_NAMES | STORED_NAMES) == []


def test_the_lists_are_consistent() -> None:
    words = Counter(word for line in REPLACED for word in line.split())
    assert max(words.values()) == 1
    assert not set(words) & {*CODE_NAMES, *YAML_NAMES, *STORED_NAMES}
