"""Where the pixels of a scene lie, as its item says or its file, and which pixels of the grid that is.

A grid's extent plays no part here: only its pixels do, so that every answer is the same whatever is read.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from rasterio import DatasetReader
from rasterio.warp import transform_bounds

from landweave.core.errors import InputError, ReadError
from landweave.core.grid import Bounds, Grid, canonical_crs
from landweave.core.lattice import Extent
from landweave.sources.mosaic.alignment import Frame
from landweave.sources.mosaic.spec import Kernel
from landweave.sources.mosaic.tile_index import PASTE_PX
from landweave.sources.resampling.kernels import EDGE_PX, Filter
from landweave.sources.resampling.pixel_coordinates import Axes, locate, pixels_per_pixel, window_of
from landweave.sources.stac.files import ask_file
from landweave.sources.stac.records import BandAsset, Scene

_POINT = Extent.of((0, 1), (0, 1))
_BOX_MARGIN_DEG = 0.01
"""An item's box is drawn around the corners of its scene, whose sides are bent between them: 1 km more is enough."""


@dataclass(frozen=True)
class Place:
    """CRS (``EPSG:n`` or WKT), affine from (column, row) to the corners of pixels, and ``(height, width)``."""

    crs: str
    transform: Affine
    shape: tuple[int, int]


def told_place(asset: BandAsset) -> Place | None:
    """Where the item says that a band lies; None where it does not say all of it."""
    if asset.crs is None or asset.transform is None or asset.shape is None:
        return None
    return Place(_canonical(asset.crs), asset.transform, asset.shape)


def place_of(asset: BandAsset, sign: str | None) -> Place:
    """Where a band lies: as the item says, else as its file does."""
    return told_place(asset) or _asked_place(asset.href, sign)


def check_place(href: str, place: Place, sign: str | None) -> None:
    """Nothing.

    Raises
    ------
    ReadError
        When the item puts the file somewhere else than the file itself.
    """
    found = _asked_place(href, sign)
    if found.shape == place.shape and found.crs == place.crs:
        (top, left), (bottom, right) = (0, 0), place.shape
        here, there = ~place.transform @ found.transform, Affine.identity()
        strays = [np.subtract(here @ point, there @ point) for point in ((left, top), (right, bottom), (left, bottom))]
        if np.abs(strays).max() <= PASTE_PX:
            return
    raise ReadError(
        f"{href} lies elsewhere than its item says: {found.shape} pixels from {tuple(found.transform)[:6]} in "
        f"{found.crs[:40]}, in the item {place.shape} from {tuple(place.transform)[:6]} in {place.crs[:40]}."
    )


@lru_cache(maxsize=4096)
def _asked_place(href: str, sign: str | None) -> Place:
    def place(dataset: DatasetReader) -> Place:
        if not dataset.crs or dataset.transform.is_identity:
            raise ReadError(f"{href} lies on no map: neither its item nor the file gives a CRS and a transform.")
        return Place(_canonical(dataset.crs.to_wkt()), dataset.transform, dataset.shape)

    return ask_file(href, sign, place)


@lru_cache(maxsize=256)
def _canonical(crs: str) -> str:
    return canonical_crs(crs)


def frame_of(place: Place, grid: Grid) -> Frame:
    """The pixels of a scene as a frame of one tile; ``ground`` are the pixels of the grid that it may answer."""
    return _frame(place, grid.with_extent(_POINT))


def filter_of(place: Place, grid: Grid, kernel: Kernel) -> Filter:
    """The kernel for a scene on the pixels of ``grid``."""
    return _filter(place, grid.with_extent(_POINT), kernel)


@lru_cache(maxsize=1024)
def _frame(place: Place, pixels: Grid) -> Frame:
    height, width = place.shape
    corners = np.array([place.transform @ (x, y) for x in (0, width) for y in (0, height)])
    (x0, y0), (x1, y1) = corners.min(axis=0).tolist(), corners.max(axis=0).tolist()
    return Frame(
        crs=place.crs,
        transform=place.transform,
        tiles=np.zeros(1, np.int64),
        origins=np.zeros((1, 2), np.int64),
        shapes=np.array([place.shape], np.int64),
        extent=Extent.of((0, height), (0, width)),
        ground=_covering(pixels, place.crs, (x0, y0, x1, y1)).grow(2),
    )


@lru_cache(maxsize=1024)
def _filter(place: Place, pixels: Grid, kernel: Kernel) -> Filter:
    return Filter.of(kernel, pixels_per_pixel(pixels, _frame(place, pixels)))


def ground_of(scene: Scene, grid: Grid) -> Extent:
    """Pixels of the grid that a scene may answer, beyond its extent too. No file is opened.

    From the places of its bands where the item tells them, else from its bounds.
    """
    places = {told_place(asset) for asset in scene.assets.values()}
    if None in places or not places:
        return _box_ground(scene.bounds, grid.with_extent(_POINT))
    return unite(frame_of(place, grid).ground for place in places if place is not None)


def unite(extents: Iterable[Extent]) -> Extent:
    """The smallest extent that holds all of ``extents``, of which there is at least one."""
    first, *others = extents
    for other in others:
        first = first.unite(other)
    return first


@lru_cache(maxsize=4096)
def _box_ground(bounds: Bounds, pixels: Grid) -> Extent:
    west, south, east, north = bounds
    east += 360 if east < west else 0  # across the 180th meridian
    box = (west - _BOX_MARGIN_DEG, south - _BOX_MARGIN_DEG, east + _BOX_MARGIN_DEG, north + _BOX_MARGIN_DEG)
    return _covering(pixels, "EPSG:4326", box)


def _covering(pixels: Grid, crs: str, bounds: Bounds) -> Extent:
    """Pixels of the grid that touch ``bounds`` in another CRS."""
    found = bounds if crs == pixels.crs else transform_bounds(crs, pixels.crs, *bounds, densify_pts=101)
    if not np.isfinite(found).all():
        raise InputError(f"{pixels.crs[:40]} does not reach a scene at {bounds} in {crs[:40]}: choose another CRS.")
    return pixels.covering(found)


def covered(grid: Grid, place: Place) -> NDArray[np.bool_]:
    """Bool ``(y, x)``, True where the centre of a pixel lies on a scene, whatever the scene holds there."""
    frame = frame_of(place, grid)
    window, whole = window_of(grid, frame, margin=2), frame.extent
    if window.grow(1).intersect(whole) == window.grow(1):
        return np.ones(grid.shape, np.bool_)
    places = locate(grid, frame)
    if isinstance(places, Axes):
        return _on(places.y, whole.shape[0])[:, None] & _on(places.x, whole.shape[1])
    rows, columns = places.rows(slice(0, grid.shape[0]))
    return _on(rows, whole.shape[0]) & _on(columns, whole.shape[1])


def _on(places: NDArray[np.float64], size: int) -> NDArray[np.bool_]:
    return np.asarray((places >= -EDGE_PX) & (places < size + EDGE_PX))
