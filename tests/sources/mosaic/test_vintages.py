"""Tiles on the same ground: told, newer ones below older ones loudly, and read newest first where that is set."""

from pathlib import Path

import numpy as np
import pytest
import rasterio

from landweave import api
from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.sources.mosaic.elevation import ElevationSource
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.sources.mosaic.tile_index import index_tiles
from landweave.sources.mosaic.vintages import Coverage, TileDate, dates_of
from tests.helpers.commands import RGBI_FILES
from tests.helpers.small import Small

PX = 10
GRID = Grid.from_bounds((0, 0, 4, 2), crs="EPSG:2154", resolution=0.2)


def plane(value: int, size: int = PX) -> np.ndarray:
    return np.full((1, size, size), value, np.uint8)


def spec(tmp_path: Path, *patterns: str, **settings) -> MosaicSpec:
    bands = {"R": BandFiles(files=patterns or ("t/*.tif",))}
    return MosaicSpec(**{"modality": "A", "bands": bands, "root": str(tmp_path)} | settings)


@pytest.mark.parametrize(
    ("path", "tag", "found"),
    [
        ("naip/m_3807708_ne_18_060_20210615_20220110.tif", "", "20210615"),
        ("34-2021-0712-6275-LA93-0M20-E080.jp2", "2023:01:01 00:00:00", "2021"),  # 0712 is a column
        ("BDORTHO_D031_2019-01-01/0575_6280.jp2", "", "20190101"),
        ("2012/tile.tif", "", "2012"),
        ("dop20rgbi_32_450_5540_1_nw.tif", "2020:08:12 09:30:00", "20200812"),
        ("dop20rgbi_32_450_5540_1_nw.tif", "", ""),
        ("0575_6280.tif", "", ""),
        ("tile_120120.tif", "", ""),
        ("20211345.tif", "", ""),
        ("ortho_su2039_2021.tif", "", "2021"),  # years to come are none
        ("ortho_20390101.tif", "2039:01:01 00:00:00", ""),
    ],
)
def test_dates_of_names_folders_and_tags(path, tag, found):
    (date,) = dates_of([path], [tag])
    assert date.value == found


@pytest.mark.parametrize(
    ("paths", "tags", "found"),
    [
        (("su2012_2018.tif", "su2012_2021.tif"), ("", ""), ("2018", "2021")),
        (("archive_2024/a.tif", "archive_2024/b.tif"), ("2015:06:01", "2021:06:01"), ("20150601", "20210601")),
        (("archive_2024/2015/a.tif", "archive_2024/2021/a.tif"), ("", ""), ("2015", "2021")),
        (("20200101_x_2015.tif", "20200101_x_2021.tif"), ("", ""), ("2015", "2021")),
        (("2021/a.tif", "2021/b.tif"), ("", ""), ("2021", "2021")),  # nothing else: it is their year
        (("su2012_2018.tif", "su2012_x.tif"), ("", ""), ("2012", "2012")),  # equal dates decide nothing
        (("a_2018.tif", "b_2021.tif"), ("2023:01:01", "2022:01:01"), ("2018", "2021")),
    ],
)
def test_numbers_that_all_tiles_share_are_no_dates(paths, tags, found):
    assert tuple(date.value for date in dates_of(paths, tags)) == found


def test_a_year_is_newer_than_a_day_of_another_year_only():
    year, day = TileDate(value="2021"), TileDate(value="20210615")
    assert not year.is_newer(day)
    assert not day.is_newer(year)
    assert TileDate(value="2022").is_newer(day)
    assert not day.is_newer(TileDate())


def test_tiles_of_one_coverage_are_not_mentioned(write_tile, tmp_path):
    for column in range(4):
        write_tile(f"t/a{column}_20{20 + column}.tif", plane(column), (column * 1.8, 2))  # a strip of a tenth
    assert index_tiles(spec(tmp_path)).notes == ()


def test_vintages_are_told_with_the_pair_and_the_order(write_tile, tmp_path):
    for year, value in ((2012, 12), (2016, 16), (2021, 21)):
        for column in range(2):
            write_tile(f"t/m_{year}_{column}.tif", plane(value + column), (column * 2, 2))
    overlap, hidden = index_tiles(spec(tmp_path)).notes
    assert "4 of 6 tiles lie under others by more than 20%" in overlap
    assert "order: name, as t/m_2012_0.tif of 2012 before t/m_2016_0.tif of 2016" in overlap
    assert "OLDER TILES HIDE NEWER ONES: 4 tiles" in hidden
    assert "order: newest" in hidden
    newest = index_tiles(spec(tmp_path, order="newest"))
    assert [tile.id for tile in newest.tiles[:3]] == ["t/m_2021_0.tif", "t/m_2021_1.tif", "t/m_2016_0.tif"]
    read, overlap = newest.notes
    assert read == "tiles are read newest first: 2021 to 2012, from names (6)"
    assert "order: newest, as t/m_2021_0.tif of 2021 before t/m_2016_0.tif of 2016" in overlap
    values = MosaicSource.open(spec(tmp_path, order="newest"), GRID).read(GRID, ("R",)).values
    np.testing.assert_array_equal(values[0], np.repeat([[21, 22]], PX, axis=1).repeat(PX, axis=0))
    oldest = MosaicSource.open(spec(tmp_path), GRID).read(GRID, ("R",)).values
    np.testing.assert_array_equal(oldest[0], np.repeat([[12, 13]], PX, axis=1).repeat(PX, axis=0))


def test_dates_of_tags_count_where_names_have_none(write_tile, tmp_path):
    for name, tag in (("a", "2015:01:01 00:00:00"), ("b", "2022:01:01 00:00:00")):
        with rasterio.open(write_tile(f"t/{name}.tif", plane(1), (0, 2)), "r+") as dataset:
            dataset.update_tags(TIFFTAG_DATETIME=tag)
    assert "t/b.tif of 20220101 under t/a.tif of 20150101" in index_tiles(spec(tmp_path)).notes[-1]
    newest = index_tiles(spec(tmp_path, order="newest"))
    assert newest.tiles[0].id == "t/b.tif"
    assert "from TIFFTAG_DATETIME (2)" in newest.notes[0]
    write_tile("t/c.tif", plane(1), (0, 2))
    with pytest.raises(InputError, match=r"1 of 3 tiles carry no date(.|\n)*t/c.tif has neither a year"):
        index_tiles(spec(tmp_path, order="newest"))


def test_a_mosaic_of_the_whole_beside_its_tiles_is_told(write_tile, tmp_path):
    write_tile("t/all.tif", plane(9, 2 * PX), (0, 4))
    for row in range(2):
        for column in range(2):
            write_tile(f"t/tile_{row}{column}.tif", plane(row), (column * 2, 4 - row * 2))
    (note,) = index_tiles(spec(tmp_path)).notes
    assert "4 of 5 tiles lie under others" in note
    assert "t/all.tif before t/tile_00.tif" in note


def test_two_products_in_one_pattern_are_told(write_tile, tmp_path):
    for product in ("irc", "rgb"):
        write_tile(f"t/{product}_2021.tif", plane(9), (0, 2))
    (note,) = index_tiles(spec(tmp_path)).notes
    assert "1 of 2 tiles lie under others" in note


def test_equal_dates_decide_nothing(write_tile, tmp_path):
    for name in ("a_2021", "b_20210615", "c_2012"):
        write_tile(f"t/{name}.tif", plane(1), (0, 2))
    write_tile("t/d_2021.tif", plane(1), (2, 2))
    with pytest.raises(InputError, match=r"t/a_2021.tif of 2021 and t/b_20210615.tif of 20210615.*order: listed"):
        index_tiles(spec(tmp_path, order="newest"))
    *_, note = index_tiles(spec(tmp_path)).notes
    assert "dates do not tell which is newer of 1 pairs, as t/a_2021.tif of 2021 and t/b_20210615.tif of 2021" in note
    (tmp_path / "t/b_20210615.tif").unlink()
    assert index_tiles(spec(tmp_path, order="newest")).tiles[-1].id == "t/c_2012.tif"


def test_the_side_of_a_pixel_is_compared_on_the_ground(write_tile, tmp_path):
    """0.2 m in feet and in degrees is no coarser and no finer than 0.2 m."""
    x, y = 586000.0, 4510000.0
    write_tile("t/b_utm.tif", plane(1, 500), (x, y), crs="EPSG:26918")
    others = {"a_feet": ("EPSG:2263", 0.2 / 0.3048006), "c_degrees": ("EPSG:4326", 0.2 / 97_000)}
    for name, (crs, pixel) in others.items():
        (left, *_), (top, *_) = rasterio.warp.transform("EPSG:26918", crs, [x], [y])
        write_tile(f"t/{name}.tif", plane(1, 500), (left, top), crs=crs, pixel=pixel)
    notes = index_tiles(spec(tmp_path)).notes
    assert any("2 of 3 tiles lie under others" in note for note in notes)
    coarse = plane(1, 50)
    (left, *_), (top, *_) = rasterio.warp.transform("EPSG:26918", "EPSG:2263", [x], [y])
    write_tile("t/0_feet.tif", coarse, (left, top), crs="EPSG:2263", pixel=2 / 0.3048006)
    with pytest.raises(InputError, match=r"t/0_feet.tif with pixels of (2|1\.99\d*|2\.00\d*) m above t/a_feet.tif"):
        index_tiles(spec(tmp_path))


def test_an_overview_sheet_hides_no_fine_tile(write_tile, tmp_path):
    write_tile("t/overview.tif", plane(9, 2), (0, 2), pixel=2.0)
    write_tile("t/tile.tif", plane(1), (0, 2))
    with pytest.raises(InputError, match=r"t/overview.tif with pixels of 2 above t/tile.tif with 0\.2.*order: listed"):
        index_tiles(spec(tmp_path))
    listed = index_tiles(spec(tmp_path, "t/tile.tif", "t/overview.tif", order="listed"))
    assert listed.notes[0] == "tiles have pixels of 0.2 (1 tiles), 2 (1 tiles)"


def test_vintages_in_two_crs_are_seen(write_tile, tmp_path):
    x, y = 500000.0, 5000000.0
    write_tile("t/a_2012.tif", plane(1, 500), (x, y), crs="EPSG:32631")
    (x2, *_), (y2, *_) = rasterio.warp.transform("EPSG:32631", "EPSG:2154", [x], [y])
    write_tile("t/b_2021.tif", plane(1, 500), (x2, y2))
    assert "OLDER TILES HIDE NEWER ONES: 1 tiles" in index_tiles(spec(tmp_path)).notes[-1]


def test_products_of_several_dates_are_paired_by_date(write_tile, tmp_path):
    """IRC of 2012 is missing: the files of 2016 and 2021 still belong together."""
    for product, years in (("rgb", (2012, 2016, 2021)), ("irc", (2016, 2021))):
        for year in years:
            write_tile(f"{product}/x_{year}.tif", plane(year % 100), (0, 2))
    bands = {"R": BandFiles(files=("rgb",)), "NIR": BandFiles(files=("irc",))}
    for order, first in (("name", "2016"), ("newest", "2021")):
        index = index_tiles(spec(tmp_path, bands=bands, order=order))
        assert [each.path[-8:-4] for each in index.tiles[0].files] == [first, first]
        assert [tile.id for tile in index.unpaired] == ["rgb/x_2012.tif"]
    (tmp_path / "rgb/x_2016.tif").unlink()
    (tmp_path / "rgb/x_2021.tif").unlink()
    mixed = index_tiles(spec(tmp_path, bands=bands))
    assert any("rgb/x_2012.tif takes them from files of 2012, 2016" in note for note in mixed.notes)


@pytest.mark.parametrize("order", ["name", "newest"])
def test_products_of_one_year_are_paired_by_day(write_tile, tmp_path, order):
    for path in ("rgb/x_20210501", "rgb/x_20210801", "irc/a_20210801", "irc/b_20210501"):
        write_tile(f"{path}.tif", plane(int(path[-4:]) // 10), (0, 2))
    bands = {"R": BandFiles(files=("rgb",)), "NIR": BandFiles(files=("irc",))}
    for tile in index_tiles(spec(tmp_path, bands=bands, order=order)).tiles:
        assert len({each.path[-12:] for each in tile.files}) == 1
    (tmp_path / "rgb/x_20210801.tif").unlink()
    (tmp_path / "irc/b_20210501.tif").unlink()
    notes = index_tiles(spec(tmp_path, bands=bands, order=order)).notes
    assert any("rgb/x_20210501.tif takes them from files of 20210501, 20210801" in note for note in notes)


def test_dates_of_pairs_come_from_names_even_where_tags_order_the_tiles(write_tile, tmp_path):
    for path, tag in (("rgb/a_2021", "2022"), ("rgb/b_2021", "2023"), ("irc/a_2018", "2019"), ("irc/b_2021", "2022")):
        column = 0 if path.startswith("irc") else "ab".index(path[4])
        with rasterio.open(write_tile(f"{path}.tif", plane(1), (column * 2, 2)), "r+") as dataset:
            dataset.update_tags(TIFFTAG_DATETIME=f"{tag}:01:01 00:00:00")
    bands = {"R": BandFiles(files=("rgb",)), "NIR": BandFiles(files=("irc",))}
    (tile,) = index_tiles(spec(tmp_path, bands=bands)).tiles
    assert [each.path[-10:] for each in tile.files] == ["a_2021.tif", "b_2021.tif"]


def test_elevation_models_of_several_years(write_tile, tmp_path):
    for year in (2012, 2021):
        for model in ("dsm", "dtm"):
            write_tile(f"{model}/{year}.tif", plane(year % 100).astype(np.float32), (0, 2))

    def opened(**settings) -> ElevationSource:
        dsm, dtm = (
            spec(tmp_path, bands={name.upper(): BandFiles(files=(name,))}, **settings) for name in ("dsm", "dtm")
        )
        return ElevationSource.open(dsm, dtm, GRID)

    facts = opened().describe()
    assert all("OLDER TILES HIDE NEWER ONES" in facts[name]["notes"][-1] for name in ("DSM", "DTM"))
    grid = Grid.from_bounds((0, 0, 2, 2), crs="EPSG:2154", resolution=0.2)
    assert (opened(order="newest").read(grid, ("DSM",)).values == 21).all()
    assert (opened().read(grid, ("DSM",)).values == 12).all()


def test_overlaps_of_thousands_of_tiles_are_those_of_numpy():
    random = np.random.default_rng(1)
    count = 400
    corner = random.uniform(0, 40, (count, 2))
    size = random.uniform(1, 4, (count, 2))
    x0, y0, x1, y1 = corner[:, 0], corner[:, 1], *(corner + size).T
    corners = np.stack([np.stack(each, -1) for each in ((x0, y1), (x1, y1), (x0, y0), (x1, y0))], axis=1)
    names, dates = [str(i) for i in range(count)], [TileDate()] * count
    coverage = Coverage(
        ids=names, dates=dates, corners=corners, crs=np.array(["EPSG:2154"] * count), pixels=np.ones(count)
    )
    width = np.minimum(x1[:, None], x1) - np.maximum(x0[:, None], x0)
    height = np.minimum(y1[:, None], y1) - np.maximum(y0[:, None], y0)
    shared = np.clip(width, 0, None) * np.clip(height, 0, None)
    areas = size.prod(axis=1)
    expected = np.argwhere(np.triu(shared > 0.2 * np.minimum(areas[:, None], areas), 1))
    np.testing.assert_array_equal(coverage.overlaps(), expected)
    assert len(expected) > 100


def test_check_plan_and_run_tell(tmp_path: Path) -> None:
    small = Small.make(tmp_path)
    for folder in ("rgb", "irc"):
        for path in list((small.folder / folder).glob("*.tif")):
            path.rename(path.with_name(f"2021_{path.name}"))
        small.scene.write(small.folder / folder, (0, 1, 2) if folder == "rgb" else (3,), rows=(170,), columns=(200,))
        for path in list((small.folder / folder).glob("tile*.tif")):
            path.rename(path.with_name(f"2012_{path.name}"))
    config = small.loaded()
    aligned = {"AERIAL_RGBI": {**RGBI_FILES, "align": True}}
    align = small.loaded(inputs=aligned, cube={"store": "cube.zarr", "tile": 128, "chunk": 64})
    for notes in (api.plan_map(config).notes, api.check(config).notes, api.plan_align(align).notes):
        assert any("AERIAL_RGBI: OLDER TILES HIDE NEWER ONES: 4 tiles" in note for note in notes)


def test_an_array_of_vintages_warns(write_tile, tmp_path):
    for year in (2012, 2021):
        write_tile(f"t/{year}.tif", plane(year % 100), (0, 2))
    hidden = pytest.warns(UserWarning, match=r"OLDER TILES HIDE NEWER ONES.*t/2021.tif")
    with pytest.warns(UserWarning, match="1 of 2 tiles lie under others"), hidden:
        assert (api.open_mosaic(tmp_path / "t", {"R": 1}) == 12).all()
    assert (api.open_mosaic(tmp_path / "t", {"R": 1}, order="newest") == 21).all()
