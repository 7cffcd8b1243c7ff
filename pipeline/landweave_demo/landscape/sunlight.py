"""Sunlight on a surface: direction of the sun, light on slopes, cast shadows."""

from __future__ import annotations

import math

import numpy as np

from landweave_demo.landscape.arithmetic import direction
from landweave_demo.landscape.grid import PIXEL_M, Floats

SUN_AZIMUTH = math.radians(152)
SUN_ELEVATION = math.radians(50)
"""Late morning in June, from the south-south-east; radians, azimuth clockwise from north."""


def sun_direction() -> tuple[float, float, float]:
    """Return the unit vector to the sun: east, south, up."""
    flat, up = direction(SUN_ELEVATION)
    north, east = direction(SUN_AZIMUTH)
    return flat * east, -flat * north, up


def slope_light(surface: Floats) -> Floats:
    """Return the direct sunlight on each pixel's slope, float32 (y, x): 1 on flat ground, limited to 0.35..1.45."""
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
    """Return the share of direct sunlight that is blocked by higher surface towards the sun, float32 (y, x) in 0..1.

    The highest blocking height is found by doubling: after round k each pixel has the maximum over its next 2^k.
    """
    right, down, up = sun_direction()
    flat = math.sqrt(right * right + down * down)
    ceiling = surface.copy()
    for power in range(7):
        distance = 2**power
        rows, cols = round(distance * down / flat), round(distance * right / flat)
        drop = np.float32(math.sqrt(rows * rows + cols * cols) * PIXEL_M * up / flat)
        height, width = surface.shape
        if rows >= height or cols >= width:
            break
        raised = ceiling[rows:, cols:] - drop
        np.maximum(ceiling[: height - rows, : width - cols], raised, out=ceiling[: height - rows, : width - cols])
    return np.asarray(np.clip((ceiling - surface - 0.05) / 0.45, 0, 1), np.float32)
