"""Dalles: named by their upper-left corner, and every pixel of a map in exactly one."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from landweave.core.errors import ConfigError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.publishing.dalles import DalleGrid


def km_grid(resolution: Fraction | str = "1/5", bounds: tuple[int, ...] = (769400, 6276700, 771100, 6278300)) -> Grid:
    return Grid.from_bounds(bounds, crs="EPSG:2154", resolution=resolution)


def test_kilometre_dalles_have_the_names_of_bd_ortho() -> None:
    """X and Y of the upper-left corner in kilometres, four digits each, as in 30-2021-0770-6278-LA93-0M20."""
    dalles = DalleGrid(grid=km_grid(), mapped=km_grid().extent, size_m=1000)
    names = [[dalles.name_of((row, column)) for column in range(3)] for row in range(3)]
    assert names[0] == ["0769_6279", "0770_6279", "0771_6279"]
    assert [row[1] for row in names] == ["0770_6279", "0770_6278", "0770_6277"]
    x0, _, _, y1 = dalles.grid.with_extent(dalles.whole((1, 1))).bounds
    assert (x0, y1) == (770000, 6278000)


def test_other_sides_are_named_in_metres_and_names_are_a_setting() -> None:
    dalles = DalleGrid(grid=km_grid(), mapped=km_grid().extent, size_m=500, name="30_2021_{x}-{y}")
    assert dalles.name_of((0, 0)) == "30_2021_0769000-6278500"
    five = DalleGrid(grid=km_grid(), mapped=km_grid().extent, size_m=5000)
    assert five.name_of((0, 0)) == "0765_6280", "the dalles of BD ORTHO are of 5 km"


@settings(max_examples=60)
@given(
    resolution=st.sampled_from(["1/5", "1/3", "256/25", "1"]),
    size=st.sampled_from([37, 100, 250, 1000]),
    x=st.integers(-3000, 3000),
    y=st.integers(-3000, 3000),
    width=st.integers(1, 700),
    height=st.integers(1, 700),
    anchor=st.sampled_from(["0", "1/10", "2/7"]),
)
def test_every_pixel_is_in_exactly_one_dalle(
    resolution: str, size: int, x: int, y: int, width: int, height: int, anchor: str
) -> None:
    """Whatever the pixels, and whatever their anchor: that of its centre."""
    extent = Extent.of((y, y + height), (x, x + width))
    grid = Grid(
        crs="EPSG:2154",
        resolution=Fraction(resolution),
        extent=extent,
        anchor_xy=(Fraction(anchor), Fraction(anchor) * 3),
    )
    dalles = DalleGrid(grid=grid, mapped=extent, size_m=size)
    counted = np.zeros(extent.shape, int)
    for index in dalles:
        whole = dalles.whole(index).intersect(extent)
        counted[whole.slices_in(extent)] += 1
        assert not whole.size or dalles.extent(index).contains(whole), "the file has all of them"
        assert dalles.whole(index).contains(dalles.extent(index))
    assert (counted == 1).all()


def test_a_file_is_cropped_to_whole_pixels_of_its_overviews() -> None:
    """So that overviews count from the dalle's corner, however the area cuts it."""
    grid = km_grid()
    dalles = DalleGrid(grid=grid, mapped=grid.covering((769403.1, 6277100.3, 769900, 6277900)), size_m=1000)
    assert dalles.levels == 3
    whole, part = dalles.whole((0, 0)), dalles.extent((0, 0))
    assert part.y.size < whole.y.size
    assert (part.y.start - whole.y.start) % 8 == (part.x.start - whole.x.start) % 8 == 0
    assert (part.y.size % 8, part.x.size % 8) == (0, 0)


@pytest.mark.parametrize(("size", "levels"), [(100, 0), (102, 0), (200, 1), (1000, 3), (5000, 5)])
def test_large_dalles_have_overviews(size: int, levels: int) -> None:
    assert DalleGrid(grid=km_grid(), mapped=km_grid().extent, size_m=size).levels == levels


@pytest.mark.parametrize("name", ["dalle", "{x}", "{x}{z}{y}", "{x}/{y}", "{x:9}", "{", "a:{x}{y}"])
def test_a_name_that_does_not_tell_dalles_apart_is_refused(name: str) -> None:
    with pytest.raises(ConfigError, match=r"publish\.name"):
        DalleGrid(grid=km_grid(), mapped=km_grid().extent, size_m=1000, name=name)


def test_a_dalle_smaller_than_a_pixel_is_refused() -> None:
    grid = km_grid("256/25")
    with pytest.raises(ConfigError, match=r"dalle of 7 m is smaller than a pixel of 10\.24 m"):
        DalleGrid(grid=grid, mapped=grid.extent, size_m=7)
