"""Headers known from before: the same facts without opening a file, and read anew when anything of it changes."""

import os
import time
from pathlib import Path

import numpy as np
import pytest
import rasterio

from landweave.core.errors import InputError
from landweave.sources import raster_facts
from landweave.sources.integrity import may_state_nodata
from landweave.sources.raster_facts import read_raster_facts
from tests.helpers.tiles import write_tile


@pytest.fixture
def tile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "tiles/a.tif"
    write_tile(path, np.full((3, 8, 8), 7, np.uint8), corner_xy=(100.0, 200.0))
    return settled(path)


def settled(path: Path, seconds: int = 60) -> Path:
    """The file with a time long ago, as of nearly every tile."""
    then = time.time_ns() - seconds * 10**9
    os.utime(path, ns=(then, then))
    return path


def opened(path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[int, raster_facts.RasterFacts]:
    """How many files are opened for the facts in a new process, and the facts."""
    raster_facts._cached_facts.cache_clear()
    count, original = [], raster_facts.describe_dataset
    monkeypatch.setattr(raster_facts, "describe_dataset", lambda *each: count.append(1) or original(*each))
    facts = read_raster_facts([str(path)])[str(path)]
    monkeypatch.setattr(raster_facts, "describe_dataset", original)
    return len(count), facts


def test_facts_are_known_without_opening_the_file(tile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, again = opened(tile, monkeypatch), opened(tile, monkeypatch)
    assert (first[0], again[0]) == (1, 0)
    assert again[1] == first[1]
    assert hash(again[1]) == hash(first[1])
    assert again[1].transform == first[1].transform


@pytest.mark.parametrize("change", ["time", "size", "beside", "gdal"])
def test_whatever_changes_is_read_anew(tile: Path, change: str, monkeypatch: pytest.MonkeyPatch) -> None:
    opened(tile, monkeypatch)
    if change == "time":
        settled(tile, 50)
    elif change == "size":
        write_tile(tile, np.full((1, 9, 9), 7, np.uint8), corner_xy=(100.0, 200.0))
        settled(tile)
    elif change == "beside":
        settled(Path(f"{tile}.aux.xml").write_text("<PAMDataset/>") and Path(f"{tile}.aux.xml"))
    else:
        monkeypatch.setattr(rasterio, "__gdal_version__", "0.0")
    assert opened(tile, monkeypatch)[0] == 1
    assert opened(tile, monkeypatch)[0] == 0


def test_what_changed_just_now_may_change_again(tile: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    tile.touch()
    assert [opened(tile, monkeypatch)[0] for _ in range(2)] == [1, 1]


@pytest.mark.parametrize(("nodata", "may"), [(None, False), (255, True)])
def test_only_a_tag_or_a_file_beside_states_nodata(tile: Path, nodata: int | None, may: bool) -> None:
    with rasterio.open(tile, "r+") as dataset:
        dataset.nodata = nodata
    assert may_state_nodata(str(tile)) == may
    Path(f"{tile}.aux.xml").write_text("<PAMDataset/>")
    assert may_state_nodata(str(tile))
    assert may_state_nodata(str(tile.with_name("none.tif")))


def test_a_jpeg_2000_states_nodata_beside_itself_alone(tmp_path: Path) -> None:
    path = tmp_path / "tile.jp2"
    profile = {"driver": "JP2OpenJPEG", "width": 16, "height": 16, "count": 1, "dtype": "uint8", "nodata": 7}
    with rasterio.open(path, "w", transform=rasterio.Affine(1, 0, 5, 0, -1, 9), crs="EPSG:2154", **profile) as dataset:
        dataset.write(np.full((1, 16, 16), 7, np.uint8))
    assert may_state_nodata(str(path))
    Path(f"{path}.aux.xml").unlink()
    assert not may_state_nodata(str(path))
    with rasterio.open(path) as dataset:
        assert dataset.nodata is None


@pytest.mark.parametrize("age", [0, 60])
def test_what_is_mended_beside_a_file_counts_in_the_same_process(tmp_path: Path, age: int) -> None:
    """As in a notebook: after a refusal the file itself is as it was."""
    tile = tmp_path / "a.tif"
    write_tile(tile, np.full((3, 8, 8), 7, np.uint8), corner_xy=(100.0, 200.0))
    beside = tmp_path / "a.tif.aux.xml"
    beside.write_text("<PAMDataset><GeoTransform>900, 0.2, 0, 800, 0, -0.2</GeoTransform></PAMDataset>")
    settled(tile, age), settled(beside, age)
    with pytest.raises(InputError, match="lies in two places"):
        read_raster_facts([str(tile)])
    beside.unlink()
    assert read_raster_facts([str(tile)])[str(tile)].transform[2] == 100


@pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")
@pytest.mark.parametrize("age", [0, 60])
def test_a_world_file_that_is_given_counts_in_the_same_process(tmp_path: Path, age: int) -> None:
    tile = tmp_path / "a.tif"
    with rasterio.open(tile, "w", driver="GTiff", dtype="uint8", count=1, width=8, height=8) as dataset:
        dataset.write(np.full((1, 8, 8), 7, np.uint8))
    settled(tile, age)
    with pytest.raises(InputError, match="Give it a world file"):
        read_raster_facts([str(tile)])
    world = tmp_path / "a.tfw"
    world.write_text("0.2\n0\n0\n-0.2\n100.1\n199.9\n")
    settled(world, age)
    assert read_raster_facts([str(tile)])[str(tile)].transform[2] == pytest.approx(100)
