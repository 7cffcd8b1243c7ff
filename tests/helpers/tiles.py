"""Scenes with an answer at every pixel, and tiles of them in files: no tests here."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from affine import Affine
from numpy.typing import NDArray

PIXEL = 0.2


def hashed(rows: NDArray[Any], columns: NDArray[Any], band: int = 0) -> NDArray[np.uint8]:
    """A value from 1 to 240 that depends on the pixel's place in the world: neighbours, flips and shifts differ."""
    mixed = rows * 73 + columns * 151 + (rows * columns) % 97 + band * 61
    return (1 + mixed % 240).astype(np.uint8)


def textured(shape: tuple[int, int], bands: int, seed: int = 0) -> NDArray[np.uint8]:
    """Fields, stripes and noise of every scale, uint8 ``(band, y, x)`` from 20: something for a network to look at."""
    random = np.random.default_rng(seed)
    planes = np.zeros((bands, *shape), np.float32)
    for step, strength in ((97, 60), (31, 50), (9, 40), (1, 30)):
        cells = random.random((bands, shape[0] // step + 2, shape[1] // step + 2), np.float32)
        planes += strength * cells.repeat(step, 1).repeat(step, 2)[:, : shape[0], : shape[1]]
    return (20 + planes).astype(np.uint8)


def write_tile(
    path: Path,
    values: NDArray[Any],
    *,
    corner_xy: tuple[float, float],
    pixel: float = PIXEL,
    crs: str | None = "EPSG:2154",
    **profile: Any,
) -> Path:
    """A GeoTIFF of ``values (band, y, x)`` whose north-west corner is ``corner_xy``."""
    path.parent.mkdir(parents=True, exist_ok=True)
    settings = {"driver": "GTiff", "tiled": True, "blockxsize": 128, "blockysize": 128, "compress": "deflate"}
    with rasterio.open(
        path,
        "w",
        width=values.shape[2],
        height=values.shape[1],
        count=values.shape[0],
        dtype=values.dtype,
        crs=crs,
        transform=Affine(pixel, 0, corner_xy[0], 0, -pixel, corner_xy[1]),
        **{**settings, **profile},
    ) as dataset:
        dataset.write(values)
    return path


@dataclass(frozen=True, kw_only=True)
class Imagery:
    """Imagery in memory: ``values (band, y, x)`` whose first pixel is ``(top, left)`` counted from the CRS origin."""

    values: NDArray[np.uint8]
    top: int
    left: int

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        _, height, width = self.values.shape
        return (
            self.left * PIXEL,
            -(self.top + height) * PIXEL,
            (self.left + width) * PIXEL,
            -self.top * PIXEL,
        )

    def write(
        self, folder: Path, bands: Sequence[int], rows: Sequence[int], columns: Sequence[int], **profile: Any
    ) -> None:
        """Tiles of some bands, cut before the pixels ``rows`` and ``columns``, named by their place."""
        _, height, width = self.values.shape
        for top, bottom in pairwise((0, *rows, height)):
            for left, right in pairwise((0, *columns, width)):
                write_tile(
                    folder / f"tile_{top:05d}_{left:05d}.tif",
                    self.values[list(bands), top:bottom, left:right],
                    corner_xy=((self.left + left) * PIXEL, -(self.top + top) * PIXEL),
                    **profile,
                )
