"""The settings of a mosaic: the files of each band, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from landweave.core.errors import ConfigError
from landweave.sources.resampling.kernels import KernelName


@dataclass(frozen=True, kw_only=True)
class BandFiles:
    """The files of one band, and its number in them.

    Attributes
    ----------
    files
        Files, folders, globs (``rvb/*.jp2``, ``**`` for any depth) or VRT mosaics; a VRT stands for the files it
        lists, which are read with the georeference of their own headers.
    band
        Number of the band in each file, from 1 (in the VRT, where one is named).
    """

    files: tuple[str, ...]
    band: int = 1

    def __post_init__(self) -> None:
        if not self.files:
            raise ConfigError("A band names no files.")
        if self.band < 1:
            raise ConfigError(f"Band {self.band} of {self.files[0]!r}: bands are counted from 1.")


@dataclass(frozen=True, kw_only=True)
class MosaicSpec:
    """One delivery of tiles.

    Attributes
    ----------
    modality
        FLAIR-HUB's name: ``AERIAL_RGBI``, …
    bands
        Where each band comes from, by name. Bands with the same ``files`` are read in one call a tile.
    root
        Folder of relative ``files``; tile ids are paths under it, so that they stay the same when all moves.
    crs
        Used for tiles whose own CRS is missing or cannot be read, and for no other.
    nodata
        Value that means "no measurement", instead of the files' own tags. A pixel is without data where **every**
        band that has such a value holds it: 255 in one band of three is a bright roof. NaN never counts as data.
    nodata_border
        Whether black pixels that reach a tile's edge are without data (`landweave.sources.mosaic.nodata_border`).
    nodata_border_level
        Brightest value of a pixel of that border, in any band of any file of the tile: after JPEG black is not
        always 0.
    resampling
        Kernel, used when the delivery cannot be pasted.
    order
        Which tile wins where tiles overlap: the first by ``name``, the ``newest`` by the dates in names or tags, or the
        first ``listed``.
    nodes
        What the origin in the files' headers is: the ``corner`` of the first pixel, or its ``centre`` (grids of
        nodes whose headers give the first node as a corner).
    as_float
        Whether values are given as float32, not rounded to the tiles' own dtype.
    """

    modality: str
    bands: Mapping[str, BandFiles]
    root: str = ""
    crs: str | None = None
    nodata: float | None = None
    nodata_border: bool = False
    nodata_border_level: float = 8
    resampling: KernelName = "bilinear"
    order: Literal["name", "newest", "listed"] = "name"
    nodes: Literal["corner", "centre"] = "corner"
    as_float: bool = False

    def __post_init__(self) -> None:
        if not self.bands:
            raise ConfigError(f"{self.modality} has no bands: name at least one.")
