"""The inputs of a map: what of which source each window is given.

::

    base pixels      |<------ window ------>|
    nested           [    |    |    |    |   ]          whole pixels of the input, the window's own ground
    centred      [   |   |   |   |   |   |   |   ]      pixels of its own grid around the window's centre
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property
from typing import Any, Protocol

import numpy as np

from landweave.core.errors import ConfigError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent, WindowFootprint
from landweave.core.protocols import Raster, RasterSource, ReadCost, Series, SeriesSource
from landweave.core.timeseries import DatesRule, civil_year
from landweave.mapping.loaded_inputs import LoadedRaster, LoadedSeries


@dataclass(frozen=True, kw_only=True)
class MapInput:
    """One input of the model without dates: which bands of which source, on which pixels.

    Attributes
    ----------
    source
        Where the pixels come from.
    bands
        In the order the model wants.
    factor
        Base pixels a side of one pixel of this input.
    required
        Whether ground without it is nodata.
    size
        Pixels a side of a centred footprint, on a grid of its own from the same anchor; None for a nested one.
    """

    source: RasterSource
    bands: tuple[str, ...]
    factor: int | Fraction = 1
    required: bool = True
    size: int | None = None

    @property
    def footprint(self) -> WindowFootprint:
        """Its ground around a window."""
        return WindowFootprint(pixel=self.factor, size=self.size)

    def read(self, grid: Grid) -> Raster:
        """Pixels over the ground of ``grid`` (base pixels), snapped outwards to whole pixels of this input."""
        return self.source.read(own_pixels(self, grid), self.bands)

    def cost(self, grid: Grid) -> ReadCost:
        """What reading ``grid`` (pixels of this input) will cost."""
        return self.source.cost(grid)

    def hold(self, grid: Grid, base: Grid) -> LoadedRaster:
        """Pixels of ``grid`` (pixels of this input), ready to be cut for windows of ``base`` pixels."""
        return LoadedRaster(footprint=self.footprint, extent=grid.extent, raster=self.source.read(grid, self.bands))


class YearByGround(Protocol):
    """Civil years that differ over the ground, as aerial campaigns do. Picklable."""

    @property
    def years(self) -> tuple[int, ...]:
        """All of them."""

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """What the fingerprint holds; plain JSON values."""

    def year_of(self, grid: Grid) -> int:
        """The year of the ground of ``grid``."""


@dataclass(frozen=True, kw_only=True)
class MapSeries:
    """One input of the model with dates. Otherwise as `MapInput`.

    Attributes
    ----------
    source
        Where the dates come from.
    bands, factor, size
        As of a `MapInput`.
    required
        Whether ground that no date of the run measured is nodata. A window whose own dates come to nothing is fed as
        absent either way.
    dates
        Which dates a window is given, and how their place in the year is told.
    year
        The civil year (UTC) whose dates are used, of every window or of each by its ground; all dates when not given.

    Raises
    ------
    ConfigError
        When the dates span several years: positions begin anew each January.
    """

    source: SeriesSource
    bands: tuple[str, ...]
    factor: int | Fraction = 1
    required: bool = True
    size: int | None = None
    dates: DatesRule = field(default_factory=DatesRule)
    year: int | YearByGround | None = None

    def __post_init__(self) -> None:
        years = sorted({civil_year(self.source.observations[index].time) for index in self.indices})
        if len(years) > 1 and self.year is None:
            raise ConfigError(
                f"{self.source.modality} has dates of {len(years)} years, {years[0]} to {years[-1]}, but the place of "
                f"a date is counted within its own year: choose one with `year`, that of the aerial images."
            )

    @property
    def footprint(self) -> WindowFootprint:
        """Its ground around a window."""
        return WindowFootprint(pixel=self.factor, size=self.size)

    @property
    def is_filtered(self) -> bool:
        """Whether dates are chosen window by window, so that the date_fallback is worth keeping."""
        return self.dates.filter is not None

    @cached_property
    def indices(self) -> tuple[int, ...]:
        """Dates that are read, as indices of the source's."""
        every = tuple(enumerate(self.source.observations))
        if self.year is None:
            return tuple(place for place, _ in every)
        years = (self.year,) if isinstance(self.year, int) else self.year.years
        return tuple(place for place, observation in every if civil_year(observation.time) in years)

    @property
    def years_without_dates(self) -> tuple[int, ...]:
        """Of the years that the ground tells, those that no date is of."""
        if self.year is None or isinstance(self.year, int):
            return ()
        there = {civil_year(self.source.observations[index].time) for index in self.indices}
        return tuple(year for year in self.year.years if year not in there)

    def year_of(self, grid: Grid) -> int | None:
        """The year whose dates a window on ``grid`` is given; None for any."""
        return self.year if self.year is None or isinstance(self.year, int) else self.year.year_of(grid)

    def cost(self, grid: Grid) -> ReadCost:
        """What reading ``grid`` (pixels of this input) will cost: the share of the dates that are read."""
        cost, share = self.source.cost(grid), Fraction(len(self.indices), max(len(self.source.observations), 1))
        decoded = {name: int(pixels * share) for name, pixels in cost.decoded_pixels.items()}
        return ReadCost(bytes=int(cost.bytes * share), decoded_pixels=decoded)

    def hold(self, grid: Grid, base: Grid) -> LoadedSeries:
        """Every date that is read over ``grid`` (pixels of this input), to be chosen from for windows of ``base``."""
        return LoadedSeries(
            footprint=self.footprint,
            extent=grid.extent,
            series=self._read(grid),
            times=tuple(self.source.observations[index].time for index in self.indices),
            rule=self.dates,
            year_of=lambda window: self.year_of(base.with_extent(window)),
        )

    def _read(self, grid: Grid) -> Series:
        if self.indices:
            return self.source.read(grid, self.bands, self.indices)
        return Series(
            values=np.zeros((0, len(self.bands), *grid.shape), self.source.dtype),
            pixel_class=np.zeros((0, *grid.shape), np.uint8),
        )


AnyInput = MapInput | MapSeries


def own_pixels(item: AnyInput, grid: Grid, extent: Extent | None = None) -> Grid:
    """The grid of ``item`` beside the base pixels of ``grid``, over its ground or over ``extent`` of its own pixels."""
    extent = grid.extent.coarsen(item.factor) if extent is None else extent
    return replace(grid, resolution=grid.resolution * item.factor, extent=extent)


def filtered_series(inputs: Mapping[str, AnyInput]) -> frozenset[str]:
    """Names of the series whose dates are chosen by a filter: a map of any has the layer ``date_fallback``."""
    return frozenset(name for name, item in inputs.items() if isinstance(item, MapSeries) and item.is_filtered)
