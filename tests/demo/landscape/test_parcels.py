"""Parcels cover the land once, as polygons and on the pixels."""

from __future__ import annotations

import numpy as np
import pytest

from landweave_demo.landscape.grid import LandscapeGrid
from landweave_demo.landscape.noise import generator
from landweave_demo.landscape.parcels import Border, ParcelRaster, divide_land, rasterize_parcels

GRID = LandscapeGrid(height=700, width=900)


@pytest.fixture(scope="module")
def raster() -> ParcelRaster:
    return rasterize_parcels(GRID, divide_land(GRID, generator(4, 1)), generator(4, 2))


def test_polygons_cover_the_land_once() -> None:
    layout = divide_land(GRID, generator(4, 1))
    width, height = GRID.size_m
    assert sum(polygon.area_m2 for polygon in layout.polygons) == pytest.approx((width + 60) * (height + 60))


def test_every_pixel_has_its_parcel(raster: ParcelRaster) -> None:
    assert raster.parcel_index.min() >= 0
    on_street = raster.border >= Border.STREET
    assert on_street.any()
    assert raster.edge_m[on_street].max() <= 0


def test_a_position_is_found_back_among_the_polygons(raster: ParcelRaster) -> None:
    x, y = raster.to_ground(80.0, 60.0)
    row, col = GRID.pixel(np.array([x], np.float32), np.array([y], np.float32))
    assert x + raster.displacement[0][row[0], col[0]] == pytest.approx(80.0, abs=0.2)
    assert y + raster.displacement[1][row[0], col[0]] == pytest.approx(60.0, abs=0.2)
