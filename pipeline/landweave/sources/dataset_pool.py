"""Open datasets, one a file and thread: a GDAL dataset must not be used by two threads."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager

import rasterio

from landweave.core.budget import THREADS_A_WORKER
from landweave.core.errors import ReadError

DATASETS_PER_THREAD = 32
"""Datasets a thread keeps open, the least recently used closed first."""

GDAL_CACHE_BYTES = 64 * 2**20
"""Decoded blocks that GDAL keeps in a process, all threads together. GDAL's own default is 5 % of the machine."""

DATASET_BYTES = 350_000
"""Memory of an open dataset: its decoder and the block at hand. Measured on tiled deflate GeoTIFF."""

KEPT_BYTES = GDAL_CACHE_BYTES + THREADS_A_WORKER * DATASETS_PER_THREAD * DATASET_BYTES
"""Memory of open datasets in a worker, once it has opened more than it keeps."""

GDAL_OPTIONS: dict[str, str | int] = {
    "GDAL_NUM_THREADS": "1",  # a worker's cores are counted by its threads
    "GDAL_DISABLE_READDIR_ON_OPEN": "TRUE",  # masks and world files are looked up by name, not by listing the folder
    "GDAL_CACHEMAX": GDAL_CACHE_BYTES,
}


def _options(path: str) -> dict[str, str | int]:
    """GDAL's options for a file; on the web, masks and world files beside it are not looked up one by one."""
    is_remote = "://" in path or path.startswith("/vsi")
    return {**GDAL_OPTIONS, **({"GDAL_DISABLE_READDIR_ON_OPEN": "EMPTY_DIR"} if is_remote else {})}


class _OpenDatasets(threading.local):
    """Open datasets of the calling thread by path and version, the least recently used first."""

    def __init__(self) -> None:
        self.datasets: OrderedDict[tuple[str, str], rasterio.DatasetReader] = OrderedDict()


_OPEN = _OpenDatasets()


@contextmanager
def open_dataset(path: str, version: str) -> Iterator[rasterio.DatasetReader]:
    """The calling thread's open dataset of a file, for one read.

    Parameters
    ----------
    path
        Path or URL that GDAL opens.
    version
        Another version of a file gets a dataset of its own.

    Raises
    ------
    ReadError
        When the file cannot be opened, or the read inside fails; the dataset is closed then.
    """
    datasets, key = _OPEN.datasets, (path, version)
    with rasterio.Env(**_options(path)):
        try:
            if key not in datasets:
                datasets[key] = rasterio.open(path)
            datasets.move_to_end(key)
            yield datasets[key]
        except (rasterio.errors.RasterioError, OSError) as error:
            failed = datasets.pop(key, None)
            if failed is not None:
                failed.close()
            raise ReadError(f"{path} cannot be read: {error.__cause__ or error}") from error
        while len(datasets) > DATASETS_PER_THREAD:
            datasets.popitem(last=False)[1].close()
