"""One synthetic year of Sentinel-1 and Sentinel-2 over a landscape, clouds included.

::

    truth, parcels ──> surfaces ── reflectance and backscatter by date ─┐
    pixels of any grid ── share of each surface under each pixel ───────┴─> series ── clouds, shadows, noise

The series are computed for any pixels: the demo's files take pixels of UTM, training takes those of a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

import landweave as lw
from landweave_demo.landscape.arithmetic import exponential
from landweave_demo.landscape.grid import Floats, LandscapeGrid
from landweave_demo.landscape.landscape import Landscape
from landweave_demo.landscape.noise import generator, spline_noise
from landweave_demo.satellites.clouds import CloudField, interpolate, lattice_shape, make_cloud_field
from landweave_demo.satellites.phenology import SURFACE_TYPES, ParcelGrowth, backscatter_db, reflectance
from landweave_demo.satellites.pixel_centres import PixelCentres

Days = tuple[np.datetime64, ...]
"""Days, ``datetime64[D]``, ascending."""

YEAR = 2022
"""Civil year of every synthetic year; ESA's reflectance offset began on 25 January of it."""

REVISIT_DAYS = 10
RADAR_REVISIT_DAYS = 24
LATE_DAYS = 4.0
"""Standard deviation of the growing season's shift from parcel to parcel, in days."""

_DATES_LOST = 8
_SAMPLES = 8
_CODES = 64
_INCIDENCE_DEG = {"ascending": 36.5, "descending": 42.0}
_DB_PER_DEGREE = -0.11
_LOOKS = 5.0
_NEPERS_PER_DB = 0.2302585092994046


@dataclass(frozen=True, kw_only=True)
class OpticalSeries:
    """A series of Sentinel-2.

    Attributes
    ----------
    values
        Reflectance x 10000, float32 (time, band, h, w), bands `phenology.OPTICAL_BANDS`.
    pixel_class
        uint8 `landweave.PixelClass` (time, h, w).
    """

    values: Floats
    pixel_class: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class SatelliteYear:
    """A year over a landscape; a surface is what grows or stands on the pixels of one parcel and class.

    Attributes
    ----------
    truth, parcel
        Of the landscape, (y, x).
    optical_days
        Dates of Sentinel-2.
    radar_days
        Dates of Sentinel-1, by orbit: ``ascending``, ``descending``.
    clouds
        On each of ``optical_days``.
    surface_index
        int32 index of the surface of ``parcel * 64 + code``, flat.
    reflectances
        Reflectance x 10000 of each surface, float32 (surface, time, band).
    backscatter
        Sigma0 of each surface as linear power, float32 (surface, time, band), by orbit.
    vigour
        Variation of growth within fields, about -2..2, on the lattice of the clouds.
    """

    truth: NDArray[np.uint8]
    parcel: NDArray[np.int32]
    optical_days: Days
    radar_days: Mapping[str, Days]
    clouds: tuple[CloudField, ...]
    surface_index: NDArray[np.int32]
    reflectances: Floats
    backscatter: Mapping[str, Floats]
    vigour: Floats

    def optical(self, centres: PixelCentres, rng: np.random.Generator) -> OpticalSeries:
        """Return what Sentinel-2 measures on each of ``optical_days``.

        Parameters
        ----------
        centres
            Of the pixels.
        rng
            Random stream of haze and noise.
        """
        values = self._mixed(self.reflectances, centres)
        values[:, 3:8] *= 1 + 0.06 * interpolate(self.vigour, centres)
        haze = 1 + 0.02 * rng.standard_normal((len(self.optical_days), 1, 1, 1))
        values = values * haze.astype(np.float32) + 40 * rng.standard_normal(values.shape, dtype=np.float32)
        pixel_class = np.full((len(self.optical_days), *centres.x.shape), lw.PixelClass.CLEAR, np.uint8)
        for date, clouds in enumerate(self.clouds):
            clouds.cover(values[date], pixel_class[date], centres)
        return OpticalSeries(values=np.clip(values, 1, 20_000), pixel_class=pixel_class)

    def radar(self, orbit: str, centres: PixelCentres, rng: np.random.Generator, *, looks: float = _LOOKS) -> Floats:
        """Return sigma0 as linear power, float32 (time, band, h, w), on each date of an orbit, with speckle.

        Parameters
        ----------
        orbit
            ``ascending`` or ``descending``.
        centres
            Of the pixels.
        rng
            Random stream of the speckle.
        looks
            Equivalent number of looks: speckle is gamma distributed with this shape and mean 1.
        """
        values = self._mixed(self.backscatter[orbit], centres) * (1 + 0.08 * interpolate(self.vigour, centres))
        return np.asarray(values * rng.gamma(looks, 1 / looks, values.shape), np.float32)

    def _mixed(self, of_surfaces: Floats, centres: PixelCentres) -> Floats:
        """Return the mean of what a pixel's surfaces give (surface, time, band), by area: (time, band, h, w).

        64ths of float32 values less than 2^23 apart add up in float64 without any rounding, in whatever order BLAS
        adds them.
        """
        surfaces, dates, bands = of_surfaces.shape
        mixed = (self._shares(centres, surfaces) @ of_surfaces.reshape(surfaces, -1).astype(np.float64)).T
        return np.ascontiguousarray(mixed, np.float32).reshape(dates, bands, *centres.x.shape)

    def _shares(self, centres: PixelCentres, surfaces: int) -> NDArray[np.float64]:
        """Return the share of every surface in each pixel, (pixel, surface), counted on 8 x 8 points."""
        offsets = ((np.arange(_SAMPLES) + 0.5) / _SAMPLES - 0.5) * centres.pixel_m
        y, x = (axis.reshape(-1, 1, 1) for axis in (centres.y, centres.x))
        height, width = self.truth.shape
        row, col = LandscapeGrid(height=height, width=width).pixel(y=y + offsets[:, None], x=x + offsets)
        surface = self.surface_index[self.parcel[row, col] * _CODES + self.truth[row, col]].reshape(y.size, -1)
        flat = (np.arange(y.size)[:, None] * surfaces + surface).ravel()
        count = np.bincount(flat, minlength=y.size * surfaces).reshape(y.size, surfaces)
        return np.asarray(count / _SAMPLES**2)


def make_satellite_year(landscape: Landscape, seed: int) -> SatelliteYear:
    """Return the year of a seed over a landscape; the same landscape and seed give the same bits, on any x86-64 CPU.

    Parameters
    ----------
    landscape
        From `make_landscape`.
    seed
        Any whole number.
    """
    rng = generator(seed, 40)
    optical_days = _optical_days(rng)
    first = rng.integers(0, RADAR_REVISIT_DAYS, 2)
    radar_days = {
        orbit: _every(int(start), RADAR_REVISIT_DAYS) for orbit, start in zip(_INCIDENCE_DEG, first, strict=True)
    }
    surfaces, surface_index = _surfaces(landscape)
    growths = _parcel_growths(len(landscape.parcels), generator(seed, 41))
    cloud_rng, lattice = generator(seed, 42), lattice_shape(landscape.truth.shape)
    return SatelliteYear(
        truth=landscape.truth,
        parcel=landscape.parcel,
        optical_days=optical_days,
        radar_days=radar_days,
        clouds=tuple(make_cloud_field(day, lattice, cloud_rng) for day in optical_days),
        surface_index=surface_index,
        reflectances=_reflectances(surfaces, growths, optical_days),
        backscatter={
            orbit: _backscatter(surfaces, growths, radar_days[orbit], incidence, generator(seed, 43, number))
            for number, (orbit, incidence) in enumerate(_INCIDENCE_DEG.items())
        },
        vigour=spline_noise(generator(seed, 44), lattice, 2.5),
    )


def _optical_days(rng: np.random.Generator) -> Days:
    """Return every tenth day but some: products are missing in any real year."""
    days = _every(int(rng.integers(REVISIT_DAYS)), REVISIT_DAYS)
    lost = set(rng.choice(len(days), _DATES_LOST, replace=False).tolist())
    return tuple(day for index, day in enumerate(days) if index not in lost)


def _every(first: int, interval: int) -> Days:
    return tuple(np.datetime64(f"{YEAR}-01-01") + np.arange(first, 365, interval))


def _days_of_year(days: Days) -> NDArray[np.float64]:
    return np.array([(day - np.datetime64(f"{YEAR}-01-01")).astype(int) for day in days], np.float64)


def _surfaces(landscape: Landscape) -> tuple[list[tuple[int, int]], NDArray[np.int32]]:
    """Return surfaces as (parcel, code), and the index of the surface of ``parcel * 64 + code``.

    A pair that covers next to nothing has the surface of its code alone, which is parcel 0.
    """
    seen = np.unique(landscape.parcel[::4, ::4] * _CODES + landscape.truth[::4, ::4]).tolist()
    pairs = sorted({*seen, *SURFACE_TYPES})
    index_of = {pair: index for index, pair in enumerate(pairs)}
    surface_index = np.zeros((len(landscape.parcels) + 1, _CODES), np.int32)
    for code in SURFACE_TYPES:
        surface_index[:, code] = index_of[code]
    for pair in seen:
        surface_index.flat[pair] = index_of[pair]
    return [divmod(pair, _CODES) for pair in pairs], surface_index.ravel()


def _parcel_growths(parcels: int, rng: np.random.Generator) -> list[ParcelGrowth]:
    """Return the growth of each parcel by id; that of id 0, which is no parcel, is the usual one."""
    late_days = np.clip(LATE_DAYS * rng.standard_normal(parcels), -9, 9)
    vigour, soil = 1 - 0.12 * np.abs(rng.standard_normal(parcels)), 1 + 0.12 * rng.standard_normal(parcels)
    own = (
        ParcelGrowth(late_days=float(late), vigour=float(strong), soil=float(bright))
        for late, strong, bright in zip(late_days, vigour, np.clip(soil, 0.7, 1.35), strict=True)
    )
    return [ParcelGrowth(), *own]


def _reflectances(surfaces: list[tuple[int, int]], growths: list[ParcelGrowth], days: Days) -> Floats:
    day = _days_of_year(days)
    series = [reflectance(SURFACE_TYPES[code], growths[parcel], day) for parcel, code in surfaces]
    return np.stack(series).astype(np.float32)


def _backscatter(
    surfaces: list[tuple[int, int]],
    growths: list[ParcelGrowth],
    days: Days,
    incidence_deg: float,
    rng: np.random.Generator,
) -> Floats:
    """Return sigma0 of every surface as linear power (surface, time, band).

    Rain wets the soil of all surfaces on some dates; a larger incidence angle darkens.
    """
    wetness_db = 1.3 * rng.standard_normal(len(days))
    day = _days_of_year(days)
    series = [backscatter_db(SURFACE_TYPES[code], growths[parcel], day, wetness_db) for parcel, code in surfaces]
    decibels = np.stack(series)
    decibels += 0.3 * rng.standard_normal((len(surfaces), 1, 2)) + _DB_PER_DEGREE * (incidence_deg - 38)
    return np.asarray(exponential(decibels * _NEPERS_PER_DB), np.float32)
