"""A made-up square kilometre: picture, heights, land cover and parcels that belong together."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from landweave_demo import palette as p
from landweave_demo import trees as t
from landweave_demo import village as v
from landweave_demo.canvas import Canvas, blank_canvas
from landweave_demo.fields import dress_field
from landweave_demo.frame import PIXEL_M, Floats, Frame, generator, spline_noise
from landweave_demo.landuse import CROP_CODES, WOODS, Parcel, Use, assign_uses
from landweave_demo.parcels import Border, Fabric, Land, cut_land, lay_out
from landweave_demo.relief import dig, draw_river, shape_terrain
from landweave_demo.render import render
from landweave_demo.ways import paint_pond, paint_river, paint_ways, pond_edge

DEMO_SEED = 34
"""The scene that the demo maps: several fields of every crop; the demo's models have never seen it."""

DEMO_SHAPE = (4300, 4500)
"""Height and width of the demo's scene, in pixels of 0.2 m."""

_SURFACES = (0, 1, 2, 3, 4, 5, 6, 8, 9, 10, 11, 12, 13, 14)

CLASS_CODES = (*_SURFACES, *CROP_CODES.values())
"""Codes that a scene can hold, ascending: CoSIA's, then the crops'."""

UNKNOWN = 255
"""Value of ``Scene.truth`` where there is no answer."""

MIN_SIZE = 512
"""Smallest height and width of a scene, in pixels."""

_DSM_NOISE_M = 0.05
_CROWN_PX = 9
_STAND_PX = 31
_SLIVER_PX = 13
_SLIVER_SHARE = 0.35


@dataclass(frozen=True, kw_only=True)
class Scene:
    """One made-up piece of country on 0.2 m pixels; all layers share their (y, x).

    ``rgbi`` uint8 (band, y, x) with bands R, G, B, NIR, never 0; ``dsm`` and ``dtm`` float32 metres; ``truth``
    uint8 codes of `CLASS_CODES`, 255 for none; ``parcel`` int32, 0 where no parcel's own ground lies, else an ``id`` of
    ``parcels``.
    """

    seed: int
    rgbi: NDArray[np.uint8]
    dsm: Floats
    dtm: Floats
    truth: NDArray[np.uint8]
    parcel: NDArray[np.int32]
    parcels: tuple[Parcel, ...]


def make_scene(seed: int, *, height: int, width: int) -> Scene:
    """Return the scene of a seed: the same bits for the same seed and size, whatever was made before."""
    if min(height, width) < MIN_SIZE:
        raise ValueError(f"A scene of {height} x {width} pixels was asked for: it takes {MIN_SIZE} on each side.")
    frame = Frame(height=height, width=width)
    land = cut_land(frame, generator(seed, 1))
    fabric = lay_out(frame, land, generator(seed, 2))
    river = draw_river(frame, generator(seed, 3), village_xy=land.village_xy, road_angle=land.road_angle)
    parcels = assign_uses(land, fabric, river, generator(seed, 5))
    canvas = blank_canvas(frame, p.Palette())
    _paint_land(canvas, fabric, land, parcels, seed)
    y, x = frame.axes()
    beyond = river.beyond_bank(x, y)
    paint_river(canvas, fabric, beyond, generator(seed, 6))
    undug = shape_terrain(frame, river, generator(seed, 4))
    dtm = dig(undug, beyond, river.level(x, y))
    _raise_bridges(canvas, fabric, beyond, undug - dtm)
    dtm, beyond = _add_pond(canvas, fabric, parcels, (dtm, beyond), seed)
    _build(canvas, fabric, land, parcels, seed)
    np.copyto(canvas.truth_paint, canvas.paint)
    _plant(canvas, fabric, land, parcels, beyond, seed)
    _strew(canvas, fabric, land, parcels, seed)
    return _finish(canvas, fabric, parcels, dtm, seed)


def _paint_land(canvas: Canvas, fabric: Fabric, land: Land, parcels: tuple[Parcel, ...], seed: int) -> None:
    canvas.palette.add(p.VERGE)
    for index, parcel in enumerate(parcels):
        patch = fabric.patch(land, index)
        if patch is not None:
            dress_field(canvas, patch, parcel, generator(seed, 7, index))
    paint_ways(canvas, fabric, land, generator(seed, 8))


def _raise_bridges(canvas: Canvas, fabric: Fabric, beyond: Floats, dug: Floats) -> None:
    deck = ((fabric.way >= Border.TRACK) | (fabric.verge >= Border.TRACK)) & (beyond < 3)
    canvas.height[deck] += dug[deck]


def _add_pond(
    canvas: Canvas, fabric: Fabric, parcels: tuple[Parcel, ...], ground: tuple[Floats, Floats], seed: int
) -> tuple[Floats, Floats]:
    """Return the ground and the distance to water after a pond was dug in one meadow, where one has room."""
    dtm, beyond = ground
    for index, parcel in enumerate(parcels):
        if parcel.use is not Use.MEADOW:
            continue
        edge = pond_edge(canvas, fabric, index, generator(seed, 9, index))
        if edge is None or bool((beyond[edge < 4] < 8).any()):
            continue
        paint_pond(canvas, edge, generator(seed, 10))
        level = float(dtm[edge < 0].min()) - 0.4
        return dig(dtm, edge, level), np.minimum(beyond, edge)
    return ground


def _build(canvas: Canvas, fabric: Fabric, land: Land, parcels: tuple[Parcel, ...], seed: int) -> None:
    v.build_village(canvas, fabric, land, generator(seed, 11))
    for parcel, cell in zip(parcels, land.cells, strict=True):
        if parcel.use is Use.FARM:
            v.build_farm(canvas, fabric, cell, generator(seed, 12, parcel.id))
        elif parcel.use is Use.GARDENS:
            v.build_tunnels(canvas, fabric, cell, generator(seed, 13, parcel.id))


def _strew(canvas: Canvas, fabric: Fabric, land: Land, parcels: tuple[Parcel, ...], seed: int) -> None:
    v.park_cars(canvas, fabric, land, generator(seed, 14))
    mown = _is_use(fabric, parcels, (Use.MOWN,)) & (fabric.edge_m > 4) & (fabric.cell % 2 == 0)
    v.drop_bales(canvas, mown & (canvas.height < 0.3), generator(seed, 15))


def _is_use(fabric: Fabric, parcels: tuple[Parcel, ...], uses: tuple[Use, ...]) -> NDArray[np.bool_]:
    table = np.array([parcel.use in uses for parcel in parcels] + [False])
    return np.asarray(table[fabric.cell])


def _plant(canvas: Canvas, fabric: Fabric, land: Land, parcels: tuple[Parcel, ...], beyond: Floats, seed: int) -> None:
    rng = generator(seed, 16)
    groups = [
        _wood_trees(canvas.frame, fabric, parcels, rng),
        _hedge_trees(canvas.frame, fabric, rng),
        _bank_trees(canvas.frame, beyond, rng),
        _garden_trees(canvas.frame, fabric, parcels, rng),
        _lone_trees(canvas.frame, fabric, parcels, rng),
    ]
    trees = _clear_of_built(canvas, fabric, t.join(groups), beyond)
    leaves = canvas.palette.variants(p.LEAVES, rng, count=14, amount=0.10)
    needles = canvas.palette.variants(p.NEEDLES, rng, count=8, amount=0.09)
    t.plant(canvas, trees, t.grow_foliage(leaves, needles, generator(seed, 17)), generator(seed, 18))
    hidden = canvas.canopy <= canvas.height
    canvas.crown[hidden] = 0
    canvas.canopy[hidden] = 0


def _clear_of_built(canvas: Canvas, fabric: Fabric, trees: t.Trees, beyond: Floats) -> t.Trees:
    """Return the trees that stand neither on water, ways and buildings nor closer than their crown to them."""
    codes = canvas.palette.codes()[canvas.paint]
    built = np.isin(codes, (p.BUILDING, p.GREENHOUSE, p.POOL))
    water = (beyond < 0.6) | (codes == p.WATER)
    way = (fabric.way >= Border.TRACK) | (codes == p.IMPERVIOUS)
    keep = np.ones(len(trees), np.bool_)
    for turn in range(9):
        angle, reach = turn * np.pi / 4, (0.85 if turn < 8 else 0.0)
        dx, dy = reach * trees.radius_m * np.cos(angle), reach * trees.radius_m * np.sin(angle)
        keep &= ~built[canvas.frame.pixel(trees.x + dx, trees.y + dy)]
        keep &= ~way[canvas.frame.pixel(trees.x + 0.5 * dx, trees.y + 0.5 * dy)]
    return trees.where(keep & ~water[canvas.frame.pixel(trees.x, trees.y)])


def _wood_trees(frame: Frame, fabric: Fabric, parcels: tuple[Parcel, ...], rng: np.random.Generator) -> t.Trees:
    clumps = spline_noise(rng, frame.shape, 26 / PIXEL_M)
    coniferous, mixed = _is_use(fabric, parcels, (Use.CONIFEROUS,)), _is_use(fabric, parcels, (Use.MIXED,))
    wood = _is_use(fabric, parcels, WOODS)
    needles = coniferous | mixed & (clumps > 0)
    x, y = t.scatter(frame, 4.3, rng)
    spot = frame.pixel(x, y)
    keep = wood[spot] & ~needles[spot] & (fabric.edge_m[spot] > 1.0)
    leafy = t.broadleaves(x[keep], y[keep], rng, radius_m=(2.3, 4.6), slender=2.0)
    x, y = t.scatter(frame, 3.3, rng, jitter=0.25)
    spot = frame.pixel(x, y)
    keep = needles[spot] & (fabric.edge_m[spot] > 0.8)
    return t.join([leafy, t.conifers(x[keep], y[keep], rng, radius_m=(1.7, 2.7))])


def _hedge_trees(frame: Frame, fabric: Fabric, rng: np.random.Generator) -> t.Trees:
    x, y = t.scatter(frame, 3.0, rng)
    spot = frame.pixel(x, y)
    gaps = spline_noise(rng, frame.shape, 24 / PIXEL_M)[spot] > -0.75
    keep = (fabric.way[spot] == Border.HEDGE) & (fabric.way_m[spot] < 1.0) & gaps & (rng.random(len(x)) < 0.8)
    return t.broadleaves(x[keep], y[keep], rng, radius_m=(1.8, 4.2))


def _bank_trees(frame: Frame, beyond: Floats, rng: np.random.Generator) -> t.Trees:
    x, y = t.scatter(frame, 4.0, rng)
    spot = frame.pixel(x, y)
    gaps = spline_noise(rng, frame.shape, 30 / PIXEL_M)[spot] > -0.35
    keep = (beyond[spot] > 1.0) & (beyond[spot] < 6.5) & gaps
    return t.broadleaves(x[keep], y[keep], rng, radius_m=(2.2, 4.8), slender=1.8)


def _garden_trees(frame: Frame, fabric: Fabric, parcels: tuple[Parcel, ...], rng: np.random.Generator) -> t.Trees:
    x, y = t.scatter(frame, 6.5, rng)
    spot = frame.pixel(x, y)
    yard = _is_use(fabric, parcels, (Use.FARM,))[spot] & (fabric.edge_m[spot] < 8)
    keep = (yard | _is_use(fabric, parcels, (Use.LOT,))[spot]) & (fabric.edge_m[spot] > 1.2)
    keep &= rng.random(len(x)) < 0.5
    x, y = x[keep], y[keep]
    leafy = rng.random(len(x)) < 0.8
    return t.join(
        [
            t.broadleaves(x[leafy], y[leafy], rng, radius_m=(1.3, 3.6), slender=1.15),
            t.conifers(x[~leafy], y[~leafy], rng, radius_m=(1.2, 2.2)),
        ]
    )


def _lone_trees(frame: Frame, fabric: Fabric, parcels: tuple[Parcel, ...], rng: np.random.Generator) -> t.Trees:
    x, y = t.scatter(frame, 22, rng)
    spot = frame.pixel(x, y)
    meadow = _is_use(fabric, parcels, (Use.MEADOW, Use.BRUSH))[spot] & (fabric.edge_m[spot] > 3)
    verge = (fabric.way[spot] == Border.MARGIN) | (fabric.verge[spot] >= Border.TRACK)
    keep = meadow & (rng.random(len(x)) < 0.3) | verge & (rng.random(len(x)) < 0.6)
    return t.broadleaves(x[keep], y[keep], rng, radius_m=(2.4, 5.4), slender=1.0)


def _finish(canvas: Canvas, fabric: Fabric, parcels: tuple[Parcel, ...], dtm: Floats, seed: int) -> Scene:
    surface = dtm + np.maximum(canvas.height, canvas.canopy)
    truth = _with_crops(_truth(canvas), fabric, parcels)
    own = (fabric.edge_m > 0) & (canvas.palette.codes()[canvas.truth_paint] != p.WATER)
    return Scene(
        seed=seed,
        rgbi=render(canvas, surface, generator(seed, 20)),
        dsm=_measure(surface, truth == p.WATER, generator(seed, 21)),
        dtm=dtm,
        truth=truth,
        parcel=np.where(own, fabric.cell + 1, 0).astype(np.int32),
        parcels=parcels,
    )


def _measure(surface: Floats, water: NDArray[np.bool_], rng: np.random.Generator) -> Floats:
    """Return the surface as image matching gives it: edges a little soft, some noise, water levelled."""
    soft = ndimage.gaussian_filter(surface, 0.9, truncate=2.5)
    soft += np.float32(_DSM_NOISE_M) * spline_noise(rng, surface.shape, 3)
    return np.asarray(np.where(water, surface, soft), np.float32)


def _truth(canvas: Canvas) -> NDArray[np.uint8]:
    """Return the class codes as an interpreter draws them: crowns in smooth outlines over what is below."""
    codes = canvas.palette.codes()
    below = codes[canvas.truth_paint]
    wood = np.isin(below, (p.DECIDUOUS, p.CONIFEROUS))
    crown = codes[canvas.crown]
    seen = canvas.crown > 0
    cover = _smooth(seen, _CROWN_PX) > 0.5
    needle = seen & (crown == p.CONIFEROUS)
    lone = _smooth(needle, _CROWN_PX) > 0.5 * _smooth(seen, _CROWN_PX)
    stand = _smooth(needle, _STAND_PX) > 0.5 * _smooth(seen, _STAND_PX)
    needles = np.where(wood, stand, lone)
    built = np.isin(below, (p.BUILDING, p.GREENHOUSE)) & ~seen
    kind = np.where(needles, p.CONIFEROUS, p.DECIDUOUS)
    return _without_slivers(np.where((cover | wood) & ~built, kind, below).astype(np.uint8))


def _with_crops(truth: NDArray[np.uint8], fabric: Fabric, parcels: tuple[Parcel, ...]) -> NDArray[np.uint8]:
    """Return the classes with agricultural land told by its crop."""
    grown = np.array([CROP_CODES.get(parcel.crop, p.CROPLAND) for parcel in parcels], np.uint8)
    return np.where(truth == p.CROPLAND, grown[fabric.cell], truth)


def _smooth(mask: NDArray[np.bool_], size: int) -> Floats:
    once = ndimage.uniform_filter(mask.astype(np.float32), size)
    return np.asarray(ndimage.uniform_filter(once, size // 2), np.float32)


def _without_slivers(truth: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the classes with strips and specks of plants too thin for a map given to what lies around them.

    Shares are counted on every second pixel in a square of 2.6 m.
    """
    coarse = truth[::2, ::2]
    best, winner = np.zeros(coarse.shape, np.float32), coarse.copy()
    own = np.zeros(coarse.shape, np.float32)
    for code in _SURFACES:
        here = coarse == code
        share = ndimage.uniform_filter(here.astype(np.float32), _SLIVER_PX // 2)
        own[here] = share[here]
        more = share > best
        best[more], winner[more] = share[more], code
    thin = (own < _SLIVER_SHARE) & np.isin(coarse, (p.HERBACEOUS, p.BRUSHWOOD, p.DECIDUOUS, p.CONIFEROUS))
    height, width = truth.shape
    spread_thin = thin.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    spread_winner = winner.repeat(2, axis=0).repeat(2, axis=1)[:height, :width]
    plants = np.isin(truth, (p.HERBACEOUS, p.BRUSHWOOD, p.DECIDUOUS, p.CONIFEROUS))
    return np.where(spread_thin & plants, spread_winner, truth)
