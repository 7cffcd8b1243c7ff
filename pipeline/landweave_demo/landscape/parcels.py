"""Division of the land into parcels: roads, then tracks, hedges and plot boundaries, each halving a convex polygon.

::

    +--------+-----------+
    | parcel |  parcel   |      one road, then one across each half, then tracks,
    |========+====#======|      then field borders; in the village the division goes on
    | parcel | par# cel  |      as streets and plots.
    +--------+----#------+
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from landweave_demo.landscape.arithmetic import direction, dot, exponential, norm
from landweave_demo.landscape.grid import PIXEL_M, Floats, LandscapeGrid, PixelWindow
from landweave_demo.landscape.noise import spline_noise

Points = NDArray[np.float64]

_MARGIN_M = 30.0
_MAX_DEPTH = 14
_STREET_AREA_M2 = 3600.0
_TRACK_AREA_M2 = 60_000.0
_LONG_FIELD = 2.2


class Border(IntEnum):
    """What runs along a border between parcels; where two meet, the higher value is drawn."""

    OUTER = 0
    BARE = 1
    MARGIN = 2
    PLOT = 3
    HEDGE = 4
    TRACK = 5
    STREET = 6
    ROAD = 7
    MAIN_ROAD = 8


HALF_WIDTH_M = {
    Border.OUTER: 0.0,
    Border.BARE: 0.25,
    Border.MARGIN: 1.3,
    Border.PLOT: 0.6,
    Border.HEDGE: 2.2,
    Border.TRACK: 1.7,
    Border.STREET: 2.9,
    Border.ROAD: 2.6,
    Border.MAIN_ROAD: 3.3,
}
"""Half the width of what is drawn along a border, in metres; verges and sidewalks come on top."""

VERGE_M = {Border.TRACK: 0.6, Border.STREET: 1.3, Border.ROAD: 1.8, Border.MAIN_ROAD: 2.4}
"""Width of the verge or sidewalk on each side of a road, in metres."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ParcelPolygon:
    """The convex polygon of one parcel, before its borders are bent.

    Attributes
    ----------
    corners
        float64 (n, 2), x and y in metres; side i runs from corner i to corner i + 1.
    borders
        What runs along each side.
    residential
        Whether it is a plot of the village.
    """

    corners: Points
    borders: tuple[Border, ...]
    residential: bool = False

    @property
    def centre(self) -> Points:
        """Mean of the corners, (x, y) in metres."""
        return np.asarray(self.corners.mean(axis=0))

    @property
    def area_m2(self) -> float:
        """Area in square metres."""
        x, y = self.corners.T
        return float(abs((x * np.roll(y, -1) - y * np.roll(x, -1)).sum()) / 2)

    def sides(self) -> list[tuple[Points, float, Border]]:
        """Inward unit normal, offset and border of each side; the distance is ``normal @ position - offset`` metres."""
        inward = []
        for start, end, border in zip(self.corners, np.roll(self.corners, -1, axis=0), self.borders, strict=True):
            along = (end - start) / norm(end - start)
            normal = np.array([-along[1], along[0]])
            normal = normal if dot(normal, self.centre - start) > 0 else -normal
            inward.append((normal, float(dot(normal, start)), border))
        return inward

    def long_axis(self) -> tuple[Points, float, float]:
        """Direction of the longer side of the smallest bounding rectangle, and its length and width in metres."""
        boxes: list[tuple[Points, float, float]] = []
        for side in np.roll(self.corners, -1, axis=0) - self.corners:
            along = side / norm(side)
            across = np.array([-along[1], along[0]])
            length, depth = (float(np.ptp(dot(self.corners, axis))) for axis in (along, across))
            boxes.append((along, length, depth) if length >= depth else (across, depth, length))
        return min(boxes, key=lambda box: box[1] * box[2])


@dataclass(frozen=True, kw_only=True)
class ParcelLayout:
    """The parcels of a landscape.

    Attributes
    ----------
    polygons
        In the order of the parcels' ids.
    village_xy, village_m
        Centre and radius of the village in metres.
    road_angle
        Direction of the first road in radians.
    """

    polygons: tuple[ParcelPolygon, ...]
    village_xy: tuple[float, float]
    village_m: float
    road_angle: float


def divide_land(grid: LandscapeGrid, rng: np.random.Generator) -> ParcelLayout:
    """Return the whole landscape divided into fields and village plots.

    Parameters
    ----------
    grid
        Pixels of the landscape.
    rng
        Random stream.
    """
    width, height = grid.size_m
    angle = float(rng.uniform(0.15, 0.5) * rng.choice([-1, 1]))
    middle = np.array([width, height]) * rng.uniform(0.44, 0.56, 2)
    offset = rng.uniform(-0.16, 0.16) * width
    cos, sin = direction(angle)
    village = middle + offset * np.array([cos, sin])
    radius = float(np.clip(0.17 * min(width, height), 45, 150))
    layout = ParcelLayout(polygons=(), village_xy=(village[0], village[1]), village_m=radius, road_angle=angle)
    low, high = -_MARGIN_M, np.array([width, height]) + _MARGIN_M
    corners = np.array([[low, low], [high[0], low], [high[0], high[1]], [low, high[1]]])
    whole = ParcelPolygon(corners=corners, borders=(Border.OUTER,) * 4)
    normal = np.array([-sin, cos])
    field_m2 = float(np.clip(width * height / 45, 2600, 13_000))
    polygons: list[ParcelPolygon] = []
    for half in _split(whole, normal, float(dot(normal, middle)), Border.MAIN_ROAD):
        polygons += _divide(half, 1, layout, field_m2, rng)
    return ParcelLayout(polygons=tuple(polygons), village_xy=layout.village_xy, village_m=radius, road_angle=angle)


def _divide(
    polygon: ParcelPolygon, depth: int, layout: ParcelLayout, field_m2: float, rng: np.random.Generator
) -> list[ParcelPolygon]:
    distance = float(norm(polygon.centre - layout.village_xy))
    residential = distance < layout.village_m
    target = (rng.uniform(480, 950) if residential else field_m2 * float(exponential(rng.normal(0, 0.45)))) * 1.4
    if depth > _MAX_DEPTH or polygon.area_m2 < target:
        return [ParcelPolygon(corners=polygon.corners, borders=polygon.borders, residential=residential)]
    axis, length, breadth = polygon.long_axis()
    if not residential and length < _LONG_FIELD * breadth and polygon.area_m2 < 4 * field_m2 and rng.random() < 0.25:
        axis = np.array([-axis[1], axis[0]])
    cos, sin = direction(rng.normal(0, 0.07))
    normal = np.array([cos * axis[0] - sin * axis[1], sin * axis[0] + cos * axis[1]])
    across = dot(polygon.corners, normal)
    offset = across.min() + np.ptp(across) * rng.uniform(0.4, 0.6)
    border = _border(polygon, depth, residential, rng)
    return [part for half in _split(polygon, normal, float(offset), border)
            for part in _divide(half, depth + 1, layout, field_m2, rng)]  # fmt: skip


def _border(polygon: ParcelPolygon, depth: int, residential: bool, rng: np.random.Generator) -> Border:
    if depth == 1:
        return Border.ROAD
    if residential:
        return Border.STREET if polygon.area_m2 > _STREET_AREA_M2 else Border.PLOT
    if depth == 2 or (polygon.area_m2 > _TRACK_AREA_M2 and rng.random() < 0.6):
        return Border.TRACK
    return Border(rng.choice([Border.HEDGE, Border.MARGIN, Border.BARE], p=[0.36, 0.34, 0.30]))


def _split(
    polygon: ParcelPolygon, normal: Points, offset: float, border: Border
) -> tuple[ParcelPolygon, ParcelPolygon]:
    return _half(polygon, normal, offset, border), _half(polygon, -normal, -offset, border)


def _half(polygon: ParcelPolygon, normal: Points, offset: float, border: Border) -> ParcelPolygon:
    """Return the part of a polygon where ``dot(normal, position) >= offset``; the new side is a ``border``."""
    height = dot(polygon.corners, normal) - offset
    corners: list[Points] = []
    borders: list[Border] = []
    for i, corner in enumerate(polygon.corners):
        after = (i + 1) % len(polygon.corners)
        if height[i] >= 0:
            corners.append(corner)
            borders.append(polygon.borders[i])
        if (height[i] >= 0) != (height[after] >= 0):
            share = height[i] / (height[i] - height[after])
            corners.append(corner + share * (polygon.corners[after] - corner))
            borders.append(border if height[i] >= 0 else polygon.borders[i])
    return ParcelPolygon(corners=np.array(corners), borders=tuple(borders))


@dataclass(frozen=True, kw_only=True)
class ParcelPatch:
    """The pixels of one parcel.

    Attributes
    ----------
    window
        Rows and columns around the parcel.
    inside
        bool (h, w) of the window, True on the parcel's own ground.
    across
        Distance from the parcel's long axis in metres, signed, float32 (h, w).
    edge_m
        Distance to the edge of its own ground in metres, float32 (h, w).
    """

    window: PixelWindow
    inside: NDArray[np.bool_]
    across: Floats
    edge_m: Floats


@dataclass(frozen=True, kw_only=True)
class ParcelRaster:
    """The parcels on the pixels, all (y, x).

    Attributes
    ----------
    grid
        Pixels of the arrays.
    parcel_index
        int32 index into `ParcelLayout.polygons`.
    edge_m
        float32 distance in metres to the edge of the parcel's own ground, negative on its borders.
    border
        uint8 `Border` that is drawn at the pixel; 0 where there is none.
    border_m
        float32 distance in metres to the centre line of that border.
    verge
        uint8 `Border` whose verge lies at the pixel; 0 where there is none.
    displacement
        float32 x and y in metres, added to a pixel's position to give its position among the straight polygons.
    """

    grid: LandscapeGrid
    parcel_index: NDArray[np.int32]
    edge_m: Floats
    border: NDArray[np.uint8]
    border_m: Floats
    verge: NDArray[np.uint8]
    displacement: tuple[Floats, Floats]

    def to_ground(self, x: float, y: float) -> tuple[float, float]:
        """Return the position on the pixels, in metres, of a position among the straight polygons.

        Parameters
        ----------
        x, y
            Position among the polygons in metres.
        """
        gx, gy = x, y
        for _ in range(4):
            row, col = self.grid.pixel(np.array([gx], np.float32), np.array([gy], np.float32))
            gx, gy = x - float(self.displacement[0][row[0], col[0]]), y - float(self.displacement[1][row[0], col[0]])
        return gx, gy

    def patch(self, layout: ParcelLayout, index: int) -> ParcelPatch | None:
        """Return the pixels of one parcel, or None where it has none of its own.

        Parameters
        ----------
        layout
            With the parcel's polygon.
        index
            Of the polygon.
        """
        polygon = layout.polygons[index]
        window, (u, v) = _grown_window(self.grid, polygon, self.displacement)
        inside = (self.parcel_index[window] == index) & (self.edge_m[window] > 0)
        if not inside.any():
            return None
        axis, _, _ = polygon.long_axis()
        cx, cy = (np.float32(c) for c in polygon.centre)
        ax, ay = np.float32(axis[0]), np.float32(axis[1])
        across = (v - cy) * ax - (u - cx) * ay
        return ParcelPatch(window=window, inside=inside, across=across, edge_m=self.edge_m[window])


def rasterize_parcels(grid: LandscapeGrid, layout: ParcelLayout, rng: np.random.Generator) -> ParcelRaster:
    """Return the parcels on the pixels, their straight borders bent a little as old borders are.

    Parameters
    ----------
    grid
        Pixels of the landscape.
    layout
        The parcels.
    rng
        Random stream.
    """
    displacement = _displacement(grid, rng), _displacement(grid, rng)
    raster = ParcelRaster(
        grid=grid,
        parcel_index=np.full(grid.shape, -1, np.int32),
        edge_m=np.full(grid.shape, -1, np.float32),
        border=np.zeros(grid.shape, np.uint8),
        border_m=np.full(grid.shape, 99, np.float32),
        verge=np.zeros(grid.shape, np.uint8),
        displacement=displacement,
    )
    for index, polygon in enumerate(layout.polygons):
        _rasterize_polygon(raster, index, polygon)
    return raster


def _displacement(grid: LandscapeGrid, rng: np.random.Generator) -> Floats:
    bent = 7.0 * spline_noise(rng, grid.shape, 260 / PIXEL_M)
    return np.asarray(bent + 0.7 * spline_noise(rng, grid.shape, 60 / PIXEL_M), np.float32)


def _grown_window(
    grid: LandscapeGrid, polygon: ParcelPolygon, displacement: tuple[Floats, Floats]
) -> tuple[PixelWindow, tuple[Floats, Floats]]:
    low, high = polygon.corners.min(axis=0) - 28, polygon.corners.max(axis=0) + 28
    window = grid.window((low[0], low[1]), (high[0], high[1]))
    y, x = grid.axes(window)
    return window, (x + displacement[0][window], y + displacement[1][window])


def _rasterize_polygon(raster: ParcelRaster, index: int, polygon: ParcelPolygon) -> None:
    window, (u, v) = _grown_window(raster.grid, polygon, raster.displacement)
    if u.size == 0:
        return
    distances = [
        (np.float32(normal[0]) * u + np.float32(normal[1]) * v - np.float32(offset), border)
        for normal, offset, border in polygon.sides()
    ]
    inside = np.minimum.reduce([distance for distance, _ in distances]) >= 0
    edge = np.full(u.shape, 1e3, np.float32)
    drawn, verge = np.zeros(u.shape, np.uint8), np.zeros(u.shape, np.uint8)
    border_m = np.full(u.shape, 99, np.float32)
    for distance, border in sorted(distances, key=lambda side: side[1]):
        half, beside = HALF_WIDTH_M[border], VERGE_M.get(border, 0.0)
        np.minimum(edge, distance - np.float32(half + beside), out=edge)
        if border > Border.OUTER:
            on = distance < half
            drawn[on], border_m[on] = border, distance[on]
            verge[(distance < half + beside) & ~on] = border
    layers = (raster.edge_m, edge), (raster.border, drawn), (raster.border_m, border_m), (raster.verge, verge)
    for layer, values in layers:
        np.copyto(layer[window], values, where=inside, casting="same_kind")
    raster.parcel_index[window][inside] = index
