"""The inputs of one block in memory, read once and cut window by window; dates are chosen window by window too."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from landweave.lattice import Extent, Footprint
from landweave.ports import InputBatch, Raster, Series
from landweave.steps.map_dates import Choice, fill_window
from landweave.timeseries import DatesRule, PixelState, Rung, choose, civil_year, measured


class Held(Protocol):
    """One input over the ground of a block, in memory."""

    @property
    def footprint(self) -> Footprint:
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
class HeldRaster:
    """An input without dates: `Held`."""

    footprint: Footprint
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
class HeldSeries:
    """An input with dates: `Held`.

    Attributes
    ----------
    footprint, extent
        As of `Held`.
    series
        Every date of the run over `extent`.
    times
        Of each.
    rule
        How they are chosen and placed.
    year_of
        The civil year whose dates a window may be given; None for any.
    """

    footprint: Footprint
    extent: Extent
    series: Series
    times: tuple[np.datetime64, ...]
    rule: DatesRule
    year_of: Callable[[Extent], int | None] = lambda window: None

    @cached_property
    def seen(self) -> NDArray[np.bool_]:
        """Pixels that some date measured."""
        return np.asarray(measured(self.series.state).any(0))

    def choose(self, window: Extent) -> Choice:
        """The dates that ``window`` is given, chosen on its whole footprint; images and days are one selection."""
        y, x = self.footprint.cut(window).slices_in(self.extent)
        state = self._of_its_year(self.series.state[:, y, x], window)
        return Choice.of(choose(state, self.rule), state, times=self.times, rule=self.rule)

    def _of_its_year(self, state: NDArray[np.uint8], window: Extent) -> NDArray[np.uint8]:
        """``state`` with the dates of other years than the window's as if they had not been acquired."""
        year = self.year_of(window)
        others = [year not in (None, own) for own in self._years]
        if not any(others):
            return state
        return np.where(np.array(others)[:, None, None], np.uint8(PixelState.NOT_ACQUIRED), state)

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
            part = Series(values=values[..., y, x], state=self.series.state[:, y, x])
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
    def rung(self) -> Rung:
        """The lowest rung that a filtered series had to go down to."""
        rungs = [choice.rung for name, choice in self.choices.items() if choice is not None and name in self.filtered]
        return max(rungs, default=Rung.PASSED)


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

    held: Mapping[str, Held]
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


def _spread(held: Held, extent: Extent) -> NDArray[np.bool_]:
    """What is seen at the centre of each base pixel of ``extent``."""
    rows = [row - held.extent.y.start for row in extent.y.holders(held.footprint.pixel)]
    columns = [column - held.extent.x.start for column in extent.x.holders(held.footprint.pixel)]
    return held.seen.take(rows, 0).take(columns, 1)
