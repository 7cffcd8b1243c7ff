"""Terrain: hills, a valley and its river, beds of water."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from landweave_demo.landscape.arithmetic import cosine, direction, dot, exponential, sine
from landweave_demo.landscape.grid import PIXEL_M, Floats, LandscapeGrid
from landweave_demo.landscape.noise import fractal_noise, interpolate_spline

_COARSE_PX = 20
_BANK_M = 2.2
_BED_M = 1.3


@dataclass(frozen=True, kw_only=True)
class River:
    """A river whose centre line winds around a straight axis.

    Attributes
    ----------
    centre_xy
        Point of the axis in metres.
    angle
        Direction of the axis in radians, from x towards y.
    waves
        Amplitude and length in metres, and phase in radians, of the sines that the centre line is made of.
    half_width_m
        Half the mean width of the water.
    level_m
        Height of the water at ``centre_xy``.
    fall
        Metres that the water falls per metre of the axis.
    """

    centre_xy: tuple[float, float]
    angle: float
    waves: tuple[tuple[float, float, float], ...]
    half_width_m: float
    level_m: float
    fall: float

    def along(self, x: Floats, y: Floats) -> Floats:
        """Return the distance along the axis in metres, float32, of the shape that ``x`` and ``y`` have together.

        Parameters
        ----------
        x, y
            Positions in metres.
        """
        cos, sin = (np.float32(part) for part in direction(self.angle))
        return (x - np.float32(self.centre_xy[0])) * cos + (y - np.float32(self.centre_xy[1])) * sin

    def distance_to_water(self, x: Floats, y: Floats) -> Floats:
        """Return the distance to the edge of the water in metres, float32, negative in the water.

        Parameters
        ----------
        x, y
            Positions in metres.
        """
        cos, sin = (np.float32(part) for part in direction(self.angle))
        along = self.along(x, y)
        across = (y - np.float32(self.centre_xy[1])) * cos - (x - np.float32(self.centre_xy[0])) * sin
        slope = np.zeros_like(along)
        for amplitude, length, phase in self.waves:
            turn = np.float32(2 * np.pi / length)
            across -= np.float32(amplitude) * sine(along * turn + np.float32(phase))
            slope += np.float32(amplitude) * turn * cosine(along * turn + np.float32(phase))
        width = np.float32(self.half_width_m) * (1 + np.float32(0.22) * sine(along / 31))
        return np.asarray(np.abs(across) / np.sqrt(1 + slope * slope) - width, np.float32)

    def water_level(self, x: Floats, y: Floats) -> Floats:
        """Return the height of the water in metres, float32; it falls evenly along the axis.

        Parameters
        ----------
        x, y
            Positions in metres.
        """
        return np.asarray(np.float32(self.level_m) - np.float32(self.fall) * self.along(x, y), np.float32)


def make_river(
    grid: LandscapeGrid, rng: np.random.Generator, *, village_xy: tuple[float, float], road_angle: float
) -> River:
    """Return a river beside the first road, on the side of the village that has more room.

    Parameters
    ----------
    grid
        Pixels of the landscape.
    rng
        Random stream.
    village_xy
        Centre of the village in metres.
    road_angle
        Direction of the first road in radians.
    """
    width, height = grid.size_m
    angle = road_angle + rng.uniform(-0.12, 0.12)
    cos, sin = direction(angle)
    normal = np.array([-sin, cos])
    to_centre = 0.5 * np.array([width, height]) - village_xy
    side = 1.0 if float(dot(to_centre, normal)) >= 0 else -1.0
    centre = np.array([width, height]) * 0.5 + normal * side * rng.uniform(0.27, 0.33) * min(width, height)
    waves = (
        (rng.uniform(9, 14), rng.uniform(240, 320), rng.uniform(0, 6)),
        (rng.uniform(3, 5), rng.uniform(85, 120), rng.uniform(0, 6)),
        (rng.uniform(0.5, 0.9), rng.uniform(24, 33), rng.uniform(0, 6)),
    )
    return River(
        centre_xy=(centre[0], centre[1]),
        angle=angle,
        waves=waves,
        half_width_m=rng.uniform(3.2, 4.2),
        level_m=rng.uniform(150, 200),
        fall=0.003,
    )


def shape_terrain(grid: LandscapeGrid, river: River, rng: np.random.Generator) -> Floats:
    """Return the terrain without beds of water, float32 (y, x) in metres: hills that sink to a flat valley.

    Parameters
    ----------
    grid
        Pixels of the landscape.
    river
        In the valley.
    rng
        Random stream.
    """
    shape = (grid.height // _COARSE_PX + 4, grid.width // _COARSE_PX + 4)
    hills = fractal_noise(rng, shape, (100.0, 45.0, 14.0)) + 1.3
    y = ((np.arange(shape[0], dtype=np.float32) - 0.5) * _COARSE_PX * PIXEL_M)[:, None]
    x = ((np.arange(shape[1], dtype=np.float32) - 0.5) * _COARSE_PX * PIXEL_M)[None, :]
    distance = np.maximum(river.distance_to_water(x, y), 0)
    rise = 1 - exponential(-((distance / 130) ** 2))
    slope = 0.022 * distance + 4.5 * hills
    coarse = river.water_level(x, y) + _BED_M + rise * np.maximum(slope, 0.01 * distance)
    return interpolate_spline(np.asarray(coarse, np.float32), grid.shape, _COARSE_PX)


def dig_bed(ground: Floats, water_m: Floats, level: Floats | float) -> Floats:
    """Return the terrain with a bed of water and banks beside it, float32 (y, x) in metres.

    Parameters
    ----------
    ground
        Terrain before, (y, x) in metres.
    water_m
        Distance to the edge of the water in metres, (y, x), negative in the water.
    level
        Height of the water in metres, one or (y, x).
    """
    bank = np.clip(water_m / np.float32(_BANK_M), 0, 1)
    smooth = bank * bank * (3 - 2 * bank)
    return np.asarray(level + (ground - level) * smooth, np.float32)
