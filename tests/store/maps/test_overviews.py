from collections import Counter

import numpy as np
import pytest

from landweave.core import pyramid
from landweave.core.protocols import BlockState
from landweave.store.maps.overviews import create_overviews
from landweave.store.maps.store import MapStore, open_store
from tests.store.samples import template, written

RULES = {"landcover": pyramid.modes, "confidence": pyramid.averages}


@pytest.mark.parametrize(
    "shape",
    [
        {"down": 3, "across": 2},
        {"down": 5, "across": 1},
        {"down": 1, "across": 5, "block": 32, "chunk": 16},
        {"down": 2, "across": 3, "block": 24, "chunk": 8},
        {"down": 5, "across": 3, "block": 15, "chunk": 5},
    ],
)
def test_levels_are_what_the_rules_say_of_the_whole_map(target, shape):
    wanted = template(**shape)
    store, arrays = written(target, wanted, overviews=True)
    levels = [arrays]
    for level in range(1, len(open_store(target).grids)):
        base, factor = pyramid.base_of(level)
        steps = factor.bit_length() - 1
        levels.append({name: RULES[name](values, steps)[-1] for name, values in levels[base].items()})
        coarse = store.at_level(level)
        for name, values in levels[level].items():
            np.testing.assert_array_equal(coarse.read(name, coarse.grid.extent), values)
    last = store.at_level(len(levels) - 1).grid.shape
    assert max(last) <= wanted.chunk < max(store.at_level(len(levels) - 2).grid.shape)


def test_a_small_map_has_none(target):
    store, _ = written(target, template(down=1, across=1, block=32))
    assert create_overviews(store) == ()
    assert len(open_store(target).grids) == 1


def test_ground_that_was_not_mapped_is_left_out(target):
    """The values are those of all blocks: what was never written is nodata at every level."""
    store, _ = written(target, template(down=5, across=4))
    mapped = np.zeros((5, 4), bool)
    mapped[4, 1] = True
    for some, every in zip(create_overviews(store, mapped), create_overviews(store), strict=True):
        span = 2**some.store.level
        assert some.blocks == [(4 // span, 1 // span)]
        assert set(some.blocks) <= set(every.blocks)


def test_probabilities_have_no_overviews(target):
    store, _ = written(target, template(probability=True))
    jobs = create_overviews(store)
    (result,) = [jobs[0].open()(index) for index in jobs[0].blocks]
    assert result.state is BlockState.DONE
    assert {item.array for item in result.objects} == {"landcover", "confidence"}


def test_three_levels_are_made_of_one_read(target, monkeypatch):
    store, _ = written(target, template(down=5, across=4))
    (first, *_) = create_overviews(store)
    read, pixels = MapStore.read, Counter()

    def counted(self, array, extent, level=None):
        pixels[array, level] += extent.size
        return read(self, array, extent, level)

    monkeypatch.setattr(MapStore, "read", counted)
    objects = Counter(each.array for index in first.blocks for each in first.open()(index).objects)
    assert pixels == {(name, 0): store.grid.extent.size for name in ("landcover", "confidence")}
    wanted = sum(len(store.at_level(level).blocks) for level in (1, 2, 3))
    assert objects == {"landcover": wanted, "confidence": wanted}


def test_the_same_level_is_the_same_bytes(any_target):
    store, _ = written(any_target, template())
    job = create_overviews(store)[0]
    first = [job.open()(index).objects for index in job.blocks]
    assert [job.open()(index).objects for index in job.blocks] == first
    assert len({item.key for item in create_overviews(store)}) == len(create_overviews(store))
