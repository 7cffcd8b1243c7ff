"""The majority filter against a loop over pixels, and tile by tile."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from landweave.core.legend import NODATA
from landweave.core.majority import LARGEST, majority

CLASSES = hnp.arrays(
    np.uint8, st.tuples(st.integers(1, 12), st.integers(1, 12)), elements=st.sampled_from([0, 3, 7, 255])
)


def reference(classes: np.ndarray, size: int) -> np.ndarray:
    result, half = classes.copy(), size // 2
    for y, x in np.ndindex(classes.shape):
        if classes[y, x] != NODATA:
            around = classes[max(y - half, 0) : y + half + 1, max(x - half, 0) : x + half + 1]
            counts = np.bincount(around[around != NODATA], minlength=255)
            own = classes[y, x]
            result[y, x] = own if counts[own] == counts.max() else counts.argmax()
    return result


@settings(max_examples=40)
@given(classes=CLASSES, size=st.sampled_from([3, 5]))
def test_each_pixel_takes_the_most_frequent_class_around_it(classes: np.ndarray, size: int) -> None:
    np.testing.assert_array_equal(majority(classes, size), reference(classes, size))


@pytest.mark.parametrize("size", [3, 7, LARGEST])
def test_tiles_with_a_halo_equal_the_whole(size: int) -> None:
    classes = np.random.default_rng(0).choice(np.array([0, 1, 255], np.uint8), (60, 70), p=[0.5, 0.4, 0.1])
    whole, half = majority(classes, size), size // 2
    part = majority(classes[20 - half : 40 + half, 11 - half : 50 + half], size)
    np.testing.assert_array_equal(part[half:-half, half:-half], whole[20:40, 11:50])


def test_the_largest_square_is_counted_right() -> None:
    assert (majority(np.full((40, 40), 9, np.uint8), LARGEST) == 9).all()
