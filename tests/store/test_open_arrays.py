import pickle
import shutil
from dataclasses import replace

import numpy as np
import pytest
import zarr
from zarr.abc.store import RangeByteRequest
from zarr.storage import LocalStore

from landweave.core.errors import ReadError
from landweave.store import open_arrays
from landweave.store import zarr_store as zarr_stores
from landweave.store.maps.overviews import create_overviews
from landweave.store.maps.store import create_map, create_map_ledger, open_store
from landweave.store.open_arrays import OpenArrays
from landweave.store.zarr_store import zarr_store
from tests.store.samples import block_of, pixels, template, written


@pytest.fixture
def asked(monkeypatch):
    """Keys that Zarr reads from disk."""
    keys = []
    plain = LocalStore.get

    async def noted(self, key, prototype, byte_range=None):
        keys.append(key)
        return await plain(self, key, prototype, byte_range)

    monkeypatch.setattr(LocalStore, "get", noted)
    return keys


def metadata(keys):
    return sorted(key for key in keys if key.endswith("zarr.json"))


def declared(target, length=8, **changes):
    settings = {"shape": (length, 4), "chunks": (4, 4), "dtype": "int16", "fill_value": -1, **changes}
    return zarr.create_array(zarr_store(target), name="a", overwrite=True, **settings)


def test_blocks_of_a_map_open_each_array_once(target, asked):
    wanted = template()
    store, arrays = create_map(target, wanted), pixels(wanted)
    asked.clear()
    for index in wanted.blocks:
        store.write(index, block_of(arrays, store, index))
    store.read("confidence", store.grid.extent)
    assert metadata(asked) == ["map/0/confidence/zarr.json", "map/0/landcover/zarr.json"]


def test_overviews_open_the_arrays_of_each_level_once(target, asked):
    store, _ = written(target, template())
    job = create_overviews(store)[0]
    asked.clear()
    make = job.open()
    for index in job.blocks:
        make(index)
    keys = [f"map/{level}/{name}/zarr.json" for level in range(4) for name in ("confidence", "landcover")]
    # The level above the map may be opened by the thread that writes and, at that time, by another.
    assert sorted(set(metadata(asked))) == keys
    assert len(metadata(asked)) <= len(keys) + 2


def test_a_ledger_opens_its_arrays_once(target, asked):
    ledger = create_map_ledger(create_map(target, template()))
    fields = ledger.load()[0]
    asked.clear()
    for _ in range(3):
        ledger.save((0, 0), fields)
        ledger.load()
    assert metadata(asked) == []


def test_a_map_declared_anew_is_read_by_its_own_metadata(target):
    store, _ = written(target, template())
    shutil.rmtree(target.location)
    again, arrays = written(target, template(down=2, block=96))
    np.testing.assert_array_equal(open_store(target).read("landcover", again.grid.extent), arrays["landcover"])
    assert again != store


def test_an_array_that_has_grown_is_opened_again(target):
    array = declared(target, length=4)
    array[:] = 1
    opened = OpenArrays(target)
    assert opened.read("a").shape == (4, 4)
    array.resize((8, 4))
    array[4:] = 2
    assert opened.read("a").shape == (4, 4)
    np.testing.assert_array_equal(opened.read("a", (slice(4, 8), [0, 3]), at_least=8), np.full((4, 2), 2))
    assert opened.read("a").shape == (8, 4)


def test_every_process_opens_its_own(target, asked):
    declared(target)[:] = 3
    opened = OpenArrays(target)
    opened.read("a")
    asked.clear()
    again = pickle.loads(pickle.dumps(opened))
    assert (again.read("a") == 3).all()
    assert metadata(asked) == ["a/zarr.json"]


def test_the_fill_value_is_written_and_what_was_written_is_returned(any_target):
    declared(any_target)
    (item,) = OpenArrays(any_target).write("a", (slice(0, 4), slice(None)), np.full((4, 4), -1, "int16"))
    assert item.array == "a"
    assert item.size == len(any_target.get("a/c/0/0"))


def test_an_object_that_is_removed_while_it_is_read_is_missing_as_a_whole(any_target, monkeypatch):
    """Not some of its chunks: half a block would be one, and half nodata."""
    declared(any_target, length=4, chunks=(2, 2), shards=(4, 4))
    opened, asked = OpenArrays(any_target), []
    opened.write("a", ..., np.ones((4, 4), "int16"))
    plain = zarr_stores._not_vanished

    def then_removed(found, key, byte_range):
        if isinstance(byte_range, RangeByteRequest):
            asked.append(found is not None)
            any_target.delete(key)
        return plain(found, key, byte_range)

    monkeypatch.setattr(zarr_stores, "_not_vanished", then_removed)
    assert (opened.read("a", (slice(0, 2), slice(None))) == -1).all()
    assert asked == [True, False]


def test_what_cannot_be_read_twice_is_an_error(target, monkeypatch):
    monkeypatch.setattr(open_arrays, "REREAD", replace(open_arrays.REREAD, pauses_s=(0.0,)))
    with pytest.raises(ReadError, match=r"map\.zarr/nothing"):
        OpenArrays(target).read("nothing")
