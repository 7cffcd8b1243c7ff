"""The layout is cut without gaps, noise is what it says, and shadows fall away from the sun."""

from __future__ import annotations

import math

import numpy as np
import pytest

from landweave_demo.landscape.grid import PIXEL_M, LandscapeGrid, generator, spline_noise, spread
from landweave_demo.landscape.materials import MEADOW, TILES, Palette
from landweave_demo.landscape.parcels import Border, divide_land, rasterize_parcels
from landweave_demo.landscape.terrain import SUN_ELEVATION, cast_shadow, dig, shade, sun_direction

GRID = LandscapeGrid(height=700, width=900)


def test_cells_cover_the_land_once() -> None:
    layout = divide_land(GRID, generator(4, 1))
    width, height = GRID.size_m
    assert sum(cell.area_m2 for cell in layout.polygons) == pytest.approx((width + 60) * (height + 60))


def test_every_pixel_has_its_cell() -> None:
    raster = rasterize_parcels(GRID, divide_land(GRID, generator(4, 1)), generator(4, 2))
    assert raster.parcel_index.min() >= 0
    on_way = raster.border >= Border.STREET
    assert on_way.any()
    assert raster.edge_m[on_way].max() <= 0


def test_a_place_is_found_back_on_the_ground() -> None:
    raster = rasterize_parcels(GRID, divide_land(GRID, generator(4, 1)), generator(4, 2))
    x, y = raster.to_ground(80.0, 60.0)
    row, col = GRID.pixel(np.array([x], np.float32), np.array([y], np.float32))
    assert x + raster.displacement[0][row[0], col[0]] == pytest.approx(80.0, abs=0.2)
    assert y + raster.displacement[1][row[0], col[0]] == pytest.approx(60.0, abs=0.2)


def test_a_constant_spreads_to_a_constant() -> None:
    assert np.allclose(spread(np.full((13, 13), 3, np.float32), (100, 90), 10), 3)


def test_noise_has_mean_0_and_deviation_1() -> None:
    noise = spline_noise(np.random.default_rng(0), (600, 500), 4)
    assert noise.shape == (600, 500)
    assert abs(float(noise.mean())) < 0.05
    assert float(noise.std()) == pytest.approx(1, abs=0.05)


def test_a_tower_throws_its_shadow_away_from_the_sun() -> None:
    ground = np.zeros((200, 200), np.float32)
    ground[120:123, 100:103] = 10
    shadow = cast_shadow(ground) > 0.5
    right, down, _ = sun_direction()
    reach_px = 10 / math.tan(SUN_ELEVATION) / PIXEL_M
    flat = math.hypot(right, down)
    tip = np.array([121 - 0.9 * reach_px * down / flat, 101 - 0.9 * reach_px * right / flat]).round().astype(int)
    beyond = np.array([121 - 1.2 * reach_px * down / flat, 101 - 1.2 * reach_px * right / flat]).round().astype(int)
    assert shadow[tuple(tip)]
    assert not shadow[tuple(beyond)]
    assert not shadow[125:].any()


def test_flat_ground_takes_the_full_sun_and_a_slope_to_it_more() -> None:
    assert np.allclose(shade(np.full((20, 20), 7, np.float32)), 1)
    southward = np.repeat(-0.02 * np.arange(20, dtype=np.float32)[:, None], 20, axis=1)
    assert (shade(southward) > 1).all()


def test_a_bed_is_level_and_its_banks_rise_to_the_ground() -> None:
    beyond = np.array([[-1.0, 0.0, 1.0, 5.0]], np.float32)
    assert dig(np.full((1, 4), 10, np.float32), beyond, 8.0).tolist()[0] == [
        8.0,
        8.0,
        pytest.approx(8.86, abs=0.1),
        10.0,
    ]


def test_a_palette_holds_a_material_once() -> None:
    palette = Palette()
    assert [palette.add(MEADOW), palette.add(TILES), palette.add(MEADOW)] == [0, 1, 0]
    assert palette.codes().tolist() == [8, 0]
    assert palette.table().shape == (2, 13)
