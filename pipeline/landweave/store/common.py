"""What maps and cubes share as Zarr stores: root attributes, beginning a store safely, consolidated metadata."""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from importlib import metadata
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.core.group import GroupMetadata
from zarr.storage import MemoryStore, StorePath

from landweave.core.errors import InputError, LandweaveError, OutputError, ReadError
from landweave.store.objects import REMOTE_ERRORS, Target, unwritable
from landweave.store.zarr_store import zarr_store

ROOT = "zarr.json"
"""Object that holds the metadata of a group."""

FORMAT_VERSION = 1
LIBRARIES = ("landweave", "zarr", "numcodecs", "numpy")

_WRITTEN_AT_ONCE = 16
"""Small objects of a declaration in flight: there are some twenty a group, and S3 takes 20 to 50 ms for each."""

HALF_MADE = {"declared": False}
"""Root attributes of a store while it is created: where that was killed there is no store yet."""


@contextmanager
def parsing(what: str) -> Iterator[None]:
    """Turn what damaged metadata, or a store out of reach, make Zarr and its readers raise inside into our errors.

    Parameters
    ----------
    what
        The store and the part of it that is read.

    Raises
    ------
    InputError
        When a field is missing, or is not what this package writes.
    ReadError
        When the object store or file system does not respond, or refuses.
    """
    try:
        yield
    except LandweaveError as error:
        if what in str(error):
            raise
        raise InputError(f"{what}: {error}") from error
    except (LookupError, TypeError, ValueError, AttributeError, ArithmeticError, FileNotFoundError) as error:
        raise InputError(
            f"{what} is damaged, or not as this version writes it ({type(error).__name__}: {error!s:.200}). `landweave "
            "verify` restores what it can; else bring it back from a copy, or write it anew."
        ) from error
    except REMOTE_ERRORS as error:
        raise ReadError(
            f"{what} cannot be read: {error!s:.200}. Check the place, its rights and the credentials."
        ) from error


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
    with parsing(f"{target}/{name}"):
        return dict(json.loads(content).get("attributes", {}))


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


def check_arrays(
    what: str, arrays: Mapping[str, NDArray[Any]], expected: Mapping[str, tuple[tuple[int, ...], np.dtype[Any]]]
) -> None:
    """Make sure that a block has the arrays that its store declares.

    Parameters
    ----------
    what
        The block and its store, as messages name them.
    arrays
        By name.
    expected
        Shape and dtype by name.

    Raises
    ------
    OutputError
        When one is missing, not declared, or of another shape or dtype.
    """
    if set(arrays) != set(expected):
        raise OutputError(f"{what} has arrays {sorted(arrays)}, {tuple(expected)} are wanted.")
    for name, (shape, dtype) in expected.items():
        found = arrays[name]
        if found.shape != shape or found.dtype != dtype:
            raise OutputError(f"{what}: {name} is {found.dtype} {found.shape}, {dtype} {shape} is wanted.")


def unread_group(target: Target, path: str = "", attributes: Mapping[str, Any] | None = None) -> zarr.Group:
    """Return a group of a store, to be written: without a request, so that it knows no attributes but those given.

    Parameters
    ----------
    target
        The store.
    path
        The group in it; the root when empty.
    attributes
        Of the group.
    """
    metadata = GroupMetadata(attributes=dict(attributes or {}))
    return zarr.Group(zarr.AsyncGroup(metadata, StorePath(zarr_store(target), path)))


@contextmanager
def declaring(target: Target, path: str) -> Iterator[MemoryStore]:
    """Yield a store in memory; what is declared in it at ``path`` is then written to ``target``, over what was there.

    Zarr reads the metadata of every parent for each array that it creates: in memory that is no request. The group's
    own metadata comes last: where this was killed there is no such group. Parents below the root are created where
    they are missing.

    Parameters
    ----------
    target
        The store.
    path
        The group in it, not the root.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    declared: dict[str, Any] = {}
    yield MemoryStore(declared)
    group = f"{path}/{ROOT}"
    contents = {name: content.to_bytes() for name, content in declared.items() if name != ROOT}
    below = [name for name in contents if name.startswith(f"{path}/") and name != group]
    with writing(target, f"declare {path}"):
        target.delete(group)
        del unread_group(target)[path]
        with ThreadPoolExecutor(_WRITTEN_AT_ONCE) as pool:
            list(pool.map(lambda name: target.put(name, contents[name]), below))
        for parent in contents.keys() - {group, *below}:
            target.create(parent, contents[parent])
        target.put(group, contents[group])


def declared_contents(path: str, declare: Callable[[MemoryStore], object]) -> dict[str, bytes]:
    """Return the metadata and coordinates of a group as they are declared, by name.

    Parameters
    ----------
    path
        The group in its store.
    declare
        Declares it in a store in memory.
    """
    declared: dict[str, Any] = {}
    declare(MemoryStore(declared))
    return {name: content.to_bytes() for name, content in declared.items() if name.startswith(f"{path}/")}


def write_again(
    target: Target, contents: Mapping[str, bytes], sizes: Mapping[str, int], *, writable: bool
) -> list[str]:
    """Write objects that are missing or damaged; one line for each.

    Parameters
    ----------
    target
        Where they are stored.
    contents
        What they hold, by key.
    sizes
        Bytes of every object that is stored, by its key.
    writable
        Whether they are written, or only named.
    """
    notes = []
    for name, content in contents.items():
        if writable:
            target.put(name, content)
        found = "damaged" if name in sizes else "missing"
        notes.append(f"{name} was {found} and is written again" if writable else f"{name} is {found}")
    return notes


def consolidate(target: Target, attributes: Mapping[str, Any] | None = None) -> None:
    """Gather all metadata in the root, one object: a reader that opens the store through it sees one state of it.

    Parameters
    ----------
    target
        The store.
    attributes
        Of its root; read when not given.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    gathered: dict[str, Any] = {}
    with warnings.catch_warnings(), writing(target, "write metadata"):
        # Readers that do not know consolidated metadata of format 3 ignore it: nothing depends on it.
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated metadata.*")
        # A run that was killed while it removed an old ledger has left some of it.
        warnings.filterwarnings("ignore", message="Object at .* is not recognized")
        if attributes is None:
            attributes = zarr.open_group(zarr_store(target), mode="r", zarr_format=3, use_consolidated=False).attrs
        root = unread_group(target, attributes=attributes)
        nodes = {path: node.metadata for path, node in root.members(max_depth=None)}
        store = MemoryStore(gathered)
        dict(zarr.create_hierarchy(store=store, nodes={"": root.metadata, **nodes}))
        zarr.consolidate_metadata(store)
        target.put(ROOT, gathered[ROOT].to_bytes())


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
