"""Materials of the ground: colour in four bands, texture, and the land-cover class they count as."""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

Color = tuple[float, float, float, float]
"""Red, green, blue, near infrared in full sun, on the scale of the 8-bit image."""

BUILDING, GREENHOUSE, POOL, IMPERVIOUS, PERVIOUS, BARE, WATER = 0, 1, 2, 3, 4, 5, 6
HERBACEOUS, CROPLAND, PLOWED, VINEYARD, DECIDUOUS, CONIFEROUS, BRUSHWOOD = 8, 9, 10, 11, 12, 13, 14

_DRY: Color = (0.11, 0.06, 0.08, -0.06)
_EVEN: Color = (0.06, 0.06, 0.06, 0.06)


@dataclass(frozen=True, kw_only=True)
class Material:
    """Appearance of one material.

    Attributes
    ----------
    code
        Land-cover class.
    color
        Red, green, blue and near infrared in full sun, on the scale of the 8-bit image.
    grain
        Standard deviation of the noise from pixel to pixel, relative to the colour.
    mottle
        Relative change of each band with noise of some metres.
    texture
        Relative change of each band with the texture of `LandscapeLayers`.
    """

    code: int
    color: Color
    grain: float = 0.05
    mottle: Color = _EVEN
    texture: Color = (1.0, 1.0, 1.0, 1.0)

    def tinted(self, rng: np.random.Generator, amount: float) -> Material:
        """Return the same material a little brighter or darker, redder or bluer: no two fields are alike.

        Parameters
        ----------
        rng
            Random stream.
        amount
            Standard deviation of the brightness, relative.
        """
        gain = 1 + amount * rng.standard_normal() + 0.22 * amount * rng.standard_normal(4)
        red, green, blue, infrared = (float(c * g) for c, g in zip(self.color, gain, strict=True))
        return replace(self, color=(red, green, blue, infrared))


GRASS = Material(code=HERBACEOUS, color=(114, 126, 86, 165), mottle=_DRY)
VERGE = Material(code=HERBACEOUS, color=(126, 130, 92, 150), grain=0.07, mottle=_DRY)
MEADOW = Material(code=HERBACEOUS, color=(120, 130, 90, 162), grain=0.045, mottle=_DRY)
WHEAT = Material(code=CROPLAND, color=(192, 174, 124, 152), grain=0.035, mottle=(0.05, 0.05, 0.06, 0.04))
KHAKI = Material(code=CROPLAND, color=(150, 147, 102, 152), grain=0.05, mottle=(0.08, 0.05, 0.06, 0.02))
GREEN_ROWS = Material(
    code=CROPLAND, color=(118, 128, 86, 158), mottle=(0.1, 0.05, 0.08, -0.06), texture=(1.2, 0.7, 0.9, -0.8)
)
LUCERNE = Material(code=CROPLAND, color=(102, 124, 78, 186), grain=0.04, mottle=(0.06, 0.03, 0.05, -0.03))
FURROWS = Material(code=PLOWED, color=(150, 126, 98, 118), grain=0.07, mottle=(0.08, 0.08, 0.07, 0.08))
VINE_SOIL = Material(code=VINEYARD, color=(178, 158, 128, 146), grain=0.06, mottle=(0.08, 0.07, 0.07, 0.05))
VINE_GRASS = Material(code=VINEYARD, color=(132, 134, 96, 152), grain=0.06, mottle=_DRY)
VINE = Material(code=VINEYARD, color=(78, 100, 60, 172), grain=0.1, mottle=(0.08, 0.05, 0.05, 0.03))
SOIL = Material(code=BARE, color=(190, 168, 136, 162), grain=0.06, mottle=(0.07, 0.07, 0.07, 0.07))
GRAVEL = Material(code=PERVIOUS, color=(176, 168, 152, 150), grain=0.07, mottle=(0.05, 0.05, 0.05, 0.05))
RUT = Material(code=PERVIOUS, color=(184, 170, 144, 152), grain=0.07, mottle=(0.07, 0.07, 0.06, 0.06))
RUT_GRASS = Material(code=PERVIOUS, color=(146, 144, 110, 148), grain=0.08, mottle=_DRY)
ASPHALT = Material(code=IMPERVIOUS, color=(134, 133, 134, 122), grain=0.03, mottle=(0.05, 0.05, 0.05, 0.05))
STREET = Material(code=IMPERVIOUS, color=(152, 149, 146, 134), grain=0.035, mottle=(0.06, 0.06, 0.06, 0.06))
PAVING = Material(code=IMPERVIOUS, color=(186, 178, 166, 158), grain=0.035, mottle=(0.04, 0.04, 0.04, 0.04))
MARKING = Material(code=IMPERVIOUS, color=(206, 206, 204, 186), grain=0.03)
POOL_WATER = Material(code=POOL, color=(92, 182, 204, 34), grain=0.02, mottle=(0.05, 0.03, 0.02, 0.02))
RIVER = Material(code=WATER, color=(62, 76, 68, 26), grain=0.02, mottle=(0.10, 0.08, 0.06, 0.10))
POND = Material(code=WATER, color=(70, 88, 84, 22), grain=0.015, mottle=(0.06, 0.06, 0.06, 0.10))
TUNNEL = Material(code=GREENHOUSE, color=(196, 204, 206, 190), grain=0.02, mottle=(0.02, 0.02, 0.02, 0.04))
BED = Material(code=CROPLAND, color=(112, 124, 84, 162), grain=0.06, mottle=_DRY, texture=(1.2, 0.7, 0.9, -0.8))
SCRUB = Material(code=BRUSHWOOD, color=(84, 94, 62, 134), grain=0.10, mottle=(0.16, 0.11, 0.10, 0.06))
SCRUB_FLOOR = Material(code=BRUSHWOOD, color=(134, 130, 98, 140), grain=0.08, mottle=_DRY)
BRAMBLE = Material(code=BRUSHWOOD, color=(86, 104, 62, 160), grain=0.10, mottle=(0.10, 0.06, 0.06, 0.04))
LEAF_LITTER = Material(code=DECIDUOUS, color=(62, 72, 46, 110), grain=0.08)
NEEDLE_LITTER = Material(code=CONIFEROUS, color=(70, 70, 52, 88), grain=0.08)
LEAVES = Material(code=DECIDUOUS, color=(92, 108, 66, 172), grain=0.11, mottle=(0.10, 0.07, 0.06, 0.04))
NEEDLES = Material(code=CONIFEROUS, color=(70, 88, 64, 116), grain=0.12, mottle=(0.06, 0.06, 0.06, 0.05))
TILES = Material(code=BUILDING, color=(182, 132, 102, 146), grain=0.05, mottle=(0.05, 0.07, 0.08, 0.05))
OLD_TILES = Material(code=BUILDING, color=(172, 146, 120, 146), grain=0.08, mottle=(0.06, 0.08, 0.10, 0.05))
SLATE = Material(code=BUILDING, color=(104, 108, 118, 100), grain=0.035, mottle=(0.03, 0.03, 0.03, 0.03))
SHEET = Material(code=BUILDING, color=(178, 180, 182, 162), grain=0.02, mottle=(0.03, 0.03, 0.03, 0.03))
WALL_CAP = Material(code=BUILDING, color=(190, 182, 170, 160), grain=0.03)
BALE = Material(code=HERBACEOUS, color=(206, 192, 148, 166), grain=0.04)
CAR_COLORS: tuple[Color, ...] = (
    (222, 222, 222, 200),
    (205, 207, 210, 190),
    (120, 122, 126, 100),
    (58, 60, 66, 52),
    (150, 44, 40, 130),
    (52, 72, 120, 92),
)


@dataclass(kw_only=True)
class Palette:
    """The materials in use, in the order in which they are added; a pixel's material is an index into them."""

    materials: list[Material] = field(default_factory=list)

    def add(self, material: Material) -> int:
        """Return the index of a material, which is added when it is new."""
        if material in self.materials:
            return self.materials.index(material)
        self.materials.append(material)
        return len(self.materials) - 1

    def variants(self, material: Material, rng: np.random.Generator, *, count: int, amount: float) -> list[int]:
        """Return the indices of tinted versions of a material.

        Parameters
        ----------
        material
            Of which versions are added.
        rng
            Random stream.
        count
            Number of versions.
        amount
            As in `Material.tinted`.
        """
        return [self.add(material.tinted(rng, amount)) for _ in range(count)]

    def codes(self) -> NDArray[np.uint8]:
        """Return the class code of every material, uint8 (material,)."""
        return np.array([material.code for material in self.materials], np.uint8)

    def table(self) -> NDArray[np.float32]:
        """Return colours (4 columns), grain, mottle (4) and texture (4) of every material, float32 (material, 13)."""
        rows = [(*m.color, m.grain, *m.mottle, *m.texture) for m in self.materials]
        return np.array(rows, np.float32)
