import asyncio
import json
import multiprocessing
import pickle
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from itertools import count

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore

from landweave.core.errors import ConfigError, InputError, LatticeError, OutputError, ReadError
from landweave.core.lattice import Extent
from landweave.core.protocols import MapReader
from landweave.store import open_arrays
from landweave.store.common import read_attributes
from landweave.store.cubes.store import create_cube
from landweave.store.ledger_store import ZarrLedger
from landweave.store.maps import store as store_module
from landweave.store.maps.store import create_map, create_map_ledger, open_store
from landweave.store.maps.template import MapTemplate
from landweave.store.objects import Target
from landweave.store.zarr_store import zarr_store
from tests.store.samples import LEGEND, block_of, pixels, template, written


def test_what_is_written_comes_back_bit_for_bit(any_target):
    store, arrays = written(any_target, template(probability=True))
    store.finalize()
    again = open_store(any_target)
    assert again == store
    for name, values in arrays.items():
        np.testing.assert_array_equal(again.read(name, store.grid.extent), values)
    part = Extent.of(
        (store.grid.extent.y.start + 17, store.grid.extent.y.start + 101),
        (store.grid.extent.x.start + 40, store.grid.extent.x.start + 41),
    )
    np.testing.assert_array_equal(again.read("landcover", part), arrays["landcover"][17:101, 40:41])


def test_the_same_block_is_the_same_bytes(any_target):
    store, arrays = written(any_target, template())
    first = store.write((1, 1), block_of(arrays, store, (1, 1)))
    before = any_target.get("map/0/landcover/c/1/1")
    store.write((1, 1), {name: np.zeros_like(a) for name, a in block_of(arrays, store, (1, 1)).items()})
    assert store.write((1, 1), block_of(arrays, store, (1, 1))) == first
    assert any_target.get("map/0/landcover/c/1/1") == before
    assert [item.array for item in first] == ["landcover", "confidence"]
    assert first[0].size == len(before)


def test_many_threads_give_the_same_bytes(target):
    """Chunks of a megabyte, which a codec with threads of its own would cut in parts."""
    wanted = template(down=1, across=1, block=2048, chunk=1024)
    store, arrays = create_map(target, wanted), pixels(wanted)
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: store.write((0, 0), arrays), range(8)))
    assert len(set(results)) == 1


@pytest.mark.parametrize("value", [0, 255])
def test_chunks_of_one_value_are_stored(target, value):
    store = create_map(target, template(confidence=False))
    block = np.full((64, 64), value, np.uint8)
    (item,) = store.write((0, 0), {"landcover": block})
    # Four chunks with their checksums and an index that knows each: nothing is left to the fill value.
    index = np.frombuffer(target.get("map/0/landcover/c/0/0")[-4 * 16 - 4 : -4], np.uint64).reshape(4, 2)
    assert item.size > 4 * 16 + 4
    assert (index[:, 1] > 4).all()
    assert (index[:, 1] < 2**32).all()
    assert (store.read("landcover", store.block((0, 0))) == value).all()


def test_each_block_is_one_object_of_each_array(target):
    written(target, template())
    objects = [name for name in target.list("map/0") if "/c/" in name and not name.endswith(("/x/c/0", "/y/c/0"))]
    indexes = [f"{row}/{column}" for row in range(3) for column in (0, 1)]
    expected = [f"map/0/{array}/c/{index}" for array in ("landcover", "confidence") for index in indexes]
    assert sorted(objects) == sorted(expected)


def _write_column(store, column, arrays):
    for row in range(3):
        store.write((row, column), block_of(arrays, store, (row, column)))


def test_processes_write_side_by_side(target):
    wanted = template()
    store, arrays = create_map(target, wanted), pixels(wanted)
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=_write_column, args=(store, column, arrays)) for column in (0, 1)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0, 0]
    np.testing.assert_array_equal(store.read("landcover", store.grid.extent), arrays["landcover"])


def test_a_store_travels_light(target):
    assert len(pickle.dumps(create_map(target, template()))) < 4000


def test_secrets_stay_out_of_what_is_stored(s3_target):
    written(s3_target, template())
    content = b"".join(s3_target.get(name) for name in s3_target.list() if name.endswith("zarr.json"))
    assert b"hidden-word" not in content
    assert b"endpoint" not in content


def test_what_is_there_is_not_overwritten(target):
    create_map(target, template())
    with pytest.raises(OutputError, match="already holds"):
        create_map(target, template())


@pytest.mark.parametrize("create", [lambda target: create_map(target, template()), create_cube])
@pytest.mark.parametrize("foreign", ["tile_0612.jp2", "rvb/tile_0612.jp2", ".zgroup"])
def test_what_lies_where_a_map_would_go_is_never_removed(any_target, create, foreign):
    any_target.put(foreign, b"a week of downloads")
    with pytest.raises(OutputError, match=rf"already holds {foreign.partition('/')[0]}.*would remove"):
        create(any_target)
    assert any_target.list() == (foreign,)


@pytest.mark.parametrize("foreign", ["zarr.json", ".zgroup"])
def test_a_foreign_store_is_left_alone(tmp_path, foreign):
    target = Target.parse(tmp_path)
    target.put(foreign, b'{"zarr_format": 3, "node_type": "group", "attributes": {}}')
    with pytest.raises(OutputError, match="already holds"):
        create_map(target, template())
    with pytest.raises(InputError, match=r"Not a Landweave map|no map"):
        open_store(target)


def test_a_killed_creation_is_begun_anew(target, monkeypatch):
    real = store_module.declare_level

    def killed(*args):
        real(*args)
        raise KeyboardInterrupt

    monkeypatch.setattr(store_module, "declare_level", killed)
    with pytest.raises(KeyboardInterrupt):
        create_map(target, template(down=5, confidence=False))
    monkeypatch.undo()
    assert read_attributes(target) is None
    with pytest.raises(InputError, match="no map"):
        open_store(target)
    store, arrays = written(target, template())
    np.testing.assert_array_equal(open_store(target).read("confidence", store.grid.extent), arrays["confidence"])


@pytest.mark.parametrize("writes", [0, 3, 7, 8, 12, 20])
def test_what_a_killed_creation_has_written_is_no_map_or_no_ledger(target, monkeypatch, writes):
    real, done = Target.put, count()

    def killed(self, name, content):
        if next(done) >= writes:
            raise KeyboardInterrupt
        real(self, name, content)

    with monkeypatch.context() as patch:
        patch.setattr(Target, "put", killed)
        with pytest.raises(KeyboardInterrupt):
            create_map_ledger(create_map(target, template(down=5)))
    assert ZarrLedger(target=target).attributes is None
    assert (read_attributes(target) is None) == (writes < 8)
    store = create_map(target, template()) if read_attributes(target) is None else open_store(target)
    assert create_map_ledger(store).load()[0]["state"].shape == store.block_shape


def test_a_block_off_the_chunk_is_refused_with_its_neighbours():
    with pytest.raises(LatticeError, match=r"block of 80 .* chunks of 32: use blocks of 64 or 96"):
        template(block=80)


def test_grid_and_blocks_must_be_one():
    wanted = template()
    with pytest.raises(ConfigError, match="snap the grid"):
        MapTemplate(
            grid=wanted.grid.with_extent(wanted.grid.extent.grow(1)),
            blocks=wanted.blocks,
            legend=wanted.legend,
            chunk=32,
        )


def test_the_template_survives_its_attributes():
    wanted = template(probability=True, attributes={"title": "T", "card": {"name": "x", "sha256": "0" * 64}})
    attributes = json.loads(json.dumps(wanted.to_attributes()))
    assert MapTemplate.from_attributes(attributes) == wanted
    assert attributes["software"]["zarr"] == zarr.__version__


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda arrays: arrays.pop("confidence"), "confidence"),
        (lambda arrays: arrays.update(confidence=arrays["confidence"][:-1]), r"\(63, 64\), uint8 \(64, 64\)"),
        (lambda arrays: arrays.update(confidence=arrays["confidence"].astype("int16")), "int16"),
        (lambda arrays: arrays.update(extra=arrays["confidence"]), "extra"),
    ],
)
def test_blocks_of_the_wrong_shape_are_refused(tmp_path, change, message):
    wanted = template()
    store = create_map(Target.parse(tmp_path / "m"), wanted)
    arrays = block_of(pixels(wanted), store, (0, 0))
    change(arrays)
    with pytest.raises(OutputError, match=message):
        store.write((0, 0), arrays)
    assert (store.read("landcover", store.grid.extent) == 255).all()


def test_a_reader_reads_levels(target):
    store, arrays = written(target, template(probability=True), overviews=True)
    reader: MapReader = open_store(target)
    assert reader.arrays == ("landcover", "confidence", "probability")
    assert (reader.block_size, len(reader.grids), reader.legend) == (64, 4, LEGEND)
    assert reader.attrs["license"] == "Licence Ouverte 2.0"
    np.testing.assert_array_equal(reader.read("landcover", reader.grids[0].extent), arrays["landcover"])
    level = store.at_level(2)
    np.testing.assert_array_equal(
        reader.read("landcover", reader.grids[2].extent, 2), level.read("landcover", level.grid.extent)
    )


def test_reading_beyond_the_map_is_an_error(tmp_path):
    store = create_map(Target.parse(tmp_path / "m"), template())
    with pytest.raises(InputError, match="not inside"):
        store.read("landcover", store.grid.extent.grow(1))


def test_a_damaged_object_is_an_error_and_is_repaired(target, monkeypatch):
    monkeypatch.setattr(open_arrays, "REREAD", replace(open_arrays.REREAD, pauses_s=(0.0,)))
    store, arrays = written(target, template())
    name = "map/0/landcover/c/1/0"
    content = bytearray(target.get(name))
    content[10] ^= 0xFF
    target.put(name, bytes(content))
    with pytest.raises(ReadError, match="landcover"):
        store.read("landcover", store.block((1, 0)))
    store.write((1, 0), block_of(arrays, store, (1, 0)))
    np.testing.assert_array_equal(store.read("landcover", store.grid.extent), arrays["landcover"])


def test_a_full_disk_names_the_block(tmp_path, monkeypatch):
    store, arrays = written(Target.parse(tmp_path / "m"), template())

    async def full(*args):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("zarr.storage.LocalStore.set", full)
    with pytest.raises(OutputError, match=r"block \(0, 0\) of landcover .*No space left"):
        store.write((0, 0), block_of(arrays, store, (0, 0)))


def test_a_shard_replaced_under_a_reader_is_read_again(target, monkeypatch):
    """The index of the old shard says where the new one has something else: the checksum tells."""
    wanted = template(down=1, across=1, confidence=False)
    store = create_map(target, wanted)
    rng = np.random.default_rng(0)
    old, new = (rng.integers(0, 200, (64, 64)).astype(np.uint8) // step for step in (1, 50))
    store.write((0, 0), {"landcover": old})
    get, replaced = LocalStore.get, []

    async def watched(self, key, prototype, byte_range=None):
        found = await get(self, key, prototype, byte_range)
        if byte_range is not None and not replaced:
            replaced.append(key)
            await asyncio.to_thread(target.put, key, shard)
        return found

    store.write((0, 0), {"landcover": new})
    shard = target.get("map/0/landcover/c/0/0")
    store.write((0, 0), {"landcover": old})
    monkeypatch.setattr(LocalStore, "get", watched)
    part = Extent(store.grid.extent.y.grow(-32, 0), store.grid.extent.x)
    np.testing.assert_array_equal(store.read("landcover", part), new[32:])
    assert replaced == ["map/0/landcover/c/0/0"]


@pytest.mark.parametrize(
    ("name", "damage"),
    [
        ("x", lambda group: group["x"].__setitem__(0, group["x"][0] + 0.1)),
        ("y", lambda group: group["y"].__setitem__(slice(None), group["y"][:][::-1])),
        ("affine", lambda group: group["spatial_ref"].attrs.update(GeoTransform="0 0.2 0 0 0 -0.2")),
    ],
)
def test_a_map_that_contradicts_itself_is_not_opened(tmp_path, name, damage):
    target = Target.parse(tmp_path / "m")
    create_map(target, template())
    damage(zarr.open_group(zarr_store(target), path="map/0", mode="r+"))
    with pytest.raises(InputError, match=name):
        open_store(target)


def test_xarray_opens_it_without_us(tmp_path):
    target = Target.parse(tmp_path / "m.zarr")
    store, arrays = written(target, template(), overviews=True)
    during = xr.open_datatree(target.location, engine="zarr", consolidated=False)
    store.finalize()
    after = xr.open_datatree(target.location, engine="zarr")
    for tree in (during, after):
        assert set(tree.groups) >= {"/map/0", "/map/1", "/map/2", "/map/3"}
        np.testing.assert_array_equal(tree["map/0/landcover"].fillna(255), arrays["landcover"])
        np.testing.assert_array_equal(tree["map/0/landcover"].isnull(), arrays["landcover"] == 255)
    assert after.attrs["Conventions"] == "CF-1.11"
