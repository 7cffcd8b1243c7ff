"""The ground that a made-up scene covers, and smooth random fields on it."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]
Window = tuple[slice, slice]

PIXEL_M = 0.2
"""Ground size of one scene pixel, in metres."""

_SPLINE_STD = 0.55
# standard deviation of white noise of variance 1 after a quadratic B-spline along two axes


@dataclass(frozen=True, kw_only=True)
class Frame:
    """``height`` x ``width`` pixels of 0.2 m; places are (x, y) in metres, right and down from the upper left."""

    height: int
    width: int

    @property
    def shape(self) -> tuple[int, int]:
        """Pixels as (y, x)."""
        return self.height, self.width

    @property
    def size_m(self) -> tuple[float, float]:
        """Ground size as (x, y) in metres."""
        return self.width * PIXEL_M, self.height * PIXEL_M

    def axes(self, window: Window | None = None) -> tuple[Floats, Floats]:
        """Pixel centres as ``y`` of shape (h, 1) and ``x`` of shape (1, w), in metres."""
        rows, cols = window or (slice(0, self.height), slice(0, self.width))
        y = (np.arange(rows.start, rows.stop, dtype=np.float32) + 0.5) * np.float32(PIXEL_M)
        x = (np.arange(cols.start, cols.stop, dtype=np.float32) + 0.5) * np.float32(PIXEL_M)
        return y[:, None], x[None, :]

    def window(self, low_xy: tuple[float, float], high_xy: tuple[float, float]) -> Window:
        """Pixels touched by a box in metres, clipped to the frame (possibly empty)."""
        cols = _clipped(low_xy[0], high_xy[0], size=self.width)
        return _clipped(low_xy[1], high_xy[1], size=self.height), cols

    def around(self, x: float, y: float, radius_m: float) -> Window:
        """Pixels within ``radius_m`` of a place along each axis, clipped to the frame."""
        return self.window((x - radius_m, y - radius_m), (x + radius_m, y + radius_m))

    def pixel(self, x: NDArray[np.floating], y: NDArray[np.floating]) -> tuple[NDArray[np.intp], NDArray[np.intp]]:
        """Row and column of places in metres, the nearest inside the frame."""
        row = np.clip(np.floor(y / PIXEL_M), 0, self.height - 1).astype(np.intp)
        return row, np.clip(np.floor(x / PIXEL_M), 0, self.width - 1).astype(np.intp)


def _clipped(low: float, high: float, *, size: int) -> slice:
    start = min(max(math.floor(low / PIXEL_M), 0), size)
    return slice(start, max(start, min(math.ceil(high / PIXEL_M), size)))


def generator(seed: int, *path: int) -> np.random.Generator:
    """Return the random stream of one step of one scene: steps do not disturb each other."""
    return np.random.default_rng([seed, *path])


def spline_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> Floats:
    """Return smooth noise (y, x) of mean 0 and deviation 1, with features about ``cell`` pixels wide."""
    coarse = rng.standard_normal((int(shape[0] / cell) + 3, int(shape[1] / cell) + 3), dtype=np.float32)
    return spread(coarse / np.float32(_SPLINE_STD), shape, cell)


def fractal_noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[float, ...]) -> Floats:
    """Return the sum of noises of several sizes (in pixels), each weighing its share of the size, deviation ~1."""
    weights = np.sqrt(np.asarray(cells, np.float32) / max(cells))
    total = np.zeros(shape, np.float32)
    for cell, weight in zip(cells, weights / np.linalg.norm(weights), strict=True):
        total += np.float32(weight) * spline_noise(rng, shape, cell)
    return total


def spread(coarse: Floats, shape: tuple[int, int], cell: float) -> Floats:
    """Return a coarse array (at least ``size / cell + 3`` long on each axis) as a smooth (y, x) surface."""
    wide = _spread_axis(coarse.T, shape[1], cell).T
    return _spread_axis(np.ascontiguousarray(wide), shape[0], cell)


def _spread_axis(coarse: Floats, size: int, cell: float) -> Floats:
    place = (np.arange(size, dtype=np.float64) + 0.5) / cell
    first = np.floor(place).astype(np.intp)
    part = (place - first).astype(np.float32)[:, None]
    fine = coarse[first] * ((1 - part) ** 2 / 2)
    fine += coarse[first + 1] * (0.5 + part * (1 - part))
    fine += coarse[first + 2] * (part**2 / 2)
    return np.asarray(fine, np.float32)
