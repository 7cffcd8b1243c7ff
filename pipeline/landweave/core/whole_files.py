"""Files of this machine that are written beside their places: each whole, all are written before one is renamed."""

from __future__ import annotations

import hashlib
import os
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from secrets import token_hex

from landweave.core.processes import has_ended, machine

_NAMED = 100
"""Most bytes of a file's name in the name of its folder: a file system has 255 for all."""


@contextmanager
def part_folder(path: Path) -> Iterator[Path]:
    """Yield a new hidden folder beside ``path``, for files that are renamed to their places; it is removed at the end.

    Folders for the same path that processes of this machine left when they were killed are removed, too.

    Parameters
    ----------
    path
        Of a file.

    Raises
    ------
    OSError
        When the folder cannot be made.
    """
    for left in left_beside(path):
        shutil.rmtree(left, ignore_errors=True)
    folder = path.parent / f"{_begin(path)}-{os.getpid()}-{token_hex(4)}.part"
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def left_beside(path: Path) -> list[Path]:
    """Folders for ``path`` that processes of this machine left when they were killed."""
    begin = f"{_begin(path)}-"
    found = [(each, each.name.removeprefix(begin)) for each in path.parent.glob(f"{escape(begin)}*.part")]
    owners = ((each, rest.partition("-")[0]) for each, rest in found)
    return [each for each, pid in owners if pid.isdecimal() and has_ended(int(pid))]


def _begin(path: Path) -> str:
    name = os.fsdecode(os.fsencode(path.name)[:_NAMED])
    return f".{name}.{hashlib.sha256(machine().encode()).hexdigest()[:8]}"


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path in a `part_folder`; what is written there takes the place of ``path`` when the block ends well.

    Raises
    ------
    OSError
        When the folder cannot be made, or the file not renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with part_folder(path) as folder:
        yield folder / path.name
        (folder / path.name).replace(path)


def write_whole(folder: Path, contents: Mapping[str, bytes]) -> None:
    """Write files into a folder, which is made where it is missing, over earlier ones.

    Parameters
    ----------
    folder
        Where they go.
    contents
        Of each file, by its name.

    Raises
    ------
    OSError
        When one cannot be written: earlier files are as they were. When one cannot be renamed those before it are new.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with part_folder(folder / min(contents)) as parts:
        for name, content in contents.items():
            (parts / name).write_bytes(content)
        for name in contents:
            (parts / name).replace(folder / name)
