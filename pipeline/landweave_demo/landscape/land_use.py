"""Land use: one use, and one crop, for every parcel."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from landweave_demo.landscape import materials as m
from landweave_demo.landscape.arithmetic import norm
from landweave_demo.landscape.parcels import ParcelLayout, ParcelRaster
from landweave_demo.landscape.terrain import River


class LandUse(StrEnum):
    """What a parcel is used for."""

    RESIDENTIAL = "residential"
    MEADOW = "meadow"
    MOWN = "mown"
    CROP = "crop"
    PLOWED = "plowed"
    VINEYARD = "vineyard"
    BARE = "bare"
    GARDENS = "gardens"
    FARM = "farm"
    BRUSH = "brush"
    DECIDUOUS = "deciduous"
    CONIFEROUS = "coniferous"
    MIXED = "mixed"


CODES = {
    LandUse.RESIDENTIAL: m.HERBACEOUS,
    LandUse.MEADOW: m.HERBACEOUS,
    LandUse.MOWN: m.HERBACEOUS,
    LandUse.CROP: m.CROPLAND,
    LandUse.PLOWED: m.PLOWED,
    LandUse.VINEYARD: m.VINEYARD,
    LandUse.BARE: m.BARE,
    LandUse.GARDENS: m.CROPLAND,
    LandUse.FARM: m.PERVIOUS,
    LandUse.BRUSH: m.BRUSHWOOD,
    LandUse.DECIDUOUS: m.DECIDUOUS,
    LandUse.CONIFEROUS: m.CONIFEROUS,
    LandUse.MIXED: m.DECIDUOUS,
}
"""Class code of most of a parcel's ground."""

CROP_CODES = {"wheat": 32, "barley": 33, "maize": 34, "sunflower": 35, "rapeseed": 36, "lucerne": 37}
"""Class code of each crop; market gardens stay agricultural land."""

SEASONAL = ("wheat", "barley", "maize", "sunflower")
"""Crops that look alike in pairs on the day of the flight (wheat and barley, maize and sunflower); only a series tells
them apart."""

WOODS = (LandUse.DECIDUOUS, LandUse.CONIFEROUS, LandUse.MIXED)

_CROP_SHARES = {"wheat": 0.22, "barley": 0.22, "maize": 0.2, "sunflower": 0.2, "rapeseed": 0.08, "lucerne": 0.08}
_FIRST_USES: tuple[tuple[LandUse, str], ...] = (
    (LandUse.CROP, "wheat"),
    (LandUse.VINEYARD, "vineyard"),
    (LandUse.DECIDUOUS, ""),
    (LandUse.PLOWED, "fallow"),
    (LandUse.MEADOW, "grass"),
    (LandUse.CONIFEROUS, ""),
    (LandUse.BRUSH, ""),
    (LandUse.CROP, "maize"),
    (LandUse.BARE, ""),
    (LandUse.MOWN, "grass"),
    (LandUse.CROP, "barley"),
    (LandUse.CROP, "sunflower"),
    (LandUse.FARM, ""),
    (LandUse.PLOWED, "fallow"),
    (LandUse.MIXED, ""),
    (LandUse.CROP, "rapeseed"),
    (LandUse.VINEYARD, "vineyard"),
    (LandUse.BRUSH, ""),
    (LandUse.CROP, "lucerne"),
)
_USE_SHARES: tuple[tuple[LandUse, str, float], ...] = (
    (LandUse.MEADOW, "grass", 0.13),
    (LandUse.MOWN, "grass", 0.06),
    (LandUse.PLOWED, "fallow", 0.09),
    (LandUse.VINEYARD, "vineyard", 0.09),
    (LandUse.BRUSH, "", 0.04),
    (LandUse.DECIDUOUS, "", 0.07),
    (LandUse.CONIFEROUS, "", 0.04),
    (LandUse.MIXED, "", 0.04),
    (LandUse.BARE, "", 0.02),
    (LandUse.CROP, "", 0.42),
)


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """One row of the parcel table.

    Attributes
    ----------
    id
        Value of ``Landscape.parcel``, from 1.
    use
        Of the parcel.
    code
        Land-cover class of most of its ground.
    crop
        Name of the crop, or ''.
    """

    id: int
    use: LandUse
    code: int
    crop: str


def assign_land_uses(
    layout: ParcelLayout, raster: ParcelRaster, river: River, rng: np.random.Generator
) -> tuple[Parcel, ...]:
    """Return a parcel for every polygon, in order: parcel ``i + 1`` is polygon ``i``.

    Parameters
    ----------
    layout, raster
        The polygons, and their pixels.
    river
        Beside which nothing is built, ploughed or left bare.
    rng
        Random stream.
    """
    plots = [i for i, polygon in enumerate(layout.polygons) if polygon.residential]
    uses: dict[int, tuple[LandUse, str]] = dict.fromkeys(plots, (LandUse.RESIDENTIAL, ""))
    pixels = np.bincount(raster.parcel_index[::4, ::4].ravel(), minlength=len(layout.polygons)) * 16
    fields = [i for i in rng.permutation(len(layout.polygons)).tolist() if i not in uses]
    small = 0.5 * float(np.median(pixels[fields])) if fields else 0.0
    wet = {i for i in fields if _wet(layout, river, i)}
    fields.sort(key=lambda i: (pixels[i] < small, i in wet))
    gardens = _village_field(layout, fields)
    if gardens is not None:
        uses[gardens] = (LandUse.GARDENS, "vegetables")
    queue = list(_FIRST_USES)
    for i in (i for i in fields if i not in uses):
        use = queue.pop(0) if queue else _random_use(rng)
        dry_only = use[0] in (LandUse.BARE, LandUse.FARM, LandUse.PLOWED)
        uses[i] = (LandUse.MEADOW, "grass") if i in wet and dry_only else use
    return tuple(_parcel(i, *uses[i]) for i in sorted(uses))


def _parcel(index: int, use: LandUse, crop: str) -> Parcel:
    return Parcel(id=index + 1, use=use, code=CROP_CODES.get(crop, CODES[use]), crop=crop)


def _village_field(layout: ParcelLayout, fields: list[int]) -> int | None:
    """Return the index of the large field closest to the village, for market gardens; None without fields."""
    usual = np.median([layout.polygons[i].long_axis()[2] for i in fields]) if fields else 0
    large = [i for i in fields if layout.polygons[i].long_axis()[2] >= usual]
    return min(large, key=lambda i: float(norm(layout.polygons[i].centre - layout.village_xy)), default=None)


def _wet(layout: ParcelLayout, river: River, index: int) -> bool:
    x, y = layout.polygons[index].centre
    return float(river.distance_to_water(np.array([x], np.float32), np.array([y], np.float32))[0]) < 45


def _random_use(rng: np.random.Generator) -> tuple[LandUse, str]:
    use, crop, _ = _USE_SHARES[rng.choice(len(_USE_SHARES), p=[share for *_, share in _USE_SHARES])]
    if use is LandUse.CROP:
        crop = str(rng.choice(list(_CROP_SHARES), p=list(_CROP_SHARES.values())))
    return use, crop
