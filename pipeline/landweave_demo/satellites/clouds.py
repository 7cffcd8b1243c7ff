"""Clouds, their shadows and snow on one date of a satellite year."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

import landweave as lw
from landweave_demo.landscape.grid import PIXEL_M, Floats
from landweave_demo.landscape.noise import spline_noise
from landweave_demo.satellites.phenology import CLOUD, SNOW
from landweave_demo.satellites.pixel_centres import PixelCentres

_CELL_M = 20.0
_MARGIN_M = 700.0
_SHADOW_SHIFT_M = 160.0
_OPACITY_SLOPE = 0.9


class Sky(StrEnum):
    """State of the sky over a landscape on one date."""

    CLEAR = "clear"
    PARTLY = "partly"
    OVERCAST = "overcast"
    SNOW = "snow"


@dataclass(frozen=True, kw_only=True)
class CloudField:
    """The sky of one date.

    Attributes
    ----------
    sky
        Its state.
    depth
        Optical depth of clouds on a square lattice of 20 m, float32 (row, column); above 0 is cloud.
    """

    sky: Sky
    depth: Floats

    def cover(self, values: Floats, pixel_class: NDArray[np.uint8], centres: PixelCentres) -> None:
        """Draw snow, shadows and clouds over the image of one date, in place.

        Parameters
        ----------
        values
            Reflectance x 10000, float32 (band, h, w).
        pixel_class
            uint8 `landweave.PixelClass` (h, w).
        centres
            Of the pixels.
        """
        if self.sky is Sky.SNOW:
            values[:] = 0.2 * values + 0.8 * np.array(SNOW, np.float32)[:, None, None]
            pixel_class[:] = lw.PixelClass.SNOW
        depth = interpolate(self.depth, centres)
        shadow = (interpolate(self.depth, centres, _SHADOW_SHIFT_M) > 0) & (depth <= 0)
        values[:, shadow] *= np.float32(0.45)
        pixel_class[shadow] = lw.PixelClass.SHADOW
        opacity = np.where(depth > 0, np.clip(0.35 + _OPACITY_SLOPE * depth, 0, 0.95), 0).astype(np.float32)
        values += opacity * (np.array(CLOUD, np.float32)[:, None, None] - values)
        pixel_class[depth > 0] = lw.PixelClass.CLOUD


def make_cloud_field(day: np.datetime64, shape: tuple[int, int], rng: np.random.Generator) -> CloudField:
    """Return the sky of one date.

    Parameters
    ----------
    day
        It may snow before 15 February.
    shape
        Of the lattice, from `lattice_shape`.
    rng
        Random stream, the same for all dates of a year, in order.
    """
    draw, snow, amount = rng.random(3)
    field = 0.8 * spline_noise(rng, shape, 11) + 0.6 * spline_noise(rng, shape, 4)
    cold = day < np.datetime64(f"{day.astype('datetime64[Y]')}-02-15") and snow < 0.2
    sky = Sky.SNOW if cold else Sky.CLEAR if draw < 0.5 else Sky.PARTLY if draw < 0.8 else Sky.OVERCAST
    base = {Sky.PARTLY: 1.1 - 1.5 * amount, Sky.OVERCAST: -9.0}.get(sky, 99.0)
    return CloudField(sky=sky, depth=np.asarray(field - np.float32(base), np.float32))


def lattice_shape(shape: tuple[int, ...]) -> tuple[int, int]:
    """Return rows and columns of the lattice of 20 m over a landscape of ``shape`` (y, x) pixels and 700 m around."""
    height, width = (int((size * PIXEL_M + 2 * _MARGIN_M) / _CELL_M) + 1 for size in shape)
    return height, width


def interpolate(lattice: Floats, centres: PixelCentres, shift_m: float = 0.0) -> Floats:
    """Return the values of a lattice of 20 m at pixels, float32 (h, w).

    Parameters
    ----------
    lattice
        float32 (row, column), of `lattice_shape`.
    centres
        Of the pixels.
    shift_m
        Metres to the south and to the east, where the sun stands, that are added to the positions.
    """
    rows, cols = ((axis + shift_m + _MARGIN_M) / _CELL_M - 0.5 for axis in (centres.y, centres.x))
    return np.asarray(ndimage.map_coordinates(lattice, [rows, cols], order=1, mode="nearest"), np.float32)
