"""Shadows fall away from the sun, and slopes towards it are brighter."""

from __future__ import annotations

import math

import numpy as np

from landweave_demo.landscape.grid import PIXEL_M
from landweave_demo.landscape.sunlight import SUN_ELEVATION, cast_shadow, slope_light, sun_direction


def test_a_tower_throws_its_shadow_away_from_the_sun() -> None:
    ground = np.zeros((200, 200), np.float32)
    ground[120:123, 100:103] = 10
    shadow = cast_shadow(ground) > 0.5
    right, down, _ = sun_direction()
    length_px = 10 / math.tan(SUN_ELEVATION) / PIXEL_M
    flat = math.hypot(right, down)
    tip = np.array([121 - 0.9 * length_px * down / flat, 101 - 0.9 * length_px * right / flat]).round().astype(int)
    beyond = np.array([121 - 1.2 * length_px * down / flat, 101 - 1.2 * length_px * right / flat]).round().astype(int)
    assert shadow[tuple(tip)]
    assert not shadow[tuple(beyond)]
    assert not shadow[125:].any()


def test_flat_ground_takes_the_full_sun_and_a_slope_to_it_more() -> None:
    assert np.allclose(slope_light(np.full((20, 20), 7, np.float32)), 1)
    southward = np.repeat(-0.02 * np.arange(20, dtype=np.float32)[:, None], 20, axis=1)
    assert (slope_light(southward) > 1).all()
