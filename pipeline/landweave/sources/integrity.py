"""Whether a raster file is whole, told from its bytes without decoding a pixel.

Decoders do not notice: a truncated GeoTIFF opens normally and fails at its missing tiles, a truncated JPEG 2000
decodes to noise. Here a TIFF's tile offsets and byte counts are held against the file's size, and a JPEG 2000's boxes
and tile parts are walked to its end marker.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import NDArray

_OFFSETS, _COUNTS = (273, 324), (279, 325)
"""TIFF tags: strip and tile offsets; strip and tile byte counts."""

_DTYPES = {3: "u2", 4: "u4", 13: "u4", 16: "u8", 18: "u8"}
"""TIFF field types that offsets and counts are written in."""

_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8, 17: 8, 18: 8}
"""Bytes of a TIFF field type."""

_CODESTREAM = b"\xff\x4f\xff\x51"
_START_TILE_PART, _END = 0xFF90, 0xFFD9


def find_damage(path: str) -> str:
    """What is wrong with a file, with the two numbers that disagree; empty when it is whole or of another format."""
    try:
        with Path(path).open("rb") as file:
            size = file.seek(0, 2)
            file.seek(0)
            start = file.read(12)
            if start[:4] in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"):
                return _tiff_damage(file, size)
            if start[4:8] == b"jP  ":
                return _jp2_damage(file, size)
            if start[:4] == _CODESTREAM:
                return _codestream_damage(file, 0, size)
            return "" if size else "is empty: 0 bytes"
    except ValueError as error:
        return str(error)
    except OSError as error:
        return f"cannot be read: {error.strerror}"


@dataclass(frozen=True)
class _Layout:
    """How a TIFF writes its numbers: byte order, and the sizes that BigTIFF doubles."""

    order: str
    big: bool

    @property
    def pointer(self) -> str:
        return self.order + ("Q" if self.big else "I")

    @property
    def entry(self) -> tuple[str, int]:
        return self.order + ("HHQ" if self.big else "HHI"), 20 if self.big else 12

    @property
    def count(self) -> tuple[str, int]:
        return self.order + ("Q" if self.big else "H"), 8 if self.big else 2


def _tiff_damage(file: BinaryIO, size: int) -> str:
    file.seek(0)
    head = _exactly(file, 4)
    layout = _Layout("<" if head[:1] == b"I" else ">", big=head[2:4] in (b"+\0", b"\0+"))
    file.seek(8 if layout.big else 4)
    pointer = struct.unpack(layout.pointer, _exactly(file, struct.calcsize(layout.pointer)))[0]
    seen: set[int] = set()
    while pointer and pointer not in seen:
        seen.add(pointer)
        if pointer >= size:
            return f"is truncated: its directory {len(seen)} starts at byte {pointer}, the file has {size}"
        offsets, counts, pointer = _read_directory(file, pointer, layout)
        damage = _block_damage(offsets, counts, size)
        if damage:
            return damage
    return "" if seen else f"has no directory in its {size} bytes"


def _read_directory(file: BinaryIO, at: int, layout: _Layout) -> tuple[NDArray[np.int64], NDArray[np.int64], int]:
    code, width = layout.count
    file.seek(at)
    entries = struct.unpack(code, _exactly(file, width))[0]
    code, width = layout.entry
    table = _exactly(file, entries * width)
    following = struct.unpack(layout.pointer, _exactly(file, struct.calcsize(layout.pointer)))[0]
    found = {"offsets": np.zeros(0, np.int64), "counts": np.zeros(0, np.int64)}
    for index in range(entries):
        tag, kind, length = struct.unpack_from(code, table, index * width)
        if tag in _OFFSETS or tag in _COUNTS:
            inline = table[index * width + struct.calcsize(code) : (index + 1) * width]
            values = _read_values(file, inline, kind, length, layout)
            found["offsets" if tag in _OFFSETS else "counts"] = values
    return found["offsets"], found["counts"], following


def _read_values(file: BinaryIO, inline: bytes, kind: int, length: int, layout: _Layout) -> NDArray[np.int64]:
    if kind not in _DTYPES:
        raise ValueError(f"is damaged: block offsets written in field type {kind}")
    size = _SIZES[kind] * length
    if size <= len(inline):
        raw = inline[:size]
    else:
        file.seek(struct.unpack(layout.pointer, inline)[0])
        raw = _exactly(file, size)
    return np.frombuffer(raw, dtype=layout.order + _DTYPES[kind]).astype(np.int64)


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
        file.seek(at)
        length, kind = struct.unpack(">I4s", _exactly(file, 8))
        start = at + 8
        if length == 1:
            length = struct.unpack(">Q", _exactly(file, 8))[0]
            start = at + 16
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
    file.seek(start)
    if _exactly(file, 4) != _CODESTREAM:
        return f"is damaged: no codestream starts at byte {start}"
    at = start + 2
    while at + 2 <= end:
        file.seek(at)
        marker = struct.unpack(">H", _exactly(file, 2))[0]
        if marker == _END:
            return ""
        if marker == _START_TILE_PART:
            part = struct.unpack(">HHIBB", _exactly(file, 10))[2]
            if part == 0:  # the last tile part, said to reach the end
                return _end_damage(file, end)
            at += part
        elif marker < 0xFF00:
            return f"is damaged: byte {at} should start a marker and holds {marker:#06x}"
        else:
            at += 2 + struct.unpack(">H", _exactly(file, 2))[0]
    return f"is truncated: its tile parts reach byte {at}, its codestream ends at {end} without an end marker"


def _end_damage(file: BinaryIO, end: int) -> str:
    file.seek(end - 2)
    marker = struct.unpack(">H", _exactly(file, 2))[0]
    return "" if marker == _END else f"is truncated: its last two bytes are {marker:#06x}, an end marker is {_END:#06x}"


def _exactly(file: BinaryIO, length: int) -> bytes:
    at = file.tell()
    there = os.fstat(file.fileno()).st_size - at
    if there < length:  # asked first: a damaged length may be larger than memory
        raise ValueError(f"is truncated: {length} bytes expected at byte {at}, {max(0, there)} there")
    return file.read(length)
