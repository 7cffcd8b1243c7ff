"""Ground of many parts, against shapely on the whole geometry."""

import time

import numpy as np
import pytest
import shapely

from landweave.core.polygons import grow, overlap, touched_rectangles, unite

RNG = np.random.default_rng(3)


def boxes(count: int, size: float, within: float = 100.0):
    x, y = RNG.uniform(0, within, (2, count))
    return shapely.box(x, y, x + size, y + size)


def test_parts_are_what_the_whole_is():
    some, others = boxes(30, 8), boxes(30, 5)
    here, there = unite(some), unite(others)
    assert here.equals(shapely.union_all(some))
    assert overlap(here, there).symmetric_difference(here.intersection(there)).area < 1e-9
    for metres in (3, -1):
        assert grow(here, metres).symmetric_difference(here.buffer(metres, join_style="mitre")).area < 1e-9


@pytest.mark.parametrize(("size", "step"), [(3, 2), (2, 2), (1, 3)])
def test_rectangles_that_overlap_or_leave_gaps_are_touched_as_one_by_one(size: int, step: int):
    ground = unite(boxes(12, 19))
    north, west = np.arange(100.0, -4, -step), np.arange(0.0, 101, step)
    found = touched_rectangles(ground, (north, north - size), (west, west + size))
    asked = shapely.box(west, (north - size)[:, None], west + size, north[:, None])
    np.testing.assert_array_equal(found, shapely.intersects(ground, asked))
    assert found.any()
    assert not found.all()


def test_grounds_that_touch_at_an_edge_or_not_at_all_share_nothing():
    for left in (10, 11):
        assert overlap(shapely.box(0, 0, 10, 10), shapely.box(left, 0, 20, 10)).is_empty


def test_many_far_tiles_take_no_minutes():
    x, y = (axis.ravel() * 700.0 for axis in np.meshgrid(np.arange(110), np.arange(110)))
    started = time.process_time()
    ground = unite(shapely.box(x, y, x + 200, y + 200))
    y, x = np.arange(109, -1, -1) * 700.0, np.arange(110) * 700.0
    assert touched_rectangles(grow(ground, -0.05), (y + 600, y + 201), (x, x + 600)).sum() == 0
    assert touched_rectangles(ground, (y + 600, y + 199), (x, x + 600)).all()
    assert overlap(ground, ground).area == ground.area
    assert time.process_time() - started < 10
