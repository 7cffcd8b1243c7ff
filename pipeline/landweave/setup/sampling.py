"""From a map and the images of its ground to a sample for photo-interpreters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from landweave.core.errors import ConfigError
from landweave.core.grid import Grid
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec

CHIP_BANDS = ("RED", "GREEN", "BLUE")


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
