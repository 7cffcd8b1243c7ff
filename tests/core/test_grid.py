"""The grid against pyproj-free arithmetic of its own: fractions, and rasterio's view of a transform."""

from fractions import Fraction

import numpy as np
import pytest
from rasterio.transform import xy

from landweave.core.crs import canonical_crs
from landweave.core.errors import ConfigError
from landweave.core.grid import Grid, exact
from landweave.core.lattice import Extent

LAMBERT = "EPSG:2154"


@pytest.mark.parametrize("resolution", [0.2, 0.999, 10.24, 1.6, "1/3"])
def test_centres_agree_with_the_transform(resolution: float | str) -> None:
    grid = Grid.from_bounds((652000.3, 6850000.1, 652030, 6850020), crs=LAMBERT, resolution=resolution)
    rows = np.arange(grid.shape[0])
    eastings, northings = xy(grid.transform, rows, rows % grid.shape[1])
    np.testing.assert_allclose(grid.y, northings, rtol=0, atol=1e-8)
    np.testing.assert_allclose(grid.x[rows % grid.shape[1]], eastings, rtol=0, atol=1e-8)
    assert (grid.geobox.shape, grid.geobox.transform) == (grid.shape, grid.transform)


def test_centres_are_the_nearest_floats() -> None:
    grid = Grid.from_bounds((700000, 6600000, 700100, 6600100), crs=LAMBERT, resolution=0.2)
    for column in (0, 17, 499):
        assert grid.x[column] == float(Fraction(2 * (grid.extent.x.start + column) + 1, 10))
    assert grid.x.dtype == np.float64


def test_the_same_ground_is_the_same_pixel_in_any_area() -> None:
    wide = Grid.from_bounds((600000, 6800000, 601000, 6801000), crs=LAMBERT, resolution=0.2)
    part = Grid.from_bounds((600100.2, 6800300.4, 600500, 6800900), crs=LAMBERT, resolution=0.2)
    rows, columns = part.extent.slices_in(wide.extent)
    np.testing.assert_array_equal(wide.x[columns], part.x)
    np.testing.assert_array_equal(wide.y[rows], part.y)


def test_exact_bounds_add_no_pixel() -> None:
    grid = Grid.from_bounds((700000.2, 6600000.4, 700000.6, 6600001), crs=LAMBERT, resolution=0.2)
    assert grid.shape == (3, 2)
    assert grid.bounds == (700000.2, 6600000.4, 700000.6, 6600001.0)


def test_an_anchor_moves_the_pixels() -> None:
    anchor = (exact("700000.05"), exact("6600000.15"))
    grid = Grid.from_bounds((700000.05, 6600000.15, 700001.05, 6600001.15), crs=LAMBERT, resolution=1, anchor_xy=anchor)
    assert grid.extent == Extent.of((-1, 0), (0, 1))
    assert (grid.x[0], grid.y[0]) == (700000.55, 6600000.65)


def test_coarser_pixels_hold_whole_finer_ones() -> None:
    grid = Grid.from_bounds((700000.2, 6600000, 700003, 6600003), crs=LAMBERT, resolution=0.2)
    coarse = grid.coarsen(8)
    assert coarse.resolution == Fraction(8, 5)
    assert coarse.refine(8).extent.contains(grid.extent)


@pytest.mark.parametrize("bounds", [(1, 0, 0, 1), (0, 1, 1, 0), (0, 0, 0, 1)])
def test_empty_bounds_are_refused(bounds: tuple[float, ...]) -> None:
    with pytest.raises(ConfigError, match=r"empty: write them as \[x0, y0, x1, y1\]"):
        Grid.from_bounds(bounds, crs=LAMBERT, resolution=1)


def test_a_crs_is_canonical_or_refused() -> None:
    assert canonical_crs("epsg:2154") == canonical_crs(2154) == LAMBERT
    with pytest.raises(ConfigError, match="Lambert-ninety"):
        canonical_crs("Lambert-ninety")


def test_corners_lie_between_centres_and_are_the_nearest_floats() -> None:
    grid = Grid.from_bounds((700000, 6600000, 700100, 6600050), crs="EPSG:2154", resolution="1/3")

    assert (len(grid.corners_y), len(grid.corners_x)) == (grid.shape[0] + 1, grid.shape[1] + 1)
    row, column = grid.extent.y.start, grid.extent.x.start
    assert all(x == float(grid.corner(0, column + number)[0]) for number, x in enumerate(grid.corners_x))
    assert all(y == float(grid.corner(row + number, 0)[1]) for number, y in enumerate(grid.corners_y))
    far = Grid(crs="EPSG:2154", resolution=Fraction(1, 3**40), extent=grid.extent, anchor_xy=grid.anchor_xy)
    assert all(x == float(far.corner(0, column + number)[0]) for number, x in enumerate(far.corners_x))
