"""From a configuration to the groups of its cube: which modalities are aligned, on which pixels, over which area."""

from __future__ import annotations

from landweave.aligning.groups import AlignGroup
from landweave.aligning.run import CubeSetup
from landweave.config.schema import CubeConfig, CubeSection, InputSection, StacInput
from landweave.core.errors import ConfigError
from landweave.core.grid import Grid
from landweave.formats.area import PolygonArea
from landweave.models.cards.card import ModelCard
from landweave.setup.context import SetupContext, cube_target, resolve_card, resolve_context
from landweave.setup.map_inputs import covered_ground, find_stored, open_imagery, refuse_unused
from landweave.setup.map_setup import engine_settings
from landweave.setup.outputs import check_places
from landweave.sources.stac.series import StacSeries
from landweave.store.objects import Target

ALIGN_THREADS = 1
"""Cores that a worker which only reads and writes is counted for."""


def set_up_cube(config: CubeConfig) -> CubeSetup:
    """Everything that `landweave.align` needs, resolved and checked; catalogs are searched, no pixel is read.

    Raises
    ------
    LandweaveError
        When there is no cube to align to, nothing to align, or nothing found.
    """
    cube = _cube_section(config)
    check_places(config)
    sections = {name: section for name, section in config.inputs.items() if section.is_aligned}
    if not sections:
        raise ConfigError("No input is to be aligned: those of kind stac are, and mosaics with align: true.")
    context, area = _context_and_area(config, cube)
    groups = tuple(_group(name, section, cube, context, area) for name, section in sections.items())
    engine = engine_settings(config.engine, ALIGN_THREADS)
    return CubeSetup(target=cube_target(config, cube), groups=groups, area=area, engine=engine)


def stored_cube(config: CubeConfig) -> Target:
    """Where the cube of a configuration is stored.

    Raises
    ------
    ConfigError
        When it names none.
    """
    return cube_target(config, _cube_section(config))


def open_scenes(config: CubeConfig, modality: str) -> StacSeries:
    """The series of one input of kind stac, straight from its catalog, over the area that `set_up_cube` aligns.

    Parameters
    ----------
    config
        The configuration.
    modality
        Name of the input.

    Raises
    ------
    ConfigError
        When there is no such input.
    """
    section = config.inputs.get(modality)
    if not isinstance(section, StacInput):
        known = [name for name, each in config.inputs.items() if isinstance(each, StacInput)]
        raise ConfigError(f"{modality!r} is no input of kind stac; these are: {', '.join(known) or 'none'}.")
    context, area = _context_and_area(config, _cube_section(config))
    return context.open_catalog(modality, section, _group_grid(modality, section, context, area))


def _cube_section(config: CubeConfig) -> CubeSection:
    if config.cube is None:
        raise ConfigError("There is no cube to align to: add cube: {store: cube.zarr} to the configuration.")
    return config.cube


def _context_and_area(config: CubeConfig, cube: CubeSection) -> tuple[SetupContext, PolygonArea]:
    """The context, and the area of the map with the margin of the cube around it."""
    card = resolve_card(config, config.model) if config.model else None
    context = resolve_context(config, card)
    area = context.area or _imagery_area(context, card)
    return context, area.grown(cube.margin_m)


def _imagery_area(context: SetupContext, card: ModelCard | None) -> PolygonArea:
    """All ground of the imagery; only a card says which imagery is required."""
    if card is None:
        raise ConfigError("There is no area and no imagery: state what to align, as area: {bounds: …}.")
    sections = context.config.inputs
    refuse_unused(card, sections)
    stored = find_stored(context, {name: section for name, section in sections.items() if not section.has_dates})
    return covered_ground(context.pixels, card, open_imagery(context, card, stored))


def _group_grid(name: str, section: InputSection, context: SetupContext, area: PolygonArea) -> Grid:
    pixels = context.input_pixels(name, section)
    return pixels.with_extent(pixels.covering(area.bounds))


def _group(name: str, section: InputSection, cube: CubeSection, context: SetupContext, area: PolygonArea) -> AlignGroup:
    """One modality, opened on its pixels over the area: the bands of a section first, those of the card otherwise."""
    grid, spec = _group_grid(name, section, context, area), context.spec(name)
    source = context.open(name, section, grid)
    fields = source.fingerprint_fields
    rules = {rule: fields[rule] for rule in ("resampling", "border")} if section.has_dates else {}
    if section.stated("stored_as") == "decibels":
        rules["stored_as"] = "decibels"
    return AlignGroup(
        modality=name,
        source=source,
        grid=grid,
        bands=spec.names if spec and not section.has_dates else source.bands,
        rules=rules,
        tile=cube.tile,
        chunk=cube.chunk,
        time_shard=cube.time_shard,
    )
