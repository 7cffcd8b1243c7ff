import pickle
from dataclasses import replace

import numpy as np
import pytest
from rasterio.warp import transform_bounds
from zarr.storage import LocalStore

from landweave.core.errors import InputError, ReadError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.protocols import RasterSource, SeriesSource
from landweave.core.timeseries import PixelClass
from landweave.formats.area import PolygonArea
from landweave.store import open_arrays
from landweave.store.cubes import sources as series_module
from landweave.store.cubes.sources import CubeSeries
from landweave.store.cubes.store import create_cube
from landweave.store.objects import Target
from tests.store.cubes.cube_samples import DAYS, TILE, align, aligned, grid, part, raster, series


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Seven dates, the oldest of which arrived last, and a raster: to be read only."""
    target = Target.parse(tmp_path_factory.mktemp("whole") / "cube.zarr")
    align(target, series(DAYS[:4]), raster())
    align(target, series(DAYS))
    return target


def moved(where: Grid, y: tuple[int, int], x: tuple[int, int]) -> Grid:
    """Pixels counted from the corner of ``where``."""
    top, left = where.extent.y.start, where.extent.x.start
    return where.with_extent(Extent.of((top + y[0], top + y[1]), (left + x[0], left + x[1])))


@pytest.mark.parametrize(
    ("y", "x"),
    [((0, 64), (0, 96)), ((7, 41), (30, 35)), ((5, 6), (63, 64)), ((-9, 20), (80, 120)), ((-50, -9), (0, 8))],
)
@pytest.mark.parametrize("observations", [(0, 1, 2, 3, 4, 5, 6), (5, 0, 3), (2,), ()])
def test_any_part_on_any_dates_is_that_of_the_source(whole, y, x, observations):
    """Dates that arrived in another order, bands in another order, pixels beyond the cube."""
    source, found = series(DAYS), aligned(whole)
    window, bands = moved(source.grid, y, x), ("B8A", "B2")
    expected, read = source.read(window, bands, observations), found.read(window, bands, observations)
    np.testing.assert_array_equal(read.values, expected.values)
    np.testing.assert_array_equal(read.pixel_class, expected.pixel_class)
    assert (read.values.dtype, read.pixel_class.dtype) == (np.uint16, np.uint8)


def test_it_says_what_its_source_said(target):
    source = series(DAYS, cloud_mask={"source": "probability", "cloud_max": 1, "snow_max": 1})
    align(target, source)
    found: SeriesSource = aligned(target)
    assert found.observations == source.observations
    assert (found.modality, found.bands, found.dtype) == (source.modality, source.bands, source.dtype)
    assert (found.quantity, found.cloud_mask) == (source.quantity, source.cloud_mask)
    assert found.fingerprint_fields["observations"][0] == {
        "datatake_id": "2020-06-30_R008",
        "scenes": source.observations[0].provenance["scenes"],
    }
    assert found.describe()["dates"] == 7
    assert found.describe()["from"] == "2020-06-30"


def test_one_civil_year(whole):
    every = aligned(whole)
    year = every.between(np.datetime64("2021-01-01"), np.datetime64("2021-12-31"))
    assert [str(each.time)[:10] for each in year.observations] == list(DAYS[:4])
    source = series(DAYS[:4])
    np.testing.assert_array_equal(year.read(grid(), source.bands, (0, 1, 2, 3)).values, source.values)
    assert year.fingerprint_fields["cube"] == every.fingerprint_fields["cube"]
    assert {scene.id.split("/")[1] for scene in year.files(grid())} == {"0", "1"}
    assert (
        every.between(np.datetime64("2022-01-09"), np.datetime64("2022-01-09")).observations == every.observations[5:6]
    )
    empty = every.between(np.datetime64("1999-01-01"), np.datetime64("1999-12-31"))
    assert (empty.observations, empty.files(grid()), empty.bounds(grid())) == ((), (), None)


def test_scenes_are_its_objects(target):
    align(target, series(DAYS[:4]))
    found = aligned(target)
    everywhere = found.files(grid())
    assert len(everywhere) == 8  # two time shards of four tiles that hold anything
    held = [
        name for name in target.list("SENTINEL2_TS") if "/c/" in name and ("band_data" in name or "pixel_class" in name)
    ]
    assert sum(scene.size for scene in everywhere) == sum(len(target.get(name)) for name in held)
    corner = moved(grid(), (0, 4), (0, 4))
    assert {scene.id for scene in found.files(corner)} == {f"SENTINEL2_TS/{shard}/0/0" for shard in (0, 1)}
    assert found.files(moved(grid(), (-9, -4), (0, 4))) == ()
    # An addition changes the objects of the partial time shard, and those only.
    align(target, series(DAYS[:5]))
    again = aligned(target).files(grid())
    assert again[:4] == everywhere[:4]
    assert not set(again[4:]) & set(everywhere[4:])


def test_the_price_of_a_part_is_a_part_of_the_price(target):
    align(target, series(DAYS[:3]))
    found = aligned(target)
    whole, corner = found.cost(grid()), found.cost(moved(grid(), (0, 4), (0, 4)))
    assert whole.bytes == sum(scene.size for scene in found.files(grid()))
    assert whole.decoded_pixels == {"Zarr": 4 * TILE**2 * 3 * 3}
    assert corner.decoded_pixels == {"Zarr": 16 * 16 * 3 * 3}
    assert 0 < corner.bytes < whole.bytes / 4
    assert found.cost(moved(grid(), (-9, -4), (0, 4))).decoded_pixels == {}


def test_the_footprint_is_what_holds_anything(whole):
    found = aligned(whole)
    west = moved(grid(), (0, 2 * TILE), (0, 2 * TILE))
    assert found.bounds(grid()) == west.bounds
    degrees = transform_bounds("EPSG:2154", "EPSG:4326", *west.bounds, densify_pts=101)
    assert found.bounds(replace(grid(), crs="EPSG:4326")) == pytest.approx(degrees, abs=1e-9)


def test_a_tile_that_is_not_aligned_is_no_nodata(target):
    group = create_cube(target, [part(series()).template(None), part(raster()).template(None)]).group("SPOT_RGBI")
    with pytest.raises(ReadError, match=r"SPOT_RGBI .* \(0, 0\), .* Finish `landweave align`"):
        aligned(target, "SPOT_RGBI").read(group.grid, ("R",))
    assert aligned(target).observations == ()


def test_a_reader_learns_what_was_finished_since(target):
    source = raster()
    create_cube(target, [part(source).template(None)])
    found = aligned(target, "SPOT_RGBI")
    with pytest.raises(ReadError):
        found.read(source.grid, ("R",))
    align(target, source)
    np.testing.assert_array_equal(found.read(source.grid, ("R", "NIR")).values, source.values)


def test_ground_outside_the_area_is_not_acquired(target):
    source = series(DAYS[:3])
    area = PolygonArea.of_bounds(moved(grid(), (0, 8), (0, 40)).bounds)
    done = align(target, source, area=area)
    assert done.complete
    read = aligned(target).read(grid(), source.bands, (0, 1, 2))
    np.testing.assert_array_equal(read.values[..., :TILE, : 2 * TILE], source.values[..., :TILE, : 2 * TILE])
    assert not read.pixel_class[:, TILE:].any()


def test_a_raster_comes_back(target):
    source = raster()
    align(target, source)
    found: RasterSource = aligned(target, "SPOT_RGBI")
    window = moved(source.grid, (20, 70), (-4, 50))
    expected, read = source.read(window, ("NIR",)), found.read(window, ("NIR",))
    np.testing.assert_array_equal(read.valid, expected.valid)
    np.testing.assert_array_equal(read.values, expected.values)
    assert read.values.dtype == np.float32
    assert len(found.files(source.grid)) == 5  # the north-western tile holds nothing
    assert found.fingerprint_fields["cube"]["rules"]["source"] == source.fingerprint_fields
    assert found.cost(source.grid).decoded_pixels == {"Zarr": 5 * TILE**2 * 2}


def test_other_pixels_are_refused(whole):
    found = aligned(whole)
    with pytest.raises(InputError, match=r"pixels of 10\.24 m in EPSG:2154; 1\.6 m in EPSG:2154 were asked"):
        found.read(raster().grid, ("B2",), (0,))


def test_it_travels_light(whole):
    found = aligned(whole)
    found.read(grid(), ("B2",), (0,))
    packed = pickle.dumps(found)
    assert len(packed) < 6000
    again = pickle.loads(packed)
    assert again == found
    np.testing.assert_array_equal(again.read(grid(), ("B2",), (3,)).values, found.read(grid(), ("B2",), (3,)).values)


def test_a_damaged_object_is_an_error(target, monkeypatch):
    monkeypatch.setattr(open_arrays, "REREAD", replace(open_arrays.REREAD, pauses_s=(0.01,)))
    align(target, series(DAYS[:3]))
    name = "SENTINEL2_TS/band_data/c/0/0/1/1"
    content = bytearray(target.get(name))
    content[len(content) // 3] ^= 0xFF
    target.put(name, bytes(content))
    found = aligned(target)
    with pytest.raises(ReadError, match="SENTINEL2_TS/band_data"):
        found.read(grid(), ("B2",), (0, 1, 2))
    west = moved(grid(), (0, 20), (0, 20))
    assert found.read(west, ("B2",), (0,)).pixel_class.any()


def test_a_window_reads_no_more_than_its_chunks(whole, monkeypatch):
    found = aligned(whole)
    found.read(moved(grid(), (0, 4), (0, 4)), ("B2",), (1,))
    asked = []
    plain = LocalStore.get

    async def noted(self, key, prototype, byte_range=None):
        content = await plain(self, key, prototype, byte_range)
        asked.append((key, 0 if content is None else len(content)))
        return content

    monkeypatch.setattr(LocalStore, "get", noted)
    found.read(moved(grid(), (18, 22), (18, 22)), ("B2",), (1,))
    size = sum(number for _, number in asked)
    held = sum(
        len(whole.get(f"SENTINEL2_TS/{name}/c/{place}"))
        for name, place in (("band_data", "0/0/0/0"), ("pixel_class", "0/0/0"))
    )
    assert {key.rpartition("/c/")[2] for key, _ in asked} == {"0/0/0/0", "0/0/0"}
    assert size < held / 4


def test_the_states_are_those_of_the_rules(whole):
    state = aligned(whole).read(grid(), ("B2",), range(7)).pixel_class
    assert set(np.unique(state)) == set(PixelClass)
    assert series_module.FORMAT_NAME == "Zarr"
    assert isinstance(aligned(whole), CubeSeries)
