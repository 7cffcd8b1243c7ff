"""The object of one tile, collected date by date: memory holds one date, however many the object has.

::

    date 0: chunk chunk …  |  date 1: chunk …  |  …  |  offset and length of every chunk, crc32c

That is Zarr's layout of a shard (``sharding_indexed``, the index at its end). Zarr itself would encode a shard from all
its pixels at once; here it encodes the chunks of one date, and a temporary file collects those of all dates.
The chunks of a date are neighbours, so that a reader of few dates requests neighbouring bytes.
"""

from __future__ import annotations

import hashlib
import tempfile
from collections.abc import Iterator
from typing import Any, BinaryIO, Self, cast

import google_crc32c
import numpy as np
from numpy.typing import NDArray
from zarr.storage import MemoryStore

from landweave.core.errors import OutputError
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
