"""The location of a store, a local folder or a prefix in S3, Google Cloud Storage or Azure, and objects in it."""

from __future__ import annotations

import hashlib
import os
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from itertools import count, takewhile
from mmap import ACCESS_READ, mmap
from pathlib import Path
from typing import Any, BinaryIO, TypeVar
from urllib.parse import unquote

import obstore
from obstore import exceptions

from landweave.core.errors import ConfigError, OutputError
from landweave.core.paths import from_home, meant_scheme
from landweave.core.secrets import without_secrets
from landweave.store.clients import RETRY, open_client, upload_seconds

SCHEMES = ("s3", "gs", "az")
"""Schemes of URLs of object stores."""

REMOTE_ERRORS = (exceptions.BaseError, OSError)
"""Everything an object store or a file system raises."""

PIECE = 1 << 20
"""Bytes of a file that are copied at once to a local folder."""

READ_AT_ONCE = 16 * PIECE
"""Bytes of an object of any size that are read in one request, far within its time."""

_TRIAL = ".writable-"
_TEMPORARY = (".lease", _TRIAL)
"""Prefixes of the names of objects that exist for a moment: leases, and trials of writing."""

_UNFINISHED = re.compile(r"#\d+$")
"""End of the names under which obstore writes to a disk before it renames what is whole."""

_FIRST_PRINTED = 32

_FEW = 50
"""Objects of a listing that only finds out whether there are any."""

ONE_REQUEST = 5 * 10**9
"""Most bytes of one upload that every object store takes."""

MARK = "landweave_mark"
"""Metadata of an object: the mark of the map that it was made of."""

T = TypeVar("T")


class Listing(dict[str, int]):
    """Bytes of every listed object by its name; of some it is known without a read what they hold."""

    def __init__(self, items: Iterable[Mapping[str, Any]] = ()) -> None:
        found = [item for item in items if item["path"]]  # else the mark of a folder, put by a browser of buckets
        super().__init__((item["path"], item["size"]) for item in found)
        self._etags = {item["path"]: item["e_tag"] for item in found}

    def holds(self, name: str, content: bytes) -> bool:
        """Whether an object is sure to have some content: S3 and GCS give the MD5 of what was put as its ETag.

        Parameters
        ----------
        name
            Of the object.
        content
            All of it.
        """
        digest = hashlib.md5(content, usedforsecurity=False).hexdigest()
        return (self._etags.get(name) or "").strip('"') == digest


@dataclass(frozen=True, kw_only=True)
class Target:
    """The location of a store whose objects are written whole or not at all. Picklable: each process connects anew.

    Attributes
    ----------
    location
        Absolute path of a folder, or a URL without credentials: what messages and provenance may show.
    storage_options
        Settings of the object store, as sorted pairs; they may hold secrets and are never shown.

    Examples
    --------
    >>> Target.parse("s3://maps/gard.zarr", {"region": "eu-west-3", "anonymous": True})
    Target(location='s3://maps/gard.zarr')
    """

    location: str
    storage_options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)

    @classmethod
    def parse(cls, where: str | os.PathLike[str] | Target, storage_options: Mapping[str, Any] | None = None) -> Target:
        """Return the target that a path or URL names.

        Parameters
        ----------
        where
            A local path, ``file://``, ``s3://``, ``gs://`` or ``az://``; a target is returned as it is.
        storage_options
            For object stores: ``endpoint``, ``region``, ``anonymous``, and whatever else obstore knows
            (``access_key_id``, …). What is not given is taken from the environment.

        Raises
        ------
        ConfigError
            For another scheme, an unknown option, credentials inside the URL, or options for a local path.
        """
        if isinstance(where, Target):
            return where
        text, options = os.fspath(where), dict(storage_options or {})
        scheme = text.partition("://")[0] if "://" in text else ""
        if scheme in ("", "file"):
            path = _path_of(text)
            if options:
                raise ConfigError(f"{path} is a local path: {', '.join(sorted(options))} apply to object stores only.")
            place = from_home(path).absolute()
            # What a link leads to: it is one output, with one lease, whatever name it is given.
            return cls(location=os.path.realpath(place) if place.is_symlink() else str(place))
        if scheme not in SCHEMES:
            raise ConfigError(f"Cannot write to {scheme}://: use a local path, or one of {', '.join(SCHEMES)}.")
        if "@" in text.split("/")[2] or "?" in text:
            raise ConfigError(
                f"The {scheme}:// URL holds credentials or a query: give them as options or in the environment."
            )
        _check_url(text)
        if odd := [str(name) for name, value in options.items() if not isinstance(value, str | int | float)]:
            raise ConfigError(f"Options of an object store are text, true or false: {', '.join(sorted(odd))} are not.")
        target = cls(location=text.rstrip("/"), storage_options=tuple(sorted(options.items())))
        open_client(target.location, target.storage_options)
        return target

    def __str__(self) -> str:
        return self.location

    def beside(self, suffix: str) -> tuple[Target, str]:
        """Return the parent of this location, and a name in it: this one's with ``suffix``, of an object beside it."""
        parent, _, name = self.location.rpartition("/")
        if parent.endswith("/"):  # nothing is beside a whole bucket
            return self, suffix
        return Target(location=parent, storage_options=self.storage_options), name + suffix

    @property
    def is_local(self) -> bool:
        """Whether it is a folder of this machine's file system."""
        return "://" not in self.location

    @property
    def objects(self) -> Any:
        """The obstore client, one a process; its own retries are off."""
        return open_client(self.location, self.storage_options)

    def uploader(self, size: int) -> Any:
        """The client for an upload of ``size`` bytes, which has the time that it takes."""
        return open_client(self.location, self.storage_options, 0 if self.is_local else upload_seconds(size))

    def put(self, name: str, content: bytes) -> None:
        """Write one object whole, over an older one.

        Parameters
        ----------
        name
            Path below this location.
        content
            All of it.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        self._call("write", name, lambda: obstore.put(self.uploader(len(content)), name, content, use_multipart=False))

    def put_file(self, name: str, content: BinaryIO, mark: str = "") -> None:
        """Write one object whole from a file, over an older one; the file is read from its beginning.

        Memory holds little of it: on disk it is copied piece by piece; elsewhere the system maps it into memory, as
        an object is not sent in parts (a killed upload would leave some that are invisible and billed).

        Parameters
        ----------
        name
            Path below this location.
        content
            A file of the operating system, open for reading.
        mark
            Of the map that the file is made of, for `mark_of`; kept with an object of an object store.

        Raises
        ------
        OutputError
            When it cannot be written, or is larger than one request to an object store.
        """
        content.seek(0)  # and what Python still holds of it goes to the file
        size = os.fstat(content.fileno()).st_size
        if not self.is_local and size > ONE_REQUEST:
            raise OutputError(
                f"Cannot write {self}/{name}: it has {size:,} bytes, an object store takes {ONE_REQUEST:,} in one "
                "request. Write it to a disk, or in several files."
            )

        def once() -> None:
            content.seek(0)
            if self.is_local:
                obstore.put(self.objects, name, content, use_multipart=True, chunk_size=PIECE, max_concurrency=1)
                return
            mapped = mmap(content.fileno(), 0, access=ACCESS_READ) if size else b""
            attributes: Any = {MARK: mark} if mark else None
            obstore.put(self.uploader(size), name, mapped, use_multipart=False, attributes=attributes)

        self._call("write", name, once)

    def mark_of(self, name: str) -> str | None:
        """Return the mark that an object was written with, empty where it has none; None where there is no object."""
        options: Any = {"head": True}
        found = self._found(name, lambda: obstore.get(self.objects, name, options=options).attributes)
        return None if found is None else str(found.get(MARK, ""))

    def version(self, name: str) -> tuple[int, str]:
        """Return the bytes of an object and its ETag, or its time where the store gives none.

        Raises
        ------
        FileNotFoundError
            When there is no such object.
        OutputError
            When the store does not respond, or refuses.
        """
        found = self._call("read", name, lambda: obstore.head(self.objects, name))
        return found["size"], found["e_tag"] or found["last_modified"].isoformat()

    def create(self, name: str, content: bytes) -> bool:
        """Write one object unless it exists: True for exactly one of any number of writers.

        Writers must write different bytes: after a lost response, the stored bytes show which try succeeded.

        Parameters
        ----------
        name
            Path below this location.
        content
            All of it.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        tries = 0

        def once() -> bool:
            nonlocal tries
            tries += 1
            try:
                obstore.put(self.objects, name, content, mode="create", use_multipart=False)
            except exceptions.AlreadyExistsError:
                return False
            return True

        created = self._call("create", name, once)
        return created or (tries > 1 and self.get(name) == content)

    def get(self, name: str) -> bytes | None:
        """Return the bytes of one object; None where there is none.

        Raises
        ------
        OutputError
            When it cannot be read.
        """
        return self._found(name, lambda: bytes(obstore.get(self.objects, name).bytes()))

    def checksum(self, name: str) -> int | None:
        """Return the checksum of one object as the ledger has it; None where there is none."""
        content = self.get(name)
        return None if content is None else checksum64(content)

    def digest(self, name: str, algorithm: str) -> str:
        """Return the hexadecimal digest of one object, which is read part by part, each tried again on its own.

        Parameters
        ----------
        name
            Path below this location.
        algorithm
            As `hashlib` calls it.

        Raises
        ------
        FileNotFoundError
            When there is no such object.
        OutputError
            When it cannot be read.
        """
        found, size = hashlib.new(algorithm), self.version(name)[0]
        for start in range(0, size, READ_AT_ONCE):
            stop = min(start + READ_AT_ONCE, size)
            part = partial(obstore.get_range, self.objects, name, start=start, end=stop)
            found.update(self._call("read", name, part))
        return found.hexdigest()

    def start_of(self, name: str, most: int) -> bytes:
        """Return the bytes of one object, the first ``most`` of a larger one.

        Raises
        ------
        FileNotFoundError
            When there is no such object.
        OutputError
            When it cannot be read.
        """
        size = min(self.version(name)[0], most)
        if not size:
            return b""
        return bytes(self._call("read", name, lambda: obstore.get_range(self.objects, name, start=0, end=size)))

    def written_at(self, name: str) -> float | None:
        """Return when one object was written, seconds since 1970; None where there is none."""
        found = self._found(name, lambda: obstore.head(self.objects, name))
        return None if found is None else float(found["last_modified"].timestamp())

    def exists(self, name: str) -> bool:
        """Return whether there is such an object."""
        return self._found(name, lambda: obstore.head(self.objects, name)) is not None

    def delete(self, name: str) -> None:
        """Remove one object, and what killed writers left of it; nothing happens where there is none."""
        with suppress(FileNotFoundError):
            self._call("delete", name, lambda: obstore.delete(self.objects, name))
        if self.is_local:
            parts = (Path(self.location, f"{name}#{number}") for number in count(1))
            for part in takewhile(Path.exists, parts):
                part.unlink(missing_ok=True)

    def remove_unfinished(self) -> None:
        """Remove what killed writers left half written beside whole objects on a disk; no listing shows it.

        Nobody else may be writing here.
        """
        for folder, _, names in os.walk(self.location) if self.is_local else ():
            whole = set(names)
            for name in names:
                end = _UNFINISHED.search(name)
                if name.startswith(_TRIAL) or (end and name[: end.start()] in whole):
                    with suppress(OSError):  # another user's
                        Path(folder, name).unlink()

    def sizes(self, prefix: str = "") -> Listing:
        """Return the bytes of every object below ``prefix`` (whole path segments) by its name, in one listing."""
        if self._is_absent:
            return Listing()
        return Listing(self._call("list", prefix, lambda: obstore.list(self.objects, prefix or None).collect()))

    def list(self, prefix: str = "") -> tuple[str, ...]:
        """Return the names of all objects below ``prefix`` (whole path segments), sorted."""
        return tuple(sorted(self.sizes(prefix)))

    def names(self) -> set[str]:
        """Return the names of the objects that lie directly here, not those below, in one listing.

        Raises
        ------
        OutputError
            When it may not be listed.
        """
        found = self._call("list", "", lambda: obstore.list_with_delimiter(self.objects))
        return {item["path"] for item in found["objects"]}

    def peek(self, but: str = "") -> str:
        """Return the name of anything that is stored here, a folder included; empty where nothing is.

        Leases and trials of writing are not counted, nor is what is named ``but``.
        """
        if self._is_absent:
            return ""
        if self.is_local:
            names = self._call("list", "", lambda: sorted(path.name for path in Path(self.location).iterdir()))
        else:
            first = self._call("list", "", lambda: next(iter(obstore.list(self.objects, chunk_size=_FEW)), []))
            names = sorted(item["path"].partition("/")[0] for item in first)
        return next((name for name in names if not name.startswith(_TEMPORARY) and name != but), "")

    def check_writable(self) -> None:
        """Write, read and remove a small object, leaving nothing behind, folders included.

        Raises
        ------
        OutputError
            When any of it fails.
        """
        created = self._make_folders()
        name, token = f"{_TRIAL}{uuid.uuid4().hex}", uuid.uuid4().bytes
        try:
            self.put(name, token)
            found = self.get(name)
            self.delete(name)
        finally:
            for folder in created:
                with suppress(OSError):
                    folder.rmdir()
        if found != token:
            raise OutputError(f"Cannot write to {self}: 16 bytes written, {len(found or b'')} read back.")

    def is_writable(self) -> bool:
        """Return whether `check_writable` succeeds."""
        try:
            self.check_writable()
        except OutputError:
            return False
        return True

    @property
    def _is_absent(self) -> bool:
        """Whether it is a local folder that does not exist: opening a client would create it, and reading must not."""
        return self.is_local and not Path(self.location).is_dir()

    def _make_folders(self) -> tuple[Path, ...]:
        """Create the local folder; return those that were missing, the deepest first."""
        if not self.is_local:
            return ()
        path = Path(self.location)
        missing = tuple(folder for folder in (path, *path.parents) if not folder.exists())
        try:
            path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OutputError(f"Cannot write to {self}: {error.strerror or error}. Choose another output.") from error
        return missing

    def _found(self, name: str, request: Callable[[], T]) -> T | None:
        """What a request for an object gives; None where there is no such object."""
        try:
            return self._call("read", name, request)
        except FileNotFoundError:
            return None

    def _call(self, verb: str, name: str, request: Callable[[], T]) -> T:
        if verb in ("read", "delete") and self._is_absent:
            raise FileNotFoundError(f"{self}/{name}")
        try:
            return RETRY.call(request)
        except FileNotFoundError:
            if verb in ("read", "delete"):
                raise
            raise OutputError(f"Cannot {verb} {self}/{name}: no such bucket or folder.") from None
        except REMOTE_ERRORS as error:
            raise unwritable(self, f"{verb} {name}".rstrip(), error) from error


def _path_of(text: str) -> str:
    """The path of what is no URL of an object store; that of a ``file://`` URL is encoded as in every URL.

    >>> _path_of("file:///data/my%20maps/a.zarr"), _path_of("maps/100%25.zarr")
    ('/data/my maps/a.zarr', 'maps/100%25.zarr')
    """
    of_gdal = next((each for each in SCHEMES if text.startswith(f"/vsi{each}/")), None)
    if scheme := meant_scheme(text) or of_gdal:
        raise ConfigError(f"{without_secrets(text)} is no path: a URL begins with {scheme}://.")
    if not text.startswith("file://"):
        return text
    host, slash, path = text.removeprefix("file://").partition("/")
    if host not in ("", "localhost") or not slash:
        raise ConfigError(f"{without_secrets(text)} names another machine: file:///folder/name is of this one.")
    return unquote(f"/{path}")


def _check_url(text: str) -> None:
    """Refuse a URL of an object store that names one place as another does, or none."""
    bucket, *names = text.partition("://")[2].rstrip("/").split("/")
    if not bucket or ":" in bucket:
        raise ConfigError(
            f"{text} names no bucket: s3://bucket/map.zarr does; the address of a server is the option endpoint."
        )
    if {".", ".."} & {*names} or any(ord(letter) < _FIRST_PRINTED for letter in text):
        raise ConfigError(f"{text!r} has a part . or .., or a letter that cannot be printed: write it without.")


def unwritable(target: Target, what: str, error: BaseException) -> OutputError:
    """Return the error for a target that refused, in one line.

    Parameters
    ----------
    target
        Where the request went.
    what
        What could not be done, as ``write zarr.json``.
    error
        The reason.
    """
    reason = (str(error).strip() or type(error).__name__).splitlines()[0]
    advice = "the place, its rights and free space" if target.is_local else "the place, its rights and the credentials"
    return OutputError(f"Cannot {what} at {target}: {reason}. Check {advice}.")


def checksum64(content: Any) -> int:
    """Return the first 8 bytes of the sha256 of ``content`` as an unsigned number.

    >>> hex(checksum64(b""))
    '0xe3b0c44298fc1c14'
    """
    return number64(hashlib.sha256(content))


def number64(digest: hashlib._Hash) -> int:
    """Return the first 8 bytes of a ``digest`` as an unsigned number."""
    return int.from_bytes(digest.digest()[:8], "big")
