"""From the inputs of a configuration to opened sources: files named, headers read, no pixel."""

from __future__ import annotations

from collections.abc import Mapping

from landweave.config.schema import CubeConfig, Delivery, ElevationInput, MosaicInput
from landweave.core.grid import Grid
from landweave.core.protocols import RasterSource
from landweave.sources.mosaic.elevation import ElevationSource
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec


def open_source(modality: str, section: MosaicInput | ElevationInput, config: CubeConfig, grid: Grid) -> RasterSource:
    """The source that a configuration's section describes, opened from headers on ``grid``."""
    if isinstance(section, MosaicInput):
        return MosaicSource.open(mosaic_spec(modality, section, config), grid)
    dsm, dtm = (
        _spec(modality, part, config, {name: BandFiles(files=_listed(part.files), band=part.band)})
        for name, part in (("DSM", section.dsm), ("DTM", section.dtm))
    )
    return ElevationSource.open(dsm, dtm, grid)


def mosaic_spec(modality: str, section: MosaicInput, config: CubeConfig) -> MosaicSpec:
    """One delivery as the mosaic source wants it told."""
    bands = {name: BandFiles(files=_listed(part.files), band=part.band) for name, part in section.bands.items()}
    return _spec(modality, section, config, bands)


def _listed(files: str | tuple[str, ...]) -> tuple[str, ...]:
    return (files,) if isinstance(files, str) else files


def _spec(modality: str, section: Delivery, config: CubeConfig, bands: Mapping[str, BandFiles]) -> MosaicSpec:
    return MosaicSpec(
        modality=modality,
        bands=bands,
        root=str(config.root),
        crs=section.crs,
        nodata=section.nodata,
        nodata_border=section.nodata_border,
        nodata_border_level=section.nodata_border_level,
        resampling=section.resampling,
        order=section.order,
        nodes=section.nodes,
    )
