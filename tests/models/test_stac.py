"""Cards as STAC items: what the item schema and the Machine Learning Model extension ask for."""

import hashlib
import json
import re

import jsonschema
import pystac
import pytest
from pystac.extensions.mlm import MLMExtension
from pystac.validation.local_validator import get_local_schema_cache
from referencing import Registry, Resource

from landweave.core.errors import CardError
from landweave.models.cards.registry import find_card
from landweave.models.stac import MLM_SCHEMA, export_stac

ITEM_SCHEMA = "https://schemas.stacspec.org/v1.1.0/item-spec/json-schema/item.json"
ARRAY = {
    "type": "object",
    "required": ["shape", "dim_order", "data_type"],
    "properties": {
        "shape": {"type": "array", "minItems": 1, "items": {"type": "integer", "minimum": -1}},
        "dim_order": {"type": "array", "uniqueItems": True, "items": {"type": "string", "pattern": "^[a-z-_]+$"}},
        "data_type": {"const": "float32"},
    },
}
CLASS = {
    "type": "object",
    "required": ["value", "name"],
    "properties": {
        "value": {"type": "integer"},
        "name": {"type": "string", "pattern": "^[0-9A-Za-z-_]+$"},
        "color_hint": {"type": "string", "pattern": "^([0-9A-Fa-f]{6})$"},
    },
}
SCALING = {
    "type": "object",
    "required": ["type", "mean", "stddev"],
    "properties": {"type": {"const": "z-score"}, "mean": {"type": "number"}, "stddev": {"type": "number"}},
}
MLM = {
    "type": "object",
    "required": ["mlm:name", "mlm:architecture", "mlm:tasks", "mlm:input", "mlm:output"],
    "properties": {
        "mlm:name": {"type": "string", "pattern": r"^[a-zA-Z][a-zA-Z0-9_.\-\s]+[a-zA-Z0-9]$"},
        "mlm:architecture": {"type": "string"},
        "mlm:tasks": {"type": "array", "items": {"const": "semantic-segmentation"}},
        "mlm:framework": {"const": "PyTorch"},
        "mlm:framework_version": {"type": "string", "pattern": r"^\d+\.\d+\.\d+$"},
        "mlm:total_parameters": {"type": "integer", "minimum": 1},
        "mlm:batch_size_suggestion": {"type": "integer", "minimum": 0},
        "mlm:input": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "bands", "input"],
                "properties": {
                    "bands": {"type": "array", "minItems": 1, "items": {"type": "string", "minLength": 1}},
                    "input": ARRAY,
                    "value_scaling": {"type": "array", "minItems": 1, "items": SCALING},
                },
            },
        },
        "mlm:output": {
            "type": "array",
            "minItems": 1,
            "items": {
                "type": "object",
                "required": ["name", "tasks", "result"],
                "properties": {"result": ARRAY, "classification:classes": {"type": "array", "items": CLASS}},
            },
        },
        "mlm:hyperparameters": {
            "type": "object",
            "minProperties": 1,
            "patternProperties": {"^[0-9a-zA-Z_.-]+$": True},
            "additionalProperties": False,
        },
    },
    "patternProperties": {"^(?!mlm:)": {}},
    "additionalProperties": False,
}
"""The rules of the extension's own schema, version 1.4, for what a card says."""


def check(item):
    """Everything that can be checked without fetching a schema."""
    json.dumps(item)
    schemas = get_local_schema_cache()
    registry = Registry().with_resources((uri, Resource.from_contents(schema)) for uri, schema in schemas.items())
    jsonschema.Draft7Validator(schemas[ITEM_SCHEMA], registry=registry).validate(item)
    jsonschema.validate(item["properties"], MLM)
    names = [band["name"] for band in item["assets"]["weights"]["raster:bands"]]
    assert len(names) == len(set(names))
    for each in item["properties"]["mlm:input"]:
        assert set(each["bands"]) <= set(names)
        assert each["input"]["shape"][each["input"]["dim_order"].index("bands")] == len(each["bands"])
        assert len(each["value_scaling"]) == len(each["bands"])
    assert any("mlm:model" in asset["roles"] and asset["mlm:artifact_type"] for asset in item["assets"].values())
    assert MLM_SCHEMA in item["stac_extensions"]


def test_an_item_says_what_the_card_does(small_card, weights_of):
    card = small_card(licence="Licence Ouverte 2.0", source="someone/small")
    weights = weights_of(card)

    item = export_stac(card, weights=weights, bounds=(-5.2, 41.3, 9.7, 51.2))

    check(item)
    read = MLMExtension.ext(pystac.Item.from_dict(item))
    assert read.mlm_name == "small"
    assert [each.name for each in read.input] == ["AERIAL_RGBI", "DEM_ELEV"]
    assert read.input[0].input.shape == [-1, 2, 64, 64]
    assert [each.value for each in read.output[0].classes] == [0, 1, 2, 3]
    asset = item["assets"]["weights"]
    assert asset["mlm:artifact_type"] == "safetensors.torch.save_file"
    assert asset["file:checksum"] == "1220" + hashlib.sha256(weights.read_bytes()).hexdigest()
    assert asset["file:size"] == weights.stat().st_size
    assert item["properties"]["license"] == "etalab-2.0"
    assert item["bbox"] == [-5.2, 41.3, 9.7, 51.2]
    assert "clip(round(metres * 5 + 1), 0, 255)" in item["properties"]["mlm:input"][1]["description"]


def test_a_series_has_a_time_axis(small_card):
    series = {"pixel": 3.2, "bands": {"VV": {}, "VH": {}}, "dates": {"filter": {"min_clear_fraction": 0.95}}}
    card = small_card(
        source="someone/series",
        architecture={"kind": "flair_hub"},
        inputs={"SENTINEL1-ASC_TS": series, "SENTINEL1-DESC_TS": series},
    )

    item = export_stac(card)

    check(item)
    structure = item["properties"]["mlm:input"][0]["input"]
    assert structure["dim_order"] == ["batch", "time", "bands", "height", "width"]
    assert structure["shape"] == [-1, -1, 2, 4, 4]
    assert item["geometry"] is None
    assert item["properties"]["mlm:hyperparameters"]["dates.SENTINEL1-ASC_TS"]["reference"] == "05-15"


SLOW_CARDS = [pytest.param(name, marks=pytest.mark.slow) for name in ("LC-D", "LPIS-H")]


@pytest.mark.parametrize("name", ["flair1-unet-resnet34", *SLOW_CARDS])
def test_published_cards_make_valid_items(name):
    item = export_stac(find_card(name))

    check(item)
    assert re.match(r"^[^\s]+$", item["assets"]["weights"]["href"])


def test_weights_that_are_nowhere_are_asked_for(small_card):
    with pytest.raises(CardError, match="give their file"):
        export_stac(small_card())
