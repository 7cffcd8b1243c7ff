import numpy as np
import pytest

from landweave.core.lattice import Extent
from landweave.sources.mosaic.nodata_border import SHORTEST, find_nodata_border


def brute_force(dark):
    """Look from every edge pixel inwards, pixel by pixel."""
    height, width = dark.shape
    seen = np.zeros_like(dark)
    rays = [[(y, x) for x in range(width)] for y in range(height)]
    rays += [ray[::-1] for ray in rays]
    rays += [[(y, x) for y in range(height)] for x in range(width)]
    rays += [[(y, x) for y in reversed(range(height))] for x in range(width)]
    for ray in rays:
        run = 0
        while run < len(ray) and dark[ray[run]]:
            run += 1
        if run >= SHORTEST:
            for place in ray[:run]:
                seen[place] = True
    return seen


def read(dark):
    return lambda window: dark[window.y.start : window.y.stop, window.x.start : window.x.stop]


@pytest.mark.parametrize("block", [1, 64, 300])
def test_the_collar_is_what_is_seen_from_the_edges(rng, block):
    y, x = np.mgrid[:600, :500]
    dark = (x + 0.7 * y < 300) | (y > 560) | (rng.random((600, 500)) < 0.02)
    dark[300:340, 300:380] = True  # a dark roof inside
    dark[:5, 480:] = True  # a shadow at the edge
    nodata_border = find_nodata_border(read(dark), dark.shape, block)
    assert nodata_border is not None
    whole = Extent.of((0, 600), (0, 500))
    expected = brute_force(dark)
    assert expected.any()
    assert not expected[300:340, 300:380].all()
    np.testing.assert_array_equal(nodata_border.mask(whole), expected)
    part = Extent.of((17, 411), (99, 460))
    np.testing.assert_array_equal(nodata_border.mask(part), expected[part.slices_in(whole)])


def test_a_bright_edge_is_known_from_its_outermost_pixels():
    asked = []

    def dark(window):
        asked.append(window.size)
        return np.zeros(window.shape, bool)

    assert find_nodata_border(dark, (5000, 4000), 512) is None
    assert sum(asked) == 2 * SHORTEST * 9000


def test_a_tile_that_is_all_black_is_all_collar():
    nodata_border = find_nodata_border(lambda window: np.ones(window.shape, bool), (300, 40), 7)
    assert nodata_border is not None
    assert nodata_border.mask(Extent.of((0, 300), (0, 40))).all()
