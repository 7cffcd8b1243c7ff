"""Files behind the addresses of a catalog: opened, read, asked for their size, and named when they fail."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import lru_cache
from http.client import HTTPException
from typing import TypeVar, cast
from urllib.request import Request, urlopen

import numpy as np
import rasterio
from cachetools import TTLCache, cached
from numpy.typing import NDArray
from rasterio.windows import Window

from landweave.core.errors import ReadError
from landweave.core.lattice import Extent
from landweave.sources.dataset_pool import open_dataset
from landweave.sources.integrity import find_damage
from landweave.sources.mosaic.listing import is_url
from landweave.sources.raster_facts import file_version
from landweave.sources.stac.signing import signer

Answer = TypeVar("Answer")

_NETWORK: dict[str, str | int | float] = {
    "GDAL_HTTP_MAX_RETRY": 4,  # of what may pass: 429, 500, 502, 503, 504, lost connections
    "GDAL_HTTP_RETRY_DELAY": 0.5,  # seconds, doubled each time
    "GDAL_HTTP_CONNECTTIMEOUT": 10,
    "GDAL_HTTP_LOW_SPEED_TIME": 30,  # seconds below the speed, in bytes a second, that end a transfer
    "GDAL_HTTP_LOW_SPEED_LIMIT": 1000,
    "GDAL_INGESTED_BYTES_AT_OPEN": 2**15,  # the header of a COG in one request
    # Otherwise a file that could not be reached once is never looked for again by that process: a notebook, a worker.
    "CPL_VSIL_CURL_NON_CACHED": "/vsicurl/:/vsis3/:/vsigs/:/vsiaz/:/vsiadls/:/vsioss/:/vsiswift/",
}
"""How GDAL reads over HTTP."""

PAUSES_S = (1.0, 4.0)
"""Seconds before a file is asked for again whose server could not be heard."""

_UNHEARD = re.compile(r"CURL error|Could not resolve|Couldn't connect|Empty reply|timed out", re.IGNORECASE)
"""GDAL itself tries again what a server answers, not that none does."""

_STATUS = re.compile(r"HTTP (?:response|error) code ?: ?(\d{3})")
_MEANINGS = {
    "401": "it wants a signed address: set sign",
    "403": "access is refused, or the signature has expired: set sign, or run again to sign anew",
    "404": "it is not there: the catalog names a file that was moved or removed",
}
_HEADERS_AT_ONCE = 16
_PATIENCE_S = 10
_REMEMBERED_S = 600

Facts = tuple[int, str]
"""Bytes of a file and its version: modification time, etag; 0 and empty where neither can be told."""


@contextmanager
def open_file(href: str, sign: str | None) -> Iterator[rasterio.DatasetReader]:
    """The calling thread's handle of a file, for one read. The address is signed now, and never shown signed.

    Raises
    ------
    ReadError
        When it cannot be opened or read: by its name in the catalog, with what HTTP said.
    """
    path, version = _signed(href, sign), _version(href)
    try:
        with rasterio.Env(**_NETWORK), open_dataset(path, version) as dataset:
            yield dataset
    except ReadError as error:
        told = str(error).replace(path, href)
        raise ReadError(f"{told}{_meaning(told)}") from None  # its cause holds the signed address


def ask_file(href: str, sign: str | None, question: Callable[[rasterio.DatasetReader], Answer]) -> Answer:
    """What ``question`` finds in a file; asked anew, after a pause, where its server could not be heard.

    Raises
    ------
    ReadError
        As `open_file` does, when the last try fails too, or one for a reason that will not pass.
    """
    for pause in PAUSES_S:
        try:
            with open_file(href, sign) as dataset:
                return question(dataset)
        except ReadError as error:
            if not _UNHEARD.search(str(error)):
                raise
        time.sleep(pause)
    with open_file(href, sign) as dataset:
        return question(dataset)


def read_window(href: str, numbers: Sequence[int], window: Extent, sign: str | None) -> NDArray[np.generic]:
    """Bands ``numbers`` of a file ``(band, y, x)`` over ``window``, which lies inside it, in the file's dtype."""
    part = Window(window.x.start, window.y.start, window.x.size, window.y.size)
    return cast("NDArray[np.generic]", ask_file(href, sign, lambda dataset: dataset.read(list(numbers), window=part)))


def file_facts(hrefs: Sequence[str], sign: str | None) -> dict[str, Facts]:
    """Facts of each file by its address; those on the web are asked for together, and none has to answer."""
    unique = list(dict.fromkeys(hrefs))
    with ThreadPoolExecutor(_HEADERS_AT_ONCE) as pool:
        return dict(zip(unique, pool.map(lambda href: _facts(href, sign), unique), strict=True))


def file_format(href: str) -> str:
    """GDAL's name of a format, by the file's ending."""
    return "JP2OpenJPEG" if re.search(r"\.(jp2|j2k)($|\?)", href, re.IGNORECASE) else "GTiff"


def _facts(href: str, sign: str | None) -> Facts:
    if is_url(href):
        return _remote_facts(href, sign) if href.startswith("http") else (0, "")
    try:
        return file_version(href)
    except OSError:
        return 0, ""


@cached(TTLCache(maxsize=2**17, ttl=_REMEMBERED_S), lock=threading.Lock())
def _remote_facts(href: str, sign: str | None) -> Facts:
    request = Request(_signed(href, sign), method="HEAD")
    try:
        with urlopen(request, timeout=_PATIENCE_S) as answer:
            headers = answer.headers
    except (OSError, HTTPException, ValueError):
        return 0, ""
    size = headers.get("Content-Length", "")
    return int(size) if size.isdigit() else 0, headers.get("ETag") or headers.get("Last-Modified") or ""


def _signed(href: str, sign: str | None) -> str:
    return signer(sign)(href) if sign and is_url(href) else href


def _version(href: str) -> str:
    """Modification time of a file on this machine; it is looked through for damage when it is new."""
    if is_url(href):
        return ""
    try:
        _, version = file_version(href)
    except OSError as error:
        raise ReadError(f"{href} cannot be read: {error.strerror}") from error
    damage = _damage(href, version)
    if damage:
        raise ReadError(f"{href} {damage}. Fetch it again.")
    return version


@lru_cache(maxsize=4096)
def _damage(path: str, version: str) -> str:
    return find_damage(path)


def _meaning(told: str) -> str:
    found = _STATUS.search(told)
    return f" ({_MEANINGS[found.group(1)]})" if found and found.group(1) in _MEANINGS else ""
