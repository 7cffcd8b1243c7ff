"""Whether a file of weights can be read within memory, by what it states and before any of it is loaded.

A few bytes may ask for any amount: parts of an archive that are compressed, or share their bytes; a tensor of 10^11
numbers; a text or a pickle of nothing but brackets. Torch's own files state no more than they hold.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor

TEXT_BYTES = 32 * 2**20
"""Longest JSON part that is parsed; each of its brackets becomes an object of some 60 bytes."""

HEADER_BYTES = 16 * 2**20
"""Longest header of safetensors: that of a million tensors."""

PICKLE_OPERATIONS = 1_000_000
"""Most operations of a pickle that are followed: each may make an object. A training checkpoint has 100,000."""

_PICKLE_BYTES = 64 * 2**20

_PICKLES_BEFORE_ZIP = 4
"""Of a file before zip archives: a number, a version, the machine's sizes, and the object."""


def is_archive(content: Path | IO[bytes]) -> bool:
    """Whether a file is a zip archive that can be looked into."""
    try:
        return zipfile.is_zipfile(content)
    except zipfile.BadZipFile:
        return False


def archive_problem(content: Path | IO[bytes]) -> str:
    """Why a zip archive of torch may not be read, as a clause after *it*; empty where it may.

    Raises
    ------
    zipfile.BadZipFile, OSError
        When it is none.
    """
    with zipfile.ZipFile(content) as archive:
        parts = archive.infolist()
        size = content.stat().st_size if isinstance(content, Path) else content.seek(0, io.SEEK_END)
    if packed := [part.filename for part in parts if part.compress_type != zipfile.ZIP_STORED]:
        return f"holds parts that are compressed ({packed[0]} the first), which torch never writes"
    if (stated := sum(part.file_size for part in parts)) > size:
        return f"states parts of {stated:,} bytes in all, and has {size:,}"
    return ""


def text_problem(name: str, size: int) -> str:
    """Why a JSON part of an archive is not parsed; empty where it is.

    Parameters
    ----------
    name, size
        Of the part.
    """
    return f"holds the text {name} of {size:,} bytes, and {TEXT_BYTES:,} are read" if size > TEXT_BYTES else ""


def pickle_problem(path: Path) -> str:
    """Why the pickle in a file of torch, or of `pickle` alone, may not be loaded; empty where it may. It is not run."""
    size = path.stat().st_size
    if is_archive(path):
        with zipfile.ZipFile(path) as archive:
            parts = [part for part in archive.infolist() if part.filename.endswith("data.pkl")]
            if any(part.file_size > _PICKLE_BYTES for part in parts):
                return f"holds a pickle of more than {_PICKLE_BYTES:,} bytes beside its tensors"
            problems = (_stream_problem(io.BytesIO(archive.read(part)), size, 1) for part in parts)
            return next(filter(None, problems), "")
    with path.open("rb") as file:
        return _stream_problem(file, size, _PICKLES_BEFORE_ZIP)


def nested_problem(content: bytes) -> str:
    """The same of a tensor that stands as bytes within a pickle."""
    if is_archive(io.BytesIO(content)):
        return "holds an archive within a pickle"
    return _stream_problem(io.BytesIO(content), len(content), _PICKLES_BEFORE_ZIP)


def tensor_problem(name: str, tensor: Tensor) -> str:
    """Why a tensor is not what its file holds: a view that repeats few numbers, or no numbers; empty where it is.

    Parameters
    ----------
    name, tensor
        Of the file.
    """
    import torch  # takes seconds, and a plan asks only whether a file is an archive

    if tensor.layout is not torch.strided or tensor.is_quantized or tensor.is_meta:
        kind = "meta" if tensor.is_meta else tensor.dtype if tensor.is_quantized else tensor.layout
        return f"holds {name} as {kind}, and plain tensors are read"
    held, stated = tensor.untyped_storage().nbytes(), tensor.numel() * tensor.element_size()
    return f"states {stated:,} bytes for {name}, and has {held:,} of it" if stated > held else ""


def _stream_problem(file: IO[bytes], size: int, pickles: int) -> str:
    count = 0
    try:
        for _ in range(pickles):
            for numbers in _storages(file):
                count += 1
                if numbers > size:
                    return f"states a tensor of {numbers:,} numbers, and has {size:,} bytes"
                if count > PICKLE_OPERATIONS:
                    return f"holds a pickle of more than {PICKLE_OPERATIONS:,} operations"
    except (ValueError, LookupError, OverflowError, MemoryError):
        return ""  # what loads it says what is wrong
    return ""


def _storages(file: IO[bytes]) -> Iterator[int]:
    """For each operation the length of the storage that it names, the largest number since a mark; 0 for most."""
    numbers, known, pushed = list[int](), dict[Any, int](), 0
    for operation, argument, _ in pickletools.genops(file):
        name = operation.name
        if name == "MEMOIZE" or "PUT" in name:
            known[len(known) if name == "MEMOIZE" else argument] = pushed
        elif name == "MARK":
            numbers.clear()
        else:
            pushed = argument if isinstance(argument, int) and "GET" not in name else 0
            numbers.append(known.get(argument, 0) if "GET" in name else pushed)
        yield max(numbers, default=0) if name == "BINPERSID" else 0
