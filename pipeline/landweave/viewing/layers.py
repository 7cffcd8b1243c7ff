"""Layers as the tiles of a web map: a stored map or one in memory, the COGs of a publication, aerial files."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, cached_property
from math import floor, log2
from typing import Protocol

import numpy as np
import xarray as xr
from morecantile import Tile, TileMatrixSet
from pyproj import CRS
from rio_tiler.errors import TileOutsideBounds
from rio_tiler.io import Reader
from rio_tiler.io.xarray import XarrayReader
from rio_tiler.models import ImageData

from landweave.core.grid import Bounds, Grid
from landweave.core.pyramid import level_grid
from landweave.formats.images import Stretch
from landweave.sources.mosaic.quicklook import Quicklook
from landweave.sources.resampling.pixel_coordinates import bounds_in

MAX_TILE_PIXELS = 6144**2
"""Pixels of a map that one tile is made of: a map without overviews is not shown where a tile needs more."""

TILE_PX = 256
_DEGREES = "EPSG:4326"
_STRETCH_PX = 512


class ViewLayer(Protocol):
    """What is shown in tiles. `tile` is called from several threads."""

    @property
    def bounds(self) -> Bounds:
        """Ground of the layer in degrees: west, south, east, north."""

    def tile(self, tile: Tile, tms: TileMatrixSet) -> ImageData:
        """The pixels of a tile, masked where there are none.

        Parameters
        ----------
        tile, tms
            Which tile of which set.

        Raises
        ------
        TileOutsideBounds
            When the layer has nothing there, or would have to read too much.
        """


def outside(tile: Tile) -> TileOutsideBounds:
    """The error of a tile that a layer does not have."""
    return TileOutsideBounds(f"Tile {tile.z}/{tile.x}/{tile.y} is not shown.")


@dataclass(frozen=True, kw_only=True)
class ArrayLayer:
    """A layer of a map: the overview whose pixels are next below those of the tile, by nearest neighbour.

    Attributes
    ----------
    grid
        Pixels of level 0.
    levels
        How many levels there are now: those of a map whose run goes on come when it ends.
    open
        The array of a level, lazily indexed.
    """

    grid: Grid
    levels: Callable[[], int]
    open: Callable[[int], xr.DataArray]

    @property
    def bounds(self) -> Bounds:
        """Ground of the layer in degrees."""
        return bounds_in(self.grid.bounds, self.grid.crs, _DEGREES)

    def tile(self, tile: Tile, tms: TileMatrixSet) -> ImageData:
        """The pixels of a tile, as they are stored."""
        west, south, east, north = bounds_in(_bounds_of(tms, tile), _crs_of(tms), self.grid.crs)
        x0, y0, x1, y1 = self.grid.bounds
        if not (west < x1 and x0 < east and south < y1 and y0 < north):
            raise outside(tile)
        finest, width = float(self.grid.resolution), min(east, x1) - max(west, x0)
        wanted = floor(log2(max(1.0, (east - west) / TILE_PX / finest)))
        level = min(wanted, self.levels() - 1)
        side = finest * 2**level
        if width / side * (min(north, y1) - max(south, y0)) / side > MAX_TILE_PIXELS:
            raise outside(tile)
        with XarrayReader(self.open(level), tms=tms) as reader:
            return reader.tile(*tile, tilesize=TILE_PX)


def _bounds_of(tms: TileMatrixSet, tile: Tile) -> Bounds:
    west, south, east, north = tms.xy_bounds(tile)
    return west, south, east, north


def stepped(array: xr.DataArray, level: int) -> xr.DataArray:
    """Every ``2**level``-th pixel of an array in memory, as an overview of it that nothing is computed for.

    Parameters
    ----------
    array
        ``(y, x)`` with coordinates and CRS.
    level
        0 or more.
    """
    if not level:
        return array
    part = array.isel(y=slice(None, None, 1 << level), x=slice(None, None, 1 << level))
    placed: xr.DataArray = part.rio.write_transform(part.rio.transform(recalc=True))
    return placed


@dataclass(frozen=True)
class CogLayer:
    """The COGs of a publication, by the VRT over them."""

    path: str

    @cached_property
    def bounds(self) -> Bounds:
        """Ground of the layer in degrees."""
        with Reader(self.path) as reader:
            west, south, east, north = reader.get_geographic_bounds(_DEGREES)
        return west, south, east, north

    def tile(self, tile: Tile, tms: TileMatrixSet) -> ImageData:
        """The pixels of a tile, as they are stored."""
        with Reader(self.path, tms=tms) as reader:
            return reader.tile(*tile, tilesize=TILE_PX)


@dataclass(frozen=True)
class AerialLayer:
    """Aerial files, as `landweave.sources.mosaic.quicklook` reads them, over the ground of a map."""

    picture: Quicklook
    grid: Grid

    @property
    def bounds(self) -> Bounds:
        """Ground of the map in degrees."""
        return bounds_in(self.grid.bounds, self.grid.crs, _DEGREES)

    @cached_property
    def _stretch(self) -> Stretch:
        """One for all tiles, from a small picture of the whole."""
        level = max(0, floor(log2(max(self.grid.shape) / _STRETCH_PX)))
        coarse = level_grid(self.grid, level)
        found = self.picture.read(coarse.crs, coarse.bounds, coarse.shape)
        return Stretch.of(found.values, found.valid)

    def tile(self, tile: Tile, tms: TileMatrixSet) -> ImageData:
        """The picture of a tile in red, green and blue."""
        crs, bounds = _crs_of(tms), _bounds_of(tms, tile)
        found = self.picture.read(crs, bounds, (TILE_PX, TILE_PX))
        if not found.valid.any():
            raise outside(tile)
        stretch = None if found.values.dtype == np.uint8 else self._stretch
        shown = (stretch or Stretch.of(found.values, found.valid)).apply(found.values)
        hidden = np.broadcast_to(~found.valid, shown.shape)
        return ImageData(np.ma.MaskedArray(shown, hidden), bounds=bounds, crs=tms.rasterio_crs)


@cache
def _crs_name(wkt: str) -> str:
    code = CRS(wkt).to_epsg()
    return f"EPSG:{code}" if code else wkt


def _crs_of(tms: TileMatrixSet) -> str:
    return _crs_name(tms.crs.to_wkt())
