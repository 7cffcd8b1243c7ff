"""What a file is that was named as weights and holds none: a page of a server, a pointer, another tool's format.

Nothing is loaded and nothing is run: the first bytes, the names in an archive, the operations of a pickle.
"""

from __future__ import annotations

import json
import pickletools
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from landweave.models.file_bounds import is_archive

_HEAD = 4096
"""Bytes that are looked at."""

_LONGEST_HEADER = 10**8
"""Bytes of a header of safetensors."""

_OTHER_TOOL = "networks here are torch's, and need its tensors: fetch the model's weights for torch"
_UNPACK = "unpack it and name the weights in it"
_AGAIN = "a server answered with it in place of the file: fetch it again, signed in where that is needed"
_MAGIC = (
    (b"\x89HDF\r\n\x1a\n", f"an HDF5 file, as Keras and TensorFlow write: {_OTHER_TOOL}"),
    (b"version https://git-lfs", "a Git LFS pointer, in place of the file that it names: fetch that with git lfs pull"),
    (b"\x1f\x8b", f"a gzip archive: {_UNPACK}"),
    (b"BZh", f"a bzip2 archive: {_UNPACK}"),
    (b"\xfd7zXZ", f"an xz archive: {_UNPACK}"),
    (b"7z\xbc\xaf", f"a 7-Zip archive: {_UNPACK}"),
    (b"\x08\x01\x12", f"a TensorFlow SavedModel: {_OTHER_TOOL}"),
)
_TEXTS = (("<!doctype html", "an HTML page"), ("<html", "an HTML page"), ("<?xml", "an XML message"))
_ONNX = f"an ONNX model: {_OTHER_TOOL}"
_SUFFIXES = {".onnx": _ONNX, ".tflite": f"a TensorFlow Lite model: {_OTHER_TOOL}"}
_SCRIPT = (
    "a TorchScript archive, which is code with its tensors: where you trust it, load it with torch.jit.load and save "
    "its state_dict(), or export the network with torch.export"
)
_PROGRAM = "a program of torch.export: the card of one says architecture: {kind: exported}"

_LEGACY = b"\x80\x02\x8a\nl\xfc\x9cF\xf9 j\xa8P\x19."
"""Beginning of a file of torch before its zip archives: a pickled number."""


def foreign_kind(path: Path, *, program: bool = False) -> str | None:
    """Return what a file is and what to do, as a clause after *is*; None where it may hold weights.

    Parameters
    ----------
    path
        Of a file that can be read.
    program
        Whether a program of `torch.export` is wanted, and no tensors.
    """
    with path.open("rb") as file:
        head = file.read(_HEAD)
    if begins_as_safetensors(head) and not program:
        return None
    if is_archive(path):
        try:
            return _zip_kind(path, program)
        except (zipfile.BadZipFile, NotImplementedError, ValueError):  # what loads it says that it is broken
            return None
    if not head:
        return "empty: fetch it again"
    known = next((kind for magic, kind in _MAGIC if head.startswith(magic)), None)
    if head[257:262] == b"ustar":
        known = f"a tar archive: {_UNPACK}"
    return known or _SUFFIXES.get(path.suffix) or _protobuf_kind(head) or _text_kind(path, head)


def begins_as_safetensors(head: bytes) -> bool:
    """Return whether the first bytes of a file are those of safetensors: the length of a header, then the header."""
    return head[8:9] == b"{" and int.from_bytes(head[:8], "little") < _LONGEST_HEADER


def _zip_kind(path: Path, program: bool) -> str | None:
    with zipfile.ZipFile(path) as archive:
        names = archive.namelist()
    if any(name.endswith("/constants.pkl") or "/code/" in name for name in names):
        return _SCRIPT
    if any("/models/" in name and name.endswith(".json") for name in names):
        return None if program else _PROGRAM
    if any(name.endswith("/data.pkl") for name in names):
        return "a file of tensors without a program: export the network with torch.export" if program else None
    if any(name.endswith(".h5") for name in names):
        return f"a Keras archive: {_OTHER_TOOL}"
    return f"a zip archive of {', '.join(names[:3]) or 'nothing'}: {_UNPACK}"


def _protobuf_kind(head: bytes) -> str | None:
    if head[4:8] == b"TFL3":
        return _SUFFIXES[".tflite"]
    # An ONNX model begins with its version, field 1, then its producer or its graph, fields 2 to 8.
    is_onnx = len(head) > 2 and head[0] == 0x08 and 3 <= head[1] < 32 and head[2] & 7 in (0, 2) and head[2] >> 3 <= 8
    return _ONNX if is_onnx else None


def _text_kind(path: Path, head: bytes) -> str | None:
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").decode("utf-8", "replace").lower()
    kind = next((kind for start, kind in _TEXTS if text.startswith(start)), None)
    if kind:
        return f"{kind}: {_AGAIN}"
    return _json_kind(path) if text.startswith(("{", "[")) else None


def _json_kind(path: Path) -> str | None:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except ValueError:
        return None
    if isinstance(content, dict) and isinstance(content.get("weight_map"), dict):
        shards = sorted(set(map(str, content["weight_map"].values())))
        return f"the index of {len(shards)} files of tensors ({', '.join(shards[:3])}): join them in one file"
    return f"JSON text, in place of tensors: {_AGAIN}"


def is_plain_pickle(path: Path) -> bool:
    """Return whether a file was written by `pickle` alone, and not by torch."""
    with path.open("rb") as file:
        head = file.read(len(_LEGACY))
    return head.startswith(b"\x80") and not is_archive(path) and head != _LEGACY


def pickled_module(path: Path) -> str | None:
    """Return the class of a whole network that is pickled in a file of torch; None where there is none."""
    classes, texts = list[str](), list[str]()
    for name, value in _pickle_operations(path):
        if name == "GLOBAL":
            classes.append(value.replace(" ", "."))
        elif name == "STACK_GLOBAL":
            classes.append(".".join(texts[-2:]))
        elif "UNICODE" in name:
            texts.append(value)
    if not {"_parameters", "_modules"} <= set(texts):
        return None
    plain = ("collections.", "torch._utils.")
    return next((each for each in classes if not each.startswith(plain) and not each.endswith("Storage")), "unnamed")


def _pickle_operations(path: Path) -> Iterator[tuple[str, str]]:
    """Yield name and argument of each operation, as far as the file can be followed."""
    try:
        if is_archive(path):
            with zipfile.ZipFile(path) as archive:
                name = next(each for each in archive.namelist() if each.endswith("/data.pkl"))
                with archive.open(name) as content:
                    yield from _operations(content)
        else:
            with path.open("rb") as file:
                for _ in range(4):  # of a file before zip archives, the fourth pickle is the object
                    yield from _operations(file)
    except (ValueError, StopIteration, OSError, LookupError, MemoryError, OverflowError, zipfile.BadZipFile):
        return


def _operations(file: IO[bytes]) -> Iterator[tuple[str, str]]:
    for operation, argument, _ in pickletools.genops(file):
        yield operation.name, str(argument)
