from collections import Counter
from fractions import Fraction

import numpy as np
import pytest

from landweave.core import pyramid
from landweave.core.grid import Grid
from landweave.core.lattice import Extent


def squares(values, factor):
    """Valid values of each square, by the definition: no padding, no reshaping."""
    height, width = values.shape
    for row in range(-(-height // factor)):
        for column in range(-(-width // factor)):
            part = values[row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
            yield (row, column), [int(value) for value in part.ravel() if value != 255]


@pytest.mark.parametrize("factor", [1, 2, 4, 8, 15])
@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (1, 5), (8, 3)])
def test_mode_is_what_counting_says(shape, factor):
    values = np.random.default_rng(factor).choice(np.array([0, 1, 2, 9, 254, 255], np.uint8), size=shape)
    result = pyramid.mode(values, factor)
    for place, votes in squares(values, factor):
        most = max(Counter(votes).values(), default=0)
        assert result[place] == min((code for code in votes if votes.count(code) == most), default=255)


@pytest.mark.parametrize("factor", [1, 2, 4, 8, 15])
@pytest.mark.parametrize("shape", [(16, 16), (17, 31), (1, 5), (8, 3)])
def test_average_is_the_exact_mean_rounded_half_up(shape, factor):
    values = np.random.default_rng(factor).choice(np.array([0, 1, 100, 249, 250, 255], np.uint8), size=shape)
    result = pyramid.average(values, factor)
    for place, found in squares(values, factor):
        expected = int(Fraction(sum(found), len(found)) + Fraction(1, 2)) if found else 255
        assert result[place] == expected


def test_counting_keeps_what_the_mode_of_modes_loses():
    # 7 of 16 pixels are buildings: two squares of four tie, and the mode of modes would call it all building.
    values = np.array([[0, 0, 0, 0], [8, 8, 8, 0], [8, 8, 0, 8], [8, 8, 8, 0]], np.uint8)
    assert pyramid.mode(values, 4)[0, 0] == 8
    cascade = pyramid.mode(pyramid.mode(values, 2), 2)
    assert cascade[0, 0] == 0


def test_level_grids_nest_and_keep_the_corner():
    grid = Grid(crs="EPSG:2154", resolution=Fraction(1, 5), extent=Extent.of((-1003, -3), (4001, 4678)))
    for level in range(12):
        coarse = pyramid.level_grid(grid, level)
        assert coarse.resolution == grid.resolution * 2**level
        assert (coarse.transform.c, coarse.transform.f) == (grid.transform.c, grid.transform.f)
        assert coarse.shape == (-(-1000 // 2**level), -(-677 // 2**level))
        if level:
            base, factor = pyramid.base_of(level)
            below = pyramid.level_grid(grid, base).shape
            assert coarse.shape == (-(-below[0] // factor), -(-below[1] // factor))


@pytest.mark.parametrize(("shape", "levels"), [((512, 1), 0), ((513, 1), 1), ((3, 1024), 1), ((500_000, 400_000), 10)])
def test_levels_end_when_one_chunk_holds_all(shape, levels):
    assert pyramid.depth(shape, 512) == levels


@pytest.mark.parametrize("array", ["landcover", "confidence"])
@pytest.mark.parametrize("shape", [(64, 48), (61, 43), (1, 9), (8, 3)])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_levels_of_one_base_at_once_are_those_one_by_one(array, shape, levels):
    values = np.random.default_rng(1).choice(np.array([0, 1, 7, 254, 255], np.uint8), shape)
    found = pyramid.coarsen_levels(array, values, levels)
    assert len(found) == levels
    for level, each in enumerate(found, 1):
        np.testing.assert_array_equal(each, pyramid.coarsen(array, values, 2**level))
