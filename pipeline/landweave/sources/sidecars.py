"""What a file beside a raster, which GDAL takes for a part of it, does: lead to other files, place the raster.

A mask, overviews and metadata lie beside a raster as ``a.tif.msk``, ``a.tif.ovr`` and ``a.tif.aux.xml``. GDAL opens the
first two with any driver, so a VRT there reads what it names, of this machine or of any other.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from landweave.sources.tiff_tags import MAGIC

_RASTERS, _METADATA = (".msk", ".ovr"), ".aux.xml"
_OVERVIEW = re.compile(rb"OVERVIEW_FILE[^>]*>(?::::BASE:::)?([^<]*)<")
_ELSEWHERE = re.compile(rb"[/\\:&]|\.vrt", re.IGNORECASE)
"""What is in a name that is not that of a raster in the same folder."""

_LONGEST_METADATA = 16 * 2**20
"""Bytes; tables of colours and classes have thousands."""


def find_foreign_reference(path: str) -> str:
    """Which file beside a raster may lead to others, as a clause after its name; empty where none does.

    Parameters
    ----------
    path
        Of the raster, on this machine: nothing is looked for beside those on the web.
    """
    try:
        for suffix in _RASTERS:
            if os.path.isfile(path + suffix):  # noqa: PTH113  of thousands of files
                beside = Path(path + suffix)
                with beside.open("rb") as file:
                    if file.read(4) not in MAGIC:
                        return f"has {beside.name} beside it, which is no TIFF and could name other files"
        if not os.path.isfile(path + _METADATA):  # noqa: PTH113
            return ""
        metadata = Path(path + _METADATA)
        if metadata.stat().st_size > _LONGEST_METADATA:
            return f"has {metadata.name} beside it, of more than {_LONGEST_METADATA:,} bytes"
        names = _OVERVIEW.findall(metadata.read_bytes())
    except OSError as error:
        return f"has a file beside it that cannot be read: {error.strerror}"
    if any(_ELSEWHERE.search(name) for name in names):
        return f"has {metadata.name} beside it, which names a file elsewhere as its overviews"
    return ""


def states_place(path: str) -> bool:
    """Whether the metadata beside a raster on this machine may place it, or name its CRS."""
    try:
        with open(path + _METADATA, "rb") as file:  # noqa: PTH123  of thousands of files
            content = file.read()
    except OSError:
        return False
    return b"<GeoTransform" in content or b"<SRS" in content
