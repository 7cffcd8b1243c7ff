"""The dates of one window of a series, from a choice to what the model is given: images and day offsets together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np

from landweave.core.protocols import InputBatch, Series
from landweave.core.timeseries import (
    DateFallback,
    DatesRule,
    Kept,
    compose,
    day_offset,
    measured,
    padded_length,
    periods,
)

PixelClasses = np.typing.NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Choice:
    """What one window is given of a series.

    Attributes
    ----------
    dates
        For each image the dates it is made of, as indices on the series' time axis: one, or those of a composite.
    days
        Position of each image.
    date_fallback
        Where on the ladder the dates were found.
    statistic
        How an image is made of its dates; None where it is its one date.
    """

    dates: tuple[tuple[int, ...], ...]
    days: tuple[float, ...]
    date_fallback: DateFallback
    statistic: Literal["mean", "median"] | None = None

    @classmethod
    def of(cls, kept: Kept, pixel_class: PixelClasses, *, times: Sequence[np.datetime64], rule: DatesRule) -> Choice:
        """The images that the dates ``kept`` of a window come to.

        Parameters
        ----------
        kept
            Dates of the window.
        pixel_class
            uint8 `PixelClass` ``(time, y, x)`` of the window, every date.
        times
            Of every date.
        rule
            Whether there are composites, and how days are counted.
        """
        if rule.composite is None:
            days = tuple(day_offset(times[index], rule) for index in kept.indices)
            return cls(dates=tuple((index,) for index in kept.indices), days=days, date_fallback=kept.date_fallback)
        steps = periods([times[index] for index in kept.indices], pixel_class[list(kept.indices)], rule)
        return cls(
            dates=tuple(tuple(kept.indices[date] for date in step.dates) for step in steps),
            days=tuple(day_offset(step.day, rule) for step in steps),
            date_fallback=kept.date_fallback
            if steps
            else DateFallback.ABSENT,  # dates without one clear pixel make no composite
            statistic=rule.statistic,
        )

    @property
    def length(self) -> int:
        """Images with their padding: of this window alone, whoever it shares a batch with."""
        return padded_length(len(self.dates))


def fill_window(batch: InputBatch, place: int, part: Series, choice: Choice) -> None:
    """Put the images of one window into ``batch`` at ``place``; what is not filled is padding, all zeros.

    Clouds within a date that was kept are fed as they are. An absent series is one image that measured nothing, on
    the reference day.

    Parameters
    ----------
    batch
        ``(n, time, …)``, zeros at ``place``.
    place
        Number of the window in the batch.
    part
        Every date of the window's footprint.
    choice
        What it is given.
    """
    assert batch.days is not None
    assert batch.present is not None
    for step, dates in enumerate(choice.dates):
        if choice.statistic is None:
            [date] = dates
            batch.values[place, step] = part.values[date]
            batch.valid[place, step] = measured(part.pixel_class[date])
        else:
            chosen = list(dates)
            composed = compose(part.values[chosen], part.pixel_class[chosen], choice.statistic)
            batch.values[place, step], batch.valid[place, step] = composed
        batch.days[place, step] = choice.days[step]
    batch.present[place, : max(len(choice.dates), 1)] = True
