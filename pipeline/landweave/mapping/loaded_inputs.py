"""The inputs of one block in memory, read once; dates are selected and pixels are cut window by window."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.lattice import Extent, WindowFootprint
from landweave.core.protocols import InputBatch, Raster, Series
from landweave.core.timeseries import (
    DateFallback,
    DateSelection,
    DatesRule,
    PixelClass,
    civil_year,
    compose,
    measured,
)

WindowDates = Mapping[str, DateSelection]
"""Dates of one window by input; an input without dates has an empty selection."""

NO_DATES = DateSelection(dates=(), day_offsets=(), date_fallback=DateFallback.PASSED)


@dataclass(frozen=True, kw_only=True)
class LoadedRaster:
    """An input without dates over a block and its halo, in memory.

    Attributes
    ----------
    footprint
        Its pixels around a window.
    extent
        What is in memory, in pixels of the input.
    raster
        Over `extent`.
    """

    footprint: WindowFootprint
    extent: Extent
    raster: Raster

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Valid pixels of `extent`, bool ``(y, x)``."""
        return self.raster.valid

    def select(self, window: Extent) -> DateSelection:
        """An empty selection."""
        return NO_DATES

    def batch(self, windows: Sequence[Extent], selections: Sequence[DateSelection]) -> InputBatch:
        """The footprints of ``windows``.

        Parameters
        ----------
        windows
            In base pixels.
        selections
            Of each window, without dates.
        """
        cuts = [self.footprint.cut(window).slices_in(self.extent) for window in windows]
        return InputBatch(
            values=np.stack([self.raster.values[:, y, x] for y, x in cuts]),
            valid=np.stack([self.raster.valid[y, x] for y, x in cuts]),
        )


@dataclass(frozen=True, kw_only=True)
class LoadedSeries:
    """An input with dates over a block and its halo, in memory.

    Attributes
    ----------
    footprint, extent
        As of `LoadedRaster`.
    series
        Every date that is used, over `extent`.
    times
        Of each date, UTC, ascending.
    rule
        How dates are selected and their day offsets are counted.
    year_of
        Civil year whose dates a window may be given; None for any.
    """

    footprint: WindowFootprint
    extent: Extent
    series: Series
    times: tuple[np.datetime64, ...]
    rule: DatesRule
    year_of: Callable[[Extent], int | None] = lambda window: None

    @cached_property
    def measured(self) -> NDArray[np.bool_]:
        """Pixels of `extent` measured on any date, bool ``(y, x)``."""
        return np.asarray(measured(self.series.pixel_class).any(0))

    def select(self, window: Extent) -> DateSelection:
        """The dates of ``window``, selected over its whole footprint; images and day offsets are one selection."""
        y, x = self.footprint.cut(window).slices_in(self.extent)
        pixel_class, year = self.series.pixel_class[:, y, x], self.year_of(window)
        other_year = np.array([year not in (None, own) for own in self._years], np.bool_)
        if other_year.any():  # as if it had not been acquired
            pixel_class = np.where(other_year[:, None, None], np.uint8(PixelClass.NOT_ACQUIRED), pixel_class)
        return self.rule.select(pixel_class, self.times)

    @cached_property
    def _years(self) -> tuple[int, ...]:
        return tuple(map(civil_year, self.times))

    def batch(self, windows: Sequence[Extent], selections: Sequence[DateSelection]) -> InputBatch:
        """The footprints of ``windows`` on their dates, padded with zeros.

        Clouds in the images of selected dates are kept as they are. An absent series is one image without a
        measurement, on the reference day.

        Parameters
        ----------
        windows
            In base pixels.
        selections
            The dates of each window; all have one padded length.
        """
        shape = (len(windows), selections[0].padded_length)
        pixels = self.footprint.cut(windows[0]).shape
        bands, dtype = self.series.values.shape[1], np.float32 if self.rule.composite else self.series.values.dtype
        values, valid = np.zeros((*shape, bands, *pixels), dtype), np.zeros((*shape, *pixels), np.bool_)
        days, present = np.zeros(shape, np.float32), np.zeros(shape, np.bool_)
        for row, (window, selection) in enumerate(zip(windows, selections, strict=True)):
            for number, image in enumerate(self._images(window, selection)):
                values[row, number], valid[row, number] = image
            days[row, : len(selection.dates)] = selection.day_offsets
            present[row, : max(len(selection.dates), 1)] = True
        return InputBatch(values=values, valid=valid, days=days, present=present)

    def _images(self, window: Extent, selection: DateSelection) -> Iterator[tuple[NDArray[Any], NDArray[np.bool_]]]:
        """Values ``(band, y, x)`` and valid pixels ``(y, x)`` of each image of one window."""
        y, x = self.footprint.cut(window).slices_in(self.extent)
        values, pixel_class = self.series.values[..., y, x], self.series.pixel_class[:, y, x]
        for dates in map(list, selection.dates):
            if selection.statistic is None:
                yield values[dates[0]], measured(pixel_class[dates[0]])
            else:
                yield compose(values[dates], pixel_class[dates], selection.statistic)


LoadedInput = LoadedRaster | LoadedSeries


@dataclass(frozen=True, kw_only=True)
class BlockInputs:
    """Every input of a block, read once.

    Attributes
    ----------
    loaded
        By name, in the order of the model.
    required
        Names of those without which a pixel is nodata.
    filtered
        Names of the series whose dates are filtered.
    """

    loaded: Mapping[str, LoadedInput]
    required: frozenset[str]
    filtered: frozenset[str]

    def covered(self, extent: Extent, factor: int) -> NDArray[np.bool_]:
        """Output pixels wholly covered: each base pixel's centre is in a measured pixel of every required input.

        Parameters
        ----------
        extent
            In base pixels.
        factor
            Base pixels a side of one output pixel.

        Returns
        -------
        ndarray
            bool ``(y, x)``, in output pixels.
        """
        covered, (height, width) = np.ones(extent.shape, np.bool_), extent.shape
        for name in self.required:
            covered &= _measured_at(self.loaded[name], extent)
        return np.asarray(covered.reshape(height // factor, factor, width // factor, factor).all((1, 3)))

    def select(self, window: Extent) -> WindowDates:
        """The dates of ``window`` of every input."""
        return {name: loaded.select(window) for name, loaded in self.loaded.items()}

    def date_fallback(self, dates: WindowDates) -> DateFallback:
        """The farthest that a filtered series had to fall back in one window."""
        return max((dates[name].date_fallback for name in self.filtered), default=DateFallback.PASSED)

    def absent(self, dates: WindowDates) -> list[str]:
        """The filtered series of which nothing was measured in one window."""
        return [name for name in self.filtered if not dates[name].dates]

    def batch(self, windows: Sequence[Extent], dates: Sequence[WindowDates]) -> dict[str, InputBatch]:
        """Windows as the predictor takes them.

        Parameters
        ----------
        windows
            In base pixels.
        dates
            Of each window; for every input they have one padded length.
        """
        return {
            name: loaded.batch(windows, [selections[name] for selections in dates])
            for name, loaded in self.loaded.items()
        }


def _measured_at(loaded: LoadedInput, extent: Extent) -> NDArray[np.bool_]:
    """Whether the input is measured at the centre of each base pixel of ``extent``."""
    rows = [row - loaded.extent.y.start for row in extent.y.holders(loaded.footprint.pixel)]
    columns = [column - loaded.extent.x.start for column in extent.x.holders(loaded.footprint.pixel)]
    return loaded.measured.take(rows, 0).take(columns, 1)
