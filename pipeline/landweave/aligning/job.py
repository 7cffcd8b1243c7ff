"""One block of a cube: read one tile of a source, date by date, and write it whole; and which dates are to be read.

::

    dates found ──> plan_dates ──> time shards ──> blocks (tile x time shard): the dates kept, then date by date
                                                                               source.read, add; in the end write
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from landweave.core.budget import THREADS_A_WORKER
from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex, Blocks
from landweave.core.protocols import (
    Area,
    BlockFunction,
    BlockResult,
    BlockState,
    RasterSource,
    SeriesSource,
    WrittenObject,
)
from landweave.core.stopwatch import Stopwatch
from landweave.core.timeseries import Observation, PixelClass
from landweave.jobs.fingerprint import Fingerprint, digest64

DATE_FACTOR = 6.5
"""Bytes at work while a date of a tile is read and encoded, over its own: bands as they come from their files and as
they are resampled, the date, its chunks. Measured by ``benchmarks/align.py`` on ten bands of Sentinel-2."""

READ_BYTES = 100 << 20
"""What a thread holds whatever the tile: strips being resampled, blocks of the files, what the heap keeps. Measured
there as well, over one and four tiles of 512 and 1024 pixels: the heap keeps more after some tiles than after one."""

Arrays = Mapping[str, NDArray[Any]]


class Tile(Protocol):
    """One tile on its way: nothing of it is seen before it ends."""

    def add(self, date: Arrays) -> None:
        """Take one date more, or the raster: arrays of a tile by name, without a time."""

    def end(self) -> tuple[WrittenObject, ...]:
        """Write it whole; nothing is written, and nothing told, where it is empty."""


class TileStore(Protocol):
    """Where the tiles of one time shard, or of a raster, go. Picklable; called from several threads and processes."""

    def begin(self, index: BlockIndex) -> AbstractContextManager[Tile]:
        """A tile with the dates in it that are there already, and stay; the others are added in their order."""


class AlignInput(Protocol):
    """What fills a tile. Picklable."""

    @property
    def count(self) -> int:
        """How many dates it adds; 1 for a raster."""

    def read(self, grid: Grid, number: int) -> tuple[Arrays, int]:
        """Date ``number`` of them on the pixels of ``grid``, by array, and how many pixels were acquired."""

    def version(self, grid: Grid) -> int:
        """Digest of what `read` of ``grid`` rests on."""


@dataclass(frozen=True, kw_only=True)
class SeriesInput:
    """Dates of a series: one is read at a time, so that a block holds no more than one.

    Attributes
    ----------
    source
        Where they come from.
    bands
        In the order they are stored.
    indices
        Places in ``source.observations``, in the order they are stored.
    """

    source: SeriesSource
    bands: tuple[str, ...]
    indices: tuple[int, ...]

    @property
    def count(self) -> int:
        """How many dates it adds."""
        return len(self.indices)

    def read(self, grid: Grid, number: int) -> tuple[Arrays, int]:
        """``band_data (band, y, x)`` and ``pixel_class (y, x)`` of one date."""
        series = self.source.read(grid, self.bands, (self.indices[number],))
        acquired = np.count_nonzero(series.pixel_class[0] != PixelClass.NOT_ACQUIRED)
        return {"band_data": series.values[0], "pixel_class": series.pixel_class[0]}, int(acquired)

    def version(self, grid: Grid) -> int:
        """Digest of the dates and their scenes: the same whatever other dates the source has found since."""
        observations = (self.source.observations[index] for index in self.indices)
        return digest64(
            [self.source.modality, observation.datatake_id, dict(observation.provenance)]
            for observation in observations
        )


@dataclass(frozen=True, kw_only=True)
class RasterInput:
    """A source without dates, copied into a cube. Otherwise as `SeriesInput`."""

    source: RasterSource
    bands: tuple[str, ...]

    @property
    def count(self) -> int:
        """One."""
        return 1

    def read(self, grid: Grid, number: int) -> tuple[Arrays, int]:
        """``band_data (band, y, x)``, 0 where they are not valid, and ``valid (y, x)``."""
        raster = self.source.read(grid, self.bands)
        values = np.where(raster.valid, raster.values, np.zeros((), raster.values.dtype))
        return {"band_data": values, "valid": raster.valid}, int(np.count_nonzero(raster.valid))

    def version(self, grid: Grid) -> int:
        """Digest of the scenes as their files are now."""
        scenes = self.source.files(grid)
        return digest64([self.source.modality, scene.id, scene.size, scene.version] for scene in scenes)


@dataclass(frozen=True, kw_only=True)
class AlignJob:
    """Everything a worker must know to align any tile of one time shard, or of a raster; a picklable value.

    Attributes
    ----------
    key
        Names the run on its workers.
    grid
        Pixels over all of ``blocks``.
    blocks
        The tiles.
    input
        What is added to them, behind the dates that ``store`` keeps.
    store
        Where they go.
    area
        Ground to be aligned, whole tiles of it; None for all.
    """

    key: str
    grid: Grid
    blocks: Blocks
    input: AlignInput
    store: TileStore
    area: Area | None = None

    @property
    def torch_threads(self) -> int | None:
        """None: no model runs."""
        return None

    def open(self) -> BlockFunction:
        """The function that aligns one tile; it may be called from two threads."""
        return self._align

    def tile(self, index: BlockIndex) -> Grid:
        """Pixels of one tile."""
        return self.grid.with_extent(self.blocks[index])

    def outside(self, index: BlockIndex) -> bool:
        """Whether a tile lies wholly outside the area."""
        return self.area is not None and not self.area.touches(self.tile(index))

    def input_version(self, index: BlockIndex) -> int:
        """Digest of what a tile is read from."""
        return self.input.version(self.tile(index))

    def _align(self, index: BlockIndex) -> BlockResult:
        if self.outside(index):
            return BlockResult(state=BlockState.OUTSIDE)
        watch, grid, acquired = Stopwatch(), self.tile(index), 0
        with watch("total"), ExitStack() as stack:
            with watch("write"):
                tile = stack.enter_context(self.store.begin(index))
            for number in range(self.input.count):
                with watch("read"):
                    date, pixels = self.input.read(grid, number)
                with watch("write"):
                    tile.add(date)
                acquired += pixels
            with watch("write"):
                objects = tile.end()
        return BlockResult(
            state=BlockState.DONE if objects else BlockState.NO_INPUT,
            objects=objects,
            inputs=self.input_version(index),
            seconds=dict(watch.seconds),
            counts={"pixels": acquired},
        )


@dataclass(frozen=True, kw_only=True)
class DatePlan:
    """Dates of a group after an alignment.

    Attributes
    ----------
    observations
        In order of arrival: those the cube has, those a run that did not end has begun, those found now.
    kept
        How many of them, the first ones, the cube has: they are never read again.
    changed
        Keys of kept dates whose scenes are others now than those aligned.
    """

    observations: tuple[Observation, ...]
    kept: int
    changed: tuple[str, ...] = ()

    @property
    def new(self) -> int:
        """How many dates are added."""
        return len(self.observations) - self.kept


@dataclass(frozen=True, kw_only=True)
class TimeShard:
    """Dates of one time shard: its ``number``, and its ``observations`` in order of arrival (none for a raster)."""

    number: int
    observations: tuple[Observation, ...]


def plan_dates(seen: Sequence[Observation], planned: Sequence[Observation], found: Sequence[Observation]) -> DatePlan:
    """Which dates a group is to have, and in which order.

    Parameters
    ----------
    seen
        Dates the cube has, in order of arrival: each keeps its place and its pixels, whatever is found now.
    planned
        Dates that an earlier run has begun: they keep their order, so that its work is not lost, and are dropped
        where they are not found any more.
    found
        Dates of the source, ascending in time.
    """
    now = {observation.datatake_id: observation for observation in found}
    had = {observation.datatake_id for observation in seen}
    begun = [
        now[observation.datatake_id]
        for observation in planned
        if observation.datatake_id in now and observation.datatake_id not in had
    ]
    listed = had | {observation.datatake_id for observation in begun}
    new = [observation for observation in found if observation.datatake_id not in listed]
    changed = tuple(
        observation.datatake_id
        for observation in seen
        if observation.datatake_id in now
        and Fingerprint(now[observation.datatake_id].provenance) != Fingerprint(observation.provenance)
    )
    return DatePlan(observations=(*seen, *begun, *new), kept=len(seen), changed=changed)


def shards(observations: Sequence[Observation], length: int) -> tuple[TimeShard, ...]:
    """Time shards of ``length`` dates, the last one as long as it is."""
    return tuple(
        TimeShard(number=number, observations=tuple(observations[start : start + length]))
        for number, start in enumerate(range(0, len(observations), length))
    )


def tile_memory(*, pixels: int, bands: int, itemsize: int, sent_dates: int = 0) -> int:
    """Bytes that a worker with two threads needs for tiles of ``pixels``, beyond `landweave.core.budget.PROCESS_BYTES`.

    A thread holds one date, as it is read and as it is encoded; the dates before it wait in a temporary file. An object
    store is sent the whole object in one request: then its ``sent_dates`` are in memory, at most as large as their
    pixels.
    """
    date = pixels * (bands * itemsize + 1)
    return int(THREADS_A_WORKER * (max(date * DATE_FACTOR, date * sent_dates) + READ_BYTES))
