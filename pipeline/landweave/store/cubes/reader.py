"""Reads one group of a cube, a chunk at a time: what is not whole is refused, what has grown is opened again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.errors import ReadError
from landweave.core.lattice import Extent
from landweave.core.protocols import BlockState
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.observations import GroupObservations

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
    """Reads one group in one process: its observations, and which tiles are whole, are read once.

    Pickled as its group alone; safe in any thread; equal to a reader of the same group.
    """

    def __init__(self, group: CubeGroup) -> None:
        self.group = group
        self._lock = threading.Lock()
        self._whole: dict[int, NDArray[np.int64]] = {}
        self._dates: GroupObservations | None = None

    def __reduce__(self) -> tuple[Callable[..., CubeReader], tuple[CubeGroup]]:
        return CubeReader, (self.group,)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, CubeReader) and other.group == self.group

    __hash__ = None  # type: ignore[assignment]

    @property
    def dates(self) -> GroupObservations:
        """The group's observations as they stood when they were last read."""
        if self._dates is None:
            self._dates = self.group.dates()
        return self._dates

    def read(self, array: str, dates: Indices, bands: Indices, rows: Indices, columns: Indices) -> NDArray[Any]:
        """Return cells of ``array`` at every combination of the indices; those it has no dimension for are left out.

        Parameters
        ----------
        array
            One of the arrays of the group.
        dates
            In order of arrival.
        bands, rows, columns
            Counted from the first of the group.

        Raises
        ------
        ReadError
            When a tile is not finished, or what is stored cannot be read, twice.
        """
        self.check(dates, rows, columns)
        template, given = self.group.template, {"time": dates, "band": bands, "y": rows, "x": columns}
        key = tuple(given[name] for name in template.dimensions(array))
        if not all(part.size for part in key):
            return np.zeros([part.size for part in key], template.array_dtype(array))
        at_least = int(dates.max()) + 1 if template.is_series else 0
        return self.group.opened.read(f"{template.modality}/{array}", tuple(map(_as_slice, key)), at_least)

    def check(self, dates: Indices, rows: Indices, columns: Indices) -> None:
        """Make sure that every tile of these pixels is whole on these dates.

        Parameters
        ----------
        dates, rows, columns
            As in `read`.

        Raises
        ------
        ReadError
            When one is not: it was not aligned yet, or its last try failed.
        """
        size, length = self.group.template.tile, self.group.length
        tiles = np.ix_(np.unique(rows // size), np.unique(columns // size))
        for shard in np.unique(dates // length).tolist():
            needed = int(dates[dates // length == shard].max()) - shard * length + 1
            if (self.whole(shard)[tiles] < needed).any() and (self.whole(shard, again=True)[tiles] < needed).any():
                self._refuse(shard, needed, tiles)

    def whole(self, shard: int, *, again: bool = False) -> NDArray[np.int64]:
        """Return how many dates of a time shard are whole in each tile, ``(block_y, block_x)``; what is whole stays so.

        Parameters
        ----------
        shard
            Number of the time shard.
        again
            Whether the ledgers are read anew.
        """
        with self._lock:
            if again:
                self._dates = None
            if again or shard not in self._whole:
                self._whole[shard] = self.group.whole(shard, self.dates.ledgers.get(shard, ()))
            return self._whole[shard]

    def tiles(self, extent: Extent) -> tuple[Indices, Indices]:
        """Return rows and columns of the tiles that touch ``extent``; none when it lies beyond the group."""
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
        """Yield the objects that touch ``extent``, from the ledgers in force: time shard by time shard, tile by tile.

        Parameters
        ----------
        shards
            Numbers of time shards.
        extent
            Pixels of the group's grid.
        """
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
        """Return sizes and checksums ``(block_y, block_x, array)`` by the last ledger in which each tile is done."""
        shape = (*self.group.template.blocks.shape, len(self.group.template.arrays))
        sizes, checksums = np.zeros(shape, np.uint64), np.zeros(shape, np.uint64)
        for count in self.dates.ledgers.get(shard, ()):
            done = self.group.ledger_field(shard, count, "state") == BlockState.DONE
            sizes[done] = self.group.ledger_field(shard, count, "object_bytes")[done]
            checksums[done] = self.group.ledger_field(shard, count, "object_checksum")[done]
        return sizes, checksums

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


def _as_slice(indices: Indices) -> slice | Indices:
    """The same indices as a slice where they follow one another."""
    if indices.size and np.array_equal(indices, np.arange(indices[0], indices[0] + indices.size)):
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices
