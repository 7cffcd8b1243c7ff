"""The aerial image: colours of the ground in sunlight and shadow, with haze, blur, noise and flight lines."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landweave_demo.landscape.arithmetic import blurred
from landweave_demo.landscape.grid import Floats, LandscapeGrid
from landweave_demo.landscape.layers import LandscapeLayers
from landweave_demo.landscape.noise import fractal_noise, spline_noise
from landweave_demo.landscape.sunlight import cast_shadow, slope_light

SKY = (0.34, 0.38, 0.46, 0.24)
"""Share of the light that reaches a shadow, for R, G, B, NIR: shadows are blue, and dark in the infrared."""

HAZE = (7.0, 9.0, 14.0, 3.0)
"""Light that the air adds to every pixel, for R, G, B, NIR, on the scale of the 8-bit image."""

LOWEST, HIGHEST = 8, 252
"""Range of pixel values: 0 is left to the nodata border of the mosaic."""

_FLIGHT_LINE_GAINS = ((1.0, 1.0, 1.0, 1.0), (1.035, 1.02, 1.045, 0.965), (0.975, 0.985, 0.96, 1.03))
_BLUR_PX = 0.55
_NOISE = 1.9


def render_aerial_image(layers: LandscapeLayers, surface: Floats, rng: np.random.Generator) -> NDArray[np.uint8]:
    """Return the aerial image, uint8 (band, y, x), bands R, G, B, NIR, never 0.

    Parameters
    ----------
    layers
        Materials and texture.
    surface
        Height of the surface with buildings and trees, float32 (y, x), metres.
    rng
        Random stream.
    """
    grid = layers.grid
    below_tree = layers.crown_material > 0
    material = np.where(below_tree, layers.crown_material, layers.material)
    rows = np.where(below_tree, 0, layers.texture)
    direct = slope_light(surface) * (1 - cast_shadow(surface))
    grain = rng.standard_normal(grid.shape, dtype=np.float32)
    mottle = fractal_noise(rng, grid.shape, (260.0, 90.0, 28.0, 9.0))
    gains = _flight_line_gains(grid, rng)
    table = layers.palette.table()
    image = np.empty((4, *grid.shape), np.uint8)
    for band in range(4):
        sky = np.float32(SKY[band])
        light = sky + (1 - sky) * direct
        texture = 1 + grain * table[:, 4][material] + mottle * table[:, 5 + band][material]
        texture += rows * table[:, 9 + band][material]
        value = table[:, band][material] * np.clip(texture, 0.3, 2) * light
        value = (blurred(value, _BLUR_PX) + np.float32(HAZE[band])) * gains[band]
        value += np.float32(_NOISE) * rng.standard_normal(grid.shape, dtype=np.float32)
        image[band] = np.clip(np.rint(value), LOWEST, HIGHEST)
    return image


def _flight_line_gains(grid: LandscapeGrid, rng: np.random.Generator) -> list[Floats]:
    """Return the gain of each band, float32 (y, x): three flight lines that meet along winding seamlines."""
    shares = (0.36 + 0.03 * rng.standard_normal(), 0.71 + 0.03 * rng.standard_normal())
    x = np.arange(grid.width, dtype=np.float32)[None, :]
    east = []
    for share in shares:
        winding = 55 * spline_noise(rng, (grid.height, 1), 120) + 14 * spline_noise(rng, (grid.height, 1), 18)
        seamline = np.float32(share * grid.width) + winding
        east.append(np.clip((x - seamline) / 5 + np.float32(0.5), 0, 1))
    gains = []
    for band in range(4):
        west, middle, last = (np.float32(line[band]) for line in _FLIGHT_LINE_GAINS)
        gains.append(np.asarray(west + (middle - west) * east[0] + (last - middle) * east[1], np.float32))
    return gains
