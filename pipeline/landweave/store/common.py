"""What maps and cubes share as Zarr stores: root attributes, beginning a store safely, consolidated metadata."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import zarr

from landweave.core.errors import InputError, OutputError
from landweave.store.objects import REMOTE_ERRORS, Target, unwritable
from landweave.store.zarr_store import zarr_store

ROOT = "zarr.json"
"""Object that holds the metadata of a group."""

FORMAT_VERSION = 1
LIBRARIES = ("landweave", "zarr", "numcodecs", "numpy")

HALF_MADE = {"declared": False}
"""Root attributes of a store while it is created: where that was killed there is no store yet."""


def root_attributes(format_name: str, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return the root attributes of a store: plain JSON values.

    Parameters
    ----------
    format_name
        ``landweave-map`` or ``landweave-cube``.
    fields
        What else the root holds.
    """
    return {
        "Conventions": "CF-1.11",
        "format": format_name,
        "format_version": FORMAT_VERSION,
        **fields,
        "software": library_versions(),
    }


def check_format(attributes: Mapping[str, Any], format_name: str) -> None:
    """Make sure that this version reads a store with these root attributes.

    Parameters
    ----------
    attributes
        Of the root.
    format_name
        The format that is expected.

    Raises
    ------
    InputError
        When it is another format or version.
    """
    found = attributes.get("format"), attributes.get("format_version")
    if found != (format_name, FORMAT_VERSION):
        kind = format_name.removeprefix("landweave-")
        raise InputError(
            f"Not a Landweave {kind}: format {found[0]!r} version {found[1]!r}, {format_name!r} version "
            f"{FORMAT_VERSION} is wanted."
        )


def library_versions() -> dict[str, str]:
    """Return the versions of the libraries that decide which bytes are written, by name."""
    installed: dict[str, str] = {}
    for library in LIBRARIES:
        try:
            installed[library] = metadata.version(library)
        except metadata.PackageNotFoundError:  # used from a source folder
            installed[library] = "unknown"
    return installed


def group_attributes(target: Target, path: str = "") -> dict[str, Any] | None:
    """Return the attributes of a group, in one request; None where there is no group.

    Parameters
    ----------
    target
        The store.
    path
        The group in it; the root when empty.

    Raises
    ------
    InputError
        When the metadata cannot be parsed.
    """
    name = f"{path}/{ROOT}".lstrip("/")
    content = target.get(name)
    if content is None:
        return None
    try:
        return dict(json.loads(content).get("attributes", {}))
    except ValueError as error:
        raise InputError(f"{target}/{name} is not readable metadata: {error}.") from error


def read_attributes(target: Target) -> dict[str, Any] | None:
    """Return the root attributes of a map or cube; None where there is no Zarr store, or a half-made one.

    Raises
    ------
    InputError
        When something else is there.
    """
    attributes = group_attributes(target)
    return None if attributes == HALF_MADE else attributes


def find_attributes(target: Target) -> dict[str, Any] | None:
    """Return the root attributes of a map or cube, in one request; None where a store may be created.

    Raises
    ------
    OutputError
        When something that is no Zarr store is there: Zarr clears the place of a new store, whatever it holds.
    """
    attributes = group_attributes(target)
    if attributes is None and (found := target.peek()):
        raise OutputError(
            f"{target} already holds {found}, which is no part of a map or cube: a store made there would remove it. "
            "Choose another output, a folder of its own."
        )
    return None if attributes == HALF_MADE else attributes


def refuse_occupied(target: Target) -> None:
    """Make sure that a store may be created at ``target``: it is empty, or holds one whose creation was killed.

    Raises
    ------
    OutputError
        When anything else is there.
    """
    if find_attributes(target) is not None:
        raise OutputError(f"{target} already holds a Zarr store: open it, or choose another output.")


def writable_group(target: Target, path: str = "") -> zarr.Group:
    """Return a group of a store, to be written; the root when ``path`` is empty."""
    return zarr.open_group(zarr_store(target), path=path, mode="r+", zarr_format=3, use_consolidated=False)


def consolidate(target: Target) -> None:
    """Gather all metadata in the root, one object: a reader that opens the store through it sees one state of it.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    with warnings.catch_warnings(), writing(target, "write metadata"):
        # Readers that do not know consolidated metadata of format 3 ignore it: nothing depends on it.
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated metadata.*")
        zarr.consolidate_metadata(zarr_store(target))


@contextmanager
def writing(target: Target, what: str) -> Iterator[None]:
    """Turn what a store raises inside into one `OutputError`.

    Parameters
    ----------
    target
        Where is written.
    what
        What could not be done, as ``create a map``.

    Raises
    ------
    OutputError
        When the object store or file system refuses.
    """
    try:
        yield
    except OutputError:
        raise
    except REMOTE_ERRORS as error:
        raise unwritable(target, what, error) from error
