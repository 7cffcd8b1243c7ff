"""The inputs of one block in memory, read once and cut window by window; dates are chosen window by window too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from landweave.core.lattice import Extent, WindowFootprint
from landweave.core.protocols import InputBatch, Raster, Series
from landweave.core.timeseries import DateFallback, DatesRule, PixelClass, choose, civil_year, measured
from landweave.mapping.date_selection import Choice, fill_window


class LoadedInput(Protocol):
    """One input over the ground of a block, in memory."""

    @property
    def footprint(self) -> WindowFootprint:
        """Its ground around a window."""

    @property
    def extent(self) -> Extent:
        """What is held, in pixels of the input."""

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Pixels of `extent` that hold a measurement, bool ``(y, x)``."""

    def choose(self, window: Extent) -> Choice | None:
        """The dates that ``window`` is given; None for an input without dates."""

    def batch(self, windows: Sequence[Extent], choices: Sequence[Choice | None]) -> InputBatch:
        """The footprints of ``windows``, with what was chosen for each: of one length all of them."""


@dataclass(frozen=True, kw_only=True)
class LoadedRaster:
    """An input without dates: `LoadedInput`."""

    footprint: WindowFootprint
    extent: Extent
    raster: Raster

    @property
    def seen(self) -> NDArray[np.bool_]:
        """Its valid pixels."""
        return self.raster.valid

    def choose(self, window: Extent) -> None:
        """Nothing: there are no dates."""

    def batch(self, windows: Sequence[Extent], choices: Sequence[Choice | None]) -> InputBatch:
        """Pixels of each window."""
        places = [self.footprint.cut(window).slices_in(self.extent) for window in windows]
        return InputBatch(
            values=np.stack([self.raster.values[:, y, x] for y, x in places]),
            valid=np.stack([self.raster.valid[y, x] for y, x in places]),
        )


@dataclass(frozen=True, kw_only=True)
class LoadedSeries:
    """An input with dates: `LoadedInput`.

    Attributes
    ----------
    footprint, extent
        As of `LoadedInput`.
    series
        Every date of the run over `extent`.
    times
        Of each.
    rule
        How they are chosen and placed.
    year_of
        The civil year whose dates a window may be given; None for any.
    """

    footprint: WindowFootprint
    extent: Extent
    series: Series
    times: tuple[np.datetime64, ...]
    rule: DatesRule
    year_of: Callable[[Extent], int | None] = lambda window: None

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """Pixels that some date measured."""
        return np.asarray(measured(self.series.pixel_class).any(0))

    def choose(self, window: Extent) -> Choice:
        """The dates that ``window`` is given, chosen on its whole footprint; images and days are one selection."""
        y, x = self.footprint.cut(window).slices_in(self.extent)
        pixel_class = self._of_its_year(self.series.pixel_class[:, y, x], window)
        return Choice.of(choose(pixel_class, self.rule), pixel_class, times=self.times, rule=self.rule)

    def _of_its_year(self, pixel_class: NDArray[np.uint8], window: Extent) -> NDArray[np.uint8]:
        """``pixel_class`` with the dates of other years than the window's as if they had not been acquired."""
        year = self.year_of(window)
        others = [year not in (None, own) for own in self._years]
        if not any(others):
            return pixel_class
        return np.where(np.array(others)[:, None, None], np.uint8(PixelClass.NOT_ACQUIRED), pixel_class)

    @cached_property
    def _years(self) -> tuple[int, ...]:
        return tuple(civil_year(time) for time in self.times)

    def batch(self, windows: Sequence[Extent], choices: Sequence[Choice | None]) -> InputBatch:
        """Dates of each window, padded to their one length; an absent series is one date that measured nothing."""
        chosen = [choice for choice in choices if choice is not None]
        shape = (len(windows), chosen[0].length)
        pixels = self.footprint.cut(windows[0]).shape
        values = self.series.values
        batch = InputBatch(
            values=np.zeros((*shape, values.shape[1], *pixels), np.float32 if self.rule.composite else values.dtype),
            valid=np.zeros((*shape, *pixels), np.bool_),
            days=np.zeros(shape, np.float32),
            present=np.zeros(shape, np.bool_),
        )
        for place, (window, choice) in enumerate(zip(windows, chosen, strict=True)):
            y, x = self.footprint.cut(window).slices_in(self.extent)
            part = Series(values=values[..., y, x], pixel_class=self.series.pixel_class[:, y, x])
            fill_window(batch, place, part, choice)
        return batch


@dataclass(frozen=True, kw_only=True)
class Chosen:
    """What one window is given of every input: its ``choices`` by name, and which of those series are ``filtered``."""

    choices: Mapping[str, Choice | None]
    filtered: frozenset[str]

    @property
    def lengths(self) -> tuple[int, ...]:
        """Length of each series: windows of one batch share them."""
        return tuple(choice.length for choice in self.choices.values() if choice is not None)

    @property
    def date_fallback(self) -> DateFallback:
        """The lowest date_fallback that a filtered series had to go down to."""
        date_fallbacks = [
            choice.date_fallback
            for name, choice in self.choices.items()
            if choice is not None and name in self.filtered
        ]
        return max(date_fallbacks, default=DateFallback.PASSED)


@dataclass(frozen=True, kw_only=True)
class BlockInputs:
    """Every input of a block, read once.

    Attributes
    ----------
    held
        By name, in the order of the model.
    required
        Those without which a pixel is nodata.
    filtered
        Series whose dates are chosen by a filter.
    """

    held: Mapping[str, LoadedInput]
    required: frozenset[str]
    filtered: frozenset[str]

    def covered(self, extent: Extent) -> NDArray[np.bool_]:
        """Base pixels of ``extent`` whose centre lies on a measured pixel of every required input, bool ``(y, x)``."""
        covered = np.ones(extent.shape, np.bool_)
        for name, held in self.held.items():
            if name in self.required:
                covered &= _spread(held, extent)
        return covered

    def choose(self, window: Extent) -> Chosen:
        """What ``window`` is given."""
        choices = {name: held.choose(window) for name, held in self.held.items()}
        return Chosen(choices=choices, filtered=self.filtered)

    def batch(self, windows: Sequence[Extent], chosen: Sequence[Chosen]) -> dict[str, InputBatch]:
        """Windows for which series of the same lengths were chosen, as the predictor takes them."""
        return {name: held.batch(windows, [each.choices[name] for each in chosen]) for name, held in self.held.items()}


def _spread(held: LoadedInput, extent: Extent) -> NDArray[np.bool_]:
    """What is seen at the centre of each base pixel of ``extent``."""
    rows = [row - held.extent.y.start for row in extent.y.holders(held.footprint.pixel)]
    columns = [column - held.extent.x.start for column in extent.x.holders(held.footprint.pixel)]
    return held.seen.take(rows, 0).take(columns, 1)
