"""Open files, one a thread: GDAL handles are not for two threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import rasterio

from landweave.core.budget import THREADS_A_WORKER
from landweave.core.errors import ReadError

DATASETS_PER_THREAD = 32
"""Files a thread keeps open, the least recently used closed first."""

GDAL_CACHE_BYTES = 64 * 2**20
"""Decoded blocks that GDAL keeps in a process, all threads together. GDAL's own default is 5 % of the machine."""

DATASET_BYTES = 350_000
"""Of an open file: its decoder and the block at hand. Measured on tiled deflate GeoTIFF."""

KEPT_BYTES = GDAL_CACHE_BYTES + THREADS_A_WORKER * DATASETS_PER_THREAD * DATASET_BYTES
"""Memory of files in a worker, once it has opened more than it keeps."""

GDAL_OPTIONS: dict[str, str | int] = {
    "GDAL_NUM_THREADS": "1",  # a worker's cores are counted by its threads
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",  # masks and world files are looked up by name, not by listing the folder
    "GDAL_CACHEMAX": GDAL_CACHE_BYTES,
}


def _options(path: str) -> dict[str, str | int]:
    """GDAL's options for a file: on the web, masks and world files beside it are not asked for one by one."""
    is_remote = "://" in path or path.startswith("/vsi")
    return {**GDAL_OPTIONS, **({"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"} if is_remote else {})}


class _Handles(threading.local):
    def __init__(self) -> None:
        self.opened: OrderedDict[tuple[str, str], rasterio.DatasetReader] = OrderedDict()


_HANDLES = _Handles()


@contextmanager
def open_dataset(path: str, version: str) -> Iterator[rasterio.DatasetReader]:
    """The calling thread's handle of a file, for one read.

    A file of another ``version`` gets a handle of its own, and a handle that failed is closed.

    Raises
    ------
    ReadError
        When the file cannot be opened, or the read inside fails.
    """
    opened, key = _HANDLES.opened, (path, version)
    with rasterio.Env(**_options(path)):
        try:
            if key not in opened:
                opened[key] = rasterio.open(path)
            opened.move_to_end(key)
            yield opened[key]
        except (rasterio.errors.RasterioError, OSError) as error:
            failed = opened.pop(key, None)
            if failed is not None:
                failed.close()
            cause = error.__cause__ or error
            raise ReadError(f"{path} cannot be read: {cause}") from error
        while len(opened) > DATASETS_PER_THREAD:
            opened.popitem(last=False)[1].close()
