"""Files in object stores, as GDAL and the store's own client know them: options, versions, listings."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from fnmatch import fnmatchcase
from functools import lru_cache
from typing import Any

from rasterio.session import Session

from landweave.core.errors import InputError, MissingFileError, OutputError, ReadError
from landweave.store.clients import RETRY
from landweave.store.credentials import Options, is_true, own_name
from landweave.store.gdal_options import file_options
from landweave.store.objects import SCHEMES, Target


def in_object_store(href: str) -> bool:
    """Whether a file is addressed by ``s3://``, ``gs://`` or ``az://``."""
    return href.partition("://")[0] in SCHEMES and "://" in href


def vsi_name(href: str) -> str:
    """A file in an object store as GDAL itself names it: rasterio would take ``#`` and ``%20`` for those of a URL.

    >>> vsi_name("s3://tiles/a #1.tif")
    '/vsis3/tiles/a #1.tif'
    """
    scheme, _, key = href.partition("://")
    return f"/vsi{scheme}/{key}"


class StoreSession(Session):  # type: ignore[misc]  # rasterio has no types here
    """Options of an object store for GDAL; what they leave open GDAL takes from the environment and profiles.

    Parameters
    ----------
    href
        Address of the file.
    storage_options
        Of its store.
    """

    def __init__(self, href: str, storage_options: Options) -> None:
        self.credentials = file_options(href, storage_options)

    def get_credential_options(self) -> dict[str, str]:
        """The options by GDAL's names."""
        return self.credentials


_SILENT_S = 30.0
_SILENT: dict[Target, tuple[float, str]] = {}
"""Prefixes of stores that did not respond, when and how: a series may have thousands of files."""


def object_version(href: str, storage_options: Options, *, again: bool = False) -> tuple[int, str]:
    """Bytes of a file in an object store, and its ETag or time.

    Parameters
    ----------
    href
        Its address.
    storage_options
        Of its store.
    again
        Whether a store is asked that did not respond a moment ago.

    Raises
    ------
    ReadError
        When it is not there, or the store does not say.
    """
    parent, name = _parent(href, storage_options)
    when, problem = _SILENT.get(parent, (-_SILENT_S, ""))
    if problem and not again and time.monotonic() - when < _SILENT_S:
        raise ReadError(f"{href} cannot be read: {problem}")
    with _reading(href, parent):
        return parent.version(name)


def object_digest(href: str, storage_options: Options, algorithm: str) -> str:
    """Hexadecimal digest of a file in an object store, which is fetched whole.

    Parameters
    ----------
    href
        Its address.
    storage_options
        Of its store.
    algorithm
        As `hashlib` calls it.

    Raises
    ------
    ReadError
        When it is not there, or cannot be read.
    """
    parent, name = _parent(href, storage_options)
    with _reading(href, parent):
        return parent.digest(name, algorithm)


def object_content(href: str, storage_options: Options, most: int) -> bytes:
    """The bytes of a file in an object store, its first ones where it is larger than ``most``.

    Parameters
    ----------
    href
        Its address.
    storage_options
        Of its store.
    most
        Bytes that are read.

    Raises
    ------
    ReadError
        When it is not there, or cannot be read.
    """
    parent, name = _parent(href, storage_options)
    with _reading(href, parent):
        return parent.start_of(name, most)


def object_names(folder: str, storage_options: Options) -> set[str] | None:
    """Names of the objects that lie directly in a folder of an object store; None where it may not be listed.

    Parameters
    ----------
    folder
        Its address.
    storage_options
        Of its store.

    Raises
    ------
    ReadError
        When the store does not respond.
    """
    try:
        return _store(folder, storage_options).names()
    except OutputError as error:
        if RETRY.outage.lasts:
            raise ReadError(f"{folder} cannot be listed: {error}") from error
        return None


@contextmanager
def _reading(href: str, parent: Target) -> Iterator[None]:
    try:
        yield
    except FileNotFoundError:
        gone = "HTTP error 404 (it is not there: it was moved or removed)"
        raise MissingFileError(f"{href} cannot be read: {gone}") from None
    except OutputError as error:
        if RETRY.outage.lasts:
            _SILENT[parent] = time.monotonic(), str(error)
        raise ReadError(f"{href} cannot be read: {error}") from error


def list_objects(pattern: str, storage_options: Options, endings: Sequence[str]) -> list[str]:
    """Addresses of the files that a prefix ending in ``/``, or a pattern, names, sorted; else ``pattern`` itself.

    Parameters
    ----------
    pattern
        Address of a file, a prefix or a pattern; ``*`` also stands for ``/``.
    storage_options
        Of the store.
    endings
        Of the files that are taken from a prefix.

    Raises
    ------
    InputError
        When it names no file, or the store does not respond.
    """
    if not pattern.endswith("/") and not set("*?[") & set(pattern):
        return [pattern]
    if set("*?[") & set(pattern.split("/")[2]):
        raise InputError(f"{pattern} names a pattern of buckets: name one.")
    options, begin = _as_gdal(pattern, storage_options), re.split(r"[*?\[]", pattern)[0]
    if pattern.endswith("/"):
        place = Target.parse(pattern, options)
        found = every = [each for each in _files(place, pattern) if "/" not in each.removeprefix(pattern)]
        if not found and begin != pattern:  # no folder has that name
            place = Target.parse(begin.rpartition("/")[0], options)
            every = _files(place, pattern)
            found = [each for each in every if fnmatchcase(each[: each.rindex("/") + 1], pattern)]
        found = [each for each in found if each.lower().endswith(tuple(endings))]
    else:
        place = Target.parse(begin.rpartition("/")[0], options)
        every = _files(place, pattern)
        found = [each for each in every if fnmatchcase(each, pattern)]
    if not found:
        raise InputError(f"{pattern!r} names 0 of {len(every)} objects below {place}: check the prefix or the pattern.")
    return found


def _files(place: Target, pattern: str) -> list[str]:
    """Addresses of the objects below a prefix: no marks of folders, and no files that macOS puts beside others."""
    try:
        sizes = place.sizes()
    except OutputError as error:
        raise InputError(f"{pattern} cannot be listed: {error}") from error
    return sorted(f"{place}/{name}" for name, size in sizes.items() if size and not name.split("/")[-1].startswith("."))


@lru_cache(maxsize=64)
def _store(folder: str, storage_options: Options) -> Target:
    return Target.parse(folder, _as_gdal(folder, storage_options))


def _as_gdal(href: str, storage_options: Options) -> dict[str, Any]:
    """Options with what GDAL takes from its environment and the client of the store calls otherwise."""
    options = dict(storage_options)
    if href.startswith("s3://"):
        own = {own_name("s3", name) for name in options}
        if "endpoint" not in own and (host := os.environ.get("AWS_S3_ENDPOINT")):
            plain = os.environ.get("AWS_HTTPS", "YES").upper() in ("NO", "FALSE", "OFF", "0")
            options["endpoint"] = f"{'http' if plain else 'https'}://{host}"
        if "anonymous" not in own and is_true(os.environ.get("AWS_NO_SIGN_REQUEST")):
            options["anonymous"] = True
    return options


def _parent(href: str, storage_options: Options) -> tuple[Target, Any]:
    folder, _, name = href.rpartition("/")
    return _store(folder, storage_options), name
