"""A cube's groups as sources: the dates and rasters that `landweave align` wrote, read a chunk at a time."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import pyproj
import zarr
from numpy.typing import NDArray

from landweave.errors import InputError, ReadError
from landweave.grid import Grid
from landweave.lattice import Blocks, Extent
from landweave.ports import Raster, ReadCost, Scene, Series, State
from landweave.store.cube_dates import Dates
from landweave.store.cubes import CubeGroup, open_cube_store
from landweave.store.maps import reread
from landweave.store.objects import Target
from landweave.store.zarr_store import zarr_store
from landweave.timeseries import Step

FORMAT_NAME = "Zarr"
"""In the prices of plans."""

_NAMED = 6
"""Unfinished tiles named in an error; the others are counted."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class StoredTile:
    """The objects of one tile and time shard."""

    shard: int
    index: tuple[int, int]
    bytes: int
    checksum: str


class CubeReader:
    """Reads one group in one process: arrays opened once, and what is known to be whole.

    Pickled as its group alone; safe in any thread.
    """

    def __init__(self, group: CubeGroup) -> None:
        self.group = group
        self._lock = threading.Lock()
        self._arrays: dict[tuple[str, int], zarr.Array[Any]] = {}
        self._whole: dict[int, NDArray[np.int64]] = {}
        self._dates: Dates | None = None

    def __reduce__(self) -> tuple[Callable[..., CubeReader], tuple[CubeGroup]]:
        return CubeReader, (self.group,)

    @property
    def dates(self) -> Dates:
        """The group's dates as they stood when they were last wanted."""
        if self._dates is None:
            self._dates = self.group.dates()
        return self._dates

    def read(self, array: str, places: Indices, bands: Indices, rows: Indices, columns: Indices) -> NDArray[Any]:
        """Cells of ``array`` at every combination of the indices given for its dimensions; the others are left out.

        Raises
        ------
        ReadError
            When a tile is not finished, or what is stored cannot be read, twice.
        """
        self.check(places, rows, columns)
        given = {"time": places, "band": bands, "y": rows, "x": columns}
        key = tuple(_run(given[name]) for name in self.group.template.dimensions(array))
        dates = int(places.max(initial=-1)) + 1 if self.group.template.is_series else 1
        if 0 in (part.size for name, part in given.items() if name in self.group.template.dimensions(array)):
            shape = [given[name].size for name in self.group.template.dimensions(array)]
            return np.zeros(shape, self.group.template.array_dtype(array))
        where = f"{self.group.target}/{self.group.template.modality}/{array}"
        return reread(lambda: np.asarray(self._opened(array, dates).oindex[key]), where)

    def check(self, places: Indices, rows: Indices, columns: Indices) -> None:
        """Make sure that every tile of these pixels is whole on these dates.

        Raises
        ------
        ReadError
            When one is not: it was not aligned yet, or its last try failed.
        """
        size = self.group.template.tile
        tiles = np.ix_(np.unique(rows // size), np.unique(columns // size))
        for shard in np.unique(places // self.group.length).tolist():
            ours = places[places // self.group.length == shard]
            needed = int(ours.max()) - shard * self.group.length + 1
            if (self.whole(shard)[tiles] < needed).any() and (self.whole(shard, again=True)[tiles] < needed).any():
                self._refuse(shard, needed, tiles)

    def whole(self, shard: int, *, again: bool = False) -> NDArray[np.int64]:
        """How many dates of a time shard are whole in each tile; what is whole stays so."""
        with self._lock:
            if again:
                self._dates = None
            if again or shard not in self._whole:
                self._whole[shard] = self.group.whole(shard, self.dates.ledgers.get(shard, ()))
            return self._whole[shard]

    def tiles(self, extent: Extent) -> tuple[Indices, Indices]:
        """Rows and columns of tiles that touch ``extent``; none when it lies beyond the group."""
        part = extent.intersect(self.group.grid.extent)
        if not part.size:
            return np.arange(0), np.arange(0)
        rows, columns = part.slices_in(self.group.grid.extent)
        size = self.group.template.tile
        return (
            np.arange(rows.start // size, -(-rows.stop // size)),
            np.arange(columns.start // size, -(-columns.stop // size)),
        )

    def stored(self, shards: Sequence[int], extent: Extent) -> Iterator[StoredTile]:
        """Objects that touch ``extent``, from the ledgers in force: time shard by time shard, tile by tile."""
        rows, columns = self.tiles(extent)
        for shard in shards:
            sizes, checksums = self._objects(shard)
            for row in rows.tolist():
                for column in columns.tolist():
                    if sizes[row, column].any():
                        summed = "-".join(f"{number:016x}" for number in checksums[row, column].tolist())
                        yield StoredTile(
                            shard=shard,
                            index=(row, column),
                            bytes=int(sizes[row, column].sum()),
                            checksum=summed,
                        )

    def _objects(self, shard: int) -> tuple[NDArray[Any], NDArray[Any]]:
        """Sizes and checksums ``(block_y, block_x, array)`` by the last ledger in which each tile is done."""
        shape = (*self.group.template.blocks.shape, len(self.group.template.arrays))
        sizes, checksums = np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)
        for count in self.dates.ledgers.get(shard, ()):
            done = self.group.ledger_field(shard, count, "state") == State.DONE
            sizes[done] = self.group.ledger_field(shard, count, "object_bytes")[done]
            checksums[done] = self.group.ledger_field(shard, count, "object_checksum")[done]
        return sizes, checksums

    def _opened(self, array: str, dates: int) -> zarr.Array[Any]:
        """The array, opened again when it has grown since."""
        with self._lock:
            known = next((held for (name, size), held in self._arrays.items() if name == array and size >= dates), None)
            if known is None:
                path = f"{self.group.template.modality}/{array}"
                known = zarr.open_array(
                    zarr_store(self.group.target, read_only=True), path=path, mode="r", zarr_format=3
                )
                self._arrays[array, known.shape[0] if self.group.template.is_series else 1] = known
            return known

    def _refuse(self, shard: int, needed: int, tiles: tuple[Any, ...]) -> None:
        rows, columns = (part.ravel().tolist() for part in tiles)
        whole = self.whole(shard)
        lacking = [(row, column) for row in rows for column in columns if whole[row, column] < needed]
        named = ", ".join(map(str, lacking[:_NAMED])) + (", …" if len(lacking) > _NAMED else "")
        of_dates = f", time shard {shard} with {needed} dates," if self.group.template.is_series else ""
        raise ReadError(
            f"{len(lacking)} of the tiles asked of {self.group.template.modality} in {self.group.target}{of_dates} "
            f"are not aligned: {named}. Finish `landweave align` first."
        )


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

    def footprint(self, grid: Grid) -> tuple[float, float, float, float] | None:
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

    def scenes(self, grid: Grid) -> tuple[Scene, ...]:
        """Objects that touch ``grid``: one scene a tile and time shard, its values and states together."""
        return tuple(
            Scene(
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
    """The dates of one group of a cube: `landweave.ports.SeriesSource`.

    Beyond the cube nothing is acquired; a tile whose dates are not whole is an error, never an absence.

    Attributes
    ----------
    group
        The modality.
    steps
        Ascending in time.
    arrivals
        Where each stands in order of arrival.
    """

    group: CubeGroup
    steps: tuple[Step, ...]
    arrivals: tuple[int, ...]

    @classmethod
    def of(cls, group: CubeGroup) -> CubeSeries:
        """All visible dates of ``group``."""
        seen = group.dates().seen
        order = sorted(range(len(seen)), key=lambda place: (seen[place].time, seen[place].key))
        return cls(group=group, steps=tuple(seen[place] for place in order), arrivals=tuple(order))

    @property
    def places(self) -> tuple[int, ...]:
        """Where its dates stand in order of arrival."""
        return self.arrivals

    @property
    def quantity(self) -> str:
        """What is measured."""
        return self.group.template.quantity

    @property
    def clouds(self) -> Mapping[str, Any]:
        """How pixel states were told."""
        return self.group.template.clouds

    @property
    def meaning(self) -> Mapping[str, Any]:
        """How the cube was aligned, and the keys and scenes of the dates."""
        steps = [{"key": step.key, "scenes": list(step.provenance.get("scenes", ()))} for step in self.steps]
        return {"cube": self.group.template.meaning, "steps": steps}

    def describe(self) -> Mapping[str, Any]:
        """Where it lies, and from when to when."""
        told = {"cube": str(self.group.target), "dates": len(self.steps), "quantity": self.quantity}
        if not self.steps:
            return told
        first, last = (str(step.time.astype("datetime64[D]")) for step in (self.steps[0], self.steps[-1]))
        return {**told, "from": first, "to": last}

    def select_year(self, year: int) -> CubeSeries:
        """The dates of one civil year (UTC)."""
        return self.between(np.datetime64(f"{year:04}-01-01"), np.datetime64(f"{year:04}-12-31"))

    def between(self, first: np.datetime64, last: np.datetime64) -> CubeSeries:
        """The dates from day ``first`` to day ``last``, both included."""
        days = [step.time.astype("datetime64[D]") for step in self.steps]
        kept = [number for number, day in enumerate(days) if first <= day <= last]
        return replace(
            self,
            steps=tuple(self.steps[number] for number in kept),
            arrivals=tuple(self.arrivals[number] for number in kept),
        )

    def read(self, grid: Grid, bands: Sequence[str], steps: Sequence[int]) -> Series:
        """Pixels of ``bands`` at ``steps`` on exactly ``grid``; not acquired beyond the cube.

        Raises
        ------
        ReadError
            When a tile is not aligned yet, or cannot be read.
        """
        part = self.own_extent(grid).intersect(self.group.grid.extent)
        values = np.zeros((len(steps), len(bands), *grid.shape), self.dtype)
        state = np.zeros((len(steps), *grid.shape), np.uint8)
        if part.size:
            here = part.slices_in(grid.extent)
            places = np.array([self.arrivals[step] for step in steps], np.int64)
            indices = self._indices(part, bands)
            values[..., *here] = self.reader.read("values", places, *indices)
            state[:, *here] = self.reader.read("state", places, *indices)
        return Series(values=values, state=state)


@dataclass(frozen=True, kw_only=True)
class CubeRaster(_Stored):
    """A group of a cube without dates: `landweave.ports.Source`. Otherwise as `CubeSeries`.

    Attributes
    ----------
    group
        The modality.
    """

    group: CubeGroup

    @property
    def meaning(self) -> Mapping[str, Any]:
        """How the cube was aligned, from which scenes."""
        return {"cube": self.group.template.meaning}

    def describe(self) -> Mapping[str, Any]:
        """Where it lies."""
        return {"cube": str(self.group.target)}

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
            places, indices = np.zeros(1, np.int64), self._indices(part, bands)
            values[:, *here] = self.reader.read("values", places, *indices)
            valid[here] = self.reader.read("valid", places, *indices)
        return Raster(values=values, valid=valid)


def open_series(where: str | os.PathLike[str] | Target, modality: str, **options: Any) -> CubeSeries:
    """The dates of ``modality`` in the cube at a path or URL; no pixel is read.

    Raises
    ------
    InputError
        When there is no such cube or group, or the group has no dates.
    """
    group = open_cube_store(Target.parse(where, **options)).group(modality)
    if not group.template.is_series:
        raise InputError(f"{modality} in {group.target} has no dates: open it with open_raster.")
    return CubeSeries.of(group)


def open_raster(where: str | os.PathLike[str] | Target, modality: str, **options: Any) -> CubeRaster:
    """The raster of ``modality`` in the cube at a path or URL; no pixel is read.

    Raises
    ------
    InputError
        When there is no such cube or group, or the group has dates.
    """
    group = open_cube_store(Target.parse(where, **options)).group(modality)
    if group.template.is_series:
        raise InputError(f"{modality} in {group.target} has dates: open it with open_series.")
    return CubeRaster(group=group)


def _run(indices: Indices) -> slice | Indices:
    """The same indices as a slice where they follow one another."""
    if indices.size and np.array_equal(indices, np.arange(indices[0], indices[0] + indices.size)):
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices
