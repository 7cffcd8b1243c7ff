"""The picture: colours of the ground in the light of one morning, as a camera in an aircraft records them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from landweave_demo.canvas import Canvas
from landweave_demo.frame import Floats, Frame, fractal_noise, spline_noise
from landweave_demo.relief import cast_shadow, shade

SKY = (0.34, 0.38, 0.46, 0.24)
"""Share of the light that reaches a shadow, for R, G, B, NIR: shadows are blue, and dark in the infrared."""

HAZE = (7.0, 9.0, 14.0, 3.0)
"""What the air adds to every pixel, for R, G, B, NIR."""

LOWEST, HIGHEST = 8, 252
"""Range of a picture's values: 0 is left to the collar outside the mosaic."""

_STRIP_GAINS = ((1.0, 1.0, 1.0, 1.0), (1.035, 1.02, 1.045, 0.965), (0.975, 0.985, 0.96, 1.03))
_BLUR_PX = 0.55
_NOISE = 1.9


def render(canvas: Canvas, surface: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the picture, (band, y, x) with bands R, G, B, NIR, of a canvas whose tops are ``surface``."""
    frame = canvas.frame
    above = canvas.crown > 0
    paint = np.where(above, canvas.crown, canvas.paint)
    rows = np.where(above, 0, canvas.rows)
    direct = shade(surface) * (1 - cast_shadow(surface))
    grain = rng.standard_normal(frame.shape, dtype=np.float32)
    mottle = fractal_noise(rng, frame.shape, (260.0, 90.0, 28.0, 9.0))
    strips = _strips(frame, rng)
    table = canvas.palette.table()
    picture = np.empty((4, *frame.shape), np.uint8)
    for band in range(4):
        sky = np.float32(SKY[band])
        light = sky + (1 - sky) * direct
        texture = 1 + grain * table[:, 4][paint] + mottle * table[:, 5 + band][paint]
        texture += rows * table[:, 9 + band][paint]
        value = table[:, band][paint] * np.clip(texture, 0.3, 2) * light
        value = ndimage.gaussian_filter(value, _BLUR_PX, truncate=3, output=np.float32)
        value = (value + np.float32(HAZE[band])) * strips[band]
        value += np.float32(_NOISE) * rng.standard_normal(frame.shape, dtype=np.float32)
        picture[band] = np.clip(np.rint(value), LOWEST, HIGHEST)
    return picture


def _strips(frame: Frame, rng: np.random.Generator) -> list[Floats]:
    """Return the gain of each band, (y, x): three flight strips that meet along wandering seams."""
    places = (0.36 + 0.03 * rng.standard_normal(), 0.71 + 0.03 * rng.standard_normal())
    x = np.arange(frame.width, dtype=np.float32)[None, :]
    east = []
    for place in places:
        wander = 55 * spline_noise(rng, (frame.height, 1), 120) + 14 * spline_noise(rng, (frame.height, 1), 18)
        seam = np.float32(place * frame.width) + wander
        east.append(np.clip((x - seam) / 5 + np.float32(0.5), 0, 1))
    gains = []
    for band in range(4):
        west, middle, last = (np.float32(strip[band]) for strip in _STRIP_GAINS)
        gains.append(np.asarray(west + (middle - west) * east[0] + (last - middle) * east[1], np.float32))
    return gains
