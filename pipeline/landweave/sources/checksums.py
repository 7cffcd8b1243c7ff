"""Checksums of raster files: found beside a delivery, and held against the bytes before the first pixel is read.

::

    SHA256SUMS, MD5SUMS, a.tif.md5, FOLDER.md5 beside tiles ─┐
    `checksums: FILE` of a configuration ────────────────────┼─> Checksum ──> the whole file is held against it, once
    `file:checksum` of a STAC asset ─────────────────────────┘

A file that is not of this machine has to be fetched whole for it, of which a map may need a small part: lists beside
those are looked for where the configuration asks. Folders of a disk and of an object store are listed; a web server
cannot be, and is asked for `_USUAL` names.
"""

from __future__ import annotations

import hashlib
import math
import re
import threading
from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.request import urlopen

from cachetools import LRUCache

from landweave.core.checksums import Checksum, parse_line
from landweave.core.errors import InputError, MissingFileError, ReadError
from landweave.core.words import counted
from landweave.sources.files import (
    Options,
    RasterFile,
    Version,
    file_version,
    is_url,
    remote_version,
    retry_of,
    shown,
    signed,
)
from landweave.sources.object_files import in_object_store, object_content, object_digest, object_names

_SUFFIXES = (".md5", ".sha1", ".sha256", ".sha384", ".sha512")
_LISTS = re.compile(r"(md5|sha(1|256|384|512))?(sums?|checksums?)(\.(txt|md5|sha(1|256|384|512)))?", re.IGNORECASE)
"""Names of lists that are known: SHA256SUMS, md5sums.txt, checksums.md5."""

_USUAL = ("SHA256SUMS", "MD5SUMS")
_ABSENT = (404, 410)
_REFUSED = re.compile(r"HTTP Error 4(?!08|29)\d\d")
"""Of a list that nobody named: a server that has none may say so with 403, or another of these; not with 408 or 429,
by which it says that it had no time."""

_READ_AT_ONCE = 16
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


def find_checksums(
    sizes: Mapping[str, int], wanted: str | bool | None, storage_options: Options = ()
) -> FoundChecksums:
    """The checksums that lists state for the files of a mosaic; of several of a file the strongest. No file is hashed.

    Parameters
    ----------
    sizes
        Bytes of every file, by path or URL.
    wanted
        A list, or whether those beside the files are used: in their folder and the one above, by the usual names, or by
        the name of a file or folder followed by the algorithm. None for those beside files of this machine.
    storage_options
        Of the object store of the files.

    Raises
    ------
    InputError
        When a list that is named or found cannot be read, a server that is asked for one does not respond, or the list
        that is named has none of the files.
    """
    if wanted is False:
        return FoundChecksums()
    named = wanted if isinstance(wanted, str) else ""
    lists, notes = ([named], []) if named else _lists_beside(sizes, storage_options, remote=wanted is True)
    found: dict[str, Checksum] = {}
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        contents = list(pool.map(lambda each: _read_list(each, storage_options, named=bool(named)), lists))
    for each, entries in zip(lists, contents, strict=True):
        if not entries and not named and not _on_the_web(each):  # a web server may have a page for every address
            notes.append(f"{each} has no line that is a checksum")
        for path, checksum in _matches(entries, each, sizes, by_name=bool(named)):
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


def _lists_beside(paths: Iterable[str], storage_options: Options, *, remote: bool) -> tuple[list[str], list[str]]:
    """Lists in the folders of some files and the folders above; notes of folders that are not listed."""
    here_or_asked = (path for path in paths if not is_url(path) or (remote and _is_fetched(path)))
    files = [shown(path) for path in here_or_asked]
    names = {path + suffix for path in files for suffix in _SUFFIXES}
    folders = dict.fromkeys(map(_folder, files))
    named_so = {folder + suffix for folder in folders for suffix in _SUFFIXES}
    above = [each for each in map(_folder, folders) if not each.endswith((":", ":/"))]  # of a whole bucket or server
    every = list(dict.fromkeys([*folders, *above]))
    with ThreadPoolExecutor(_READ_AT_ONCE) as pool:
        listed = dict(zip(every, pool.map(lambda each: _names_in(each, storage_options), every), strict=True))
    found: dict[str, None] = {}
    for folder, maybe in listed.items():
        inside = maybe or set()
        for name in sorted(inside):
            path = _join(folder, name)
            # In a folder above other deliveries may lie; a file that is named after another is of that one.
            own = folder in folders and name.lower().endswith(_SUFFIXES) and PurePosixPath(name).stem not in inside
            if _LISTS.fullmatch(name) or path in named_so | names or own:
                found[path] = None
    notes = [f"{each} cannot be listed: checksums in it are not looked for" for each in every if listed[each] is None]
    return [each for each in found if is_url(each) or Path(each).is_file()], notes


def _is_fetched(path: str) -> bool:
    return in_object_store(path) or _on_the_web(path)


def _on_the_web(path: str) -> bool:
    return path.startswith(("http://", "https://"))


def _folder(path: str) -> str:
    return path.rpartition("/")[0] if is_url(path) else str(Path(path).parent)


def _join(folder: str, name: str) -> str:
    return f"{folder}/{name}" if is_url(folder) else str(Path(folder, name))


def _names_in(folder: str, storage_options: Options) -> set[str] | None:
    """Names of the files in a folder, those that are looked for on a web server; None where it is not listed."""
    if in_object_store(folder):
        try:
            return object_names(folder, storage_options)
        except ReadError as error:
            raise _unusable(str(error)) from error
    if is_url(folder):
        return set(_USUAL)
    try:
        return {each.name for each in Path(folder).iterdir()}
    except OSError:
        return set()


def _read_list(path: str, storage_options: Options, *, named: bool) -> list[tuple[str, Checksum]]:
    """Lines of a list; none where it is not there but for one that was named."""
    try:
        content = _list_content(path, storage_options)
    except OSError as error:
        if not named and is_url(path) and (isinstance(error, MissingFileError) or _REFUSED.search(str(error))):
            return []
        told = isinstance(error, ReadError)
        raise _unusable(str(error) if told else f"{path} cannot be read: {error.strerror}") from error
    if len(content) > _LONGEST_LIST:
        raise InputError(f"{shown(path)} has more than {_LONGEST_LIST:,} bytes: it is no list of checksums.")
    lines = content.decode("utf-8", "surrogateescape").splitlines()
    parsed = (parse_line(line.lstrip("\ufeff"), shown(path)) for line in lines)
    return [each for each in parsed if each is not None]


def _unusable(problem: str) -> InputError:
    return InputError(f"checksums: {problem.rstrip('.')}. Name a list that can be read, or set checksums: false.")


def _list_content(path: str, storage_options: Options) -> bytes:
    """At most one byte more than a list may have."""
    most = _LONGEST_LIST + 1
    if in_object_store(path):
        return object_content(path, storage_options, most)
    if _on_the_web(path):
        return retry_of(path).call(lambda: b"".join(_pieces(path, shown(path), most)))
    with Path(path).open("rb") as file:
        return file.read(most)


def _matches(
    entries: Sequence[tuple[str, Checksum]], where: str, paths: Iterable[str], *, by_name: bool
) -> Iterator[tuple[str, Checksum]]:
    """Files that a list states a checksum of.

    Its names count from its folder, or from the folder that it is named after; those that a list elsewhere has of files
    on the web are the end of an address. ``by_name`` takes the last part of a name as well, where only one line ends
    so: the list may have been made elsewhere.
    """
    beside = where.removesuffix(PurePosixPath(where).suffix)
    if len(entries) == 1 and beside in paths:
        yield beside, entries[0][1]
        return
    listed = dict(entries)
    last: dict[str, list[Checksum]] = {}
    for name, checksum in entries:
        last.setdefault(PurePosixPath(name).name, []).append(checksum)
    for path in paths:
        own = PurePosixPath(shown(path)).name
        far = is_url(path) and not is_url(where)
        keys = _endings(path) if far else [_relative(shown(path), folder) for folder in (_folder(where), beside)]
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
    digest = hashlib.new(algorithm)
    for piece in _pieces(signed(file.href, file.sign), shown(file.href)):
        digest.update(piece)
    return digest.hexdigest()


def _pieces(address: str, name: str, most: float = math.inf) -> Iterator[bytes]:
    """The bytes at an address on a web server, which messages call ``name``; not many more than ``most``."""
    count = 0
    try:
        with urlopen(address, timeout=_TIMEOUT_S) as response:
            stated = response.headers.get("Content-Length")
            while count < most and (piece := response.read(_PIECE)):
                count += len(piece)
                yield piece
    except Exception as error:  # noqa: BLE001  of sockets, HTTP and TLS: all the same to who reads
        kind = MissingFileError if getattr(error, "code", None) in _ABSENT else ReadError
        raise kind(f"{name} cannot be read: {str(error).replace(address, name)}") from None
    if stated is not None and count < min(int(stated), most):
        raise ReadError(f"{name} cannot be read: {count:,} of {stated} bytes came.")
