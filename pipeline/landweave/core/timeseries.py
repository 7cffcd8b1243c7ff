"""Time series as values and rules: observations, pixel classes, and the dates of a window that reach the model.

::

    scenes of one datatake ──> observation (time, provenance) ──> pixel classes ──> dates of a window ──> day offsets

Dates are selected over the whole footprint of a window, never over what happens to be read with it: neighbouring
windows may have different dates, and the same window has the same dates in every block, batch and notebook.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum
from fractions import Fraction
from itertools import groupby
from math import ceil
from typing import Annotated, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Discriminator, Field, Tag, field_validator


class PixelClass(IntEnum):
    """What a pixel of an observation shows. The values are stored: never renumber.

    Examples
    --------
    >>> PixelClass.CLOUD, PixelClass.CLOUD.measured, PixelClass.NOT_ACQUIRED.measured
    (<PixelClass.CLOUD: 2>, True, False)
    """

    NOT_ACQUIRED = 0
    """Beyond the swath, or without a scene of that date: a chunk of such pixels is not stored."""
    CLEAR = 1
    CLOUD = 2
    SNOW = 3
    SHADOW = 4
    NODATA = 5
    """Acquired without a measurement: nodata, defective, border noise."""

    @property
    def measured(self) -> bool:
        """Whether the pixel holds a value, clear or not."""
        return self not in (PixelClass.NOT_ACQUIRED, PixelClass.NODATA)


_LARGEST = 1e38


class DateFallback(IntEnum):
    """How far the date selection of a window had to fall back. The values are stored: never renumber."""

    PASSED = 0
    """Dates that pass the filter; without a filter, all that were acquired."""
    CLOUDY = 1
    """No date passes: those that pass when clouds are ignored."""
    CLEAREST = 2
    """No date passes that either: the clearest ones, however clear."""
    ABSENT = 3
    """No date has a measured pixel in the window: the input is absent."""

    @property
    def flag_meaning(self) -> str:
        """In one word, for the attributes of a map."""
        return ("passed", "passed_but_for_clouds", "clearest", "absent")[self]


@dataclass(frozen=True, kw_only=True)
class Observation:
    """One date of a series: all scenes of one datatake.

    Attributes
    ----------
    datatake_id
        Identifier (a datatake, or an orbit and day), the same in every search that finds it.
    time
        Start of the datatake, UTC, ``datetime64[s]``.
    provenance
        Plain JSON values: scene ids in reading order, baseline, offset applied, orbit, kind.
    """

    datatake_id: str
    time: np.datetime64
    provenance: Mapping[str, Any] = field(default_factory=dict)

    @property
    def day(self) -> np.datetime64:
        """Civil day of `time`, UTC."""
        day: np.datetime64 = self.time.astype("datetime64[D]")
        return day


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
        Number of the clearest dates that are selected when none passes even without the cloud rule.
    """

    min_clear_fraction: float = Field(default=0.95, gt=0, le=1)
    cloud_max: float = Field(default=1, ge=0, le=100)
    snow_max: float = Field(default=1, ge=0, le=100)
    clearest: int = Field(default=1, ge=0)
    good: ClassVar[tuple[PixelClass, ...]] = (PixelClass.CLEAR,)

    def needed(self, pixels: int) -> int:
        """Smallest number of good pixels of a date that passes; exact, where a float's 0.95 is a little less."""
        return ceil(Fraction(str(self.min_clear_fraction)) * pixels)

    @property
    def clear_thresholds(self) -> dict[str, float]:
        """Largest probability of cloud and of snow, 0 to 100, of a clear pixel."""
        return {"cloud_max": self.cloud_max, "snow_max": self.snow_max}


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
        Number of the clearest dates that are selected when every date is dropped even without the cloud rule.
    """

    clearest: ClassVar[int] = 1
    good: ClassVar[tuple[PixelClass, ...]] = (PixelClass.CLEAR, PixelClass.SHADOW)  # a shadow is no cloud

    max_cloud_fraction: float = Field(gt=0, le=1)
    cloud_min: float = Field(default=60, ge=0, le=100)
    snow_min: float = Field(default=60, ge=0, le=100)

    def needed(self, pixels: int) -> int:
        """Smallest number of good pixels of a date that passes; exact."""
        return pixels - ceil(Fraction(str(self.max_cloud_fraction)) * pixels) + 1

    @property
    def clear_thresholds(self) -> dict[str, float]:
        """Largest probability of cloud and of snow of a clear pixel: whole numbers, one less than of a cloudy one."""
        return {"cloud_max": self.cloud_min - 1, "snow_max": self.snow_min - 1}


def _filter_tag(value: Any) -> str:
    keys = value if isinstance(value, Mapping) else getattr(type(value), "model_fields", ())
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
        One image a ``month`` (12 periods, dated day 15) or ``half-month`` (24 periods, days 8 and 23), from the clear
        pixels of the dates that count. Periods without a date are left out.
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

    def day_offset(self, time: np.datetime64) -> float:
        """Position of a date for the model: whole days between its civil day (UTC) and the reference day.

        ``before`` has the opposite sign of ``after``. The reference day is that of the date's own year: a series spans
        one civil year, and in a leap year January and February are a day farther from the reference than in another.

        >>> rule = DatesRule(reference="05-15")
        >>> rule.day_offset(np.datetime64("2021-05-25T10:50:31")), rule.day_offset(np.datetime64("2021-05-14"))
        (10.0, -1.0)
        """
        day = time.astype("datetime64[D]")
        after = float((day - np.datetime64(f"{day.astype('datetime64[Y]')}-{self.reference}")).astype(np.int64))
        return after if self.position == "after" else -after

    def select(self, pixel_class: NDArray[np.uint8], times: Sequence[np.datetime64]) -> DateSelection:
        """The dates of one window that reach the model.

        Fractions are of all pixels of the window, so that what was not acquired is never clear. With a filter the
        first of these that finds any date is taken (`DateFallback`): dates that pass the filter; dates that pass
        without its cloud rule; the clearest dates (by clear pixels, then by measured ones, then the earlier). Without
        a filter every date that measured a pixel of the window is selected. A date without a measured pixel, or a
        period of a composite without a clear one, is never selected.

        Parameters
        ----------
        pixel_class
            uint8 `PixelClass` ``(time, y, x)`` over the whole footprint of the window.
        times
            UTC times of the dates, ascending.
        """
        indices, date_fallback = self._filtered(pixel_class)
        images: list[tuple[np.datetime64, tuple[int, ...]]] = [(times[index], (index,)) for index in indices]
        if self.composite is not None:
            clear = (pixel_class == PixelClass.CLEAR).any((1, 2))
            periods = groupby((index for index in indices if clear[index]), lambda index: self._middle(times[index]))
            images = [(day, tuple(dates)) for day, dates in periods]
        return DateSelection(
            dates=tuple(dates for _, dates in images),
            day_offsets=tuple(self.day_offset(day) for day, _ in images),
            date_fallback=date_fallback if images else DateFallback.ABSENT,
            statistic=None if self.composite is None else self.statistic,
        )

    def _filtered(self, pixel_class: NDArray[np.uint8]) -> tuple[list[int], DateFallback]:
        counts = _count(measured(pixel_class))
        if self.filter is None:
            return np.flatnonzero(counts).tolist(), DateFallback.PASSED
        needed = self.filter.needed(pixel_class.shape[1] * pixel_class.shape[2])
        for date_fallback, good in (
            (DateFallback.PASSED, sum(_count(pixel_class == each) for each in self.filter.good)),
            (DateFallback.CLOUDY, counts - _count(pixel_class == PixelClass.SNOW)),
        ):
            passing = np.flatnonzero(good >= needed)
            if passing.size:
                return passing.tolist(), date_fallback
        # Stable: of equals the earlier first.
        clearest = np.lexsort((-counts, -_count(pixel_class == PixelClass.CLEAR)))
        return sorted(clearest[counts[clearest] > 0][: self.filter.clearest].tolist()), DateFallback.CLEAREST

    def _middle(self, time: np.datetime64) -> np.datetime64:
        """Day by which the period of a composite is dated; those of two years differ."""
        month = time.astype("datetime64[M]")
        if self.composite == "month":
            return np.datetime64(f"{month}-15")
        first_half = time.astype("datetime64[D]") <= np.datetime64(f"{month}-15")
        return np.datetime64(f"{month}-08" if first_half else f"{month}-23")


@dataclass(frozen=True, kw_only=True)
class DateSelection:
    """The images that one window is given of a series.

    Attributes
    ----------
    dates
        For each image the dates it is made of, as indices on the time axis of the series: one date, or those of a
        period of a composite.
    day_offsets
        Position of each image, in days (`DatesRule.day_offset`).
    date_fallback
        How far the filter had to fall back to find the dates.
    statistic
        How an image is composed of its dates; None where it is its one date.
    """

    dates: tuple[tuple[int, ...], ...]
    day_offsets: tuple[float, ...]
    date_fallback: DateFallback
    statistic: Literal["mean", "median"] | None = None

    @property
    def padded_length(self) -> int:
        """Number of images with their padding: a matter of this window alone, whatever its batch."""
        return padded_length(len(self.dates))


def civil_year(time: np.datetime64) -> int:
    """The year (UTC) of a date."""
    return int(str(time.astype("datetime64[Y]")))


def measured(pixel_class: NDArray[np.uint8]) -> NDArray[np.bool_]:
    """Pixels that hold a value, clear or not; bool of the shape of ``pixel_class``."""
    return np.asarray((pixel_class != PixelClass.NOT_ACQUIRED) & (pixel_class != PixelClass.NODATA))


def is_number(values: NDArray[Any]) -> NDArray[np.bool_]:
    """Where ``values`` can be measurements: not NaN, infinite or of a magnitude of 1e38.

    The lowest float32 often stands for nodata, and what float64 holds beyond is infinite to a model.
    """
    return np.asarray(np.abs(values) < _LARGEST) if values.dtype.kind == "f" else np.ones(values.shape, np.bool_)


def _count(pixels: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Number of pixels of each date, int64 ``(time,)``."""
    return np.asarray(np.count_nonzero(pixels, axis=(1, 2)), np.int64)


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
        ``mean`` or ``median`` of each pixel over the dates on which it is clear.

    Returns
    -------
    values
        float32 ``(band, y, x)``, 0 where not valid.
    valid
        bool ``(y, x)``; True where the pixel is clear on some date.
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
