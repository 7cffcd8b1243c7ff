"""One tile's pixels, with what makes some of them no measurement: tags, masks, alpha, nodata borders, NaN."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray
from rasterio.windows import Window

from landweave.core.errors import ReadError
from landweave.core.lattice import Extent
from landweave.sources.dataset_pool import open_dataset
from landweave.sources.mosaic.listing import Product
from landweave.sources.mosaic.nodata_border import NodataBorder, find_nodata_border
from landweave.sources.mosaic.tile_index import Tile
from landweave.sources.raster_facts import RasterFacts, file_version

BORDERS_PER_PROCESS = 128
"""Collars remembered, at most 0.4 MB each (four profiles of a 25,000 px tile)."""


@dataclass(frozen=True, kw_only=True)
class TileReader:
    """Reads tiles of one delivery by its rules. Holds no handle; may be used from several threads.

    Attributes
    ----------
    products
        Which bands each of a tile's files gives.
    nodata
        Value instead of the files' own tags; None to go by the tags.
    nodata_border_level
        Brightest value of a collar; None to keep what is black.
    """

    products: tuple[Product, ...]
    nodata: float | None = None
    nodata_border_level: float | None = None

    def read(self, tile: Tile, window: Extent, names: Sequence[str]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        """Bands ``names`` over ``window``, in the tile's pixels and inside it.

        Returns
        -------
        values
            ``(band, y, x)`` in the files' dtype.
        measured
            bool ``(y, x)``, True where the tile holds a measurement. It rests on every band of the delivery, so it is
            the same whichever are asked for.

        Raises
        ------
        ReadError
            When a file cannot be read, or is not the one that was indexed.
        """
        wanted = tuple(dict.fromkeys([*names, *self._telling(tile)]))
        planes: dict[str, NDArray[Any]] = {}
        measured = np.ones(window.shape, bool)
        for product, header in zip(self.products, tile.files, strict=True):
            here = [
                (name, number) for name, number in zip(product.names, product.numbers, strict=True) if name in wanted
            ]
            masked = bool(header.masked or self._alpha(product, header))
            if here or masked:
                values, mask = _read_file(header, window, [number for _, number in here], masked=masked)
                planes.update(zip([name for name, _ in here], values, strict=True))
                measured &= mask
        self._mask_values(tile, planes, measured)
        if self.nodata_border_level is not None:
            nodata_border = _border_of(tile, self.nodata_border_level)
            if nodata_border is not None:
                measured &= ~nodata_border.mask(window)
        return np.stack([planes[name] for name in names]), measured

    def _telling(self, tile: Tile) -> Iterable[str]:
        """Bands whose values say where there is no measurement."""
        for product, header in zip(self.products, tile.files, strict=True):
            for name, number in zip(product.names, product.numbers, strict=True):
                if self._blank(header, number) is not None or np.dtype(header.dtype).kind == "f":
                    yield name

    def _blank(self, header: RasterFacts, number: int) -> float | None:
        value = self.nodata if self.nodata is not None else header.nodata[number - 1]
        return None if value is None or np.isnan(value) else value

    def _alpha(self, product: Product, header: RasterFacts) -> bool:
        # Many writers flag the fourth band of RGB + NIR as alpha: a band that is asked for is a band.
        return bool(header.alpha) and header.alpha not in product.numbers

    def _mask_values(self, tile: Tile, planes: dict[str, NDArray[Any]], measured: NDArray[np.bool_]) -> None:
        blank: NDArray[np.bool_] | None = None
        for product, header in zip(self.products, tile.files, strict=True):
            for name, number in zip(product.names, product.numbers, strict=True):
                value = self._blank(header, number)
                if name in planes and planes[name].dtype.kind == "f":
                    measured &= ~np.isnan(planes[name])
                if value is not None:
                    same = planes[name] == _as(value, planes[name].dtype)
                    blank = same if blank is None else blank & same
        if blank is not None:
            measured &= ~blank


def _as(value: float, dtype: np.dtype[Any]) -> Any:
    """``value`` as a file of this dtype holds it: the tag -9999.0059 is a double, the pixels are float32."""
    return dtype.type(value) if dtype.kind == "f" else value


def _read_file(
    header: RasterFacts, window: Extent, numbers: list[int], *, masked: bool
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    part = Window(window.x.start, window.y.start, window.x.size, window.y.size)
    _check_version(header)
    with open_dataset(header.path, header.version) as dataset:
        values = dataset.read(numbers, window=part) if numbers else np.zeros((0, *window.shape), header.dtype)
        mask = np.ones(window.shape, bool)
        if masked and header.masked:
            mask = dataset.read_masks(1, window=part) > 0
        elif masked:
            mask = dataset.read(header.alpha, window=part) > 0
    return values, mask


def _check_version(header: RasterFacts) -> None:
    """Refuse a file that changed since it was indexed: its block would not be what the ledger says it is."""
    try:
        found = file_version(header.path)
    except OSError as error:
        raise ReadError(f"{header.path} cannot be read: {error.strerror}") from error
    if found != (header.size, header.version):
        raise ReadError(
            f"{header.path} changed during the run: indexed with {header.size} bytes (modified {header.version}), "
            f"now {found[0]} ({found[1]}). Run again."
        )


def _border_key(tile: Tile, level: float) -> tuple[Any, ...]:
    return (*((header.path, header.version) for header in tile.files), level)


@cached(LRUCache(maxsize=BORDERS_PER_PROCESS), key=_border_key, lock=threading.Lock())
def _border_of(tile: Tile, level: float) -> NodataBorder | None:
    return find_nodata_border(_darkness(tile, level), tile.shape, max(header.block[0] for header in tile.files))


def _darkness(tile: Tile, level: float) -> Callable[[Extent], NDArray[np.bool_]]:
    def dark(window: Extent) -> NDArray[np.bool_]:
        found = np.ones(window.shape, bool)
        for header in tile.files:
            numbers = [number for number in range(1, header.count + 1) if number != header.alpha or header.count == 1]
            values, _ = _read_file(header, window, numbers, masked=False)
            found &= (values <= level).all(axis=0)
        return found

    return dark
