"""Vector files wherever they lie: those of an object store are fetched whole, as every reader of them needs a file."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from landweave.core.errors import InputError, OutputError
from landweave.sources.object_files import in_object_store
from landweave.store.objects import Target

_SIDE_FILES = {".shp": (".shx", ".dbf", ".prj", ".cpg")}
"""What makes one file with a Shapefile; any but the second may be missing."""


@contextmanager
def on_disk(path: str | os.PathLike[str], storage_options: Mapping[str, Any] | None = None) -> Iterator[str]:
    """A vector file as a path that GDAL opens: itself, or its copy on disk for the length of the block.

    Parameters
    ----------
    path
        Path, or URL.
    storage_options
        Of the object store that holds it.

    Raises
    ------
    InputError
        When it is not there, or the store does not respond; within the block errors name the URL, not the copy.
    """
    text = os.fspath(path)
    if not in_object_store(text):
        yield text
        return
    from landweave.formats.vector import named_as  # GeoPandas is slow to import

    parent, _, name = text.rpartition("/")
    place = Target.parse(parent, storage_options)
    with TemporaryDirectory(prefix="landweave-") as folder:
        copy = Path(folder) / name
        if not _fetch(place, name, copy):
            raise InputError(f"Vector file {text} does not exist.")
        for suffix in _SIDE_FILES.get(copy.suffix.lower(), ()):
            beside = copy.with_suffix(suffix)
            _fetch(place, beside.name, beside)
        with named_as(str(copy), text):
            yield str(copy)


def _fetch(place: Target, name: str, path: Path) -> bool:
    """Write an object to a file; False where there is none."""
    try:
        content = place.get(name)
        if content is not None:
            path.write_bytes(content)
    except OutputError as error:
        raise InputError(f"{place}/{name} cannot be read: {error}") from error
    except OSError as error:
        raise InputError(
            f"{place}/{name} cannot be copied to {path.parent}: {error.strerror}. Set TMPDIR to a place with more room."
        ) from error
    return content is not None
