"""From a map and the images of its ground to a sample for photo-interpreters."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Grid
from landweave.formats.sample_file import refuse_place
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.sources.object_files import in_object_store
from landweave.store.objects import Target

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

    def open(self, grid: Grid, storage_options: Mapping[str, Any] | None = None) -> MosaicSource:
        """The images on the pixels of a map.

        Parameters
        ----------
        grid
            Of the map.
        storage_options
            Of the object store that holds the images.

        Raises
        ------
        InputError
            When none lies on the map.
        """
        paths = tuple(map(str, [self.files] if isinstance(self.files, str | Path) else self.files))
        if len(self.bands) != len(CHIP_BANDS):
            raise ConfigError(f"Chips show three bands as red, green and blue; {self.bands} were named.")
        bands = {name: BandFiles(files=paths, band=number) for name, number in zip(CHIP_BANDS, self.bands, strict=True)}
        options = storage_options if any(map(in_object_store, paths)) else None
        spec = MosaicSpec(modality="chips", bands=bands, root=str(Path.cwd()), storage_options=options or {})
        source = MosaicSource.open(spec, grid)
        if not source.files(grid):
            raise InputError(f"No image of {paths[0]} lies on the map: {source.bounds(grid)} and {grid.bounds}.")
        return source


@contextmanager
def sample_place(path: str | Path, storage_options: Mapping[str, Any] | None = None) -> Iterator[Path]:
    """Where a sample is written on disk; what is there at the end of the block is put where it belongs.

    Parameters
    ----------
    path
        Of the GeoPackage: on disk, or its URL in an object store.
    storage_options
        Of the object store.

    Raises
    ------
    OutputError
        When a sample is there already, or it cannot be written.
    """
    if not in_object_store(str(path)):
        refuse_place(str(path), is_there=Path(path).exists())
        yield Path(path)
        return
    parent, _, name = str(path).rpartition("/")
    place = Target.parse(parent, storage_options)
    refuse_place(str(path), is_there=place.exists(name))
    with TemporaryDirectory(prefix="landweave-") as folder:
        yield Path(folder) / name
        written = sorted(each for each in Path(folder).rglob("*") if each.is_file())
        for file in sorted(written, key=lambda each: each.name == name):  # the GeoPackage names the chips: last
            place.put(file.relative_to(folder).as_posix(), file.read_bytes())
