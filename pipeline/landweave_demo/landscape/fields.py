"""Fields: material, texture and height of one parcel, by its use."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave_demo.landscape import materials as m
from landweave_demo.landscape.arithmetic import sine
from landweave_demo.landscape.grid import PIXEL_M, Floats
from landweave_demo.landscape.land_use import LandUse, Parcel
from landweave_demo.landscape.layers import LandscapeLayers
from landweave_demo.landscape.noise import spline_noise
from landweave_demo.landscape.parcels import ParcelPatch


@dataclass(frozen=True, kw_only=True)
class FieldSurface:
    """The surface of a parcel; arrays are (h, w) of its window, numbers apply to all of it.

    Attributes
    ----------
    material
        uint16 index into the palette.
    texture
        As in `LandscapeLayers`.
    height
        Metres above the terrain.
    """

    material: NDArray[np.uint16] | int
    texture: NDArray[np.floating] | float = 0.0
    height: NDArray[np.floating] | float = 0.15


SurfaceRule = Callable[[ParcelPatch, Parcel, m.Palette, np.random.Generator], FieldSurface]


def draw_field(layers: LandscapeLayers, patch: ParcelPatch, parcel: Parcel, rng: np.random.Generator) -> None:
    """Draw one parcel onto the layers.

    Parameters
    ----------
    layers
        Changed in place.
    patch
        Pixels of the parcel.
    parcel
        With its use and crop.
    rng
        Random stream.
    """
    surface = _SURFACE_RULES[parcel.use](patch, parcel, layers.palette, rng)
    for layer, own in (
        (layers.material, surface.material),
        (layers.texture, surface.texture),
        (layers.height_m, surface.height),
    ):
        np.copyto(layer[patch.window], np.asarray(own, layer.dtype), where=patch.inside)


def _streaks(across: Floats, rng: np.random.Generator, spacing_m: float) -> Floats:
    """Return traces of machines: noise that changes across the rows only, of standard deviation 1."""
    position = (across - across.min()) / np.float32(spacing_m)
    lines = rng.standard_normal(int(position.max()) + 3).astype(np.float32)
    first = position.astype(np.intp)
    part = position - first
    return np.asarray(lines[first] * (1 - part) + lines[first + 1] * part, np.float32)


def _worked(patch: ParcelPatch, headland_m: float) -> Floats:
    """Return the coordinate that rows follow, in metres: across the field, along its edge on the headland."""
    turn = patch.edge_m < headland_m
    return np.asarray(np.where(turn, patch.edge_m + 1000, patch.across), np.float32)


def _tramlines(across: Floats, width_m: float, offset: float) -> Floats:
    position = np.mod(across + np.float32(offset), np.float32(width_m)) - np.float32(width_m / 2)
    return np.asarray(-1.0 * (np.abs(np.abs(position) - 0.9) < 0.26), np.float32)


def _waves(across: Floats, period_m: float) -> Floats:
    return np.asarray(sine(across * np.float32(2 * np.pi / period_m)), np.float32)


def _crop(patch: ParcelPatch, parcel: Parcel, palette: m.Palette, rng: np.random.Generator) -> FieldSurface:
    if parcel.crop in ("maize", "sunflower"):
        return _row_crop(patch, palette, rng)
    base = {"rapeseed": m.KHAKI, "lucerne": m.LUCERNE}.get(parcel.crop, m.WHEAT)
    across = _worked(patch, 9.0)
    drilled = 0.024 * _streaks(across, rng, 0.45) + 0.02 * _streaks(across, rng, 4.0)
    lodged = np.minimum(0, 1.5 + spline_noise(rng, across.shape, 9 / PIXEL_M)) * 0.08
    rows = drilled + 0.17 * _tramlines(across, rng.choice([18.0, 24.0]), rng.uniform(0, 18)) + lodged
    return FieldSurface(material=palette.add(base.tinted(rng, 0.06)), texture=rows, height=0.7 + 4 * drilled)


def _row_crop(patch: ParcelPatch, palette: m.Palette, rng: np.random.Generator) -> FieldSurface:
    across = _worked(patch, 6.0)
    vigour = 0.12 + 0.03 * spline_noise(rng, across.shape, 30 / PIXEL_M)
    rows = -vigour * _waves(across, 0.8) + 0.02 * _streaks(across, rng, 0.8) + 0.02 * _streaks(across, rng, 4.8)
    return FieldSurface(material=palette.add(m.GREEN_ROWS.tinted(rng, 0.06)), texture=rows, height=0.6 - 0.5 * rows)


def _plowed(patch: ParcelPatch, _: Parcel, palette: m.Palette, rng: np.random.Generator) -> FieldSurface:
    across = _worked(patch, 5.0)
    depth = 0.09 + 0.02 * spline_noise(rng, across.shape, 3 / PIXEL_M)
    clods = 0.05 * spline_noise(rng, across.shape, 2.0)
    rows = depth * _waves(across, 1.05) + 0.035 * _streaks(across, rng, 1.05) + clods
    rows += 0.03 * _streaks(across, rng, 4.2)
    return FieldSurface(material=palette.add(m.FURROWS.tinted(rng, 0.10)), texture=rows, height=0.06 + 0.4 * rows)


def _vineyard(patch: ParcelPatch, _: Parcel, palette: m.Palette, rng: np.random.Generator) -> FieldSurface:
    spacing = np.float32(rng.choice([2.2, 2.4, 2.6]))
    position = np.mod(patch.across, spacing) - spacing / 2
    shape = patch.across.shape
    ragged = 0.42 + 0.10 * spline_noise(rng, shape, 3.5) + 0.06 * spline_noise(rng, shape, 40)
    vine = (np.abs(position) < ragged) & (patch.edge_m > 2.2) & (spline_noise(rng, shape, 7) > -2.0)
    floor = palette.add((m.VINE_GRASS if rng.random() < 0.35 else m.VINE_SOIL).tinted(rng, 0.05))
    leaf = palette.add(m.VINE.tinted(rng, 0.06))
    top = 1.2 * np.clip(1.5 - np.abs(position) / 0.6, 0, 1)
    tracks = 0.04 * _streaks(patch.across, rng, 0.5)
    return FieldSurface(
        material=np.where(vine, leaf, floor).astype(np.uint16),
        texture=tracks,
        height=np.where(vine, top, 0.05).astype(np.float32),
    )


def _meadow(patch: ParcelPatch, _: Parcel, palette: m.Palette, rng: np.random.Generator) -> FieldSurface:
    shape = patch.across.shape
    tufts = 0.05 * spline_noise(rng, shape, 5) + 0.05 * spline_noise(rng, shape, 22)
    return FieldSurface(material=palette.add(m.MEADOW.tinted(rng, 0.05)), texture=tufts, height=0.2 + 0.8 * tufts)


def _mown(patch: ParcelPatch, _: Parcel, palette: m.Palette, rng: np.random.Generator) -> FieldSurface:
    swath = np.sign(_waves(patch.across + 0.5 * spline_noise(rng, patch.across.shape, 60), 5.6))
    rows = 0.03 * swath + 0.045 * spline_noise(rng, patch.across.shape, 7)
    return FieldSurface(material=palette.add(m.MEADOW.tinted(rng, 0.05)), texture=rows, height=0.1)


def _bare(patch: ParcelPatch, _: Parcel, palette: m.Palette, rng: np.random.Generator) -> FieldSurface:
    shape = patch.across.shape
    lumps = spline_noise(rng, shape, 25)
    rills = np.abs(spline_noise(rng, shape, 38))
    rows = 0.04 * lumps - 0.10 * (rills < 0.07) + 0.05 * spline_noise(rng, shape, 6)
    return FieldSurface(material=palette.add(m.SOIL.tinted(rng, 0.05)), texture=rows, height=0.1 + 0.05 * lumps)


def _brush(patch: ParcelPatch, _: Parcel, palette: m.Palette, rng: np.random.Generator) -> FieldSurface:
    shape = patch.across.shape
    clumps = 0.55 * spline_noise(rng, shape, 9) + 0.45 * spline_noise(rng, shape, 24) + 0.45
    fine = spline_noise(rng, shape, 3.2)
    bush = clumps > 0
    height = np.where(bush, np.clip(0.5 + 1.1 * clumps + 0.28 * fine, 0.3, 3), 0.2).astype(np.float32)
    material = np.where(bush, palette.add(m.SCRUB.tinted(rng, 0.05)), palette.add(m.SCRUB_FLOOR.tinted(rng, 0.04)))
    return FieldSurface(material=material.astype(np.uint16), texture=0.05 * fine, height=height)


def _gardens(patch: ParcelPatch, _: Parcel, palette: m.Palette, rng: np.random.Generator) -> FieldSurface:
    bed = np.floor(patch.across / 12)
    rows = 0.14 * _waves(patch.across, 1.4) * np.where(np.mod(bed, 2) > 0, 1, -0.6)
    rows += 0.05 * _streaks(patch.across, rng, 6.0)
    return FieldSurface(material=palette.add(m.BED.tinted(rng, 0.04)), texture=np.asarray(rows, np.float32), height=0.3)


def _farm(patch: ParcelPatch, _: Parcel, palette: m.Palette, rng: np.random.Generator) -> FieldSurface:
    worn = spline_noise(rng, patch.across.shape, 18)
    yard = palette.add(m.GRAVEL.tinted(rng, 0.03))
    inner = patch.edge_m + 3 * spline_noise(rng, patch.across.shape, 40) > 9
    material = np.where(inner, yard, palette.add(m.MEADOW.tinted(rng, 0.05))).astype(np.uint16)
    return FieldSurface(material=material, texture=0.05 * worn, height=0.05)


def _lawn(patch: ParcelPatch, _: Parcel, palette: m.Palette, rng: np.random.Generator) -> FieldSurface:
    rows = 0.05 * spline_noise(rng, patch.across.shape, 9)
    return FieldSurface(material=palette.add(m.GRASS.tinted(rng, 0.07)), texture=rows, height=0.08)


def _wood(patch: ParcelPatch, parcel: Parcel, palette: m.Palette, rng: np.random.Generator) -> FieldSurface:
    floor = m.NEEDLE_LITTER if parcel.use is LandUse.CONIFEROUS else m.LEAF_LITTER
    shape = patch.across.shape
    height = np.clip(1.0 + 0.6 * spline_noise(rng, shape, 6), 0.1, 3) * np.clip(patch.edge_m / 2, 0, 1)
    return FieldSurface(material=palette.add(floor), height=np.asarray(height, np.float32))


_SURFACE_RULES: dict[LandUse, SurfaceRule] = {
    LandUse.RESIDENTIAL: _lawn,
    LandUse.MEADOW: _meadow,
    LandUse.MOWN: _mown,
    LandUse.CROP: _crop,
    LandUse.PLOWED: _plowed,
    LandUse.VINEYARD: _vineyard,
    LandUse.BARE: _bare,
    LandUse.GARDENS: _gardens,
    LandUse.FARM: _farm,
    LandUse.BRUSH: _brush,
    LandUse.DECIDUOUS: _wood,
    LandUse.CONIFEROUS: _wood,
    LandUse.MIXED: _wood,
}
