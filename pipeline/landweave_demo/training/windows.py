"""Training windows: cut from synthetic landscapes, with the dates that a map would select, and augmented."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave_demo.landscape.grid import PIXEL_M, Floats
from landweave_demo.landscape.land_cover import CLASS_CODES, UNKNOWN
from landweave_demo.landscape.landscape import Landscape
from landweave_demo.satellites.phenology import FINE_BANDS, OPTICAL_BANDS
from landweave_demo.satellites.pixel_centres import PixelCentres
from landweave_demo.satellites.satellite_year import SatelliteYear, make_satellite_year

ModelCard = Any
"""A model card, as `landweave.list_models` gives it."""

InputSpec = Any
"""What a model needs of one input, as `ModelCard.inputs` gives it."""

WINDOW = 512
"""Side of a training window in pixels of 0.2 m."""

_OPTICAL = "SENTINEL2_TS"
_ORBITS = {"SENTINEL1-ASC_TS": "ascending", "SENTINEL1-DESC_TS": "descending"}
_DATES_SHARE = 0.8
_BALANCED_SHARE = 0.6
_PIXELS_LOOKS = 15.0
"""Equivalent number of looks of radar pixels of 10.24 m: resampling evens speckle out."""


@dataclass(frozen=True, kw_only=True)
class TrainingLandscape:
    """A landscape as the models see it, not normalised.

    Attributes
    ----------
    images
        float16 (band, y, x): NIR, R, G, B, and height above ground in metres.
    target
        uint8 index into `CLASS_CODES` (y, x), 255 = unknown.
    years
        Its satellite years.
    """

    images: NDArray[np.float16]
    target: NDArray[np.uint8]
    years: tuple[SatelliteYear, ...]


@dataclass(frozen=True, kw_only=True)
class WindowSeries:
    """One series of a window, not normalised.

    Attributes
    ----------
    values
        float32 (time, band, y, x).
    days
        Day offset of each date, float32 (time,).
    """

    values: Floats
    days: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class TrainingWindow:
    """One window of a landscape, not normalised.

    Attributes
    ----------
    images
        float32 (band, y, x), bands as in `TrainingLandscape`.
    target
        uint8 (y, x), 255 = unknown.
    series
        By name of the model's input.
    """

    images: Floats
    target: NDArray[np.uint8]
    series: Mapping[str, WindowSeries]


def prepare_landscape(landscape: Landscape, *, years: int) -> TrainingLandscape:
    """Return a landscape with several satellite years.

    Parameters
    ----------
    landscape
        From `make_landscape`.
    years
        How many.
    """
    height = (landscape.dsm - landscape.dtm)[None]
    channel = np.full(256, UNKNOWN, np.uint8)
    channel[list(CLASS_CODES)] = np.arange(len(CLASS_CODES))
    return TrainingLandscape(
        images=np.concatenate([landscape.rgbi[[3, 0, 1, 2]], height]).astype(np.float16),
        target=channel[landscape.truth],
        years=tuple(make_satellite_year(landscape, landscape.seed + 1000 * year) for year in range(years)),
    )


def class_pixels(landscape: TrainingLandscape) -> list[NDArray[np.intp]]:
    """Return flat indices of some pixels of each class that is present, to sample rare classes by."""
    flat = landscape.target.ravel()[::7]
    pixels = [np.flatnonzero(flat == channel) * 7 for channel in range(len(CLASS_CODES))]
    return [each for each in pixels if each.size]


def pick_corner(
    landscape: TrainingLandscape, pixels: list[NDArray[np.intp]], rng: np.random.Generator
) -> tuple[int, int]:
    """Return the upper left pixel (row, column) of a random window: anywhere, or around a pixel of a random class.

    Parameters
    ----------
    landscape
        That the window lies in.
    pixels
        Of `class_pixels`.
    rng
        Random stream.
    """
    height, width = landscape.target.shape
    row, col = int(rng.integers(height)), int(rng.integers(width))
    if rng.random() < _BALANCED_SHARE:
        of_class = pixels[int(rng.integers(len(pixels)))]
        row, col = divmod(int(of_class[rng.integers(of_class.size)]), width)
        row, col = (at + int(rng.integers(-WINDOW // 3, WINDOW // 3)) for at in (row, col))
    top, left = (min(max(at - WINDOW // 2, 0), size - WINDOW) for at, size in ((row, height), (col, width)))
    return top, left


def cut_window(
    landscape: TrainingLandscape,
    card: ModelCard,
    year: SatelliteYear,
    corner: tuple[int, int],
    rng: np.random.Generator,
) -> TrainingWindow:
    """Return one window of `WINDOW` pixels a side, with the series that a card needs.

    Parameters
    ----------
    landscape
        That the window lies in.
    card
        Model card.
    year
        Satellite year of the series.
    corner
        Upper left pixel (row, column).
    rng
        Random stream of haze, noise and speckle.
    """
    top, left = corner
    window = slice(top, top + WINDOW), slice(left, left + WINDOW)
    series = {name: _series(year, name, spec, corner, rng) for name, spec in card.inputs.items() if spec.dates}
    return TrainingWindow(
        images=landscape.images[:, *window].astype(np.float32), target=landscape.target[window], series=series
    )


def _series(
    year: SatelliteYear, name: str, spec: InputSpec, corner: tuple[int, int], rng: np.random.Generator
) -> WindowSeries:
    pixel_m = float(spec.pixel)
    top_m, left_m = (at * PIXEL_M - pixel_m for at in corner)  # a pixel more on each side, for what is coarser
    centres = PixelCentres.of_window(left_m, top_m, size=round(WINDOW * PIXEL_M / pixel_m) + 2, pixel_m=pixel_m)
    if name == _OPTICAL:
        optical = year.optical(centres, rng)
        selected = spec.dates.select(optical.pixel_class[:, 1:-1, 1:-1], year.optical_days)
        values = _resampled(optical.values[[date for (date,) in selected.dates]])
        return WindowSeries(values=values, days=np.array(selected.day_offsets, np.float32))
    values = year.radar(_ORBITS[name], centres, rng, looks=_PIXELS_LOOKS)[:, :, 1:-1, 1:-1]
    days = [spec.dates.day_offset(day) for day in year.radar_days[_ORBITS[name]]]
    return WindowSeries(values=values, days=np.array(days, np.float32))


def _resampled(values: Floats) -> Floats:
    """Return Sentinel-2 without its outer pixels, as smooth as a map's input, which is resampled.

    Parameters
    ----------
    values
        float32 (time, band, y, x); bands with pixels of 20 m become smoother than those of 10 m.
    """
    middle = np.where(np.isin(OPTICAL_BANDS, FINE_BANDS), 6, 2).astype(np.float32)[:, None, None]
    rows = (values[:, :, :-2] + middle * values[:, :, 1:-1] + values[:, :, 2:]) / (2 + middle)
    columns = rows[..., :-2] + middle * rows[..., 1:-1] + rows[..., 2:]
    return np.asarray(columns / (2 + middle), np.float32)


def augmented(window: TrainingWindow, rng: np.random.Generator) -> TrainingWindow:
    """Return a window turned, mirrored, in other light, and without some of its dates.

    Parameters
    ----------
    window
        Stays as it is.
    rng
        Random stream.
    """
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5

    def turned(pixels: NDArray[Any]) -> NDArray[Any]:
        own = np.rot90(pixels, turns, (-2, -1))
        return np.ascontiguousarray(own[..., ::-1] if mirrored else own)

    images = turned(window.images)
    gain = rng.uniform(0.88, 1.12) * rng.uniform(0.95, 1.05, 4)
    images[:4] *= gain.astype(np.float32)[:, None, None]
    images[:4] += np.float32(rng.uniform(0, 3)) * rng.standard_normal(images[:4].shape, dtype=np.float32)
    images[4] = images[4] * np.float32(rng.uniform(0.92, 1.08)) + np.float32(rng.normal(0, 0.08))
    dates_rng = np.random.default_rng(rng.integers(2**32))
    thinned = {name: _with_fewer_dates(series, dates_rng) for name, series in window.series.items()}
    series = {name: replace(each, values=turned(each.values)) for name, each in thinned.items()}
    return TrainingWindow(images=images, target=turned(window.target), series=series)


def _with_fewer_dates(series: WindowSeries, rng: np.random.Generator) -> WindowSeries:
    """Return about four of five dates, one at least."""
    keep = rng.random(len(series.days)) < _DATES_SHARE
    keep[rng.integers(len(keep))] = True
    return WindowSeries(values=series.values[keep], days=series.days[keep])


def with_shuffled_days(window: TrainingWindow, rng: np.random.Generator) -> TrainingWindow:
    """Return a window whose dates have each other's day offsets: the images are there, the season is not.

    Parameters
    ----------
    window
        Stays as it is.
    rng
        Random stream.
    """
    series = {name: replace(each, days=rng.permutation(each.days)) for name, each in window.series.items()}
    return replace(window, series=series)


def normalise(values: Floats, spec: InputSpec) -> Floats:
    """Return values as the network takes them: ``(value - mean) / std`` by band, float32 (..., band, y, x).

    Parameters
    ----------
    values
        (..., band, y, x).
    spec
        Input of a model card.
    """
    means = np.array([band.mean for band in spec.bands.values()], np.float32)
    stds = np.array([band.std for band in spec.bands.values()], np.float32)
    return np.asarray((values - means[:, None, None]) / stds[:, None, None], np.float32)
