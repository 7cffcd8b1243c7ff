from fractions import Fraction

import numpy as np
import pytest

from landweave.core.grid import Grid
from landweave.sources.mosaic.alignment import align, native_grid
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.sources.mosaic.tile_index import index_tiles

BLACK = np.zeros((1, 100, 100), np.uint8)
GRID = Grid.from_bounds((700000, 6599900, 700100, 6600000), crs="EPSG:2154", resolution=0.2)


def index_of(root, *files, **settings):
    bands = {"R": BandFiles(files=files or ("*.tif",))}
    return index_tiles(MosaicSpec(modality="A", bands=bands, root=str(root), **settings))


@pytest.mark.parametrize(
    ("shift_px", "pixel", "pasted"),
    [
        (0, 0.2, True),
        (0.049, 0.2, True),
        (0.051, 0.2, False),
        (0, 0.2 * 1.00049, True),  # 100 pixels on, the far corner is 0.049 px off
        (0, 0.2 * 1.00051, False),
        (0.03, 0.2 * 1.0003, False),  # each alone would pass
        (0, 0.19999999999963, True),
    ],
)
def test_a_twentieth_of_a_pixel_everywhere(write_tile, tmp_path, shift_px, pixel, pasted):
    write_tile("a.tif", BLACK, (700000 + 0.2 * shift_px, 6600000), pixel=pixel)
    decision = align(index_of(tmp_path), GRID)
    assert decision.pasted is pasted
    assert decision.resampling == ("paste" if pasted else "bilinear")


def test_one_tile_off_the_grid_has_all_resampled(write_tile, tmp_path):
    write_tile("a.tif", BLACK, (700000, 6600000))
    write_tile("b.tif", BLACK, (700020.1, 6600000))
    index = index_of(tmp_path)
    decision = align(index, GRID)
    assert not decision.pasted
    assert "0.5000 px at the worst, b.tif" in decision.reason
    assert np.round(decision.deviations, 6).tolist() == [0, 0.5]
    assert len(decision.frames) == 2


@pytest.mark.parametrize(("pixel", "reason"), [(0.5, "a.tif has pixels of 0.5 x 0.5, the grid of 0.2"),
                                               ((0.2, -0.2), "a.tif is not north up")])  # fmt: skip
def test_other_pixels_are_named_not_how_far_their_corners_are(write_tile, tmp_path, pixel, reason):
    write_tile("a.tif", BLACK, (700000, 6600000), pixel=pixel)
    decision = align(index_of(tmp_path), GRID)
    assert not decision.pasted
    assert decision.reason == reason


def test_tiles_on_one_lattice_are_one_frame(write_tile, tmp_path):
    for name, x in (("a", 0), ("b", 20), ("d", 60.1), ("e", 80.1)):
        write_tile(f"{name}.tif", BLACK, (700000 + x, 6600000))
    write_tile("c.tif", BLACK, (400000, 5000000), crs="EPSG:32631")
    decision = align(index_of(tmp_path), GRID)
    assert [frame.tiles.tolist() for frame in decision.frames] == [[0, 1], [2], [3, 4]]
    assert decision.frames[0].origins.tolist() == [[0, 0], [0, 100]]
    assert np.isnan(decision.deviations).tolist() == [False, False, True, False, False]
    assert "1 of 5 tiles are not in EPSG:2154, c.tif" in decision.reason


def test_the_decision_does_not_know_the_area(write_tile, tmp_path):
    write_tile("a.tif", BLACK, (700000, 6600000))
    index = index_of(tmp_path)
    elsewhere = GRID.with_extent(GRID.extent.grow(-200))
    assert repr(align(index, GRID)) == repr(align(index, elsewhere))


def test_real_tiles_are_told_apart(shared):
    ortho = align(index_of(shared("data/bd_ortho/rgb"), "*.tiff"), GRID)
    assert not ortho.pasted
    assert "pixels of 0.2 x 0.1997166" in ortho.reason
    lidar = align(index_of(shared("data/ortho_lidar"), "test_data_rgb.tif", crs="EPSG:2154"), GRID)
    assert lidar.pasted
    assert lidar.deviations.max() < 1e-6


def test_a_mosaic_on_a_grid_of_its_own_has_that_grid(shared):
    index = index_of(shared("data/massachusetts"), "22978945_15.tif")
    native = native_grid(index)
    assert native.grid is not None
    assert native.grid.resolution == Fraction("0.99904")
    assert native.grid.shape == (901, 1182)
    assert align(index, native.grid).pasted
    assert align(index, native.grid).deviations.max() < 0.01


def test_a_grid_that_counts_from_the_crs_keeps_that_anchor(shared):
    lidar = native_grid(index_of(shared("data/ortho_lidar"), "test_data_irc.tif", crs="EPSG:2154"))
    assert lidar.grid is not None
    assert (lidar.grid.resolution, lidar.grid.anchor_xy) == (Fraction(1, 5), (0, 0))
    heights = native_grid(index_of(shared("data/ortho_lidar"), "dsm.tif"))
    assert heights.grid is not None
    assert (heights.grid.resolution, heights.grid.anchor_xy) == (Fraction(1, 2), (Fraction(1, 4), Fraction(1, 4)))


@pytest.mark.parametrize(
    ("tiles", "reason"),
    [
        ([{}, {"crs": "EPSG:32631"}], "tiles lie in"),
        ([{"pixel": (0.2, 0.21)}], "not square"),
        ([{}, {"x": 20.1}], "0.500 px off the pixels of 0.tif"),
        ([{"pixel": (0.2, -0.2)}], "not north up"),
    ],
)
def test_no_grid_of_its_own_with_the_reason(write_tile, tmp_path, tiles, reason):
    for number, tile in enumerate(tiles):
        settings = {key: value for key, value in tile.items() if key != "x"}
        write_tile(f"{number}.tif", BLACK, (700000 + tile.get("x", 0), 6600000), **settings)
    native = native_grid(index_of(tmp_path))
    assert native.grid is None
    assert reason in native.reason
