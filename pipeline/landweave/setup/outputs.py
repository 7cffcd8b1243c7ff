"""Outputs of a configuration: that none lies in another, nor where an input is read, nor in the place of a file."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from itertools import permutations
from pathlib import Path
from typing import Any

from landweave.config.schema import (
    CampaignYear,
    CubeConfig,
    CubeInput,
    ElevationInput,
    InputSection,
    MosaicInput,
    PatchesInput,
    StacInput,
)
from landweave.core.errors import OutputError
from landweave.formats.products import refuse_foreign
from landweave.store.files import parse_file, refuse_foreign_object, replacing_object
from landweave.store.objects import Target


def check_places(config: CubeConfig) -> None:
    """Make sure that no output lies in another, and that nothing which is read lies in an output. Opens no file.

    Raises
    ------
    OutputError
        With both keys and both paths.
    """
    outputs, inputs = dict(_outputs(config)), dict(_inputs(config))
    stores = {key for key in (*outputs, *inputs) if key.endswith("store")}
    for (inner, path), (outer, other) in permutations((outputs | inputs).items(), 2):
        # What is in the place of a COG or a picture already is refused by `check_files`.
        pair = {inner, outer}
        if not (pair & outputs.keys() if outer in stores else pair <= outputs.keys()):
            continue
        place, around = (_place(config, each) for each in (path, other))
        is_own_cube = place == around and pair <= stores - {"output.store"}  # what is aligned is read there
        if place[: len(around)] == around and not is_own_cube:
            raise OutputError(_problem(inner, path, outer, other, lost=inner in inputs and outer in stores))


def _problem(inner: str, path: str, outer: str, other: str, *, lost: bool) -> str:
    if lost:
        return f"{outer} ({other}) already holds {inner} ({path}), which a store made there would remove: move one."
    return f"{inner} ({path}) is or lies in {outer} ({other}): choose another place for one of them."


def check_files(config: CubeConfig, mark: str) -> None:
    """Make sure that the files beside a map can be written: nothing is there but earlier ones of this map.

    Parameters
    ----------
    config
        Names the files.
    mark
        Fingerprint of the map.

    Raises
    ------
    OutputError
        With the key and what is there, or why its folder cannot be written.
    """
    for key, where in _outputs(config):
        if not key.endswith(("store", "folder")):
            try:
                _check_file(config, config.path(where), mark)
            except OutputError as error:
                raise OutputError(f"{key}: {error}") from error


def _check_file(config: CubeConfig, where: str, mark: str) -> None:
    if "://" in where:
        parent, name = parse_file(where, config.output.storage_options if config.output else None)
        refuse_foreign_object(parent, name, mark)
    else:
        refuse_foreign(where, mark)
        parent = Target.parse(Path(where).parent)
    parent.check_writable()


def product_exists(where: str, storage_options: Mapping[str, Any]) -> bool:
    """Whether there is a file at a path or a URL of an object store.

    Parameters
    ----------
    where, storage_options
        As of `write_product`.
    """
    if "://" not in where:
        return Path(where).exists()
    parent, name = parse_file(where, storage_options)
    return parent.exists(name)


def write_product(write: Callable[[Path], object], where: str, storage_options: Mapping[str, Any], mark: str) -> None:
    """Write a file made of a map to a path, or to a URL of an object store: whole, and over its own earlier ones alone.

    Parameters
    ----------
    write
        Writes it to a path on disk.
    where
        Path or URL.
    storage_options
        Of the object store.
    mark
        Of the map (`landweave.formats.products.mark_of`).

    Raises
    ------
    OutputError
        When something else is there, or it cannot be written.
    """
    if "://" not in where:
        write(Path(where))
        return
    with replacing_object(*parse_file(where, storage_options), mark) as path:
        write(path)


def _outputs(config: CubeConfig) -> Iterator[tuple[str, str]]:
    if config.cube:
        yield "cube.store", config.cube.store
    if config.output:
        yield "output.store", config.output.store
        named = {"output.cog": config.output.cog, "output.picture": config.output.picture}
        yield from ((key, path) for key, path in named.items() if path is not None)
    if config.publish:
        yield "publish.folder", config.publish.folder


def _inputs(config: CubeConfig) -> Iterator[tuple[str, str]]:
    if config.area and config.area.file:
        yield "area.file", config.area.file
    if config.model and config.model.card.endswith((".yaml", ".yml")):
        yield "model.card", config.model.card
    if config.model and config.model.weights:
        yield "model.weights", config.model.weights
    for name, section in config.inputs.items():
        yield from ((f"inputs.{name}.{key}", path) for key, path in _paths(section))


def _paths(section: InputSection) -> Iterator[tuple[str, str]]:
    """Every path that an input is read from, by its key; patterns as they are written."""
    if isinstance(section, CubeInput):
        yield "store", section.store
    elif isinstance(section, StacInput):
        yield "catalog", section.catalog
    elif isinstance(section, PatchesInput):
        yield "dates_file", section.dates_file
        for key, files in (("files", section.files), ("masks", section.masks)):
            listed = (files,) if isinstance(files, str) else files
            yield from ((f"{key}[{number}]", path) for number, path in enumerate(listed))
    elif isinstance(section, MosaicInput | ElevationInput):
        parts = section.bands if isinstance(section, MosaicInput) else {"dsm": section.dsm, "dtm": section.dtm}
        for name, part in parts.items():
            files = (part.files,) if isinstance(part.files, str) else part.files
            yield from ((f"{name}.files[{number}]", path) for number, path in enumerate(files))
    year = section.stated("year")
    if isinstance(year, CampaignYear):
        yield "year.file", year.file


def _place(config: CubeConfig, path: str) -> tuple[str, ...]:
    """The parts of a path behind all symbolic links, in lower case: some disks do not tell upper from lower."""
    where = config.path(path)
    text = where if "://" in where.removeprefix("file://") else os.path.realpath(where.removeprefix("file://"))
    return tuple(text.rstrip("/").lower().split("/"))
