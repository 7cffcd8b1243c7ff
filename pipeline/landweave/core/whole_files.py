"""Files of this machine that are written beside their places: each whole, all are written before one is renamed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from glob import escape
from pathlib import Path
from secrets import token_hex


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Yield a path beside ``path``; what is written there takes its place when the block ends well, else it is removed.

    Raises
    ------
    OSError
        When the folder cannot be made, or the file not renamed.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f".{path.stem}.{token_hex(4)}.part{path.suffix}")  # another process has its own
    try:
        yield part
        part.replace(path)
    finally:
        for left in path.parent.glob(f"{escape(part.name)}*"):  # SQLite has files beside its own
            left.unlink(missing_ok=True)


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
    parts = {name: folder / f".{name}.{token_hex(4)}.part" for name in contents}
    try:
        for name, part in parts.items():
            part.write_bytes(contents[name])
        for name, part in parts.items():
            part.replace(folder / name)
    finally:
        for part in parts.values():
            part.unlink(missing_ok=True)
