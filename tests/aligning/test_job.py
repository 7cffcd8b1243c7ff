import pickle
import tracemalloc
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

import numpy as np
import pytest

from landweave.aligning.job import AlignJob, tile_memory
from landweave.core.errors import ReadError
from landweave.core.lattice import Blocks
from landweave.core.protocols import BlockJob, BlockState, Series, WrittenObject
from landweave.core.timeseries import Observation, PixelClass
from landweave.formats.area import PolygonArea
from landweave.jobs.runner import try_block
from landweave.store.cubes.sources import CubeSeries
from landweave.store.cubes.store import create_cube
from landweave.store.cubes.template import GroupTemplate
from landweave.store.cubes.tiles import CubeTileStore
from landweave.store.objects import Target
from tests.helpers.memory import ArraySeries
from tests.store.cubes.cube_samples import DAYS, TILE, Spoilt, grid, raster, series, step


@dataclass
class MemoryStore:
    """A store of one time shard in memory."""

    tiles: dict = field(default_factory=dict)

    @contextmanager
    def begin(self, index):
        yield MemoryTile(self, index)


@dataclass
class MemoryTile:
    store: MemoryStore
    index: tuple[int, int]
    dates: list = field(default_factory=list)

    def add(self, date):
        self.dates.append({name: values.copy() for name, values in date.items()})

    def end(self):
        if not any(date["pixel_class"].any() for date in self.dates):
            return ()
        self.store.tiles[self.index] = {
            name: np.stack([date[name] for date in self.dates]) for name in ("band_data", "pixel_class")
        }
        return (WrittenObject(array="values", size=1, checksum=2),)


def job(source, store, *, chosen, area=None) -> AlignJob:
    blocks = Blocks.square(source.grid.extent, TILE)
    return AlignJob(
        key="align",
        grid=source.grid,
        blocks=blocks,
        source=source,
        bands=source.bands,
        indices=chosen,
        store=store,
        area=area,
    )


def test_a_block_is_its_tile_of_every_date():
    source, store = series(DAYS[:3]), MemoryStore()
    aligning: BlockJob = job(source, store, chosen=(2, 0, 1))
    result = aligning.open()((1, 0))
    assert (result.state, result.counts["pixels"]) == (
        BlockState.DONE,
        int((source.pixel_class[:, TILE:, :TILE] > 0).sum()),
    )
    assert set(result.seconds) == {"read", "write", "total"}
    np.testing.assert_array_equal(store.tiles[1, 0]["band_data"], source.values[[2, 0, 1], :, TILE:, :TILE])
    np.testing.assert_array_equal(store.tiles[1, 0]["pixel_class"], source.pixel_class[[2, 0, 1], TILE:, :TILE])


def test_what_becomes_of_a_block():
    source = series(DAYS[:3])
    west = PolygonArea.of_bounds(source.grid.with_extent(Blocks.square(source.grid.extent, TILE)[0, 0]).bounds)
    near = PolygonArea(west.geometry.buffer(-1))
    everywhere = job(source, MemoryStore(), chosen=(0, 1, 2))
    assert everywhere.open()((0, 2)).state is BlockState.NO_INPUT
    assert replace(everywhere, area=near).open()((0, 1)).state is BlockState.OUTSIDE
    spoilt = job(Spoilt.of(source, (source.observations[2].datatake_id, 1)), MemoryStore(), chosen=(0, 1, 2))
    failed = try_block(spoilt.open(), (0, 1))
    assert failed.state is BlockState.READ_FAILED
    assert "2021-03-02_R008" in failed.reason
    assert try_block(spoilt.open(), (0, 0)).state is BlockState.DONE
    assert not spoilt.store.tiles.keys() & {(0, 1)}


def test_pixels_of_another_type_are_an_error(tmp_path):
    source = replace(series(DAYS[:1]), grid=grid())
    template = GroupTemplate(modality="S", grid=grid(), bands=source.bands, dtype="uint16", tile=32, chunk=16)
    store = CubeTileStore(group=create_cube(Target.parse(tmp_path / "c.zarr"), [template]).group("S"), count=1)
    wrong = replace(source, values=source.values.astype(np.float32))
    result = try_block(job(wrong, store, chosen=(0,)).open(), (0, 0))
    assert result.state is BlockState.FAILED
    assert "band_data is float32" in result.reason


def test_the_version_is_that_of_the_dates_read():
    few, more = series(DAYS[:2]), series(DAYS[:4])
    version = job(few, MemoryStore(), chosen=(0, 1)).input_version((0, 0))
    assert job(more, MemoryStore(), chosen=(0, 1)).input_version((0, 0)) == version
    assert job(more, MemoryStore(), chosen=(1, 0)).input_version((0, 0)) != version
    renewed = replace(
        few, observations=(few.observations[0], replace(few.observations[1], provenance={"baseline": "05.10"}))
    )
    assert job(renewed, MemoryStore(), chosen=(0, 1)).input_version((0, 0)) != version


def test_an_invalid_pixel_of_a_raster_holds_nothing():
    source = raster()
    holed = replace(source, values=np.where(source.valid, source.values, np.float32(np.nan)))
    tile = source.grid.with_extent(Blocks.square(source.grid.extent, TILE)[1, 1])
    arrays, count = job(holed, MemoryStore(), chosen=()).read(tile, 0)
    np.testing.assert_array_equal(arrays["band_data"], source.values[:, TILE:, TILE : 2 * TILE])
    assert count == source.valid[TILE:, TILE : 2 * TILE].sum()


def test_a_job_is_a_picklable_value(tmp_path):
    template = GroupTemplate(modality="S", grid=grid(), bands=("B2", "B3", "B8A"), dtype="uint16", tile=32, chunk=16)
    group = create_cube(Target.parse(tmp_path / "c.zarr"), [template]).group("S")
    source = replace(series(DAYS[:1]), grid=grid())
    made = job(source, CubeTileStore(group=group, count=1), chosen=(0,))
    assert pickle.loads(pickle.dumps(made)).open()((0, 0)).state is BlockState.DONE
    assert not CubeSeries.of(group).observations


@dataclass(frozen=True, kw_only=True)
class Endless(ArraySeries):
    """A series of any number of dates that holds no pixels: each is made when it is read."""

    def read(self, grid, bands, observations):
        shape = (len(observations), len(bands), *grid.shape)
        values = np.random.default_rng(list(observations)).integers(1, 9999, shape, np.uint16)
        return Series(values=values, pixel_class=np.full((len(observations), *grid.shape), PixelClass.CLEAR, np.uint8))


def peak(where: Target, source: Endless, shape: GroupTemplate) -> int:
    """Most bytes at work while one tile of ``source`` is aligned."""
    group = create_cube(where, [shape]).group("S")
    count = len(source.observations)
    aligning = AlignJob(
        key="a",
        grid=shape.grid,
        blocks=shape.blocks,
        source=source,
        bands=source.bands,
        indices=tuple(range(count)),
        store=CubeTileStore(group=group, count=count),
    )
    tracemalloc.start()
    try:
        assert aligning.open()((0, 0)).state is BlockState.DONE
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_is_that_of_one_date_however_many_a_time_shard_has(tmp_path):
    """Thirty-two dates in one object take what four take."""
    tile, bands, peaks = 256, ("B2", "B3", "B4"), {}
    where = grid(down=tile // TILE * 2, across=tile // TILE * 2)
    where = where.with_extent(where.extent.snap(tile))
    for count in (4, 32):
        days = np.datetime64("2021-01-01") + 5 * np.arange(count)
        observations = tuple(step(str(day)) for day in days)
        source = Endless(bands=bands, grid=where, values=np.zeros((0,), np.uint16), observations=observations)
        shape = GroupTemplate(
            modality="S", grid=where, bands=bands, dtype="uint16", tile=tile, chunk=128, time_shard=count
        )
        # Chunks are packed side by side: how many at the same moment is a matter of luck.
        peaks[count] = min(peak(Target.parse(tmp_path / f"{count}-{turn}.zarr"), source, shape) for turn in range(4))
    assert peaks[32] < 1.1 * peaks[4]
    date = tile**2 * (3 * 2 + 1)
    assert date < peaks[32] < 4 * date  # the date, its chunks; what reading takes beside them is measured elsewhere


def test_an_object_store_is_sent_a_tile_that_is_whole_in_memory():
    date = 1024**2 * (10 * 2 + 1)
    assert tile_memory(date, sent_dates=32) > 2 * 32 * date > tile_memory(date)
    assert tile_memory(date, sent_dates=1) == tile_memory(date)


def test_a_read_that_fails_writes_nothing():
    source = series(DAYS[:2])
    store = MemoryStore()
    with pytest.raises(ReadError):
        job(Spoilt.of(source, (source.observations[0].datatake_id, 0)), store, chosen=(0, 1)).open()((0, 0))
    assert not store.tiles
    assert isinstance(source.observations[0], Observation)
