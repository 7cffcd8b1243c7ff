"""Tiles of a cube: collected date by date, each written whole, as one object of every array."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from landweave.core.errors import OutputError
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import WriteFence, WrittenObject
from landweave.core.words import counted
from landweave.store.common import check_arrays
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.tile_object import TileObject


@dataclass(frozen=True, kw_only=True)
class CubeTileStore:
    """Tiles of one time shard, and what they hold already. Picklable and thread-safe.

    Attributes
    ----------
    group
        The modality.
    shard
        Number of the time shard; 0 for a raster.
    count
        Dates that it will hold; 1 for a raster.
    kept
        How many of them, the first ones, are whole in the tiles to be written: they stay as they are.
    fence
        Asked before each object is written; None to write always.
    """

    group: CubeGroup
    shard: int = 0
    count: int = 1
    kept: int = 0
    fence: WriteFence | None = None

    @contextmanager
    def begin(self, index: BlockIndex) -> Iterator[CubeTile]:
        """Return tile ``(block_y, block_x)`` with the dates in it that it keeps; the others are added in their order.

        Nothing is written before it ends.

        Raises
        ------
        ReadError
            When the dates kept cannot be read.
        """
        template = self.group.template
        with ExitStack() as stack:
            objects = {name: stack.enter_context(TileObject(template, name)) for name in template.arrays}
            tile = CubeTile(store=self, index=index, objects=objects)
            for date in range(self.kept):
                tile.add(self._stored(index, date))
            yield tile

    def _stored(self, index: BlockIndex, date: int) -> dict[str, NDArray[Any]]:
        """Return one date of the object that is stored, by array."""
        template, number = self.group.template, self.shard * self.group.length + date
        rows, columns = template.blocks[index].slices_in(self.group.grid.extent)
        time = (number,) if template.is_series else ()
        return {
            name: self.group.opened.read(f"{template.modality}/{name}", (*time, ..., rows, columns), number + 1)
            for name in template.arrays
        }


@dataclass(frozen=True, kw_only=True)
class CubeTile:
    """A tile that is being filled, from `CubeTileStore.begin`: readers see nothing of it before it ends.

    Attributes
    ----------
    store
        Of its time shard.
    index
        ``(block_y, block_x)``.
    objects
        Its dates so far, by array.
    """

    store: CubeTileStore
    index: BlockIndex
    objects: Mapping[str, TileObject]

    def add(self, date: Mapping[str, NDArray[Any]]) -> None:
        """Add the next date, or the raster.

        Parameters
        ----------
        date
            Every array of the group by name, of one tile: ``band_data (band, y, x)``, ``pixel_class (y, x)`` or
            ``valid (y, x)``.

        Raises
        ------
        OutputError
            When an array is missing, has another shape or dtype, or there are more dates than `CubeTileStore.count`.
        """
        template = self.store.group.template
        expected = {name: (template.date_shape(name), template.array_dtype(name)) for name in template.arrays}
        check_arrays(str(self), date, expected)
        if any(content.dates == self.store.count for content in self.objects.values()):
            raise OutputError(f"{self} has {counted(self.store.count, 'date')} already, all that it has room for.")
        for name, content in self.objects.items():
            content.add(date[name])

    def end(self) -> tuple[WrittenObject, ...]:
        """Write every array as one whole object, atomically; an empty one is no object.

        Returns
        -------
        What was written, in the order of the group's arrays. The same values give the same bytes.

        Raises
        ------
        OutputError
            When dates are missing, or it cannot be written.
        """
        for content in self.objects.values():
            if content.dates != self.store.count:
                raise OutputError(f"{self} has {counted(content.dates, 'date')}, {self.store.count} are wanted.")
        written = (self._write(name, content) for name, content in self.objects.items())
        return tuple(item for item in written if item is not None)

    def __str__(self) -> str:
        return f"Tile {self.index} of {self.store.group.template.modality} in {self.store.group.target}"

    def _write(self, name: str, content: TileObject) -> WrittenObject | None:
        target, key = self.store.group.target, self.store.group.object_key(self.store.shard, self.index, name)
        whole = content.end()
        if self.store.fence is not None:
            self.store.fence.check()
        if not whole:
            # A killed run may have left an object here, of other dates.
            target.delete(key)
            return None
        target.put_file(key, content.file)
        return WrittenObject(array=name, size=content.size, checksum=content.checksum)
