"""Laws of the mosaic source, against oracles that share no code with it: pyproj on pixel centres, and rasterio."""

import json
import os
import pathlib
import pickle
import threading

import numpy as np
import pyproj
import pytest
import rasterio
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from landweave.core.errors import ConfigError, InputError, ReadError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.sources import band_reading, files
from landweave.sources.mosaic import tile_reader
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec

X, Y = 700000, 6600000
LAMBERT = "EPSG:2154"


def grid_of(width, height, *, x=X, y=Y, crs=LAMBERT, resolution=0.2):
    """Pixels south-east of a corner."""
    step = float(resolution)
    return Grid.from_bounds(
        (x + step / 2, y - (height - 0.5) * step, x + (width - 0.5) * step, y - step / 2),
        crs=crs,
        resolution=resolution,
    )


GRID = grid_of(300, 200)


def bands_of(*files, names="RGB"):
    return {name: BandFiles(files=files, band=number) for number, name in enumerate(names, 1)}


def open_mosaic(root, *files, grid=GRID, names="R", **settings):
    settings = {"bands": bands_of(*(files or ("*.tif",)), names=names), "modality": "A", "root": str(root)} | settings
    return MosaicSource.open(MosaicSpec(**settings), grid)


def coded(shape, origin_yx=(0, 0), bands=1):
    """A value that tells its pixel: no two within 65,000 agree, no shift, flip or transposition leaves it alone."""
    y, x = (np.arange(size) + start for size, start in zip(shape, origin_yx, strict=True))
    code = (y[:, None] * 7919 + x * 104729 + (y[:, None] * x) % 97) % 65521
    return np.stack([(code + 1009 * band) % 65521 for band in range(bands)]).astype(np.uint16)


def cut(values, write_tile, folder, size, origin=(X, Y), pixel=0.2, **settings):
    """Write an image as tiles of ``size`` ``(height, width)``."""
    for row in range(0, values.shape[1], size[0]):
        for column in range(0, values.shape[2], size[1]):
            corner = (origin[0] + column * pixel, origin[1] - row * pixel)
            part = values[:, row : row + size[0], column : column + size[1]]
            write_tile(f"{folder}/{row:04d}_{column:04d}.tif", part, corner, pixel=pixel, **settings)


def random_extents(rng, extent, count):
    for _ in range(count):
        y, x = (np.sort(rng.integers(span.start, span.stop + 1, 2)) for span in (extent.y, extent.x))
        if y[0] < y[1] and x[0] < x[1]:
            yield Extent.of((int(y[0]), int(y[1])), (int(x[0]), int(x[1])))


def assert_same_bits(source, grid, rng, count=25):
    """Any part of the ground, read alone, has the bits it has in the whole."""
    whole = source.read(grid, source.bands)
    assert whole.valid.any()
    for extent in random_extents(rng, grid.extent, count):
        part = source.read(grid.with_extent(extent), source.bands)
        rows, columns = extent.slices_in(grid.extent)
        np.testing.assert_array_equal(part.valid, whole.valid[rows, columns])
        expected = whole.values[:, rows, columns]
        assert part.values[:, part.valid].tobytes() == expected[:, part.valid].tobytes()
    return whole


# --- paste


def test_pasted_tiles_come_back_pixel_for_pixel(write_tile, tmp_path, rng):
    image = coded((200, 300), bands=3)
    cut(image, write_tile, "in", (64, 90))
    source = open_mosaic(tmp_path, "in", names="RGB")
    assert source.alignment.pasted
    raster = assert_same_bits(source, GRID, rng)
    np.testing.assert_array_equal(raster.values, image)
    assert raster.valid.all()
    assert raster.values.dtype == np.uint16


def test_beyond_the_tiles_is_invalid(write_tile, tmp_path):
    cut(coded((200, 300)), write_tile, "in", (200, 300))
    source = open_mosaic(tmp_path, "in")
    raster = source.read(GRID.with_extent(GRID.extent.grow(50)), ["R"])
    assert raster.valid.sum() == 200 * 300
    assert raster.valid[50:250, 50:350].all()


def test_bands_come_from_their_own_files_in_the_order_asked(write_tile, tmp_path):
    image = coded((200, 300), bands=5)
    cut(image[:3], write_tile, "rvb", (100, 150))
    cut(image[3:], write_tile, "irc", (100, 150))
    bands = bands_of("rvb") | {"NIR": BandFiles(files=("irc",), band=2)}
    source = open_mosaic(tmp_path, bands=bands)
    raster = source.read(GRID, ["NIR", "R", "B"])
    np.testing.assert_array_equal(raster.values, image[[4, 0, 2]])


def test_files_of_one_tile_are_read_in_one_call(write_tile, tmp_path, monkeypatch):
    cut(coded((200, 300), bands=3), write_tile, "in", (200, 300))
    calls = []
    original = files.read_window
    monkeypatch.setattr(band_reading, "read_window", lambda *what: calls.append(what[1]) or original(*what))
    open_mosaic(tmp_path, "in", names="RGB").read(GRID, ["B", "R"])
    assert calls == [[1, 3]]


# --- resample


def bilinear(image, row, column):
    """``image`` ``(y, x)`` at float pixel-centre coordinates, NaN outside; written for clarity, in float64."""
    y, x = np.floor(row).astype(int), np.floor(column).astype(int)
    down, across = row - y, column - x
    height, width = image.shape
    total, weights = np.zeros(row.shape), np.zeros(row.shape)
    for dy, wy in ((0, 1 - down), (1, down)):
        for dx, wx in ((0, 1 - across), (1, across)):
            inside = (y + dy >= 0) & (y + dy < height) & (x + dx >= 0) & (x + dx < width)
            sample = image[np.clip(y + dy, 0, height - 1), np.clip(x + dx, 0, width - 1)]
            total += np.where(inside, wy * wx * sample, 0)
            weights += np.where(inside, wy * wx, 0)
    beyond = (row < -0.5) | (row > height - 0.5) | (column < -0.5) | (column > width - 0.5)
    return np.where(beyond, np.nan, total / np.where(weights > 0, weights, 1))


def source_pixels(grid, crs, origin, pixel):
    """Row and column, pixel centres at whole numbers, of every centre of a grid in tiles of another lattice."""
    x, y = np.meshgrid(grid.x, grid.y)
    if crs != grid.crs:
        x, y = pyproj.Transformer.from_crs(grid.crs, crs, always_xy=True).transform(x, y)
    return (origin[1] - y) / pixel - 0.5, (x - origin[0]) / pixel - 0.5


PLACES = {
    "shifted": (LAMBERT, (X - 3.03, Y + 2.07), 0.2),
    "a little smaller": (LAMBERT, (X - 3.03, Y + 2.07), 0.19988),
    "five times longer": (LAMBERT, (X - 20.47, Y + 20.53), 1.0),
    "another zone": ("EPSG:32631", "there", 0.2),
    "degrees": ("EPSG:4326", "there", 2.5e-6),
}


def place(name):
    crs, origin, pixel = PLACES[name]
    if origin == "there":
        x, y = pyproj.Transformer.from_crs(LAMBERT, crs, always_xy=True).transform(X, Y)
        origin = (x - 20 * pixel, y + 20 * pixel)
    return crs, origin, pixel


@pytest.mark.parametrize("name", PLACES)
def test_bilinear_agrees_with_pyproj_on_pixel_centres(write_tile, tmp_path, rng, name):
    crs, origin, pixel = place(name)
    image = rng.normal(200, 50, (1, 260, 380)).astype(np.float32)
    cut(image, write_tile, "in", (70, 90), origin, pixel, crs=crs)
    source = open_mosaic(tmp_path, "in")
    assert not source.alignment.pasted
    assert len(source.alignment.frames) == 1
    raster = assert_same_bits(source, GRID, rng)
    expected = bilinear(image[0].astype(float), *source_pixels(GRID, crs, origin, pixel))
    assert raster.valid.mean() > 0.9
    both = raster.valid & np.isfinite(expected)
    assert (raster.valid ^ np.isfinite(expected)).mean() < 0.01  # a twentieth of a pixel around the mosaic's edge
    np.testing.assert_allclose(raster.values[0][both], expected[both], atol=2e-2)


@pytest.mark.parametrize("name", PLACES)
def test_nearest_takes_the_pixel_under_each_centre(write_tile, tmp_path, rng, name):
    crs, origin, pixel = place(name)
    image = coded((260, 380))
    cut(image, write_tile, "in", (70, 90), origin, pixel, crs=crs)
    raster = assert_same_bits(open_mosaic(tmp_path, "in", resampling="nearest"), GRID, rng)
    row, column = source_pixels(GRID, crs, origin, pixel)
    clear = (np.abs(row % 1 - 0.5) > 1e-3) & (np.abs(column % 1 - 0.5) > 1e-3) & raster.valid
    assert clear.mean() > 0.9
    expected = image[0][np.rint(row[clear]).astype(int), np.rint(column[clear]).astype(int)]
    np.testing.assert_array_equal(raster.values[0][clear], expected)


@pytest.mark.parametrize("kernel", ["nearest", "bilinear", "cubic"])
@pytest.mark.parametrize("crs", [LAMBERT, "EPSG:32631"])
def test_gdal_gives_the_same_picture(write_tile, tmp_path, rng, crs, kernel):
    origin = pyproj.Transformer.from_crs(LAMBERT, crs, always_xy=True).transform(X, Y)
    origin = (origin[0] - 9.93, origin[1] + 9.91)
    smooth = 128 + 90 * np.sin(np.arange(400) / 9)[:, None] * np.cos(np.arange(460) / 11)
    path = write_tile("in/a.tif", smooth.astype(np.uint8)[None], origin, pixel=0.19988, crs=crs)
    raster = open_mosaic(tmp_path, "in", resampling=kernel).read(GRID, ["R"])
    with (
        rasterio.open(path) as dataset,
        WarpedVRT(
            dataset,
            crs=LAMBERT,
            transform=GRID.transform,
            width=300,
            height=200,
            resampling=Resampling[kernel],
            tolerance=1e-9,
        ) as warped,
    ):
        expected = warped.read(1).astype(int)
    inner = (slice(5, -5), slice(5, -5))
    differ = np.abs(raster.values[0].astype(int) - expected)[inner]
    assert raster.valid[inner].all()
    assert differ.max() <= 1 + 30 * (kernel == "nearest")
    assert (differ > 0).mean() < 0.01


def test_a_ramp_keeps_its_place_through_tiles_of_two_systems(write_tile, tmp_path, rng):
    """The value is the ground's own Lambert easting and northing: half a pixel of shift would show."""
    to_lambert = {crs: pyproj.Transformer.from_crs(crs, LAMBERT, always_xy=True) for crs in (LAMBERT, "EPSG:32631")}
    for name, crs, east in (("a", LAMBERT, 0), ("b", "EPSG:32631", 25)):
        x, y = pyproj.Transformer.from_crs(LAMBERT, crs, always_xy=True).transform(X + east, Y)
        x, y = round(x - 5, 1) + 0.03, round(y + 5, 1) + 0.05
        columns, rows = np.meshgrid(x + (np.arange(300) + 0.5) * 0.2, y - (np.arange(300) + 0.5) * 0.2)
        east, north = to_lambert[crs].transform(columns, rows)
        write_tile(f"in/{name}.tif", np.stack([east - X, north - Y]).astype(np.float32), (x, y), crs=crs)
    source = open_mosaic(tmp_path, "in", names="RG")
    assert sorted(set(source.index.crs)) == [LAMBERT, "EPSG:32631"]
    raster = assert_same_bits(source, GRID, rng)
    x, y = np.meshgrid(GRID.x - X, GRID.y - Y)
    assert raster.valid[:, :290].all()
    inner = np.s_[5:-5, 5:280]
    np.testing.assert_allclose(raster.values[0][inner], x[inner], atol=2e-4)
    np.testing.assert_allclose(raster.values[1][inner], y[inner], atol=2e-4)


def test_no_seam_within_a_lattice(write_tile, tmp_path, rng):
    """Cut into tiles or whole, a delivery off the grid gives the same bits: kernels see across tile edges."""
    image = rng.integers(0, 255, (3, 260, 360), dtype=np.uint8)
    origin = (X - 4.11, Y + 4.07)
    cut(image, write_tile, "tiles", (37, 53), origin)
    cut(image, write_tile, "whole", (260, 360), origin)
    pieces = open_mosaic(tmp_path, "tiles", names="RGB").read(GRID, "RGB")
    whole = open_mosaic(tmp_path, "whole", names="RGB").read(GRID, "RGB")
    assert whole.valid.all()
    np.testing.assert_array_equal(pieces.values, whole.values)
    np.testing.assert_array_equal(pieces.valid, whole.valid)


def test_no_gap_between_tiles_of_different_pixels(shared, rng):
    root = shared("data/bd_ortho/rgb")
    grid = Grid.from_bounds((792000, 6271171.8, 792050, 6271270.8), crs=LAMBERT, resolution=0.2)
    source = open_mosaic(root, "*.tiff", names="RGB", grid=grid)
    assert len(source.alignment.frames) == 2
    raster = assert_same_bits(source, grid, rng)
    assert raster.valid.all()
    # The seam at 6271221 is in the middle: rows around it change no more than others do.
    steps = np.abs(np.diff(raster.values.astype(int), axis=1)).mean(axis=(0, 2))
    seam = int((6271270.8 - 6271221) / 0.2)
    assert steps[seam - 1 : seam + 1].max() < np.percentile(steps, 99) * 1.5


# --- several tiles over one ground


def test_the_first_tile_with_data_wins(write_tile, tmp_path):
    first, second = coded((200, 300)) % 200, coded((200, 300)) % 200 + 300
    first[:, 50:100, 50:100] = 999
    write_tile("in/a.tif", first, (X, Y), nodata=999)
    write_tile("in/b.tif", second, (X, Y))
    raster = open_mosaic(tmp_path, "in").read(GRID, ["R"])
    expected = first.copy()
    expected[:, 50:100, 50:100] = second[:, 50:100, 50:100]
    np.testing.assert_array_equal(raster.values, expected)
    listed = open_mosaic(tmp_path, "in/b.tif", "in/a.tif", order="listed").read(GRID, ["R"])
    np.testing.assert_array_equal(listed.values, second)


def test_the_order_holds_between_lattices_too(write_tile, tmp_path, rng):
    """a and c lie on one lattice, b on another: at every pixel the first of them that covers it answers."""
    write_tile("in/a.tif", np.full((1, 100, 100), 10, np.uint8), (X + 0.1, Y))
    write_tile("in/b.tif", np.full((1, 100, 200), 20, np.uint8), (X + 0.05, Y))
    write_tile("in/c.tif", np.full((1, 200, 300), 30, np.uint8), (X + 0.1, Y))
    raster = assert_same_bits(open_mosaic(tmp_path, "in"), GRID, rng)
    assert set(np.unique(raster.values[0, 2:98, 3:98])) == {10}
    assert set(np.unique(raster.values[0, 2:97, 103:197])) == {20}
    assert set(np.unique(raster.values[0, 103:197, 3:297])) == {30}


# --- no data


def test_a_file_a_band_is_no_data_where_all_of_them_are(shared):
    """A band that saturates at the nodata value is a bright roof; near-infrared 0 is water in a file of four bands."""
    root = shared("data/naip")
    names = {name: BandFiles(files=(f"NAIP-VA-b{number}.tiff",)) for number, name in enumerate("RGBN", 1)}
    grid = grid_of(597, 510, x=680811, y=4207739, crs="EPSG:26917", resolution=1)
    raster = open_mosaic(root, bands=names, grid=grid).read(grid, "RGBN")
    assert (raster.values == 255).any()
    assert raster.valid.all()
    by_any = open_mosaic(root, bands=names, grid=grid, nodata_rule="any").read(grid, "RGBN")
    np.testing.assert_array_equal(by_any.valid, (raster.values != 255).all(0))
    quad = grid_of(934, 723, x=485900, y=5209245, crs="EPSG:26914", resolution=5)
    raster = open_mosaic(root, "m_4709963_se_14_1_20140720.tif", names="RGBN", grid=quad).read(quad, "RGBN")
    assert (raster.values[3] == 0).sum() == 2837
    assert raster.valid.all()


@pytest.mark.parametrize("shift", [0, 0.07])
def test_nodata_by_tag_value_mask_and_alpha_are_one(write_tile, tmp_path, rng, shift):
    image = rng.integers(1, 255, (3, 210, 310), dtype=np.uint8)
    hole = np.zeros((210, 310), bool)
    hole[40:90, 100:170] = True
    blank = np.where(hole, 0, image).astype(np.uint8)
    alpha = np.concatenate([image, np.where(hole, 0, 255)[None].astype(np.uint8)])
    corner = (X - 1 + shift, Y + 1)
    write_tile("tag/a.tif", blank, corner, nodata=0)
    write_tile("value/a.tif", blank, corner)
    write_tile("mask/a.tif", image, corner, mask=~hole)
    write_tile("alpha/a.tif", alpha, corner, photometric="RGB", alpha="YES")
    rasters = [
        open_mosaic(tmp_path, folder, names="RGB", nodata=0 if folder == "value" else None).read(GRID, "RGB")
        for folder in ("tag", "value", "mask", "alpha")
    ]
    assert 0.9 < rasters[0].valid.mean() < 0.95
    for other in rasters[1:]:
        np.testing.assert_array_equal(other.valid, rasters[0].valid)
        np.testing.assert_array_equal(other.values[:, other.valid], rasters[0].values[:, other.valid])


def test_a_fourth_band_flagged_as_alpha_is_a_band_when_asked_for(write_tile, tmp_path):
    image = coded((200, 300), bands=4).astype(np.uint8)
    write_tile("in/a.tif", image, (X, Y), photometric="RGB", alpha="YES")
    raster = open_mosaic(tmp_path, "in", names="RGBN").read(GRID, "RGBN")
    np.testing.assert_array_equal(raster.values, image)
    assert raster.valid.all()


def test_nan_and_a_tag_that_is_a_rounded_double(write_tile, tmp_path):
    image = np.full((1, 200, 300), 5, np.float32)
    image[0, 0, 0], image[0, 1, 1] = np.nan, -9999.0059
    write_tile("in/a.tif", image, (X, Y), nodata=-9999.0059)
    raster = open_mosaic(tmp_path, "in").read(GRID, ["R"])
    assert np.argwhere(~raster.valid).tolist() == [[0, 0], [1, 1]]


@pytest.mark.parametrize("shift", [0, 0.07])
def test_a_collar_is_no_data_whatever_is_read(write_tile, tmp_path, rng, shift):
    image = rng.integers(60, 255, (3, 240, 340), dtype=np.uint8)
    y, x = np.mgrid[:240, :340]
    outside = x + y < 150
    image[:, outside] = rng.integers(0, 4, (3, outside.sum()))  # black after JPEG
    image[:, 100:140, 150:190] = 0  # a roof, black but inside
    write_tile("in/a.tif", image, (X - 4 + shift, Y + 4))
    grid = grid_of(300, 200)
    raster = assert_same_bits(open_mosaic(tmp_path, "in", names="RGB", nodata_border=True), grid, rng)
    expected = outside[20:220, 20:320]
    if not shift:
        np.testing.assert_array_equal(raster.valid, ~expected)
    assert np.mean(raster.valid == ~expected) > 0.99
    assert raster.valid[85:115, 135:165].all()
    edge = raster.valid & ~raster.valid[np.maximum(np.arange(200) - 2, 0)]
    assert raster.values[:, edge].min() > 50  # nothing black has leaked into the image
    kept = open_mosaic(tmp_path, "in", names="RGB").read(grid, "RGB")
    assert kept.valid.all()


# --- opening, pricing, failing


def test_opening_and_pricing_read_no_pixel(write_tile, tmp_path, monkeypatch):
    cut(coded((200, 300), bands=3), write_tile, "in", (100, 100))

    def refuse(*_, **__):
        raise AssertionError("a pixel was read")

    for reader in (band_reading, tile_reader):
        monkeypatch.setattr(reader, "read_window", refuse)
    source = open_mosaic(tmp_path, "in", names="RGB", nodata_border=True)
    part = GRID.with_extent(Extent(GRID.extent.y, GRID.extent.x.grow(0, -150)))
    assert [scene.id for scene in source.files(part)] == [
        f"in/{row:04d}_{column:04d}.tif" for row in (0, 100) for column in (0, 100)
    ]
    assert source.files(part)[0].size == pathlib.Path(tmp_path / "in/0000_0000.tif").stat().st_size
    cost = source.cost(part)
    assert cost.decoded_pixels == {"GTiff": 2 * 100 * 200 * 3}
    assert 0 < cost.bytes <= sum(scene.size for scene in source.files(part))
    assert source.fingerprint_fields["scenes"][0] == "in/0000_0000.tif"
    assert source.bounds(GRID) == pytest.approx(GRID.bounds)


def test_only_tiles_that_touch_are_opened(write_tile, tmp_path, monkeypatch):
    cut(coded((200, 300)), write_tile, "in", (100, 100))
    source = open_mosaic(tmp_path, "in")
    opened = []
    original = files.open_dataset
    monkeypatch.setattr(files, "open_dataset", lambda path, *more: opened.append(path[-13:-4]) or original(path, *more))
    source.read(
        GRID.with_extent(
            Extent.of(
                (GRID.extent.y.start, GRID.extent.y.start + 100), (GRID.extent.x.start + 100, GRID.extent.x.start + 201)
            )
        ),
        ["R"],
    )
    assert opened == ["0000_0100", "0000_0200"]


def test_a_source_travels(write_tile, tmp_path):
    cut(coded((200, 300)), write_tile, "in", (100, 100), pixel=0.19999)
    source = open_mosaic(tmp_path, "in")
    source.read(GRID, ["R"])
    copy = pickle.loads(pickle.dumps(source))
    np.testing.assert_array_equal(copy.read(GRID, ["R"]).values, source.read(GRID, ["R"]).values)
    assert copy.fingerprint_fields == source.fingerprint_fields


def test_threads_get_the_same_bits(write_tile, tmp_path):
    image = coded((200, 300), bands=3)
    cut(image, write_tile, "in", (64, 90), compress="deflate")
    source = open_mosaic(tmp_path, "in", names="RGB")
    found = []

    def read():
        found.extend(source.read(GRID, "RGB").values for _ in range(5))

    threads = [threading.Thread(target=read) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 20
    assert all((values == image).all() for values in found)


@pytest.mark.parametrize("harm", ["gone", "truncated", "replaced"])
def test_a_file_that_fails_during_the_run_is_never_nodata(write_tile, tmp_path, harm):
    cut(coded((200, 300)), write_tile, "in", (100, 150))
    source = open_mosaic(tmp_path, "in")
    bad = tmp_path / "in/0000_0150.tif"
    if harm == "gone":
        bad.unlink()
    else:
        content = bad.read_bytes()
        bad.write_bytes(content[: len(content) // 2] if harm == "truncated" else content)
    os.utime(tmp_path / "in", (1, 1))
    with pytest.raises(ReadError, match=r"0000_0150.tif.*ground \(700030.00, 6599980.00, 700060.00, 6600000.00\)"):
        source.read(GRID, ["R"])
    left = GRID.with_extent(Extent(GRID.extent.y, GRID.extent.x.grow(0, -150)))
    assert source.read(left, ["R"]).valid.all()


def test_damage_inside_a_block_is_a_read_error(write_tile, tmp_path, rng):
    image = rng.integers(0, 255, (1, 200, 300), dtype=np.uint8)
    path = tmp_path / "in/a.tif"
    write_tile("in/a.tif", image, (X, Y), tiled=True, blockxsize=64, blockysize=64, compress="deflate")
    content = bytearray(path.read_bytes())
    content[5000:5200] = bytes(200)
    path.write_bytes(content)
    source = open_mosaic(tmp_path, "in")
    for _ in range(2):  # and again, with a new handle
        with pytest.raises(ReadError, match=r"a\.tif cannot be read"):
            source.read(GRID, ["R"])


def test_a_missing_partner_matters_where_the_grid_is(write_tile, tmp_path):
    image = coded((200, 300), bands=3)
    cut(image, write_tile, "rvb", (100, 100))
    cut(image, write_tile, "irc", (100, 100))
    (tmp_path / "irc/0100_0200.tif").unlink()
    bands = bands_of("rvb") | {"NIR": BandFiles(files=("irc",))}
    with pytest.raises(InputError, match="1 files of A share no footprint"):
        open_mosaic(tmp_path, bands=bands)
    west = GRID.with_extent(Extent(GRID.extent.y, GRID.extent.x.grow(0, -100)))
    assert open_mosaic(tmp_path, bands=bands, grid=west).read(west, ["NIR"]).valid.all()


def test_other_pixels_and_unknown_bands_are_refused(write_tile, tmp_path):
    cut(coded((200, 300)), write_tile, "in", (200, 300))
    source = open_mosaic(tmp_path, "in")
    with pytest.raises(ConfigError, match=r"opened on pixels of 0\.2"):
        source.read(grid_of(30, 30, resolution=0.5), ["R"])
    with pytest.raises(ConfigError, match=r"no band \['NIR'\]: it has \['R'\]"):
        source.read(GRID, ["R", "NIR"])


# --- real tiles


def test_real_products_lie_on_each_other(shared):
    root = shared("data/bd_ortho")
    bands = bands_of("rgb/*.tiff") | {"NIR": BandFiles(files=("irc/D30-2021.vrt",))}
    grid = Grid.from_bounds((792010, 6271180, 792040, 6271260), crs=LAMBERT, resolution=0.2)
    source = open_mosaic(root, bands=bands, grid=grid)
    assert [len(tile.files) for tile in source.index.tiles] == [2, 2]
    raster = source.read(grid, ("NIR", "R", "G", "B"))
    assert raster.valid.all()
    with (
        rasterio.open(root / "irc/D30-2021.vrt") as dataset,
        WarpedVRT(
            dataset,
            crs=LAMBERT,
            src_crs=LAMBERT,
            transform=grid.transform,
            width=150,
            height=400,
            resampling=Resampling.bilinear,
            tolerance=1e-9,
        ) as warped,
    ):
        expected = warped.read(1).astype(int)
    # The VRT stretches its tiles to its own pixels by up to half of one: the pictures agree, the pixels need not.
    assert np.corrcoef(raster.values[0].ravel(), expected.ravel())[0, 1] > 0.97


def test_a_real_tile_with_a_malformed_crs_is_pasted(shared):
    path = shared("data/ortho_lidar/test_data_rgb.tif")
    grid = grid_of(252, 252, x=770549.8, y=6277600.2)
    with pytest.raises(InputError, match="no usable CRS"):
        open_mosaic(path.parent, path.name, names="RGB", grid=grid)
    source = open_mosaic(path.parent, path.name, names="RGB", grid=grid, crs=LAMBERT)
    assert source.alignment.pasted
    raster = source.read(grid, "RGB")
    with rasterio.open(path) as dataset:
        image = dataset.read()
    np.testing.assert_array_equal(raster.values[:, raster.valid], image[:, raster.valid])
    np.testing.assert_array_equal(raster.valid, ~(image == 255).all(axis=0))
    assert (image == 255).any(axis=0).sum() > (~raster.valid).sum() > 0


def test_tags_that_almost_agree_are_told_apart_in_one_order(write_tile, tmp_path):
    """Two float32 minima that software writes: neither their order nor their text hangs on how sets are hashed."""
    names, minima = "ABCDEFGH", (-3.4028234663852886e38, -3.40282306073709652e38)
    for number, tag in enumerate(minima):
        image = np.ones((len(names), 4, 4), np.float32)
        write_tile(f"{number}.tif", image, (X + 0.8 * number, Y), nodata=tag)
    source = open_mosaic(tmp_path, names=names, grid=grid_of(8, 4))
    for band in names:
        tags = [each["nodata"][0]["value"] for each in source.fingerprint_fields["pixels"][band]]
        assert tags == sorted(minima, key=repr)
        first, second = source.describe()["pixels"][band].split(" or ")
        assert first != second


@pytest.mark.parametrize("nodata", [np.nan, np.inf])
def test_a_nodata_value_that_is_no_number_is_none(write_tile, tmp_path, nodata):
    image = np.full((1, 4, 4), nodata, np.float32)
    image[0, 1] = 7
    write_tile("a.tif", image, (X, Y), nodata=nodata)
    for settings in ({}, {"nodata": nodata}):
        source = open_mosaic(tmp_path, grid=grid_of(4, 4), **settings)
        json.dumps(source.fingerprint_fields, allow_nan=False)
        assert source.read(grid_of(4, 4), ("R",)).valid.sum() == 4
