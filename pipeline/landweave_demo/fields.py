"""What grows in a field: paint, rows and height of one parcel, by its use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave_demo import palette as p
from landweave_demo.canvas import Canvas
from landweave_demo.frame import PIXEL_M, Floats, spline_noise
from landweave_demo.landuse import Parcel, Use
from landweave_demo.parcels import Patch


@dataclass(frozen=True, kw_only=True)
class Dress:
    """Paint, rows and height of a patch; arrays are (h, w) of its window, numbers hold everywhere."""

    paint: NDArray[np.uint16] | int
    rows: NDArray[np.floating] | float = 0.0
    height: NDArray[np.floating] | float = 0.15


Dresser = Callable[[Patch, Parcel, p.Palette, np.random.Generator], Dress]


def dress_field(canvas: Canvas, patch: Patch, parcel: Parcel, rng: np.random.Generator) -> None:
    """Paint one parcel onto the canvas."""
    dress = _DRESSERS[parcel.use](patch, parcel, canvas.palette, rng)
    for layer, own in ((canvas.paint, dress.paint), (canvas.rows, dress.rows), (canvas.height, dress.height)):
        np.copyto(layer[patch.window], np.asarray(own, layer.dtype), where=patch.inside)


def _streaks(across: Floats, rng: np.random.Generator, step_m: float) -> Floats:
    """Return what machines leave: noise that changes across the rows only, of deviation 1."""
    place = (across - across.min()) / np.float32(step_m)
    lines = rng.standard_normal(int(place.max()) + 3).astype(np.float32)
    first = place.astype(np.intp)
    part = place - first
    return np.asarray(lines[first] * (1 - part) + lines[first + 1] * part, np.float32)


def _worked(patch: Patch, headland_m: float) -> Floats:
    """Return the coordinate that machines follow: across the field, along its edge on the headland."""
    turn = patch.edge_m < headland_m
    return np.asarray(np.where(turn, patch.edge_m + 1000, patch.across), np.float32)


def _tramlines(across: Floats, width_m: float, offset: float) -> Floats:
    place = np.mod(across + np.float32(offset), np.float32(width_m)) - np.float32(width_m / 2)
    return np.asarray(-1.0 * (np.abs(np.abs(place) - 0.9) < 0.26), np.float32)


def _waves(across: Floats, period_m: float) -> Floats:
    return np.asarray(np.sin(across * np.float32(2 * np.pi / period_m)), np.float32)


def _crop(patch: Patch, parcel: Parcel, palette: p.Palette, rng: np.random.Generator) -> Dress:
    if parcel.crop in ("maize", "sunflower"):
        return _row_crop(patch, palette, rng)
    base = {"rapeseed": p.KHAKI, "lucerne": p.LUCERNE}.get(parcel.crop, p.WHEAT)
    across = _worked(patch, 9.0)
    drilled = 0.024 * _streaks(across, rng, 0.45) + 0.02 * _streaks(across, rng, 4.0)
    lodged = np.minimum(0, 1.5 + spline_noise(rng, across.shape, 9 / PIXEL_M)) * 0.08
    rows = drilled + 0.17 * _tramlines(across, rng.choice([18.0, 24.0]), rng.uniform(0, 18)) + lodged
    return Dress(paint=palette.add(base.tinted(rng, 0.06)), rows=rows, height=0.7 + 4 * drilled)


def _row_crop(patch: Patch, palette: p.Palette, rng: np.random.Generator) -> Dress:
    across = _worked(patch, 6.0)
    vigour = 0.12 + 0.03 * spline_noise(rng, across.shape, 30 / PIXEL_M)
    rows = -vigour * _waves(across, 0.8) + 0.02 * _streaks(across, rng, 0.8) + 0.02 * _streaks(across, rng, 4.8)
    return Dress(paint=palette.add(p.GREEN_ROWS.tinted(rng, 0.06)), rows=rows, height=0.6 - 0.5 * rows)


def _plowed(patch: Patch, _: Parcel, palette: p.Palette, rng: np.random.Generator) -> Dress:
    across = _worked(patch, 5.0)
    depth = 0.09 + 0.02 * spline_noise(rng, across.shape, 3 / PIXEL_M)
    clods = 0.05 * spline_noise(rng, across.shape, 2.0)
    rows = depth * _waves(across, 1.05) + 0.035 * _streaks(across, rng, 1.05) + clods
    rows += 0.03 * _streaks(across, rng, 4.2)
    return Dress(paint=palette.add(p.FURROWS.tinted(rng, 0.10)), rows=rows, height=0.06 + 0.4 * rows)


def _vineyard(patch: Patch, _: Parcel, palette: p.Palette, rng: np.random.Generator) -> Dress:
    spacing = np.float32(rng.choice([2.2, 2.4, 2.6]))
    place = np.mod(patch.across, spacing) - spacing / 2
    shape = patch.across.shape
    ragged = 0.42 + 0.10 * spline_noise(rng, shape, 3.5) + 0.06 * spline_noise(rng, shape, 40)
    vine = (np.abs(place) < ragged) & (patch.edge_m > 2.2) & (spline_noise(rng, shape, 7) > -2.0)
    floor = palette.add((p.VINE_GRASS if rng.random() < 0.35 else p.VINE_SOIL).tinted(rng, 0.05))
    leaf = palette.add(p.VINE.tinted(rng, 0.06))
    top = 1.2 * np.clip(1.5 - np.abs(place) / 0.6, 0, 1)
    tracks = 0.04 * _streaks(patch.across, rng, 0.5)
    return Dress(
        paint=np.where(vine, leaf, floor).astype(np.uint16),
        rows=tracks,
        height=np.where(vine, top, 0.05).astype(np.float32),
    )


def _meadow(patch: Patch, _: Parcel, palette: p.Palette, rng: np.random.Generator) -> Dress:
    shape = patch.across.shape
    tufts = 0.05 * spline_noise(rng, shape, 5) + 0.05 * spline_noise(rng, shape, 22)
    return Dress(paint=palette.add(p.MEADOW.tinted(rng, 0.05)), rows=tufts, height=0.2 + 0.8 * tufts)


def _mown(patch: Patch, _: Parcel, palette: p.Palette, rng: np.random.Generator) -> Dress:
    swath = np.sign(_waves(patch.across + 0.5 * spline_noise(rng, patch.across.shape, 60), 5.6))
    rows = 0.03 * swath + 0.045 * spline_noise(rng, patch.across.shape, 7)
    return Dress(paint=palette.add(p.MEADOW.tinted(rng, 0.05)), rows=rows, height=0.1)


def _bare(patch: Patch, _: Parcel, palette: p.Palette, rng: np.random.Generator) -> Dress:
    shape = patch.across.shape
    lumps = spline_noise(rng, shape, 25)
    rills = np.abs(spline_noise(rng, shape, 38))
    rows = 0.04 * lumps - 0.10 * (rills < 0.07) + 0.05 * spline_noise(rng, shape, 6)
    return Dress(paint=palette.add(p.SOIL.tinted(rng, 0.05)), rows=rows, height=0.1 + 0.05 * lumps)


def _brush(patch: Patch, _: Parcel, palette: p.Palette, rng: np.random.Generator) -> Dress:
    shape = patch.across.shape
    clumps = 0.55 * spline_noise(rng, shape, 9) + 0.45 * spline_noise(rng, shape, 24) + 0.45
    fine = spline_noise(rng, shape, 3.2)
    bush = clumps > 0
    height = np.where(bush, np.clip(0.5 + 1.1 * clumps + 0.28 * fine, 0.3, 3), 0.2).astype(np.float32)
    paint = np.where(bush, palette.add(p.SCRUB.tinted(rng, 0.05)), palette.add(p.SCRUB_FLOOR.tinted(rng, 0.04)))
    return Dress(paint=paint.astype(np.uint16), rows=0.05 * fine, height=height)


def _gardens(patch: Patch, _: Parcel, palette: p.Palette, rng: np.random.Generator) -> Dress:
    bed = np.floor(patch.across / 12)
    rows = 0.14 * _waves(patch.across, 1.4) * np.where(np.mod(bed, 2) > 0, 1, -0.6)
    rows += 0.05 * _streaks(patch.across, rng, 6.0)
    return Dress(paint=palette.add(p.BED.tinted(rng, 0.04)), rows=np.asarray(rows, np.float32), height=0.3)


def _farm(patch: Patch, _: Parcel, palette: p.Palette, rng: np.random.Generator) -> Dress:
    worn = spline_noise(rng, patch.across.shape, 18)
    yard = palette.add(p.GRAVEL.tinted(rng, 0.03))
    inner = patch.edge_m + 3 * spline_noise(rng, patch.across.shape, 40) > 9
    paint = np.where(inner, yard, palette.add(p.MEADOW.tinted(rng, 0.05))).astype(np.uint16)
    return Dress(paint=paint, rows=0.05 * worn, height=0.05)


def _lawn(patch: Patch, _: Parcel, palette: p.Palette, rng: np.random.Generator) -> Dress:
    rows = 0.05 * spline_noise(rng, patch.across.shape, 9)
    return Dress(paint=palette.add(p.GRASS.tinted(rng, 0.07)), rows=rows, height=0.08)


def _wood(patch: Patch, parcel: Parcel, palette: p.Palette, rng: np.random.Generator) -> Dress:
    floor = p.NEEDLE_LITTER if parcel.use is Use.CONIFEROUS else p.LEAF_LITTER
    shape = patch.across.shape
    height = np.clip(1.0 + 0.6 * spline_noise(rng, shape, 6), 0.1, 3) * np.clip(patch.edge_m / 2, 0, 1)
    return Dress(paint=palette.add(floor), height=np.asarray(height, np.float32))


_DRESSERS: dict[Use, Dresser] = {
    Use.LOT: _lawn,
    Use.MEADOW: _meadow,
    Use.MOWN: _mown,
    Use.CROP: _crop,
    Use.PLOWED: _plowed,
    Use.VINEYARD: _vineyard,
    Use.BARE: _bare,
    Use.GARDENS: _gardens,
    Use.FARM: _farm,
    Use.BRUSH: _brush,
    Use.DECIDUOUS: _wood,
    Use.CONIFEROUS: _wood,
    Use.MIXED: _wood,
}
