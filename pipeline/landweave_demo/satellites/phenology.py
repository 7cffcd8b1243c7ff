"""Surfaces through the year: green leaves, straw and soil, and what Sentinel-1 and Sentinel-2 measure of them.

A surface is leaves, straw and soil in shares that change with the day; reflectance mixes their spectra, backscatter
follows the leaves. The figures are plausible, not measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from landweave_demo.landscape import materials as m
from landweave_demo.landscape.arithmetic import exponential
from landweave_demo.landscape.land_use import CROP_CODES

FloatArray = NDArray[np.float64]

OPTICAL_BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
FINE_BANDS = ("B2", "B3", "B4", "B8")
"""Bands with pixels of 10 m; the others have 20 m."""

RADAR_BANDS = ("VV", "VH")
Spectrum = tuple[float, float, float, float, float, float, float, float, float, float]
"""Reflectance x 10000 in `OPTICAL_BANDS`."""

SOIL: Spectrum = (750, 980, 1280, 1480, 1640, 1780, 1920, 2060, 2700, 2250)
LEAVES: Spectrum = (280, 560, 330, 920, 2650, 3350, 3550, 3750, 1700, 780)
NEEDLES: Spectrum = (190, 320, 230, 520, 1350, 1650, 1750, 1850, 850, 380)
STRAW: Spectrum = (720, 1050, 1380, 1750, 2150, 2400, 2600, 2800, 3000, 1950)
WATER: Spectrum = (320, 340, 230, 180, 130, 120, 100, 90, 50, 40)
STONE: Spectrum = (1150, 1250, 1330, 1420, 1500, 1560, 1620, 1680, 1800, 1650)
ROOF: Spectrum = (950, 1150, 1500, 1700, 1820, 1900, 1980, 2050, 2300, 2100)
FILM: Spectrum = (2300, 2400, 2450, 2500, 2600, 2700, 2750, 2800, 2300, 1900)
POOL: Spectrum = (1500, 1500, 700, 420, 300, 250, 200, 180, 90, 60)
FLOWERS: Spectrum = (100, 650, 700, 500, 100, 50, 50, 50, 0, 0)
"""What rapeseed in flower adds."""

SNOW: Spectrum = (8900, 8800, 8700, 8400, 8000, 7800, 7500, 7000, 1100, 900)
CLOUD: Spectrum = (5600, 5600, 5700, 5800, 6000, 6100, 6200, 6300, 4600, 3600)

_YEAR = 365.0


@dataclass(frozen=True, kw_only=True)
class Growth:
    """A year of leaves, in days of the year.

    Attributes
    ----------
    rise
        Half of the leaves are there.
    fall
        Half of them are straw.
    harvest
        The straw is cut.
    pace
        Days that leaves take to come.
    winter
        Green cover in January, 0..1; a winter crop, sown in autumn, has it again from November on.
    flower
        First and last day of flowers.
    cuts
        Days on which leaves are mown.
    """

    rise: float
    fall: float
    harvest: float
    pace: float = 10.0
    winter: float = 0.0
    flower: tuple[float, float] | None = None
    cuts: tuple[float, ...] = ()

    def green(self, day: FloatArray) -> FloatArray:
        """Return the share of green leaves on days of the year, 0..1, float64 of the shape of ``day``."""
        height = self.winter + (0.95 - self.winter) * _logistic(day, self.rise, self.pace)
        leaves = height * _logistic(day, self.fall, -0.7 * self.pace)
        sown = self.winter * _logistic(day, 320, 14)
        cut = np.prod(
            [1 - 0.65 * exponential(-np.clip(day - at, 0, None) / 14) * (day >= at) for at in self.cuts], axis=0
        )
        return np.asarray(np.maximum(leaves * cut, sown))

    def straw(self, day: FloatArray) -> FloatArray:
        """Return the share of standing straw, after the harvest of stubble, 0..1."""
        ripe = _logistic(day, self.fall, 0.7 * self.pace)
        stubble = 0.35 * exponential(-np.clip(day - self.harvest, 0, None) / 60)
        return np.asarray(ripe * np.where(day < self.harvest, 0.9, stubble))

    def bloom(self, day: FloatArray) -> FloatArray:
        """Return the share of flowers, 0..1."""
        if self.flower is None:
            return np.zeros_like(day)
        first, last = self.flower
        return _logistic(day, first, 3) * _logistic(day, last, -3)


@dataclass(frozen=True, kw_only=True)
class SurfaceType:
    """One kind of surface.

    Attributes
    ----------
    growth
        Of its plants; None where nothing grows.
    background
        Spectrum of what lies below the plants.
    leaves
        Spectrum of its leaves.
    cover
        Largest share of plants, 0..1.
    bare_db, leafy_db
        Sigma0 (VV, VH) in dB, bare and in full leaf.
    ripe_db
        What straw adds to VH, in dB.
    wetting
        How much wet soil brightens it: 1 for bare soil.
    """

    growth: Growth | None = None
    background: Spectrum = SOIL
    leaves: Spectrum = LEAVES
    cover: float = 1.0
    bare_db: tuple[float, float] = (-11.5, -19.5)
    leafy_db: tuple[float, float] = (-12.0, -18.0)
    ripe_db: float = 0.0
    wetting: float = 1.0


_ALWAYS = Growth(rise=80, fall=400, harvest=420, pace=20, winter=0.6)
_BUDS = Growth(rise=106, fall=303, harvest=310, pace=8, winter=0.1)

SURFACE_TYPES: Mapping[int, SurfaceType] = MappingProxyType(
    {
        m.BUILDING: SurfaceType(background=ROOF, bare_db=(-2.5, -10.5), wetting=0.0),
        m.GREENHOUSE: SurfaceType(background=FILM, bare_db=(-5, -15), wetting=0.0),
        m.POOL: SurfaceType(background=POOL, bare_db=(-9, -17), wetting=0.0),
        m.IMPERVIOUS: SurfaceType(background=STONE, bare_db=(-8, -17.5), wetting=0.2),
        m.PERVIOUS: SurfaceType(background=STONE, growth=_ALWAYS, cover=0.12, bare_db=(-11, -20)),
        m.BARE: SurfaceType(bare_db=(-10.5, -19)),
        m.WATER: SurfaceType(background=WATER, bare_db=(-19, -26), wetting=0.0),
        m.HERBACEOUS: SurfaceType(
            growth=Growth(rise=75, fall=400, harvest=420, pace=18, winter=0.5, cuts=(165,)), leafy_db=(-12.5, -19)
        ),
        m.CROPLAND: SurfaceType(growth=Growth(rise=105, fall=285, harvest=300, pace=16, winter=0.2), cover=0.6),
        m.PLOWED: SurfaceType(
            growth=Growth(rise=-60, fall=75, harvest=80, winter=0.3), cover=0.5, bare_db=(-10, -18.5)
        ),
        m.VINEYARD: SurfaceType(
            growth=Growth(rise=125, fall=290, harvest=300, pace=11),
            cover=0.45,
            bare_db=(-9, -17),
            leafy_db=(-8.5, -15.5),
        ),
        m.DECIDUOUS: SurfaceType(
            growth=_BUDS, bare_db=(-8.7, -14.2), leafy_db=(-9.2, -15), background=STRAW, wetting=0.1
        ),
        m.CONIFEROUS: SurfaceType(
            growth=_ALWAYS,
            background=STRAW,
            leaves=NEEDLES,
            cover=0.98,
            bare_db=(-9.8, -15.8),
            leafy_db=(-9.8, -15.8),
            wetting=0.1,
        ),
        m.BRUSHWOOD: SurfaceType(
            growth=Growth(rise=98, fall=310, harvest=320, pace=13, winter=0.45),
            cover=0.8,
            bare_db=(-10.5, -17),
            leafy_db=(-10, -15.8),
        ),
        CROP_CODES["wheat"]: SurfaceType(
            growth=Growth(rise=78, fall=174, harvest=196, winter=0.25), leafy_db=(-16, -21), ripe_db=1.0
        ),
        CROP_CODES["barley"]: SurfaceType(
            growth=Growth(rise=64, fall=147, harvest=170, winter=0.3), leafy_db=(-15.5, -20), ripe_db=3.0
        ),
        CROP_CODES["maize"]: SurfaceType(
            growth=Growth(rise=160, fall=256, harvest=276, pace=8), leafy_db=(-9.5, -14.5), ripe_db=-0.5
        ),
        CROP_CODES["sunflower"]: SurfaceType(
            growth=Growth(rise=143, fall=214, harvest=246, pace=7), leafy_db=(-8.2, -13.5), ripe_db=1.0
        ),
        CROP_CODES["rapeseed"]: SurfaceType(
            growth=Growth(rise=60, fall=154, harvest=184, winter=0.5, flower=(96, 119)), leafy_db=(-10.5, -13.8)
        ),
        CROP_CODES["lucerne"]: SurfaceType(
            growth=Growth(rise=70, fall=420, harvest=430, winter=0.6, cuts=(131, 173, 214, 262)), leafy_db=(-11, -17)
        ),
    }
)
"""Kind of surface of each class code."""


@dataclass(frozen=True, kw_only=True)
class ParcelGrowth:
    """How one parcel differs from its kind of surface.

    Attributes
    ----------
    late_days
        Days that it is late.
    vigour
        Factor of the leaves.
    soil
        Factor of the brightness of the soil.
    """

    late_days: float = 0.0
    vigour: float = 1.0
    soil: float = 1.0


def reflectance(surface: SurfaceType, growth: ParcelGrowth, day: FloatArray) -> FloatArray:
    """Return reflectance x 10000, float64 (time, band), bands `OPTICAL_BANDS`.

    Parameters
    ----------
    surface
        Kind of surface.
    growth
        Of its parcel.
    day
        Days of the year, (time,).
    """
    green, straw, bloom = _shares(surface, growth, day)
    background = growth.soil * np.array(surface.background) * (1 - green - straw)[:, None]
    plants = np.array(surface.leaves) * green[:, None] + np.array(STRAW) * straw[:, None]
    return np.asarray(background + plants + np.array(FLOWERS) * bloom[:, None])


def backscatter_db(surface: SurfaceType, growth: ParcelGrowth, day: FloatArray, wetness_db: FloatArray) -> FloatArray:
    """Return sigma0 in dB, float64 (time, band), bands `RADAR_BANDS`.

    Parameters
    ----------
    surface
        Kind of surface.
    growth
        Of its parcel.
    day
        Days of the year, (time,).
    wetness_db
        What wet bare soil adds on each day, in dB, (time,).
    """
    green, straw, _ = _shares(surface, growth, day)
    bare, full = np.array(surface.bare_db), np.array(surface.leafy_db)
    backscatter = bare + (full - bare) * green[:, None]
    backscatter[:, 1] += surface.ripe_db * straw
    return np.asarray(backscatter + (surface.wetting * (1 - green) * wetness_db)[:, None])


def _shares(surface: SurfaceType, growth: ParcelGrowth, day: FloatArray) -> tuple[FloatArray, FloatArray, FloatArray]:
    """Return the shares of leaves, straw and flowers, (time,) each."""
    if surface.growth is None:
        return np.zeros_like(day), np.zeros_like(day), np.zeros_like(day)
    own = np.asarray(day - growth.late_days, np.float64)
    green = np.clip(surface.cover * growth.vigour * surface.growth.green(own), 0, 1)
    straw = np.minimum(surface.cover * surface.growth.straw(own), 1 - green)
    return green, straw, surface.growth.bloom(own)


def _logistic(day: FloatArray, at: float, pace: float) -> FloatArray:
    """Return a logistic rise from 0 to 1 about day ``at``; a fall for a negative ``pace``."""
    return np.asarray(1 / (1 + exponential(-np.clip((day - at) / (abs(pace) / 2), -40, 40) * np.sign(pace))))
