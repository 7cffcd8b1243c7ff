from fractions import Fraction

import numpy as np
import pytest

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent
from landweave.core.protocols import LEDGER_CHUNK, LEDGER_FIELDS, BlockState, LedgerStore
from landweave.store.ledger_store import ZarrLedger, create_ledger
from landweave.store.maps.store import create_map, create_map_ledger
from landweave.store.maps.views import open_ledger
from landweave.store.zarr_store import RecordingStore
from tests.store.samples import template

SHAPE = (LEDGER_CHUNK + 3, 2 * LEDGER_CHUNK)


def blocks(shape) -> Grid:
    extent = Extent.of((0, shape[0]), (0, shape[1]))
    grid = Grid(crs="EPSG:2154", resolution=Fraction(100), extent=extent)
    return grid.block_centres(Blocks.square(extent, 1))


def filled(shape, seed):
    rng = np.random.default_rng(seed)
    more = {"array": 2, "reason_byte": 256}
    fields = {}
    for name, (dtype, beyond) in LEDGER_FIELDS.items():
        sizes = (*shape, *(more[dimension] for dimension in beyond))
        fields[name] = rng.integers(0, 256 if dtype == "uint8" else 2**31, sizes).astype(dtype)
    fields["object_checksum"] |= np.uint64(2**63)
    return fields


def test_what_is_saved_is_loaded(any_target):
    ledger: LedgerStore = create_ledger(any_target, blocks(SHAPE), ["landcover", "confidence"])
    empty = ledger.load()[0]
    assert {name: (str(values.dtype), values.any()) for name, values in empty.items()} == {
        name: (dtype, False) for name, (dtype, _) in LEDGER_FIELDS.items()
    }
    first, last = filled((LEDGER_CHUNK, LEDGER_CHUNK), 0), filled((3, LEDGER_CHUNK), 1)
    ledger.save((0, 0), first)
    ledger.save((1, 1), last)
    loaded = ZarrLedger(target=any_target).load()[0]
    for name in LEDGER_FIELDS:
        assert loaded[name].shape[:2] == SHAPE
        np.testing.assert_array_equal(loaded[name][:LEDGER_CHUNK, :LEDGER_CHUNK], first[name])
        np.testing.assert_array_equal(loaded[name][LEDGER_CHUNK:, LEDGER_CHUNK:], last[name])
        assert not loaded[name][LEDGER_CHUNK:, :LEDGER_CHUNK].any()


def test_a_mark_can_be_taken_back(target):
    ledger = create_ledger(target, blocks((2, 2)), ["landcover"])
    ledger.save((0, 0), {"state": np.full((2, 2), BlockState.DONE, np.uint8)})
    ledger.save((0, 0), {"state": np.full((2, 2), BlockState.PENDING, np.uint8)})
    assert not ledger.load()[0]["state"].any()


def test_a_chunk_is_one_object_a_field(target):
    ledger = create_ledger(target, blocks(SHAPE), ["landcover", "confidence"])
    ledger.save((0, 1), filled((LEDGER_CHUNK, LEDGER_CHUNK), 0))
    objects = [name for name in target.list("ledger") if "/c/" in name and "/block_" not in name]
    assert len(objects) == len(LEDGER_FIELDS)


def test_the_state_vouches_for_the_rest(target, monkeypatch):
    ledger = create_ledger(target, blocks((2, 2)), ["landcover", "confidence"])
    order = []
    write = RecordingStore.set

    async def watched(self, key, value):
        order.append(key.split("/")[1])
        await write(self, key, value)

    monkeypatch.setattr(RecordingStore, "set", watched)
    ledger.save((0, 0), filled((2, 2), 0))
    assert order[-1] == "state"
    assert sorted(order) == sorted(LEDGER_FIELDS)


def test_blocks_lie_where_the_map_says(target):
    store = create_map(target, template())
    create_map_ledger(store)
    ledger = open_ledger(target)
    x0, y0, x1, y1 = store.grid.bounds
    side = 64 * 0.2
    np.testing.assert_allclose(ledger.block_y, [y1 - side / 2, y1 - 1.5 * side, y0 + side / 2])
    np.testing.assert_allclose(ledger.block_x, [x0 + side / 2, x1 - side / 2])


def test_a_missing_ledger_is_named(target):
    with pytest.raises(InputError, match="ledger"):
        ZarrLedger(target=target).load()
