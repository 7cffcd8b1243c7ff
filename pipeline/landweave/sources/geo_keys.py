"""What a TIFF states of its CRS, as bytes: files that state the same have the same CRS, which GDAL reads once.

From the keys of a GeoTIFF (tags 34735 to 34737) GDAL makes a CRS by tens of questions to a database, which takes nine
tenths of the time of opening a file, and the tiles of a mosaic state one CRS thousands of times.
"""

from __future__ import annotations

import os
from itertools import product

from landweave.sources.tiff_tags import directories

_KEYS = (34735, 34736, 34737)
"""TIFF tags: directory of the keys, their numbers, their texts."""

_METADATA = 42112
"""TIFF tag of GDAL: among others the units of bands, which are those of the CRS's heights where it has none."""

_BESIDE = (".aux.xml", ".aux", ".AUX")
"""Endings of files whose CRS GDAL takes for that of the file: its own, and those of ERDAS."""

_LONGEST = 2**16
"""Bytes of a tag that are read."""


def geo_keys(path: str) -> bytes | None:
    """What decides a local TIFF's CRS and the units of its bands; None where GDAL has to be asked.

    It has to be where the file has no such keys, or a file beside it may state another CRS.

    Parameters
    ----------
    path
        Of the file.
    """
    stem = os.path.splitext(path)[0]  # noqa: PTH122  of thousands of files
    if any(os.path.exists(base + ending) for base, ending in product((path, stem), _BESIDE)):  # noqa: PTH110
        return None
    try:
        with open(path, "rb") as file:  # noqa: PTH123
            image = next(directories(file), None)
            if image is None:
                return None
            read = {tag: image.values(file, tag, _LONGEST) for tag in (*_KEYS, _METADATA)}
    except (OSError, ValueError):  # said when it is opened, or of no known form
        return None
    found = {tag: values.tobytes() for tag, values in read.items() if values is not None}
    if _KEYS[0] not in found:
        return None
    if b"unit" not in found.get(_METADATA, b"").lower():
        found.pop(_METADATA, None)
    return repr((image.order, sorted(found.items()))).encode()
