"""Buildings and what people leave around them: houses, a church, barns, polytunnels, pools, cars, bales."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from landweave_demo.landscape import materials as m
from landweave_demo.landscape.arithmetic import direction, dot, norm, sine
from landweave_demo.landscape.grid import Floats, PixelWindow
from landweave_demo.landscape.layers import LandscapeLayers
from landweave_demo.landscape.parcels import (
    HALF_WIDTH_M,
    VERGE_M,
    Border,
    ParcelLayout,
    ParcelPolygon,
    ParcelRaster,
    Points,
)
from landweave_demo.landscape.trees import scatter

_CLEAR_M = 1.0
_POOL_SPOTS = ((0.1, 8.5), (-0.3, 7.0), (0.3, 6.5), (-0.95, 2.0), (-0.95, -3.0))


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle on the ground.

    Attributes
    ----------
    x, y
        Centre in metres.
    axis
        Direction of its length, a unit vector (x, y).
    length, width
        In metres.
    """

    x: float
    y: float
    axis: tuple[float, float]
    length: float
    width: float

    def moved(self, along: float, across: float, *, length: float, width: float) -> Box:
        """Return another rectangle of the same direction.

        Parameters
        ----------
        along, across
            Its centre relative to this one's, along the length and across it, in metres.
        length, width
            In metres.
        """
        cos, sin = self.axis
        x, y = self.x + along * cos - across * sin, self.y + along * sin + across * cos
        return replace(self, x=x, y=y, length=length, width=width)

    def outline(self) -> Points:
        """Return corners, middles of the sides and centre, float64 (9, 2), x and y in metres."""
        a, b = self.length / 2, self.width / 2
        ends = [self.moved(i * a, j * b, length=1, width=1) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        return np.array([(end.x, end.y) for end in ends])


@dataclass(frozen=True, kw_only=True)
class Roof:
    """Shape and material of a roof.

    Attributes
    ----------
    eave_m
        Height of the eaves in metres.
    pitch
        Slope as a tangent.
    material
        Index into the palette.
    hipped
        Whether it slopes on all four sides; on two otherwise.
    """

    eave_m: float
    pitch: float
    material: int
    hipped: bool = False


def _box_coordinates(layers: LandscapeLayers, box: Box) -> tuple[PixelWindow, Floats, Floats]:
    """Return the window around a box, and the distances of its pixels from the box's two axes in metres."""
    radius_m = math.sqrt(box.length * box.length + box.width * box.width) / 2 + 0.5
    window = layers.grid.around(box.x, box.y, radius_m)
    y, x = layers.grid.axes(window)
    cos, sin = (np.float32(part) for part in box.axis)
    dx, dy = x - np.float32(box.x), y - np.float32(box.y)
    return window, np.abs(dx * cos + dy * sin), np.abs(dy * cos - dx * sin)


def _draw_flat(layers: LandscapeLayers, box: Box, material: int, *, height: float = 0.05, round_: bool = False) -> None:
    """Draw a level rectangle, or the ellipse in it."""
    window, a, b = _box_coordinates(layers, box)
    inside = (a < box.length / 2) & (b < box.width / 2)
    if round_:
        inside = (2 * a / box.length) ** 2 + (2 * b / box.width) ** 2 < 1
    layers.material[window][inside] = material
    layers.height_m[window][inside] = height
    layers.texture[window][inside] = 0


def _draw_roof(layers: LandscapeLayers, box: Box, roof: Roof) -> None:
    """Draw one roof; where two overlap the higher one is seen."""
    window, a, b = _box_coordinates(layers, box)
    rise = box.width / 2 - b
    if roof.hipped:
        rise = np.minimum(rise, box.length / 2 - a)
    inside = (a < box.length / 2) & (b < box.width / 2)
    top = np.asarray(roof.eave_m + rise * roof.pitch, np.float32)
    higher = inside & (top > layers.height_m[window])
    layers.height_m[window][higher] = top[higher]
    layers.material[window][higher] = roof.material
    ridge = b < 0.16
    courses = 0.03 * sine(rise * 16) + 0.10 * ridge
    layers.texture[window][higher] = courses[higher]


@dataclass(frozen=True, kw_only=True)
class BuildingMaterials:
    """Indices of the materials that buildings and yards are drawn with."""

    tiles: list[int]
    sheets: list[int]
    paving: list[int]
    gravel: int
    pool: int
    cap: int


def choose_materials(palette: m.Palette, rng: np.random.Generator) -> BuildingMaterials:
    """Return the materials of one village or farm.

    Parameters
    ----------
    palette
        The materials are added to it.
    rng
        Random stream.
    """
    tiles = palette.variants(m.TILES, rng, count=9, amount=0.08)
    tiles += palette.variants(m.OLD_TILES, rng, count=6, amount=0.07)
    tiles += palette.variants(m.SLATE, rng, count=2, amount=0.06)
    return BuildingMaterials(
        tiles=tiles,
        sheets=[*palette.variants(m.SHEET, rng, count=3, amount=0.06), palette.add(m.SLATE)],
        paving=palette.variants(m.PAVING, rng, count=4, amount=0.06),
        gravel=palette.add(m.GRAVEL),
        pool=palette.add(m.POOL_WATER),
        cap=palette.add(m.WALL_CAP),
    )


def build_village(
    layers: LandscapeLayers, raster: ParcelRaster, layout: ParcelLayout, rng: np.random.Generator
) -> None:
    """Build on every plot of the village: a church in the middle, terraced houses around it, villas further out.

    Parameters
    ----------
    layers
        Changed in place.
    raster, layout
        The parcels.
    rng
        Random stream.
    """
    materials = choose_materials(layers.palette, rng)
    plots = [polygon for polygon in layout.polygons if polygon.residential]
    plots.sort(key=lambda polygon: float(norm(polygon.centre - layout.village_xy)))
    for rank, polygon in enumerate(plots):
        distance = float(norm(polygon.centre - layout.village_xy)) / layout.village_m
        if rank == 0 and len(plots) > 6:
            _build_church(layers, raster, polygon, materials)
        elif rank == 1 and len(plots) > 6:
            layers.material[(raster.parcel_index == layout.polygons.index(polygon)) & (raster.edge_m > 0)] = (
                materials.gravel
            )
        elif distance < 0.42:
            _build_terrace(layers, raster, polygon, materials, rng)
        else:
            _build_villa(layers, raster, polygon, materials, rng)


def _street_side(polygon: ParcelPolygon) -> tuple[Points, Points, Points, float, float]:
    """Return middle, tangent, inward normal and length of a plot's street side, and the street's half width."""
    ends = np.roll(polygon.corners, -1, axis=0)
    lengths = norm(ends - polygon.corners)
    streets = np.array([border >= Border.STREET for border in polygon.borders])
    i = int(np.argmax(lengths + 1000 * streets))
    start, end, length = polygon.corners[i], ends[i], float(lengths[i])
    street_m = HALF_WIDTH_M[polygon.borders[i]] + VERGE_M.get(polygon.borders[i], 0)
    return (start + end) / 2, (end - start) / length, polygon.sides()[i][0], length, street_m


def _fits(box: Box, polygon: ParcelPolygon, clear_m: float) -> bool:
    """Whether a box keeps ``clear_m`` metres from the borders of its parcel."""
    return all(
        float((dot(box.outline(), normal) - offset).min()) > HALF_WIDTH_M[border] + VERGE_M.get(border, 0) + clear_m
        for normal, offset, border in polygon.sides()
    )


def _bounding_box(polygon: ParcelPolygon) -> Box:
    axis, length, width = polygon.long_axis()
    x, y = polygon.centre
    return Box(x=x, y=y, axis=(float(axis[0]), float(axis[1])), length=length, width=width)


def _displaced(box: Box, raster: ParcelRaster) -> Box:
    """Return a box among the straight polygons at its position on the pixels."""
    x, y = raster.to_ground(box.x, box.y)
    return replace(box, x=x, y=y)


def _box_facing_street(polygon: ParcelPolygon, size: tuple[float, float], *, setback: float, shift: float) -> Box:
    """Return a box beside the street, among the straight polygons; its +across side faces the plot."""
    middle, tangent, normal, _, street_m = _street_side(polygon)
    centre = middle + normal * (street_m + setback + size[1] / 2) + tangent * shift
    return Box(x=centre[0], y=centre[1], axis=(float(normal[1]), float(-normal[0])), length=size[0], width=size[1])


def _build_villa(
    layers: LandscapeLayers,
    raster: ParcelRaster,
    polygon: ParcelPolygon,
    materials: BuildingMaterials,
    rng: np.random.Generator,
) -> None:
    shift, setback = rng.normal(0, 1.5), rng.uniform(3, 7)
    size = rng.uniform(11, 17), rng.uniform(8, 10.5)
    for scale in (1.0, 0.85, 0.72, 0.62):
        box = _box_facing_street(
            polygon, (size[0] * scale, size[1] * scale), setback=setback * scale, shift=shift * scale
        )
        if _fits(box, polygon, _CLEAR_M):
            _draw_villa(layers, raster, polygon, box, materials, rng)
            return
    shed = Box(x=polygon.centre[0], y=polygon.centre[1], axis=direction(0.3), length=5, width=3.5)
    if _fits(shed, polygon, _CLEAR_M):
        _draw_roof(layers, _displaced(shed, raster), Roof(eave_m=2.5, pitch=0.2, material=materials.tiles[0]))


def _draw_villa(
    layers: LandscapeLayers,
    raster: ParcelRaster,
    polygon: ParcelPolygon,
    box: Box,
    materials: BuildingMaterials,
    rng: np.random.Generator,
) -> None:
    middle, _, normal, *_ = _street_side(polygon)
    depth = float(np.max(dot(box.outline() - middle, normal)))
    paving = rng.choice([*materials.paving, materials.gravel, materials.gravel])
    side = rng.choice([-1, 1])
    drive = box.moved(side * (box.length / 2 - 1.9), -depth / 2, length=3.4, width=depth)
    _draw_flat(layers, _displaced(drive, raster), paving, height=0.03)
    terrace = box.moved(-side * 1.5, box.width / 2 + 1.8, length=0.55 * box.length, width=3.8)
    if _fits(terrace, polygon, 0.4):
        _draw_flat(layers, _displaced(terrace, raster), materials.paving[0], height=0.15)
    for along, behind_m in _POOL_SPOTS if rng.random() < 0.75 else ():
        pool = box.moved(side * along * box.length, box.width / 2 + behind_m, length=8.6, width=4.4)
        if _fits(pool, polygon, 1.5):
            _draw_pool(layers, _displaced(pool, raster), materials, round_=bool(rng.random() < 0.3))
            break
    shed = box.moved(-side * box.length * 0.7, box.width / 2 + 9, length=4.2, width=3.0)
    if rng.random() < 0.5 and _fits(shed, polygon, 0.6):
        _draw_roof(layers, _displaced(shed, raster), Roof(eave_m=2.3, pitch=0.25, material=rng.choice(materials.tiles)))
    roof = Roof(
        eave_m=rng.choice([3.1, 3.3, 5.6]),
        pitch=rng.uniform(0.34, 0.5),
        material=rng.choice(materials.tiles),
        hipped=bool(rng.random() < 0.3),
    )
    here = _displaced(box, raster)
    _draw_roof(layers, here, roof)
    wing = here.moved(side * box.length * 0.28, -box.width * 0.3, length=box.width * 0.62, width=box.width * 1.1)
    if rng.random() < 0.45:
        turned = replace(wing, axis=(-wing.axis[1], wing.axis[0]), length=wing.width, width=wing.length)
        _draw_roof(layers, turned, replace(roof, hipped=False))
    _raise_chimney(layers, here, roof, materials, rng)


def _raise_chimney(
    layers: LandscapeLayers, box: Box, roof: Roof, materials: BuildingMaterials, rng: np.random.Generator
) -> None:
    chimney = box.moved(rng.uniform(-0.3, 0.3) * box.length, rng.uniform(-1, 1), length=0.9, width=0.7)
    ridge = roof.eave_m + roof.pitch * box.width / 2
    _draw_roof(layers, chimney, Roof(eave_m=ridge + 0.8, pitch=0, material=materials.cap))


def _draw_pool(layers: LandscapeLayers, pool: Box, materials: BuildingMaterials, *, round_: bool) -> None:
    coping = replace(pool, length=pool.length + 2.6, width=pool.width + 2.6)
    _draw_flat(layers, coping, materials.paving[1], height=0.1, round_=round_)
    _draw_flat(layers, pool, materials.pool, height=0.0, round_=round_)


def _build_terrace(
    layers: LandscapeLayers,
    raster: ParcelRaster,
    polygon: ParcelPolygon,
    materials: BuildingMaterials,
    rng: np.random.Generator,
) -> None:
    """Build houses wall to wall along the street, each with a roof of its own."""
    *_, length, _ = _street_side(polygon)
    depth = rng.uniform(9, 11.5)
    count = max(1, round((length - 6) / rng.uniform(8, 12)))
    each = max((length - 8) / count, 6.0)
    for i in range(count):
        shift = (i - (count - 1) / 2) * each
        box = _box_facing_street(polygon, (each, depth * rng.uniform(0.9, 1.1)), setback=0.4, shift=shift)
        if not _fits(box, polygon, 0.2):
            continue
        roof = Roof(
            eave_m=rng.uniform(5.0, 6.6),
            pitch=rng.uniform(0.32, 0.44),
            material=rng.choice(materials.tiles),
        )
        yard = box.moved(0, box.width / 2 + 2.2, length=each, width=4.4)
        if _fits(yard, polygon, 0.0):
            _draw_flat(layers, _displaced(yard, raster), rng.choice(materials.paving), height=0.05)
        _draw_roof(layers, _displaced(box, raster), roof)
        _raise_chimney(layers, _displaced(box, raster), roof, materials, rng)


def _build_church(
    layers: LandscapeLayers, raster: ParcelRaster, polygon: ParcelPolygon, materials: BuildingMaterials
) -> None:
    x, y = raster.to_ground(polygon.centre[0], polygon.centre[1])
    nave = Box(x=x, y=y, axis=direction(0.12), length=22, width=9)
    plaza = replace(nave, length=32, width=19)
    window, a, b = _box_coordinates(layers, plaza)
    inside = (a < 16) & (b < 9.5) & (raster.edge_m[window] > 0)
    layers.material[window][inside] = materials.paving[2]
    layers.height_m[window][inside] = 0.05
    _draw_roof(layers, nave, Roof(eave_m=7.5, pitch=0.75, material=materials.tiles[-1]))
    _draw_roof(layers, nave.moved(3, 0, length=6, width=17), Roof(eave_m=6, pitch=0.3, material=materials.tiles[-1]))
    spire = Roof(eave_m=15, pitch=1.3, material=materials.tiles[-2], hipped=True)
    _draw_roof(layers, nave.moved(-11, 0, length=6, width=6), spire)


def build_farm(layers: LandscapeLayers, raster: ParcelRaster, polygon: ParcelPolygon, rng: np.random.Generator) -> None:
    """Build barns with sheet roofs around a farmyard, and the farmhouse.

    Parameters
    ----------
    layers
        Changed in place.
    raster
        The parcels.
    polygon
        Of the parcel.
    rng
        Random stream.
    """
    materials = choose_materials(layers.palette, rng)
    yard = _bounding_box(polygon)
    spots = ((-0.22, -0.2, 30, 14), (0.2, -0.22, 24, 12), (0.22, 0.2, 34, 16), (-0.2, 0.22, 14, 9))
    for i, (along, across, size, width) in enumerate(spots):
        barn = yard.moved(along * yard.length, across * yard.width, length=size, width=width)
        if not _fits(barn, polygon, 3):
            continue
        house = i == len(spots) - 1
        roof = Roof(
            eave_m=5.2 if house else rng.uniform(4.8, 6.2),
            pitch=0.42 if house else 0.2,
            material=materials.tiles[3] if house else rng.choice(materials.sheets),
        )
        _draw_roof(layers, _displaced(barn, raster), roof)


def build_tunnels(
    layers: LandscapeLayers, raster: ParcelRaster, polygon: ParcelPolygon, rng: np.random.Generator
) -> None:
    """Build rows of polytunnels, arched and 8 m wide, on one half of a parcel.

    Parameters
    ----------
    layers
        Changed in place.
    raster
        The parcels.
    polygon
        Of the parcel.
    rng
        Random stream.
    """
    bed = _bounding_box(polygon)
    material = layers.palette.add(m.TUNNEL)
    for i in range(int(bed.width / 9.5)):
        for scale in (0.48, 0.36, 0.25):
            box = bed.moved(-0.22 * bed.length, (i + 0.5) * 9.5 - bed.width / 2, length=scale * bed.length, width=8.0)
            if scale * bed.length > 8 and _fits(box, polygon, 1.2):
                _raise_tunnel(layers, _displaced(box, raster), material, rng)
                break


def _raise_tunnel(layers: LandscapeLayers, box: Box, material: int, rng: np.random.Generator) -> None:
    window, a, b = _box_coordinates(layers, box)
    inside = (a < box.length / 2) & (b < box.width / 2)
    arch = 3.6 * np.sqrt(np.clip(1 - (b / (box.width / 2)) ** 2, 0.05, 1))
    layers.height_m[window][inside] = arch[inside]
    layers.material[window][inside] = material
    hoops = -0.08 * (np.mod(a, 2.4) < 0.25) + 0.03 * rng.standard_normal() + 0.12 * (b < 0.9)
    layers.texture[window][inside] = hoops[inside]


def park_cars(layers: LandscapeLayers, raster: ParcelRaster, layout: ParcelLayout, rng: np.random.Generator) -> None:
    """Draw cars on roads and streets; they are not in the land-cover truth.

    Parameters
    ----------
    layers
        Changed in place.
    raster, layout
        The parcels with the roads between them.
    rng
        Random stream.
    """
    materials = [layers.palette.add(m.Material(code=m.IMPERVIOUS, color=color, grain=0.02)) for color in m.CAR_COLORS]
    x, y = scatter(layers.grid, 5.0, rng)
    row, col = layers.grid.pixel(x, y)
    distance = norm(np.stack([x, y], axis=-1) - np.array(layout.village_xy, np.float32))
    lane = (raster.border[row, col] >= Border.STREET) & (np.abs(raster.border_m[row, col] - 1.6) < 0.3)
    inner = (row > 4) & (col > 4) & (row < layers.grid.height - 5) & (col < layers.grid.width - 5)
    parked = lane & inner & (rng.random(len(x)) < np.where(distance < layout.village_m, 0.45, 0.06))
    for i in np.flatnonzero(parked):
        axis = _lane_axis(raster.border_m, int(row[i]), int(col[i]))
        box = Box(x=float(x[i]), y=float(y[i]), axis=axis, length=rng.uniform(3.8, 4.6), width=1.8)
        _draw_car(layers, box, materials[rng.choice(len(materials), p=[0.3, 0.25, 0.17, 0.14, 0.07, 0.07])])


def _lane_axis(border_m: Floats, row: int, col: int) -> tuple[float, float]:
    slope_y = float(border_m[row + 3, col] - border_m[row - 3, col])
    slope_x = float(border_m[row, col + 3] - border_m[row, col - 3])
    slope = math.sqrt(slope_x * slope_x + slope_y * slope_y)
    return (-slope_y / slope, slope_x / slope) if slope else (1.0, 0.0)


def _draw_car(layers: LandscapeLayers, box: Box, material: int) -> None:
    window, a, b = _box_coordinates(layers, box)
    inside: NDArray[np.bool_] = (a < box.length / 2) & (b < box.width / 2)
    cabin = (a < box.length * 0.28) & (b < box.width * 0.42)
    glass = inside & (np.abs(a - box.length * 0.28) < 0.3)
    layers.material[window][inside] = material
    layers.height_m[window][inside] = np.where(cabin, 1.45, 0.95)[inside]
    layers.texture[window][inside] = np.where(glass, -0.55, 0.0)[inside]


def scatter_bales(layers: LandscapeLayers, meadow: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Draw round bales.

    Parameters
    ----------
    layers
        Changed in place.
    meadow
        bool (y, x), True where bales may lie.
    rng
        Random stream.
    """
    material = layers.palette.add(m.BALE)
    x, y = scatter(layers.grid, 15.0, rng)
    row, col = layers.grid.pixel(x, y)
    for i in np.flatnonzero(meadow[row, col] & (rng.random(len(x)) < 0.6)):
        bale = Box(x=float(x[i]), y=float(y[i]), axis=direction(rng.uniform(0, 3)), length=1.4, width=1.2)
        _draw_flat(layers, bale, material, height=1.2)
