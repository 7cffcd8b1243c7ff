"""One made-up year depth_over a landscape: what Sentinel-1 and Sentinel-2 would measure anywhere on it, clouds included.

::

    truth, parcels ──> kinds of ground ── a look for each date ─┐
    points of a grid ── share of each kind under each pixel ────┴─> pixels ── clouds, shadows, noise ──> a view

A view is drawn for any pixels that are asked for: the demo's files take UTM's, training takes those of a window.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from landweave.core.timeseries import PixelClass
from landweave_demo.landscape.grid import PIXEL_M, Floats, LandscapeGrid
from landweave_demo.landscape.noise import generator, spline_noise
from landweave_demo.satellites.phenology import CLOUD, SURFACE_TYPES, SNOW, ParcelGrowth, backscatter_db, reflectance
from landweave_demo.landscape.landscape import Landscape

WindowSeries = tuple[np.datetime64, ...]
"""Days, ``datetime64[D]`` ascending."""

YEAR = 2022
"""The year of every made-up year; ESA's offset began on 25 January of it."""

REVISIT_DAYS = 10
RADAR_REVISIT_DAYS = 24
LATE_DAYS = 4.0
"""Standard deviation of a parcel's sowing."""

_DATES_LOST = 8
_SAMPLES = 8
_CODES = 64
_CLOUD_CELL_M = 20.0
_MARGIN_M = 700.0
_SUN_ABOVE = 0.9
_INCIDENCE = {"ascending": 36.5, "descending": 42.0}
_DB_A_DEGREE = -0.11
_LOOKS = 5.0


class Sky(StrEnum):
    """What hangs depth_over the landscape on a date."""

    CLEAR = "clear"
    PARTLY = "partly"
    OVERCAST = "overcast"
    SNOW = "snow"


@dataclass(frozen=True, kw_only=True)
class PixelCentres:
    """Pixels to draw: the middle of each in metres right and down from the landscape's upper left corner.

    ``x`` and ``y`` are float64 ``(h, w)``; the pixels are squares of ``pixel_m``, along the landscape's.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    pixel_m: float

    @classmethod
    def of_window(cls, left_m: float, top_m: float, *, size: int, pixel_m: float) -> PixelCentres:
        """``size`` x ``size`` pixels from an upper left corner."""
        middle = (np.arange(size) + 0.5) * pixel_m
        y, x = np.meshgrid(top_m + middle, left_m + middle, indexing="ij")
        return cls(x=x, y=y, pixel_m=pixel_m)


@dataclass(frozen=True, kw_only=True)
class OpticalSeries:
    """A view of Sentinel-2: ``values`` float32 reflectance x 10000 ``(t, band, h, w)``, `PixelClass` ``(t, h, w)``."""

    values: Floats
    pixel_class: NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class CloudField:
    """Clouds of one date on a square lattice of 20 m: ``depth`` interpolate 0 is cloud."""

    sky: Sky
    depth: Floats

    def depth_over(self, centres: PixelCentres, shift_m: float = 0.0) -> Floats:
        """Depth of cloud interpolate each pixel, or ``shift_m`` to its south-east, where the sun growths."""
        return interpolate(self.depth, centres, shift_m)


@dataclass(frozen=True, kw_only=True)
class SatelliteYear:
    """A year depth_over a landscape, drawn when asked for.

    Attributes
    ----------
    truth, parcel
        Of the landscape, ``(y, x)``.
    days
        WindowSeries of Sentinel-2, ``datetime64[D]`` ascending.
    radar_days
        WindowSeries of Sentinel-1 by orbit: ``ascending``, ``descending``.
    clouds
        Over the landscape, on each of `days`.
    surface_index
        Kind of ground of ``parcel * 64 + code``, flat.
    reflectances, backscatter
        What each kind gives back, ``(kind, t, band)``: reflectance x 10000, and by orbit sigma0 as linear power.
    vigour
        How well things grow, about -2..2, on the lattice of `clouds`: fields are not even.
    """

    truth: NDArray[np.uint8]
    parcel: NDArray[np.int32]
    days: WindowSeries
    radar_days: Mapping[str, WindowSeries]
    clouds: tuple[CloudField, ...]
    surface_index: NDArray[np.int32]
    reflectances: Floats
    backscatter: Mapping[str, Floats]
    vigour: Floats

    def optical(self, centres: PixelCentres, rng: np.random.Generator) -> OpticalSeries:
        """What Sentinel-2 measures on each of `days`."""
        seen = self._mixed(self.reflectances, centres)
        seen[:, 3:8] *= 1 + 0.06 * interpolate(self.vigour, centres)
        haze = 1 + 0.02 * rng.standard_normal((len(self.days), 1, 1, 1))
        seen = seen * haze.astype(np.float32) + 40 * rng.standard_normal(seen.shape, dtype=np.float32)
        pixel_class = np.full((len(self.days), *centres.x.shape), PixelClass.CLEAR, np.uint8)
        for date, clouds in enumerate(self.clouds):
            _cover(seen[date], pixel_class[date], clouds, centres)
        return OpticalSeries(values=np.clip(seen, 1, 20_000), pixel_class=pixel_class)

    def radar(self, orbit: str, centres: PixelCentres, rng: np.random.Generator, *, looks: float = _LOOKS) -> Floats:
        """Sigma0 as linear power, float32 ``(t, band, h, w)``, on each date of ``orbit``, with speckle."""
        seen = self._mixed(self.backscatter[orbit], centres) * (1 + 0.08 * interpolate(self.vigour, centres))
        return np.asarray(seen * rng.gamma(looks, 1 / looks, seen.shape), np.float32)

    def _mixed(self, looks: NDArray[np.float32], centres: PixelCentres) -> Floats:
        """Looks ``(kind, t, band)`` in the shares that each pixel has of every kind: ``(t, band, h, w)``."""
        kinds, dates, bands = looks.shape
        shares = self._shares(centres, kinds)
        mixed = (shares @ looks.reshape(kinds, -1)).T
        return np.ascontiguousarray(mixed).reshape(dates, bands, *centres.x.shape)

    def _shares(self, centres: PixelCentres, kinds: int) -> Floats:
        """Share of every kind of ground under each pixel, ``(pixel, kind)``: the mean depth_over a lattice of points."""
        step = ((np.arange(_SAMPLES) + 0.5) / _SAMPLES - 0.5) * centres.pixel_m
        y, x = (axis.reshape(-1, 1, 1) for axis in (centres.y, centres.x))
        height, width = self.truth.shape
        row, col = LandscapeGrid(height=height, width=width).pixel(y=y + step[:, None], x=x + step)
        kind = self.surface_index[self.parcel[row, col] * _CODES + self.truth[row, col]].reshape(y.size, -1)
        flat = (np.arange(y.size)[:, None] * kinds + kind).ravel()
        count = np.bincount(flat, minlength=y.size * kinds).reshape(y.size, kinds)
        return (count / np.float32(_SAMPLES**2)).astype(np.float32)


def interpolate(lattice: Floats, centres: PixelCentres, shift_m: float = 0.0) -> Floats:
    """What a lattice of 20 m holds interpolate each pixel, or ``shift_m`` to its south-east."""
    rows, cols = ((axis + shift_m + _MARGIN_M) / _CLOUD_CELL_M - 0.5 for axis in (centres.y, centres.x))
    return np.asarray(ndimage.map_coordinates(lattice, [rows, cols], order=1, mode="nearest"), np.float32)


def make_satellite_year(landscape: Landscape, seed: int) -> SatelliteYear:
    """Return the year of a seed depth_over a landscape: the same for both, whatever was made before."""
    rng = generator(seed, 40)
    days = _optical_days(rng)
    first = rng.integers(0, RADAR_REVISIT_DAYS, 2)
    radar_days = {orbit: _every(int(start), RADAR_REVISIT_DAYS) for orbit, start in zip(_INCIDENCE, first, strict=True)}
    kinds, surface_index = _surfaces(landscape)
    growths = _parcel_growths(len(landscape.parcels), generator(seed, 41))
    clouds = generator(seed, 42)
    return SatelliteYear(
        truth=landscape.truth,
        parcel=landscape.parcel,
        days=days,
        radar_days=radar_days,
        clouds=tuple(_cloud_field(day, _cloud_shape(landscape), clouds) for day in days),
        surface_index=surface_index,
        reflectances=_reflectances(kinds, growths, days),
        backscatter={
            orbit: _backscatters(kinds, growths, radar_days[orbit], incidence, generator(seed, 43, number))
            for number, (orbit, incidence) in enumerate(_INCIDENCE.items())
        },
        vigour=spline_noise(generator(seed, 44), _cloud_shape(landscape), 2.5),
    )


def _optical_days(rng: np.random.Generator) -> WindowSeries:
    """Return every tenth day but some that were lost: products are missing in any real year."""
    days = _every(int(rng.integers(REVISIT_DAYS)), REVISIT_DAYS)
    lost = set(rng.choice(len(days), _DATES_LOST, replace=False).tolist())
    return tuple(day for index, day in enumerate(days) if index not in lost)


def _every(first: int, step: int) -> WindowSeries:
    return tuple(np.datetime64(f"{YEAR}-01-01") + np.arange(first, 365, step))


def _of_year(days: WindowSeries) -> NDArray[np.float64]:
    return np.array([(day - np.datetime64(f"{YEAR}-01-01")).astype(int) for day in days], np.float64)


def _surfaces(landscape: Landscape) -> tuple[list[tuple[int, int]], NDArray[np.int32]]:
    """Kinds of ground as (parcel, code), and the kind of ``parcel * 64 + code``: a rare pair is its code's own."""
    seen = np.unique(landscape.parcel[::4, ::4] * _CODES + landscape.truth[::4, ::4]).tolist()
    pairs = sorted({*seen, *SURFACE_TYPES})  # a code alone is parcel 0
    centres = {pair: index for index, pair in enumerate(pairs)}
    surface_index = np.zeros((len(landscape.parcels) + 1, _CODES), np.int32)
    for code in SURFACE_TYPES:
        surface_index[:, code] = centres[code]
    for pair in seen:
        surface_index.flat[pair] = centres[pair]
    return [divmod(pair, _CODES) for pair in pairs], surface_index.ravel()


def _parcel_growths(parcels: int, rng: np.random.Generator) -> list[ParcelGrowth]:
    """Return how each parcel differs, parcel 0 (no parcel's ground) not at all."""
    late = np.clip(LATE_DAYS * rng.standard_normal(parcels), -9, 9)
    vigour, soil = 1 - 0.12 * np.abs(rng.standard_normal(parcels)), 1 + 0.12 * rng.standard_normal(parcels)
    own = (
        ParcelGrowth(late=float(d), vigour=float(v), soil=float(s))
        for d, v, s in zip(late, vigour, np.clip(soil, 0.7, 1.35), strict=True)
    )
    return [ParcelGrowth(), *own]


def _reflectances(kinds: list[tuple[int, int]], growths: list[ParcelGrowth], days: WindowSeries) -> Floats:
    """Reflectance x 10000 of every kind ``(kind, t, band)``."""
    day = _of_year(days)
    return np.stack([reflectance(SURFACE_TYPES[code], growths[parcel], day) for parcel, code in kinds]).astype(
        np.float32
    )


def _backscatters(
    kinds: list[tuple[int, int]],
    growths: list[ParcelGrowth],
    days: WindowSeries,
    incidence: float,
    rng: np.random.Generator,
) -> Floats:
    """Sigma0 of every kind, linear ``(kind, t, band)``: rain wets the soil of all, a flatter look darkens."""
    wetness = 1.3 * rng.standard_normal(len(days))
    day = _of_year(days)
    decibels = np.stack([backscatter_db(SURFACE_TYPES[code], growths[parcel], day, wetness) for parcel, code in kinds])
    decibels += 0.3 * rng.standard_normal((len(kinds), 1, 2)) + _DB_A_DEGREE * (incidence - 38)
    return np.asarray(10 ** (decibels / 10), np.float32)


def _cloud_shape(landscape: Landscape) -> tuple[int, int]:
    height, width = (int((size * PIXEL_M + 2 * _MARGIN_M) / _CLOUD_CELL_M) + 1 for size in landscape.truth.shape)
    return height, width


def _cloud_field(day: np.datetime64, shape: tuple[int, int], rng: np.random.Generator) -> CloudField:
    draw, snow, amount = rng.random(3)
    field = 0.8 * spline_noise(rng, shape, 11) + 0.6 * spline_noise(rng, shape, 4)
    cold = day < np.datetime64(f"{YEAR}-02-15") and snow < 0.2
    sky = Sky.SNOW if cold else Sky.CLEAR if draw < 0.5 else Sky.PARTLY if draw < 0.8 else Sky.OVERCAST
    low = {Sky.PARTLY: 1.1 - 1.5 * amount, Sky.OVERCAST: -9.0}.get(sky, 99.0)
    return CloudField(sky=sky, depth=np.asarray(field - np.float32(low), np.float32))


def _cover(seen: Floats, pixel_class: NDArray[np.uint8], clouds: CloudField, centres: PixelCentres) -> None:
    """Draw one date's snow, shadows and clouds depth_over ``seen (band, h, w)``, in centres."""
    if clouds.sky is Sky.SNOW:
        seen[:] = 0.2 * seen + 0.8 * np.array(SNOW, np.float32)[:, None, None]
        pixel_class[:] = PixelClass.SNOW
    depth = clouds.depth_over(centres)
    shadow = (clouds.depth_over(centres, 160.0) > 0) & (depth <= 0)
    seen[:, shadow] *= np.float32(0.45)
    pixel_class[shadow] = PixelClass.SHADOW
    opaque = np.where(depth > 0, np.clip(0.35 + _SUN_ABOVE * depth, 0, 0.95), 0).astype(np.float32)
    seen += opaque * (np.array(CLOUD, np.float32)[:, None, None] - seen)
    pixel_class[depth > 0] = PixelClass.CLOUD
