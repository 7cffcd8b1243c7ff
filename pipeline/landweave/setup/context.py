"""What a map and a cube share of a configuration: card, pixels and area, and what opens the inputs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from fractions import Fraction
from pathlib import Path

from landweave.config.schema import (
    CampaignYear,
    CubeConfig,
    CubeInput,
    CubeSection,
    ElevationInput,
    GridSection,
    InputSection,
    ModelSection,
    MosaicBand,
    MosaicInput,
    PatchesInput,
    StacInput,
    SuperareaInput,
    TileSection,
)
from landweave.core.crs import metric_crs
from landweave.core.errors import ConfigError, LandweaveError
from landweave.core.grid import Grid, exact
from landweave.core.lattice import Extent
from landweave.core.protocols import RasterSource, SeriesSource
from landweave.formats.area import PolygonArea, read_area
from landweave.formats.campaigns import Campaigns, read_campaigns
from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import HeightCoding, InputSpec
from landweave.models.cards.registry import find_card
from landweave.models.networks.position_tables import with_resized_tables
from landweave.setup.series_inputs import check_aligned_as_asked, refuse_skipped, select_days, stac_query, stac_series
from landweave.setup.vector_files import on_disk
from landweave.sources.mosaic.alignment import native_grid
from landweave.sources.mosaic.elevation import ElevationSource
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.sources.mosaic.tile_index import index_tiles
from landweave.sources.patches.series import PatchSeries, PatchSeriesSpec, open_patch_series
from landweave.sources.patches.superarea import SuperareaSeries, SuperareaSpec, open_superarea
from landweave.sources.stac.search import StacQuery
from landweave.sources.stac.series import StacSeries
from landweave.store.common import read_attributes
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.sources import CubeRaster, CubeSeries, source_of
from landweave.store.cubes.store import CubeStore, open_cube_store
from landweave.store.objects import Target

AnySource = RasterSource | SeriesSource

PIXEL_TOLERANCE = Fraction(1, 100)
"""Largest relative difference between the pixels of the grid and those that the model is fed."""


@dataclass(frozen=True, kw_only=True)
class SetupContext:
    """Card, pixels and area of one configuration; opens its inputs.

    Attributes
    ----------
    config
        The configuration.
    card
        Contract of the model; None for a cube that is aligned without one.
    pixels
        Base pixels; the extent means nothing. Without a card only CRS and anchor count.
    area
        Area that is mapped, in the CRS of ``pixels``; None for all the imagery.
    cubes
        Cubes that were opened, each once, by their target.
    """

    config: CubeConfig
    card: ModelCard | None
    pixels: Grid
    area: PolygonArea | None
    cubes: dict[Target, CubeStore] = field(default_factory=dict)

    def spec(self, name: str) -> InputSpec | None:
        """What the card says of input ``name``; None without a card, or where the card has no such input."""
        return self.card.inputs.get(name) if self.card else None

    def input_pixels(self, name: str, section: InputSection) -> Grid:
        """Pixels of one input, beside the base pixels; the extent means nothing.

        Parameters
        ----------
        name
            Modality of the input.
        section
            Its section.

        Raises
        ------
        ConfigError
            When neither card nor section has its pixel size, or they contradict each other.
        """
        stated, spec = section.stated("resolution"), self.spec(name)
        if spec is None:
            if stated is None:
                raise ConfigError(f"{name} has no pixel size: no model card has one, so set inputs.{name}.resolution.")
            return replace(self.pixels, resolution=exact(stated))
        if section.is_aligned and stated is not None and exact(stated) != spec.pixel:
            raise ConfigError(
                f"{name} is to have pixels of {float(exact(stated)):g} m, the model wants {float(spec.pixel):g} m: "
                f"leave out inputs.{name}.resolution."
            )
        return self._card_pixels(spec)

    def _card_pixels(self, spec: InputSpec) -> Grid:
        """The pixels of a card's input; larger than the card's own by as much as the base pixels are."""
        assert self.card is not None  # a card gave ``spec``
        return replace(self.pixels, resolution=self.pixels.resolution * spec.pixel / self.card.base_pixel)

    def open(self, name: str, section: InputSection, grid: Grid, bands: Sequence[str] = ()) -> AnySource:
        """The input straight from its files or its catalog, on the pixels of ``grid``; no pixel is read.

        Parameters
        ----------
        name
            Modality of the input.
        section
            Its section, of any kind but ``cube``.
        grid
            Pixels of the input, over all ground that may be read.
        bands
            Needed bands of a mosaic, instead of those of the card.
        """
        with naming_input(name):
            if isinstance(section, StacInput):
                return self.open_catalog(name, section, grid)
            if isinstance(section, PatchesInput):
                return self._open_patches(name, section, grid)
            if isinstance(section, SuperareaInput):
                return self._open_superarea(name, section, grid)
            if isinstance(section, ElevationInput):
                dsm = tile_spec(name, section.dsm, {"DSM": section.dsm}, self.config.root)
                dtm = tile_spec(name, section.dtm, {"DTM": section.dtm}, self.config.root)
                return ElevationSource.open(dsm, dtm, grid, limited=not section.accept_range)
            assert isinstance(section, MosaicInput)
            mosaic = _mosaic_spec(name, section, self.config, self.card)
            needed = tuple(band for band in section.bands if band in bands) or mosaic.needed
            source = MosaicSource.open(replace(mosaic, needed=needed), grid)
            if spec := self.spec(name):
                _refuse_other_units(source, spec)
            return source

    def _open_patches(self, name: str, section: PatchesInput, grid: Grid) -> PatchSeries:
        files, masks = ((each,) if isinstance(each, str) else each for each in (section.files, section.masks))
        spec = PatchSeriesSpec(
            modality=name,
            files=tuple(files),
            masks=tuple(map(self.config.path, masks)),
            dates_file=self.config.path(section.dates_file),
            root=str(self.config.root),
            cloud_max=section.cloud_mask.cloud_max,
            snow_max=section.cloud_mask.snow_max,
        )
        return open_patch_series(spec, grid)

    def _open_superarea(self, name: str, section: SuperareaInput, grid: Grid) -> SuperareaSeries:
        return open_superarea(
            SuperareaSpec(
                modality=name,
                values=self.config.path(section.values),
                masks=self.config.path(section.masks),
                products=self.config.path(section.products),
                centroids=self.config.path(section.centroids),
                images=(section.images,) if isinstance(section.images, str) else tuple(section.images),
                root=str(self.config.root),
                cloud_max=section.cloud_mask.cloud_max,
                snow_max=section.cloud_mask.snow_max,
            ),
            grid,
        )

    def open_catalog(self, name: str, section: StacInput, grid: Grid) -> StacSeries:
        """The observations of a STAC catalog over ``grid``; items are searched, no file is opened."""
        return stac_series(self._query(name, section), section, grid)

    def find_stored(self, name: str, section: InputSection) -> AnySource | None:
        """The input as a cube holds it; None where it is read straight from its files.

        Parameters
        ----------
        name
            Modality of the input.
        section
            Its section: of a cube, or of an input that the configuration's own cube may hold.
        """
        if isinstance(section, CubeInput):
            return self._open_cube_group(name, section)
        aligned = self._find_aligned(name) if section.is_aligned else None
        if not isinstance(section, StacInput):
            return aligned
        if not isinstance(aligned, CubeSeries):
            return None
        check_aligned_as_asked(aligned, section, self._query(name, section))
        selected = select_days(aligned, section.dates)
        refuse_skipped(selected, section.skip_items)
        return selected

    def _open_cube_group(self, name: str, section: CubeInput) -> AnySource:
        """The modality of the cube that an input of kind cube names."""
        target = cube_target(self.config, section)
        if target not in self.cubes:
            self.cubes[target] = open_cube_store(target)
        source = self._stored_source(self.cubes[target].group(name))
        if section.dates is None:
            return source
        if not isinstance(source, CubeSeries):
            raise ConfigError(f"{name} in {target} has no dates: leave out dates {section.dates} of its input.")
        return select_days(source, section.dates)

    def _find_aligned(self, name: str) -> CubeSeries | CubeRaster | None:
        """The modality in the configuration's own cube; None where it is not aligned yet, or there is no cube."""
        if self.config.cube is None:
            return None
        target = cube_target(self.config, self.config.cube)
        if target not in self.cubes:
            attributes = read_attributes(target)
            if attributes is None:
                return None
            self.cubes[target] = open_cube_store(target, attributes)
        cube = self.cubes[target]
        source = self._stored_source(cube.group(name)) if name in cube.modalities else None
        return source if source and source.reader.dates.visible else None

    def campaign_years(self, year: int | CampaignYear | None) -> int | Campaigns | None:
        """The civil year of a series, or the campaigns that give it for any window; None for all dates."""
        if not isinstance(year, CampaignYear):
            return year
        with on_disk(self.config.path(year.file)) as path:
            return read_campaigns(path, column=year.column, layer=year.layer, crs=self.pixels.crs)

    def _query(self, name: str, section: StacInput) -> StacQuery:
        return stac_query(name, section, self.config.path(section.catalog), self.spec(name))

    def _stored_source(self, group: CubeGroup) -> CubeSeries | CubeRaster:
        """The source of a group, once its pixels are sure to be those that the model is fed."""
        source = source_of(group)
        if spec := self.spec(source.modality):
            source.own_extent(self._card_pixels(spec))
        return source


def resolve_context(config: CubeConfig, card: ModelCard | None) -> SetupContext:
    """Pixels and area of a configuration, and what opens its inputs.

    Parameters
    ----------
    config
        The configuration.
    card
        From `resolve_card`; None without a model.

    Raises
    ------
    LandweaveError
        When the grid or the area cannot be used, or the model is not to be fed such pixels.
    """
    pixels = _stated_pixels(config.grid, Fraction(1)) if card is None else _model_pixels(config, card)
    return SetupContext(config=config, card=card, pixels=pixels, area=_area(config, pixels.crs))


def card_place(config: CubeConfig, model: ModelSection) -> str:
    """The name of the model's card, or the path of its file."""
    return config.path(model.card) if model.card.endswith((".yaml", ".yml")) else model.card


def resolve_card(config: CubeConfig, model: ModelSection) -> ModelCard:
    """The model's contract, with the height coding and the liberties that the configuration states.

    A card without fine inputs is mapped on the pixels of its inputs, unless the grid asks for its own finer ones.

    Parameters
    ----------
    config
        The configuration, whose folder the path of a card counts from.
    model
        Its model section.

    Raises
    ------
    CardError
        When there is no such card, or it does not allow what the section states.
    """
    card = find_card(card_place(config, model))
    resolution = config.grid.resolution
    if card.input_pixel > card.base_pixel and (resolution is None or exact(resolution) == card.input_pixel):
        card = card.on_input_pixels()
    if model.resize_tables:
        card = with_resized_tables(card)
    if model.coding is None:
        return card
    return card.with_coding(model.coding if model.coding == "delivered" else HeightCoding(**model.coding.model_dump()))


def _model_pixels(config: CubeConfig, card: ModelCard) -> Grid:
    fed = exact((config.model and config.model.pixel) or card.base_pixel)
    own = config.grid.own
    pixels = native_pixels(config, own, card) if own else _stated_pixels(config.grid, fed)
    if abs(pixels.resolution / fed - 1) > PIXEL_TOLERANCE:
        raise ConfigError(
            f"The grid has pixels of {float(pixels.resolution):g} m, the model is fed {float(fed):g} m: leave out "
            f"grid.resolution (output.resolution makes the map coarser), or set model.pixel to "
            f"{float(pixels.resolution):g} to feed it such pixels all the same."
        )
    return pixels


def _stated_pixels(section: GridSection, default: Fraction) -> Grid:
    if section.crs is None:
        raise ConfigError("grid.own needs a model, whose card gives the pixels: without one, state grid.crs.")
    x, y = section.anchor
    try:
        crs = metric_crs(section.crs)
    except ConfigError as error:
        raise ConfigError(f"grid.crs: {error}") from error
    return Grid(
        crs=crs,
        resolution=exact(section.resolution or default),
        extent=Extent.of((0, 1), (0, 1)),
        anchor_xy=(exact(x), exact(y)),
    )


def native_pixels(config: CubeConfig, name: str, card: ModelCard) -> Grid:
    """The own pixels of a mosaic among the inputs, over all of its tiles.

    Parameters
    ----------
    config, card
        Of the run.
    name
        Of the mosaic.
    """
    section = config.inputs.get(name)
    if not isinstance(section, MosaicInput):
        raise ConfigError(f"grid.own names {name!r}, which is no mosaic among the inputs.")
    with naming_input(name):
        native = native_grid(index_tiles(_mosaic_spec(name, section, config, card)))
    if native.grid is None:
        raise ConfigError(f"{name} has no grid of its own: {native.reason}. State grid.crs instead of grid.own.")
    metric_crs(native.grid.crs)
    return native.grid


def _area(config: CubeConfig, crs: str) -> PolygonArea | None:
    section = config.area
    if section is None:
        return None
    if section.bounds is not None:
        return PolygonArea.of_bounds(section.bounds)
    with on_disk(config.path(str(section.file))) as file:
        return read_area(file, where=section.where, layer=section.layer, crs=crs)


def _mosaic_spec(name: str, section: MosaicInput, config: CubeConfig, card: ModelCard | None) -> MosaicSpec:
    """The specification of a mosaic; of its bands those of the card are needed, all without one."""
    names = card.inputs[name].names if card and name in card.inputs else ()
    needed = tuple(band for band in names if band in section.bands)  # what is missing is named with all other inputs
    return replace(tile_spec(name, section, section.bands, config.root), needed=needed)


def _refuse_other_units(source: MosaicSource, spec: InputSpec) -> None:
    """Refuse tags of scale that bring numbers to a unit in which the card's statistics cannot be."""
    for band, (least, largest) in source.tagged_ranges.items():
        mean, std = spec.bands[band].statistics if band in spec.bands else (least, 0.0)
        if not least <= mean <= mean + std <= largest:
            raise ConfigError(
                f"{source.modality} {band}: tags of scale in the files bring its numbers to {least:g} to {largest:g}, "
                f"and the model was trained on a mean of {mean:g} with a deviation of {std:g}. Set inputs."
                f"{source.modality}.scale: 1 for numbers as they are stored, or scale and offset for others."
            )


def tile_spec(name: str, section: TileSection, bands: Mapping[str, MosaicBand], root: Path) -> MosaicSpec:
    """The specification that the tiles of a mosaic or an elevation model are opened by."""
    files = {
        band: BandFiles(files=(each.files,) if isinstance(each.files, str) else each.files, band=each.band)
        for band, each in bands.items()
    }
    settings = {key: getattr(section, key) for key in TileSection.model_fields}
    return MosaicSpec(modality=name, bands=files, root=str(root), **settings)


@contextmanager
def naming_input(name: str) -> Iterator[None]:
    """Let every error inside name the input that it is of."""
    try:
        yield
    except LandweaveError as error:
        if name in str(error):
            raise
        raise type(error)(f"inputs.{name}: {error}") from error


def cube_target(config: CubeConfig, section: CubeSection | CubeInput) -> Target:
    """Where the cube of a section lies."""
    return Target.parse(config.path(section.store), section.storage_options)
