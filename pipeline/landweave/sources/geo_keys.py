"""What a TIFF states of its CRS, as bytes: files that state the same have the same CRS, which GDAL reads once.

From the keys of a GeoTIFF (tags 34735 to 34737) GDAL makes a CRS by tens of questions to a database, which takes nine
tenths of the time of opening a file, and the tiles of a mosaic state one CRS thousands of times.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from itertools import product
from typing import BinaryIO

import numpy as np

_KEYS = (34735, 34736, 34737)
"""TIFF tags: directory of the keys, their numbers, their texts."""

_METADATA = 42112
"""TIFF tag of GDAL: among others the units of bands, which are those of the CRS's heights where it has none."""

_BESIDE = (".aux.xml", ".aux", ".AUX")
"""Endings of files whose CRS GDAL takes for that of the file: its own, and those of ERDAS."""

_BYTES = {2: 1, 3: 2, 12: 8}
"""Of the TIFF field types that these are written in: text, whole numbers, floats."""

_LONGEST = 2**16
_MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


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
            found = dict(_read_tags(file))
    except (OSError, ValueError):  # said when it is opened, or of no known form
        return None
    if _KEYS[0] not in found:
        return None
    if b"unit" not in found.get(_METADATA, b"").lower():
        found.pop(_METADATA, None)
    return repr(sorted(found.items())).encode()


def _read_tags(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Bytes of the tags by their number; the first of them says in which order bytes are."""
    head = file.read(16)
    if head[:4] not in _MAGIC:
        raise ValueError
    yield 0, head[:4]
    order, big = "<" if head[:1] == b"I" else ">", b"+" in head[:4]
    word, count = np.dtype(f"{order}u{8 if big else 4}"), np.dtype(f"{order}u{8 if big else 2}")
    entry = np.dtype([("tag", f"{order}u2"), ("type", f"{order}u2"), ("count", word), ("value", f"V{word.itemsize}")])
    file.seek(int(np.frombuffer(head, word, 1, word.itemsize)[0]))
    entries = int(np.frombuffer(file.read(count.itemsize), count)[0])
    table = np.frombuffer(file.read(min(entries * entry.itemsize, _LONGEST)), entry, entries)
    for tag, kind, length, value in table.tolist():
        if tag in (*_KEYS, _METADATA):
            size = _BYTES[kind] * length if kind in _BYTES else _LONGEST
            if size >= _LONGEST:
                raise ValueError
            if size > word.itemsize:
                file.seek(int(np.frombuffer(value, word)[0]))
            yield tag, file.read(size) if size > word.itemsize else value[:size]
