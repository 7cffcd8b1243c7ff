"""One bad item never ends a search: any field missing, null, of another type or malformed."""

import json
from pathlib import Path
from random import Random

import numpy as np
import pytest

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.sources.stac.search import StacQuery, search
from landweave.sources.stac.series import StacSeries
from tests.helpers.damage import mutated
from tests.helpers.scenes_on_disk import coded, optical_item, write_scene
from tests.helpers.stac_items import Item, optical, radar, real_items, with_properties, write_items

UTM = "EPSG:32631"
GRID = Grid.from_bounds((500100, 4899000, 500900, 4899900), crs=UTM, resolution=10)
WORLD = (-180.0, -90.0, 180.0, 90.0)


def opened(path: str, item: Item, is_radar: bool, bounds=WORLD) -> StacSeries:
    state = str(item["properties"].get("sat:orbit_state", "ascending")).lower()
    modality = "SENTINEL2_TS" if not is_radar else f"SENTINEL1-{'ASC' if state == 'ascending' else 'DESC'}_TS"
    bands = ("VV",) if is_radar else ("B2", "B8")
    query = StacQuery(catalog=path, modality=modality, bands=bands, dates="2000-01-01/2099-12-31")
    return StacSeries.open(search(query, bounds), modality=modality, bands=bands, grid=GRID)


def check(folder: Path, item: Item, seeds: range, *, is_radar: bool) -> None:
    """Beside a broken item a good one is used, and whatever is left out is named."""
    state = item["properties"].get("sat:orbit_state", "ascending").lower()
    good = with_properties(radar("20010101"), sat__orbit_state=state) if is_radar else optical("20010101")
    for seed in seeds:
        broken, _ = mutated(item, Random(seed))
        series = opened(write_items(folder / "items.json", broken, good), item, is_radar)
        ids = [scene.id for each in series.observation_scenes for scene in each.scenes]
        assert good["id"] in ids or broken.get("id") == good["id"], seed
        assert len(ids) + len(series.dropped) == 2, seed
        assert all(each.reason for each in series.dropped)
        json.dumps([dict(series.fingerprint_fields), series.describe(), series.notes])
        series.bounds(GRID)
        series.cost(GRID)


@pytest.mark.parametrize("make", [optical, radar])
def test_a_made_item_broken_anywhere_ends_no_search(tmp_path: Path, make) -> None:
    check(tmp_path, make(), range(400), is_radar=make is radar)


@pytest.mark.parametrize(
    "name",
    [
        "S2A_28QCH_20200714_0_L2A.json",
        "S2B_31QGB_20200831_0_L2A.json",
        "sentinel-2-item.json",
        "S2A_OPER_MSI_L2A_TL_2APS_20240108T121951_A044635_T34VEL.json",
        "sentinel-1-rtc-pc.json",
        "S1B_20161121_12SYJ_ASC.json",
    ],
)
def test_a_real_item_broken_anywhere_ends_no_search(tmp_path: Path, shared, name: str) -> None:
    item = real_items(shared("data/stac") / name)[0]
    check(tmp_path, item, range(80), is_radar=item["id"].startswith("S1"))


@pytest.fixture
def item(tmp_path: Path) -> Item:
    """A scene on disk."""
    planes = {"B2": coded((120, 100)), "B8": coded((120, 100), seed=1), "SCL": np.full((60, 50), 4, np.uint8)}
    return optical_item(write_scene(tmp_path / "scene", planes, corner_xy=(500000, 4900000)))


def read(tmp_path: Path, item: Item) -> np.ndarray:
    series = opened(write_items(tmp_path / "items.json", item), item, is_radar=False)
    return series.read(GRID, ("B2",), (0,)).values[0, 0]


EXPECTED = coded((120, 100))[10:100, 10:90] - 1000


def test_fields_that_files_say_as_well_are_taken_from_them(tmp_path: Path, item: Item) -> None:
    """Georeferences that are malformed, absurd, or those of another place: the right pixels all the same."""
    broken = [
        {"proj:code": "EPSG:None", "proj:epsg": None},
        {"proj:epsg": "None"},
        {"proj:code": 5, "proj:epsg": True},
        {"proj:transform": None, "proj:shape": None},
        {"proj:transform": "10, 0, 500000"},
        {"proj:transform": [10, 0, None, 0, -10, 0]},
        {"proj:transform": [0] * 6},
        {"proj:transform": [500000, 10, 0, 4900000, 0, -10]},  # the order of GDAL
        {"proj:transform": [10, 0, 600000, 0, -10, 100000]},
        {"proj:shape": [0, -1]},
        {"proj:shape": [60, 50]},
        {"proj:epsg": 32632},
        {"type": "image/geotiff"},
        {"type": "image/x.geotiff"},
        {"type": "image/tiff; profile=cloud-optimized"},
        {"type": "IMAGE/TIFF"},
        {"type": "application/octet-stream"},
        {"type": 7},
        {"eo:bands": None, "raster:bands": {"nodata": 0}, "roles": None, "title": 3},
    ]
    for changes in broken:
        other = json.loads(json.dumps(item))
        for asset in other["assets"].values():
            asset |= changes
        np.testing.assert_array_equal(read(tmp_path, other), EXPECTED, err_msg=str(changes))


def test_a_transform_of_the_whole_item_is_not_that_of_bands_with_other_pixels(tmp_path: Path, item: Item) -> None:
    fine = item["assets"]["B02"]
    for name in ("proj:transform", "proj:shape", "proj:epsg"):
        item["properties"][name] = fine[name]
        for asset in item["assets"].values():
            asset.pop(name, None)
    np.testing.assert_array_equal(read(tmp_path, item), EXPECTED)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"datetime": "yesterday"}, "has the datetime 'yesterday', which is no time"),
        ({"datetime": 20210614}, "has the datetime 20210614, which is no time"),
        ({"datetime": None}, "has neither datetime nor start_datetime"),
        ({"earthsearch:boa_offset_applied": "false"}, "boa_offset_applied as 'false': true or false is needed"),
    ],
)
def test_what_only_the_item_says_is_needed(tmp_path: Path, item: Item, changes: Item, reason: str) -> None:
    item["properties"] |= changes
    with pytest.raises(InputError, match=reason):
        opened(write_items(tmp_path / "items.json", item), item, is_radar=False)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"properties": None}, "has no properties"),
        ({"assets": []}, "has no assets"),
        ({"id": ""}, "has the id '', which is no text"),
        ({"bbox": [500000, 4898800, 501000, 4900000], "geometry": None}, "neither bbox nor geometry in longitudes"),
        ({"bbox": None, "geometry": {"type": "Polygon"}}, "neither bbox nor geometry in longitudes"),
        ({"bbox": [0, 10, 1, 11], "geometry": None}, "has a file that lies elsewhere than its bbox: B2.tif"),
    ],
)
def test_an_item_that_cannot_be_used_is_named_with_the_reason(
    tmp_path: Path, item: Item, changes: Item, reason: str
) -> None:
    with pytest.raises(InputError, match=reason):
        opened(write_items(tmp_path / "items.json", {**item, **changes}), item, is_radar=False)


@pytest.mark.parametrize("scale", [0, -0.0001, "1e-4x", float("nan")])
def test_a_scale_that_is_none_is_no_scale_of_1(tmp_path: Path, item: Item, scale) -> None:
    item["assets"]["B02"]["raster:bands"] = [{"scale": scale, "offset": -0.1}]
    with pytest.raises(InputError, match=r"states a scale of 0|states scale and offset as"):
        opened(write_items(tmp_path / "items.json", item), item, is_radar=False)


def test_a_band_that_its_file_does_not_have_is_named(tmp_path: Path, item: Item) -> None:
    item["assets"] = {
        "all": {**item["assets"]["B02"], "eo:bands": [{"name": "B02"}, {"name": "B08"}]},
        "SCL": item["assets"]["SCL"],
    }
    with pytest.raises(InputError, match=r"names band 2 of the file of B8 \(B2\.tif\), which has 1"):
        opened(write_items(tmp_path / "items.json", item), item, is_radar=False)


def test_good_items_keep_their_georeferences(shared) -> None:
    """Across the 180th meridian too: nothing of a real item is left to its files that it says well."""
    for path in sorted(shared("data/stac").iterdir()):
        for item in real_items(path):
            if item["id"].startswith("S1") and "rtc" not in item["collection"]:
                continue
            is_radar = item["id"].startswith("S1")
            series = opened(str(path), item, is_radar)
            scenes = [scene for each in series.observation_scenes for scene in each.scenes]
            assert series.notes == (), path.name
            assert all(asset.georef for scene in scenes for asset in scene.assets.values()), path.name
