"""The aerial picture of a configuration: the mosaic among its inputs that people know the ground by."""

from __future__ import annotations

from landweave.config.schema import Config, MosaicInput
from landweave.core.errors import InputError, LandweaveError
from landweave.core.secrets import without_secrets
from landweave.setup.context import naming_input, tile_spec
from landweave.sources.mosaic.quicklook import Quicklook
from landweave.sources.mosaic.tile_index import index_tiles

_COLOURS = ("R", "G", "B")


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
