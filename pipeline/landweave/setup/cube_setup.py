"""From a configuration to the parts of its cube: which modalities are aligned, on which pixels, over which ground."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from fractions import Fraction
from functools import cached_property
from typing import cast

from landweave.aligning.groups import AlignGroup
from landweave.aligning.run import CubeSetup
from landweave.config.schema import (
    CubeConfig,
    CubeInput,
    CubeSection,
    ElevationInput,
    Input,
    MosaicInput,
    Number,
    StacInput,
)
from landweave.core.errors import ConfigError
from landweave.core.grid import Bounds, Grid, exact, metric_crs
from landweave.core.lattice import Extent
from landweave.formats.area import PolygonArea
from landweave.models.cards.inputs import InputSpec
from landweave.setup.context import SetupContext, configured_area
from landweave.setup.map_setup import engine_settings
from landweave.setup.mosaic_inputs import open_source
from landweave.setup.series_inputs import Wanted, cube_target, open_catalog
from landweave.sources.stac.series import StacSeries

ALIGN_THREADS = 1
"""Cores that a worker which only reads and writes is counted for."""


def set_up_cube(config: CubeConfig) -> CubeSetup:
    """Everything resolved and checked; catalogs are searched, no pixel is read.

    Raises
    ------
    LandweaveError
        When there is no cube to align to, nothing to align, or nothing found.
    """
    return _Weaving(config).set_up_cube()


def open_scenes(config: CubeConfig, modality: str) -> StacSeries:
    """The dates of one input of kind stac, straight from its catalog, over the ground that `set_up_cube` would align.

    Raises
    ------
    ConfigError
        When there is no such input.
    """
    section = config.inputs.get(modality)
    if not isinstance(section, StacInput):
        known = [name for name, each in config.inputs.items() if isinstance(each, StacInput)]
        raise ConfigError(f"{modality!r} is no input of kind stac; these are: {', '.join(known) or 'none'}.")
    return _Weaving(config).series(modality, section)


class _Weaving:
    """The settings of one configuration, each resolved once."""

    def __init__(self, config: CubeConfig) -> None:
        self.config = config
        # With a model, its card says what is wanted, and its imagery where.
        self.ground = SetupContext(config, config.model) if config.model else None

    def set_up_cube(self) -> CubeSetup:
        """The whole."""
        return CubeSetup(
            target=cube_target(self.config),
            groups=tuple(self._part(name, section) for name, section in self._aligned.items()),
            area=self.area,
            engine=engine_settings(self.config.engine, ALIGN_THREADS),
        )

    @cached_property
    def cube(self) -> CubeSection:
        """How the cube is cut."""
        if self.config.cube is None:
            raise ConfigError("There is no cube to align to: add cube: {store: cube.zarr} to the configuration.")
        return self.config.cube

    @property
    def _aligned(self) -> Mapping[str, Input]:
        sections = {
            name: section
            for name, section in self.config.inputs.items()
            if isinstance(section, StacInput) or (not isinstance(section, CubeInput) and section.align)
        }
        if not sections:
            raise ConfigError("No input is to be aligned: those of kind stac are, and mosaics with align: true.")
        return sections

    @cached_property
    def area(self) -> PolygonArea:
        """The map's ground and the margin around it."""
        found = configured_area(self.config, self._crs) or PolygonArea.of_bounds(self._imagery)
        return PolygonArea(found.geometry.buffer(self.cube.margin_m, join_style="mitre"))

    @property
    def _crs(self) -> str:
        if self.ground:
            return self.ground.pixels.crs
        if self.config.grid.crs is None:
            raise ConfigError("grid.own needs a model, which says which pixels it wants: without one, state grid.crs.")
        return metric_crs(self.config.grid.crs)

    @property
    def _imagery(self) -> Bounds:
        if self.ground is None or not self.ground.images:
            raise ConfigError("There is no area and no imagery: say what to align, as area: {bounds: …}.")
        return self.ground.grid.bounds

    def _part(self, name: str, section: Input) -> AlignGroup:
        if isinstance(section, StacInput):
            series = self.series(name, section)
            rules = {rule: series.fingerprint_fields[rule] for rule in ("resampling", "border")}
            return self._cut(
                AlignGroup(modality=name, source=series, grid=series.grid, bands=series.bands, rules=rules)
            )
        grid, spec = self._grid(name, section), self._spec(name)
        source = open_source(name, cast("MosaicInput | ElevationInput", section), self.config, grid)
        bands = spec.names if spec else source.bands
        return self._cut(AlignGroup(modality=name, source=source, grid=grid, bands=bands))

    def series(self, name: str, section: StacInput) -> StacSeries:
        """The dates of one input, straight from its catalog."""
        grid, spec = self._grid(name, section), self._spec(name)
        quantity = spec.quantity if spec else section.quantity
        wanted = Wanted(bands=spec.names if spec else None, grid=grid, quantity=quantity)
        return open_catalog(name, section, self.config, wanted)

    def _cut(self, part: AlignGroup) -> AlignGroup:
        return replace(part, tile=self.cube.tile, chunk=self.cube.chunk, time_shard=self.cube.time_shard)

    def _spec(self, name: str) -> InputSpec | None:
        return self.ground.card.inputs.get(name) if self.ground else None

    def _grid(self, name: str, section: Input) -> Grid:
        """Pixels of one modality over the area."""
        stated, spec, anchor = getattr(section, "resolution", None), self._spec(name), self.config.grid.anchor
        if stated is None and spec is None:
            raise ConfigError(f"{name} has no pixel size: no model says it, so set inputs.{name}.resolution.")
        if stated is not None and spec is not None and exact(stated) != spec.pixel:
            raise ConfigError(
                f"{name} is to have pixels of {float(exact(stated)):g} m, the model wants {float(spec.pixel):g} m: "
                f"leave out inputs.{name}.resolution."
            )
        grid = Grid(
            crs=self._crs,
            resolution=self._fed(spec) if spec else exact(cast("Number", stated)),
            extent=Extent.of((0, 1), (0, 1)),
            anchor_xy=self.ground.pixels.anchor_xy if self.ground else (exact(anchor[0]), exact(anchor[1])),
        )
        return grid.with_extent(grid.covering(self.area.bounds))

    def _fed(self, spec: InputSpec) -> Fraction:
        """Pixels as the map will want them: the card's, on a grid of its own as much larger as base pixels are."""
        assert self.ground is not None  # a card was there to give ``spec``
        return spec.pixel * self.ground.pixels.resolution / self.ground.card.base_pixel
