"""Outlines of regions: valid polygons, each GDAL's of the same pixels, and a coverage where junctions are asked for."""

from collections.abc import Iterator

import numpy as np
import pytest
import rasterio.features
import shapely
from scipy import ndimage

from landweave.core.outlines import find_regions, trace


def rasters(count: int) -> Iterator[np.ndarray]:
    """Small rasters of one to four classes: at this size every way in which four pixels meet comes often."""
    rng = np.random.default_rng(1)
    for _ in range(count):
        yield rng.integers(0, rng.integers(1, 5), rng.integers(1, 12, 2)).astype(np.uint8)


def polygons(classes: np.ndarray, **options: bool) -> np.ndarray:
    rings = trace(classes, find_regions(classes), **options)
    corners = np.stack([rings.columns, rings.rows], axis=1).astype(float)
    return shapely.from_ragged_array(shapely.GeometryType.POLYGON, corners, (rings.ring_offsets, rings.region_offsets))


def test_regions_are_those_of_scipy() -> None:
    for classes in rasters(200):
        regions = find_regions(classes)
        found = regions.of_pixels(np.arange(classes.size)).reshape(classes.shape)
        assert (regions.codes[found] == classes).all()
        assert (regions.sizes == np.bincount(found.ravel())).all()
        assert (regions.sums(classes) == regions.sizes * regions.codes.astype(int)).all()
        for code in np.unique(classes):
            labels, count = ndimage.label(classes == code)
            pairs = np.unique(np.stack([labels, found])[:, classes == code], axis=1)
            assert pairs.shape[1] == count == (regions.codes == code).sum()


def test_each_polygon_is_valid_and_the_one_of_gdal() -> None:
    for classes in rasters(200):
        found = polygons(classes)
        assert shapely.is_valid(found).all()
        mine = sorted(shapely.to_wkb(shapely.normalize(found)))
        theirs = [shapely.geometry.shape(shape) for shape, _ in rasterio.features.shapes(classes, connectivity=4)]
        assert mine == sorted(shapely.to_wkb(shapely.normalize(np.array(theirs))))


@pytest.mark.parametrize(
    ("rows", "rings"),
    [
        (["111", "101", "110"], [2, 1, 1]),  # a region that meets itself at a corner surrounds what is inside
        (["1111", "1011", "1101", "1111"], [3, 1, 1]),  # two holes that meet at a corner
        (["10", "01"], [1, 1, 1, 1]),  # two regions of one class
    ],
)
def test_corners_that_touch(rows: list[str], rings: list[int]) -> None:
    found = polygons(np.array([list(row) for row in rows]).astype(np.uint8))
    assert shapely.is_valid(found).all()
    assert sorted(1 + shapely.get_num_interior_rings(found), reverse=True) == rings


def test_with_junctions_polygons_have_all_corners_of_their_common_borders() -> None:
    for classes in rasters(100):
        found = polygons(classes, junctions=True)
        assert shapely.equals(found, polygons(classes)).all()
        assert shapely.coverage_is_valid(found)
