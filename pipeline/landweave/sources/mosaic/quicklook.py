"""A mosaic as a picture: any bounds at any size, read from the overviews of its files where they have any.

A picture is looked at, not measured: a tile lies within half a pixel of the picture, and pixels are averaged by GDAL.
What a model is fed is read by `landweave.sources.mosaic.source`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from rasterio.enums import ColorInterp, Resampling
from rasterio.vrt import WarpedVRT
from rasterio.windows import Window, from_bounds

from landweave.core.grid import Bounds
from landweave.sources.files import query_file
from landweave.sources.mosaic.tile_index import Tile, TileIndex, corner_bounds, corners_of
from landweave.sources.resampling.pixel_coordinates import bounds_in

_THREADS = 4


@dataclass(frozen=True, kw_only=True)
class Picture:
    """Pixels ``(band, y, x)`` as they are stored, and where there are any, bool ``(y, x)``."""

    values: NDArray[Any]
    valid: NDArray[np.bool_]


@dataclass(frozen=True)
class Quicklook:
    """The bands of a mosaic that are shown, one or three.

    Attributes
    ----------
    index
        Its tiles; the first that has a pixel gives it.
    """

    index: TileIndex

    def read(self, crs: str, bounds: Bounds, shape: tuple[int, int]) -> Picture:
        """The mosaic over some ground, in pixels of any size.

        Parameters
        ----------
        crs, bounds
            The ground.
        shape
            ``(height, width)`` of the picture.

        Raises
        ------
        ReadError
            When a file cannot be read.
        """
        bands = self.index.spec.given
        values = np.zeros((len(bands), *shape), self.index.dtype)
        valid = np.zeros(shape, np.bool_)
        parts = list(self._parts(crs, bounds, shape))
        with ThreadPoolExecutor(_THREADS) as threads:
            read = threads.map(lambda part: self._read(part[0], crs, part[1], part[2]), parts)
            for (_, (rows, columns), _), found in zip(parts, read, strict=True):
                vacant = found.valid & ~valid[rows, columns]
                np.copyto(values[:, rows, columns], found.values, where=vacant)
                valid[rows, columns] |= vacant
        return Picture(values=values, valid=valid)

    @cached_property
    def _bounds(self) -> dict[str, NDArray[np.float64]]:
        """Bounds of each tile by CRS; filled when a CRS is first asked for."""
        return {}

    def _bounds_in(self, crs: str) -> NDArray[np.float64]:
        if crs not in self._bounds:
            own = ((corner_bounds(corners_of([tile])), tile.crs) for tile in self.index.tiles)
            self._bounds[crs] = np.array([bounds_in(box, tile_crs, crs, densify=21) for box, tile_crs in own])
        return self._bounds[crs]

    def _parts(
        self, crs: str, bounds: Bounds, shape: tuple[int, int]
    ) -> Iterator[tuple[Tile, tuple[slice, slice], Bounds]]:
        """Tiles that show in a picture, with the pixels they fill and the ground of them."""
        (x0, y0, x1, y1), (height, width) = bounds, shape
        step_x, step_y = (x1 - x0) / width, (y1 - y0) / height
        boxes = self._bounds_in(crs)
        left, bottom = np.maximum(boxes[:, 0], x0), np.maximum(boxes[:, 1], y0)
        right, top = np.minimum(boxes[:, 2], x1), np.minimum(boxes[:, 3], y1)
        for place in np.flatnonzero((left < right) & (bottom < top)).tolist():
            box = left[place], bottom[place], right[place], top[place]
            rows = slice(round((y1 - box[3]) / step_y), round((y1 - box[1]) / step_y))
            columns = slice(round((box[0] - x0) / step_x), round((box[2] - x0) / step_x))
            if rows.start < rows.stop and columns.start < columns.stop:
                yield self.index.tiles[place], (rows, columns), box

    def _read(self, tile: Tile, crs: str, where: tuple[slice, slice], box: Bounds) -> Picture:
        shape = where[0].stop - where[0].start, where[1].stop - where[1].start
        planes: dict[str, NDArray[Any]] = {}
        valid = np.ones(shape, np.bool_)
        for product, facts in zip(self.index.products, tile.files, strict=True):
            numbers = [*product.bands.values()]
            query = partial(_read_warped, tile=tile, crs=crs, box=box, shape=shape, numbers=numbers)
            found = query_file(facts.file, query)
            planes |= dict(zip(product.bands, found.values, strict=True))
            valid &= found.valid
        spec = self.index.spec
        values = np.stack([planes[name] for name in spec.given])
        if spec.nodata is not None:
            valid &= ~(values == spec.nodata).all(axis=0)
        if spec.nodata_border:
            valid &= (values > spec.nodata_border_level).any(axis=0)
        return Picture(values=values, valid=valid)


def _read_warped(
    dataset: rasterio.DatasetReader, tile: Tile, crs: str, box: Bounds, shape: tuple[int, int], numbers: list[int]
) -> Picture:
    """Bands of one file over some ground of another CRS, and where it has data by its own tags."""
    placed = {"src_crs": tile.crs, "src_transform": tile.transform, "crs": crs}
    bare = dataset.nodata is None and ColorInterp.alpha not in dataset.colorinterp
    with WarpedVRT(dataset, **placed, resampling=Resampling.bilinear, add_alpha=bare) as vrt:
        window = from_bounds(*box, transform=vrt.transform)
        window = window.intersection(Window(0, 0, vrt.width, vrt.height))
        values = vrt.read(numbers, window=window, out_shape=(len(numbers), *shape), resampling=Resampling.average)
        if not bare:
            return Picture(values=values, valid=vrt.dataset_mask(window=window, out_shape=shape) > 0)
        covered = vrt.read(vrt.count, window=window, out_shape=shape, resampling=Resampling.average)
    # Beyond a tile that lies askew there are zeros, which count in the means along its edges.
    share = np.maximum(covered, 1) / np.float64(np.iinfo(covered.dtype).max)
    edge = (covered > 0) & (share < 1)
    values[:, edge] = np.rint(values[:, edge] / share[edge]).clip(max=values.max(initial=0)).astype(values.dtype)
    return Picture(values=values, valid=covered > 0)
