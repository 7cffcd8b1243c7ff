"""The catalog: pystac opens and validates it, and what it says of files, classes and provenance is true."""

from __future__ import annotations

import hashlib
import json
import shutil
from pathlib import Path

import jsonschema
import pystac
import pytest
import rasterio
from pystac.validation.stac_validator import JsonSchemaSTACValidator
from shapely.geometry import box, shape

from landweave.publishing.catalog import days_in
from tests.helpers.stac_schemas import SCHEMAS
from tests.publishing.conftest import ATTRIBUTES, COSIA
from tests.publishing.test_run import published


@pytest.fixture(scope="module")
def folder(small, tmp_path_factory: pytest.TempPathFactory) -> Path:
    to = tmp_path_factory.mktemp("published") / "out"
    published(small[0], to, minimum_unit_m2=1)
    return to


@pytest.fixture(scope="module")
def collection(folder: Path) -> pystac.Collection:
    return pystac.Collection.from_file(str(folder / "collection.json"))


@pytest.fixture
def validator() -> JsonSchemaSTACValidator:
    """pystac's own, which has the core schemas; those of extensions are beside these tests."""
    made = JsonSchemaSTACValidator()
    made.schema_cache |= SCHEMAS
    return made


def validated(validator: JsonSchemaSTACValidator, document: dict) -> list[str]:
    kind = pystac.STACObjectType(document["type"] if document["type"] == "Feature" else "Collection")
    return list(
        pystac.validation.validate_dict(
            document,
            stac_object_type=kind,
            stac_version=document["stac_version"],
            extensions=document["stac_extensions"],
            validator=validator,
        )
    )


def test_pystac_validates_the_collection_and_every_item(folder: Path, validator: JsonSchemaSTACValidator) -> None:
    documents = [json.loads(path.read_text()) for path in (folder / "collection.json", *folder.glob("items/*.json"))]
    assert len(documents) > 10
    for document in documents:
        assert set(document["stac_extensions"]) <= SCHEMAS.keys()
        found = validated(validator, document)
        assert len(found) == 1 + len(document["stac_extensions"])


@pytest.mark.parametrize(
    ("path", "value"),
    [
        (("assets", "landcover", "file:checksum"), "abc"),
        (("properties", "proj:shape"), [1]),
        (("properties", "processing:software"), {"landweave": 1}),
        (("assets", "landcover", "bands"), [{"data_type": "float32"}]),
        (("properties", "renders"), {}),
    ],
)
def test_the_schemas_see_a_wrong_field(folder: Path, validator, path: tuple[str, ...], value: object) -> None:
    document = json.loads(next(iter(sorted(folder.glob("items/*.json")))).read_text())
    inner = document
    for key in path[:-1]:
        inner = inner[key]
    inner[path[-1]] = value
    with pytest.raises((pystac.STACValidationError, jsonschema.ValidationError)):
        validated(validator, document)


def test_links_lead_everywhere_also_in_a_copy(folder: Path, tmp_path: Path) -> None:
    shutil.copytree(folder, tmp_path / "copy")
    copied = pystac.Collection.from_file(str(tmp_path / "copy/collection.json"))
    items = list(copied.get_items())
    assert len(items) == len(list(folder.glob("items/*.json")))
    for item in items:
        assert item.get_collection() is copied
        for asset in item.assets.values():
            assert Path(asset.get_absolute_href()).is_file()
            assert str(tmp_path) in asset.get_absolute_href()
    for asset in copied.assets.values():
        assert Path(asset.get_absolute_href()).is_file()


def test_sizes_checksums_and_georeference_are_those_of_the_files(collection: pystac.Collection) -> None:
    for item in collection.get_items():
        for asset in item.assets.values():
            content = Path(asset.get_absolute_href()).read_bytes()
            assert asset.extra_fields["file:size"] == len(content)
            assert asset.extra_fields["file:checksum"] == f"1220{hashlib.sha256(content).hexdigest()}"
        with rasterio.open(item.assets["landcover"].get_absolute_href()) as file:
            assert item.properties["proj:code"] == f"EPSG:{file.crs.to_epsg()}"
            assert item.properties["proj:shape"] == list(file.shape)
            assert item.properties["proj:transform"] == list(file.transform)[:6]
            assert item.properties["proj:bbox"] == pytest.approx(tuple(file.bounds), abs=1e-6)
            lonlat = box(*rasterio.warp.transform_bounds(file.crs, "EPSG:4326", *file.bounds))
        outline = shape(item.geometry)
        assert outline.is_valid
        assert outline.exterior.is_ccw
        assert outline.intersection(lonlat).area / lonlat.area > 0.9
        assert tuple(item.bbox) == pytest.approx(outline.bounds)


def test_classes_model_sources_and_dates_are_the_maps(collection: pystac.Collection) -> None:
    item = next(collection.get_items())
    (band,) = item.assets["landcover"].extra_fields["bands"]
    listed = {each["value"]: each["color_hint"].lower() for each in band["classification:classes"]}
    assert listed == {each.code: each.color[1:] for each in COSIA.classes}
    assert item.properties["landweave:model"] == ATTRIBUTES["model"]
    assert item.properties["start_datetime"] == "2021-04-05T00:00:00Z"
    assert item.properties["end_datetime"] == "2021-09-18T23:59:59Z"
    assert item.properties["processing:software"].keys() >= {"landweave", "gdal", "torch", "zarr"}
    assert "minimum unit (m2): 1" in item.properties["processing:lineage"]
    sources = collection.extra_fields["landweave:sources"]
    assert sources["AERIAL_RGBI"]["files"] == ["30-2021-0770-6278.jp2"]
    assert sources["SENTINEL2_TS"] == {
        "bands": [],
        "observations": 2,
        "first_day": "2021-04-05",
        "last_day": "2021-09-18",
    }


def test_dates_are_a_setting(small, tmp_path: Path) -> None:
    published(small[0], tmp_path / "out", dalle_m=100, dates="2020-06-01/2020-08-31")
    found = pystac.Collection.from_file(str(tmp_path / "out/collection.json"))
    (interval,) = found.extent.temporal.intervals
    assert [str(moment)[:10] for moment in interval] == ["2020-06-01", "2020-08-31"]


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("S2B_MSIL2A_20210616T105031_N0500_R051_T31TFJ_20210616T135030", ["2021-06-16", "2021-06-16"]),
        ("2021-07-04/tile.tif", ["2021-07-04"]),
        ("30-2021-0770-6278-LA93-0M20-E080", []),
        ("D30_20211345", []),
        ("0123420210616999", []),
    ],
)
def test_days_are_read_from_names(text: str, days: list[str]) -> None:
    assert days_in(text) == days
