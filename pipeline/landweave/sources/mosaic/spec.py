"""The settings of a mosaic: the files of each band, and how they are read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from landweave.core.errors import ConfigError
from landweave.sources.band_reading import NodataRule
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
    needed
        Bands that are given, all by default. Of the others those that come from the same files tell dark pixels from
        nodata; files without a needed band are not looked at.
    root
        Folder of relative ``files``; tile ids are paths under it, so that they stay the same when all moves.
    crs
        Used for tiles whose own CRS is missing, cannot be read or has no known datum, and for no other.
    nodata
        Stored number, before scale and offset, that means "no measurement", instead of the files' own tags. NaN never
        counts as data.
    gaps
        Further stored numbers of the same meaning.
    nodata_rule
        Which bands have to hold a nodata value where a pixel is without data.
    scale, offset
        Instead of the files' own tags: values are ``stored * scale + offset``. Where one is stated, the other is 1 or 0
        by default.
    nodata_border
        Whether black pixels that reach a tile's edge are without data (`landweave.sources.mosaic.nodata_border`).
    nodata_border_level
        Brightest stored number of a pixel of that border, in any band of the file: after JPEG black is not always 0.
    resampling
        Kernel, used when the delivery cannot be pasted.
    order
        Which tile wins where tiles overlap: the first by ``name``, the ``newest`` by the dates in names or tags, or the
        first ``listed``.
    nodes
        What the origin in the files' headers is: the ``corner`` of the first pixel, or its ``centre`` (grids of
        nodes whose headers give the first node as a corner).
    palettes
        Whether numbers that stand for colours are given as they are; they are refused otherwise.
    checksums
        Whether files are held against the checksums of lists beside them, or the list that states them; None for those
        of this machine.
    as_float
        Whether values are given as float32, not rounded to the tiles' own dtype.
    limits
        Least and largest value, once scaled, that is a measurement; None for all.
    storage_options
        Of the object store that holds the files; never shown.
    """

    modality: str
    bands: Mapping[str, BandFiles]
    root: str = ""
    crs: str | None = None
    needed: tuple[str, ...] = ()
    nodata: float | None = None
    gaps: tuple[float, ...] = ()
    nodata_rule: NodataRule = "file"
    scale: float | None = None
    offset: float | None = None
    nodata_border: bool = False
    nodata_border_level: float = 8
    resampling: KernelName = "bilinear"
    order: Literal["name", "newest", "listed"] = "name"
    nodes: Literal["corner", "centre"] = "corner"
    palettes: bool = False
    checksums: str | bool | None = None
    as_float: bool = False
    limits: tuple[float, float] | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    def __post_init__(self) -> None:
        if not self.bands:
            raise ConfigError(f"{self.modality} has no bands: name at least one.")

    @property
    def given(self) -> tuple[str, ...]:
        """Bands that are given, in the order they were listed."""
        return tuple(name for name in self.bands if not self.needed or name in self.needed)

    @property
    def options(self) -> tuple[tuple[str, Any], ...]:
        """The options of the object store as sorted pairs."""
        return tuple(sorted(self.storage_options.items()))

    @property
    def stated_scale(self) -> tuple[float, float] | None:
        """Scale and offset; None where those of the files count."""
        if self.scale is None and self.offset is None:
            return None
        return 1.0 if self.scale is None else self.scale, self.offset or 0.0
