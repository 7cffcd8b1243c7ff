"""What a person says about a delivery of tiles: the files of each band and how they are to be read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from landweave.errors import ConfigError

Kernel = Literal["nearest", "bilinear", "cubic"]
"""Resampling kernels; all but ``nearest`` widen with the pixel when the grid is coarser than the tiles."""


@dataclass(frozen=True, kw_only=True)
class BandFiles:
    """The files one band comes from, and which of their bands it is.

    Attributes
    ----------
    files
        Files, folders, globs (``rvb/*.jp2``, ``**`` for any depth) or VRT mosaics; a VRT stands for the files it
        lists, which are read where their own headers put them.
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
        Folder that relative ``files`` count from; scene ids are paths under it, so that they stay when all moves.
    crs
        Used for tiles whose own CRS is missing or cannot be read, and for no other.
    nodata
        Value that means "no measurement", instead of the files' own tags. A pixel is without data where **every**
        band that has such a value holds it: 255 in one band of three is a bright roof. NaN never counts as data.
    collar
        Whether black pixels that reach a tile's edge are without data (`landweave.sources.collar`).
    collar_level
        Brightest value of a collar pixel, in any band of any file of the tile: after JPEG black is not always 0.
    resampling
        Kernel, used when the delivery cannot be pasted.
    order
        Which tile wins where tiles overlap: the first ``name``, or the first ``listed``.
    nodes
        What the origin in the files' headers names: the ``corner`` of their first pixel, or its ``centre`` (grids
        of nodes whose headers give the first node as a corner).
    as_float
        Whether values are given as float32, not rounded to the tiles' own dtype.
    """

    modality: str
    bands: Mapping[str, BandFiles]
    root: str = ""
    crs: str | None = None
    nodata: float | None = None
    collar: bool = False
    collar_level: float = 8
    resampling: Kernel = "bilinear"
    order: Literal["name", "listed"] = "name"
    nodes: Literal["corner", "centre"] = "corner"
    as_float: bool = False

    def __post_init__(self) -> None:
        if not self.bands:
            raise ConfigError(f"{self.modality} has no bands: name at least one.")
