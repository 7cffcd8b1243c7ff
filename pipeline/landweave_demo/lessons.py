"""Windows of made-up scenes for the demo's training: drawn, turned, lit anew, with the dates that a map would use."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import InputSpec
from landweave_demo.frame import PIXEL_M, Floats
from landweave_demo.phenology import FINE_BANDS, OPTICAL_BANDS
from landweave_demo.scene import CLASS_CODES, UNKNOWN, Scene
from landweave_demo.season import Place, Season, make_season

WINDOW = 512
"""Pixels a side."""

_OPTICAL = "SENTINEL2_TS"
_ORBITS = {"SENTINEL1-ASC_TS": "ascending", "SENTINEL1-DESC_TS": "descending"}
_DATES_KEPT = 0.8
_BALANCED_SHARE = 0.6
_PIXELS_LOOKS = 15.0
"""Looks of radar pixels of 10.24 m: resampling evens speckle out."""


@dataclass(frozen=True, kw_only=True)
class Lesson:
    """One scene made ready: ``images`` float16 (band, y, x): NIR, R, G, B, metres; ``target`` uint8 channels."""

    images: NDArray[np.float16]
    target: NDArray[np.uint8]
    years: tuple[Season, ...]


@dataclass(frozen=True, kw_only=True)
class Dates:
    """A window of one series: ``values`` (t, band, y, x), raw, and day offsets (t,)."""

    values: Floats
    days: NDArray[np.float32]


@dataclass(frozen=True, kw_only=True)
class Window:
    """One window of a lesson: raw ``images`` (band, y, x), ``target`` (y, x) and ``series`` by name."""

    images: Floats
    target: NDArray[np.uint8]
    series: Mapping[str, Dates]


def prepare(scene: Scene, *, years: int) -> Lesson:
    """Return a scene as the models see it, not yet normalised; 255 stays 255 in the target."""
    height = (scene.dsm - scene.dtm)[None]
    channel = np.full(256, UNKNOWN, np.uint8)
    channel[list(CLASS_CODES)] = np.arange(len(CLASS_CODES))
    return Lesson(
        images=np.concatenate([scene.rgbi[[3, 0, 1, 2]], height]).astype(np.float16),
        target=channel[scene.truth],
        years=tuple(make_season(scene, scene.seed + 1000 * year) for year in range(years)),
    )


def class_places(lesson: Lesson) -> list[NDArray[np.intp]]:
    """Return, for each class the lesson holds, some of its pixels as flat places: rare classes are sought out."""
    flat = lesson.target.ravel()[::7]
    found = [np.flatnonzero(flat == channel) * 7 for channel in range(len(CLASS_CODES))]
    return [places for places in found if places.size]


def pick_corner(lesson: Lesson, places: list[NDArray[np.intp]], rng: np.random.Generator) -> tuple[int, int]:
    """Return the upper left pixel (row, column) of a window: anywhere, or around a pixel of a class chosen evenly."""
    height, width = lesson.target.shape
    row, col = int(rng.integers(height)), int(rng.integers(width))
    if rng.random() < _BALANCED_SHARE:
        own = places[int(rng.integers(len(places)))]
        row, col = divmod(int(own[rng.integers(own.size)]), width)
        row, col = (at + int(rng.integers(-WINDOW // 3, WINDOW // 3)) for at in (row, col))
    top, left = (min(max(at - WINDOW // 2, 0), size - WINDOW) for at, size in ((row, height), (col, width)))
    return top, left


def view_window(
    lesson: Lesson, card: ModelCard, year: Season, corner: tuple[int, int], rng: np.random.Generator
) -> Window:
    """Return the window of `WINDOW` pixels whose upper left one is ``corner`` (row, column)."""
    top, left = corner
    window = slice(top, top + WINDOW), slice(left, left + WINDOW)
    series = {name: _dates(year, name, spec, corner, rng) for name, spec in card.inputs.items() if spec.dates}
    return Window(images=lesson.images[:, *window].astype(np.float32), target=lesson.target[window], series=series)


def _dates(year: Season, name: str, spec: InputSpec, corner: tuple[int, int], rng: np.random.Generator) -> Dates:
    pixel_m = float(spec.pixel)
    top_m, left_m = (at * PIXEL_M - pixel_m for at in corner)  # a pixel more on each side, for what is coarser
    place = Place.of_window(left_m, top_m, size=round(WINDOW * PIXEL_M / pixel_m) + 2, pixel_m=pixel_m)
    assert spec.dates is not None
    if name == _OPTICAL:
        seen = year.optical(place, rng)
        kept = [date for (date,) in spec.dates.select(seen.state[:, 1:-1, 1:-1], year.days).dates]
        values, days = _as_delivered(seen.values[kept]), [year.days[date] for date in kept]
    else:
        values = year.radar(_ORBITS[name], place, rng, looks=_PIXELS_LOOKS)[:, :, 1:-1, 1:-1]
        days = list(year.passes[_ORBITS[name]])
    return Dates(values=values, days=np.array([spec.dates.day_offset(day) for day in days], np.float32))


def _as_delivered(seen: Floats) -> Floats:
    """Return Sentinel-2 without its outer pixels, as smooth as it comes: resampled, some bands from pixels of 20 m."""
    middle = np.where(np.isin(OPTICAL_BANDS, FINE_BANDS), 6, 2).astype(np.float32)[:, None, None]
    rows = (seen[:, :, :-2] + middle * seen[:, :, 1:-1] + seen[:, :, 2:]) / (2 + middle)
    columns = rows[..., :-2] + middle * rows[..., 1:-1] + rows[..., 2:]
    return np.asarray(columns / (2 + middle), np.float32)


def varied(window: Window, rng: np.random.Generator) -> Window:
    """Return a window turned, mirrored, in another light, and without some of its dates."""
    turns, mirrored = int(rng.integers(4)), rng.random() < 0.5

    def turned(pixels: NDArray[Any]) -> NDArray[Any]:
        own = np.rot90(pixels, turns, (-2, -1))
        return np.ascontiguousarray(own[..., ::-1] if mirrored else own)

    images = turned(window.images)
    gain = rng.uniform(0.88, 1.12) * rng.uniform(0.95, 1.05, 4)
    images[:4] *= gain.astype(np.float32)[:, None, None]
    images[:4] += np.float32(rng.uniform(0, 3)) * rng.standard_normal(images[:4].shape, dtype=np.float32)
    images[4] = images[4] * np.float32(rng.uniform(0.92, 1.08)) + np.float32(rng.normal(0, 0.08))
    own = np.random.default_rng(rng.integers(2**32))
    thinned = {name: _thinned(dates, own) for name, dates in window.series.items()}
    series = {name: replace(dates, values=turned(dates.values)) for name, dates in thinned.items()}
    return Window(images=images, target=turned(window.target), series=series)


def _thinned(dates: Dates, rng: np.random.Generator) -> Dates:
    """Return about four dates of five, one at least."""
    kept = rng.random(len(dates.days)) < _DATES_KEPT
    kept[rng.integers(len(kept))] = True
    return Dates(values=dates.values[kept], days=dates.days[kept])


def shuffled(window: Window, rng: np.random.Generator) -> Window:
    """Return a window whose images stand at the days of others: everything is there but the season."""
    series = {name: replace(dates, days=rng.permutation(dates.days)) for name, dates in window.series.items()}
    return replace(window, series=series)


def normalise(values: Floats, spec: InputSpec) -> Floats:
    """Return values (..., band, y, x) of an input as the network takes them."""
    means = np.array([band.statistics[0] for band in spec.bands.values()], np.float32)
    stds = np.array([band.statistics[1] for band in spec.bands.values()], np.float32)
    return np.asarray((values - means[:, None, None]) / stds[:, None, None], np.float32)
