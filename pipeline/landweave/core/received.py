"""Files that a process reads at the path its driver named, or where the driver sent them: found by their sha256."""

from __future__ import annotations

import hashlib
import os
import tempfile
from functools import lru_cache
from pathlib import Path


def received_path(path: Path, sha256: str) -> Path:
    """Where a file that was sent is kept: among the temporary files, in a folder of this user's own.

    Parameters
    ----------
    path
        That the driver named; its suffix is kept.
    sha256
        Of its bytes.
    """
    folder = Path(tempfile.gettempdir()) / f"landweave-{os.getuid()}"
    return folder / f"{sha256.lower()}{path.suffix}"


def find_file(path: Path, sha256: str) -> Path | None:
    """The file with a checksum: at its path, or as it was sent; None where neither is that file.

    Parameters
    ----------
    path
        That the driver named.
    sha256
        Of its bytes.
    """
    for found in (path, received_path(path, sha256)):
        try:
            status = found.stat()
            if _sha256(found, status.st_size, status.st_mtime_ns) == sha256.lower():
                return found
        except OSError:  # not there, or not ours to read
            continue
    return None


@lru_cache(maxsize=8)
def _sha256(path: Path, size: int, changed: int) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
