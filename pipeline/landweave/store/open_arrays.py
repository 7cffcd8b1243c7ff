"""Arrays of a Zarr store, opened once in a process: read with one retry, written as whole objects."""

from __future__ import annotations

import reprlib
import zlib
from collections.abc import Callable
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr import AsyncArray
from zarr.storage import StorePath

from landweave.core.errors import ReadError
from landweave.core.protocols import WriteFence, WrittenObject
from landweave.core.retry import Retry
from landweave.store.common import parsing
from landweave.store.objects import REMOTE_ERRORS, Target
from landweave.store.zarr_store import RecordingStore, zarr_store

_UNREADABLE = (*REMOTE_ERRORS, ValueError, RuntimeError, EOFError, zlib.error)

REREAD = Retry(pauses_s=(0.2,), is_transient=lambda error: isinstance(error, _UNREADABLE))
"""Of one read: a second try covers a shard that is replaced between its index and its chunk."""


class OpenArrays:
    """Arrays of one store by path, each opened once in a process: one request for its metadata, whatever is read.

    Pickled as its target alone, so that each process opens its own; safe in any thread.
    """

    def __init__(self, target: Target) -> None:
        self.target = target
        self._arrays: dict[str, zarr.Array[Any]] = {}

    def __reduce__(self) -> tuple[Callable[..., OpenArrays], tuple[Target]]:
        return OpenArrays, (self.target,)

    def open(self, path: str, at_least: int = 0) -> zarr.Array[Any]:
        """Return the array at ``path``, read-only.

        Parameters
        ----------
        path
            Below the root of the store.
        at_least
            Length of the first dimension: an array that was opened when it was shorter is opened again.

        Raises
        ------
        InputError
            When there is none, or its metadata are damaged.
        """
        array = self._arrays.get(path)
        if array is None or array.shape[0] < at_least:
            store = zarr_store(self.target, read_only=True)
            with parsing(f"{self.target}/{path}"):
                array = self._arrays[path] = zarr.open_array(store, path=path, mode="r", zarr_format=3)
        return array

    def read(self, path: str, key: Any = ..., at_least: int = 0) -> NDArray[Any]:
        """Return cells of an array, trying twice.

        Parameters
        ----------
        path, at_least
            As in `open`.
        key
            An outer indexer: slices, integers, or one-dimensional arrays of integers.

        Raises
        ------
        ReadError
            When it fails twice: the object is damaged or out of reach.
        """
        try:
            return np.asarray(REREAD.call(lambda: self.open(path, at_least).oindex[key]))
        except _UNREADABLE as error:
            raise ReadError(
                f"Cannot read {self.target}/{path} at {reprlib.repr(key)}: {error}. Where it is damaged, `landweave "
                "verify` names it, and a run repairs it."
            ) from error

    def write(
        self, path: str, key: Any, values: NDArray[Any], *, fence: WriteFence | None = None
    ) -> list[WrittenObject]:
        """Write whole objects of an array, each atomically, and return what was written.

        Parameters
        ----------
        path
            As in `open`.
        key
            Slices that cover whole objects (shards, or chunks where there are none): others lose what they had.
        values
            In the shape of ``key``. Chunks equal to the fill value are stored too: nodata has its checksum.
        fence
            Asked before each object is written, once it is encoded.
        """
        recorder = RecordingStore(zarr_store(self.target), fence=fence)
        metadata: Any = self.open(path).metadata
        array: Any = AsyncArray(metadata, StorePath(recorder, path), {"write_empty_chunks": True})
        zarr.Array(array)[key] = values
        name = path.rpartition("/")[2]
        return [
            WrittenObject(array=name, size=size, checksum=checksum, seconds=recorder.seconds[key])
            for key, size, checksum in recorder.written
        ]
