"""Raster files on disk and on the web: signed, checked before they are read, tried again, and kept open.

Open datasets are kept one a file and thread: a GDAL dataset must not be used by two threads.
"""

from __future__ import annotations

import logging
import os
import re
import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from email.message import Message
from functools import lru_cache
from http.client import HTTPException
from typing import Any, TypeVar
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import numpy as np
import rasterio
from cachetools import TTLCache
from numpy.typing import NDArray
from rasterio._err import CPLE_BaseError  # what GDAL says of a header's fields, which rasterio passes on as it is
from rasterio.windows import Window

from landweave.core.budget import THREADS_A_WORKER
from landweave.core.checksums import Checksum
from landweave.core.errors import MissingFileError, ReadError
from landweave.core.lattice import Extent
from landweave.core.retry import Outage, Retry, count_retry
from landweave.sources.integrity import find_damage
from landweave.sources.object_files import StoreSession, in_object_store, object_version, vsi_name
from landweave.sources.sidecars import find_foreign_reference
from landweave.sources.signing import signer

T = TypeVar("T")

DATASETS_PER_THREAD = 32
"""Datasets a thread keeps open, the least recently used closed first."""

GDAL_CACHE_BYTES = 64 * 2**20
"""Decoded blocks that GDAL keeps in a process, all threads together. GDAL's own default is 5 % of the machine."""

DATASET_BYTES = 350_000
"""Memory of an open dataset: its decoder and the block at hand. Measured on tiled deflate GeoTIFF."""

KEPT_BYTES = GDAL_CACHE_BYTES + THREADS_A_WORKER * DATASETS_PER_THREAD * DATASET_BYTES
"""Memory of open datasets in a worker, once it has opened more than it keeps."""

GDAL_OPTIONS: dict[str, str | int] = {
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",  # masks and world files are looked up by name, not by listing the folder
    "GDAL_CACHEMAX": GDAL_CACHE_BYTES,
    "AAIGRID_DATATYPE": "Float32",  # of text, of which a tile of the sea, or of nodata, would be integers beside floats
}

_DECODERS: ContextVar[int] = ContextVar("decoders", default=1)  # a worker's cores are counted by its threads

DRIVERS = [
    *("GTiff", "JP2OpenJPEG", "JP2KAK", "JP2ECW", "JP2MrSID", "ECW", "MrSID", "HFA", "ENVI", "EHdr", "BIL"),
    *("AAIGrid", "SRTMHGT", "USGSDEM", "DTED", "NITF", "PNG", "JPEG", "BMP"),
]
"""Formats that imagery and elevation are delivered in. GDAL opens no other: a file on the web that is text of a VRT
could name files of this machine, and of any other; so could a header of ERMapper."""

NETWORK_SYSTEMS = ("/vsicurl", "/vsis3", "/vsigs", "/vsiaz", "/vsiadls", "/vsioss", "/vsiswift")
"""GDAL's file systems whose files lie on servers."""

_NETWORK: dict[str, str | int | float] = {
    "GDAL_HTTP_MAX_RETRY": 4,  # of what may pass: 429, 500, 502, 503, 504, lost connections
    "GDAL_HTTP_RETRY_DELAY": 0.5,  # seconds, doubled each time
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,  # seconds below the speed, in bytes a second, that end a transfer
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,
    "GDAL_INGESTED_BYTES_AT_OPEN": 2**15,  # the header of a COG in one request
    # Otherwise a file that could not be reached once is never looked for again by that process: a notebook, a worker.
    "CPL_VSIL_CURL_NON_CACHED": ":".join(f"{each}/" for each in NETWORK_SYSTEMS),
}
"""How GDAL reads over HTTP."""

PAUSES_S = (0.5, 1.0, 2.0, 4.0, 8.0, 8.0)
"""Seconds before another try to read a file whose server does not respond, or not well."""

BUDGET_S = 240.0
"""Seconds after which a read is not tried again: GDAL may wait for half a minute in each of them."""

_OUTAGE = Outage()

_STATUS = re.compile(r"HTTP (?:response |error )?(?:code ?: ?|Error )?(\d{3})")
_ADVICE = {
    "401": "it wants a signed address, as inputs of kind stac make by sign",
    "403": "access is refused, or the signature has expired: run again to sign anew",
    "404": "it is not there: it was moved or removed",
    "410": "it is not there any more",
}
"""Statuses that do not pass: of everything else a server is asked again."""

_HEAD_REFUSED = (403, 405, 501)
"""A server may refuse to say what a file is, and give the file."""

_GONE = ("404", "410")
_REQUESTS_AT_ONCE = 16
_TIMEOUT_S = 10
_REMEMBERED_S = 600

Options = tuple[tuple[str, Any], ...]
"""Options of an object store, as sorted pairs: they can be kept and compared."""

Version = tuple[int, str]
"""Bytes of a file, and its modification time in nanoseconds or its etag; ``(0, "")`` where neither is known."""


@dataclass(frozen=True, kw_only=True)
class RasterFile:
    """The address of a raster file.

    Attributes
    ----------
    href
        Path or URL, never signed.
    sign
        Who signs the URL at each read (`landweave.sources.signing`); None for open files.
    version
        Version that the file must still have; None accepts whatever is there.
    storage_options
        Of its object store, as sorted pairs; never shown.
    checksum
        Of its bytes (`landweave.sources.checksums.check_file`); None where nobody states one.
    """

    href: str
    sign: str | None = None
    version: Version | None = None
    storage_options: tuple[tuple[str, Any], ...] = field(default=(), repr=False)
    checksum: Checksum | None = None


def is_url(path: str) -> bool:
    """Whether only GDAL can open ``path``: such a file cannot be listed."""
    return "://" in path or path.startswith("/vsi")


def shown(href: str) -> str:
    """An address as it may be shown: without its query, which may hold a secret."""
    return href.partition("?")[0] if is_url(href) else href


def file_version(path: str) -> Version:
    """Bytes of a local file and its modification time in nanoseconds; ``(0, "")`` for a URL (`remote_version`).

    Raises
    ------
    ReadError
        When there is no such file.
    """
    if is_url(path):
        return 0, ""
    try:
        status = os.stat(path)  # noqa: PTH116  of thousands of files
    except (OSError, ValueError) as error:  # a name that no file has
        kind = MissingFileError if isinstance(error, FileNotFoundError) else ReadError
        raise kind(f"{path} cannot be read: {getattr(error, 'strerror', error)}") from error
    return status.st_size, str(status.st_mtime_ns)


def file_format(href: str) -> str:
    """GDAL's name of a format, by the file's ending."""
    return "JP2OpenJPEG" if re.search(r"\.(jp2|j2k)($|\?)", href, re.IGNORECASE) else "GTiff"


def query_file(file: RasterFile, query: Callable[[Dataset], T]) -> T:
    """The value of ``query`` on the open dataset; retried after `PAUSES_S` where a server fails in a way that may pass.

    Parameters
    ----------
    file
        Which file; its URL is signed at each try.
    query
        A function of the calling thread's open dataset; it must not keep the dataset.

    Raises
    ------
    ReadError
        When the file cannot be opened or read, has changed since it was indexed, or is damaged: with its address,
        without query or signature, and the HTTP status.
    """

    def attempt() -> T:
        with _open(file) as dataset:
            return query(dataset)

    return retry_of(file.href).call(attempt)


def read_window(
    file: RasterFile, numbers: Sequence[int], window: Extent, masks: Sequence[int] = (), alpha: int = 0
) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
    """Stored numbers of some bands over a window, all in one call of the decoder, and what the file marks as data.

    Parameters
    ----------
    file
        Which file.
    numbers
        Bands, counted from 1; may be empty where only the mask is needed.
    window
        Pixels of the file, inside it.
    masks
        Bands whose masks count.
    alpha
        Number of the alpha band; 0 where none counts.

    Returns
    -------
    values
        ``(band, y, x)`` in the file's dtype.
    marked
        bool ``(y, x)``, True where all ``masks`` and ``alpha`` are above 0; None where there are none.

    Raises
    ------
    ReadError
        As `query_file`.
    """
    part = Window(window.x.start, window.y.start, window.x.size, window.y.size)

    def read(dataset: rasterio.DatasetReader) -> tuple[NDArray[Any], NDArray[np.bool_] | None]:
        planes = [dataset.read_masks(list(masks), window=part)] if masks else []
        planes += [dataset.read([alpha], window=part)] if alpha else []
        marked = np.logical_and.reduce(np.concatenate(planes) > 0, axis=0) if planes else None
        return dataset.read(list(numbers), window=part) if numbers else np.zeros((0, *window.shape)), marked

    return query_file(file, read)


def file_versions(hrefs: Sequence[str], sign: str | None, storage_options: Options = ()) -> dict[str, Version]:
    """Version of each file by its address; ``(0, "")`` where a server does not say. Servers are queried in parallel.

    Parameters
    ----------
    hrefs
        Paths or URLs; each is looked up once.
    sign
        Who signs URLs.
    storage_options
        Of files in an object store.
    """
    unique = list(dict.fromkeys(hrefs))
    with ThreadPoolExecutor(_REQUESTS_AT_ONCE) as pool:
        return dict(
            zip(unique, pool.map(lambda href: _version_anywhere(href, sign, storage_options), unique), strict=True)
        )


class _ChangedFileError(ReadError):
    """A file is another one than was indexed: asking again does not help."""


class Dataset(rasterio.DatasetReader):  # type: ignore[misc]  # rasterio has no types
    """A dataset that reads its CRS by `stated_crs` alone: opening it takes a tenth of the time. Its ``crs`` is None."""

    def read_crs(self) -> None:
        """Called by rasterio when it opens a file."""

    def stated_crs(self) -> rasterio.CRS | None:
        """The CRS that the file states; None without one."""
        return super().read_crs()


class _OpenDatasets(threading.local):
    """Open datasets of the calling thread by path, version and options, the least recently used first."""

    def __init__(self) -> None:
        self.datasets: OrderedDict[tuple[str, str, Options], Dataset] = OrderedDict()


_OPEN = _OpenDatasets()


@contextmanager
def open_dataset(path: str, version: str, storage_options: Options = ()) -> Iterator[Dataset]:
    """The calling thread's open dataset of a file, for one read.

    Parameters
    ----------
    path
        Path or URL that GDAL opens.
    version
        Another version of a file gets a dataset of its own.
    storage_options
        Of a file in an object store.

    Raises
    ------
    ReadError
        When the file cannot be opened, or the read inside fails; the dataset is closed then.
    """
    datasets, key = _OPEN.datasets, (path, version, storage_options)
    # On the web, masks and world files beside a file are not looked up one by one.
    no_listing = {"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"} if is_url(path) else {}
    session, name = None, path
    if in_object_store(path):
        session, name = StoreSession(path, storage_options), vsi_name(path)
    decoders = {"GDAL_NUM_THREADS": str(_DECODERS.get())}
    # As Python's own requests: a company's authority. The variable of GDAL has been set by rasterio to that of certifi.
    trusted = {"GDAL_CURL_CA_BUNDLE": file} if (file := os.environ.get("SSL_CERT_FILE")) else {}
    with rasterio.Env(session, **{**GDAL_OPTIONS, **decoders, **_NETWORK, **no_listing, **trusted}):
        try:
            if key not in datasets:
                datasets[key] = Dataset(name, driver=DRIVERS)
            datasets.move_to_end(key)
            yield datasets[key]
        except (rasterio.errors.RasterioError, CPLE_BaseError, OSError) as error:
            failed = datasets.pop(key, None)
            if failed is not None:
                failed.close()
            raise ReadError(f"{path} cannot be read: {error.__cause__ or error}") from error
        while len(datasets) > DATASETS_PER_THREAD:
            datasets.popitem(last=False)[1].close()


@contextmanager
def decoded_by(threads: int) -> Iterator[None]:
    """Let files that are opened in a ``with`` block be decoded by so many threads of GDAL's, the same bits faster."""
    token = _DECODERS.set(threads)
    try:
        yield
    finally:
        _DECODERS.reset(token)


def close_dataset(path: str) -> None:
    """Close the calling thread's open datasets of a file that is not read again soon."""
    for key in [key for key in _OPEN.datasets if key[0] == path]:
        _OPEN.datasets.pop(key).close()


@contextmanager
def _open(file: RasterFile) -> Iterator[Dataset]:
    path, version = signed(file.href, file.sign), _checked_version(file)
    try:
        with open_dataset(path, version, file.storage_options) as dataset:
            yield dataset
    except ReadError as error:
        text = str(error).replace(path, shown(file.href)).replace(file.href, shown(file.href))
        status = _STATUS.search(text)
        kind = MissingFileError if status and status.group(1) in _GONE else ReadError
        raise kind(_advised(text)) from None  # its cause holds the signed address


def _checked_version(file: RasterFile) -> str:
    """Version of a file that has not changed since it was indexed and is not damaged; empty where none is known."""
    is_remote = is_url(file.href)
    if is_remote and file.version:
        size, version = remote_version(file.href, file.sign, file.storage_options)
    else:
        size, version = file_version(file.href)
    if file.version not in (None, (size, version)):
        # Otherwise a block would not be what the ledger says it is.
        raise _ChangedFileError(
            f"{shown(file.href)} changed during the run: indexed with {file.version[0]} bytes "
            f"(modified {file.version[1]}), now {size} ({version}). Run again."
        )
    is_new = file.version is None and not is_url(file.href)
    if is_new and (problem := _damage(file.href, version) or find_foreign_reference(file.href)):
        raise ReadError(f"{file.href} {problem}. Fetch it again.")
    return version


@lru_cache(maxsize=2**17)
def _damage(path: str, version: str) -> str:
    return find_damage(path)


def _version_anywhere(href: str, sign: str | None, storage_options: Options) -> Version:
    try:
        return remote_version(href, sign, storage_options) if is_url(href) else file_version(href)
    except OSError:
        return 0, ""


_REMEMBERED: TTLCache[tuple[str, str | None, Options], Version] = TTLCache(maxsize=2**17, ttl=_REMEMBERED_S)
_REMEMBERED_LOCK = threading.Lock()


def remote_version(
    href: str, sign: str | None = None, storage_options: Options = (), *, again: bool = False
) -> Version:
    """Bytes of a file on an HTTP server or in an object store and its ETag or date; ``(0, "")`` on other servers.

    What a server says is remembered for `_REMEMBERED_S`; it is asked again as a read is.

    Parameters
    ----------
    href
        Its URL.
    sign
        Who signs it.
    storage_options
        Of its object store.
    again
        Whether the server is asked whatever is remembered.

    Raises
    ------
    ReadError
        When the server does not say: with the address without its query, and the HTTP status.
    """
    if not href.startswith("http") and not in_object_store(href):
        return 0, ""
    key = (href, sign, storage_options)
    with _REMEMBERED_LOCK:
        known = None if again else _REMEMBERED.get(key)
    if known is None:
        if in_object_store(href):
            known = object_version(href, storage_options, again=again)
        else:
            known = retry_of(href).call(lambda: _asked_version(href, sign))
        with _REMEMBERED_LOCK:
            _REMEMBERED[key] = known
    return known


def _asked_version(href: str, sign: str | None) -> Version:
    address = signed(href, sign)
    try:
        try:
            headers = _headers(Request(address, method="HEAD"))
        except HTTPError as error:
            if error.code not in _HEAD_REFUSED:
                raise
            headers = _headers(Request(address, headers={"Range": "bytes=0-0"}))
    except (OSError, HTTPException, ValueError) as error:
        text = str(error).replace(address, shown(href))
        raise ReadError(_advised(f"{shown(href)} cannot be read: {text}")) from None
    size = headers.get("Content-Range", "").rpartition("/")[2] or headers.get("Content-Length", "")
    return int(size) if size.isdigit() else 0, headers.get("ETag") or headers.get("Last-Modified") or ""


def _headers(request: Request) -> Message:
    with urlopen(request, timeout=_TIMEOUT_S) as response:
        headers: Message = response.headers
    return headers


def retry_of(href: str) -> Retry:
    """Of requests for one file: a server is asked again unless it says what does not pass; a disk is not."""
    if not is_url(href):
        return Retry(pauses_s=(), is_transient=_may_pass)
    return Retry(pauses_s=PAUSES_S, is_transient=_may_pass, budget_s=BUDGET_S, outage=_OUTAGE)


def _count_of_gdal(record: logging.LogRecord) -> bool:
    if "Retrying again" in record.getMessage():
        count_retry()
    return True


# GDAL tries single requests of a read again by itself, which costs less than the whole read, and only logs that.
logging.getLogger("rasterio._env").addFilter(_count_of_gdal)


def _may_pass(error: BaseException) -> bool:
    status = _STATUS.search(str(error))
    return type(error) is ReadError and not (status and status.group(1) in _ADVICE)


def _advised(text: str) -> str:
    status = _STATUS.search(text)
    advice = _ADVICE.get(status.group(1), "") if status else ""
    return f"{text} ({advice})" if advice else text


def signed(href: str, sign: str | None) -> str:
    """An address as it is requested.

    Parameters
    ----------
    href
        Path or URL.
    sign
        Who signs it; a path is never signed.
    """
    return signer(sign)(href) if sign and is_url(href) else href
