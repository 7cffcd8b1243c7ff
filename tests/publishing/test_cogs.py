"""COGs of dalles: valid, of the map's bits, with overviews that are numpy's mode and mean and do not end at dalles."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import pytest
import rasterio
from rio_cogeo.cogeo import cog_validate

from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.legend import NODATA
from landweave.formats.dalle_cog import class_style, class_table, encode_cog
from landweave.formats.gti import mosaic_gti
from landweave.formats.vrt import mosaic_vrt
from landweave.publishing.cogs import ClassCogs, ConfidenceCogs
from landweave.publishing.dalles import DalleGrid
from landweave.publishing.products import DallePixels
from tests.publishing.conftest import COSIA

SIDE = 1304
"""Pixels a side of the test's map: two dalles of 600 px across, and a bit."""


def map_of(seed: int = 0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    lumps = np.kron(rng.integers(0, 15, (SIDE // 3 + 1,) * 2), np.ones((3, 3)))[:SIDE, :SIDE].astype(np.uint8)
    lumps[rng.random(lumps.shape) < 0.3] = 3
    lumps[100:160, 500:900] = NODATA
    confidence = rng.integers(0, 251, lumps.shape).astype(np.uint8)
    confidence[lumps == NODATA] = NODATA
    return {"landcover": lumps, "confidence": confidence}


def grid() -> Grid:
    """Pixels of a metre from x = 4000, y = 9000 on."""
    extent = Extent.of((-9000, -9000 + SIDE), (4000, 4000 + SIDE))
    return Grid(crs="EPSG:2154", resolution=Fraction(1), extent=extent)


def pixels_of(arrays: dict[str, np.ndarray], dalles: DalleGrid, index: tuple[int, int]) -> DallePixels:
    outer, wanted = dalles.grid.extent, dalles.read_extent(index)
    padded = {name: np.full(wanted.shape, NODATA, np.uint8) for name in arrays}
    inside = wanted.intersect(outer)
    for name, values in arrays.items():
        padded[name][inside.slices_in(wanted)] = values[inside.slices_in(outer)]
    return DallePixels(
        name=dalles.name_of(index),
        grid=dalles.grid.with_extent(dalles.extent(index)),
        legend=COSIA,
        read=padded,
        levels=dalles.levels,
    )


def mode_by_loop(values: np.ndarray, factor: int) -> np.ndarray:
    """The most frequent class of each square, 255 not counted, the lowest code of a tie: numpy, square by square."""
    height, width = (-(-size // factor) for size in values.shape)
    result = np.full((height, width), NODATA, np.uint8)
    for y, x in np.ndindex(height, width):
        square = values[y * factor : (y + 1) * factor, x * factor : (x + 1) * factor]
        if (valid := square[square != NODATA]).size:
            result[y, x] = np.bincount(valid).argmax()
    return result


@pytest.fixture(scope="module")
def cogs(tmp_path_factory: pytest.TempPathFactory) -> tuple[DalleGrid, dict, dict[tuple[int, int], Path]]:
    """The COGs of classes of all dalles of 600 m, in files."""
    arrays, folder = map_of(), tmp_path_factory.mktemp("cogs")
    dalles = DalleGrid(grid=grid(), mapped=grid().extent, size_m=600)
    assert dalles.levels == 1
    product = ClassCogs(legend=COSIA, tags={"SOURCE": "drawn"}, levels=dalles.levels)
    paths = {}
    for index in dalles:
        if dalles.extent(index).size:
            paths[index] = folder / f"landcover_{dalles.name_of(index)}.tif"
            for ending, content in product.files(pixels_of(arrays, dalles, index)).items():
                paths[index].with_name(paths[index].stem + ending).write_bytes(content)
    return dalles, arrays, paths


def test_cogs_are_valid_by_the_strict_rules(cogs) -> None:
    for path in cogs[2].values():
        assert cog_validate(path, strict=True, quiet=True) == (True, [], [])


def test_overviews_are_numpys_mode_of_the_whole_map(cogs) -> None:
    """Counted from the dalle's corner, over its edge where an overview's pixel lies across it."""
    dalles, arrays, paths = cogs
    for index, path in paths.items():
        whole = np.full((600, 600), NODATA, np.uint8)
        extent, outer = dalles.extent(index), dalles.grid.extent
        inside = extent.intersect(outer)
        whole = np.full(extent.shape, NODATA, np.uint8)
        whole[inside.slices_in(extent)] = arrays["landcover"][inside.slices_in(outer)]
        with rasterio.open(path, overview_level=0) as file:
            np.testing.assert_array_equal(file.read(1), mode_by_loop(whole, 2))
        with rasterio.open(path) as file:
            assert file.overviews(1) == [2]
            np.testing.assert_array_equal(file.read(1), whole)


@pytest.mark.parametrize("array", ["landcover", "confidence"])
def test_an_overview_pixel_across_the_edge_has_all_of_its_pixels(array: str) -> None:
    """A dalle of 1001 pixels: the last pixel of each overview has one column of the dalle, the others of the next."""
    arrays = map_of()
    dalles = DalleGrid(grid=grid(), mapped=grid().extent, size_m=1001)
    index = next(i for i in dalles if dalles.whole(i).intersect(grid().extent).shape[1] > 500)
    found = pixels_of(arrays, dalles, index).pyramid(array)[1]
    start, outer = dalles.extent(index), grid().extent
    height, width = found.shape
    read = Extent.of((start.y.start, start.y.start + 2 * height), (start.x.start, start.x.start + 2 * width))
    inside = read.intersect(outer)
    values = np.full(read.shape, NODATA, np.uint8)
    values[inside.slices_in(read)] = arrays[array][inside.slices_in(outer)]
    if array == "landcover":
        np.testing.assert_array_equal(found, mode_by_loop(values, 2))
    else:
        squares = np.where(values == NODATA, np.nan, values.astype(float)).reshape(-1, 2, read.shape[1] // 2, 2)
        with np.errstate(invalid="ignore"):
            total, count = np.nansum(squares, axis=(1, 3)), np.isfinite(squares).sum(axis=(1, 3))
            mean = np.floor(total / count + 0.5)
        np.testing.assert_array_equal(found, np.where(count > 0, mean, NODATA))


def test_a_dalle_has_the_same_bytes_each_time(cogs) -> None:
    dalles, arrays, paths = cogs
    index = next(iter(paths))
    product = ClassCogs(legend=COSIA, tags={"SOURCE": "drawn"}, levels=dalles.levels)
    assert product.files(pixels_of(arrays, dalles, index))[".tif"] == paths[index].read_bytes()


def test_confidence_has_scale_unit_and_no_colours() -> None:
    dalles = DalleGrid(grid=grid(), mapped=grid().extent, size_m=600)
    index = next(i for i in dalles if dalles.extent(i).size)
    files = ConfidenceCogs(tags={}, levels=1).files(pixels_of(map_of(), dalles, index))
    with rasterio.MemoryFile(files[".tif"]) as memory, memory.open() as file:
        assert (file.scales, file.units, file.nodata) == ((1 / 250,), ("1",), NODATA)
        assert file.colorinterp[0].name == "gray"


def test_the_style_lists_the_classes_and_no_other() -> None:
    entries = list(Xml.fromstring(class_style(COSIA)).iter("paletteEntry"))
    assert [(int(e.get("value")), e.get("label"), e.get("color")) for e in entries] == [
        (each.code, each.name, each.color) for each in COSIA.classes
    ]


def test_the_table_of_classes_has_codes_names_and_colours() -> None:
    root = Xml.fromstring(class_table(COSIA))
    columns = [(f.findtext("Name"), f.findtext("Usage")) for f in root.iter("FieldDefn")]
    assert columns == [("Value", "5"), ("Class", "2"), ("Classe", "2"), ("Red", "6"), ("Green", "7"), ("Blue", "8")]
    rows = [[value.text for value in row] for row in root.iter("Row")]
    assert rows[2] == ["2", "swimming pool", "piscine", "61", "230", "235"]
    assert len(rows) == len(COSIA)


@pytest.mark.parametrize("ending", ["vrt", "gti.gpkg"])
def test_a_mosaic_shows_all_files_and_uses_their_overviews(cogs, ending: str) -> None:
    dalles, arrays, paths = cogs
    files = {path.name: dalles.grid.with_extent(dalles.extent(index)) for index, path in paths.items()}
    mosaic = next(iter(paths.values())).parent / f"all.{ending}"
    write = mosaic_vrt if ending == "vrt" else mosaic_gti
    mosaic.write_bytes(write(files, levels=1, legend=COSIA))
    with rasterio.open(mosaic) as file:
        assert file.colormap(1)[6][:3] == COSIA.colors[6]
        assert file.overviews(1) == [2]
        top, left = (round(a - b) for a, b in ((file.bounds.top, 9000), (4000, file.bounds.left)))
        values = file.read(1)[top : top + SIDE, left : left + SIDE]
        np.testing.assert_array_equal(values, arrays["landcover"])
        half = file.read(1, out_shape=(file.height // 2, file.width // 2))
    row, column = dalles.extent(next(iter(paths))).shape
    with rasterio.open(next(iter(paths.values())), overview_level=0) as file:
        mode = file.read(1)
    np.testing.assert_array_equal(half[: row // 2, : column // 2], mode[: row // 2, : column // 2])


def test_a_file_has_no_overviews_where_one_tile_holds_it() -> None:
    small = Grid(crs="EPSG:2154", resolution=Fraction(1), extent=Extent.of((7, 47), (9, 39)))
    content = encode_cog([np.zeros((40, 30), np.uint8)], small, tags={}, legend=COSIA)
    with rasterio.MemoryFile(content) as memory, memory.open() as file:
        assert file.overviews(1) == []
        assert file.read(1).shape == (40, 30)
