"""Ground of many parts, against shapely on the whole geometry."""

import time

import numpy as np
import pytest
import shapely

from landweave.core import polygons
from landweave.core.polygons import grow, overlap, touched_rectangles, unite, valid_shapes

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


def test_an_outline_that_crosses_itself_too_often_is_refused_and_few_crossings_are_resolved(monkeypatch):
    points = [(0, 0) if number % 2 else (10, number) for number in range(60)]
    tangle = shapely.Polygon([(x + 0.01 * number, y) for number, (x, y) in enumerate(points)])
    bow = shapely.Polygon([(0, 0), (2, 2), (2, 0), (0, 2)])
    assert [each.area for each in valid_shapes(np.array([bow, shapely.box(0, 0, 1, 1)]))] == [2, 1]
    assert valid_shapes(np.array([None, tangle]))[1].is_valid
    monkeypatch.setattr(polygons, "MOST_CROSSINGS", 5)
    with pytest.raises(ValueError, match="outline of feature 2 crosses itself about"):
        valid_shapes(np.array([bow, tangle]))
