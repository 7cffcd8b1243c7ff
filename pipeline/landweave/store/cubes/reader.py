"""Reads one group of a cube, a chunk at a time: what is not whole is refused, what has grown is opened again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from landweave.core.errors import ReadError
from landweave.core.lattice import Extent
from landweave.core.protocols import BlockState
from landweave.store.cubes.dates import Dates
from landweave.store.cubes.group import CubeGroup
from landweave.store.maps.store import reread
from landweave.store.zarr_store import zarr_store

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
            done = self.group.ledger_field(shard, count, "state") == BlockState.DONE
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


def _run(indices: Indices) -> slice | Indices:
    """The same indices as a slice where they follow one another."""
    if indices.size and np.array_equal(indices, np.arange(indices[0], indices[0] + indices.size)):
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices
