"""The pixel grid of a landscape, and its positions in metres."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
PixelWindow = tuple[slice, slice]
"""Rows and columns of a part of the grid."""

PIXEL_M = 0.2
"""Side of a landscape pixel, in metres."""


@dataclass(frozen=True, kw_only=True)
class LandscapeGrid:
    """``height`` x ``width`` pixels of 0.2 m; positions are metres (x, y) from the upper left corner, y downwards."""

    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Number of pixels, (y, x)."""
        return self.height, self.width

    @property
    def size_m(self) -> tuple[float, float]:
        """Extent in metres, (x, y)."""
        return self.width * PIXEL_M, self.height * PIXEL_M

    def axes(self, window: PixelWindow | None = None) -> tuple[Floats, Floats]:
        """Pixel centres in metres: ``y`` float32 (h, 1) and ``x`` float32 (1, w); of the whole grid by default."""
        rows, cols = window or (slice(0, self.height), slice(0, self.width))
        y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) * np.float32(PIXEL_M)
        x = (np.arange(cols.start, cols.stop, dtype=np.float32) + 0.5) * np.float32(PIXEL_M)
        return y[:, None], x[None, :]

    def window(self, low_xy: tuple[float, float], high_xy: tuple[float, float]) -> PixelWindow:
        """Pixels that a box touches, clipped to the grid; possibly none.

        Parameters
        ----------
        low_xy, high_xy
            Upper left and lower right corner of the box, in metres.
        """
        cols = _clipped(low_xy[0], high_xy[0], size=self.width)
        return _clipped(low_xy[1], high_xy[1], size=self.height), cols

    def around(self, x: float, y: float, radius_m: float) -> PixelWindow:
        """Pixels of a square of side ``2 * radius_m`` around a position, clipped to the grid.

        Parameters
        ----------
        x, y
            Position in metres.
        radius_m
            Half the side of the square, in metres.
        """
        return self.window((x - radius_m, y - radius_m), (x + radius_m, y + radius_m))

    def pixel(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Row and column of the pixels that hold positions, moved inside the grid where they lie outside.

        Parameters
        ----------
        x, y
            Positions in metres, of one shape.
        """
        row = np.clip(np.floor(y / PIXEL_M), 0, self.height - 1).astype(np.intp)
        return row, np.clip(np.floor(x / PIXEL_M), 0, self.width - 1).astype(np.intp)


def _clipped(low: float, high: float, *, size: int) -> slice:
    start = min(max(math.floor(low / PIXEL_M), 0), size)
    return slice(start, max(start, min(math.ceil(high / PIXEL_M), size)))
