"""From the sections of mosaics and elevation models to the specifications that their sources are opened by."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from landweave.config.schema import ElevationInput, ElevationModel, FileList, MosaicInput, TileSection
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec


def mosaic_spec(name: str, section: MosaicInput, root: Path) -> MosaicSpec:
    """The specification of a mosaic.

    Parameters
    ----------
    name
        Modality of the input.
    section
        Its section.
    root
        Folder that relative paths count from.
    """
    return _spec(name, section, {band: _files(each.files, each.band) for band, each in section.bands.items()}, root)


def elevation_specs(name: str, section: ElevationInput, root: Path) -> tuple[MosaicSpec, MosaicSpec]:
    """The specifications of a surface and a terrain model; parameters as for `mosaic_spec`."""

    def spec(band: str, model: ElevationModel) -> MosaicSpec:
        return _spec(name, model, {band: _files(model.files, model.band)}, root)

    return spec("DSM", section.dsm), spec("DTM", section.dtm)


def _files(files: FileList, band: int) -> BandFiles:
    return BandFiles(files=(files,) if isinstance(files, str) else files, band=band)


def _spec(name: str, section: TileSection, bands: Mapping[str, BandFiles], root: Path) -> MosaicSpec:
    settings = {key: getattr(section, key) for key in TileSection.model_fields}
    return MosaicSpec(modality=name, bands=bands, root=str(root), **settings)
