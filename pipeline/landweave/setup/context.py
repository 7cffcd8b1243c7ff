"""Where a map lies and what it is made from: the card, the grid, the area and the opened sources of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from typing import TypeVar

import numpy as np

from landweave.config.schema import (
    CampaignYear,
    CubeConfig,
    CubeInput,
    ElevationInput,
    Input,
    ModelSection,
    MosaicInput,
    StacInput,
)
from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Grid, exact, metric_crs
from landweave.core.lattice import Extent
from landweave.core.protocols import RasterSource, SeriesSource
from landweave.core.timeseries import DatesRule
from landweave.formats.area import PolygonArea
from landweave.formats.campaigns import Campaigns, read_campaigns
from landweave.formats.vector import read_area
from landweave.mapping.inputs import MapInput, own_pixels
from landweave.models.cards.card import ModelCard, check_inputs
from landweave.models.cards.inputs import HeightCoding, InputSpec
from landweave.models.cards.registry import find_card
from landweave.models.networks.position_tables import with_resized_tables
from landweave.setup.mosaic_inputs import mosaic_spec, open_source
from landweave.setup.series_inputs import Wanted, check_series, find_group, offered_bands, open_dates, open_group
from landweave.sources.mosaic.alignment import native_grid
from landweave.sources.mosaic.elevation import BANDS as ELEVATION_BANDS
from landweave.sources.mosaic.tile_index import index_tiles
from landweave.sources.stac.series import StacSeries
from landweave.store.cubes.sources import CubeRaster, CubeSeries

S = TypeVar("S", bound=CubeSeries | CubeRaster)

PIXEL_TOLERANCE = Fraction(1, 100)
"""How far the pixels fed to a model may be from those of its card without a word from the user."""


class SetupContext:
    """The ground of one configuration; each part is resolved once, when it is first needed."""

    def __init__(self, config: CubeConfig, model: ModelSection) -> None:
        self.config = config
        self.model = model

    @cached_property
    def card(self) -> ModelCard:
        """The model's contract, with the codings the user states and the liberties they take."""
        card = self._published
        if self.model.resize_tables:
            card = with_resized_tables(card)
        coding = self.model.coding
        if coding is None:
            return card
        return card.with_coding(coding if coding == "delivered" else HeightCoding(**coding.model_dump()))

    @cached_property
    def _published(self) -> ModelCard:
        """The card; of a model without fine inputs on their pixels, unless the grid asks for its own finer ones."""
        name = self.model.card
        card = find_card(self.config.path(name) if name.endswith((".yaml", ".yml")) else name)
        asked = self.config.grid.resolution
        is_coarse = card.input_pixel > card.base_pixel
        return card.on_input_pixels() if is_coarse and (asked is None or exact(asked) == card.input_pixel) else card

    @cached_property
    def grid(self) -> Grid:
        """Base pixels; its extent is the imagery's or the area's, not yet snapped to blocks."""
        if self.area is None:
            return self.pixels.with_extent(self._imagery)
        grid = self.pixels.with_extent(self.pixels.covering(self.area.bounds))
        for name, item in self.images.items():
            if item.required and not item.source.files(own_pixels(item, grid)):
                raise InputError(
                    f"No tile of {name} touches the area: the area lies in {_rounded(grid.bounds)}, the tiles in "
                    f"{_rounded(item.source.bounds(grid))}, both in {grid.crs[:40]}. Correct one of them."
                )
        return grid

    @cached_property
    def pixels(self) -> Grid:
        """Base pixels without an extent that means anything."""
        section = self.config.grid
        if section.own:
            grid = self._own_grid(section.own)
        else:
            grid = Grid(
                crs=metric_crs(section.crs),
                resolution=exact(section.resolution or self.model.pixel or self.card.base_pixel),
                extent=Extent.of((0, 1), (0, 1)),
                anchor_xy=(exact(section.anchor[0]), exact(section.anchor[1])),
            )
        wanted = exact(self.model.pixel or self.card.base_pixel)
        if abs(grid.resolution / wanted - 1) > PIXEL_TOLERANCE:
            raise ConfigError(
                f"The grid has pixels of {float(grid.resolution):g} m, the model is fed {float(wanted):g} m: leave out "
                f"grid.resolution (output.resolution makes the map coarser), or set model.pixel to "
                f"{float(grid.resolution):g} to feed it such pixels all the same."
            )
        return grid

    def _own_grid(self, modality: str) -> Grid:
        section = self.config.inputs.get(modality)
        if not isinstance(section, MosaicInput):
            raise ConfigError(f"grid.own names {modality!r}, which is no mosaic among the inputs.")
        native = native_grid(index_tiles(mosaic_spec(modality, section, self.config)))
        if native.grid is None:
            raise ConfigError(
                f"{modality} has no grid of its own: {native.reason}. State grid.crs instead of grid.own."
            )
        metric_crs(native.grid.crs)
        return native.grid

    @cached_property
    def sources(self) -> Mapping[str, RasterSource]:
        """Every input without dates that the card knows, opened on its own pixels."""
        self._check_inputs()
        # Products that do not lie on each other are refused where the area needs them.
        ground = self.pixels.with_extent(self.pixels.covering(self.area.bounds)) if self.area else self.pixels
        stored = {name: each for name, each in self._stored.items() if isinstance(each, CubeRaster)}
        files = {
            name: self._open_image(name, section, ground)
            for name, section in self.config.inputs.items()
            if isinstance(section, MosaicInput | ElevationInput)
        }
        return {**stored, **files}

    @cached_property
    def _stored(self) -> Mapping[str, CubeSeries | CubeRaster]:
        """Inputs of kind cube."""
        sections = self.config.inputs.items()
        return {
            name: self._fitting(name, open_group(name, section, self.config))
            for name, section in sections
            if isinstance(section, CubeInput)
        }

    def _fitting(self, name: str, stored: S) -> S:
        """``stored``, once its pixels are sure to be those that the model is fed."""
        if name in self.card.inputs:  # what the model has no use for is refused by its name
            stored.own_extent(self._own_pixels(name))
        return stored

    def _own_pixels(self, name: str) -> Grid:
        return replace(self.pixels, resolution=self.pixels.resolution * self._factor(name))

    def _open_image(self, name: str, section: MosaicInput | ElevationInput, ground: Grid) -> RasterSource:
        aligned = find_group(self.config, name) if section.align else None
        if isinstance(aligned, CubeRaster):
            return self._fitting(name, aligned)
        factor = self._factor(name)
        if factor.denominator != 1:
            raise ConfigError(f"Pixels of {name} are {factor} base pixels, not a whole number.")
        return open_source(name, section, self.config, ground.coarsen(int(factor)))

    def _check_inputs(self) -> None:
        sections = self.config.inputs
        if unknown := sorted(set(sections) - set(self.card.inputs)):
            raise ConfigError(f"Model {self.card.name} has no use for {', '.join(unknown)}: leave them out.")
        check_inputs(
            self.card,
            {name: self._offered(name, section, self.card.inputs[name]) for name, section in sections.items()},
        )

    def _offered(self, name: str, section: Input, spec: InputSpec) -> tuple[str, ...]:
        if isinstance(section, MosaicInput):
            return tuple(section.bands)
        if isinstance(section, ElevationInput):
            return ELEVATION_BANDS
        return offered_bands(name, section, self.config, spec)

    def _factor(self, modality: str) -> Fraction:
        return self.card.inputs[modality].pixel / self.card.base_pixel

    @cached_property
    def images(self) -> Mapping[str, MapInput]:
        """What a block reads of the inputs without dates."""
        return {
            name: MapInput(
                source=source,
                bands=self.card.inputs[name].names,
                factor=self._factor(name),
                required=self.card.inputs[name].required,
                size=self.card.inputs[name].centred_size,
            )
            for name, source in self.sources.items()
        }

    @cached_property
    def series(self) -> Mapping[str, MapInput]:
        """What a block reads of the inputs with dates."""
        sections = {
            name: section
            for name, section in self.config.inputs.items()
            if isinstance(section, StacInput) or isinstance(self._stored.get(name), CubeSeries)
        }
        opened = {name: self._open_series(name, section) for name, section in sections.items()}
        check_series(
            self.card, opened, {name: getattr(section, "quantity", None) for name, section in sections.items()}
        )
        return {name: self._series(name, section, opened[name]) for name, section in sections.items()}

    def _open_series(self, name: str, section: Input) -> SeriesSource:
        stored = self._stored.get(name)
        if isinstance(stored, CubeSeries):
            return stored
        assert isinstance(section, StacInput)
        spec = self.card.inputs[name]
        own = self._own_pixels(name)
        wanted = Wanted(
            bands=spec.names, grid=own.with_extent(own.covering(self._searched.bounds)), quantity=spec.quantity
        )
        found = open_dates(name, section, self.config, wanted)
        return self._fitting(name, found) if isinstance(found, CubeSeries) else found

    @cached_property
    def _searched(self) -> Grid:
        """Ground in which dates are looked for: the area, or the imagery, and a window's reach around it."""
        if self.area is None and not self.images:
            raise ConfigError("There is no area and no imagery: say where the map is to be, as area: {bounds: …}.")
        return self.grid.with_extent(self.grid.extent.grow(2 * self.card.window.size))

    def _series(self, name: str, section: Input, source: SeriesSource) -> MapInput:
        spec = self.card.inputs[name]
        assert isinstance(section, StacInput | CubeInput)
        year = self._year(section.year)
        found = MapInput(
            source=_of_years(source, year),
            bands=spec.names,
            factor=self._factor(name),
            required=spec.required,
            size=spec.centred_size,
            dates=spec.dates or DatesRule(),
            year=year,
        )
        if not found.indices:
            told = year if year is None or isinstance(year, int) else ", ".join(map(str, year.years))
            raise InputError(
                f"{name} has no date in {told}: its {len(source.observations)} dates are {_told_dates(source)}."
            )
        return found

    def _year(self, asked: int | CampaignYear | None) -> int | Campaigns | None:
        if not isinstance(asked, CampaignYear):
            return asked
        path = self.config.path(asked.file)
        return read_campaigns(path, column=asked.column, layer=asked.layer, crs=self.pixels.crs)

    @cached_property
    def inputs(self) -> Mapping[str, MapInput]:
        """What a block reads, in the card's order."""
        every: dict[str, MapInput] = {**self.images, **self.series}
        return {name: every[name] for name in self.card.inputs if name in every}

    @cached_property
    def area(self) -> PolygonArea | None:
        """Ground to be written; None for all the imagery."""
        return configured_area(self.config, self.pixels.crs)

    @cached_property
    def _imagery(self) -> Extent:
        """Pixels inside the bounds of every required input."""
        grid = self.pixels
        extent: Extent | None = None
        every: Mapping[str, MapInput] = self.images or self.series
        for name, item in every.items():
            if item.required:
                bounds = item.source.bounds(grid)
                if bounds is None:
                    raise InputError(f"{name} has no tile.")
                covered = grid.covering(bounds)
                extent = covered if extent is None else extent.intersect(covered)
        if extent is None or not extent.size:
            raise InputError("The required inputs share no ground: " + self._told())
        return extent

    def _told(self) -> str:
        grid = self.pixels
        return "; ".join(f"{name} covers {_rounded(source.bounds(grid))}" for name, source in self.sources.items())


def configured_area(config: CubeConfig, crs: str) -> PolygonArea | None:
    """The area of a configuration in ``crs``; None where it has none."""
    section = config.area
    if section is None:
        return None
    if section.bounds is not None:
        return PolygonArea.of_bounds(section.bounds)
    return PolygonArea(read_area(config.path(str(section.file)), where=section.where, layer=section.layer, crs=crs))


def _of_years(source: SeriesSource, year: int | Campaigns | None) -> SeriesSource:
    """Without the dates of other years, which are then no part of the map's meaning and make no block stale."""
    if year is None or not isinstance(source, CubeSeries | StacSeries):
        return source
    years = (year,) if isinstance(year, int) else year.years
    return source.between(np.datetime64(f"{years[0]:04}-01-01"), np.datetime64(f"{years[-1]:04}-12-31"))


def _told_dates(source: SeriesSource) -> str:
    days = [str(observation.time.astype("datetime64[D]")) for observation in source.observations]
    return f"{days[0]} to {days[-1]}" if days else "none"


def _rounded(bounds: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Bounds as a person reads them, to the centimetre."""
    return bounds and tuple(round(value, 2) for value in bounds)
