"""Images of the ground: the aerial picture of a configuration, and the images that a sample's chips are cut from."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from landweave.config.schema import Config, MosaicInput
from landweave.core.errors import ConfigError, InputError, LandweaveError
from landweave.core.grid import Grid
from landweave.core.secrets import without_secrets
from landweave.setup.context import naming_input, tile_spec
from landweave.sources.mosaic.quicklook import Quicklook
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.sources.mosaic.tile_index import index_tiles

_COLOURS = ("R", "G", "B")

CHIP_BANDS = ("RED", "GREEN", "BLUE")


def open_aerial_picture(config: Config) -> Quicklook:
    """The mosaic of a configuration with natural colours, otherwise its first one; headers are read, no pixel.

    Raises
    ------
    InputError
        When the configuration reads no mosaic from its files, or they cannot be read.
    """
    mosaics = {name: section for name, section in config.inputs.items() if isinstance(section, MosaicInput)}
    if not mosaics:
        raise InputError("no input of the configuration is a mosaic that is read from its files.")
    coloured = [name for name, section in mosaics.items() if set(_COLOURS) <= section.bands.keys()]
    name = coloured[0] if coloured else next(iter(mosaics))
    section = mosaics[name]
    shown = _COLOURS if coloured else tuple(section.bands)[: 3 if len(section.bands) >= 3 else 1]
    bands = {band: section.bands[band] for band in shown}
    try:
        with naming_input(name):
            return Quicklook(index_tiles(tile_spec(name, section, bands, config.root)))
    except LandweaveError as error:
        raise InputError(str(error)) from error


def find_aerial_picture(config: Config | None) -> tuple[Quicklook | None, str]:
    """The aerial picture of a configuration, or why it has none, as people are shown it; neither without one."""
    if config is None:
        return None, ""
    try:
        return open_aerial_picture(config), ""
    except InputError as error:
        return None, without_secrets(str(error))


@dataclass(frozen=True, kw_only=True)
class ChipImages:
    """The images that chips are cut from.

    Attributes
    ----------
    files
        Files, folders or globs.
    bands
        Numbers of the bands that are shown as red, green and blue, from 1.

    Examples
    --------
    >>> ChipImages(files="ortho.tif", bands=(4, 1, 2))  # near infrared, as interpreters of forests like it
    ChipImages(files='ortho.tif', bands=(4, 1, 2))
    """

    files: str | Path | Sequence[str | Path]
    bands: tuple[int, int, int] = (1, 2, 3)

    def open(self, grid: Grid) -> MosaicSource:
        """The images on the pixels of a map."""
        paths = tuple(map(str, [self.files] if isinstance(self.files, str | Path) else self.files))
        if len(self.bands) != len(CHIP_BANDS):
            raise ConfigError(f"Chips show three bands as red, green and blue; {self.bands} were named.")
        bands = {name: BandFiles(files=paths, band=number) for name, number in zip(CHIP_BANDS, self.bands, strict=True)}
        return MosaicSource.open(MosaicSpec(modality="chips", bands=bands, root=str(Path.cwd())), grid)
