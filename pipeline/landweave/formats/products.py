"""Files made of a map, which carry its mark: what one may replace, and how it takes the place of an older one."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import rasterio
from rasterio._err import CPLE_BaseError  # what GDAL says of a file that it cannot make, passed on as it is
from rasterio.errors import NotGeoreferencedWarning, RasterioError

from landweave.core.errors import LandweaveError, OutputError
from landweave.core.protocols import MAP_MARK, MapReader
from landweave.core.whole_files import part_folder

_NAMES = ".aux.xml"
"""Ending of the file where GDAL keeps the names of classes."""

_READ_ALONG = (_NAMES, ".msk", ".ovr")
"""Endings of files beside a raster that GDAL takes for parts of it."""


def mark_of(reader: MapReader) -> str:
    """The mark of a map: its fingerprint; ``unknown`` where it states none."""
    return str(reader.attrs.get("fingerprint", "unknown"))


def map_tags(reader: MapReader) -> dict[str, str]:
    """Title, licence, source and mark of a map, as TIFF tags."""
    tags = {"title": "TIFFTAG_IMAGEDESCRIPTION", "license": "TIFFTAG_COPYRIGHT", "source": "SOURCE"}
    found = {tag: str(reader.attrs[name]) for name, tag in tags.items() if name in reader.attrs}
    return {**found, MAP_MARK: mark_of(reader)}


def refuse_foreign(path: str | os.PathLike[str], mark: str) -> None:
    """Make sure that a file of a map may be written at ``path``: nothing is there but an earlier file of that map.

    Parameters
    ----------
    path
        Where the file is to be.
    mark
        As `mark_of` returns it.

    Raises
    ------
    OutputError
        When anything else is there, or a file that GDAL reads along with it; a map without a fingerprint replaces
        nothing.
    """
    target = Path(path)
    if target.is_dir():
        raise OutputError(f"{target} is a folder: name a file in it.")
    beside = (target.with_name(target.name + ending) for ending in _READ_ALONG)
    occupied = next((each for each in (target, *beside) if os.path.lexists(each)), None)
    found = _read_mark(target)
    if occupied and (found != mark or mark == "unknown"):
        what = f"the file of another map, {found[:12]}" if found else "no file of this map"
        raise OutputError(f"{occupied} is there already and is {what}: choose another name, or remove it first.")


@contextmanager
def replacing(path: str | os.PathLike[str], mark: str) -> Iterator[Path]:
    """Yield a path in a new folder beside ``path``; what is written there takes its place when the block ends well.

    A file beside it that ends in ``.aux.xml``, where GDAL keeps the names of classes, is moved with it.

    Parameters
    ----------
    path
        Where the file is to be.
    mark
        As `mark_of` returns it.

    Raises
    ------
    OutputError
        As `refuse_foreign` does, or when the file cannot be written: an earlier one is as it was.
    """
    target = Path(path).absolute()
    refuse_foreign(target, mark)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part_folder(target) as folder:
            written = folder / target.name
            yield written
            refuse_foreign(target, mark)  # writing may have taken an hour
            written.replace(target)
            if _sidecar(written).exists():
                _sidecar(written).replace(_sidecar(target))
            else:
                _sidecar(target).unlink(missing_ok=True)
    except LandweaveError:
        raise
    except (OSError, RasterioError, CPLE_BaseError) as error:
        raise OutputError(f"Cannot write {target}: {error}. Check the folder and its free space.") from error


def _sidecar(path: Path) -> Path:
    return path.with_name(path.name + _NAMES)


def _read_mark(path: Path) -> str:
    """The mark inside a TIFF or PNG file; empty where it has none, or is neither."""
    with warnings.catch_warnings(), rasterio.Env(GDAL_PAM_ENABLED="NO"):  # a file beside it says nothing of it
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        try:
            with rasterio.DatasetReader(path, driver=["GTiff", "PNG"]) as file:
                return str(file.tags().get(MAP_MARK, ""))
        except RasterioError:
            return ""
