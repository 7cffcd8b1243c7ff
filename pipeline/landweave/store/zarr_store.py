"""Zarr stores over a target: one that retries requests, and one that records what is written through it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Iterable
from functools import partial
from typing import TYPE_CHECKING, Any, Self

import obstore
from zarr.abc.store import ByteRequest, RangeByteRequest, Store
from zarr.storage import LocalStore, ObjectStore, WrapperStore

from landweave.core.protocols import WriteFence
from landweave.store.clients import RETRY
from landweave.store.objects import Target, checksum64

if TYPE_CHECKING:
    from zarr.core.buffer import Buffer, BufferPrototype


def zarr_store(target: Target, *, read_only: bool = False) -> Store:
    """Return the Zarr store of a target: atomic files locally, single retried requests elsewhere. Picklable.

    Parameters
    ----------
    target
        A local folder or a prefix of an object store.
    read_only
        Whether writing through it raises.
    """
    if target.is_local:
        return DiskStore(target.location, read_only=read_only)
    return RemoteStore(ObjectStore(target.objects, read_only=read_only), target)


# The methods of both stores are those of `zarr.abc.store.Store`, documented there.
# ruff: noqa: D102


class DiskStore(LocalStore):
    """A folder whose objects are read whole or not at all."""

    async def get(
        self, key: str, prototype: BufferPrototype | None = None, byte_range: ByteRequest | None = None
    ) -> Buffer | None:
        return _not_vanished(await super().get(key, prototype, byte_range), key, byte_range)


def _not_vanished(found: Buffer | None, key: str, byte_range: ByteRequest | None) -> Buffer | None:
    """What was read. Zarr asks for a range when it has read a shard's index: a chunk that is gone by then is no nodata.

    Raises
    ------
    FileNotFoundError
        When the shard was removed in between: a second read sees that all of it is gone.
    """
    if found is None and isinstance(byte_range, RangeByteRequest):
        raise FileNotFoundError(f"{key} was removed while it was read")
    return found


class RemoteStore(WrapperStore[ObjectStore[Any]]):
    """An object store with one retry loop, which never writes an object in parts.

    A killed upload in parts leaves an orphan that is invisible and billed; a shard fits one request.
    """

    def __init__(self, store: ObjectStore[Any], target: Target) -> None:
        super().__init__(store)
        self.target = target

    def __str__(self) -> str:
        return str(self.target)

    def __repr__(self) -> str:
        # Its own, too: that of obstore panics for an Azure account that the environment names.
        return f"{type(self).__name__}({str(self)!r})"

    def __reduce__(self) -> tuple[Callable[..., Store], tuple[Any, ...]]:
        return partial(zarr_store, read_only=self.read_only), (self.target,)

    def _with_store(self, store: ObjectStore[Any]) -> Self:
        return type(self)(store, self.target)

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        found = await RETRY.call_async(lambda: self._store.get(key, prototype, byte_range))
        return _not_vanished(found, key, byte_range)

    async def get_partial_values(
        self, prototype: BufferPrototype, key_ranges: Iterable[tuple[str, ByteRequest | None]]
    ) -> list[Buffer | None]:
        ranges = tuple(key_ranges)
        return await RETRY.call_async(lambda: self._store.get_partial_values(prototype, ranges))

    async def is_empty(self, prefix: str) -> bool:
        return await RETRY.call_async(lambda: self._store.is_empty(prefix))

    async def clear(self) -> None:
        await RETRY.call_async(lambda: self._store.clear())

    async def exists(self, key: str) -> bool:
        return await RETRY.call_async(lambda: self._store.exists(key))

    async def set(self, key: str, value: Buffer) -> None:
        self._check_writable()
        content = value.as_buffer_like()
        client = self.target.uploader(len(value))
        await RETRY.call_async(lambda: obstore.put_async(client, key, content, use_multipart=False))

    async def set_if_not_exists(self, key: str, value: Buffer) -> None:
        self._check_writable()
        await RETRY.call_async(lambda: self._store.set_if_not_exists(key, value))

    async def delete(self, key: str) -> None:
        await RETRY.call_async(lambda: self._store.delete(key))

    async def delete_dir(self, prefix: str) -> None:
        await RETRY.call_async(lambda: self._store.delete_dir(prefix))

    async def getsize(self, key: str) -> int:
        return await RETRY.call_async(lambda: self._store.getsize(key))

    # A listing is begun anew after an error, so it is gathered before any of it is given.
    async def list(self) -> AsyncIterator[str]:
        for name in await RETRY.call_async(lambda: _gathered(self._store.list())):
            yield name

    async def list_prefix(self, prefix: str) -> AsyncIterator[str]:
        for name in await RETRY.call_async(lambda: _gathered(self._store.list_prefix(prefix))):
            yield name

    async def list_dir(self, prefix: str) -> AsyncIterator[str]:
        for name in await RETRY.call_async(lambda: _gathered(self._store.list_dir(prefix))):
            yield name


async def _gathered(names: AsyncIterator[str]) -> tuple[str, ...]:
    return tuple([name async for name in names if name])  # an empty one is the mark of a folder, put by a browser


class RecordingStore(WrapperStore[Store]):
    """A store for writing whole objects, which records size and checksum of each object written through it.

    Chunks that are already there read as missing. Zarr loads the old shard before writing a new one, even when
    all of it is replaced: that would read every object of a map twice, and a damaged one could not be repaired.

    Attributes
    ----------
    written
        ``(key, bytes, checksum)`` of each object written.
    seconds
        That the wrapped store took for each object, by key; encoding comes before.
    fence
        Asked before each object is written; None to write always.
    """

    def __init__(
        self, store: Store, written: list[tuple[str, int, int]] | None = None, fence: WriteFence | None = None
    ) -> None:
        super().__init__(store)
        self.written: list[tuple[str, int, int]] = [] if written is None else written
        self.fence = fence
        self.seconds: dict[str, float] = {}

    def _with_store(self, store: Store) -> Self:
        other = type(self)(store, self.written, self.fence)
        other.seconds = self.seconds
        return other

    async def get(self, key: str, prototype: BufferPrototype, byte_range: ByteRequest | None = None) -> Buffer | None:
        if not key.endswith("zarr.json"):
            return None
        return await self._store.get(key, prototype, byte_range)

    async def set(self, key: str, value: Buffer) -> None:
        content = value.as_buffer_like()
        # Hashing a shard takes a tenth of a second: not on the event loop that every read waits for.
        checksum = await asyncio.to_thread(checksum64, content)
        started = time.perf_counter()
        if self.fence is not None:
            await asyncio.to_thread(self.fence.check)
        await self._store.set(key, value)
        self.seconds[key] = time.perf_counter() - started
        self.written.append((key, len(value), checksum))
