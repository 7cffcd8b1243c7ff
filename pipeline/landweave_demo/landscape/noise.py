"""Random streams, and smooth random fields of a given feature size."""

from __future__ import annotations

import math

import numpy as np

from landweave_demo.landscape.grid import Floats

_SPLINE_STD = 0.55
"""Standard deviation of white noise of variance 1 after a quadratic B-spline along two axes."""


def generator(seed: int, *path: int) -> np.random.Generator:
    """Return the random stream of one part of a landscape; parts have streams of their own.

    Parameters
    ----------
    seed
        Of the landscape or its satellite year.
    path
        Numbers of the part.
    """
    return np.random.default_rng([seed, *path])


def spline_noise(rng: np.random.Generator, shape: tuple[int, int], cell: float) -> Floats:
    """Return smooth noise, float32 (y, x), of mean 0 and standard deviation 1.

    Parameters
    ----------
    rng
        Random stream.
    shape
        Height and width in pixels.
    cell
        Feature size in pixels.
    """
    coarse = rng.standard_normal((int(shape[0] / cell) + 3, int(shape[1] / cell) + 3), dtype=np.float32)
    return interpolate_spline(coarse / np.float32(_SPLINE_STD), shape, cell)


def fractal_noise(rng: np.random.Generator, shape: tuple[int, int], cells: tuple[float, ...]) -> Floats:
    """Return the sum of `spline_noise` of several feature sizes, float32 (y, x), of standard deviation about 1.

    Parameters
    ----------
    rng
        Random stream.
    shape
        Height and width in pixels.
    cells
        Feature sizes in pixels; the amplitude of each grows with the square root of its size.
    """
    total = np.zeros(shape, np.float32)
    for cell in cells:
        total += np.float32(math.sqrt(cell / sum(cells))) * spline_noise(rng, shape, cell)
    return total


def interpolate_spline(coarse: Floats, shape: tuple[int, int], cell: float) -> Floats:
    """Return a coarse array interpolated to a smooth surface, float32 (y, x), by quadratic B-splines.

    Parameters
    ----------
    coarse
        Spline coefficients (y, x), at least ``size / cell + 3`` long on each axis.
    shape
        Height and width of the surface in pixels.
    cell
        Pixels between two coefficients.
    """
    wide = _interpolate_axis(coarse.T, shape[1], cell).T
    return _interpolate_axis(np.ascontiguousarray(wide), shape[0], cell)


def _interpolate_axis(coarse: Floats, size: int, cell: float) -> Floats:
    position = (np.arange(size, dtype=np.float64) + 0.5) / cell
    first = np.floor(position).astype(np.intp)
    part = (position - first).astype(np.float32)[:, None]
    fine = coarse[first] * ((1 - part) ** 2 / 2)
    fine += coarse[first + 1] * (0.5 + part * (1 - part))
    fine += coarse[first + 2] * (part**2 / 2)
    return np.asarray(fine, np.float32)
