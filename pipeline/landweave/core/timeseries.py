"""Time series as values and rules: the steps of a series, what each pixel saw, and which dates a model is given.

::

    scenes of one pass ──> step (time, provenance) ──> pixel pixel classes ──> dates kept for a window ──> day offsets

Dates are chosen on the whole of a window's footprint, never on what happens to be read with it: neighbours that
are read together may keep different dates, and the same window keeps the same dates whoever reads it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from math import ceil
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator


class PixelClass(IntEnum):
    """What one pixel of one date is. The values are stored: never renumber."""

    NOT_ACQUIRED = 0
    """Beyond the swath, or no scene of that date here: a chunk of it is not stored."""
    CLEAR = 1
    CLOUD = 2
    SNOW = 3
    SHADOW = 4
    NODATA = 5
    """Acquired without a measurement: nodata, defective, border noise."""

    @property
    def measured(self) -> bool:
        """Whether the pixel holds a value, of whatever it saw."""
        return self not in (PixelClass.NOT_ACQUIRED, PixelClass.NODATA)


class DateFallback(IntEnum):
    """Where on the ladder the dates of a window were found. The values are stored: never renumber."""

    PASSED = 0
    """Dates that pass the filter; without a filter, all that were acquired."""
    CLOUDY = 1
    """None passes: those that pass when clouds are left out of the filter."""
    CLEAREST = 2
    """None passes that either: the clearest, however clear."""
    ABSENT = 3
    """Nothing was measured in the window: the input is absent."""

    @property
    def flag_meaning(self) -> str:
        """In one word, for the attributes of a map."""
        return ("passed", "passed_but_for_clouds", "clearest", "absent")[self]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One date of a series: one ground strip seen in one pass.

    Attributes
    ----------
    datatake_id
        Names the pass for good (a datatake, an orbit and day): the same in every search that finds it.
    time
        Start of the pass, UTC, ``datetime64[s]``.
    provenance
        Plain JSON values: scene ids in reading order, baseline, offset applied, orbit, kind.
    """

    datatake_id: str
    time: np.datetime64
    provenance: Mapping[str, Any] = field(default_factory=dict)


class _Rule(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class MinClearFraction(_Rule):
    """FLAIR-HUB's filter: a date counts when enough of the window was acquired and is free of cloud and snow.

    Attributes
    ----------
    min_clear_fraction
        Smallest fraction of clear, valid pixels.
    cloud_max, snow_max
        Largest probability, 0 to 100, of a clear pixel.
    clearest
        Dates kept, the clearest first, when none passes even without the cloud rule.
    """

    min_clear_fraction: float = Field(default=0.95, gt=0, le=1)
    cloud_max: float = 1
    snow_max: float = 1
    clearest: int = Field(default=1, ge=0)


class MaxCloudFraction(_Rule):
    """FLAIR#2's filter: a date is dropped when its fractions of snowy and of cloudy pixels together reach a limit.

    A pixel without measurement counts as cloudy too: a swath that was not acquired is not clear sky.

    Attributes
    ----------
    max_cloud_fraction
        A date is dropped from this fraction of cloudy, snowy and missing pixels on.
    cloud_min, snow_min
        Smallest probability, 0 to 100, of a cloudy or snowy pixel.
    clearest
        Dates kept, the clearest, when every date is dropped even without the cloud rule.
    """

    clearest: ClassVar[int] = 1

    max_cloud_fraction: float = Field(gt=0, le=1)
    cloud_min: float = 60
    snow_min: float = 60


def _filter_tag(value: Any) -> str:
    keys = value if isinstance(value, Mapping) else type(value).model_fields
    return "max_cloud_fraction" if "max_cloud_fraction" in keys else "min_clear_fraction"


DateFilter = Annotated[
    Annotated[MinClearFraction, Tag("min_clear_fraction")] | Annotated[MaxCloudFraction, Tag("max_cloud_fraction")],
    Discriminator(_filter_tag),
]
"""The filter whose name is among the keys."""


class DatesRule(_Rule):
    """How the dates of a series reach the model.

    Attributes
    ----------
    position
        ``after``: days after the reference day of the date's own year, negative before it, so that a series spans
        one civil year at most. ``before``: the reference day minus the date, in days, in one reference year.
    reference
        Month and day.
    filter
        Which dates count; all when not given.
    composite
        One image a ``month`` (12 steps, placed on day 15) or ``half-month`` (24 steps, on days 8 and 23), from the
        clear pixels of the dates that count. Steps without a date are left out.
    statistic
        Of a composite.
    """

    position: Literal["after", "before"] = "after"
    reference: str = Field(default="05-15", pattern=r"^\d\d-\d\d$")
    filter: DateFilter | None = None
    composite: Literal["month", "half-month"] | None = None
    statistic: Literal["mean", "median"] = "mean"

    @field_validator("reference")
    @classmethod
    def _in_every_year(cls, reference: str) -> str:
        try:
            np.datetime64(f"2001-{reference}")
        except ValueError as error:
            raise ValueError(f"{reference} is not a month and day of every year: write it as 05-15") from error
        return reference


def day_offset(time: np.datetime64, rule: DatesRule) -> float:
    """The position of a date for the model: whole days between its civil day (UTC) and the reference day.

    ``before`` has the opposite sign of ``after``. Its one reference year is the date's own: a series spans one civil
    year, and of a leap year January and February then lie a day farther from the reference than in another.

    >>> rule = DatesRule(reference="05-15")
    >>> day_offset(np.datetime64("2021-05-25T10:50:31"), rule), day_offset(np.datetime64("2021-05-14"), rule)
    (10.0, -1.0)
    """
    day = time.astype("datetime64[D]")
    after = float((day - np.datetime64(f"{day.astype('datetime64[Y]')}-{rule.reference}")).astype(np.int64))
    return after if rule.position == "after" else -after


def civil_year(time: np.datetime64) -> int:
    """The year (UTC) of a date."""
    return int(str(time.astype("datetime64[Y]")))


def measured(pixel_class: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels that hold a value, of whatever they saw; bool of the shape of ``pixel_class``."""
    return np.asarray((pixel_class != PixelClass.NOT_ACQUIRED) & (pixel_class != PixelClass.NODATA))


@dataclass(frozen=True, kw_only=True)
class Kept:
    """Dates of one window: ascending ``indices`` on its time axis, and the ``date_fallback`` they were found on."""

    indices: tuple[int, ...]
    date_fallback: DateFallback


def choose(pixel_class: NDArray[np.uint8], rule: DatesRule) -> Kept:
    """The dates of one window that reach the model.

    Shares are of all pixels of the window, so that what was not acquired is never clear. The ladder: dates that pass
    the filter; if none, those that pass without its cloud rule; if none, the clearest (by clear pixels, then by
    measured ones, then the earlier); if nothing was measured, none. Without a filter every date counts. A date that
    measured no pixel of the window is never kept.

    Parameters
    ----------
    pixel_class
        uint8 `PixelClass` ``(time, y, x)`` over the whole footprint of the window.
    rule
        With the filter.
    """
    counts = _Counts(pixel_class)
    if rule.filter is None:
        return _kept(counts.measured > 0, DateFallback.PASSED)
    for date_fallback, good in (
        (DateFallback.PASSED, counts.good(rule.filter)),
        (DateFallback.CLOUDY, counts.measured - counts.snow),
    ):
        passing = good >= counts.needed(rule.filter)
        if passing.any():
            return _kept(passing, date_fallback)
    return _kept(counts.clearest(rule.filter.clearest), DateFallback.CLEAREST)


class _Counts:
    """Pixels of each date by what they saw, int64 ``(time,)``."""

    def __init__(self, pixel_class: NDArray[np.uint8]) -> None:
        self.pixels: int = pixel_class.shape[1] * pixel_class.shape[2]
        self.clear = _count(pixel_class, PixelClass.CLEAR)
        self.snow = _count(pixel_class, PixelClass.SNOW)
        self.shadow = _count(pixel_class, PixelClass.SHADOW)
        self.measured = self.clear + self.snow + self.shadow + _count(pixel_class, PixelClass.CLOUD)

    def good(self, rule: MinClearFraction | MaxCloudFraction) -> NDArray[np.int64]:
        """Pixels that speak for a date: a shadow is not clear, but it does not spoil."""
        return self.clear if isinstance(rule, MinClearFraction) else self.clear + self.shadow

    def needed(self, rule: MinClearFraction | MaxCloudFraction) -> int:
        """How many of them keep it; exact, where a float's 0.95 is a little less."""
        if isinstance(rule, MinClearFraction):
            return ceil(Fraction(str(rule.min_clear_fraction)) * self.pixels)
        return self.pixels - ceil(Fraction(str(rule.max_cloud_fraction)) * self.pixels) + 1

    def clearest(self, count: int) -> NDArray[np.bool_]:
        """The ``count`` clearest dates among those that measured anything."""
        order = np.lexsort((-self.measured, -self.clear))  # stable: of equals the earlier first
        chosen = np.zeros(len(order), np.bool_)
        chosen[[date for date in order if self.measured[date]][:count]] = True
        return chosen


def _count(pixel_class: NDArray[np.uint8], wanted: PixelClass) -> NDArray[np.int64]:
    return np.asarray(np.count_nonzero(pixel_class == wanted, axis=(1, 2)), np.int64)


def _kept(chosen: NDArray[np.bool_], date_fallback: DateFallback) -> Kept:
    indices = tuple(np.flatnonzero(chosen).tolist())
    return Kept(indices=indices, date_fallback=date_fallback if indices else DateFallback.ABSENT)


@dataclass(frozen=True, kw_only=True)
class Period:
    """A step of a composite: the day it is placed on, and the ``dates`` it is made of, by index, ascending."""

    day: np.datetime64
    dates: tuple[int, ...]


def periods(times: Sequence[np.datetime64], pixel_class: NDArray[np.uint8], rule: DatesRule) -> tuple[Period, ...]:
    """The steps of a composite that have anything to show, ascending in time; two years are never mixed.

    Parameters
    ----------
    times
        Of the dates, ascending.
    pixel_class
        uint8 `PixelClass` ``(time, y, x)`` of the window; a date without a clear pixel adds nothing.
    rule
        With the composite.
    """
    shown = (pixel_class == PixelClass.CLEAR).any((1, 2))
    found: dict[np.datetime64, list[int]] = {}
    for index in np.flatnonzero(shown).tolist():
        found.setdefault(_middle(times[index], rule), []).append(index)
    return tuple(Period(day=day, dates=tuple(dates)) for day, dates in sorted(found.items()))


def _middle(time: np.datetime64, rule: DatesRule) -> np.datetime64:
    month = time.astype("datetime64[M]")
    if rule.composite == "month":
        return np.datetime64(f"{month}-15")
    first_half = time.astype("datetime64[D]") <= np.datetime64(f"{month}-15")
    return np.datetime64(f"{month}-08" if first_half else f"{month}-23")


def compose(
    values: NDArray[Any], pixel_class: NDArray[np.uint8], statistic: Literal["mean", "median"]
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """One image from the clear pixels of some dates.

    Parameters
    ----------
    values
        ``(time, band, y, x)``.
    pixel_class
        uint8 `PixelClass` ``(time, y, x)``.
    statistic
        ``mean`` or ``median`` of each pixel over the dates that saw it clear.

    Returns
    -------
    values
        float32 ``(band, y, x)``, 0 where not valid.
    valid
        bool ``(y, x)``; True where some date saw the pixel clear.
    """
    clear = pixel_class == PixelClass.CLEAR
    valid = clear.any(0)
    if statistic == "median":
        seen = np.where(clear[:, None], values, np.nan)
        composed = np.nanmedian(np.where(valid, seen, 0), axis=0)
    else:
        total = np.zeros(values.shape[1:], np.float64)
        for image, mask in zip(values, clear, strict=True):  # in the order of dates: a library may sum in any
            total += np.where(mask, image, 0)
        composed = total / np.maximum(clear.sum(0), 1)
    return composed.astype(np.float32), valid


LENGTHS = (1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 40, 48, 64, 80, 96, 128)
"""Lengths that series are padded to: at most half as long again as they are."""


def padded_length(count: int) -> int:
    """The length that a series of ``count`` dates is padded to: the same wherever that window is computed.

    >>> [padded_length(count) for count in (0, 1, 5, 70, 130)]
    [1, 1, 6, 80, 256]
    """
    longest = LENGTHS[-1]
    return next((length for length in LENGTHS if length >= count), -(-count // longest) * longest)
