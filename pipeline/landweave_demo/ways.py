"""What lies between the fields: roads, tracks, hedges, verges, the river and a pond."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from landweave_demo import palette as p
from landweave_demo.canvas import Canvas
from landweave_demo.frame import PIXEL_M, Floats, spline_noise
from landweave_demo.parcels import HALF_WIDTH_M, Border, Fabric, Land

_RUT_M = (0.35, 1.25)
_POND_M = 19.0


def paint_ways(canvas: Canvas, fabric: Fabric, land: Land, rng: np.random.Generator) -> None:
    """Paint everything that lies on a cut, and the verges beside it."""
    shape, add = canvas.frame.shape, canvas.palette.add
    ragged = 0.22 * spline_noise(rng, shape, 8) + 0.25 * spline_noise(rng, shape, 45)
    way, beside = fabric.way, fabric.verge
    soft = (way > 0) & (way <= Border.HEDGE) | (beside > 0)
    _paint(canvas, soft, add(p.VERGE), np.asarray(0.25 + 0.3 * np.clip(ragged, -0.5, 1), np.float32))
    canvas.rows[soft] = 0.35 * ragged[soft]
    y, x = canvas.frame.axes()
    town = np.hypot(x - np.float32(land.village_xy[0]), y - np.float32(land.village_xy[1])) < land.village_m
    _paint(canvas, (beside == Border.STREET) | (beside >= Border.ROAD) & town, add(p.PAVING), 0.1)
    _paint_hedges(canvas, fabric, ragged, rng)
    _paint_tracks(canvas, fabric, ragged)
    _paint(canvas, way == Border.STREET, add(p.STREET), 0.0)
    _paint(canvas, way >= Border.ROAD, add(p.ASPHALT), 0.0)
    canvas.rows[way >= Border.STREET] = 0.10 * spline_noise(rng, shape, 30)[way >= Border.STREET]
    canvas.rows[way >= Border.STREET] -= 0.03 * (np.abs(fabric.way_m[way >= Border.STREET] - 1.1) < 0.4)
    _mark_main_road(canvas, fabric, land)


def _paint(canvas: Canvas, where: NDArray[np.bool_], paint: int, height: Floats | float) -> None:
    canvas.paint[where] = paint
    np.copyto(canvas.height, np.float32(height), where=where)
    canvas.rows[where] = 0


def _paint_hedges(canvas: Canvas, fabric: Fabric, ragged: Floats, rng: np.random.Generator) -> None:
    paints = canvas.palette.add(p.BRAMBLE)
    dense = fabric.way_m + 1.6 * ragged < 1.35
    bush = np.clip(1.3 + 0.5 * spline_noise(rng, canvas.frame.shape, 6), 0.5, 2.6)
    _paint(canvas, (fabric.way == Border.HEDGE) & dense, paints, bush)
    kept = (fabric.way == Border.LOT) & (spline_noise(rng, canvas.frame.shape, 90) > -0.4)
    _paint(canvas, kept, paints, 1.2 + 0.3 * bush)


def _paint_tracks(canvas: Canvas, fabric: Fabric, ragged: Floats) -> None:
    track = fabric.way == Border.TRACK
    place = fabric.way_m[track] + 0.5 * ragged[track]
    rut = (place > _RUT_M[0]) & (place < _RUT_M[1])
    canvas.paint[track] = np.where(rut, canvas.palette.add(p.RUT), canvas.palette.add(p.RUT_GRASS))
    canvas.height[track] = np.where(rut, 0.0, 0.1)
    canvas.rows[track] = 0.3 * ragged[track]


def _mark_main_road(canvas: Canvas, fabric: Fabric, land: Land) -> None:
    y, x = canvas.frame.axes()
    main = fabric.way == Border.MAIN_ROAD
    cos, sin = np.float32(math.cos(land.road_angle)), np.float32(math.sin(land.road_angle))
    dash = np.mod(x * cos + y * sin, 9.0) < 3.0
    middle = (fabric.way_m < 0.1) & dash
    side = np.abs(fabric.way_m - (HALF_WIDTH_M[Border.MAIN_ROAD] - 0.35)) < 0.09
    canvas.paint[main & (middle | side & ~dash)] = canvas.palette.add(p.MARKING)


def paint_river(canvas: Canvas, fabric: Fabric, beyond: Floats, rng: np.random.Generator) -> None:
    """Paint the water where ``beyond`` < 0, and its banks; roads and tracks cross on bridges."""
    crossed = (fabric.way >= Border.TRACK) | (fabric.verge >= Border.TRACK)
    ragged = spline_noise(rng, canvas.frame.shape, 14)
    bank = (beyond + 0.5 * ragged < 1.6) & ~crossed
    _paint(canvas, bank, canvas.palette.add(p.VERGE), np.clip(0.7 + 0.4 * ragged, 0.1, 2))
    canvas.rows[bank] = 0.06 * ragged[bank]
    _paint(canvas, (beyond <= 0) & ~crossed, canvas.palette.add(p.RIVER), 0.0)


def pond_edge(canvas: Canvas, fabric: Fabric, cell: int, rng: np.random.Generator) -> Floats | None:
    """Return the distance outside a pond in the middle of a cell, (y, x) in metres, or None where it is small."""
    room = np.where(fabric.cell[::4, ::4] == cell, fabric.edge_m[::4, ::4], 0)
    row, col = np.unravel_index(int(room.argmax()), room.shape)
    radius = min(0.62 * float(room[row, col]), _POND_M)
    if radius < 7:
        return None
    y, x = canvas.frame.axes()
    y0, x0 = (row * 4 + 0.5) * PIXEL_M, (col * 4 + 0.5) * PIXEL_M
    stretch = np.float32(rng.uniform(1.1, 1.35))
    away = np.hypot((x - np.float32(x0)) / stretch, (y - np.float32(y0)) * stretch)
    window = canvas.frame.around(x0, y0, 2 * radius)
    wobble = 0.13 * radius * spline_noise(rng, away[window].shape, 11 / PIXEL_M)
    away[window] += wobble * np.clip(2 - away[window] / np.float32(radius), 0, 1)
    return np.asarray(away - np.float32(radius), np.float32)


def paint_pond(canvas: Canvas, beyond: Floats, rng: np.random.Generator) -> None:
    """Paint the pond where ``beyond`` < 0, with a fringe of reeds."""
    ragged = spline_noise(rng, canvas.frame.shape, 9)
    fringe = (beyond < 1.4 + 0.5 * ragged) & (spline_noise(rng, canvas.frame.shape, 60) > -0.1)
    _paint(canvas, fringe, canvas.palette.add(p.BRAMBLE), np.clip(0.9 + 0.4 * ragged, 0.1, 2))
    _paint(canvas, beyond <= 0, canvas.palette.add(p.POND), 0.0)
