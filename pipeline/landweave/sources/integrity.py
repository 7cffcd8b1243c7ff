"""Whether a raster file is complete, by its bytes and without decoding a pixel.

Decoders do not notice: a truncated GeoTIFF opens normally and fails at its missing tiles, a truncated JPEG 2000
decodes to noise. Here a TIFF's tile offsets and byte counts are held against the file's size (TIFF 6.0 and BigTIFF),
and a JPEG 2000's boxes and tile parts are followed to its end marker (ISO/IEC 15444-1, annexes A and I).
"""

from __future__ import annotations

import os
import struct
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

from landweave.sources.tiff_tags import MAGIC, Directory, bytes_at, directories, number_at

_OFFSETS, _COUNTS = (324, 273), (325, 279)
"""TIFF tags: tile and strip offsets; tile and strip byte counts."""

_JP2 = b"jP  "
_CODESTREAM = b"\xff\x4f\xff\x51"
_START_TILE_PART, _END = 0xFF90, 0xFFD9


_GDAL_NODATA = 42113
"""TIFF tag: nodata as text, which may be a number that no pixel can have."""


def may_state_nodata(path: str) -> bool:
    """Whether a nodata value can be stated in a file or beside it: not in a JPEG 2000, nor a TIFF without that tag."""
    if os.path.exists(f"{path}.aux.xml"):  # noqa: PTH110  of thousands of files
        return True
    try:
        with open(path, "rb") as file:  # noqa: PTH123  of thousands of files
            head = file.read(8)
            if head[4:8] == _JP2:
                return False
            image = next(directories(file), None)
            return image is None or bool((image.table["tag"] == _GDAL_NODATA).any())
    except (OSError, ValueError):  # said when it is opened
        return True


def unwritten_blocks(path: str) -> tuple[int, int]:
    """How many blocks of a TIFF's image were never written, and how many it has; 0, 0 of others.

    GDAL reads them as the nodata tag, or as 0 without one. A copy that was interrupted leaves such a file, and a
    writer of sparse ones.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123  of thousands of files
            for offsets, counts in _blocks(file):  # the first is the image
                return int(((offsets == 0) & (counts == 0)).sum()), len(offsets)
    except (OSError, ValueError):  # said when it is opened
        pass
    return 0, 0


def find_damage(path: str) -> str:
    """What is wrong with a file, with the two numbers that disagree; empty when it is whole or of another format."""
    try:
        with open(path, "rb") as file:  # noqa: PTH123  of thousands of files
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(12)
            if start[:4] in MAGIC:
                return _tiff_damage(file, size)
            if start[4:8] == _JP2:
                return _jp2_damage(file, size)
            if start[:4] == _CODESTREAM:
                return _codestream_damage(file, 0, size)
            return "" if size else "is empty: 0 bytes"
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


def _tiff_damage(file: BinaryIO, size: int) -> str:
    found = False
    for offsets, counts in _blocks(file):
        found = True
        if damage := _block_damage(offsets, counts, size):
            return damage
    return "" if found else f"has no directory in its {size} bytes"


def _blocks(file: BinaryIO) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Offsets and byte counts of the blocks of each directory; none of a file that is no TIFF."""
    for each in directories(file):
        yield _numbers(file, each, _OFFSETS), _numbers(file, each, _COUNTS)


def _numbers(file: BinaryIO, directory: Directory, tags: tuple[int, int]) -> NDArray[np.int64]:
    """Whole numbers of the first of two tags that a directory has."""
    found = next((each for tag in tags if (each := directory.values(file, tag)) is not None), np.zeros(0, np.uint8))
    if found.dtype.kind != "u":
        raise ValueError(f"is damaged: block offsets written as {found.dtype.name}")
    return found.astype(np.int64)


def _block_damage(offsets: NDArray[np.int64], counts: NDArray[np.int64], size: int) -> str:
    if len(offsets) != len(counts):
        return f"is damaged: {len(offsets)} block offsets but {len(counts)} byte counts"
    if not len(offsets):
        return ""
    ends = np.where(counts > 0, offsets + counts, 0).astype(np.uint64)  # a sparse block has neither
    block = int(ends.argmax())
    if ends[block] <= size:
        return ""
    missing = int((ends > size).sum())
    return (
        f"is truncated: block {block} ends at byte {ends[block]}, the file has {size} "
        f"({missing} of {len(offsets)} blocks lie beyond)"
    )


def _jp2_damage(file: BinaryIO, size: int) -> str:
    at = 0
    while at < size:
        (length, kind), start = struct.unpack(">I4s", bytes_at(file, at, 8)), at + 8
        if length == 1:
            (length,), start = struct.unpack(">Q", bytes_at(file, start, 8)), at + 16
        end = at + length if length else size
        name = kind.decode("latin-1")
        if end > size:
            return f"is truncated: its box {name!r} ends at byte {end}, the file has {size}"
        if kind == b"jp2c":
            return _codestream_damage(file, start, end)
        if end < start:
            return f"is damaged: its box {name!r} at byte {at} is {length} bytes long"
        at = end
    return f"holds no JPEG 2000 codestream in its {size} bytes"


def _codestream_damage(file: BinaryIO, start: int, end: int) -> str:
    if bytes_at(file, start, 4) != _CODESTREAM:
        return f"is damaged: no codestream starts at byte {start}"
    short, at = np.dtype(">u2"), start + 2
    while at + 2 <= end:
        marker = number_at(file, at, short)
        if marker == _END:
            return ""
        if marker == _START_TILE_PART:
            part = number_at(file, at + 6, np.dtype(">u4"))
            if part == 0:  # the last tile part, which reaches to the end
                last = number_at(file, end - 2, short)
                wrong = f"is truncated: its last two bytes are {last:#06x}, an end marker is {_END:#06x}"
                return "" if last == _END else wrong
            at += part
        elif marker < 0xFF00:
            return f"is damaged: byte {at} should start a marker and holds {marker:#06x}"
        else:
            at += 2 + number_at(file, at + 2, short)
    return f"is truncated: its tile parts reach byte {at}, its codestream ends at {end} without an end marker"
