"""Reads one group of a cube: pixels, of which none may be of an unfinished tile, and the objects that hold them."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.errors import ReadError
from landweave.core.lattice import BlockIndex, Extent
from landweave.store.cubes.group import CubeGroup, ShardTiles
from landweave.store.cubes.observations import GroupObservations

_NAMED = 6
"""Unfinished tiles named in an error; the others are counted."""

Indices = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class StoredTile:
    """The objects of one tile and time shard: their bytes, and their checksums in one text."""

    shard: int
    index: BlockIndex
    bytes: int
    checksum: str


class CubeReader:
    """Reads one group in one process: its observations and the ledgers of its time shards are read once.

    Pickled as its group alone; safe in any thread; equal to a reader of the same group.
    """

    def __init__(self, group: CubeGroup) -> None:
        self.group = group
        self._lock = threading.Lock()
        self._tiles: dict[int, ShardTiles] = {}
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

    def tiles(self, shard: int, *, again: bool = False) -> ShardTiles:
        """Return the tiles of a time shard; a date that is whole in one stays so.

        Parameters
        ----------
        shard
            Number of the time shard.
        again
            Whether observations and ledgers are read anew.
        """
        with self._lock:
            if again:
                self._dates = None
            if again or shard not in self._tiles:
                found = self.group.tiles(shard, self.dates.ledgers.get(shard, ()))
                if found.replaced:  # dates were added since they were read
                    self._dates = None
                    found = self.group.tiles(shard, self.dates.ledgers.get(shard, ()))
                self._tiles[shard] = found
            return self._tiles[shard]

    def read(self, array: str, dates: Indices, indices: Mapping[str, Indices]) -> NDArray[Any]:
        """Return cells of ``array`` at every combination of indices.

        Parameters
        ----------
        array
            One of the arrays of the group.
        dates
            In order of arrival; ignored for a raster, but for its tiles.
        indices
            For ``y``, ``x`` and, where the array has it, ``band``; one without a dimension removes that of the array.

        Raises
        ------
        ReadError
            When a tile is not finished, or what is stored cannot be read, twice.
        """
        self._check(dates, indices["y"], indices["x"])
        template = self.group.template
        parts = [dates if axis == "time" else indices[axis] for axis in template.dimensions(array)]
        if not all(part.size for part in parts):
            return np.zeros([part.size for part in parts if part.ndim], template.array_dtype(array))
        at_least = int(dates.max()) + 1 if template.is_series else 0
        return self.group.opened.read(f"{template.modality}/{array}", tuple(map(_plain, parts)), at_least)

    def stored(self, shards: Sequence[int], extent: Extent) -> Iterator[StoredTile]:
        """Yield the objects that touch ``extent``: time shard by time shard, tile by tile.

        Parameters
        ----------
        shards
            Numbers of time shards.
        extent
            Pixels of the group's grid.
        """
        size, outer = self.group.template.tile, self.group.grid.extent
        part = extent.intersect(outer)
        rows, columns = part.coarsen(size).slices_in(outer.coarsen(size))
        for shard in shards if part.size else ():
            tiles = self.tiles(shard)
            for row, column in np.argwhere(tiles.object_bytes[rows, columns].any(axis=-1)).tolist():
                index = row + rows.start, column + columns.start
                yield StoredTile(
                    shard=shard,
                    index=index,
                    bytes=int(tiles.object_bytes[index].sum()),
                    checksum="-".join(f"{number:016x}" for number in tiles.object_checksum[index].tolist()),
                )

    def _check(self, dates: Indices, rows: Indices, columns: Indices) -> None:
        """Make sure that every tile of these pixels is whole on these dates: aligned, its last try no failure."""
        size, length = self.group.template.tile, self.group.length
        tiles = np.ix_(np.unique(rows // size), np.unique(columns // size))
        for shard in np.unique(dates // length).tolist():
            needed = int(dates[dates // length == shard].max()) - shard * length + 1
            if (self.tiles(shard).whole[tiles] < needed).any():
                unfinished = self.tiles(shard, again=True).whole[tiles] < needed
                if unfinished.any():
                    self._refuse(shard, needed, np.stack(np.broadcast_arrays(*tiles), axis=-1)[unfinished])

    def _refuse(self, shard: int, needed: int, unfinished: Indices) -> None:
        named = ", ".join(str(tuple(index)) for index in unfinished[:_NAMED].tolist())
        more = ", …" if len(unfinished) > _NAMED else ""
        of_dates = f", time shard {shard} with {needed} dates," if self.group.template.is_series else ""
        raise ReadError(
            f"{len(unfinished)} of the tiles asked of {self.group.template.modality} in {self.group.target}{of_dates} "
            f"are not aligned: {named}{more}. Finish `landweave align` first."
        )


def _plain(indices: Indices) -> int | slice | Indices:
    """Return the same indices as an integer or a slice where they can be: Zarr reads those at less cost."""
    if not indices.ndim:
        return int(indices)
    if np.array_equal(indices, np.arange(indices[0], indices[0] + indices.size)):
        return slice(int(indices[0]), int(indices[-1]) + 1)
    return indices
