"""Pixels by zone and class, held against GDAL's masks of the whole."""

import numpy as np
import pytest
import rasterio.features
import shapely

from landweave.core.grid import Grid
from landweave.core.lattice import Blocks
from landweave.core.zonal import CODES, ZoneCounts, Zones

GRID = Grid.from_bounds((700_000, 6_600_000, 700_060, 6_600_050), crs="EPSG:2154", resolution=0.2)


def classes_and_confidence() -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(3)
    classes = np.kron(rng.integers(0, 5, (50, 60)), np.ones((5, 5))).astype(np.uint8)
    classes[:40, :70] = 255
    confidence = np.where(rng.random(classes.shape) < 0.1, 255, rng.integers(0, 251, classes.shape))
    return classes, np.where(classes == 255, 255, confidence).astype(np.uint8)


def some_zones() -> np.ndarray:
    """A partition of more than the grid, circles over it with a hole, a zone in two parts, and nothing."""
    points = np.random.default_rng(5).uniform((699_990, 6_599_990), (700_070, 6_600_060), (30, 2))
    cells = shapely.get_parts(shapely.voronoi_polygons(shapely.multipoints(points)))
    circles = shapely.buffer(shapely.points(points[:8]), 9)
    rings = shapely.difference(circles, shapely.buffer(circles, -5))
    parts = shapely.multipolygons(
        [shapely.Point(point).buffer(2) for point in ((700_003, 6_600_003), (700_050, 6_600_040))]
    )
    return np.array([*cells, *rings, parts, None], dtype=object)


@pytest.fixture(scope="module")
def whole() -> dict[str, np.ndarray]:
    """What GDAL's mask of each zone gives, the one without a polygon left out."""
    classes, confidence = classes_and_confidence()
    found = {
        "pixels": classes < CODES,
        "known": confidence < 255,
        "confidence": np.where(confidence < 255, confidence, 0),
    }
    masks = [
        rasterio.features.geometry_mask([each], GRID.shape, GRID.transform, invert=True) for each in some_zones()[:-1]
    ]
    return {
        name: np.array([np.bincount(classes[mask], weights=values[mask], minlength=CODES) for mask in masks])
        for name, values in found.items()
    }


@pytest.mark.parametrize("size", [37, 128, 1000])
def test_blocks_of_any_size_sum_up_to_the_masks_of_the_whole(size: int, whole: dict[str, np.ndarray]) -> None:
    classes, confidence = classes_and_confidence()
    zones = Zones(some_zones())
    total = ZoneCounts.none(np.arange(len(zones.polygons)))
    blocks = Blocks.covering(GRID.extent, size)
    for part in (blocks[index].intersect(GRID.extent) for index in blocks):
        here = part.slices_in(GRID.extent)
        total.add(zones.count(GRID.with_extent(part), classes[here], confidence[here]))
    for name, expected in whole.items():
        assert (getattr(total, name)[:-1] == expected).all()
        assert not getattr(total, name)[-1].any()


def test_the_size_of_a_zone_counts_its_pixels_outside_of_the_grid() -> None:
    far = shapely.box(800_000, 6_600_000, 800_003, 6_600_002)
    zones = Zones(np.append(some_zones(), far))
    larger = GRID.with_extent(GRID.extent.grow(400))
    total = ZoneCounts.none(np.arange(len(zones.polygons)))
    total.add(zones.count(larger, np.full(larger.shape, 255, np.uint8), None))
    exact = shapely.within(zones.polygons, shapely.box(*larger.bounds))
    exact &= np.isin(np.arange(exact.size), zones.near(GRID))
    assert (zones.sizes(GRID) == total.pixels[:, 255])[exact].all()
    assert exact.sum() > 20
    assert zones.sizes(GRID)[shapely.is_missing(zones.polygons)].tolist() == [0]
    assert zones.sizes(GRID)[-1] == 3 * 2 * 25


def test_of_zones_that_share_a_border_through_pixel_centres_each_pixel_is_in_one() -> None:
    x, y = GRID.x[[10, 60, 200]], GRID.y[[100, 20]]
    zones = Zones(shapely.box(x[:-1], y[0], x[1:], y[1]))
    found = zones.count(GRID, np.zeros(GRID.shape, np.uint8), None)
    assert found.pixels[:, 0].tolist() == [50 * 80, 140 * 80]
