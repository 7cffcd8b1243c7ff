"""Ground of many parts, against shapely on the whole geometry."""

import time

import numpy as np
import shapely

from landweave.core.polygons import grow, overlap, touched_boxes, unite

RNG = np.random.default_rng(3)


def boxes(count: int, size: float, within: float = 100.0):
    x, y = RNG.uniform(0, within, (2, count))
    return shapely.box(x, y, x + size, y + size)


def test_parts_are_what_the_whole_is():
    some, others, asked = boxes(30, 8), boxes(30, 5), boxes(200, 2)
    here, there = unite(some), unite(others)
    assert here.equals(shapely.union_all(some))
    assert overlap(here, there).symmetric_difference(here.intersection(there)).area < 1e-9
    for metres in (3, -1):
        assert grow(here, metres).symmetric_difference(here.buffer(metres, join_style="mitre")).area < 1e-9
    np.testing.assert_array_equal(touched_boxes(here, asked), shapely.intersects(here, asked))


def test_grounds_that_touch_at_an_edge_or_not_at_all_share_nothing():
    for left in (10, 11):
        assert overlap(shapely.box(0, 0, 10, 10), shapely.box(left, 0, 20, 10)).is_empty


def test_many_far_tiles_take_no_minutes():
    x, y = (axis.ravel() * 700.0 for axis in np.meshgrid(np.arange(110), np.arange(110)))
    started = time.perf_counter()
    ground = unite(shapely.box(x, y, x + 200, y + 200))
    assert touched_boxes(grow(ground, -0.05), shapely.box(x + 201, y, x + 699, y + 600)).sum() == 0
    assert overlap(ground, ground).area == ground.area
    assert time.perf_counter() - started < 10
