"""Checksums of raster files: found beside a delivery, and held against the bytes before the first pixel is read.

::

    SHA256SUMS, MD5SUMS, a.tif.md5, FOLDER.md5 beside tiles ─┐
    `checksums: FILE` of a configuration ────────────────────┼─> Checksum ──> the whole file is held against it, once
    `file:checksum` of a STAC asset ─────────────────────────┘
"""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.request import urlopen

from cachetools import LRUCache

from landweave.core.checksums import Checksum, parse_line
from landweave.core.errors import InputError, ReadError
from landweave.core.words import counted
from landweave.sources.files import RasterFile, Version, file_version, is_url, remote_version, retry_of, shown, signed
from landweave.sources.object_files import in_object_store, object_digest

_SUFFIXES = (".md5", ".sha1", ".sha256", ".sha384", ".sha512")
_LISTS = re.compile(r"(md5|sha(1|256|384|512))?(sums?|checksums?)(\.(txt|md5|sha(1|256|384|512)))?", re.IGNORECASE)
"""Names of lists that are known: SHA256SUMS, md5sums.txt, checksums.md5."""

_LONGEST_LIST = 64 * 2**20
_PIECE = 2**20
_SHOWN = 16
"""Digits in a message, which a ledger keeps the beginning and the end of."""
_TIMEOUT_S = 60

_SKIPPED: ContextVar[bool] = ContextVar("landweave_checksums_skipped", default=False)

_DIGESTS: LRUCache[tuple[str, str, Version], str] = LRUCache(2**16)
_LOCKS = [threading.Lock() for _ in range(64)]
"""Two threads that need the same file hash it once; most others do not wait for each other."""


@dataclass(frozen=True, kw_only=True)
class FoundChecksums:
    """The checksums of the files of a mosaic.

    Attributes
    ----------
    by_path
        Of each file that has one.
    notes
        How many files have one, what holding them against it costs, and lists that cannot be read.
    """

    by_path: Mapping[str, Checksum] = field(default_factory=dict)
    notes: tuple[str, ...] = ()


def find_checksums(sizes: Mapping[str, int], named: str | None) -> FoundChecksums:
    """The checksums that lists state for the files of a mosaic; of several of a file the strongest. No file is hashed.

    Parameters
    ----------
    sizes
        Bytes of every file, by path or URL.
    named
        A list. By default those beside the files are used: in their folder and the one above, by the usual names, or by
        the name of a file or folder followed by the algorithm.

    Raises
    ------
    InputError
        When the list that is named cannot be read, or has none of the files.
    """
    lists = [named] if named else _lists_beside([path for path in sizes if not is_url(path)])
    found: dict[str, Checksum] = {}
    notes = []
    for each in lists:
        entries = _read_list(each)
        if not entries and not named:
            notes.append(f"{each} has no line that is a checksum")
        for path, checksum in _matches(entries, Path(each), sizes, by_name=bool(named)):
            if path not in found or checksum.strength > found[path].strength:
                found[path] = checksum
    if named and not found:
        raise InputError(f"checksums: {named} has none of the {counted(len(sizes), 'file')} of this input.")
    return FoundChecksums(by_path=found, notes=(*notes, *_cost_notes(found, sizes)))


def check_file(file: RasterFile) -> None:
    """Refuse a file whose bytes are not those that its checksum is of; the whole file is read, once a process.

    Raises
    ------
    ReadError
        With both checksums, and who states the one; or when the file cannot be read.
    """
    if file.checksum is None or _SKIPPED.get():
        return
    version = file.version or _version(file)
    key = (file.href, file.checksum.algorithm, version)
    with _LOCKS[hash(key) % len(_LOCKS)]:
        digest = _DIGESTS.get(key) or _digest(file, file.checksum.algorithm)
        if digest != file.checksum.digest:  # of what is there now, which may not be what was indexed
            version = _version(file, again=True)
            key = (file.href, file.checksum.algorithm, version)
        if version[1] or digest == file.checksum.digest:  # else a repaired file looks like the damaged one
            _DIGESTS[key] = digest
    if digest != file.checksum.digest:
        raise ReadError(
            f"{PurePosixPath(shown(file.href)).name} has {file.checksum.algorithm} {digest[:_SHOWN]}…, and "
            f"{Path(file.checksum.origin).name} states {file.checksum.digest[:_SHOWN]}…: it is damaged, or another "
            f"version. Fetch it again: {shown(file.href)}"
        )


@contextmanager
def without_checksums() -> Iterator[None]:
    """Within the block, this thread reads pixels of files that are not held against their checksums: a sample."""
    token = _SKIPPED.set(True)
    try:
        yield
    finally:
        _SKIPPED.reset(token)


def _lists_beside(paths: Sequence[str]) -> list[str]:
    """Lists in the folders of some files and the folders above, files that are named after one of them last."""
    names = {path + suffix for path in paths for suffix in _SUFFIXES}
    folders = dict.fromkeys(Path(path).parent for path in paths)
    named_so = {str(folder) + suffix for folder in folders for suffix in _SUFFIXES}
    found: dict[str, None] = {}
    for folder in dict.fromkeys([*folders, *(each.parent for each in folders)]):
        try:
            inside = sorted(folder.iterdir())
        except OSError:
            continue
        every = folder in folders  # above them other deliveries may lie
        for each in inside:
            is_list = _LISTS.fullmatch(each.name) or str(each) in named_so
            if is_list or str(each) in names or (every and each.suffix.lower() in _SUFFIXES and not _beside(each)):
                found[str(each)] = None
    return [each for each in found if Path(each).is_file()]


def _beside(path: Path) -> bool:
    """Whether a file is named after another one, which then is no file of the mosaic."""
    return path.with_suffix("").exists()


def _read_list(path: str) -> list[tuple[str, Checksum]]:
    try:
        if Path(path).stat().st_size > _LONGEST_LIST:
            raise InputError(f"{path} has more than {_LONGEST_LIST:,} bytes: it is no list of checksums.")
        lines = Path(path).read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    except OSError as error:
        raise InputError(f"The checksums {path} cannot be read: {error.strerror or error}.") from error
    parsed = (parse_line(line.lstrip("\ufeff"), path) for line in lines)
    return [each for each in parsed if each is not None]


def _matches(
    entries: Sequence[tuple[str, Checksum]], where: Path, paths: Iterable[str], *, by_name: bool
) -> Iterator[tuple[str, Checksum]]:
    """Files that a list states a checksum of.

    Its names count from its folder, or from the folder that it is named after; those of files on the web are the end
    of an address. ``by_name`` takes the last part of a name as well, where only one line ends so: the list may have
    been made elsewhere.
    """
    beside = str(where.with_suffix(""))
    if len(entries) == 1 and beside in paths:
        yield beside, entries[0][1]
        return
    listed = dict(entries)
    last: dict[str, list[Checksum]] = {}
    for name, checksum in entries:
        last.setdefault(PurePosixPath(name).name, []).append(checksum)
    for path in paths:
        own = PurePosixPath(shown(path)).name
        keys = _endings(path) if is_url(path) else [_relative(path, folder) for folder in (str(where.parent), beside)]
        found = [listed[key] for key in keys if key in listed]
        if not found and by_name and len(last.get(own, ())) == 1:
            found = last[own]
        yield from ((path, checksum) for checksum in found[:1])


def _endings(url: str) -> list[str]:
    """A URL's path and its ends that begin with a folder, the longest first."""
    parts = shown(url).split("/")
    return ["/".join(parts[start:]) for start in range(3, len(parts) - 1)]


def _relative(path: str, folder: str) -> str:
    return Path(path).relative_to(folder).as_posix() if Path(path).is_relative_to(folder) else ""


def _cost_notes(found: Mapping[str, Checksum], sizes: Mapping[str, int]) -> Iterator[str]:
    if not found:
        return
    origins = list(dict.fromkeys(each.origin for each in found.values()))
    more = f" and {len(origins) - 1} more" if len(origins) > 1 else ""
    yield (
        f"{len(found):,} of {counted(len(sizes), 'file', 'is')} held against the checksums of {origins[0]}{more}, each "
        f"read whole for it once by every worker ({sum(sizes[path] for path in found) / 1e9:,.1f} GB in all)"
    )


def _version(file: RasterFile, *, again: bool = False) -> Version:
    if is_url(file.href):
        return remote_version(file.href, file.sign, file.storage_options, again=again)
    return file_version(file.href)


def _digest(file: RasterFile, algorithm: str) -> str:
    if in_object_store(file.href):
        return object_digest(file.href, file.storage_options, algorithm)
    if is_url(file.href):
        if not file.href.startswith("http"):
            raise ReadError(
                f"{shown(file.href)} cannot be held against its checksum: only files on disks, on web servers and "
                "in object stores are fetched whole. Set checksums: false."
            )
        return retry_of(file.href).call(lambda: _remote_digest(file, algorithm))
    try:
        with Path(file.href).open("rb") as content:
            return hashlib.file_digest(content, algorithm).hexdigest()
    except OSError as error:
        raise ReadError(f"{file.href} cannot be read: {error.strerror or error}.") from error


def _remote_digest(file: RasterFile, algorithm: str) -> str:
    address, digest, count = signed(file.href, file.sign), hashlib.new(algorithm), 0
    try:
        with urlopen(address, timeout=_TIMEOUT_S) as response:
            stated = response.headers.get("Content-Length")
            while piece := response.read(_PIECE):
                digest.update(piece)
                count += len(piece)
    except Exception as error:  # noqa: BLE001  of sockets, HTTP and TLS: all the same to who reads
        text = str(error).replace(address, shown(file.href))
        raise ReadError(f"{shown(file.href)} cannot be read: {text}") from None
    if stated is not None and count != int(stated):
        raise ReadError(f"{shown(file.href)} cannot be read: {count:,} of {stated} bytes came.")
    return digest.hexdigest()
