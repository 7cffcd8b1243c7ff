"""The catalog is one that tools of the field read, and its pixels, brought back to the landscape, are the year's."""

from __future__ import annotations

from pathlib import Path

import jsonschema
import numpy as np
import pystac
import pytest
import rasterio
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource

from landweave.core.grid import Grid
from landweave.core.protocols import Series
from landweave.core.timeseries import PixelClass
from landweave.sources.stac.records import SearchResult
from landweave.sources.stac.search import StacQuery, search
from landweave.sources.stac.series import StacSeries
from landweave_demo.files.georeference import LEFT_PX, TOP_PX
from landweave_demo.files.sentinel_catalog import CATALOG, write_sentinel
from landweave_demo.files.sentinel_scenes import (
    MARGIN_M,
    OFFSET,
    OFFSET_SINCE,
    SENTINEL1,
    SENTINEL2,
    scene_classification,
    utm_bounds,
)
from landweave_demo.landscape.landscape import Landscape, make_landscape
from landweave_demo.satellites.phenology import OPTICAL_BANDS, RADAR_BANDS
from landweave_demo.satellites.pixel_centres import PixelCentres
from landweave_demo.satellites.satellite_year import SatelliteYear, make_satellite_year

SIDE = 640
ITEM_SCHEMA = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"


@pytest.fixture(scope="module")
def landscape() -> Landscape:
    return make_landscape(9, height=SIDE, width=SIDE)


@pytest.fixture(scope="module")
def year(landscape: Landscape) -> SatelliteYear:
    return make_satellite_year(landscape, 4)


@pytest.fixture(scope="module")
def folder(year: SatelliteYear, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("sentinel")
    assert write_sentinel(year, folder) == folder / CATALOG
    return folder


@pytest.fixture(scope="module")
def items(folder: Path) -> list[pystac.Item]:
    return list(pystac.Catalog.from_file(str(folder / CATALOG)).get_items(recursive=True))


def found(folder: Path, modality: str) -> SearchResult:
    radar = modality.startswith("SENTINEL1")
    query = StacQuery(
        catalog=str(folder / CATALOG),
        collections=(SENTINEL1 if radar else SENTINEL2,),
        dates="2022-01-01/2022-12-31",
        modality=modality,
        bands=RADAR_BANDS if radar else OPTICAL_BANDS,
        quantity="sigma0" if radar else None,
    )
    return search(query, utm_bounds((SIDE, SIDE)).lonlat())


def read(folder: Path, modality: str) -> tuple[Series, PixelCentres]:
    """Every date on pixels of 10.24 m over the landscape, and where those lie."""
    left, top = LEFT_PX / 5, TOP_PX / 5
    grid = Grid.from_bounds((left + 11, top - 111, left + 111, top - 11), crs="EPSG:2154", resolution=10.24)
    dates = found(folder, modality)
    bands = RADAR_BANDS if modality.startswith("SENTINEL1") else OPTICAL_BANDS
    series = StacSeries.open(dates, modality=modality, bands=bands, grid=grid)
    y, x = np.meshgrid(top - grid.y, grid.x - left, indexing="ij")
    return series.read(grid, bands, range(len(series.observations))), PixelCentres(x=x, y=y, pixel_m=10.24)


def test_items_are_valid_stac(items: list[pystac.Item]) -> None:
    schemas = get_local_schema_cache()
    registry: Registry = Registry().with_resources((url, Resource.from_contents(each)) for url, each in schemas.items())
    validator = jsonschema.Draft7Validator(schemas[ITEM_SCHEMA], registry=registry)
    for item in items:
        validator.validate(item.to_dict())


def test_every_file_is_where_its_item_says(items: list[pystac.Item]) -> None:
    for item in items[::9]:
        for asset in item.assets.values():
            with rasterio.open(asset.get_absolute_href()) as file:
                assert file.crs.to_string() == item.properties["proj:code"]
                assert list(file.transform)[:6] == asset.extra_fields["proj:transform"]
                assert list(file.shape) == asset.extra_fields["proj:shape"]
                assert file.tags(ns="IMAGE_STRUCTURE")["LAYOUT"] == "COG"


def test_every_date_is_found(folder: Path, year: SatelliteYear) -> None:
    for modality, days in (
        ("SENTINEL2_TS", year.optical_days),
        ("SENTINEL1-ASC_TS", year.radar_days["ascending"]),
        ("SENTINEL1-DESC_TS", year.radar_days["descending"]),
    ):
        observations = found(folder, modality).observation_scenes
        assert [entry.observation.time.astype("datetime64[D]") for entry in observations] == list(days)


def test_a_date_has_two_tiles_that_share_ground_and_agree_there(folder: Path, items: list[pystac.Item]) -> None:
    entry = found(folder, "SENTINEL2_TS").observation_scenes[-1]
    assert [scene.tile for scene in entry.scenes] == ["31TCJ", "31TDJ"]
    with (
        rasterio.open(entry.scenes[0].assets["B8"].href) as west,
        rasterio.open(entry.scenes[1].assets["B8"].href) as east,
    ):
        shared = round((west.bounds.right - east.bounds.left) / 10)
        assert 10 < shared < west.width
        assert (west.read(1)[:, -shared:] == east.read(1)[:, :shared]).all()


def test_the_offset_begins_within_the_year(folder: Path) -> None:
    decided = {
        entry.observation.time >= OFFSET_SINCE: entry.scenes[0].offset_decision
        for entry in found(folder, "SENTINEL2_TS").observation_scenes
    }
    assert decided == {False: "none in 03.01", True: f"raw: -{OFFSET} applied here"}


def test_reflectance_comes_back_as_the_year_has_it(folder: Path, year: SatelliteYear) -> None:
    """Read through the catalog and UTM, against the year drawn straight on the map's pixels."""
    series, centres = read(folder, "SENTINEL2_TS")
    drawn = year.optical(centres, np.random.default_rng(0))
    assert (series.pixel_class == drawn.pixel_class).mean() > 0.95
    clear = (series.pixel_class == PixelClass.CLEAR) & (drawn.pixel_class == PixelClass.CLEAR)
    for band in range(len(OPTICAL_BANDS)):
        got, wanted = series.values[:, band][clear].astype(float), drawn.values[:, band][clear]
        assert got.mean() == pytest.approx(float(wanted.mean()), rel=0.04, abs=10)
        assert np.corrcoef(got, wanted)[0, 1] > 0.6
    for date in np.flatnonzero(clear.any((1, 2))):  # an offset of 1000 left in, or taken off twice, would show
        got, wanted = (values[date].mean(0)[clear[date]].mean() for values in (series.values, drawn.values))
        assert got == pytest.approx(float(wanted), abs=400)


def test_backscatter_comes_back_in_linear_power(folder: Path, year: SatelliteYear) -> None:
    series, centres = read(folder, "SENTINEL1-DESC_TS")
    drawn = year.radar("descending", centres, np.random.default_rng(0))
    assert (series.pixel_class == PixelClass.CLEAR).all()
    assert series.values.mean((0, 2, 3)) == pytest.approx(drawn.mean((0, 2, 3)), rel=0.06)


def test_files_extend_beyond_the_landscape_for_windows_at_its_edge() -> None:
    bounds = utm_bounds((SIDE, SIDE))
    assert (bounds.right - bounds.left, bounds.top - bounds.bottom) >= (SIDE / 5 + 2 * MARGIN_M,) * 2
    assert not {side % 60 for side in (bounds.left, bounds.top, bounds.right, bounds.bottom)} - {0}


def test_the_scene_classification_has_the_pixel_classes() -> None:
    values = np.full((10, 1, 5), 500, np.float32)
    values[6, 0, 3] = 3000
    pixel_class = np.array(
        [[PixelClass.CLOUD, PixelClass.SNOW, PixelClass.SHADOW, PixelClass.CLEAR, PixelClass.CLEAR]], np.uint8
    )
    assert scene_classification(values, pixel_class).tolist() == [[9, 11, 3, 4, 5]]
