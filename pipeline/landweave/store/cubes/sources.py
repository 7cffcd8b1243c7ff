"""A cube's groups as sources: the dates and rasters that `landweave align` wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyproj

from landweave.core.errors import InputError
from landweave.core.grid import Bounds, Grid
from landweave.core.lattice import Blocks, Extent
from landweave.core.protocols import Raster, ReadCost, Series, SourceFile
from landweave.core.timeseries import Observation
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.reader import CubeReader, Indices

FORMAT_NAME = "Zarr"
"""In the prices of plans."""


class _Stored:
    """What sources over a group share, from its reader and the dates asked of it."""

    group: CubeGroup

    @cached_property
    def reader(self) -> CubeReader:
        """Reads the group in this process."""
        return CubeReader(self.group)

    @property
    def modality(self) -> str:
        """FLAIR-HUB's name."""
        return self.group.template.modality

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands as they are stored."""
        return self.group.template.bands

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values."""
        return np.dtype(self.group.template.dtype)

    @property
    def places(self) -> tuple[int, ...]:
        """Where its dates stand in order of arrival."""
        return (0,)

    @property
    def shards(self) -> tuple[int, ...]:
        """Time shards that hold its dates."""
        return tuple(sorted({place // self.group.length for place in self.places}))

    @property
    def unfinished(self) -> int:
        """Tiles (x time shards) that do not hold all of its dates: who reads there gets an error."""
        length = self.group.length
        needed = {place // length: place % length + 1 for place in sorted(self.places)}
        return sum(int((self.reader.whole(shard) < dates).sum()) for shard, dates in needed.items())

    def told(self) -> Mapping[str, Any]:
        """Where it lies, and what of it is not there yet."""
        told = {"cube": str(self.group.target)}
        if not (unfinished := self.unfinished):
            return told
        note = (
            f"{unfinished:,} tiles are not aligned, and blocks that need them will fail: run `landweave align` again "
            f"(`landweave status {self.group.target}` tells why)"
        )
        return {**told, "notes": (note,)}

    def bounds(self, grid: Grid) -> Bounds | None:
        """Bounds ``(x0, y0, x1, y1)`` of the tiles that hold anything, in the CRS of ``grid``; None without any."""
        found = {tile.index for tile in self.reader.stored(self.shards, self.group.grid.extent)}
        if not found:
            return None
        rows, columns = zip(*found, strict=True)
        blocks = self.group.template.blocks
        held = blocks[min(rows), min(columns)].unite(blocks[max(rows), max(columns)])
        ours = self.group.grid.with_extent(held)
        if ours.crs == grid.crs:
            return ours.bounds
        to_theirs = pyproj.Transformer.from_crs(ours.crs, grid.crs, always_xy=True)
        return to_theirs.transform_bounds(*ours.bounds, densify_pts=101)

    def files(self, grid: Grid) -> tuple[SourceFile, ...]:
        """Objects that touch ``grid``: one scene a tile and time shard, its values and pixel classes together."""
        return tuple(
            SourceFile(
                id=f"{self.modality}/{tile.shard}/{tile.index[0]}/{tile.index[1]}",
                location=f"{self.group.target}/{self.modality}",
                size=tile.bytes,
                version=tile.checksum,
                format=FORMAT_NAME,
            )
            for tile in self.reader.stored(self.shards, self.own_extent(grid))
        )

    def cost(self, grid: Grid) -> ReadCost:
        """Bytes and pixels x bands of the chunks that touch ``grid``, from the sizes in the ledgers."""
        template, wanted = self.group.template, self.own_extent(grid)
        chunk = template.chunk
        read, decoded = 0.0, 0
        for tile in self.reader.stored(self.shards, wanted):
            touched = wanted.intersect(template.blocks[tile.index])
            pixels = Blocks.covering(touched, chunk).extent.size
            here = sum(place // self.group.length == tile.shard for place in self.places)
            held = max(self.reader.dates.ledgers.get(tile.shard, (1,)))
            read += tile.bytes * pixels / template.tile**2 * here / held
            decoded += pixels * len(template.bands) * here
        return ReadCost(bytes=round(read), decoded_pixels={FORMAT_NAME: decoded} if decoded else {})

    def own_extent(self, grid: Grid) -> Extent:
        """The extent of ``grid``, once it is sure to count the group's pixels.

        Raises
        ------
        InputError
            When it counts others.
        """
        if grid.with_extent(self.group.grid.extent) != self.group.grid:
            raise InputError(
                f"{self.modality} in {self.group.target} has pixels of {float(self.group.grid.resolution):g} m in "
                f"{self.group.grid.crs}; {float(grid.resolution):g} m in {grid.crs} were asked: align it on that grid."
            )
        return grid.extent

    def _indices(self, part: Extent, bands: Sequence[str]) -> tuple[Indices, Indices, Indices]:
        rows, columns = part.slices_in(self.group.grid.extent)
        channels = np.array([self.bands.index(band) for band in bands], np.int64)
        return channels, np.arange(rows.start, rows.stop), np.arange(columns.start, columns.stop)


@dataclass(frozen=True, kw_only=True)
class CubeSeries(_Stored):
    """The dates of one group of a cube: `landweave.core.protocols.SeriesSource`.

    Beyond the cube nothing is acquired; a tile whose dates are not whole is an error, never an absence.

    Attributes
    ----------
    group
        The modality.
    observations
        Ascending in time.
    arrivals
        Where each stands in order of arrival.
    """

    group: CubeGroup
    observations: tuple[Observation, ...]
    arrivals: tuple[int, ...]

    @classmethod
    def of(cls, group: CubeGroup) -> CubeSeries:
        """All visible dates of ``group``."""
        seen = group.dates().seen
        order = sorted(range(len(seen)), key=lambda place: (seen[place].time, seen[place].datatake_id))
        return cls(group=group, observations=tuple(seen[place] for place in order), arrivals=tuple(order))

    @property
    def places(self) -> tuple[int, ...]:
        """Where its dates stand in order of arrival."""
        return self.arrivals

    @property
    def quantity(self) -> str:
        """What is measured."""
        return self.group.template.quantity

    @property
    def cloud_mask(self) -> Mapping[str, Any]:
        """How pixel pixel classes were told."""
        return self.group.template.cloud_mask

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """How the cube was aligned, and the keys and scenes of the dates."""
        observations = [
            {"datatake_id": observation.datatake_id, "scenes": list(observation.provenance.get("scenes", ()))}
            for observation in self.observations
        ]
        return {"cube": self.group.template.fingerprint_fields, "observations": observations}

    def describe(self) -> Mapping[str, Any]:
        """Where it lies, and from when to when."""
        told = {**self.told(), "dates": len(self.observations), "quantity": self.quantity}
        if not self.observations:
            return told
        first, last = (
            str(observation.time.astype("datetime64[D]"))
            for observation in (self.observations[0], self.observations[-1])
        )
        return {**told, "from": first, "to": last}

    def between(self, first: np.datetime64, last: np.datetime64) -> CubeSeries:
        """The dates from day ``first`` to day ``last``, both included."""
        days = [observation.time.astype("datetime64[D]") for observation in self.observations]
        kept = [number for number, day in enumerate(days) if first <= day <= last]
        return replace(
            self,
            observations=tuple(self.observations[number] for number in kept),
            arrivals=tuple(self.arrivals[number] for number in kept),
        )

    def read(self, grid: Grid, bands: Sequence[str], indices: Sequence[int]) -> Series:
        """Pixels of ``bands`` at ``observations`` on exactly ``grid``; not acquired beyond the cube.

        Raises
        ------
        ReadError
            When a tile is not aligned yet, or cannot be read.
        """
        part = self.own_extent(grid).intersect(self.group.grid.extent)
        values = np.zeros((len(indices), len(bands), *grid.shape), self.dtype)
        pixel_class = np.zeros((len(indices), *grid.shape), np.uint8)
        if part.size:
            here = part.slices_in(grid.extent)
            places = np.array([self.arrivals[index] for index in indices], np.int64)
            cells = self._indices(part, bands)
            values[..., *here] = self.reader.read("band_data", places, *cells)
            pixel_class[:, *here] = self.reader.read("pixel_class", places, *cells)
        return Series(values=values, pixel_class=pixel_class)


@dataclass(frozen=True, kw_only=True)
class CubeRaster(_Stored):
    """A group of a cube without dates: `landweave.core.protocols.RasterSource`. Otherwise as `CubeSeries`.

    Attributes
    ----------
    group
        The modality.
    """

    group: CubeGroup

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """How the cube was aligned, from which scenes."""
        return {"cube": self.group.template.fingerprint_fields}

    def describe(self) -> Mapping[str, Any]:
        """Where it lies."""
        return self.told()

    def read(self, grid: Grid, bands: Sequence[str]) -> Raster:
        """Pixels of ``bands`` on exactly ``grid``; invalid beyond the cube.

        Raises
        ------
        ReadError
            When a tile is not aligned yet, or cannot be read.
        """
        part = self.own_extent(grid).intersect(self.group.grid.extent)
        values, valid = np.zeros((len(bands), *grid.shape), self.dtype), np.zeros(grid.shape, np.bool_)
        if part.size:
            here = part.slices_in(grid.extent)
            places, cells = np.zeros(1, np.int64), self._indices(part, bands)
            values[:, *here] = self.reader.read("band_data", places, *cells)
            valid[here] = self.reader.read("valid", places, *cells)
        return Raster(values=values, valid=valid)


def source_of(group: CubeGroup) -> CubeSeries | CubeRaster:
    """What ``group`` holds, to be read: its dates where it has any, its raster otherwise; no pixel is read."""
    return CubeSeries.of(group) if group.template.is_series else CubeRaster(group=group)
