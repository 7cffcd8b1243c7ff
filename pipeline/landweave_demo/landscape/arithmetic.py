"""Functions that give the same bits on every CPU: of sums, products, quotients and square roots in a fixed order.

IEEE 754 rounds those alike everywhere. NumPy's sines and powers, the C library's and the products of BLAS take other
code on another CPU and differ in the last bit; a last bit decides between two sides of a parcel, and so the landscape.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from landweave_demo.landscape.grid import Floats

_BLUR_RADIUS_PX = 2
_HALVINGS = 10


def sine(angle: Any) -> Any:
    """Return the sine of an angle in radians, within 1e-7, of the type and shape of ``angle``."""
    turns = angle / (2 * math.pi)
    turns = turns - np.floor(turns + 0.25)
    rise = 2 * math.pi * np.minimum(turns, 0.5 - turns)  # -pi/2..pi/2
    square, series = rise * rise, 1.0
    for factor in (110, 72, 42, 20, 6):
        series = 1 - square * (1 / factor) * series
    return rise * series


def cosine(angle: Any) -> Any:
    """Return the cosine of an angle in radians, within 1e-7, of the type and shape of ``angle``."""
    return sine(angle + math.pi / 2)


def direction(angle: float) -> tuple[float, float]:
    """Return the unit vector (x, y) of an angle in radians, from x towards y."""
    return float(cosine(angle)), float(sine(angle))


def exponential(exponent: Any) -> Any:
    """Return e to a power, float64 of the shape of ``exponent``, with a relative error below 1e-8 from -10 to 10.

    A series for a small part of the exponent, squared as often as the exponent was halved.
    """
    part = np.asarray(exponent, np.float64) * 0.5**_HALVINGS
    power = 1 + part * (1 + part * (1 / 2) * (1 + part * (1 / 3) * (1 + part * (1 / 4))))
    for _ in range(_HALVINGS):
        power = power * power
    return power


def dot(vectors: NDArray[Any], others: NDArray[Any]) -> Any:
    """Return the scalar products of vectors (..., 2).

    Parameters
    ----------
    vectors, others
        Of shapes that fit together; the last axis is x and y.
    """
    return vectors[..., 0] * others[..., 0] + vectors[..., 1] * others[..., 1]


def norm(vectors: NDArray[Any]) -> Any:
    """Return the lengths of vectors (..., 2)."""
    return np.sqrt(dot(vectors, vectors))


def blurred(image: Floats, sigma_px: float) -> Floats:
    """Return an image after a Gaussian blur of 5 x 5 pixels, float32 (y, x).

    Parameters
    ----------
    image
        float32 (y, x).
    sigma_px
        Standard deviation of the Gaussian in pixels.
    """
    steps = np.arange(-_BLUR_RADIUS_PX, _BLUR_RADIUS_PX + 1) / sigma_px
    weights = exponential(-0.5 * steps * steps)
    weights /= weights.sum()
    rows = ndimage.correlate1d(image, weights, axis=0, output=np.float32)
    return np.asarray(ndimage.correlate1d(rows, weights, axis=1, output=np.float32))
