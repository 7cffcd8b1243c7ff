import asyncio
import hashlib
import pickle
from dataclasses import replace

import numpy as np
import obstore
import pytest
import zarr
from obstore.exceptions import GenericError
from zarr.core.buffer import default_buffer_prototype

from landweave.store import zarr_store as module
from landweave.store.objects import Target, checksum64
from landweave.store.zarr_store import RecordingStore, zarr_store
from tests.helpers.counted_s3 import connect


def declared(target):
    return zarr.create_array(
        zarr_store(target), name="a", shape=(8, 8), shards=(8, 8), chunks=(4, 4), dtype="uint8", fill_value=255
    )


def test_a_store_pickles_and_reads_only_where_told(any_target):
    declared(any_target)[:] = 7
    store = pickle.loads(pickle.dumps(zarr_store(any_target, read_only=True)))
    array = zarr.open_array(store, path="a", mode="r")
    assert (array[:] == 7).all()
    with pytest.raises(ValueError, match=r"read.only"):
        zarr.open_array(store, path="a", mode="r+")[:] = 1


def test_the_recorder_tells_what_lies_there(any_target):
    declared(any_target)
    recorder = RecordingStore(zarr_store(any_target))
    zarr.open_array(recorder, path="a", mode="r+")[:] = np.arange(64, dtype="uint8").reshape(8, 8)
    ((key, size, checksum),) = recorder.written
    stored = any_target.get(key)
    assert (key, size) == ("a/c/0/0", len(stored))
    assert checksum == int(hashlib.sha256(stored).hexdigest()[:16], 16) == checksum64(stored)


def test_the_recorder_repairs_what_it_cannot_read(target):
    declared(target)[:] = 1
    target.put("a/c/0/0", b"damaged")
    zarr.open_array(RecordingStore(zarr_store(target)), path="a", mode="r+")[:] = 2
    assert (zarr.open_array(zarr_store(target), path="a", mode="r")[:] == 2).all()


def test_requests_of_zarr_are_tried_again(s3_target, monkeypatch):
    monkeypatch.setattr(module, "RETRY", replace(module.RETRY, pauses_s=(0.0, 0.0)))
    real, left = obstore.put_async, [GenericError("503"), GenericError("503")]

    async def flaky(*args, **kwargs):
        if left:
            raise left.pop()
        return await real(*args, **kwargs)

    monkeypatch.setattr(obstore, "put_async", flaky)
    store = zarr_store(s3_target)
    asyncio.run(store.set("x", default_buffer_prototype().buffer.from_bytes(b"content")))
    assert (s3_target.get("x"), left) == (b"content", [])


def test_large_objects_are_one_request(s3_target, monkeypatch):
    seen = []
    real = obstore.put_async

    async def watched(*args, **kwargs):
        seen.append(kwargs["use_multipart"])
        return await real(*args, **kwargs)

    monkeypatch.setattr(obstore, "put_async", watched)
    content = np.random.default_rng(0).bytes(11 * 2**20)  # obstore cuts at 5 MB unless told not to
    asyncio.run(zarr_store(s3_target).set("x", default_buffer_prototype().buffer.from_bytes(content)))
    assert (seen, s3_target.get("x")) == ([False], content)


def test_a_remote_store_is_shown_by_its_address(monkeypatch):
    """Also that of an Azure account which the environment alone names, where obstore's own text panics."""
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", "account")
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", "a2V5")
    for url in ("az://maps/a.zarr", "s3://maps/a.zarr", "gs://maps/a.zarr"):
        store = zarr_store(Target.parse(url, {}))
        assert str(store) == url
        assert url in repr(store)


def test_the_mark_of_a_folder_is_no_part_of_a_store(s3_target, s3_options):
    """As browsers of buckets put one: read as a member of the root it would be the root itself, endlessly."""
    parent, name = s3_target.beside("")
    connect(s3_options).put_object(
        Bucket="maps", Key=f"{parent.location.removeprefix('s3://maps')}/{name}/".lstrip("/")
    )
    group = zarr.create_group(zarr_store(s3_target))
    group.create_array("a", shape=1, dtype="u1")
    found = zarr.open_group(zarr_store(s3_target), mode="r", use_consolidated=False)
    assert [name for name, _ in found.members(max_depth=3)] == ["a"]
    assert "" not in s3_target.sizes()
