"""From the inputs of a configuration to what windows are fed: sources opened, compared with the card, not read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import numpy as np
import shapely

from landweave.config.schema import CubeInput, InputSection
from landweave.core.crs import exchanged_bounds
from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Bounds, Grid
from landweave.core.lattice import Extent
from landweave.core.polygons import overlap
from landweave.core.protocols import SeriesSource, has_dates
from landweave.core.timeseries import DatesRule
from landweave.core.words import counted
from landweave.formats.area import PolygonArea, Polygons
from landweave.formats.campaigns import Campaigns
from landweave.mapping.inputs import MapInput
from landweave.models.cards.card import ModelCard, check_inputs
from landweave.models.cards.trained_values import TrainedValues
from landweave.setup.aligned_rasters import compare_with_files
from landweave.setup.context import AnySource, SetupContext
from landweave.setup.series_inputs import check_series, date_range
from landweave.sources.mosaic.elevation import ElevationSource
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.patches.superarea import SuperareaSeries
from landweave.sources.resampling.kernels import PASTE_PX
from landweave.sources.stac.series import StacSeries
from landweave.store.cubes.sources import CubeRaster, CubeSeries


def open_inputs(context: SetupContext, card: ModelCard) -> tuple[Grid, dict[str, MapInput], PolygonArea | None]:
    """The inputs that the card reads, each from the cube where it is aligned and from its files otherwise.

    Parameters
    ----------
    context
        Pixels and area, and what opens sources.
    card
        Contract of the model.

    Returns
    -------
    grid
        Base pixels over the area, or over the imagery; not yet snapped to blocks.
    inputs
        By modality, in the order of the card.
    ground
        What the imagery covers, where there is no area.

    Raises
    ------
    LandweaveError
        When the inputs do not fit the card (all mismatches in one message), cannot be opened or share no ground.
    """
    sections = context.config.inputs
    refuse_unused(card, sections)
    sources = find_stored(context, sections)
    offered = {name: source.bands for name, source in sources.items()}
    wanted = {name: section.own_bands or card.inputs[name].names for name, section in sections.items()}
    check_inputs(card, {**wanted, **offered})
    images = open_imagery(context, card, sources)
    sources = {**images, **_compared(context, sources)}
    grid = _map_grid(context, card, images or sources)
    ground = covered_ground(context.pixels, card, images) if context.area is None and images else None
    sources |= _search_catalogs(context, sources, grid.with_extent(grid.extent.grow(2 * card.window.size)))
    check_series(card, sources, {name: section.stated("quantity") for name, section in sections.items()})
    inputs = {name: _map_input(context, card, name, sources[name]) for name in card.inputs if name in sources}
    return grid, inputs, ground


def refuse_unused(card: ModelCard, sections: Mapping[str, InputSection]) -> None:
    """Refuse inputs that the model does not read."""
    if unknown := sorted(set(sections) - set(card.inputs)):
        raise ConfigError(
            f"Model {card.name} has no use for inputs.{', inputs.'.join(unknown)}: it reads {', '.join(card.inputs)}. "
            f"Correct the name, or leave it out."
        )


def find_stored(context: SetupContext, sections: Mapping[str, InputSection]) -> dict[str, AnySource]:
    """The inputs that a cube holds, by modality; those that are read straight from their files are left out."""
    found = {name: context.find_stored(name, section) for name, section in sections.items()}
    return {name: source for name, source in found.items() if source is not None}


def _compared(context: SetupContext, stored: Mapping[str, AnySource]) -> dict[str, AnySource]:
    """The inputs that a cube holds, rasters of the configuration's own cube beside their files."""
    sections = context.config.inputs
    return {
        name: compare_with_files(context, name, sections[name], source)
        if isinstance(source, CubeRaster) and not isinstance(sections[name], CubeInput)
        else source
        for name, source in stored.items()
    }


def open_rasters(context: SetupContext, card: ModelCard, stored: Mapping[str, AnySource]) -> dict[str, AnySource]:
    """The inputs without dates that no cube holds, opened from their files.

    Parameters
    ----------
    context
        Pixels and area, and what opens sources.
    card
        Contract of the model.
    stored
        Inputs that a cube holds.
    """
    # Products that do not lie on each other are refused where the area needs them.
    base = context.pixels.with_extent(context.pixels.covering(context.area.bounds)) if context.area else context.pixels
    opened = {}
    for name, section in context.config.inputs.items():
        if name in stored or section.has_dates:
            continue
        factor = card.inputs[name].pixel / card.base_pixel
        if factor.denominator != 1:
            raise ConfigError(f"Pixels of {name} are {factor} base pixels, not a whole number.")
        grid = context.input_pixels(name, section).with_extent(base.extent.coarsen(factor))
        opened[name] = context.open(name, section, grid)
    return opened


def open_imagery(context: SetupContext, card: ModelCard, stored: Mapping[str, AnySource]) -> dict[str, AnySource]:
    """The inputs without dates, each from where it lies: without an area they say where the map is.

    A cube keeps a margin around the imagery, so the extent of what was aligned is read from its files as before.

    Parameters
    ----------
    context
        Pixels and area, and what opens sources.
    card
        Contract of the model.
    stored
        Inputs that a cube holds.
    """
    if context.area is None:
        sections = context.config.inputs
        stored = {name: source for name, source in stored.items() if isinstance(sections[name], CubeInput)}
    return {**imagery(stored), **open_rasters(context, card, stored)}


def covered_ground(pixels: Grid, card: ModelCard, sources: Mapping[str, AnySource]) -> PolygonArea:
    """Ground that every required input covers, in whole base pixels, empty ground between far tiles left out.

    Parameters
    ----------
    pixels
        Base pixels; the extent means nothing.
    card
        Which inputs are required.
    sources
        Inputs that say where the map lies.

    Raises
    ------
    InputError
        When they share no ground.
    """
    extent = shared_extent(pixels, card, sources)
    ground: shapely.Geometry = shapely.box(*pixels.with_extent(extent).bounds)
    for name, source in sources.items():
        if card.inputs[name].required and isinstance(source, MosaicSource | ElevationSource):
            ground = overlap(ground, source.footprint(pixels))
    if not isinstance(ground, Polygons) or ground.is_empty:
        raise InputError(f"The required inputs share no ground: no tile of {' and '.join(sources)} lies on another.")
    return PolygonArea(ground)


def imagery(sources: Mapping[str, AnySource]) -> dict[str, AnySource]:
    """The sources without dates."""
    return {name: source for name, source in sources.items() if not has_dates(source)}


def shared_extent(pixels: Grid, card: ModelCard, sources: Mapping[str, AnySource]) -> Extent:
    """Pixels inside the bounds of every required input.

    Parameters
    ----------
    pixels
        Base pixels; the extent means nothing.
    card
        Which inputs are required.
    sources
        Inputs that say where the map lies.

    Raises
    ------
    ConfigError
        When there is none.
    InputError
        When a required one is empty, or they share no ground.
    """
    if not sources:
        raise ConfigError("There is no area and no imagery: state the area, as area: {bounds: …}.")
    bounds = {name: source.bounds(pixels) for name, source in sources.items()}
    extent: Extent | None = None
    for name, box in bounds.items():
        if card.inputs[name].required:
            if box is None:
                raise InputError(f"{name} has no tile.")
            covered = pixels.covering(_inner(box, pixels))
            extent = covered if extent is None else extent.intersect(covered)
    if extent is None or not extent.size:
        listed = "; ".join(f"{name} covers {_rounded(box)}" for name, box in bounds.items())
        raise InputError(f"The required inputs share no ground: {listed}")
    return extent


def _inner(box: Bounds, pixels: Grid) -> Bounds:
    """Bounds without the share of a pixel by which tiles may lie off the grid, or a float beside its exact value."""
    off = min(PASTE_PX * float(pixels.resolution), (box[2] - box[0]) / 4, (box[3] - box[1]) / 4)
    return box[0] + off, box[1] + off, box[2] - off, box[3] - off


def _map_grid(context: SetupContext, card: ModelCard, sources: Mapping[str, AnySource]) -> Grid:
    """Base pixels over the area, or over the imagery where there is no area."""
    pixels, images = context.pixels, imagery(sources)
    if context.area is None:
        return pixels.with_extent(shared_extent(pixels, card, images or sources))
    grid = pixels.with_extent(pixels.covering(context.area.bounds))
    for name, source in images.items():
        own = context.input_pixels(name, context.config.inputs[name])
        factor = own.resolution / pixels.resolution
        box = source.bounds(grid)  # a polygon may pass around them
        touched = box and context.area.geometry.intersects(PolygonArea.of_bounds(box).geometry)
        files = touched and source.files(own.with_extent(grid.extent.coarsen(factor)))
        if card.inputs[name].required and not files:
            raise InputError(
                f"No tile of {name} touches the area: the area lies in {_rounded(grid.bounds)}, the tiles in "
                f"{_rounded(box)}, both in {grid.crs[:40]}. Correct one of them"
                f"{_exchanged_hint(grid, box)}."
            )
    return grid


def _exchanged_hint(grid: Grid, box: Bounds | None) -> str:
    """Where an outline would touch the tiles with its longitudes and latitudes exchanged."""
    x0, y0, x1, y1 = exchanged_bounds(grid.crs, grid.bounds)
    touches = box and x0 <= box[2] and box[0] <= x1 and y0 <= box[3] and box[1] <= y1
    return ": the area's longitudes and latitudes are exchanged, GeoJSON has [longitude, latitude]" if touches else ""


def _search_catalogs(context: SetupContext, stored: Mapping[str, AnySource], searched: Grid) -> dict[str, AnySource]:
    """Series that no cube holds, straight from their catalogs, over the ground of ``searched``."""
    opened = {}
    for name, section in context.config.inputs.items():
        if section.has_dates and name not in stored:
            pixels = context.input_pixels(name, section)
            opened[name] = context.open(name, section, pixels.with_extent(pixels.covering(searched.bounds)))
    return opened


def map_input(card: ModelCard, name: str, source: AnySource, year: int | Campaigns | None) -> MapInput:
    """How windows are fed an input: the bands, pixels and dates of the card, the year of the caller.

    Parameters
    ----------
    card
        Contract of the model.
    name
        Modality of the input.
    source
        Its pixels.
    year
        Of a series, the civil year of its dates, or the campaigns that give it; None for all dates.
    """
    spec = card.inputs[name]
    return MapInput(
        source=source,
        bands=spec.names,
        factor=spec.pixel / card.base_pixel,
        required=spec.required,
        size=spec.centred_size,
        phase_yx=source.phase_yx if isinstance(source, SuperareaSeries) else (0, 0),
        dates=spec.dates or DatesRule(),
        year=year,
        trained=TrainedValues.of(name, spec, source.quantity if has_dates(source) else ""),
    )


def _map_input(context: SetupContext, card: ModelCard, name: str, source: AnySource) -> MapInput:
    """The input of the year that the configuration states, once it is sure to have dates then."""
    section = context.config.inputs[name]
    year = context.campaign_years(section.stated("year"))
    item = replace(map_input(card, name, _of_years(source, year), year), accept_range=section.accept_range)
    if has_dates(source) and not item.indices:
        raise InputError(_why_dateless(name, source, ", ".join(map(str, _years(year)))))
    return item


def _why_dateless(name: str, series: SeriesSource, years: str) -> str:
    if not years:
        return f"{name} has no date: run `landweave align`."
    return f"{name} has no date in {years}: its {counted(len(series.observations), 'date', 'is')} {date_range(series)}."


def _years(year: int | Campaigns | None) -> tuple[int, ...]:
    return () if year is None else (year,) if isinstance(year, int) else year.years


def _of_years(source: AnySource, year: int | Campaigns | None) -> AnySource:
    """``source`` without the dates of other years, which then are no part of the fingerprint."""
    years = _years(year)
    if not years or not isinstance(source, CubeSeries | StacSeries):
        return source
    return source.between(np.datetime64(f"{years[0]:04}-01-01"), np.datetime64(f"{years[-1]:04}-12-31"))


def _rounded(bounds: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Bounds to the centimetre."""
    return bounds and tuple(round(value, 2) for value in bounds)
