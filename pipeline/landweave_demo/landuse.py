"""Who grows what: one use, and one crop, for every cell."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from landweave_demo import palette as p
from landweave_demo.parcels import Fabric, Land
from landweave_demo.relief import River


class Use(StrEnum):
    """What a cell is used for."""

    LOT = "lot"
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
    Use.LOT: p.HERBACEOUS,
    Use.MEADOW: p.HERBACEOUS,
    Use.MOWN: p.HERBACEOUS,
    Use.CROP: p.CROPLAND,
    Use.PLOWED: p.PLOWED,
    Use.VINEYARD: p.VINEYARD,
    Use.BARE: p.BARE,
    Use.GARDENS: p.CROPLAND,
    Use.FARM: p.PERVIOUS,
    Use.BRUSH: p.BRUSHWOOD,
    Use.DECIDUOUS: p.DECIDUOUS,
    Use.CONIFEROUS: p.CONIFEROUS,
    Use.MIXED: p.DECIDUOUS,
}
"""Class code of most of a cell's ground."""

CROP_CODES = {"wheat": 32, "barley": 33, "maize": 34, "sunflower": 35, "rapeseed": 36, "lucerne": 37}
"""Class code of a crop; what grows in gardens stays agricultural land."""

SEASONAL = ("wheat", "barley", "maize", "sunflower")
"""Crops that only their season tells: the first two look alike on the day of the flight, and so do the others."""

WOODS = (Use.DECIDUOUS, Use.CONIFEROUS, Use.MIXED)

_CROP_SHARES = {"wheat": 0.22, "barley": 0.22, "maize": 0.2, "sunflower": 0.2, "rapeseed": 0.08, "lucerne": 0.08}
_FIRST: tuple[tuple[Use, str], ...] = (
    (Use.CROP, "wheat"),
    (Use.VINEYARD, "vineyard"),
    (Use.DECIDUOUS, ""),
    (Use.PLOWED, "fallow"),
    (Use.MEADOW, "grass"),
    (Use.CONIFEROUS, ""),
    (Use.BRUSH, ""),
    (Use.CROP, "maize"),
    (Use.BARE, ""),
    (Use.MOWN, "grass"),
    (Use.CROP, "barley"),
    (Use.CROP, "sunflower"),
    (Use.FARM, ""),
    (Use.PLOWED, "fallow"),
    (Use.MIXED, ""),
    (Use.CROP, "rapeseed"),
    (Use.VINEYARD, "vineyard"),
    (Use.BRUSH, ""),
    (Use.CROP, "lucerne"),
)
_THEN: tuple[tuple[Use, str, float], ...] = (
    (Use.MEADOW, "grass", 0.13),
    (Use.MOWN, "grass", 0.06),
    (Use.PLOWED, "fallow", 0.09),
    (Use.VINEYARD, "vineyard", 0.09),
    (Use.BRUSH, "", 0.04),
    (Use.DECIDUOUS, "", 0.07),
    (Use.CONIFEROUS, "", 0.04),
    (Use.MIXED, "", 0.04),
    (Use.BARE, "", 0.02),
    (Use.CROP, "", 0.42),
)


@dataclass(frozen=True, kw_only=True)
class Parcel:
    """One line of the parcel table: ``id`` as in ``Scene.parcel``, class ``code``, and ``crop`` or ''."""

    id: int
    use: Use
    code: int
    crop: str


def assign_uses(land: Land, fabric: Fabric, river: River, rng: np.random.Generator) -> tuple[Parcel, ...]:
    """Return a parcel for every cell of ``land``, in order: parcel ``i + 1`` is cell ``i``."""
    chosen: dict[int, tuple[Use, str]] = {i: (Use.LOT, "") for i, cell in enumerate(land.cells) if cell.lot}
    seen = np.bincount(fabric.cell[::4, ::4].ravel(), minlength=len(land.cells)) * 16
    fields = [i for i in rng.permutation(len(land.cells)).tolist() if i not in chosen]
    small = 0.5 * float(np.median(seen[fields])) if fields else 0.0
    wet = {i for i in fields if _wet(land, river, i)}
    fields.sort(key=lambda i: (seen[i] < small, i in wet))
    gardens = _nearest(land, fields)
    if gardens is not None:
        chosen[gardens] = (Use.GARDENS, "vegetables")
    queue = list(_FIRST)
    for i in (i for i in fields if i not in chosen):
        wanted = queue.pop(0) if queue else _drawn(rng)
        dry_only = wanted[0] in (Use.BARE, Use.FARM, Use.PLOWED)
        chosen[i] = (Use.MEADOW, "grass") if i in wet and dry_only else wanted
    return tuple(_parcel(i, *chosen[i]) for i in sorted(chosen))


def _parcel(index: int, use: Use, crop: str) -> Parcel:
    return Parcel(id=index + 1, use=use, code=CROP_CODES.get(crop, CODES[use]), crop=crop)


def _nearest(land: Land, fields: list[int]) -> int | None:
    """Return the field that begins closest outside the village: the market gardens lie there."""
    room = np.median([land.cells[i].long_axis()[2] for i in fields]) if fields else 0
    large = [i for i in fields if land.cells[i].long_axis()[2] >= room]
    return min(large, key=lambda i: float(np.hypot(*(land.cells[i].centre - land.village_xy))), default=None)


def _wet(land: Land, river: River, index: int) -> bool:
    x, y = land.cells[index].centre
    return float(river.beyond_bank(np.array([x], np.float32), np.array([y], np.float32))[0]) < 45


def _drawn(rng: np.random.Generator) -> tuple[Use, str]:
    use, crop, _ = _THEN[rng.choice(len(_THEN), p=[share for *_, share in _THEN])]
    return (use, str(rng.choice(list(_CROP_SHARES), p=list(_CROP_SHARES.values())))) if use is Use.CROP else (use, crop)
