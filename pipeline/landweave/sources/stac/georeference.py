"""Where the pixels of a scene lie, by its item or by its file, and which pixels of the grid that is.

A grid's extent plays no part here: only its pixels do, so that a scene is resampled alike whatever is read.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable
from functools import lru_cache, reduce
from typing import Any

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray

from landweave.core.errors import InputError, ReadError
from landweave.core.grid import Bounds, Grid
from landweave.core.lattice import Extent
from landweave.sources.files import Options, RasterFile
from landweave.sources.raster_facts import GeoRef, facts_at_first_open
from landweave.sources.resampling.kernels import EDGE_PX, PASTE_PX, KernelName, ResamplingKernel
from landweave.sources.resampling.pixel_coordinates import (
    AxisCoordinates,
    Frame,
    bounds_in,
    pixel_coordinates,
    pixels_per_pixel,
    source_window,
)
from landweave.sources.stac.records import BandAsset, Scene

_ONE_PIXEL = Extent.of((0, 1), (0, 1))
_BOX_MARGIN_DEG = 0.01
"""An item's box is drawn around the corners of its scene, whose sides are bent between them: 1 km more is enough."""


def georef_of(asset: BandAsset, sign: str | None, storage_options: Options = ()) -> GeoRef:
    """The georeference of a band: its item's where that is complete, else its file's.

    Parameters
    ----------
    asset
        The band.
    sign
        Who signs its address.
    storage_options
        Of a file in an object store.

    Raises
    ------
    ReadError
        When the file is needed and cannot be opened, or is not georeferenced.
    """
    return asset.georef or _georef_of_file(RasterFile(href=asset.href, sign=sign, storage_options=storage_options))


def check_georef(file: RasterFile, stated: GeoRef) -> None:
    """Refuse a file whose georeference is not the ``stated`` one.

    Parameters
    ----------
    file
        The file.
    stated
        What its item says; every corner has to agree within `PASTE_PX`.

    Raises
    ------
    ReadError
        With both georeferences.
    """
    found = _georef_of_file(file)
    if not same_georef(found, stated):
        raise ReadError(f"{file.href} lies elsewhere than its item says: {found}, in the item {stated}.")


def same_georef(found: GeoRef, stated: GeoRef) -> bool:
    """Whether two georeferences are of the same pixels: every corner within `PASTE_PX`."""
    if found.shape != stated.shape or found.crs != stated.crs:
        return False
    (height, width), here = stated.shape, ~stated.transform @ found.transform
    strays = [np.subtract(here @ corner, corner) for corner in ((0, 0), (width, height), (0, height))]
    return bool(np.abs(strays).max() <= PASTE_PX)


def _georef_of_file(file: RasterFile) -> GeoRef:
    facts = facts_at_first_open(file)
    if not facts.crs or not facts.georeferenced:
        problem = facts.crs_problem or "has no transform"
        raise ReadError(f"{file.href} lies on no map: neither its item nor the file gives both: the file {problem}.")
    return GeoRef(crs=facts.crs, transform=facts.transform, shape=facts.shape)


def _pixels_key(georef: GeoRef, grid: Grid, *name: KernelName) -> tuple[Any, ...]:
    return georef, grid.with_extent(_ONE_PIXEL), *name


@cached(LRUCache(maxsize=1024), key=_pixels_key, lock=threading.Lock())
def frame_of(georef: GeoRef, grid: Grid) -> Frame:
    """The pixels of a scene beside those of ``grid``.

    Parameters
    ----------
    georef
        Of the scene.
    grid
        Pixels it is resampled to.
    """
    height, width = georef.shape
    corners = np.array([georef.transform @ (x, y) for x in (0, width) for y in (0, height)])
    (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return Frame(
        crs=georef.crs,
        transform=georef.transform,
        extent=georef.extent,
        grid_extent=_covering(grid, georef.crs, (x0, y0, x1, y1)).grow(2),
    )


@cached(LRUCache(maxsize=1024), key=_pixels_key, lock=threading.Lock())
def kernel_of(georef: GeoRef, grid: Grid, name: KernelName) -> ResamplingKernel:
    """The kernel for a scene on the pixels of ``grid``.

    Parameters
    ----------
    georef
        Of the scene.
    grid
        Pixels it is resampled to.
    name
        Which kernel.
    """
    return ResamplingKernel.of(name, pixels_per_pixel(grid, frame_of(georef, grid)))


def grid_extent_of(scene: Scene, grid: Grid) -> Extent:
    """Pixels of the grid that a scene may give, beyond its extent too. No file is opened.

    Parameters
    ----------
    scene
        Its bands are looked at where the item gives their georeference, else the bounds of the item.
    grid
        The pixels.
    """
    georefs = {asset.georef for asset in scene.assets.values()}
    if None in georefs or not georefs:
        return _box_extent(scene.bounds, grid.with_extent(_ONE_PIXEL))
    return unite(frame_of(georef, grid).grid_extent for georef in georefs if georef is not None)


def unite(extents: Iterable[Extent]) -> Extent:
    """The smallest extent that holds all of ``extents``, of which there is at least one."""
    return reduce(Extent.unite, extents)


@lru_cache(maxsize=4096)
def _box_extent(bounds: Bounds, pixels: Grid) -> Extent:
    west, south, east, north = bounds
    east += 360 if east < west else 0  # across the 180th meridian
    box = (west - _BOX_MARGIN_DEG, south - _BOX_MARGIN_DEG, east + _BOX_MARGIN_DEG, north + _BOX_MARGIN_DEG)
    return _covering(pixels, "EPSG:4326", box)


def _covering(pixels: Grid, crs: str, bounds: Bounds) -> Extent:
    """Pixels of the grid that touch ``bounds`` in another CRS."""
    found = bounds_in(bounds, crs, pixels.crs)
    if not np.isfinite(found).all():
        raise InputError(f"{pixels.crs[:40]} does not reach a scene at {bounds} in {crs[:40]}: choose another CRS.")
    return pixels.covering(found)


def covered_pixels(grid: Grid, georef: GeoRef) -> NDArray[np.bool_]:
    """Bool ``(y, x)``, True where the centre of a pixel lies on a scene, whatever the scene holds there.

    Parameters
    ----------
    grid
        The pixels, all of its extent.
    georef
        Of the scene.
    """
    frame = frame_of(georef, grid)
    window, (height, width) = source_window(grid, frame, margin=2), georef.shape
    if window.grow(1).intersect(frame.extent) == window.grow(1):
        return np.ones(grid.shape, np.bool_)
    coordinates = pixel_coordinates(grid, frame)
    if isinstance(coordinates, AxisCoordinates):
        return _inside(coordinates.y, height)[:, None] & _inside(coordinates.x, width)
    rows, columns = coordinates.rows(slice(0, grid.shape[0]))
    return _inside(rows, height) & _inside(columns, width)


def _inside(coordinates: NDArray[np.float64], size: int) -> NDArray[np.bool_]:
    return np.asarray((coordinates >= -EDGE_PX) & (coordinates < size + EDGE_PX))
