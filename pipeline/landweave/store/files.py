"""Files in object stores: written to a disk, then put at their address in one request, never over a foreign one."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from landweave.core.errors import ConfigError, LandweaveError, OutputError
from landweave.store.objects import Target

SIDECAR = ".aux.xml"
"""Ending of the file beside a raster where GDAL keeps names of classes; it goes along."""


def parse_file(where: str, storage_options: Mapping[str, Any] | None = None) -> tuple[Target, str]:
    """Return the prefix of an object store and the name in it that a URL stands for.

    Parameters
    ----------
    where
        ``s3://bucket/folder/name.tif``.
    storage_options
        Of the object store.

    Raises
    ------
    ConfigError
        When it is no URL of an object in an object store.
    """
    target = Target.parse(where, storage_options)
    parent, name = target.beside("")
    if target.is_local or not name:
        raise ConfigError(f"{where} names no object of an object store: s3://bucket/folder/name.tif does.")
    return parent, name


def refuse_foreign_object(parent: Target, name: str, mark: str) -> None:
    """Make sure that an object may be written: nothing is there but an earlier one of the map with this mark.

    Parameters
    ----------
    parent, name
        From `parse_file`.
    mark
        Of the map.

    Raises
    ------
    OutputError
        When anything else is there; a map without a mark replaces nothing.
    """
    for each in (name, name + SIDECAR):
        found = parent.mark_of(each)
        if found is not None and (found != mark or mark in ("", "unknown")):
            what = f"the file of another map, {found[:12]}" if found else "no file of this map"
            raise OutputError(f"{parent}/{each} is there already and is {what}: choose another name, or remove it.")


@contextmanager
def replacing_object(parent: Target, name: str, mark: str) -> Iterator[Path]:
    """Yield a path on disk; what is written there is put in one request when the block ends well.

    A file beside it that ends in `SIDECAR` is put after it.

    Parameters
    ----------
    parent, name
        From `parse_file`.
    mark
        Of the map; kept with the object, so that a later file of the same map may replace it.

    Raises
    ------
    OutputError
        As `refuse_foreign_object` does, or when it cannot be written: an earlier one is as it was.
    """
    refuse_foreign_object(parent, name, mark)
    try:
        with tempfile.TemporaryDirectory(prefix="landweave-") as folder:
            written = Path(folder) / name
            yield written
            refuse_foreign_object(parent, name, mark)  # writing may have taken an hour
            put_path(written, parent, name, mark)
            beside = written.with_name(name + SIDECAR)
            if beside.exists():
                put_path(beside, parent, name + SIDECAR, mark)
            else:
                parent.delete(name + SIDECAR)
    except LandweaveError:
        raise
    except OSError as error:
        folder = tempfile.gettempdir()
        raise OutputError(f"Cannot write {parent}/{name}: {error}. Check {folder} and its free space.") from error


def put_path(path: Path, parent: Target, name: str, mark: str = "") -> None:
    """Put a file of this machine at an address, whole or not at all, over an older object.

    Parameters
    ----------
    path
        The file.
    parent, name
        Where it goes: a folder, or a prefix of an object store, and the name in it.
    mark
        Of the map that the file was made of, for `refuse_foreign_object`.

    Raises
    ------
    OutputError
        When it cannot be read or written.
    """
    try:
        with path.open("rb") as content:
            parent.put_file(name, content, mark)
    except LandweaveError:
        raise
    except OSError as error:
        raise OutputError(f"Cannot write {parent}/{name}: {error}.") from error
