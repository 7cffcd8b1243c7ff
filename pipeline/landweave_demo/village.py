"""What people build: houses on their lots, a church, barns, polytunnels, pools, and the cars in the street."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from landweave_demo import palette as p
from landweave_demo.canvas import Canvas
from landweave_demo.frame import Floats, Window
from landweave_demo.parcels import HALF_WIDTH_M, VERGE_M, Border, Cell, Fabric, Land, Points
from landweave_demo.trees import scatter

_CLEAR_M = 1.0
_POOL_SPOTS = ((0.1, 8.5), (-0.3, 7.0), (0.3, 6.5), (-0.95, 2.0), (-0.95, -3.0))


@dataclass(frozen=True, kw_only=True)
class Box:
    """A rectangle on the ground: centre in metres, direction of its length, length and width in metres."""

    x: float
    y: float
    angle: float
    length: float
    width: float

    def moved(self, along: float, across: float, *, length: float, width: float) -> Box:
        """Return another rectangle placed relative to this one."""
        cos, sin = math.cos(self.angle), math.sin(self.angle)
        x, y = self.x + along * cos - across * sin, self.y + along * sin + across * cos
        return Box(x=x, y=y, angle=self.angle, length=length, width=width)

    def outline(self) -> Points:
        """Corners, middles of the sides and centre, (9, 2)."""
        a, b = self.length / 2, self.width / 2
        ends = [self.moved(i * a, j * b, length=1, width=1) for i in (-1, 0, 1) for j in (-1, 0, 1)]
        return np.array([(end.x, end.y) for end in ends])


@dataclass(frozen=True, kw_only=True)
class Roof:
    """Shape and look of a building: eaves in metres, slope as a tangent, hipped or gabled, paint."""

    eave_m: float
    pitch: float
    paint: int
    hipped: bool = False


def _local(canvas: Canvas, box: Box) -> tuple[Window, Floats, Floats]:
    reach = math.hypot(box.length, box.width) / 2 + 0.5
    window = canvas.frame.around(box.x, box.y, reach)
    y, x = canvas.frame.axes(window)
    cos, sin = np.float32(math.cos(box.angle)), np.float32(math.sin(box.angle))
    dx, dy = x - np.float32(box.x), y - np.float32(box.y)
    return window, np.abs(dx * cos + dy * sin), np.abs(dy * cos - dx * sin)


def _lay(canvas: Canvas, box: Box, paint: int, *, height: float = 0.05, round_: bool = False) -> None:
    """Paint a flat rectangle (or the oval in it) on the ground, under whatever is built already."""
    window, a, b = _local(canvas, box)
    inside = (a < box.length / 2) & (b < box.width / 2)
    if round_:
        inside = (2 * a / box.length) ** 2 + (2 * b / box.width) ** 2 < 1
    canvas.paint[window][inside] = paint
    canvas.height[window][inside] = height
    canvas.rows[window][inside] = 0


def _build(canvas: Canvas, box: Box, roof: Roof) -> None:
    """Raise one roof; where two meet the higher one is seen."""
    window, a, b = _local(canvas, box)
    rise = box.width / 2 - b
    if roof.hipped:
        rise = np.minimum(rise, box.length / 2 - a)
    inside = (a < box.length / 2) & (b < box.width / 2)
    top = np.asarray(roof.eave_m + rise * roof.pitch, np.float32)
    higher = inside & (top > canvas.height[window])
    canvas.height[window][higher] = top[higher]
    canvas.paint[window][higher] = roof.paint
    ridge = b < 0.16
    courses = 0.03 * np.sin(rise * 16) + 0.10 * ridge
    canvas.rows[window][higher] = courses[higher]


@dataclass(frozen=True, kw_only=True)
class Paints:
    """Paint values that buildings are drawn with."""

    tiles: list[int]
    sheets: list[int]
    paving: list[int]
    gravel: int
    pool: int
    cap: int


def mix_paints(palette: p.Palette, rng: np.random.Generator) -> Paints:
    """Return the paints of one village."""
    tiles = palette.variants(p.TILES, rng, count=9, amount=0.08)
    tiles += palette.variants(p.OLD_TILES, rng, count=6, amount=0.07)
    tiles += palette.variants(p.SLATE, rng, count=2, amount=0.06)
    return Paints(
        tiles=tiles,
        sheets=[*palette.variants(p.SHEET, rng, count=3, amount=0.06), palette.add(p.SLATE)],
        paving=palette.variants(p.PAVING, rng, count=4, amount=0.06),
        gravel=palette.add(p.GRAVEL),
        pool=palette.add(p.POOL_WATER),
        cap=palette.add(p.WALL_CAP),
    )


def build_village(canvas: Canvas, fabric: Fabric, land: Land, rng: np.random.Generator) -> None:
    """Build on every lot: a church on the middle one, terraced houses around it, villas further out."""
    paints = mix_paints(canvas.palette, rng)
    lots = [cell for cell in land.cells if cell.lot]
    lots.sort(key=lambda cell: float(np.hypot(*(cell.centre - land.village_xy))))
    for place, cell in enumerate(lots):
        away = float(np.hypot(*(cell.centre - land.village_xy))) / land.village_m
        if place == 0 and len(lots) > 6:
            _build_church(canvas, fabric, cell, paints)
        elif place == 1 and len(lots) > 6:
            canvas.paint[(fabric.cell == land.cells.index(cell)) & (fabric.edge_m > 0)] = paints.gravel
        elif away < 0.42:
            _build_terrace(canvas, fabric, cell, paints, rng)
        else:
            _build_villa(canvas, fabric, cell, paints, rng)


def _front(cell: Cell) -> tuple[Points, Points, Points, float, float]:
    """Return middle, tangent and inward normal of a lot's street side, its length, and the street's reach."""
    ends = np.roll(cell.corners, -1, axis=0)
    lengths = np.linalg.norm(ends - cell.corners, axis=1)
    streets = np.array([border >= Border.STREET for border in cell.borders])
    i = int(np.argmax(lengths + 1000 * streets))
    start, end, length = cell.corners[i], ends[i], float(lengths[i])
    reach = HALF_WIDTH_M[cell.borders[i]] + VERGE_M.get(cell.borders[i], 0)
    return (start + end) / 2, (end - start) / length, cell.sides()[i][0], length, reach


def _fits(box: Box, cell: Cell, clear_m: float) -> bool:
    return all(
        float((box.outline() @ normal - offset).min()) > HALF_WIDTH_M[border] + VERGE_M.get(border, 0) + clear_m
        for normal, offset, border in cell.sides()
    )


def _on_ground(box: Box, fabric: Fabric) -> Box:
    x, y = fabric.place(box.x, box.y)
    return replace(box, x=x, y=y)


def _facing(cell: Cell, size: tuple[float, float], *, setback: float, shift: float) -> Box:
    """Return a box in cut coordinates that faces the street: its +across side looks into the lot."""
    middle, tangent, normal, _, reach = _front(cell)
    centre = middle + normal * (reach + setback + size[1] / 2) + tangent * shift
    angle = math.atan2(-normal[0], normal[1])
    return Box(x=centre[0], y=centre[1], angle=angle, length=size[0], width=size[1])


def _build_villa(canvas: Canvas, fabric: Fabric, cell: Cell, paints: Paints, rng: np.random.Generator) -> None:
    shift, setback = rng.normal(0, 1.5), rng.uniform(3, 7)
    size = rng.uniform(11, 17), rng.uniform(8, 10.5)
    for scale in (1.0, 0.85, 0.72, 0.62):
        box = _facing(cell, (size[0] * scale, size[1] * scale), setback=setback * scale, shift=shift * scale)
        if _fits(box, cell, _CLEAR_M):
            _villa(canvas, fabric, cell, box, paints, rng)
            return
    shed = Box(x=cell.centre[0], y=cell.centre[1], angle=0.3, length=5, width=3.5)
    if _fits(shed, cell, _CLEAR_M):
        _build(canvas, _on_ground(shed, fabric), Roof(eave_m=2.5, pitch=0.2, paint=paints.tiles[0]))


def _villa(canvas: Canvas, fabric: Fabric, cell: Cell, box: Box, paints: Paints, rng: np.random.Generator) -> None:
    reach = float(np.max((box.outline() - _front(cell)[0]) @ _front(cell)[2]))
    ground = rng.choice([*paints.paving, paints.gravel, paints.gravel])
    side = rng.choice([-1, 1])
    drive = box.moved(side * (box.length / 2 - 1.9), -reach / 2, length=3.4, width=reach)
    _lay(canvas, _on_ground(drive, fabric), ground, height=0.03)
    terrace = box.moved(-side * 1.5, box.width / 2 + 1.8, length=0.55 * box.length, width=3.8)
    if _fits(terrace, cell, 0.4):
        _lay(canvas, _on_ground(terrace, fabric), paints.paving[0], height=0.15)
    for along, beyond in _POOL_SPOTS if rng.random() < 0.75 else ():
        pool = box.moved(side * along * box.length, box.width / 2 + beyond, length=8.6, width=4.4)
        if _fits(pool, cell, 1.5):
            _lay_pool(canvas, _on_ground(pool, fabric), paints, round_=bool(rng.random() < 0.3))
            break
    shed = box.moved(-side * box.length * 0.7, box.width / 2 + 9, length=4.2, width=3.0)
    if rng.random() < 0.5 and _fits(shed, cell, 0.6):
        _build(canvas, _on_ground(shed, fabric), Roof(eave_m=2.3, pitch=0.25, paint=rng.choice(paints.tiles)))
    roof = Roof(
        eave_m=rng.choice([3.1, 3.3, 5.6]),
        pitch=rng.uniform(0.34, 0.5),
        paint=rng.choice(paints.tiles),
        hipped=bool(rng.random() < 0.3),
    )
    here = _on_ground(box, fabric)
    _build(canvas, here, roof)
    wing = here.moved(side * box.length * 0.28, -box.width * 0.3, length=box.width * 0.62, width=box.width * 1.1)
    if rng.random() < 0.45:
        turned = replace(wing, angle=wing.angle + math.pi / 2, length=wing.width, width=wing.length)
        _build(canvas, turned, replace(roof, hipped=False))
    _raise_chimney(canvas, here, roof, paints, rng)


def _raise_chimney(canvas: Canvas, box: Box, roof: Roof, paints: Paints, rng: np.random.Generator) -> None:
    chimney = box.moved(rng.uniform(-0.3, 0.3) * box.length, rng.uniform(-1, 1), length=0.9, width=0.7)
    ridge = roof.eave_m + roof.pitch * box.width / 2
    _build(canvas, chimney, Roof(eave_m=ridge + 0.8, pitch=0, paint=paints.cap))


def _lay_pool(canvas: Canvas, pool: Box, paints: Paints, *, round_: bool) -> None:
    coping = replace(pool, length=pool.length + 2.6, width=pool.width + 2.6)
    _lay(canvas, coping, paints.paving[1], height=0.1, round_=round_)
    _lay(canvas, pool, paints.pool, height=0.0, round_=round_)


def _build_terrace(canvas: Canvas, fabric: Fabric, cell: Cell, paints: Paints, rng: np.random.Generator) -> None:
    """Build houses wall to wall along the street, each with its own roof."""
    *_, length, _ = _front(cell)
    depth = rng.uniform(9, 11.5)
    count = max(1, round((length - 6) / rng.uniform(8, 12)))
    each = max((length - 8) / count, 6.0)
    for i in range(count):
        shift = (i - (count - 1) / 2) * each
        box = _facing(cell, (each, depth * rng.uniform(0.9, 1.1)), setback=0.4, shift=shift)
        if not _fits(box, cell, 0.2):
            continue
        roof = Roof(
            eave_m=rng.uniform(5.0, 6.6),
            pitch=rng.uniform(0.32, 0.44),
            paint=rng.choice(paints.tiles),
        )
        yard = box.moved(0, box.width / 2 + 2.2, length=each, width=4.4)
        if _fits(yard, cell, 0.0):
            _lay(canvas, _on_ground(yard, fabric), rng.choice(paints.paving), height=0.05)
        _build(canvas, _on_ground(box, fabric), roof)
        _raise_chimney(canvas, _on_ground(box, fabric), roof, paints, rng)


def _build_church(canvas: Canvas, fabric: Fabric, cell: Cell, paints: Paints) -> None:
    x, y = fabric.place(cell.centre[0], cell.centre[1])
    nave = Box(x=x, y=y, angle=0.12, length=22, width=9)
    plaza = replace(nave, length=32, width=19)
    window, a, b = _local(canvas, plaza)
    inside = (a < 16) & (b < 9.5) & (fabric.edge_m[window] > 0)
    canvas.paint[window][inside] = paints.paving[2]
    canvas.height[window][inside] = 0.05
    _build(canvas, nave, Roof(eave_m=7.5, pitch=0.75, paint=paints.tiles[-1]))
    _build(canvas, nave.moved(3, 0, length=6, width=17), Roof(eave_m=6, pitch=0.3, paint=paints.tiles[-1]))
    spire = Roof(eave_m=15, pitch=1.3, paint=paints.tiles[-2], hipped=True)
    _build(canvas, nave.moved(-11, 0, length=6, width=6), spire)


def build_farm(canvas: Canvas, fabric: Fabric, cell: Cell, rng: np.random.Generator) -> None:
    """Build barns with sheet roofs around a farmyard, and the farmhouse."""
    paints = mix_paints(canvas.palette, rng)
    axis, length, depth = cell.long_axis()
    yard = Box(x=cell.centre[0], y=cell.centre[1], angle=math.atan2(axis[1], axis[0]), length=length, width=depth)
    spots = ((-0.22, -0.2, 30, 14), (0.2, -0.22, 24, 12), (0.22, 0.2, 34, 16), (-0.2, 0.22, 14, 9))
    for i, (along, across, size, width) in enumerate(spots):
        barn = yard.moved(along * length, across * depth, length=size, width=width)
        if not _fits(barn, cell, 3):
            continue
        house = i == len(spots) - 1
        roof = Roof(
            eave_m=5.2 if house else rng.uniform(4.8, 6.2),
            pitch=0.42 if house else 0.2,
            paint=paints.tiles[3] if house else rng.choice(paints.sheets),
        )
        _build(canvas, _on_ground(barn, fabric), roof)


def build_tunnels(canvas: Canvas, fabric: Fabric, cell: Cell, rng: np.random.Generator) -> None:
    """Put up rows of polytunnels: arched, 8 m wide, on one half of the cell."""
    axis, length, depth = cell.long_axis()
    bed = Box(x=cell.centre[0], y=cell.centre[1], angle=math.atan2(axis[1], axis[0]), length=length, width=depth)
    paint = canvas.palette.add(p.TUNNEL)
    for i in range(int(depth / 9.5)):
        for scale in (0.48, 0.36, 0.25):
            box = bed.moved(-0.22 * length, (i + 0.5) * 9.5 - depth / 2, length=scale * length, width=8.0)
            if scale * length > 8 and _fits(box, cell, 1.2):
                _raise_tunnel(canvas, _on_ground(box, fabric), paint, rng)
                break


def _raise_tunnel(canvas: Canvas, box: Box, paint: int, rng: np.random.Generator) -> None:
    window, a, b = _local(canvas, box)
    inside = (a < box.length / 2) & (b < box.width / 2)
    arch = 3.6 * np.sqrt(np.clip(1 - (b / (box.width / 2)) ** 2, 0.05, 1))
    canvas.height[window][inside] = arch[inside]
    canvas.paint[window][inside] = paint
    hoops = -0.08 * (np.mod(a, 2.4) < 0.25) + 0.03 * rng.standard_normal() + 0.12 * (b < 0.9)
    canvas.rows[window][inside] = hoops[inside]


def park_cars(canvas: Canvas, fabric: Fabric, land: Land, rng: np.random.Generator) -> None:
    """Put cars on roads and streets; the truth stays what they stand on."""
    paints = [canvas.palette.add(p.Material(code=p.IMPERVIOUS, color=color, grain=0.02)) for color in p.CAR_COLORS]
    x, y = scatter(canvas.frame, 5.0, rng)
    row, col = canvas.frame.pixel(x, y)
    away = np.hypot(x - land.village_xy[0], y - land.village_xy[1])
    lane = (fabric.way[row, col] >= Border.STREET) & (np.abs(fabric.way_m[row, col] - 1.6) < 0.3)
    inner = (row > 4) & (col > 4) & (row < canvas.frame.height - 5) & (col < canvas.frame.width - 5)
    kept = lane & inner & (rng.random(len(x)) < np.where(away < land.village_m, 0.45, 0.06))
    for i in np.flatnonzero(kept):
        angle = _lane_angle(fabric.way_m, int(row[i]), int(col[i]))
        box = Box(x=float(x[i]), y=float(y[i]), angle=angle, length=rng.uniform(3.8, 4.6), width=1.8)
        _park(canvas, box, paints[rng.choice(len(paints), p=[0.3, 0.25, 0.17, 0.14, 0.07, 0.07])])


def _lane_angle(way_m: Floats, row: int, col: int) -> float:
    slope_y = float(way_m[row + 3, col] - way_m[row - 3, col])
    slope_x = float(way_m[row, col + 3] - way_m[row, col - 3])
    return math.atan2(slope_x, -slope_y)


def _park(canvas: Canvas, box: Box, paint: int) -> None:
    window, a, b = _local(canvas, box)
    inside: NDArray[np.bool_] = (a < box.length / 2) & (b < box.width / 2)
    cabin = (a < box.length * 0.28) & (b < box.width * 0.42)
    glass = inside & (np.abs(a - box.length * 0.28) < 0.3)
    canvas.paint[window][inside] = paint
    canvas.height[window][inside] = np.where(cabin, 1.45, 0.95)[inside]
    canvas.rows[window][inside] = np.where(glass, -0.55, 0.0)[inside]


def drop_bales(canvas: Canvas, meadow: NDArray[np.bool_], rng: np.random.Generator) -> None:
    """Leave round bales on mown meadows, where ``meadow`` (y, x) holds."""
    paint = canvas.palette.add(p.BALE)
    x, y = scatter(canvas.frame, 15.0, rng)
    row, col = canvas.frame.pixel(x, y)
    for i in np.flatnonzero(meadow[row, col] & (rng.random(len(x)) < 0.6)):
        bale = Box(x=float(x[i]), y=float(y[i]), angle=rng.uniform(0, 3), length=1.4, width=1.2)
        _lay(canvas, bale, paint, height=1.2)
