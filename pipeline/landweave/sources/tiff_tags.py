"""Directories of a TIFF or BigTIFF, read without GDAL: which tags a file has, and their bytes (TIFF 6.0, BigTIFF).

::

    head ──> directory ──> directory ──> 0      each a table of entries: tag, type, number of values, and the values
                                                themselves where they fit, else where they are
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

MAGIC = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
"""How a TIFF and a BigTIFF begin, in either byte order."""

_FEW = 4096
"""Bytes that are read without a look at the size of the file, of which there are tens in every header."""

_FAR = 2**40
"""A byte beyond which file systems differ in what they say of a place that is not in a file."""

_DTYPES = {2: "S1", 3: "u2", 4: "u4", 12: "f8", 13: "u4", 16: "u8", 18: "u8"}
"""Of the field types that are read: text, whole numbers and places in the file, floats."""


@dataclass(frozen=True, kw_only=True)
class Directory:
    """One directory: of an image, of an overview or of a mask.

    Attributes
    ----------
    table
        Its entries: ``tag``, ``type``, ``count`` and ``value``.
    order
        Of the bytes of numbers, as numpy writes it.
    """

    table: NDArray[Any]
    order: str

    def values(self, file: BinaryIO, tag: int, most: float = math.inf) -> NDArray[Any] | None:
        """Values of a tag, text as single bytes; None where the directory does not have it.

        Parameters
        ----------
        file
            Of the directory.
        tag
            Its number.
        most
            Bytes that are read.

        Raises
        ------
        ValueError
            When they are of another type than these are read in, more bytes, or not in the file.
        """
        entries = self.table[self.table["tag"] == tag]
        if not len(entries):
            return None
        _, kind, number, value = entries[-1].item()
        if kind not in _DTYPES:
            raise ValueError(f"is damaged: tag {tag} written in field type {kind}")
        dtype = np.dtype(self.order + _DTYPES[kind])
        if (size := dtype.itemsize * number) > most:
            raise ValueError(f"has {size} bytes of tag {tag}")
        at = int(np.frombuffer(value, f"{self.order}u{len(value)}")[0])
        return np.frombuffer(value[:size] if size <= len(value) else bytes_at(file, at, size), dtype)


def directories(file: BinaryIO) -> Iterator[Directory]:
    """The directories of a file, the first that of the image; none of a file that is no TIFF.

    Raises
    ------
    ValueError
        When one is not in the file.
    """
    head = bytes_at(file, 0, 4)
    if head not in MAGIC:
        return
    order, big = "<" if head[:1] == b"I" else ">", b"+" in head
    count, word, entry = _dtypes(order, big=big)
    at, size, seen = number_at(file, 8 if big else 4, word), _size(file), set[int]()
    while at and at not in seen:
        seen.add(at)
        if at >= size:
            raise ValueError(f"is truncated: its directory {len(seen)} starts at byte {at}, the file has {size}")
        start, length = at + count.itemsize, number_at(file, at, count) * entry.itemsize
        yield Directory(table=np.frombuffer(bytes_at(file, start, length), entry), order=order)
        at = number_at(file, start + length, word)


@cache
def _dtypes(order: str, *, big: bool) -> tuple[np.dtype[Any], np.dtype[Any], np.dtype[Any]]:
    """Of the number of entries of a directory, of a place in the file, and of an entry."""
    count, word = np.dtype(f"{order}u{8 if big else 2}"), np.dtype(f"{order}u{8 if big else 4}")
    entry = np.dtype([("tag", f"{order}u2"), ("type", f"{order}u2"), ("count", word), ("value", f"V{word.itemsize}")])
    return count, word, entry


def number_at(file: BinaryIO, at: int, dtype: np.dtype[Any]) -> int:
    """The whole number at byte ``at``; as `bytes_at`."""
    return int(np.frombuffer(bytes_at(file, at, dtype.itemsize), dtype)[0])


def bytes_at(file: BinaryIO, at: int, length: int) -> bytes:
    """The ``length`` bytes from byte ``at`` on.

    Raises
    ------
    ValueError
        When the file has fewer.
    """
    # The size is looked at first where a damaged length may be larger than memory, or a place beyond any file.
    there = length if length <= _FEW and at <= _FAR else max(0, _size(file) - at)
    if there >= length:
        file.seek(at)
        found = file.read(length)
        if (there := len(found)) == length:
            return found
    raise ValueError(f"is truncated: {length} bytes expected at byte {at}, {there} there")


def _size(file: BinaryIO) -> int:
    return os.fstat(file.fileno()).st_size  # seeking its end would drop what is buffered
