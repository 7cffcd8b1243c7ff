"""Dates of a catalog as a series: states, seams between scenes, and what is told without a file."""

import pickle
import threading
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.protocols import SeriesSource
from landweave.core.timeseries import PixelClass
from landweave.sources.stac.pixel_classes import classify_pixels
from landweave.sources.stac.records import ObservationScenes, SearchResult
from landweave.sources.stac.search import StacQuery, search
from landweave.sources.stac.series import StacSeries
from tests.helpers.scenes_on_disk import SceneFile, coded, observations_of, optical_item, radar_item, write_scene
from tests.helpers.stac_items import write_items

UTM = "EPSG:32631"
BANDS = ("B2", "B5")
GRID = Grid.from_bounds((500100, 4899000, 500900, 4899900), crs=UTM, resolution=10)


def planes(seed: int = 0, classes: int = 4, shape: tuple[int, int] = (120, 100)) -> dict[str, np.ndarray]:
    half = (shape[0] // 2, shape[1] // 2)
    return {"B2": coded(shape, seed=seed), "B5": coded(half, seed=seed + 50), "SCL": np.full(half, classes, np.uint8)}


def write(folder: Path, corner: tuple[float, float] = (500000, 4900000), **settings: Any) -> dict[str, SceneFile]:
    return write_scene(folder, planes(**settings), corner_xy=corner)


def open_series(
    *items: dict[str, Any], bands: tuple[str, ...] = BANDS, grid: Grid = GRID, **settings: Any
) -> StacSeries:
    observations = observations_of(items, (*bands, "SCL"))
    return StacSeries.open(observations, modality="SENTINEL2_TS", bands=bands, grid=grid, **settings)


@pytest.fixture
def series(tmp_path: Path) -> StacSeries:
    """Two dates; the second of two scenes side by side, the eastern one reaching under the western."""
    first = optical_item(write(tmp_path / "a"), "20210614", tile="31TEJ")
    west = optical_item(write(tmp_path / "b", seed=1, shape=(120, 60)), "20210619", tile="31TEJ")
    east = optical_item(write(tmp_path / "c", (500400, 4900000), seed=2), "20210619", tile="31TFJ")
    return open_series(east, first, west)


def test_it_is_a_series_source(series: StacSeries) -> None:
    source: SeriesSource = series
    assert [len(entry.scenes) for entry in series.observation_scenes] == [1, 2]
    assert (source.quantity, source.dtype, source.bands) == ("reflectance", np.dtype(np.uint16), BANDS)
    assert source.cloud_mask == {"source": "scl"}
    assert [str(observation.time)[:10] for observation in source.observations] == ["2021-06-14", "2021-06-19"]
    assert list(source.observations[1].provenance["scenes"]) == [
        scene.id for scene in series.observation_scenes[1].scenes
    ]


def test_the_first_valid_pixel_is_kept(series: StacSeries) -> None:
    values = series.read(GRID, BANDS, (1,)).values[0, 0]
    west, east = (planes(seed=seed, shape=shape)["B2"] - 1000 for seed, shape in ((1, (120, 60)), (2, (120, 100))))
    np.testing.assert_array_equal(values[:, :50], west[10:100, 10:60])
    np.testing.assert_array_equal(values[:, 50:], east[10:100, 20:50])


def test_a_scene_that_is_not_needed_is_not_read(series: StacSeries) -> None:
    part = GRID.with_extent(Extent(GRID.extent.y, replace(GRID.extent.x, stop=GRID.extent.x.start + 40)))
    hidden = series.observation_scenes[1].scenes[1]
    expected = series.read(part, BANDS, (1,))
    for asset in hidden.assets.values():
        Path(asset.href).unlink()
    np.testing.assert_array_equal(series.read(part, BANDS, (1,)).values, expected.values)


def test_a_date_with_nothing_over_the_grid_opens_no_file(series: StacSeries, monkeypatch: pytest.MonkeyPatch) -> None:
    far = GRID.with_extent(Extent.of((0, 8), (0, 8)))
    monkeypatch.setattr(rasterio, "DatasetReader", None)
    read = series.read(far, BANDS, (1, 0))
    assert (read.pixel_class == PixelClass.NOT_ACQUIRED).all()
    assert not read.values.any()
    assert (series.opens(far), series.files(far), series.cost(far).bytes) == (0, (), 0)


def test_what_it_costs_and_where_it_lies_is_told_without_a_file(
    series: StacSeries, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rasterio, "DatasetReader", None)
    assert series.opens(GRID) == 9
    scenes = series.files(GRID)
    assert len(scenes) == len({scene.id for scene in scenes}) == 9
    assert all(scene.size == Path(scene.location).stat().st_size for scene in scenes)
    assert {scene.format for scene in scenes} == {"GTiff"}
    cost = series.cost(GRID)
    whole = 2 * (120 * 100 + 2 * 60 * 50) + 120 * 60 + 2 * 60 * 30
    assert cost.decoded_pixels == {"GTiff": whole}
    assert cost.bytes == pytest.approx(sum(scene.size for scene in scenes), rel=0.01)
    x0, y0, x1, y1 = series.bounds(GRID)
    assert x0 <= 500000 < 501400 <= x1 <= 501440
    assert y0 <= 4898800 < 4900000 <= y1
    told = series.describe()
    assert (told["dates"], told["scenes"], told["crs"]) == (2, 3, [UTM])
    assert told["offsets"] == {"raw: -1000 applied here": 3}


def test_a_repaired_scene_has_another_version_and_the_same_id(series: StacSeries) -> None:
    before = series.files(GRID)
    path = Path(before[0].location)
    path.write_bytes(path.read_bytes() + b"\0")
    after = series.files(GRID)
    assert [scene.id for scene in after] == [scene.id for scene in before]
    changed = [place for place, (old, new) in enumerate(zip(before, after, strict=True)) if old.version != new.version]
    assert changed == [0]


def test_the_meaning_is_about_numbers_not_about_places(tmp_path: Path) -> None:
    here, there = (optical_item(write(tmp_path / name)) for name in ("a", "b"))
    meaning = open_series(here).fingerprint_fields
    assert open_series(there).fingerprint_fields == meaning
    older = optical_item(write(tmp_path / "a"), baseline="0300")
    for other in (open_series(here, resampling="nearest"), open_series(here, bands=("B2",)), open_series(older)):
        assert other.fingerprint_fields != meaning


def test_it_travels_and_serves_threads(series: StacSeries) -> None:
    expected = series.read(GRID, BANDS, (0, 1))
    sent, found = pickle.loads(pickle.dumps(series)), {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: sent.read(GRID, BANDS, (0, 1))})) for n in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 3
    for read in found.values():
        np.testing.assert_array_equal(read.values, expected.values)
        np.testing.assert_array_equal(read.pixel_class, expected.pixel_class)


def test_dates_and_bands_come_in_the_order_asked(series: StacSeries) -> None:
    both = series.read(GRID, BANDS, (0, 1))
    turned = series.read(GRID, ("B5",), (1, 0, 1))
    np.testing.assert_array_equal(turned.values, both.values[[1, 0, 1], 1:])
    np.testing.assert_array_equal(turned.pixel_class, both.pixel_class[[1, 0, 1]])


def test_every_class_has_its_state() -> None:
    classes = np.arange(12, dtype=np.uint16)[None]
    told = classify_pixels({"SCL": classes}, {"source": "scl"}, np.ones((1, 12), bool))
    expected = {0: 5, 1: 5, 3: 4, 8: 2, 9: 2, 10: 2, 11: 3}
    assert told.tolist() == [[expected.get(code, 1) for code in range(12)]]
    assert (classify_pixels({"SCL": classes}, {"source": "scl"}, np.zeros((1, 12), bool)) == PixelClass.NODATA).all()


def test_states_from_probabilities(tmp_path: Path) -> None:
    """The larger than the maximum, not the equal; snow before cloud; a probability of 0 is a measurement."""
    cloud, snow = np.zeros((60, 50), np.uint8), np.zeros((60, 50), np.uint8)
    cloud[10:20], cloud[20:30], snow[25:35] = 1, 2, 2
    written = write_scene(tmp_path, {**planes(), "CLOUD": cloud, "SNOW": snow}, corner_xy=(500000, 4900000))
    clouds = {"source": "probability", "cloud_max": 1, "snow_max": 1}
    observations = observations_of([optical_item(written)], (*BANDS, "CLOUD", "SNOW"))
    series = StacSeries.open(observations, modality="SENTINEL2_TS", bands=BANDS, grid=GRID, cloud_mask=clouds)
    state = series.read(GRID, BANDS, (0,)).pixel_class[0]
    rows = np.repeat([1] * 20 + [2] * 5 + [3] * 10 + [1] * 25, 2)[10:100]
    np.testing.assert_array_equal(state, np.broadcast_to(rows[:, None], state.shape))


@pytest.mark.parametrize("maximum", [0, 1, 1.5, 40])
def test_a_probability_is_compared_as_it_is_stored(tmp_path: Path, maximum: float) -> None:
    """None is made a whole number on its way to the threshold, neither a clear pixel nor a cloudy one."""
    stored = np.random.default_rng(3).choice(np.array([0, 0.4, 1, 1.4, 1.6, 40, 40.02], np.float32), (2, 60, 50))
    written = write_scene(tmp_path, {**planes(), "CLOUD": stored[0], "SNOW": stored[1]}, corner_xy=(500000, 4900000))
    observations = observations_of([optical_item(written)], (*BANDS, "CLOUD", "SNOW"))
    clouds = {"source": "probability", "cloud_max": maximum, "snow_max": maximum}
    series = StacSeries.open(observations, modality="SENTINEL2_TS", bands=BANDS, grid=GRID, cloud_mask=clouds)
    read = series.read(GRID, BANDS, (0,))
    cloudy, snowy = stored.repeat(2, axis=1).repeat(2, axis=2)[:, 10:100, 10:90] > maximum
    np.testing.assert_array_equal(read.pixel_class[0], np.where(snowy, 3, np.where(cloudy, 2, 1)))
    assert read.values.dtype == np.uint16
    np.testing.assert_array_equal(read.values[0, 0], planes()["B2"][10:100, 10:90] - 1000)


def test_cloud_does_not_hide_what_was_measured(tmp_path: Path) -> None:
    """A cloudy pixel of the first scene is kept: the next one of the same pass saw the same cloud."""
    first = optical_item(write(tmp_path / "a", classes=9), tile="31TEJ")
    second = optical_item(write(tmp_path / "b", seed=5), tile="31TFJ")
    read = open_series(first, second).read(GRID, BANDS, (0,))
    assert (read.pixel_class == PixelClass.CLOUD).all()
    np.testing.assert_array_equal(read.values[0, 0], planes()["B2"][10:100, 10:90] - 1000)


def test_a_pixel_that_lacks_a_band_is_taken_from_the_next_scene(tmp_path: Path) -> None:
    torn = planes()
    torn["B5"][20:30] = 0
    first = optical_item(write_scene(tmp_path / "a", torn, corner_xy=(500000, 4900000)), tile="31TEJ")
    series = open_series(first)
    alone = series.read(GRID, ("B2",), (0,))
    np.testing.assert_array_equal(alone.pixel_class[0, 30:50] == PixelClass.NODATA, True)
    assert not alone.values[0, 0, 30:50].any()
    second = optical_item(write(tmp_path / "b", seed=5), tile="31TFJ")
    both = open_series(first, second).read(GRID, BANDS, (0,))
    assert (both.pixel_class == PixelClass.CLEAR).all()
    np.testing.assert_array_equal(both.values[0, 0, 30:50], planes(seed=5)["B2"][40:60, 10:90] - 1000)


def test_a_search_opens_as_a_series(tmp_path: Path) -> None:
    """From a catalog file to pixels, and radar by its own word for what it measures."""
    power = np.full((120, 100), 0.1, np.float32)
    written = write_scene(tmp_path / "s1", {"VV": power, "VH": power / 4}, corner_xy=(500000, 4900000))
    catalog = write_items(tmp_path / "items.json", optical_item(write(tmp_path / "s2")), radar_item(written))
    days, box = "2021-06-01/2021-06-30", (2.9, 44.2, 3.1, 44.3)
    optical = search(StacQuery(catalog=catalog, dates=days, modality="SENTINEL2_TS", bands=BANDS), box)
    assert isinstance(optical, SearchResult)
    read = StacSeries.open(optical, modality="SENTINEL2_TS", bands=BANDS, grid=GRID).read(GRID, BANDS, (0,))
    np.testing.assert_array_equal(read.values[0, 0], planes()["B2"][10:100, 10:90] - 1000)
    query = StacQuery(catalog=catalog, dates=days, modality="SENTINEL1-ASC_TS", bands=("VV", "VH"))
    radar = StacSeries.open(search(query, box), modality="SENTINEL1-ASC_TS", bands=("VV", "VH"), grid=GRID)
    assert (radar.quantity, radar.dtype) == ("gamma0_rtc", np.dtype(np.float32))
    np.testing.assert_array_equal(radar.read(GRID, ("VH",), (0,)).values, np.float32(0.025))


def test_settings_that_cannot_be_are_refused(series: StacSeries) -> None:
    observations = series.observation_scenes
    asked = {"modality": "SENTINEL2_TS", "bands": BANDS, "grid": GRID}
    with pytest.raises(InputError, match=r"lacks \['B8'\] of SENTINEL2_TS"):
        StacSeries.open(observations, **asked | {"bands": ("B2", "B8")})
    with pytest.raises(InputError, match="lacks \\['CLOUD', 'SNOW'\\]"):
        StacSeries.open(observations, **asked, cloud_mask={"source": "probability", "cloud_max": 1, "snow_max": 1})
    with pytest.raises(ConfigError, match="no decibels"):
        StacSeries.open(observations, **asked, decibels=True)
    with pytest.raises(ConfigError, match="'source': 'scl'"):
        StacSeries.open(observations, **asked, cloud_mask={"source": "probability", "cloud_max": 1})
    with pytest.raises(InputError, match="measure nothing"):
        StacSeries.open((), **asked)
    odd = ObservationScenes(
        observation=observations[0].observation, scenes=(replace(observations[0].scenes[0], quantity="sigma0"),)
    )
    with pytest.raises(InputError, match="reflectance', 'sigma0"):
        StacSeries.open((*observations, odd), **asked)
    with pytest.raises(ConfigError, match="opened on pixels of 10"):
        series.read(GRID.coarsen(2), BANDS, (0,))
    with pytest.raises(ConfigError, match="has no band"):
        series.read(GRID, ("B9",), (0,))


def test_scenes_across_the_antimeridian_are_found_where_they_lie(tmp_path: Path) -> None:
    """A scene of zone 1 whose item says nothing of its pixels, over the 180th meridian, on a grid of zone 60."""
    corner, crs = (300000, 7300000), "EPSG:32601"
    files = write_scene(tmp_path, planes(), corner_xy=corner, crs=crs)
    item = optical_item(files, tile="01WCP")
    for asset in item["assets"].values():
        for name in ("proj:shape", "proj:transform"):
            del asset[name]
    item["bbox"] = [178.4, 65.0, -178.0, 66.2]
    grid = Grid.from_bounds((300100, 7299000, 300900, 7299900), crs=crs, resolution=10)
    series = open_series(item, grid=grid)
    assert series.opens(grid) == 3
    np.testing.assert_array_equal(series.read(grid, BANDS, (0,)).values[0, 0], planes()["B2"][10:100, 10:90] - 1000)
    east = grid.with_extent(grid.covering((800000, 7299000, 800900, 7299900)))
    assert series.opens(east) == 0
