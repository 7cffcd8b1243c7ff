import hashlib
import json
from dataclasses import replace

import numpy as np
import pytest
import xarray as xr
import zarr
from zarr.storage import LocalStore

from landweave.aligning.run import CubeSetup, plan_align
from landweave.core.errors import InputError, LatticeError, OutputError, ReadError
from landweave.core.protocols import BlockState
from landweave.core.timeseries import PixelClass
from landweave.store.cubes import group, store
from landweave.store.cubes.store import create_cube, open_cube_store
from landweave.store.cubes.template import GroupTemplate
from landweave.store.cubes.tiles import CubeTileStore
from landweave.store.cubes.views import open_cube
from landweave.store.objects import Target
from landweave.store.zarr_store import zarr_store
from tests.helpers.marks import mostly_slow
from tests.store.cubes.cube_samples import (
    CHUNK,
    DATES,
    DAYS,
    TILE,
    Spoilt,
    align,
    aligned,
    grid,
    objects,
    part,
    raster,
    series,
)


def template(**changes) -> GroupTemplate:
    settings = {"modality": "SENTINEL2_TS", "grid": grid(), "bands": ("B2",), "dtype": "uint16"}
    return GroupTemplate(**{**settings, "tile": TILE, "chunk": CHUNK, "time_shard": DATES, **changes})


def date(group, value) -> dict[str, np.ndarray]:
    """One date of a tile, the same everywhere."""
    shape = group.template.date_shape("band_data")
    return {
        "band_data": np.full(shape, value, np.uint16),
        "pixel_class": np.full(shape[1:], PixelClass.CLEAR, np.uint8),
    }


def sums(target) -> dict[str, str]:
    return {name: hashlib.sha256(content).hexdigest() for name, content in objects(target).items()}


@pytest.mark.parametrize(
    "wanted",
    [
        template(
            cloud_mask={"source": "probability", "cloud_max": 1}, quantity="reflectance", rules={"kernel": "nearest"}
        ),
        template(modality="SPOT_RGBI", time_shard=None, bands=("R", "NIR"), dtype="float32"),
    ],
    ids=["series", "raster"],
)
def test_a_template_comes_back_from_its_attributes(wanted):
    assert GroupTemplate.from_attributes(json.loads(json.dumps(wanted.to_attributes()))) == wanted


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"chunk": 24}, LatticeError, "tile of 32 pixels is no whole number of chunks of 24: use tiles of 24 or 48"),
        ({"tile": 64}, LatticeError, "not a whole number of tiles of 64"),
        ({"bands": ("B2", "B2")}, ValueError, "not distinct"),
        ({"modality": "ledger"}, ValueError, "cannot name a group"),
        ({"time_shard": 0}, ValueError, "time shard of 0 dates"),
    ],
)
def test_a_template_that_cannot_be_stored_is_refused(changes, error, message):
    with pytest.raises(error, match=message):
        template(**changes)


def test_a_cube_is_not_declared_over_another_store(target):
    create_cube(target, [template()])
    with pytest.raises(OutputError, match="already holds"):
        create_cube(target)
    with pytest.raises(OutputError, match="SENTINEL2_TS already"):
        open_cube_store(target).declare(template())
    with pytest.raises(InputError, match="There is no cube"):
        open_cube_store(Target.parse(f"{target}/elsewhere"))
    other = Target.parse(f"{target}/other")
    zarr.create_group(LocalStore(other.location), attributes={"format": "landweave-map"})
    with pytest.raises(InputError, match="Not a Landweave cube"):
        open_cube_store(other)
    with pytest.raises(InputError, match="has no SPOT_RGBI, only SENTINEL2_TS"):
        open_cube_store(target).group("SPOT_RGBI")


def test_a_killed_declaration_is_begun_anew(target, monkeypatch):
    cube = create_cube(target)
    monkeypatch.setattr(store, "_root_attributes", lambda names: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cube.declare(template(bands=("B2", "B3", "B4")))
    monkeypatch.undo()
    assert not open_cube_store(target).groups
    assert open_cube_store(target).declare(template()).groups["SENTINEL2_TS"].template == template()


@pytest.mark.parametrize("axis", ["x", "y"])
def test_a_coordinate_that_disagrees_with_the_grid_is_found(target, axis):
    create_cube(target, [template()])
    zarr.open_array(zarr_store(target), path=f"SENTINEL2_TS/{axis}", mode="r+")[3] += 1e-6
    with pytest.raises(InputError, match="its grid says"):
        open_cube_store(target).group("SENTINEL2_TS")


def test_any_zarr_reader_finds_the_cube(target):
    """Without this package: dates in order of arrival, CF coordinates, place, provenance."""
    source, image = series(DAYS[:4]), raster()
    align(target, source, image)
    tree = xr.open_datatree(target.location, engine="zarr")
    found = tree["SENTINEL2_TS"].dataset
    assert found["band_data"].dims == ("time", "band", "y", "x")
    assert found["band_data"].dtype == np.uint16
    np.testing.assert_array_equal(found["band_data"], source.values)
    np.testing.assert_array_equal(found["pixel_class"], source.pixel_class)
    np.testing.assert_array_equal(found["x"], source.grid.x)
    np.testing.assert_array_equal(found["y"], source.grid.y)
    assert found.band.values.tolist() == list(source.bands)
    assert found.time.values.tolist() == [each.time.astype("M8[ns]").astype(int) for each in source.observations]
    assert found.datatake_id.values.tolist() == [each.datatake_id for each in source.observations]
    assert json.loads(str(found.provenance.values[2])) == source.observations[2].provenance
    affine = " ".join(repr(number) for number in source.grid.transform.to_gdal())
    assert found.spatial_ref.attrs["GeoTransform"] == affine
    spot = tree["SPOT_RGBI"].dataset
    np.testing.assert_array_equal(spot["band_data"], image.values)
    np.testing.assert_array_equal(spot["valid"], image.valid)
    ledger = tree["ledger/SENTINEL2_TS/0000-0003"].dataset
    assert ledger["state"].dims == ("block_y", "block_x")
    assert float(ledger.block_x[1] - ledger.block_x[0]) == pytest.approx(TILE * 10.24)


def test_one_object_is_one_tile_and_time_shard_and_nothing_costs_nothing(target):
    align(target, series(DAYS[:4]))
    names = [
        f"SENTINEL2_TS/band_data/c/{shard}/0/{row}/{column}" for shard in (0, 1) for row in (0, 1) for column in (0, 1)
    ]
    assert (
        sorted(name for name in objects(target) if "/band_data/" in name) == names
    )  # the eastern tiles are no objects
    # The index of a shard ends it: offset and length of each chunk, and its checksum.
    content = target.get("SENTINEL2_TS/pixel_class/c/0/0/0")
    index = np.frombuffer(content[-(DATES * 4 * 16) - 4 : -4], np.uint64).reshape(DATES, 2, 2, 2)
    stored = index[..., 0] != 2**64 - 1
    assert not stored[:, 0, 0].any()  # the corner that no date saw
    assert not stored[1].any()  # the date that missed this tile
    assert stored[0].sum() == stored[2].sum() == 3


def test_full_time_shards_are_never_touched_again(target):
    """Three dates, then two, then one that is older than all."""
    arrived, before, old = [], {}, None
    for days in (DAYS[:3], DAYS[3:5], DAYS[6:]):
        arrived += days
        source = series(arrived)
        assert align(target, source).exit_code == 0
        after = sums(target)
        full = {name: digest for name, digest in before.items() if _shard(name) < (len(arrived) - len(days)) // DATES}
        assert full.items() <= after.items()
        found = aligned(target)
        assert [each.datatake_id for each in found.observations] == [each.datatake_id for each in source.observations]
        read = found.read(source.grid, source.bands, range(len(arrived)))
        np.testing.assert_array_equal(read.values, source.values)
        np.testing.assert_array_equal(read.pixel_class, source.pixel_class)
        before, old = after, old or found
    first = series(DAYS[:3])
    np.testing.assert_array_equal(old.read(first.grid, first.bands, (0, 1, 2)).values, first.values)
    assert open_cube_store(target).groups["SENTINEL2_TS"].dates().ledgers == {0: (3,), 1: (3,)}


def _shard(name: str) -> int:
    return int(name.split("/c/")[1].split("/")[0])


def test_the_same_dates_in_one_go_or_in_two_are_the_same_bytes(target, tmp_path):
    align(target, series(DAYS[:4]))
    align(target, series(DAYS[:6]))
    whole = Target.parse(tmp_path / "whole.zarr")
    align(whole, series(DAYS[:6]))
    assert objects(target) == objects(whole)


def test_dates_keep_their_pixels_whatever_is_found_now(target):
    align(target, series(DAYS[:2]))
    other = series(DAYS[:3], seed=99)
    (told,) = plan_align(CubeSetup(target=target, groups=(part(other),))).groups
    align(target, other)
    found = aligned(target).read(other.grid, other.bands, (0, 1, 2)).values
    np.testing.assert_array_equal(found[:2], series(DAYS[:2]).values)
    np.testing.assert_array_equal(found[2], other.values[2])
    assert (told.new, told.kept, told.shards_new, told.shards_rewritten) == (1, 2, 0, 1)


def test_dates_keep_their_place(target):
    align(target, series(DAYS[:2]))
    group = open_cube_store(target).group("SENTINEL2_TS")
    with pytest.raises(OutputError, match="2 dates of SENTINEL2_TS that are not the first of the 2 planned"):
        group.plan(group.dates().observations[::-1], dates=group.dates())


def test_a_reader_in_the_middle_of_an_addition_sees_what_was(target):
    """Whatever a killed run leaves behind is not read: tiles of other dates, ledgers, metadata half grown."""
    source = series(DAYS[:2])
    align(target, source)
    reader = aligned(target)
    group = open_cube_store(target).group("SENTINEL2_TS")
    observations = series(DAYS[:3]).observations
    group.plan(observations, dates=group.dates())
    group.start_ledger(0, observations)
    tiles = CubeTileStore(group=group, count=3, kept=2)
    with tiles.begin((0, 1)) as tile:
        tile.add(date(group, 77))
        tile.end()
    zarr.open_array(zarr_store(target), path="SENTINEL2_TS/datatake_id", mode="r+").resize((3,))
    for found in (reader, aligned(target)):
        assert len(found.observations) == 2
        np.testing.assert_array_equal(found.read(source.grid, source.bands, (0, 1)).values, source.values)
    assert xr.open_datatree(target.location, engine="zarr")["SENTINEL2_TS"].sizes["time"] == 2
    other = series((*DAYS[:2], DAYS[5]))  # the run that goes on finds another third date
    align(target, other)
    np.testing.assert_array_equal(aligned(target).read(source.grid, source.bands, (0, 1, 2)).values, other.values)


def test_what_another_attempt_left_is_removed_where_there_is_nothing(target):
    group = create_cube(target, [part(series()).template(None)]).group("SENTINEL2_TS")
    tiles = CubeTileStore(group=group, count=1)
    with tiles.begin((0, 2)) as tile:
        tile.add(date(group, 5))
        tile.end()
    align(target, series(DAYS[:2]))
    assert not [name for name in objects(target) if name.endswith("/0/2")]


@pytest.mark.parametrize("days", [DAYS[:3], (DAYS[0], DAYS[2])], ids=["the same dates", "fewer dates"])
def test_a_killed_commit_is_begun_anew(target, monkeypatch, days):
    align(target, series(DAYS[:1]))
    with monkeypatch.context() as patch:
        patch.setattr(group.CubeGroup, "_register", lambda group, dates: dates.visible == 3 and 1 / 0)
        with pytest.raises(ZeroDivisionError):
            align(target, series(DAYS[:3]))
    assert len(aligned(target).observations) == 1
    source = series(days)
    assert align(target, source).complete
    found = aligned(target).read(source.grid, source.bands, range(len(days)))
    np.testing.assert_array_equal(found.pixel_class, source.pixel_class)
    plain = xr.open_datatree(target.location, engine="zarr")["SENTINEL2_TS"]
    np.testing.assert_array_equal(plain["band_data"], source.values)
    assert plain["datatake_id"].values.tolist() == [each.datatake_id for each in source.observations]


def test_a_tile_that_failed_hides_its_new_dates_only(target):
    align(target, series(DAYS[:1]))
    source = series(DAYS[:3])
    spoilt = Spoilt.of(source, (source.observations[1].datatake_id, 1))
    assert align(target, spoilt).exit_code == 3
    found = aligned(target)
    assert len(found.observations) == 3
    np.testing.assert_array_equal(found.read(source.grid, source.bands, (0,)).values, source.values[:1])
    with pytest.raises(ReadError, match=r"time shard 0 with 2 dates, are not aligned: \(0, 1\), \(1, 1\). Finish"):
        found.read(source.grid, source.bands, (0, 1))
    # Three more arrive, the scene is not mended, and the shard goes on without it.
    more = Spoilt.of(series(DAYS[:4]), *spoilt.trouble)
    assert align(target, more).exit_code == 3
    assert open_cube_store(target).group("SENTINEL2_TS").dates().ledgers[0] == (1, 3)
    west = source.grid.with_extent(part(source).template(None).blocks[0, 0])
    np.testing.assert_array_equal(found.read(west, source.bands, (0, 1, 2)).values, source.values[..., :TILE, :TILE])


@pytest.mark.parametrize("name", ["missing", "shape", "dtype"])
def test_a_tile_of_another_form_is_refused(target, name):
    group = create_cube(target, [template()]).group("SENTINEL2_TS")
    tiles = CubeTileStore(group=group, count=2)
    arrays = date(group, 3)
    if name == "missing":
        del arrays["pixel_class"]
    else:
        arrays["band_data"] = arrays["band_data"][:, :1] if name == "shape" else arrays["band_data"].astype("float32")
    with tiles.begin((0, 0)) as tile, pytest.raises(OutputError, match=r"(is|are) wanted"):
        tile.add(arrays)
    assert not objects(target)


def test_a_tile_that_lacks_a_date_is_refused(target):
    group = create_cube(target, [template()]).group("SENTINEL2_TS")
    with CubeTileStore(group=group, count=2).begin((0, 0)) as tile:
        tile.add(date(group, 3))
        with pytest.raises(OutputError, match=r"Tile \(0, 0\) of SENTINEL2_TS .* has 1 date, 2 are wanted"):
            tile.end()
    assert not objects(target)


@pytest.mark.slow
def test_a_cube_in_s3_is_the_cube_on_disk(target, s3_target):
    for days in (DAYS[:2], DAYS[:4]):
        align(target, series(days))
        align(s3_target, series(days))
    assert objects(s3_target) == objects(target)
    source, found = series(DAYS[:4]), aligned(s3_target)
    np.testing.assert_array_equal(found.read(source.grid, source.bands, (0, 1, 2, 3)).values, source.values)
    assert found.files(source.grid) == tuple(
        replace(scene, location=f"{s3_target}/SENTINEL2_TS") for scene in aligned(target).files(source.grid)
    )
    tree = open_cube(s3_target)
    np.testing.assert_array_equal(tree["SENTINEL2_TS"]["band_data"], source.values)
    assert not [name for name in s3_target.list() if name.endswith("lease")]
    assert align(s3_target, source).ran == 0
    # The ledger of two dates is gone with them: four are whole.
    assert {name.split("/")[2] for name in s3_target.list("ledger/SENTINEL2_TS") if name.count("/") > 2} == {
        "0000-0003",
        "0001-0001",
    }


def test_tiles_of_a_killed_run_are_of_the_scenes_it_tells(target):
    """A run was killed between two tiles, and one of its dates has other scenes when it is run again."""
    source = series(DAYS[:2])
    cube = create_cube(target, [part(source).template(None)])
    group = cube.group("SENTINEL2_TS")
    group.plan(source.observations, dates=group.dates())
    ledger = group.start_ledger(0, source.observations)
    ledger.save((0, 0), {"state": np.full((2, 3), BlockState.DONE, np.uint8)})
    assert group.shard_ledger(0, source.observations) == ledger
    renewed = replace(source.observations[1], provenance={**source.observations[1].provenance, "baseline": "05.10"})
    done = align(target, replace(source, observations=(source.observations[0], renewed)))
    assert done.ran == 6
    found = aligned(target)
    assert found.observations[1].provenance["baseline"] == "05.10"
    np.testing.assert_array_equal(found.read(source.grid, source.bands, (0, 1)).values, source.values)


@pytest.mark.parametrize("removed", mostly_slow(["", "/zarr.json", "/state", "/object_bytes"], fast=["", "/state"]))
def test_a_ledger_that_goes_while_it_is_read_is_replaced_by_the_next(target, removed):
    """A reader that knows of three dates meets the removal of their ledger at every point of it: it reads the next."""
    first = series(DAYS[:2])
    align(target, first)
    reader = aligned(target)
    expected = {file.id for file in reader.files(grid())}
    stale = aligned(target)
    assert stale.reader.dates.ledgers  # read before the cube grows
    align(target, series(DAYS[:3]))
    path = stale.group.ledger_path(0, 2)
    assert not target.list(path)
    if removed:
        # What is left of it at some moment of the removal.
        align(other := Target(location=f"{target.location}-2"), first)
        left = [
            name for name in other.list(path) if name != f"{path}/zarr.json" and not name.startswith(path + removed)
        ]
        for name in left:
            target.put(name, other.get(name))
    assert {file.id for file in stale.files(grid())} == expected
    series_read = stale.read(grid(), first.bands, (0, 1))
    np.testing.assert_array_equal(series_read.values, first.values)


def test_a_ledger_is_removed_marker_first(target, monkeypatch):
    align(target, series(DAYS[:2]))
    left: dict[str, int] = {}
    delete = Target.delete

    def counted(self, name):
        left[name] = len(self.list(name.rpartition("/")[0]))
        delete(self, name)

    monkeypatch.setattr(Target, "delete", counted)
    align(target, series(DAYS[:3]))
    (marker,) = (name for name in left if name.endswith("0000-0002/zarr.json"))
    assert left[marker] > 10
    assert not target.list(marker.rpartition("/")[0])
