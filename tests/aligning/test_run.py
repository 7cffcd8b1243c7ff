from collections import Counter
from dataclasses import replace

import numpy as np
import pytest

from landweave.aligning.groups import AlignGroup
from landweave.aligning.run import CubeSetup, cube_status, plan_align, run_align
from landweave.core.errors import EXIT_FAILED_BLOCKS, ConfigError, OutputError, ReadError
from landweave.core.protocols import BlockState, SourceFile
from landweave.core.timeseries import PixelClass
from landweave.formats.area import PolygonArea
from landweave.jobs.lease import hold
from landweave.jobs.result import EXIT_COMPLETE
from landweave.store.common import ROOT
from landweave.store.cubes.store import open_cube_store
from landweave.store.objects import Target
from tests.block_jobs import engine_of
from tests.helpers.counted_s3 import BUCKET, counted_s3
from tests.helpers.memory import ArraySource
from tests.store.cubes.cube_samples import DAYS, TILE, Spoilt, align, aligned, grid, objects, part, raster, series


@pytest.fixture
def target(tmp_path):
    return Target.parse(tmp_path / "cube.zarr")


def read(target, source):
    """Every date that ``source`` has, from the cube."""
    found = aligned(target)
    assert found.observations == source.observations
    return found.read(source.grid, source.bands, range(len(source.observations)))


def setup_of(target, groups, area=None) -> CubeSetup:
    return CubeSetup(target=target, groups=tuple(groups), area=area)


def everything(target) -> dict[str, bytes]:
    """Every object but ledgers, which hold times."""
    return {name: target.get(name) for name in target.list() if not name.startswith("ledger") and "/c/" in name}


class Heard:
    """What a progress was told."""

    def __init__(self):
        self.told = []

    def start(self, total, engine):
        self.told.append(("start", total, engine))

    def advance(self, index, result):
        self.told.append(index)

    def stop(self):
        self.told.append("stop")


def test_the_cube_is_its_sources(target):
    source, image, heard = series(DAYS[:5]), raster(), Heard()
    done = align(target, source, image, progress=heard)
    np.testing.assert_array_equal(read(target, source).values, source.values)
    np.testing.assert_array_equal(read(target, source).pixel_class, source.pixel_class)
    spot = aligned(target, "SPOT_RGBI").read(image.grid, image.bands)
    np.testing.assert_array_equal(spot.values, image.values)
    np.testing.assert_array_equal(spot.valid, image.valid)
    assert (done.exit_code, done.ran) == (EXIT_COMPLETE, 18)
    assert done.counts[BlockState.DONE] == 2 * 4 + 5
    assert done.counts[BlockState.NO_INPUT] == 2 * 2 + 1
    assert done.pixels == (source.pixel_class > 0).sum() + image.valid.sum()
    assert heard.told[0] == ("start", 18, "inline")
    assert heard.told[-1] == "stop"
    assert len(heard.told) == 20
    assert "13 done" in str(done)


def test_again_is_nothing(target):
    align(target, series(DAYS[:5]), raster())
    before = {name: target.get(name) for name in target.list()}
    again = align(target, series(DAYS[:5]), raster())
    assert (again.ran, again.exit_code) == (0, EXIT_COMPLETE)
    assert again.counts[BlockState.DONE] == 13
    assert {name: target.get(name) for name in target.list()} == before


def test_the_root_of_a_cube_is_read_twice_and_its_dates_once(target, monkeypatch):
    align(target, series(DAYS[:2]), raster())
    asked: Counter[str] = Counter()
    read = Target.get

    def get(self, name):
        asked[name] += 1
        return read(self, name)

    monkeypatch.setattr(Target, "get", get)
    assert align(target, series(DAYS[:5]), raster()).ran == 12
    assert asked["zarr.json"] == 2  # what the cube is, and the copies of metadata that may have to be restored
    assert max(asked["ledger/SENTINEL2_TS/zarr.json"], asked["ledger/SPOT_RGBI/zarr.json"]) <= 3


MOST_READS = {"new": (130, 0), "again": (43, 20)}
"""GET requests for metadata, and for chunks of ledgers and coordinates, of two inputs."""


def test_a_cube_that_is_whole_is_opened_once_and_its_ledgers_are_read_once():
    """Request by request; metadata and coordinates that the listing says to be whole are not read."""
    with counted_s3() as s3:
        cube = Target.parse(f"s3://{BUCKET}/cube.zarr", s3.storage_options)
        for turn, (metadata, chunks) in MOST_READS.items():
            s3.requests.clear()
            assert align(cube, series(DAYS[:2]), raster()).exit_code == EXIT_COMPLETE
            reads = s3.reads("cube.zarr")
            of_metadata = sum(count for key, count in reads.items() if key.endswith(ROOT))
            print(f"{turn}: {of_metadata} of metadata, {reads.total() - of_metadata} others")  # noqa: T201
            assert (reads[ROOT] <= 4, of_metadata <= metadata, reads.total() - of_metadata <= chunks) == (True,) * 3
        assert reads[ROOT] == 2
        assert max(count for key, count in reads.items() if "/c/" in key and key.startswith("ledger/")) == 1


def test_a_modality_may_come_later(target):
    align(target, raster())
    source = series(DAYS[:2])
    align(target, source)
    assert list(open_cube_store(target).groups) == ["SPOT_RGBI", "SENTINEL2_TS"]
    np.testing.assert_array_equal(read(target, source).values, source.values)


def test_planning_writes_nothing_and_reads_no_pixel(target):
    class Unread(type(series())):
        def read(self, grid, bands, observations):
            raise AssertionError("a pixel was read")

    source = series(DAYS[:4])
    unread = Unread(**{name: getattr(source, name) for name in source.__dataclass_fields__})
    plan = plan_align(setup_of(target, [part(unread)]))
    (told,) = plan.groups
    assert not target.list()
    assert (told.new, told.kept, told.tiles, told.todo, told.shards_new, told.shards_rewritten) == (4, 0, 6, 12, 2, 0)
    assert told.raw_bytes == 6 * 4 * TILE**2 * (3 * 2 + 1)
    assert told.opens == 6  # the array is one scene of each tile
    text = str(plan)
    assert "4 new, 0 kept" in text
    assert "about 6 files" in text
    assert "<td>4 new, 0 kept</td>" in plan._repr_html_()
    done = align(target, source)
    assert done.ran == plan.todo
    later = plan_align(setup_of(target, [part(series(DAYS[:5]))])).groups[0]
    assert (later.new, later.kept, later.todo, later.shards_new, later.shards_rewritten) == (1, 4, 6, 0, 1)


def test_a_folder_of_other_things_is_left_alone(target):
    target.put("tile.tif", b"a week of downloads")
    for work in (plan_align, run_align):
        with pytest.raises(OutputError, match=r"already holds tile\.tif"):
            work(setup_of(target, [part(series(DAYS[:1]))]))
    assert target.list() == ("tile.tif",)


def test_other_scenes_of_a_date_are_told(target):
    source = series(DAYS[:2])
    align(target, source)
    renewed = replace(source.observations[0], provenance={**source.observations[0].provenance, "baseline": "05.10"})
    plan = plan_align(setup_of(target, [part(replace(source, observations=(renewed, *source.observations[1:])))]))
    assert plan.groups[0].changed == ("2021-01-04_R008",)
    assert "1 date has other scenes now, kept as aligned: 2021-01-04_R008" in str(plan)
    assert plan.todo == 0


def test_a_failed_read_fails_its_block_and_is_done_again(target, tmp_path):
    source = series(DAYS[:4])
    spoilt = Spoilt.of(source, (source.observations[1].datatake_id, 1))
    done = align(target, spoilt)
    assert done.exit_code == EXIT_FAILED_BLOCKS
    assert done.counts[BlockState.READ_FAILED] == 2
    assert done.failures[0] == (
        "SENTINEL2_TS, time shard 0, dates 2021-01-04 to 2021-03-02, block (0, 1): read failed: "
        "scene of 2021-02-08_R008 ends early"
    )
    assert done.failures[0] in str(done)
    half = cube_status(open_cube_store(target))
    assert half.groups["SENTINEL2_TS"].counts == done.counts
    assert (half.complete, half.groups["SENTINEL2_TS"].dates, half.groups["SENTINEL2_TS"].failures) == (
        False,
        4,
        done.failures,
    )
    assert "4 dates, blocks: " in str(half)
    assert aligned(target).describe()["notes"][0].startswith("2 tiles are not aligned, and blocks that need them will")
    with pytest.raises(ReadError, match="not aligned"):
        read(target, source)
    last = aligned(target).read(source.grid, source.bands, (3,))
    np.testing.assert_array_equal(last.values, source.values[3:])
    again = align(target, spoilt.mended())
    assert (again.ran, again.exit_code, again.failures) == (2, EXIT_COMPLETE, ())
    assert cube_status(open_cube_store(target)).complete
    assert "notes" not in aligned(target).describe()
    np.testing.assert_array_equal(read(target, source).values, source.values)
    whole = Target.parse(tmp_path / "whole.zarr")
    align(whole, source)
    assert objects(target) == objects(whole)


def test_a_failed_block_waits_for_its_dates(target):
    """The scene was mended, but only later dates were searched: they come in, the block stays named."""
    source = series(DAYS[:2])
    align(target, Spoilt.of(source, (source.observations[1].datatake_id, 1)))
    later = series(DAYS[2:4])
    done = align(target, later)
    assert done.exit_code == EXIT_FAILED_BLOCKS
    assert "SENTINEL2_TS: 2 blocks lack dates that were not found" in str(done)
    plan = plan_align(setup_of(target, [part(later)]))
    assert (plan.groups[0].stuck, plan.todo) == (2, 0)
    assert "2 blocks lack dates that were not found" in str(plan)
    found = aligned(target)
    east = grid().with_extent(part(source).template(None).blocks[0, 1])
    np.testing.assert_array_equal(found.read(east, ("B2",), (3,)).values, later.read(east, ("B2",), (1,)).values)
    with pytest.raises(ReadError):
        found.read(east, ("B2",), (2,))
    assert align(target, series(DAYS[:4])).exit_code == EXIT_COMPLETE
    np.testing.assert_array_equal(read(target, series(DAYS[:4])).values, series(DAYS[:4]).values)


def test_tiles_outside_the_area_are_left_alone(target):
    source = series(DAYS[:4])
    corner = PolygonArea.of_bounds(source.grid.with_extent(part(source).template(None).blocks[0, 0]).bounds)
    area = PolygonArea(corner.geometry.buffer(-1))
    done = align(target, source, area=area)
    assert (done.ran, done.exit_code) == (2, EXIT_COMPLETE)
    assert done.counts[BlockState.OUTSIDE] == 10
    assert plan_align(setup_of(target, [part(source)], area)).groups[0].outside == 5
    assert {name.split("/c/")[1] for name in objects(target) if "/pixel_class/" in name} == {"0/0/0", "1/0/0"}
    align(target, series(DAYS[:5]), area=area)
    with pytest.raises(OutputError, match=r"rules\.area: all here"):
        align(target, source)


@pytest.fixture(scope="module")
def one_date(tmp_path_factory):
    """A cube of one date: to be refused, so never written."""
    target = Target.parse(tmp_path_factory.mktemp("one") / "cube.zarr")
    align(target, series(DAYS[:1]))
    return target


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"tile": 64}, "tile: 64 here, 32 in the output"),
        ({"time_shard": 5}, "time_shard: 5 here, 3 in the output"),
        ({"chunk": 32}, "chunk: 32 here, 16 in the output"),
        ({"bands": ("B3", "B2", "B8A")}, "bands"),
        ({"rules": {"kernel": "bilinear"}}, r"rules\.kernel: bilinear here, absent in the output"),
        ({"grid": grid(down=4)}, "pixels"),
    ],
    ids=lambda value: "" if isinstance(value, str) else next(iter(value)),
)
def test_another_meaning_is_refused(one_date, change, told):
    before = {name: one_date.get(name) for name in one_date.list()}
    for act in (plan_align, run_align):
        with pytest.raises(OutputError, match=rf"aligned in another way. What differs:\n(.*\n)*- {told}"):
            act(setup_of(one_date, [part(series(DAYS[:1]), **change)]))
    assert {name: one_date.get(name) for name in one_date.list()} == before


@pytest.mark.parametrize(
    ("other", "told"),
    [
        (series(DAYS[:1], quantity="sigma0"), "quantity: sigma0 here, reflectance in the output"),
        (
            series(DAYS[:1], cloud_mask={"source": "probability"}),
            r"cloud_mask\.source: probability here, scl in the output",
        ),
        (replace(series(DAYS[:1]), values=series(DAYS[:1]).values.astype("f4")), "dtype: float32 here, uint16"),
    ],
    ids=["quantity", "clouds", "dtype"],
)
def test_a_source_of_another_kind_is_refused(one_date, other, told):
    with pytest.raises(OutputError, match=told):
        align(one_date, other)


def test_bands_the_source_has_not_are_refused():
    with pytest.raises(ConfigError, match=r"bands \['B99'\] are not among"):
        AlignGroup(modality="S", source=series(DAYS[:1]), grid=grid(), bands=("B2", "B99"))


def test_the_grid_is_snapped_outwards(target):
    source = series(DAYS[:1])
    corner = source.grid.extent
    inner = source.grid.with_extent(replace(corner, y=corner.y.grow(-3, -5), x=corner.x.grow(-40, 0)))
    run_align(setup_of(target, [part(source, grid=inner)]))
    found = aligned(target)
    assert found.group.grid.shape == (2 * TILE, 2 * TILE)
    np.testing.assert_array_equal(found.read(inner, ("B3",), (0,)).values, source.read(inner, ("B3",), (0,)).values)


def test_two_drivers_do_not_meet(target):
    with hold(*target.beside(".lease")), pytest.raises(OutputError, match="another driver"):
        align(target, series(DAYS[:1]))
    align(target, series(DAYS[:1]))
    assert not [name for name in target.beside("")[0].list() if name.endswith(".lease")]


class Renewed(ArraySource):
    """A raster whose file has changed since."""

    def files(self, grid):
        return (SourceFile(id="array", location="memory", size=1, version="1", format="memory"),)


def test_a_raster_whose_scenes_changed_is_run_again_when_asked(target):
    source = raster()
    align(target, source)
    held = {name: getattr(source, name) for name in source.__dataclass_fields__}
    renewed = Renewed(**held)
    assert plan_align(setup_of(target, [part(renewed)])).todo == 0
    kept = align(target, renewed)
    assert (kept.ran, kept.exit_code, kept.with_stale_kept().exit_code) == (0, EXIT_FAILED_BLOCKS, EXIT_COMPLETE)
    assert "SPOT_RGBI, block (0, 0): stale: memory changed since" in str(kept)
    assert plan_align(setup_of(target, [part(renewed)]), stale=True).todo == 6
    done = align(target, renewed, stale=True)
    assert (done.ran, done.exit_code) == (6, EXIT_COMPLETE)
    assert plan_align(setup_of(target, [part(renewed)]), stale=True).todo == 0


@pytest.mark.slow
def test_dask_gives_the_same_bytes(target, tmp_path):
    source, image = series(DAYS[:4]), raster()
    other = Target.parse(tmp_path / "dask.zarr")
    align(target, source, image)
    with engine_of("2") as engine:
        done = run_align(setup_of(other, [part(source), part(image)]), engine=engine)
    assert done.exit_code == EXIT_COMPLETE
    assert everything(other) == everything(target)


def test_a_modality_without_any_measurement_is_told_and_is_no_success(target):
    """Acquired and nodata everywhere: it is stored, and nothing of it is of use."""
    source = series(DAYS[:4])
    state = np.where(source.pixel_class > 0, np.uint8(PixelClass.NODATA), source.pixel_class)
    nothing = replace(source, values=np.zeros_like(source.values), pixel_class=state)
    for _ in range(2):  # run again, too
        done = align(target, nothing, raster())
        assert (done.exit_code, done.empty) == (EXIT_FAILED_BLOCKS, ("SENTINEL2_TS",))
        assert "SENTINEL2_TS: nothing is left, no pixel of any block holds a measurement" in str(done)
    np.testing.assert_array_equal(read(target, nothing).pixel_class, state)
    for name, content in everything(target).items():
        if name.startswith("SENTINEL2_TS/pixel_class"):
            assert content


def test_nothing_of_new_dates_is_no_empty_modality(target):
    source = series(DAYS[:5])
    align(target, series(DAYS[:4]))
    later = np.array(
        [each.datatake_id not in {e.datatake_id for e in series(DAYS[:4]).observations} for each in source.observations]
    )
    state = source.pixel_class.copy()
    state[later] = PixelClass.NOT_ACQUIRED
    values = np.where(later[:, None, None, None], np.uint16(0), source.values)
    done = align(target, replace(source, values=values, pixel_class=state))
    assert (done.exit_code, done.empty) == (EXIT_COMPLETE, ())


def test_a_small_share_of_measurements_is_told(target):
    source = series(DAYS[:1])
    state = np.where(source.pixel_class > 0, np.uint8(PixelClass.NODATA), source.pixel_class)
    state[0, TILE + 3, 5] = PixelClass.CLEAR
    done = align(target, replace(source, pixel_class=state))
    covered = np.count_nonzero(state)
    assert done.exit_code == EXIT_COMPLETE
    assert f"SENTINEL2_TS: 1 of {covered:,} pixels that are covered hold a measurement" in str(done)
