"""Borders and water: roads, tracks, hedges, verges, the river and a pond."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landweave_demo.landscape import materials as m
from landweave_demo.landscape.arithmetic import direction
from landweave_demo.landscape.grid import PIXEL_M, Floats
from landweave_demo.landscape.layers import LandscapeLayers
from landweave_demo.landscape.noise import spline_noise
from landweave_demo.landscape.parcels import HALF_WIDTH_M, Border, ParcelLayout, ParcelRaster

_RUT_M = (0.35, 1.25)
_POND_M = 19.0


def draw_borders(layers: LandscapeLayers, raster: ParcelRaster, layout: ParcelLayout, rng: np.random.Generator) -> None:
    """Draw everything that runs along a border, and the verges beside it.

    Parameters
    ----------
    layers
        Changed in place.
    raster, layout
        The parcels and their borders.
    rng
        Random stream.
    """
    shape, add = layers.grid.shape, layers.palette.add
    ragged = 0.22 * spline_noise(rng, shape, 8) + 0.25 * spline_noise(rng, shape, 45)
    border, beside = raster.border, raster.verge
    soft = (border > 0) & (border <= Border.HEDGE) | (beside > 0)
    _draw(layers, soft, add(m.VERGE), np.asarray(0.25 + 0.3 * np.clip(ragged, -0.5, 1), np.float32))
    layers.texture[soft] = 0.35 * ragged[soft]
    y, x = layers.grid.axes()
    east, south = x - np.float32(layout.village_xy[0]), y - np.float32(layout.village_xy[1])
    town = np.sqrt(east * east + south * south) < layout.village_m
    _draw(layers, (beside == Border.STREET) | (beside >= Border.ROAD) & town, add(m.PAVING), 0.1)
    _draw_hedges(layers, raster, ragged, rng)
    _draw_tracks(layers, raster, ragged)
    _draw(layers, border == Border.STREET, add(m.STREET), 0.0)
    _draw(layers, border >= Border.ROAD, add(m.ASPHALT), 0.0)
    layers.texture[border >= Border.STREET] = 0.10 * spline_noise(rng, shape, 30)[border >= Border.STREET]
    layers.texture[border >= Border.STREET] -= 0.03 * (np.abs(raster.border_m[border >= Border.STREET] - 1.1) < 0.4)
    _mark_main_road(layers, raster, layout)


def _draw(layers: LandscapeLayers, where: NDArray[np.bool_], material: int, height: Floats | float) -> None:
    layers.material[where] = material
    np.copyto(layers.height_m, np.float32(height), where=where)
    layers.texture[where] = 0


def _draw_hedges(layers: LandscapeLayers, raster: ParcelRaster, ragged: Floats, rng: np.random.Generator) -> None:
    bramble = layers.palette.add(m.BRAMBLE)
    dense = raster.border_m + 1.6 * ragged < 1.35
    bush = np.clip(1.3 + 0.5 * spline_noise(rng, layers.grid.shape, 6), 0.5, 2.6)
    _draw(layers, (raster.border == Border.HEDGE) & dense, bramble, bush)
    planted = (raster.border == Border.PLOT) & (spline_noise(rng, layers.grid.shape, 90) > -0.4)
    _draw(layers, planted, bramble, 1.2 + 0.3 * bush)


def _draw_tracks(layers: LandscapeLayers, raster: ParcelRaster, ragged: Floats) -> None:
    track = raster.border == Border.TRACK
    distance = raster.border_m[track] + 0.5 * ragged[track]
    rut = (distance > _RUT_M[0]) & (distance < _RUT_M[1])
    layers.material[track] = np.where(rut, layers.palette.add(m.RUT), layers.palette.add(m.RUT_GRASS))
    layers.height_m[track] = np.where(rut, 0.0, 0.1)
    layers.texture[track] = 0.3 * ragged[track]


def _mark_main_road(layers: LandscapeLayers, raster: ParcelRaster, layout: ParcelLayout) -> None:
    y, x = layers.grid.axes()
    main = raster.border == Border.MAIN_ROAD
    cos, sin = (np.float32(part) for part in direction(layout.road_angle))
    dash = np.mod(x * cos + y * sin, 9.0) < 3.0
    middle = (raster.border_m < 0.1) & dash
    side = np.abs(raster.border_m - (HALF_WIDTH_M[Border.MAIN_ROAD] - 0.35)) < 0.09
    layers.material[main & (middle | side & ~dash)] = layers.palette.add(m.MARKING)


def draw_river(layers: LandscapeLayers, raster: ParcelRaster, water_m: Floats, rng: np.random.Generator) -> None:
    """Draw the river and its banks; roads and tracks cross it on bridges.

    Parameters
    ----------
    layers
        Changed in place.
    raster
        With the roads.
    water_m
        Distance to the edge of the water in metres, (y, x), negative in the water.
    rng
        Random stream.
    """
    crossed = (raster.border >= Border.TRACK) | (raster.verge >= Border.TRACK)
    ragged = spline_noise(rng, layers.grid.shape, 14)
    bank = (water_m + 0.5 * ragged < 1.6) & ~crossed
    _draw(layers, bank, layers.palette.add(m.VERGE), np.clip(0.7 + 0.4 * ragged, 0.1, 2))
    layers.texture[bank] = 0.06 * ragged[bank]
    _draw(layers, (water_m <= 0) & ~crossed, layers.palette.add(m.RIVER), 0.0)


def pond_distance(layers: LandscapeLayers, raster: ParcelRaster, index: int, rng: np.random.Generator) -> Floats | None:
    """Return the distance to the edge of a pond in the middle of a parcel in metres, float32 (y, x), negative in it.

    None where the parcel has no room for a radius of 7 m.

    Parameters
    ----------
    layers
        With the grid.
    raster
        The parcels.
    index
        Of the parcel's polygon.
    rng
        Random stream.
    """
    room = np.where(raster.parcel_index[::4, ::4] == index, raster.edge_m[::4, ::4], 0)
    row, col = np.unravel_index(int(room.argmax()), room.shape)
    radius = min(0.62 * float(room[row, col]), _POND_M)
    if radius < 7:
        return None
    y, x = layers.grid.axes()
    y0, x0 = (row * 4 + 0.5) * PIXEL_M, (col * 4 + 0.5) * PIXEL_M
    stretch = np.float32(rng.uniform(1.1, 1.35))
    across, along = (x - np.float32(x0)) / stretch, (y - np.float32(y0)) * stretch
    distance_m = np.sqrt(across * across + along * along)
    window = layers.grid.around(x0, y0, 2 * radius)
    wobble = 0.13 * radius * spline_noise(rng, distance_m[window].shape, 11 / PIXEL_M)
    distance_m[window] += wobble * np.clip(2 - distance_m[window] / np.float32(radius), 0, 1)
    return np.asarray(distance_m - np.float32(radius), np.float32)


def draw_pond(layers: LandscapeLayers, water_m: Floats, rng: np.random.Generator) -> None:
    """Draw a pond with a fringe of reeds.

    Parameters
    ----------
    layers
        Changed in place.
    water_m
        Distance to the edge of the water in metres, (y, x), negative in the water.
    rng
        Random stream.
    """
    ragged = spline_noise(rng, layers.grid.shape, 9)
    fringe = (water_m < 1.4 + 0.5 * ragged) & (spline_noise(rng, layers.grid.shape, 60) > -0.1)
    _draw(layers, fringe, layers.palette.add(m.BRAMBLE), np.clip(0.9 + 0.4 * ragged, 0.1, 2))
    _draw(layers, water_m <= 0, layers.palette.add(m.POND), 0.0)
