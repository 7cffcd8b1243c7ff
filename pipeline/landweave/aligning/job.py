"""One block of a cube: reads one tile of a source, date by date, and writes it whole.

::

    dates found ──> plan_dates ──> time shards ──> blocks (tile x time shard): the dates kept, then date by date
                                                                               source.read, add; in the end write
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.budget import THREADS_A_WORKER
from landweave.core.errors import MissingFileError, ReadError
from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex, Blocks
from landweave.core.protocols import Area, BlockFunction, BlockResult, BlockState, RasterSource, SeriesSource, has_dates
from landweave.core.stopwatch import Stopwatch
from landweave.core.timeseries import PixelClass, measured
from landweave.jobs.fingerprint import digest64, digest_files
from landweave.jobs.needs import output_facts, output_problems
from landweave.sources.libraries import library_facts
from landweave.store.cubes.tiles import CubeTileStore
from landweave.store.objects import Target

DATE_FACTOR = 6.5
"""Memory for reading and encoding one date of a tile, over the size of the date: bands as they come from their files
and as they are resampled, the date, its chunks. Measured by ``benchmarks/align.py`` on ten bands of Sentinel-2."""

READ_BYTES = 100 << 20
"""Memory of a thread whatever the tile: rows being resampled, blocks of the files, memory that the allocator keeps.
Measured there as well, over one and four tiles of 512 and 1024 pixels: more is kept after some tiles than after one."""

Arrays = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class AlignNeeds:
    """What any tile of a cube needs of a worker: `landweave.core.protocols.WorkerNeeds`.

    Attributes
    ----------
    target
        Where the cube is stored.
    """

    target: Target

    def facts(self) -> Mapping[str, str]:
        """What of this process decides the cube's bits, and whether it sees the cube under its lease."""
        return {**library_facts(), **output_facts(self.target)}

    def problems(self) -> tuple[str, ...]:
        """Why nothing can be written."""
        return tuple(output_problems(self.target))

    def sent_files(self) -> Mapping[str, Path]:
        """None."""
        return {}


@dataclass(frozen=True, kw_only=True)
class AlignJob:
    """Everything a worker needs to align any tile of one time shard or raster: `landweave.core.protocols.BlockJob`.

    Dates are read one at a time, so that a block has no more than one in memory.

    Attributes
    ----------
    key
        Identifies the run on its workers.
    grid
        Pixels over all of ``blocks``.
    blocks
        The tiles.
    source
        A `SeriesSource`, or a `RasterSource`.
    bands
        In the order they are stored.
    indices
        Of a series: indices of ``source.observations`` that are added to the dates that ``store`` keeps, in the order
        they are stored; None for a date whose items are gone, which was not acquired.
    store
        Where the tiles are written.
    area
        What is aligned, in whole tiles; None for everything.
    kept
        Dates that the tiles keep, before those that are read.
    accept_missing
        Whether a date whose file is gone for good is not acquired in that tile; the tile fails otherwise.
    """

    key: str
    grid: Grid
    blocks: Blocks
    source: SeriesSource | RasterSource
    bands: tuple[str, ...]
    indices: tuple[int | None, ...] = ()
    store: CubeTileStore
    area: Area | None = None
    kept: int = 0
    accept_missing: bool = False

    def read(self, grid: Grid, number: int) -> tuple[Arrays, int]:
        """One date on the pixels of ``grid``, or the raster.

        Parameters
        ----------
        grid
            Pixels of a tile.
        number
            Of the date, in ``indices``; 0 of a raster.

        Returns
        -------
        arrays
            ``band_data (band, y, x)``, 0 where nothing is measured, and ``pixel_class (y, x)``, or ``valid (y, x)`` of
            a raster.
        acquired
            Number of acquired pixels.
        """
        if has_dates(self.source):
            if (index := self.indices[number]) is None:
                raise MissingFileError("a date was not found any more")
            series = self.source.read(grid, self.bands, (index,))
            acquired = np.count_nonzero(series.pixel_class[0] != PixelClass.NOT_ACQUIRED)
            return {"band_data": series.values[0], "pixel_class": series.pixel_class[0]}, int(acquired)
        raster = self.source.read(grid, self.bands)
        values = np.where(raster.valid, raster.values, np.zeros((), raster.values.dtype))
        return {"band_data": values, "valid": raster.valid}, int(np.count_nonzero(raster.valid))

    @property
    def needs(self) -> AlignNeeds:
        """What its tiles need of a worker."""
        return AlignNeeds(target=self.store.group.target)

    def facts(self) -> Mapping[str, str]:
        """Those of `needs`."""
        return self.needs.facts()

    def problems(self) -> tuple[str, ...]:
        """Those of `needs`."""
        return self.needs.problems()

    def sent_files(self) -> Mapping[str, Path]:
        """Those of `needs`."""
        return self.needs.sent_files()

    def open(self) -> BlockFunction:
        """The function that aligns one tile; it may be called from two threads."""
        return self._align

    def input_version(self, index: BlockIndex) -> int:
        """Digest of the dates and their scenes, whatever else the source has found; of a raster's files as they are."""
        if not has_dates(self.source):
            return raster_version(self.source, self._tile(index))
        observations = (self.source.observations[number] for number in self.indices if number is not None)
        modality = self.source.modality
        return digest64([modality, each.datatake_id, dict(each.provenance)] for each in observations)

    def _tile(self, index: BlockIndex) -> Grid:
        return self.grid.with_extent(self.blocks[index])

    def _align(self, index: BlockIndex) -> BlockResult:
        watch, grid, acquired, valid = Stopwatch(), self._tile(index), 0, 0
        missing: list[str] = []
        if self.area is not None and not self.area.touched(grid, [grid.extent.y], [grid.extent.x]).any():
            return BlockResult(state=BlockState.OUTSIDE)
        with watch("total"), ExitStack() as stack:
            try:
                with watch("write"):
                    tile = stack.enter_context(self.store.begin(index))
            except ReadError as error:  # of the dates it keeps: it is aligned from all of them
                return BlockResult(state=BlockState.DAMAGED, reason=str(error))
            for number in range(len(self.indices) if has_dates(self.source) else 1):
                with watch("read"):
                    date, pixels = self._read(grid, number, missing)
                with watch("write"):
                    tile.add(date)
                acquired += pixels
                valid += _valid_pixels(date)
            with watch("write"):
                objects = tile.end()
        return BlockResult(
            # Dates that are kept hold a measurement, or their own run has said that they do not.
            state=BlockState.DONE if objects and (valid or self.kept) else BlockState.NO_INPUT,
            reason="; ".join(missing),
            objects=objects,
            inputs=self.input_version(index),
            seconds=dict(watch.seconds),
            counts={"pixels": acquired, "covered": acquired, "valid": valid, "missing": len(missing)},
        )

    def _read(self, grid: Grid, number: int, missing: list[str]) -> tuple[Arrays, int]:
        """As `read`; where a file is gone, and that is accepted, a date that was not acquired: it is noted."""
        try:
            return self.read(grid, number)
        except MissingFileError as error:
            if not self.accept_missing or not has_dates(self.source):
                raise
            missing.append(str(error))
            values = np.zeros((len(self.bands), *grid.shape), self.source.dtype)
            return {"band_data": values, "pixel_class": np.full(grid.shape, PixelClass.NOT_ACQUIRED, np.uint8)}, 0


def _valid_pixels(date: Arrays) -> int:
    """Pixels with a measurement."""
    return int(np.count_nonzero(date["valid"] if "valid" in date else measured(date["pixel_class"])))


def raster_version(source: SeriesSource | RasterSource, grid: Grid) -> int:
    """Digest of the files of ``source`` that intersect ``grid``, as they are now."""
    return digest_files((source.modality, file) for file in source.files(grid))


def tile_memory(date_bytes: int, *, sent_dates: int = 0) -> int:
    """Bytes that a worker with two threads needs for tiles, beyond `landweave.core.budget.PROCESS_BYTES`.

    A thread has one date in memory, as it is read and as it is encoded; the dates before it are in a temporary file.

    Parameters
    ----------
    date_bytes
        Of one date of a tile: its bands and its pixel classes.
    sent_dates
        Dates of a tile that an object store receives in one request, which are in memory then, at most as large as
        their pixels; 0 for a disk.
    """
    return int(THREADS_A_WORKER * (date_bytes * max(DATE_FACTOR, sent_dates) + READ_BYTES))
