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


SHAPES = [(16, 16), (17, 31), (1, 5), (8, 3), (40, 64)]
FACTORS = (2, 4, 8)


def drawn(shape, codes):
    """Values where some squares of 8 are of one code, some of nodata alone, and some of each mixture."""
    rng = np.random.default_rng(shape[0])
    values = rng.choice(np.array([*codes, 255], np.uint8), size=shape)
    values[8:24, :8], values[8:16, 8:16] = codes[1], 255
    return values


@pytest.mark.parametrize("shape", SHAPES)
def test_modes_are_what_counting_says(shape):
    values = drawn(shape, (0, 1, 2, 9, 254))
    for factor, result in zip(FACTORS, pyramid.modes(values, 3), strict=True):
        for place, votes in squares(values, factor):
            most = max(Counter(votes).values(), default=0)
            assert result[place] == min((code for code in votes if votes.count(code) == most), default=255)


@pytest.mark.parametrize("shape", SHAPES)
def test_averages_are_the_exact_mean_rounded_half_up(shape):
    values = drawn(shape, (0, 1, 100, 249, 250))
    for factor, result in zip(FACTORS, pyramid.averages(values, 3), strict=True):
        for place, found in squares(values, factor):
            expected = int(Fraction(sum(found), len(found)) + Fraction(1, 2)) if found else 255
            assert result[place] == expected


@pytest.mark.parametrize("rule", [pyramid.modes, pyramid.averages])
@pytest.mark.parametrize("levels", [1, 2, 3])
def test_levels_have_the_pixels_that_they_need_whatever_is_computed_beside_them(rule, levels):
    values = drawn((19, 37), (0, 1, 9))
    layers = rule(values, levels)
    assert [layer.shape for layer in layers] == [(-(-19 // factor), -(-37 // factor)) for factor in FACTORS[:levels]]
    for layer, of_three in zip(layers, rule(values, 3), strict=False):
        np.testing.assert_array_equal(layer, of_three)
    np.testing.assert_array_equal(rule(np.full((9, 1), 255, np.uint8), 3)[0], 255)


def test_counting_keeps_what_the_mode_of_modes_loses():
    # 7 of 16 pixels are buildings: two squares of four tie, and the mode of modes would call it all building.
    values = np.array([[0, 0, 0, 0], [8, 8, 8, 0], [8, 8, 0, 8], [8, 8, 8, 0]], np.uint8)
    by_2, by_4 = pyramid.modes(values, 2)
    assert by_4[0, 0] == 8
    assert pyramid.modes(by_2, 1)[0][0, 0] == 0


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
