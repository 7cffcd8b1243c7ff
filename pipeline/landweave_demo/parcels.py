"""How the land is cut: roads first, then tracks, hedges and lot lines, each cut halving a convex piece.

::

    +--------+-----------+
    |  cell  |   cell    |      one road, then one across each half, then tracks,
    |========+====#======|      then field borders; near the village the cuts go on
    | cell |   cell # c  |      as streets and lots.
    +------+--------#----+
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from landweave_demo.frame import PIXEL_M, Floats, Frame, Window, spline_noise

Points = NDArray[np.float64]

_MARGIN_M = 30.0
_MAX_DEPTH = 14
_STREET_AREA_M2 = 3600.0
_TRACK_AREA_M2 = 60_000.0
_LONG = 2.2


class Border(IntEnum):
    """What lies on a cut; where two meet, the higher value is drawn."""

    OUTER = 0
    BARE = 1
    MARGIN = 2
    LOT = 3
    HEDGE = 4
    TRACK = 5
    STREET = 6
    ROAD = 7
    MAIN_ROAD = 8


HALF_WIDTH_M = {
    Border.OUTER: 0.0,
    Border.BARE: 0.25,
    Border.MARGIN: 1.3,
    Border.LOT: 0.6,
    Border.HEDGE: 2.2,
    Border.TRACK: 1.7,
    Border.STREET: 2.9,
    Border.ROAD: 2.6,
    Border.MAIN_ROAD: 3.3,
}
"""Half the width of what is drawn along a cut, in metres; verges and sidewalks come on top."""

VERGE_M = {Border.TRACK: 0.6, Border.STREET: 1.3, Border.ROAD: 1.8, Border.MAIN_ROAD: 2.4}
"""Width of what accompanies a way on each side, in metres."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Cell:
    """A convex piece of land: ``corners`` (n, 2) in cut coordinates; side i runs from corner i to i + 1."""

    corners: Points
    borders: tuple[Border, ...]
    lot: bool = False

    @property
    def centre(self) -> Points:
        """Mean of the corners, (x, y)."""
        return np.asarray(self.corners.mean(axis=0))

    @property
    def area_m2(self) -> float:
        """Area in square metres."""
        x, y = self.corners.T
        return float(abs(np.dot(x, np.roll(y, -1)) - np.dot(y, np.roll(x, -1))) / 2)

    def sides(self) -> list[tuple[Points, float, Border]]:
        """Inward unit normal, offset and border of each side: ``normal . place - offset`` is the distance."""
        inward = []
        for start, end, border in zip(self.corners, np.roll(self.corners, -1, axis=0), self.borders, strict=True):
            along = (end - start) / np.linalg.norm(end - start)
            normal = np.array([-along[1], along[0]])
            normal = normal if np.dot(normal, self.centre - start) > 0 else -normal
            inward.append((normal, float(np.dot(normal, start)), border))
        return inward

    def long_axis(self) -> tuple[Points, float, float]:
        """Direction of the longest side of the smallest box around the cell, and the box's two sizes."""
        boxes: list[tuple[Points, float, float]] = []
        for step in np.roll(self.corners, -1, axis=0) - self.corners:
            along = step / np.linalg.norm(step)
            across = np.array([-along[1], along[0]])
            length, depth = float(np.ptp(self.corners @ along)), float(np.ptp(self.corners @ across))
            boxes.append((along, length, depth) if length >= depth else (across, depth, length))
        return min(boxes, key=lambda box: box[1] * box[2])


@dataclass(frozen=True, kw_only=True)
class Land:
    """The cells, the village's centre and radius in metres, and the direction of the first road."""

    cells: tuple[Cell, ...]
    village_xy: tuple[float, float]
    village_m: float
    road_angle: float


def cut_land(frame: Frame, rng: np.random.Generator) -> Land:
    """Return the whole frame cut into fields and village lots."""
    width, height = frame.size_m
    angle = float(rng.uniform(0.15, 0.5) * rng.choice([-1, 1]))
    middle = np.array([width, height]) * rng.uniform(0.44, 0.56, 2)
    reach = rng.uniform(-0.16, 0.16) * width
    village = middle + reach * np.array([math.cos(angle), math.sin(angle)])
    radius = float(np.clip(0.17 * min(width, height), 45, 150))
    land = Land(cells=(), village_xy=(village[0], village[1]), village_m=radius, road_angle=angle)
    low, high = -_MARGIN_M, np.array([width, height]) + _MARGIN_M
    corners = np.array([[low, low], [high[0], low], [high[0], high[1]], [low, high[1]]])
    whole = Cell(corners=corners, borders=(Border.OUTER,) * 4)
    normal = np.array([-math.sin(angle), math.cos(angle)])
    field_m2 = float(np.clip(width * height / 45, 2600, 13_000))
    cells: list[Cell] = []
    for half in _split(whole, normal, float(normal @ middle), Border.MAIN_ROAD):
        cells += _cut(half, 1, land, field_m2, rng)
    return Land(cells=tuple(cells), village_xy=land.village_xy, village_m=radius, road_angle=angle)


def _cut(cell: Cell, depth: int, land: Land, field_m2: float, rng: np.random.Generator) -> list[Cell]:
    away = float(np.hypot(*(cell.centre - land.village_xy)))
    lot = away < land.village_m
    target = (rng.uniform(480, 950) if lot else field_m2 * rng.lognormal(0, 0.45)) * 1.4
    if depth > _MAX_DEPTH or cell.area_m2 < target:
        return [Cell(corners=cell.corners, borders=cell.borders, lot=lot)]
    axis, length, breadth = cell.long_axis()
    if not lot and length < _LONG * breadth and cell.area_m2 < 4 * field_m2 and rng.random() < 0.25:
        axis = np.array([-axis[1], axis[0]])
    turn = rng.normal(0, 0.07)
    normal = np.array([[math.cos(turn), -math.sin(turn)], [math.sin(turn), math.cos(turn)]]) @ axis
    reach = cell.corners @ normal
    offset = reach.min() + np.ptp(reach) * rng.uniform(0.4, 0.6)
    border = _border(cell, depth, lot, rng)
    return [leaf for half in _split(cell, normal, float(offset), border)
            for leaf in _cut(half, depth + 1, land, field_m2, rng)]  # fmt: skip


def _border(cell: Cell, depth: int, lot: bool, rng: np.random.Generator) -> Border:
    if depth == 1:
        return Border.ROAD
    if lot:
        return Border.STREET if cell.area_m2 > _STREET_AREA_M2 else Border.LOT
    if depth == 2 or (cell.area_m2 > _TRACK_AREA_M2 and rng.random() < 0.6):
        return Border.TRACK
    return Border(rng.choice([Border.HEDGE, Border.MARGIN, Border.BARE], p=[0.36, 0.34, 0.30]))


def _split(cell: Cell, normal: Points, offset: float, border: Border) -> tuple[Cell, Cell]:
    return _keep(cell, normal, offset, border), _keep(cell, -normal, -offset, border)


def _keep(cell: Cell, normal: Points, offset: float, border: Border) -> Cell:
    """Return the part of a cell where ``normal . place >= offset``; the new side carries ``border``."""
    height = cell.corners @ normal - offset
    corners: list[Points] = []
    borders: list[Border] = []
    for i, corner in enumerate(cell.corners):
        after = (i + 1) % len(cell.corners)
        if height[i] >= 0:
            corners.append(corner)
            borders.append(cell.borders[i])
        if (height[i] >= 0) != (height[after] >= 0):
            part = height[i] / (height[i] - height[after])
            corners.append(corner + part * (cell.corners[after] - corner))
            borders.append(border if height[i] >= 0 else cell.borders[i])
    return Cell(corners=np.array(corners), borders=tuple(borders))


@dataclass(frozen=True, kw_only=True)
class Patch:
    """One cell on the pixels: where ``inside`` (h, w) of ``window``, with its own coordinates in metres.

    ``across`` counts from the cell's long axis, ``edge_m`` is the distance to its usable edge.
    """

    window: Window
    inside: NDArray[np.bool_]
    across: Floats
    edge_m: Floats


@dataclass(frozen=True, kw_only=True)
class Fabric:
    """The cut land on the pixels, all (y, x).

    ``cell`` int32 place in ``Land.cells``; ``edge_m`` distance to the cell's usable edge, negative on its
    borders; ``way`` uint8 `Border` drawn at the pixel (0: none, or the verge of a way where ``verge``);
    ``way_m`` distance to the middle of that way. ``warp`` is what was added to (x, y) before cutting.
    """

    frame: Frame
    cell: NDArray[np.int32]
    edge_m: Floats
    way: NDArray[np.uint8]
    way_m: Floats
    verge: NDArray[np.uint8]
    warp: tuple[Floats, Floats]

    def place(self, x: float, y: float) -> tuple[float, float]:
        """Return where a place of the cut coordinates lies on the ground, in metres."""
        gx, gy = x, y
        for _ in range(4):
            row, col = self.frame.pixel(np.array([gx], np.float32), np.array([gy], np.float32))
            gx, gy = x - float(self.warp[0][row[0], col[0]]), y - float(self.warp[1][row[0], col[0]])
        return gx, gy

    def patch(self, land: Land, index: int) -> Patch | None:
        """Return one cell's pixels and coordinates, or None where no pixel is its own."""
        cell = land.cells[index]
        window, (u, v) = _grown_window(self.frame, cell, self.warp)
        inside = (self.cell[window] == index) & (self.edge_m[window] > 0)
        if not inside.any():
            return None
        axis, _, _ = cell.long_axis()
        cx, cy = (np.float32(c) for c in cell.centre)
        ax, ay = np.float32(axis[0]), np.float32(axis[1])
        across = (v - cy) * ax - (u - cx) * ay
        return Patch(window=window, inside=inside, across=across, edge_m=self.edge_m[window])


def lay_out(frame: Frame, land: Land, rng: np.random.Generator) -> Fabric:
    """Return the cut land on the pixels, its straight cuts bent a little as old borders are."""
    warp = _warp(frame, rng), _warp(frame, rng)
    fabric = Fabric(
        frame=frame,
        cell=np.full(frame.shape, -1, np.int32),
        edge_m=np.full(frame.shape, -1, np.float32),
        way=np.zeros(frame.shape, np.uint8),
        way_m=np.full(frame.shape, 99, np.float32),
        verge=np.zeros(frame.shape, np.uint8),
        warp=warp,
    )
    for index, cell in enumerate(land.cells):
        _lay_cell(fabric, index, cell)
    return fabric


def _warp(frame: Frame, rng: np.random.Generator) -> Floats:
    bent = 7.0 * spline_noise(rng, frame.shape, 260 / PIXEL_M)
    return np.asarray(bent + 0.7 * spline_noise(rng, frame.shape, 60 / PIXEL_M), np.float32)


def _grown_window(frame: Frame, cell: Cell, warp: tuple[Floats, Floats]) -> tuple[Window, tuple[Floats, Floats]]:
    low, high = cell.corners.min(axis=0) - 28, cell.corners.max(axis=0) + 28
    window = frame.window((low[0], low[1]), (high[0], high[1]))
    y, x = frame.axes(window)
    return window, (x + warp[0][window], y + warp[1][window])


def _lay_cell(fabric: Fabric, index: int, cell: Cell) -> None:
    window, (u, v) = _grown_window(fabric.frame, cell, fabric.warp)
    if u.size == 0:
        return
    distances = [
        (np.float32(normal[0]) * u + np.float32(normal[1]) * v - np.float32(offset), border)
        for normal, offset, border in cell.sides()
    ]
    inside = np.minimum.reduce([distance for distance, _ in distances]) >= 0
    edge = np.full(u.shape, 1e3, np.float32)
    way, way_m, verge = np.zeros(u.shape, np.uint8), np.full(u.shape, 99, np.float32), np.zeros(u.shape, np.uint8)
    for distance, border in sorted(distances, key=lambda side: side[1]):
        half, beside = HALF_WIDTH_M[border], VERGE_M.get(border, 0.0)
        np.minimum(edge, distance - np.float32(half + beside), out=edge)
        if border > Border.OUTER:
            on = distance < half
            way[on], way_m[on] = border, distance[on]
            verge[(distance < half + beside) & ~on] = border
    for layer, own in ((fabric.edge_m, edge), (fabric.way, way), (fabric.way_m, way_m), (fabric.verge, verge)):
        np.copyto(layer[window], own, where=inside, casting="same_kind")
    fabric.cell[window][inside] = index
