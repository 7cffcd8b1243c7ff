"""Checksums of weights: a file is read once, and known by its size, time and inode from then on."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

from landweave.core.errors import WeightsError
from landweave.core.user_cache import SETTLED_NS, UserCache
from landweave.models.file_kinds import foreign_kind


def file_sha256(path: Path) -> str:
    """Return the sha256 of a file's bytes, as hexadecimal digits; known from an earlier time where it did not change.

    Raises
    ------
    WeightsError
        When it cannot be read.
    """
    try:
        with path.open("rb") as file:
            facts, cache = path.stat(), UserCache("sha256")
            stamp = f"{facts.st_size} {facts.st_mtime_ns} {facts.st_ino}"
            known = cache.get({str(path): stamp}).get(str(path))
            if isinstance(known, str):
                return known
            found = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise WeightsError(f"Weights {path} cannot be read: {error.strerror or error}.") from error
    if time.time_ns() - facts.st_mtime_ns > SETTLED_NS:
        cache.put({str(path): (stamp, found)})
    return found


def check_sha256(path: Path, wanted: str) -> None:
    """Refuse a file with another checksum.

    Parameters
    ----------
    path
        Of the file.
    wanted
        The sha256 that it must have, in either case.

    Raises
    ------
    WeightsError
        With both checksums.
    """
    found = file_sha256(path)
    if found != wanted.lower():
        refuse_foreign(path)
        raise WeightsError(
            f"Weights {path} have sha256 {found}, not {wanted}: they are another version, or damaged. "
            f"Fetch them again, or state the sha256 of these."
        )


def refuse_foreign(path: Path) -> None:
    """Refuse a file that holds no weights, such as a page of an error or a pointer of Git LFS."""
    kind = foreign_kind(path, program=path.suffix == ".pt2")
    if kind is not None:
        raise WeightsError(f"Weights {path} cannot be loaded: the file is {kind}.")
