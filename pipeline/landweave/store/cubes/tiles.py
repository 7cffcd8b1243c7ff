"""Tiles of a cube: collected date by date, each written whole, as one object of every array.

::

    date 0: chunk chunk …  |  date 1: chunk …  |  …  |  offset and length of every chunk, crc32c

That is Zarr's layout of a shard (``sharding_indexed``, the index at its end). Zarr itself would encode a shard from all
its pixels at once; here it encodes the chunks of one date, and a temporary file collects those of all dates: memory
holds one date, however many the object has. The chunks of a date are neighbours, so that a reader of few dates requests
neighbouring bytes.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO, Self, cast

import google_crc32c
import numpy as np
from numpy.typing import NDArray
from zarr.storage import MemoryStore

from landweave.core.errors import OutputError
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import WriteFence, WrittenObject
from landweave.core.words import counted
from landweave.store.common import check_arrays
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.layout import declare_date
from landweave.store.cubes.template import GroupTemplate
from landweave.store.objects import number64

_ABSENT = np.iinfo(np.uint64).max
"""Offset and length of a chunk that is not stored."""


class TileObject:
    """An object that is being filled: `add` every date, then `end` it. The same values give the same bytes.

    Its file has no name, so that nothing of it is left when the process is killed; it is among the temporary files
    of the system (``TMPDIR``).

    Attributes
    ----------
    file
        Its content so far.
    size
        Bytes of it.
    dates
        How many were added; of a raster 1.
    """

    def __init__(self, template: GroupTemplate, array: str) -> None:
        side = template.tile // template.chunk
        chunks = {"time": template.time_shard or 1, "band": 1, "y": side, "x": side}
        self._index = np.full((*(chunks[name] for name in template.dimensions(array)), 2), _ABSENT, "<u8")
        self._stored: dict[str, Any] = {}
        self._date = declare_date(MemoryStore(self._stored), template, array)
        self._digest = hashlib.sha256()
        self.dates = 0
        self.size = 0
        self.file = cast("BinaryIO", tempfile.TemporaryFile())  # noqa: SIM115  closed when this is left

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.file.close()

    @property
    def checksum(self) -> int:
        """Of its content so far, as `landweave.store.zarr_store.checksum64`."""
        return number64(self._digest)

    def add(self, values: NDArray[Any]) -> None:
        """Add the next date, in the shape of `GroupTemplate.date_shape`; chunks without a measurement cost nothing."""
        for index, content in self._encode(values):
            self._index[self.dates + index[0], *index[1:]] = self.size, len(content)
            self._append(content)
        self.dates += 1

    def end(self) -> bool:
        """Append the index to the chunks; return False where there are none: such an object is not stored."""
        if not self.size:
            return False
        index = self._index.tobytes()
        self._append(memoryview(index + google_crc32c.value(index).to_bytes(4, "little")))
        self.file.flush()
        return True

    def _append(self, content: memoryview) -> None:
        try:
            self.file.write(content)
        except OSError as error:
            raise OutputError(
                f"{self.size + len(content):,} bytes of a tile's dates, {self.size:,} of them written, do not fit "
                f"into {tempfile.gettempdir()}: {error.strerror}. Set TMPDIR to a place with more room."
            ) from error
        self._digest.update(content)
        self.size += len(content)

    def _encode(self, values: NDArray[Any]) -> Iterator[tuple[tuple[int, ...], memoryview]]:
        """Yield index and content, as Zarr encodes it, of every chunk of a date that holds anything, in order."""
        self._date[...] = values.reshape(self._date.shape)
        below = f"{self._date.path}/c/"
        chunks = {
            tuple(map(int, name[len(below) :].split("/"))): name for name in self._stored if name.startswith(below)
        }
        for index in sorted(chunks):
            yield index, memoryview(self._stored.pop(chunks[index]).as_buffer_like())


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
