"""Aerial tiles as a mapping agency delivers them: two image products and two of heights.

::

    +----+----+----+--      tiles lie on one lattice from the upper left corner and overlap by 4 pixels;
    |    |    |    |0       beyond the landscape and the department's border they are black, and no tag says so
    +----+----+----+--
    |    |   _|000000
    +----+--/0+000+--
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from numpy.typing import NDArray
from scipy import ndimage

import landweave as lw
from landweave_demo.files.georeference import CRS, LEFT_PX, PIXELS_PER_M, TOP_PX, landscape_transform, north_up
from landweave_demo.landscape.arithmetic import sine
from landweave_demo.landscape.land_cover import UNKNOWN
from landweave_demo.landscape.landscape import Landscape

TILE_PX = 1024
STRIDE_PX = 1020
DTM_TILE_M = 500
NODATA_M = -9999.0

_PREFIX = "31-2022"
_DTM_MARGIN_M = 20
_RVB: dict[str, Any] = {
    "driver": "GTiff", "compress": "jpeg", "jpeg_quality": 90, "photometric": "ycbcr",
    "tiled": True, "blockxsize": 256, "blockysize": 256,
}  # fmt: skip
# In tiles, so that a part of a file is decoded alone: JPEG 2000 decodes at 7 Mpx/s.
_IRC: dict[str, Any] = {
    "driver": "JP2OpenJPEG", "quality": "100", "reversible": "yes", "ycc": "no",
    "blockxsize": 256, "blockysize": 256,
}  # fmt: skip
_METRES: dict[str, Any] = {
    "driver": "GTiff", "compress": "deflate", "predictor": 3, "zlevel": 1, "nodata": NODATA_M,
    "tiled": True, "blockxsize": 256, "blockysize": 256,
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class LandscapeFiles:
    """Paths of a landscape's files.

    Attributes
    ----------
    rvb, irc, dsm, dtm
        Tiles of each product, in order of their names.
    truth
        Land cover, one file.
    """

    rvb: tuple[Path, ...]
    irc: tuple[Path, ...]
    dsm: tuple[Path, ...]
    dtm: tuple[Path, ...]
    truth: Path


@dataclass(frozen=True, kw_only=True)
class _TileFile:
    """One file to write: pixels (band, y, x), and the upper left corner and side of a pixel in metres."""

    path: Path
    values: NDArray[Any]
    left_m: float
    top_m: float
    pixel_m: float


def write_landscape(landscape: Landscape, folder: Path) -> LandscapeFiles:
    """Write the tiles of a landscape and return their paths.

    RVB is a JPEG-compressed GeoTIFF (near 0 in the nodata border), IRC lossless JPEG 2000 (exactly 0 there); DSM
    (0.2 m) and DTM (1 m, on whole metres) are float32 with nodata -9999. Outside the department the truth is 255.

    Parameters
    ----------
    landscape
        From `make_landscape`.
    folder
        Gets the folders RVB, IRC, DSM and DTM, and ``truth.tif``.
    """
    inside = department(*landscape.truth.shape)
    irc = landscape.rgbi[[3, 0, 1]] * inside
    dsm = np.where(inside, np.round(landscape.dsm, 2), np.float32(NODATA_M))[None]
    written = [
        _write(_image_tiles(landscape.rgbi[:3] * inside, folder / "RVB", "E080.tif", 0), _RVB),
        _write(_image_tiles(irc, folder / "IRC", "IRC-E080.jp2", 0), _IRC),
        _write(_image_tiles(dsm, folder / "DSM", "MNS.tif", NODATA_M), _METRES),
        _write(_dtm_tiles(landscape.dtm, inside, folder / "DTM"), _METRES),
    ]
    truth = folder / "truth.tif"
    _write_truth(np.where(inside, landscape.truth, UNKNOWN).astype(np.uint8), truth)
    return LandscapeFiles(rvb=written[0], irc=written[1], dsm=written[2], dtm=written[3], truth=truth)


def truth_colors() -> dict[int, tuple[int, int, int]]:
    """Return red, green and blue of each class code: CoSIA's, and the crops' of the demo's models."""
    models = lw.list_models()
    return {**models["LC-A"].legend().colors, **models["demo-fusion"].legend().colors}


def department(height: int, width: int) -> NDArray[np.bool_]:
    """Return where the mosaic has data, bool (y, x): all but a corner beyond a winding border.

    Parameters
    ----------
    height, width
        Of the landscape in pixels.
    """
    y = (np.arange(height, dtype=np.float32)[:, None] + 0.5) / height
    x = (np.arange(width, dtype=np.float32)[None, :] + 0.5) / width
    along = x - y
    winding = 0.018 * sine(19 * along) + 0.009 * sine(47 * along + 1) + 0.003 * sine(131 * along + 2)
    return np.asarray(x + y < 1.66 + winding)


def _image_tiles(values: NDArray[Any], folder: Path, ending: str, outside: float) -> Iterator[_TileFile]:
    """Yield the tiles of a raster (band, y, x) on the landscape's pixels that hold anything but ``outside``."""
    _, height, width = values.shape
    for top in range(0, height, STRIDE_PX):
        for left in range(0, width, STRIDE_PX):
            part = values[:, top : top + TILE_PX, left : left + TILE_PX]
            if (part == outside).all():
                continue
            tile = np.full((values.shape[0], TILE_PX, TILE_PX), outside, values.dtype)
            tile[:, : part.shape[1], : part.shape[2]] = part
            left_m, top_m = (LEFT_PX + left) / PIXELS_PER_M, (TOP_PX - top) / PIXELS_PER_M
            name = f"{_PREFIX}-{math.floor(left_m / 10):06d}-{math.ceil(top_m / 10):06d}-LA93-0M20-{ending}"
            yield _TileFile(path=folder / name, values=tile, left_m=left_m, top_m=top_m, pixel_m=1 / PIXELS_PER_M)


def _dtm_tiles(dtm: NDArray[np.float32], inside: NDArray[np.bool_], folder: Path) -> Iterator[_TileFile]:
    """Yield the terrain on whole metres, 20 m beyond the images, in tiles of 500 m."""
    height, width = inside.shape
    low_x, high_x = _whole_tiles(LEFT_PX, LEFT_PX + width)
    low_y, high_y = _whole_tiles(TOP_PX - height, TOP_PX)
    rows = TOP_PX - (np.arange(high_y, low_y, -1) - 0.5) * PIXELS_PER_M - 0.5
    cols = (np.arange(low_x, high_x) + 0.5) * PIXELS_PER_M - LEFT_PX - 0.5
    positions = np.meshgrid(rows, cols, indexing="ij")
    ground = ndimage.map_coordinates(dtm, positions, order=1, mode="nearest")
    covered = ndimage.map_coordinates(inside.astype(np.uint8), positions, order=0, mode="constant", cval=0)
    near = ndimage.distance_transform_edt(covered == 0) <= _DTM_MARGIN_M
    values = np.where(near, np.round(ground, 2), NODATA_M).astype(np.float32)
    for top in range(high_y, low_y, -DTM_TILE_M):
        for left in range(low_x, high_x, DTM_TILE_M):
            row, col = high_y - top, left - low_x
            tile = values[None, row : row + DTM_TILE_M, col : col + DTM_TILE_M]
            if (tile != NODATA_M).any():
                name = f"{_PREFIX}-{left // 10:06d}-{top // 10:06d}-LA93-1M00-MNT.tif"
                yield _TileFile(path=folder / name, values=tile, left_m=left, top_m=top, pixel_m=1.0)


def _whole_tiles(low_px: int, high_px: int) -> tuple[int, int]:
    tile_px = DTM_TILE_M * PIXELS_PER_M
    return low_px // tile_px * DTM_TILE_M, -(-high_px // tile_px) * DTM_TILE_M


def _write(tiles: Iterator[_TileFile], options: dict[str, Any]) -> tuple[Path, ...]:
    def write_one(tile: _TileFile) -> Path:
        bands, height, width = tile.values.shape
        transform = north_up(tile.left_m, tile.top_m, tile.pixel_m)
        shape = {"count": bands, "height": height, "width": width, "dtype": tile.values.dtype.name}
        tile.path.parent.mkdir(parents=True, exist_ok=True)
        with rasterio.open(tile.path, "w", crs=CRS, transform=transform, **shape, **options) as file:
            file.write(tile.values)
        return tile.path

    with ThreadPoolExecutor(max_workers=2) as pool:
        return tuple(sorted(pool.map(write_one, tiles)))


def _write_truth(truth: NDArray[np.uint8], path: Path) -> None:
    height, width = truth.shape
    with rasterio.open(
        path, "w", driver="GTiff", dtype="uint8", count=1, height=height, width=width, nodata=UNKNOWN, crs=CRS,
        transform=landscape_transform(), compress="deflate", tiled=True, blockxsize=512, blockysize=512,
    ) as file:  # fmt: skip
        file.write(truth, 1)
        file.write_colormap(1, truth_colors())
