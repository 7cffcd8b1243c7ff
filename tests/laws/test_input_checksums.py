"""Bytes that were flipped inside a tile are silent in a map, unless a checksum beside the delivery names the file."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path
from random import Random

import numpy as np
import pytest
import rasterio

from landweave import api
from landweave.core.errors import ReadError
from landweave.core.grid import Grid
from landweave.core.protocols import BlockState
from landweave.sources import checksums
from landweave.sources.mosaic.elevation import ElevationSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.sources.stac.search import StacQuery, search
from landweave.sources.stac.series import StacSeries
from tests.helpers.commands import RGBI_FILES, shards
from tests.helpers.small import Small
from tests.helpers.small_series import AREA, CRS
from tests.helpers.tiles import textured, write_tile
from tests.helpers.web import served

FLIPPED = 2000


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def flip_in_silence(path: Path) -> None:
    """Flip bytes inside the data of a file until GDAL reads other pixels from it, and no error."""
    whole = path.read_bytes()
    with rasterio.open(path) as file:
        before = file.read()
    for seed in range(200):
        random, content = Random(seed), bytearray(whole)
        start = random.randrange(len(whole) // 4, len(whole) - FLIPPED)
        content[start : start + FLIPPED] = (byte ^ random.randrange(1, 256) for byte in content[start:][:FLIPPED])
        path.write_bytes(content)
        try:
            with rasterio.open(path) as file:
                if not np.array_equal(file.read(), before):
                    return
        except rasterio.errors.RasterioError:
            continue
    raise AssertionError("every one of these damages is an error")


@pytest.mark.slow
@pytest.mark.parametrize("compress", ["deflate", "jpeg"])
def test_flipped_bytes_are_silent_without_a_checksum_and_named_with_one(tmp_path: Path, compress: str) -> None:
    small = Small.make(tmp_path)
    tile = sorted(small.folder.glob("rgb/*.tif"))[-1]
    with rasterio.open(tile) as file:
        values, corner = file.read(), (file.transform.c, file.transform.f)
    write_tile(tile, values, corner_xy=corner, compress=compress)
    config = small.loaded(engine={"kind": "inline"})
    assert api.run(config).exit_code == 0
    reference, whole = shards(small.store), tile.read_bytes()

    flip_in_silence(tile)
    shutil.rmtree(small.store)
    assert api.run(config).exit_code == 0
    assert shards(small.store) != reference

    good = hashlib.sha256(whole).hexdigest()
    (tile.parent / "SHA256SUMS").write_text(f"{good}  {tile.name}\n")
    shutil.rmtree(small.store)
    result = api.run(config)
    assert result.exit_code == 3
    status = api.status(small.store)
    assert 0 < status.counts[BlockState.READ_FAILED] < 12
    named = (tile.name, good[:16], digest(tile)[:16], "SHA256SUMS")
    assert [line for line in status.failures if not all(part in line for part in named)] == []
    mapped = {name: content for name, content in shards(small.store).items() if "map/0/landcover/c/" in name}
    assert len(mapped) == 12 - status.counts[BlockState.READ_FAILED]
    assert mapped.items() <= reference.items()

    off = {**RGBI_FILES, "checksums": False}
    told = small.loaded(inputs={"AERIAL_RGBI": off}, output={"store": "told.zarr"})
    assert api.run(told).exit_code == 0

    tile.write_bytes(whole)
    again = api.run(config)
    assert (again.exit_code, again.ran) == (0, status.counts[BlockState.READ_FAILED])
    assert shards(small.store) == reference


def test_a_check_says_what_checksums_cost_and_no_driver_reads_a_whole_file(small_with_sums, monkeypatch) -> None:
    small, hashed, digest_of = small_with_sums, [], checksums._digest
    monkeypatch.setattr(checksums, "_digest", lambda file, kind: hashed.append(file.href) or digest_of(file, kind))
    config = small.loaded(inputs={"AERIAL_RGBI": {**RGBI_FILES, "checksums": "delivered.md5"}})
    told = "8 of 8 files are held against the checksums of "
    assert told in str(api.check(config))
    assert told in str(api.plan_map(config))
    assert not hashed
    assert api.run(config).exit_code == 0
    assert sorted(hashed) == sorted(str(path) for path in small.folder.glob("*/*.tif"))


@pytest.fixture
def small_with_sums(tmp_path: Path) -> Small:
    small = Small.make(tmp_path)
    lines = (f"{hashlib.md5(path.read_bytes()).hexdigest()} *{path.relative_to(tmp_path)}" for path in tiles(small))
    (tmp_path / "delivered.md5").write_text("\n".join(lines))
    return small


def tiles(small: Small) -> list[Path]:
    return sorted(small.folder.glob("*/*.tif"))


def test_elevation_models_have_lists_of_their_own(tmp_path: Path) -> None:
    values = textured((100, 100), 1).astype(np.float32)
    for name in ("dsm", "dtm"):
        write_tile(tmp_path / name / "a.tif", values, corner_xy=(0, 20))
    (tmp_path / "dtm" / "a.tif.sha256").write_text("0" * 64)
    specs = [
        MosaicSpec(modality="DEM_ELEV", bands={band: BandFiles(files=(f"{band.lower()}/*.tif",))}, root=str(tmp_path))
        for band in ("DSM", "DTM")
    ]
    grid = Grid.from_bounds((0, 0, 20, 20), crs="EPSG:2154", resolution=0.2)
    source = ElevationSource.open(*specs, grid)
    assert source.read(grid, ["DSM"]).valid.all()
    with pytest.raises(ReadError, match=r"a\.tif has sha256"):
        source.read(grid, ["NDSM"])


@pytest.fixture
def catalog(valley, tmp_path: Path) -> Path:
    """The summer's items beside copies of their files, of which they state the multihash."""
    document = json.loads((valley.folder / "summer.json").read_text())
    for item in document["features"]:
        for asset in item["assets"].values():
            source = Path(asset["href"])
            copy = tmp_path / source.parent.name / source.name
            copy.parent.mkdir(exist_ok=True)
            shutil.copy(source, copy)
            asset |= {"href": f"{copy.parent.name}/{copy.name}", "file:checksum": f"1220{digest(copy)}"}
    (tmp_path / "items.json").write_text(json.dumps(document))
    return tmp_path / "items.json"


def opened(catalog: str, wanted: bool | None) -> StacSeries:
    query = StacQuery(catalog=catalog, modality="SENTINEL2_TS", bands=("B4", "B8"))
    grid = Grid.from_bounds(AREA, crs=CRS, resolution=10)
    found = search(query, grid.lonlat_bounds)
    return StacSeries.open(found, modality=query.modality, bands=query.bands, grid=grid, checksums=wanted)


def test_a_scene_is_held_against_the_checksum_of_its_item(catalog: Path, valley) -> None:
    whole = opened(str(catalog), None)
    before = whole.read(whole.grid, ["B4"], range(3)).values
    assert "9 files are held against the checksums of their items" in str(whole.notes)
    victim = next(catalog.parent.glob("20210704/B4.tif"))
    content = victim.read_bytes()
    victim.write_bytes(content + b"\0")  # no pixel is another
    series = opened(str(catalog), None)
    assert np.array_equal(series.read(series.grid, ["B4"], [0, 2]).values, before[[0, 2]])
    with pytest.raises(ReadError, match=r"B4\.tif has sha256 \w{16}…, and item \S+ states \w{16}…"):
        series.read(series.grid, ["B4"], [1])
    ignoring = opened(str(catalog), False)
    assert np.array_equal(ignoring.read(ignoring.grid, ["B4"], [1]).values, before[[1]])
    victim.write_bytes(content)
    assert np.array_equal(opened(str(catalog), None).read(series.grid, ["B4"], [1]).values, before[[1]])


def test_a_scene_on_the_web_is_fetched_whole_only_where_that_is_asked(catalog: Path) -> None:
    with served(catalog.parent) as address:
        victim = next(catalog.parent.glob("20210704/B4.tif"))
        victim.write_bytes(victim.read_bytes() + b"\0")
        series = opened(f"{address}/items.json", None)
        assert "not looked at for 9 files" in series.describe()["checksums"]
        series.read(series.grid, ["B4"], [1])
        asked = opened(f"{address}/items.json", True)
        asked.read(asked.grid, ["B4"], [0])
        with pytest.raises(ReadError, match=r"B4\.tif has sha256"):
            asked.read(asked.grid, ["B4"], [1])


def test_a_checksum_that_is_none_is_remarked_and_its_item_used(catalog: Path) -> None:
    document = json.loads(catalog.read_text())
    for asset in document["features"][0]["assets"].values():
        asset["file:checksum"] = "md5:none"
    catalog.write_text(json.dumps(document))
    series = opened(str(catalog), None)
    assert len(series.observations) == 3
    assert "1 states a checksum that is none of a known kind" in str(series.notes)
