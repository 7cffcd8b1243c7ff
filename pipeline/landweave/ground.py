"""Where a map lies and what it is made from: the card, the grid, the area and the opened sources of a configuration."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from functools import cached_property

from landweave.config import Config, MosaicInput
from landweave.deliveries import mosaic_spec, open_source
from landweave.errors import ConfigError, InputError
from landweave.formats.area import PolygonArea
from landweave.formats.vector import read_area
from landweave.grid import Grid, canonical_crs, exact
from landweave.lattice import Extent
from landweave.models.card import ModelCard, check_inputs
from landweave.models.inputs import HeightCoding
from landweave.models.position_tables import with_resized_tables
from landweave.models.registry import find_card
from landweave.ports import Source
from landweave.sources.alignment import native_grid
from landweave.sources.footprints import index_tiles
from landweave.steps.map import MapInput

PIXEL_TOLERANCE = Fraction(1, 100)
"""How far the pixels fed to a model may be from those of its card without a word from the user."""


class Ground:
    """The ground of one configuration; each part is resolved once, when it is first needed."""

    def __init__(self, config: Config) -> None:
        self.config = config

    @cached_property
    def card(self) -> ModelCard:
        """The model's contract, with the codings the user states and the liberties they take."""
        card = find_card(self._card_name())
        if self.config.model.resize_tables:
            card = with_resized_tables(card)
        coding = self.config.model.coding
        if coding is None:
            return card
        return card.with_coding(coding if coding == "delivered" else HeightCoding(**coding.model_dump()))

    def _card_name(self) -> str:
        name = self.config.model.card
        return self.config.path(name) if name.endswith((".yaml", ".yml")) else name

    @cached_property
    def grid(self) -> Grid:
        """Base pixels; its extent is the imagery's or the area's, not yet snapped to blocks."""
        if self.area is None:
            return self.pixels.with_extent(self._imagery)
        grid = self.pixels.with_extent(self.pixels.covering(self.area.bounds))
        for name, item in self.inputs.items():
            if item.required and not item.source.scenes(grid.coarsen(item.factor)):
                raise InputError(
                    f"No tile of {name} touches the area: the area lies in {_rounded(grid.bounds)}, the tiles in "
                    f"{_rounded(item.source.footprint(grid))}, both in {grid.crs[:40]}. Correct one of them."
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
                crs=canonical_crs(section.crs),
                resolution=exact(section.resolution or self.config.model.pixel or self.card.base_pixel),
                extent=Extent.of((0, 1), (0, 1)),
                anchor_xy=(exact(section.anchor[0]), exact(section.anchor[1])),
            )
        wanted = exact(self.config.model.pixel or self.card.base_pixel)
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
        return native.grid

    @cached_property
    def sources(self) -> Mapping[str, Source]:
        """Every input that the card knows, opened on its own nested grid."""
        unknown = sorted(set(self.config.inputs) - set(self.card.inputs))
        # Products that do not lie on each other are refused where the area needs them.
        ground = self.pixels.with_extent(self.pixels.covering(self.area.bounds)) if self.area else self.pixels
        opened = {
            name: open_source(name, section, self.config, ground.coarsen(self._input_factor(name)))
            for name, section in self.config.inputs.items()
            if name not in unknown
        }
        check_inputs(self.card, {name: source.bands for name, source in opened.items()})
        if unknown:
            raise ConfigError(f"Model {self.card.name} has no use for {', '.join(unknown)}: leave them out.")
        return opened

    def _input_factor(self, modality: str) -> int:
        factor = self.card.inputs[modality].pixel / self.card.base_pixel
        if factor.denominator != 1:
            raise ConfigError(f"Pixels of {modality} are {factor} base pixels, not a whole number.")
        return int(factor)

    @cached_property
    def inputs(self) -> Mapping[str, MapInput]:
        """What a block reads."""
        return {
            name: MapInput(
                source=self.sources[name],
                bands=spec.names,
                factor=self._input_factor(name),
                required=spec.required,
            )
            for name, spec in self.card.inputs.items()
            if name in self.sources
        }

    @cached_property
    def area(self) -> PolygonArea | None:
        """Ground to be written; None for all the imagery."""
        section = self.config.area
        if section is None:
            return None
        crs = self.pixels.crs
        if section.bounds is not None:
            return PolygonArea.of_bounds(section.bounds)
        path = self.config.path(str(section.file))
        return PolygonArea(read_area(path, where=section.where, layer=section.layer, crs=crs))

    @cached_property
    def _imagery(self) -> Extent:
        """Pixels inside the bounds of every required input."""
        grid = self.pixels
        extent: Extent | None = None
        for name, item in self.inputs.items():
            if item.required:
                bounds = item.source.footprint(grid)
                if bounds is None:
                    raise InputError(f"{name} has no tile.")
                covered = grid.covering(bounds)
                extent = covered if extent is None else extent.intersect(covered)
        if extent is None or not extent.size:
            raise InputError("The required inputs share no ground: " + self._told())
        return extent

    def _told(self) -> str:
        grid = self.pixels
        return "; ".join(f"{name} covers {_rounded(source.footprint(grid))}" for name, source in self.sources.items())


def _rounded(bounds: tuple[float, ...] | None) -> tuple[float, ...] | None:
    """Bounds as a person reads them, to the centimetre."""
    return bounds and tuple(round(value, 2) for value in bounds)
