"""The lie of the land: hills, the valley and its river, and what the sun does to a surface."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from landweave_demo.frame import PIXEL_M, Floats, Frame, fractal_noise, spread

SUN_AZIMUTH = math.radians(152)
SUN_ELEVATION = math.radians(50)
"""Where the sun stands: late morning in June, from the south-south-east."""

_COARSE_PX = 20
_BANK_M = 2.2
_BED_M = 1.3


@dataclass(frozen=True, kw_only=True)
class River:
    """A winding line through ``middle`` along ``angle``: waves of (amplitude, length, phase), in metres."""

    middle_xy: tuple[float, float]
    angle: float
    waves: tuple[tuple[float, float, float], ...]
    half_width_m: float
    level_m: float
    fall: float

    def along(self, x: Floats, y: Floats) -> Floats:
        """Distance down the valley, in metres."""
        cos, sin = np.float32(math.cos(self.angle)), np.float32(math.sin(self.angle))
        return (x - np.float32(self.middle_xy[0])) * cos + (y - np.float32(self.middle_xy[1])) * sin

    def beyond_bank(self, x: Floats, y: Floats) -> Floats:
        """Distance outside the water's edge in metres, negative in the water."""
        cos, sin = np.float32(math.cos(self.angle)), np.float32(math.sin(self.angle))
        along = self.along(x, y)
        aside = (y - np.float32(self.middle_xy[1])) * cos - (x - np.float32(self.middle_xy[0])) * sin
        slope = np.zeros_like(along)
        for amplitude, length, phase in self.waves:
            turn = np.float32(2 * math.pi / length)
            aside -= np.float32(amplitude) * np.sin(along * turn + np.float32(phase))
            slope += np.float32(amplitude) * turn * np.cos(along * turn + np.float32(phase))
        width = np.float32(self.half_width_m) * (1 + np.float32(0.22) * np.sin(along / 31))
        return np.asarray(np.abs(aside) / np.sqrt(1 + slope * slope) - width, np.float32)

    def level(self, x: Floats, y: Floats) -> Floats:
        """Height of the water, in metres: it falls evenly down the valley and is flat from bank to bank."""
        return np.asarray(np.float32(self.level_m) - np.float32(self.fall) * self.along(x, y), np.float32)


def draw_river(frame: Frame, rng: np.random.Generator, *, village_xy: tuple[float, float], road_angle: float) -> River:
    """Return a river that runs beside the first road, on the village's roomier side."""
    width, height = frame.size_m
    angle = road_angle + rng.uniform(-0.12, 0.12)
    normal = np.array([-math.sin(angle), math.cos(angle)])
    room = 0.5 * np.array([width, height]) - village_xy
    side = 1.0 if float(room @ normal) >= 0 else -1.0
    middle = np.array([width, height]) * 0.5 + normal * side * rng.uniform(0.27, 0.33) * min(width, height)
    waves = (
        (rng.uniform(9, 14), rng.uniform(240, 320), rng.uniform(0, 6)),
        (rng.uniform(3, 5), rng.uniform(85, 120), rng.uniform(0, 6)),
        (rng.uniform(0.5, 0.9), rng.uniform(24, 33), rng.uniform(0, 6)),
    )
    return River(
        middle_xy=(middle[0], middle[1]),
        angle=angle,
        waves=waves,
        half_width_m=rng.uniform(3.2, 4.2),
        level_m=rng.uniform(150, 200),
        fall=0.003,
    )


def shape_terrain(frame: Frame, river: River, rng: np.random.Generator) -> Floats:
    """Return the ground before any water is dug in, (y, x) in metres: hills that sink to a flat valley."""
    shape = (frame.height // _COARSE_PX + 4, frame.width // _COARSE_PX + 4)
    hills = fractal_noise(rng, shape, (100.0, 45.0, 14.0)) + 1.3
    y = ((np.arange(shape[0], dtype=np.float32) - 0.5) * _COARSE_PX * PIXEL_M)[:, None]
    x = ((np.arange(shape[1], dtype=np.float32) - 0.5) * _COARSE_PX * PIXEL_M)[None, :]
    away = np.maximum(river.beyond_bank(x, y), 0)
    rise = 1 - np.exp(-((away / 130) ** 2))
    slope = 0.022 * away + 4.5 * hills
    coarse = river.level(x, y) + _BED_M + rise * np.maximum(slope, 0.01 * away)
    return spread(np.asarray(coarse, np.float32), frame.shape, _COARSE_PX)


def dig(ground: Floats, beyond: Floats, level: Floats | float) -> Floats:
    """Return the ground with a bed at ``level`` where ``beyond`` <= 0 and banks that rise beside it."""
    bank = np.clip(beyond / np.float32(_BANK_M), 0, 1)
    smooth = bank * bank * (3 - 2 * bank)
    return np.asarray(level + (ground - level) * smooth, np.float32)


def sun_direction() -> tuple[float, float, float]:
    """Return the unit vector to the sun: right, down, up."""
    flat = math.cos(SUN_ELEVATION)
    return flat * math.sin(SUN_AZIMUTH), -flat * math.cos(SUN_AZIMUTH), math.sin(SUN_ELEVATION)


def shade(surface: Floats) -> Floats:
    """Return how much direct sun each pixel's slope takes, (y, x), 1 on flat ground, within 0.35..1.45."""
    right, down, up = (np.float32(part) for part in sun_direction())
    grad_y = np.empty_like(surface)
    grad_x = np.empty_like(surface)
    grad_y[1:-1] = surface[2:] - surface[:-2]
    grad_y[0], grad_y[-1] = grad_y[1], grad_y[-2]
    grad_x[:, 1:-1] = surface[:, 2:] - surface[:, :-2]
    grad_x[:, 0], grad_x[:, -1] = grad_x[:, 1], grad_x[:, -2]
    scale = np.float32(0.5 / PIXEL_M)
    grad_y *= scale
    grad_x *= scale
    facing = 1 - (grad_x * right + grad_y * down) / up
    facing /= np.sqrt(1 + grad_x * grad_x + grad_y * grad_y)
    return np.asarray(np.clip(facing, 0.35, 1.45), np.float32)


def cast_shadow(surface: Floats) -> Floats:
    """Return the share of direct sun cut off by what stands towards the sun, (y, x) in 0..1.

    The highest ray-blocking height is gathered in doubling steps: after step k every pixel knows its next 2^k.
    """
    right, down, up = sun_direction()
    flat = math.hypot(right, down)
    ceiling = surface.copy()
    for power in range(7):
        step = 2**power
        rows, cols = round(step * down / flat), round(step * right / flat)
        drop = np.float32(math.hypot(rows, cols) * PIXEL_M * up / flat)
        height, width = surface.shape
        if rows >= height or cols >= width:
            break
        reached = ceiling[rows:, cols:] - drop
        np.maximum(ceiling[: height - rows, : width - cols], reached, out=ceiling[: height - rows, : width - cols])
    return np.asarray(np.clip((ceiling - surface - 0.05) / 0.45, 0, 1), np.float32)
