"""The inputs of a map: which bands of which source each window is given, on which pixels, and on which dates.

::

    base pixels      |<------ window ------>|
    nested           [    |    |    |    |   ]          whole pixels of the input, the footprint of the window
    centred      [   |   |   |   |   |   |   |   ]      pixels of a grid of its own around the centre of the window
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from functools import cached_property

import numpy as np

from landweave.core.errors import ConfigError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent, WindowFootprint
from landweave.core.protocols import RasterSource, ReadCost, Series, SeriesSource, has_dates
from landweave.core.timeseries import DatesRule, Observation, PixelClass, civil_year, is_number, measured
from landweave.formats.campaigns import Campaigns
from landweave.mapping.loaded_inputs import LoadedInput, LoadedRaster, LoadedSeries
from landweave.models.cards.trained_values import TrainedValues


@dataclass(frozen=True, kw_only=True)
class MapInput:
    """One input of the model, with dates or without.

    Attributes
    ----------
    source
        A `RasterSource`, or a `SeriesSource` for an input with dates.
    bands
        By name, in the order of the model.
    factor
        Base pixels a side of one pixel of this input.
    required
        Whether pixels without a measurement of this input (of a series: on any date) are nodata in the map. A window
        of a series none of whose dates can be used is fed as absent either way.
    size
        Pixels a side of a centred footprint, on a grid of its own from the same anchor; None for a nested one.
    phase_yx
        Of a centred footprint: as of `landweave.core.lattice.WindowFootprint`.
    dates
        Of a series: how the dates of a window are selected and how their day offsets are counted.
    year
        Of a series: the civil year (UTC) whose dates are used, for every window or by location; None for all dates.
    trained
        What its values were in training.
    accept_range
        Whether values far from those are fed all the same.

    Raises
    ------
    ConfigError
        When the dates span several years and no year is given: day offsets begin anew each January.
    """

    source: RasterSource | SeriesSource
    bands: tuple[str, ...]
    factor: int | Fraction = 1
    required: bool = True
    size: int | None = None
    phase_yx: tuple[int | Fraction, int | Fraction] = (0, 0)
    dates: DatesRule = field(default_factory=DatesRule)
    year: int | Campaigns | None = None
    trained: TrainedValues = field(default_factory=TrainedValues)
    accept_range: bool = False

    def __post_init__(self) -> None:
        years = sorted(set(self._years))
        if len(years) > 1 and self.year is None:
            raise ConfigError(
                f"{self.source.modality} has dates of {len(years)} years, {years[0]} to {years[-1]}, but the place of "
                f"a date is counted within its own year: choose one with `year`, that of the aerial images."
            )

    @property
    def series(self) -> SeriesSource | None:
        """The source where it has dates."""
        return self.source if has_dates(self.source) else None

    @property
    def _observations(self) -> tuple[Observation, ...]:
        return self.series.observations if self.series else ()

    @property
    def footprint(self) -> WindowFootprint:
        """Its pixels around a window."""
        return WindowFootprint(pixel=self.factor, size=self.size, phase_yx=self.phase_yx)

    @cached_property
    def indices(self) -> tuple[int, ...]:
        """Dates that are read, as indices of ``observations`` of the source; none for a raster."""
        years = (self.year,) if isinstance(self.year, int) else self.year.years if self.year else None
        return tuple(
            index
            for index, observation in enumerate(self._observations)
            if years is None or civil_year(observation.time) in years
        )

    @property
    def _times(self) -> tuple[np.datetime64, ...]:
        observations = self._observations
        return tuple(observations[index].time for index in self.indices)

    @property
    def _years(self) -> tuple[int, ...]:
        return tuple(map(civil_year, self._times))

    @property
    def years_without_dates(self) -> tuple[int, ...]:
        """Years by location that none of the dates is of."""
        years = () if self.year is None or isinstance(self.year, int) else self.year.years
        return tuple(year for year in years if year not in self._years)

    def year_of(self, grid: Grid) -> int | None:
        """The year whose dates a window on ``grid`` is given; None for any."""
        return self.year if self.year is None or isinstance(self.year, int) else self.year.year_of(grid)

    def cost(self, grid: Grid) -> ReadCost:
        """Cost of reading ``grid`` (pixels of this input): of a series, the share of the dates that are read."""
        share = Fraction(len(self.indices), max(len(self.series.observations), 1)) if self.series else 1
        return self.source.cost(grid) * share

    def load(self, grid: Grid, base: Grid) -> LoadedInput:
        """The input in memory, to be cut window by window.

        Parameters
        ----------
        grid
            Pixels of this input to read; of a series on every date that is used.
        base
            Base pixels that windows are counted in.
        """
        if not has_dates(self.source):
            raster = self.source.read(grid, self.bands)
            raster = replace(raster, valid=raster.valid & is_number(raster.values).all(0))
            return LoadedRaster(footprint=self.footprint, extent=grid.extent, raster=raster)
        return LoadedSeries(
            footprint=self.footprint,
            extent=grid.extent,
            series=_numbers(self.source.read(grid, self.bands, self.indices)) if self.indices else self._no_dates(grid),
            times=self._times,
            rule=self.dates,
            year_of=lambda window: self.year_of(base.with_extent(window)),
        )

    def _no_dates(self, grid: Grid) -> Series:
        return Series(
            values=np.zeros((0, len(self.bands), *grid.shape), self.source.dtype),
            pixel_class=np.zeros((0, *grid.shape), np.uint8),
        )


def _numbers(series: Series) -> Series:
    """``series`` with the class nodata where a band is no number: of a cube that was edited, for one."""
    if series.values.dtype.kind != "f":
        return series
    lost = measured(series.pixel_class) & ~is_number(series.values).all(1)
    return replace(series, pixel_class=np.where(lost, np.uint8(PixelClass.NODATA), series.pixel_class))


def own_pixels(item: MapInput, grid: Grid, extent: Extent | None = None) -> Grid:
    """The grid of an input beside the base pixels of ``grid``.

    Parameters
    ----------
    item
        The input.
    grid
        Base pixels.
    extent
        In pixels of the input; those that cover ``grid`` by default.
    """
    extent = grid.extent.coarsen(item.factor) if extent is None else extent
    return replace(grid, resolution=grid.resolution * item.factor, extent=extent)


def filtered_series(inputs: Mapping[str, MapInput]) -> frozenset[str]:
    """Names of the series whose dates are filtered: a map of any of them has the layer ``date_fallback``."""
    return frozenset(name for name, item in inputs.items() if item.series and item.dates.filter)
