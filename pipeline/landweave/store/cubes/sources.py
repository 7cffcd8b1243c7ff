"""Groups of a cube as sources: the series and rasters that `landweave align` wrote."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pyproj
from numpy.typing import NDArray

from landweave.core.errors import InputError
from landweave.core.grid import Bounds, Grid
from landweave.core.lattice import Blocks, Extent
from landweave.core.protocols import Raster, ReadCost, Series, SourceFile
from landweave.core.timeseries import Observation
from landweave.core.words import counted
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.reader import CubeReader

FORMAT_NAME = "Zarr"
"""In the costs of plans."""


@dataclass(frozen=True, kw_only=True)
class _GroupSource:
    """What sources over a group share.

    Attributes
    ----------
    reader
        Of the group; sources cut from one another share it, so that dates and ledgers are read once.
    arrivals
        Index of each of its dates in order of arrival; a raster has one.
    """

    reader: CubeReader
    arrivals: tuple[int, ...] = (0,)

    @property
    def group(self) -> CubeGroup:
        """The modality as it is stored."""
        return self.reader.group

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
        """Of ``band_data``."""
        return np.dtype(self.group.template.dtype)

    @property
    def shards(self) -> tuple[int, ...]:
        """Time shards that hold its dates."""
        return tuple(sorted({number // self.group.length for number in self.arrivals}))

    @property
    def unfinished(self) -> int:
        """Tiles (x time shards) that do not hold all of its dates: reading there raises."""
        length = self.group.length
        needed = {number // length: number % length + 1 for number in sorted(self.arrivals)}
        return sum(int((self.reader.tiles(shard).whole < dates).sum()) for shard, dates in needed.items())

    def describe(self) -> Mapping[str, Any]:
        """Return where it is stored, and what of it is not there yet."""
        facts: dict[str, Any] = {"cube": str(self.group.target)}
        if unfinished := self.unfinished:
            facts["notes"] = (
                f"{counted(unfinished, 'tile', 'is')} not aligned, and blocks that need them will fail: run "
                f"`landweave align` again (`landweave status {self.group.target}` says why)",
            )
        return facts

    def bounds(self, grid: Grid) -> Bounds | None:
        """Return bounds ``(x0, y0, x1, y1)`` of the tiles that hold anything, in the CRS of ``grid``, or None."""
        found = {tile.index for tile in self.reader.stored(self.shards, self.group.grid.extent)}
        if not found:
            return None
        rows, columns = zip(*found, strict=True)
        blocks = self.group.template.blocks
        ours = self.group.grid.with_extent(blocks[min(rows), min(columns)].unite(blocks[max(rows), max(columns)]))
        if ours.crs == grid.crs:
            return ours.bounds
        to_theirs = pyproj.Transformer.from_crs(ours.crs, grid.crs, always_xy=True)
        return to_theirs.transform_bounds(*ours.bounds, densify_pts=101)

    def files(self, grid: Grid) -> tuple[SourceFile, ...]:
        """Return the objects that touch ``grid``: one file a tile and time shard, both arrays of the group together."""
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
        """Return bytes and pixels x bands of the chunks that touch ``grid``, from the sizes in the ledgers."""
        template, extent = self.group.template, self.own_extent(grid)
        read, decoded = 0.0, 0
        for tile in self.reader.stored(self.shards, extent):
            touched = extent.intersect(template.blocks[tile.index])
            pixels = Blocks.covering(touched, template.chunk).extent.size
            dates = sum(number // self.group.length == tile.shard for number in self.arrivals)
            stored = max(self.reader.dates.ledgers.get(tile.shard, (1,)))
            read += tile.bytes * pixels / template.tile**2 * dates / stored
            decoded += pixels * len(template.bands) * dates
        return ReadCost(bytes=round(read), decoded_pixels={FORMAT_NAME: decoded} if decoded else {})

    def own_extent(self, grid: Grid) -> Extent:
        """Return the extent of ``grid``, which must count the pixels of the group.

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

    def cells(self, name: str, key: tuple[Any, ...]) -> NDArray[Any]:
        """Return cells of a stored array.

        Parameters
        ----------
        name
            ``band_data``, ``pixel_class`` or ``valid``.
        key
            An outer indexer of ``([time,] [band,] y, x)``, its dates counted as `arrivals` counts.

        Raises
        ------
        ReadError
            When a tile is not finished, or what is stored cannot be read, twice.
        """
        template, arrivals = self.group.template, np.array(self.arrivals, np.int64)
        sizes = template.sizes(name, dates=arrivals.size, pixels=self.group.grid.shape)
        axes = zip(template.dimensions(name), sizes, key, strict=True)
        indices = {axis: np.arange(size)[part] for axis, size, part in axes}
        return self.reader.read(name, np.asarray(arrivals[indices.get("time", ...)]), indices)

    def _read(self, name: str, grid: Grid, bands: Sequence[str], dates: Sequence[int] = ()) -> NDArray[Any]:
        """Return an array on exactly ``grid``, ``([time,] [band,] y, x)``; 0 beyond the group."""
        extent, template = self.own_extent(grid), self.group.template
        picked = {"time": dates, "band": [self.bands.index(band) for band in bands]}
        leading = [np.array(picked[axis], np.int64) for axis in template.dimensions(name)[:-2]]
        result = np.zeros((*(part.size for part in leading), *grid.shape), template.array_dtype(name))
        part = extent.intersect(self.group.grid.extent)
        if part.size:
            key = (*leading, *part.slices_in(self.group.grid.extent))
            result[(..., *part.slices_in(extent))] = self.cells(name, key)
        return result


@dataclass(frozen=True, kw_only=True)
class CubeSeries(_GroupSource):
    """The dates of one group of a cube: `landweave.core.protocols.SeriesSource`.

    Beyond the cube nothing is acquired; a tile whose dates are not whole is an error, never an absence.

    Attributes
    ----------
    observations
        Ascending in time.
    """

    observations: tuple[Observation, ...]

    @classmethod
    def of(cls, group: CubeGroup) -> CubeSeries:
        """Return all visible dates of ``group``."""
        reader = CubeReader(group)
        seen = reader.dates.seen
        order = sorted(range(len(seen)), key=lambda number: (seen[number].time, seen[number].datatake_id))
        return cls(reader=reader, observations=tuple(seen[number] for number in order), arrivals=tuple(order))

    @property
    def quantity(self) -> str:
        """What is measured."""
        return self.group.template.quantity

    @property
    def cloud_mask(self) -> Mapping[str, Any]:
        """Where the pixel classes come from."""
        return self.group.template.cloud_mask

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """How the cube was aligned, and the ids and scenes of the dates."""
        observations = [
            {"datatake_id": observation.datatake_id, "scenes": list(observation.provenance.get("scenes", ()))}
            for observation in self.observations
        ]
        return {"cube": self.group.template.fingerprint_fields, "observations": observations}

    def describe(self) -> Mapping[str, Any]:
        """Return where it is stored, how many dates it has, the first and the last."""
        facts = {**super().describe(), "dates": len(self.observations), "quantity": self.quantity}
        if not self.observations:
            return facts
        first, last = (str(self.observations[number].day) for number in (0, -1))
        return {**facts, "from": first, "to": last}

    def between(self, first: np.datetime64, last: np.datetime64) -> CubeSeries:
        """Return the dates between two days.

        Parameters
        ----------
        first, last
            Days, both included.
        """
        inside = [number for number, each in enumerate(self.observations) if first <= each.day <= last]
        return replace(
            self,
            observations=tuple(self.observations[number] for number in inside),
            arrivals=tuple(self.arrivals[number] for number in inside),
        )

    def read(self, grid: Grid, bands: Sequence[str], indices: Sequence[int]) -> Series:
        """Return pixels as `landweave.core.protocols.SeriesSource.read`; not acquired beyond the cube.

        Parameters
        ----------
        grid
            Pixels of the group, within it or beyond.
        bands
            In the order they are returned.
        indices
            In `observations`, in the order they are returned.

        Raises
        ------
        ReadError
            When a tile is not aligned yet, or cannot be read.
        """
        values, pixel_class = (self._read(name, grid, bands, indices) for name in self.group.template.arrays)
        return Series(values=values, pixel_class=pixel_class)


@dataclass(frozen=True, kw_only=True)
class CubeRaster(_GroupSource):
    """A group of a cube without dates: `landweave.core.protocols.RasterSource`. Otherwise as `CubeSeries`.

    Attributes
    ----------
    notes
        What a person should know of the files that it was aligned from.
    """

    notes: tuple[str, ...] = ()

    def describe(self) -> Mapping[str, Any]:
        """Return where it is stored, what is not there yet, and the notes."""
        facts = super().describe()
        return {**facts, "notes": (*self.notes, *facts.get("notes", ()))} if self.notes else facts

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """How the cube was aligned, from which files."""
        return {"cube": self.group.template.fingerprint_fields}

    def read(self, grid: Grid, bands: Sequence[str]) -> Raster:
        """Return pixels as `landweave.core.protocols.RasterSource.read`; invalid beyond the cube.

        Parameters
        ----------
        grid, bands
            As in `CubeSeries.read`.

        Raises
        ------
        ReadError
            When a tile is not aligned yet, or cannot be read.
        """
        values, valid = (self._read(name, grid, bands) for name in self.group.template.arrays)
        return Raster(values=values, valid=valid)


def source_of(group: CubeGroup) -> CubeSeries | CubeRaster:
    """Return what ``group`` holds as a source: a series where it has dates, a raster otherwise; no pixel is read."""
    return CubeSeries.of(group) if group.template.is_series else CubeRaster(reader=CubeReader(group))
