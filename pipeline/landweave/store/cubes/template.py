"""Everything about one group of a cube except its pixels, fixed before anything is written and stored as attributes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

import numpy as np

from landweave.core.errors import ConfigError, LatticeError
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, nearest_multiples
from landweave.store.common import FORMAT_VERSION, check_format
from landweave.store.georeference import grid_from_json, grid_to_json

FORMAT = "landweave-cube"

RESERVED = ("ledger", "map")
"""Groups of a store that are no modality."""


@dataclass(frozen=True, kw_only=True)
class GroupTemplate:
    """Everything about one modality of a cube except its pixels and dates.

    ::

        band_data    (time, band, y, x)  source's dtype      band_data  (band, y, x)  source's dtype
        pixel_class  (time, y, x)        uint8               valid      (y, x)        bool
                a series                                             a raster

        one object = one tile x one time shard x all bands; one chunk of it = one date of ``chunk`` pixels a side

    Attributes
    ----------
    modality
        Name of the group, such as ``SENTINEL2_TS``.
    grid
        Pixels: whole tiles.
    bands
        By name, in the order they are stored.
    dtype
        Of ``band_data``: the source's own.
    tile
        Pixels a side of one object.
    chunk
        Pixels a side of what a reader decodes at once; divides the tile.
    time_shard
        Dates of a time shard; None for a raster, which has no time.
    quantity, cloud_mask
        As in `landweave.core.protocols.SeriesSource`; empty for a raster.
    rules
        What else the pixels depend on (kernel, area, source files of a raster), plain JSON values.

    Raises
    ------
    LatticeError
        When a tile is no whole number of chunks, or the grid no whole number of tiles.
    ConfigError
        When the name, the bands or the time shard cannot be stored.
    """

    modality: str
    grid: Grid
    bands: tuple[str, ...]
    dtype: str
    tile: int = 1024
    chunk: int = 256
    time_shard: int | None = 32
    quantity: str = ""
    cloud_mask: Mapping[str, Any] = field(default_factory=dict)
    rules: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.chunk <= 0 or self.tile <= 0 or self.tile % self.chunk:
            raise LatticeError(
                f"{self.modality}: a tile of {self.tile} pixels is no whole number of chunks of {self.chunk}: "
                f"use tiles of {nearest_multiples(max(self.tile, 1), max(self.chunk, 1))}."
            )
        if not self.modality or "/" in self.modality or self.modality in RESERVED:
            raise ConfigError(f"{self.modality!r} cannot name a group of a cube: use a modality's name.")
        if not self.bands or len(set(self.bands)) < len(self.bands):
            raise ConfigError(f"{self.modality}: bands {self.bands} are empty or not distinct: name each one once.")
        if self.time_shard is not None and self.time_shard < 1:
            raise ConfigError(f"{self.modality}: a time shard of {self.time_shard} dates holds nothing: use 1 or more.")
        if self.grid.extent.snap(self.tile) != self.grid.extent:
            raise LatticeError(f"{self.grid.extent} is not a whole number of tiles of {self.tile} pixels.")
        self.blocks.of_a_job()

    @property
    def blocks(self) -> Blocks:
        """The tiles."""
        return Blocks.square(self.grid.extent, self.tile)

    @property
    def is_series(self) -> bool:
        """Whether it has dates."""
        return self.time_shard is not None

    @property
    def arrays(self) -> tuple[str, str]:
        """Names of its two arrays, in the order they are written."""
        return ("band_data", "pixel_class" if self.is_series else "valid")

    @property
    def fingerprint_fields(self) -> dict[str, Any]:
        """What must be the same for two alignments to share a group; plain JSON values."""
        grid = grid_to_json(self.grid)
        return {
            "grid": {name: grid[name] for name in ("crs", "resolution", "anchor_xy")},
            "pixels": [self.grid.extent.y.start, self.grid.extent.x.start, *self.grid.shape],
            **self._plain,
        }

    @property
    def _plain(self) -> dict[str, Any]:
        """Every field but the name and the grid."""
        names = (each.name for each in fields(self) if each.name not in ("modality", "grid"))
        return {**{name: getattr(self, name) for name in names}, "bands": list(self.bands)}

    def dimensions(self, array: str) -> tuple[str, ...]:
        """Return the names of the dimensions of ``array``."""
        time = ("time",) if self.is_series else ()
        return (*time, *(("band",) if array == "band_data" else ()), "y", "x")

    def array_dtype(self, array: str) -> np.dtype[Any]:
        """Return the type of ``array`` as stored."""
        return np.dtype({"band_data": self.dtype, "pixel_class": "uint8", "valid": "bool"}[array])

    def sizes(self, array: str, *, dates: int, pixels: tuple[int, int]) -> tuple[int, ...]:
        """Return the shape of ``array`` over all bands.

        Parameters
        ----------
        array
            One of `arrays`.
        dates
            Its length along time, where it has that.
        pixels
            Down and across.
        """
        lengths = {"time": dates, "band": len(self.bands), "y": pixels[0], "x": pixels[1]}
        return tuple(lengths[name] for name in self.dimensions(array))

    def date_shape(self, array: str) -> tuple[int, ...]:
        """Return the shape of one date of one tile of ``array``, or of a tile of a raster; without a time."""
        sizes = self.sizes(array, dates=1, pixels=(self.tile, self.tile))
        return sizes[1:] if self.is_series else sizes

    def to_attributes(self) -> dict[str, Any]:
        """Return the attributes of the group: plain JSON values, numbers exact."""
        return {
            "format": FORMAT,
            "format_version": FORMAT_VERSION,
            "modality": self.modality,
            "resolution": str(self.grid.resolution),
            "template": {"grid": grid_to_json(self.grid), **self._plain},
        }

    @classmethod
    def from_attributes(cls, attributes: Mapping[str, Any]) -> GroupTemplate:
        """Return the template that `to_attributes` wrote.

        Raises
        ------
        InputError
            When the attributes are not those of a group of this format.
        """
        check_format(attributes, FORMAT)
        written = dict(attributes["template"])
        grid, bands = grid_from_json(written.pop("grid")), tuple(written.pop("bands"))
        return cls(modality=attributes["modality"], grid=grid, bands=bands, **written)
