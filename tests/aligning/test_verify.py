"""What is lost of a cube is found, never read as zeros, and aligned again, exactly that."""

import shutil
from itertools import product

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec, Crc32cCodec
from zarr.storage import MemoryStore

from landweave import api
from landweave.core.errors import ReadError
from landweave.core.grid import Grid
from landweave.core.protocols import BlockState
from landweave.jobs.lease import LEASE, Holder
from landweave.store.cubes.tiles import CubeTile
from landweave.store.objects import Target
from tests.aligning.test_run import everything
from tests.helpers.marks import mostly_slow
from tests.jobs.test_lease import dead_pid
from tests.store.cubes.cube_samples import DAYS, align, aligned, raster, series


@pytest.fixture
def target(tmp_path):
    return Target.parse(tmp_path / "cube.zarr")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A cube of two inputs, aligned once, and its sources."""
    place, sources = tmp_path_factory.mktemp("whole") / "cube.zarr", (series(DAYS[:5]), raster())
    align(Target.parse(place), *sources)
    return place, sources


@pytest.fixture
def sources(whole, tmp_path):
    """What the cube at ``target`` was aligned from."""
    shutil.copytree(whole[0], tmp_path / "cube.zarr")
    return whole[1]


def flip(target, name):
    content = bytearray(target.get(name))
    content[len(content) // 3] ^= 0x10
    target.put(name, bytes(content))


DAMAGES = {
    "deleted": lambda target, name: target.delete(name),
    "emptied": lambda target, name: target.put(name, b""),
    "cut short": lambda target, name: target.put(name, target.get(name)[:-7]),
    "flipped": flip,
}


TILES = product(("SENTINEL2_TS/band_data", "SENTINEL2_TS/pixel_class", "SPOT_RGBI/valid"), DAMAGES)
FAST_TILES = {
    ("SENTINEL2_TS/band_data", "flipped"),
    ("SENTINEL2_TS/band_data", "deleted"),
    ("SENTINEL2_TS/pixel_class", "cut short"),
    ("SPOT_RGBI/valid", "emptied"),
}


@pytest.mark.parametrize(("kind", "how"), mostly_slow(TILES, fast=FAST_TILES))
def test_a_damaged_tile_is_named_and_aligned_again(target, sources, kind, how):
    before = everything(target)
    assert api.verify(target.location).exit_code == 0
    name = next(name for name in before if name.startswith(f"{kind}/c/"))
    DAMAGES[how](target, name)
    found = api.verify(target.location)
    assert found.exit_code == 3
    assert len(found.damaged) == 1
    assert name in found.damaged[0]
    assert api.status(target.location).counts[BlockState.DAMAGED] == 1
    modality = kind.partition("/")[0]
    source = next(each for each in sources if each.modality == modality)
    dates = [] if modality == "SPOT_RGBI" else [range(5)]
    with pytest.raises(ReadError):
        aligned(target, modality).read(source.grid, source.bands, *dates)
    again = align(target, *sources)
    assert (again.ran, again.exit_code) == (1, 0)
    assert everything(target) == before
    assert api.verify(target.location).exit_code == 0


def test_a_tile_that_went_missing_is_never_read_as_zeros(target):
    """Nobody has verified: Zarr itself would give the fill value."""
    source = series(DAYS[:5])
    align(target, source)
    name = next(name for name in everything(target) if name.startswith("SENTINEL2_TS/band_data/c/"))
    target.delete(name)
    with pytest.raises(ReadError):
        aligned(target).read(source.grid, source.bands, range(5))


def test_a_tile_that_went_missing_before_dates_are_added_is_aligned_from_all_of_them(target):
    align(target, series(DAYS[:3]))
    name = next(name for name in everything(target) if name.startswith("SENTINEL2_TS/band_data/c/"))
    target.delete(name)
    source = series(DAYS[:5])
    assert align(target, source).exit_code == 0
    np.testing.assert_array_equal(aligned(target).read(source.grid, source.bands, range(5)).values, source.values)


@pytest.mark.parametrize("how", ["flipped", "emptied", "deleted"])
def test_a_damaged_ledger_of_a_cube_is_rebuilt(target, sources, how):
    before = everything(target)
    states = [name for name in target.list("ledger/SENTINEL2_TS") if "/state/c/" in name]
    DAMAGES[how](target, states[0])
    again = align(target, *sources)
    assert again.exit_code == 0
    assert everything(target) == before
    assert api.verify(target.location).exit_code == 0


def test_what_an_overtaken_driver_wrote_over_a_tile_is_aligned_again(target, monkeypatch):
    place, name = target.beside(LEASE)
    place.put(name, Holder(pid=dead_pid()).to_bytes())
    end, late = CubeTile.end, []

    def torn(self):
        written = end(self)
        if written and not late:
            late.append(self)
            flip(target, self.store.group.object_key(self.store.shard, self.index, written[0].array))
        return written

    monkeypatch.setattr(CubeTile, "end", torn)
    assert align(target, series(DAYS[:2])).exit_code == 0
    assert late
    assert api.verify(target.location).exit_code == 0


METADATA = tuple(
    product(
        ("SENTINEL2_TS", "SENTINEL2_TS/band_data", "SENTINEL2_TS/time", "SPOT_RGBI/valid", "ledger/SENTINEL2_TS"),
        ("deleted", "emptied"),
    )
)


@pytest.mark.parametrize(("where", "how"), mostly_slow(METADATA, fast=METADATA[::3]))
def test_metadata_of_a_cube_that_is_missing_is_restored(target, sources, where, how):
    before = everything(target)
    name = f"{where}/zarr.json"
    DAMAGES[how](target, name)
    found = api.verify(target.location)
    assert found.exit_code == 3
    assert f"{name} was {'missing' if how == 'deleted' else 'damaged'} and is written again" in found.notes
    assert everything(target) == before
    assert api.verify(target.location).exit_code == 0
    DAMAGES[how](target, name)
    assert align(target, *sources).exit_code == 0
    assert everything(target) == before


FAST_COORDINATES = {("x", "flipped"), ("time", "deleted"), ("provenance", "emptied")}
COORDINATES = [
    pytest.param(name, how, marks=[] if (name, how) in FAST_COORDINATES else pytest.mark.slow)
    for name in ("x", "y", "band", "time", "datatake_id", "provenance")
    for how in ("deleted", "emptied", "flipped")
]


@pytest.mark.parametrize(("name", "how"), COORDINATES)
def test_coordinates_of_a_cube_that_are_lost_are_named_and_restored(target, name, how):
    sources = series(DAYS[:3]), raster()
    align(target, *sources)
    align(target, series(DAYS[:5]), raster())
    before = everything(target)
    chunk = f"SENTINEL2_TS/{name}/c/0"
    DAMAGES[how](target, chunk)
    found = api.verify(target.location)
    assert (found.exit_code, found.notes) == (
        3,
        (f"{chunk} was {'missing' if how == 'deleted' else 'damaged'} and is written again",),
    )
    assert everything(target) == before
    assert api.verify(target.location).exit_code == 0
    DAMAGES[how](target, chunk)
    assert align(target, series(DAYS[:5]), raster()).exit_code == 0
    assert everything(target) == before


@pytest.mark.parametrize("how", ["deleted", "flipped"])
def test_coordinates_of_a_ledger_that_are_lost_are_restored_by_an_alignment_too(target, sources, how):
    before = {name: target.get(name) for name in target.list()}
    chunks = [name for name in before if "/block_" in name and name.endswith("/c/0")]
    assert len(chunks) == 2 * 3
    ends = {"deleted": "missing", "flipped": "damaged"}[how]
    for chunk in chunks:
        DAMAGES[how](target, chunk)
    found = api.verify(target.location).notes
    assert sorted(found) == [f"{chunk} was {ends} and is written again" for chunk in chunks]
    for chunk in chunks:
        DAMAGES[how](target, chunk)
    assert align(target, *sources).exit_code == 0
    assert {name: target.get(name) for name in target.list()} == before


def test_coordinates_of_a_ledger_in_other_bytes_are_not_lost(target, sources):
    """Those of another build of Blosc."""
    name = next(name for name in target.list() if name.endswith("/block_y/c/0"))
    values = zarr.open_array(target.location, path=name.removesuffix("/c/0"), mode="r")[...]
    other: dict = {}
    codecs = (BloscCodec(cname="lz4", clevel=1), Crc32cCodec())
    zarr.create_array(MemoryStore(other), name="y", data=values, chunks=values.shape, compressors=codecs)
    assert other["y/c/0"].to_bytes() != target.get(name)
    target.put(name, other["y/c/0"].to_bytes())
    assert api.verify(target.location).notes == ()


def test_blocks_whose_centre_is_0_have_no_object_to_lose(target, monkeypatch):
    """Zarr stores no chunk of nothing but the fill value."""
    monkeypatch.setattr(Grid, "block_centres", lambda _, blocks: tuple(map(np.zeros, blocks.shape)))
    align(target, raster())
    assert not any("/block_y/c/" in name for name in target.list())
    assert api.verify(target.location).notes == ()


def test_a_damaged_tile_whose_dates_left_the_catalog_is_explained(target):
    align(target, series(DAYS[:5]))
    name = next(name for name in everything(target) if name.startswith("SENTINEL2_TS/band_data/c/"))
    target.delete(name)
    again = align(target, series(DAYS[1:5]))
    assert again.exit_code == 3
    assert "1 block lacks dates that were not found: search those dates again, or mark them" in str(again)
    assert f"{name} is missing" in str(again)
