"""What the public specifications of six STAC extensions ask of what a publication has of them, as JSON schemas.

Written from the specifications' tables of fields, for validation without a network; stricter than they are where a
publication always has a field, as each of these stands for one that a reader needs.
"""

from __future__ import annotations

from typing import Any

DRAFT = "http://json-schema.org/draft-07/schema#"
BASE = "https://stac-extensions.github.io"

_TEXT = {"type": "string", "minLength": 1}
_NUMBERS = {"type": "array", "items": {"type": "number"}}


def _listed(uri: str) -> dict[str, Any]:
    """That the extension is among ``stac_extensions``."""
    return {
        "required": ["stac_extensions"],
        "properties": {"stac_extensions": {"type": "array", "contains": {"const": uri}}},
    }


def _of_properties(uri: str, required: list[str], fields: dict[str, Any]) -> dict[str, Any]:
    inner = {"type": "object", "required": required, "properties": fields}
    return {"$schema": DRAFT, "allOf": [_listed(uri), {"properties": {"properties": inner}}]}


def _of_assets(uri: str, asset: dict[str, Any]) -> dict[str, Any]:
    assets = {"type": "object", "minProperties": 1, "additionalProperties": {"type": "object", **asset}}
    return {"$schema": DRAFT, "allOf": [_listed(uri), {"required": ["assets"], "properties": {"assets": assets}}]}


PROJECTION = f"{BASE}/projection/v2.0.0/schema.json"
RASTER = f"{BASE}/raster/v2.0.0/schema.json"
CLASSIFICATION = f"{BASE}/classification/v2.0.0/schema.json"
PROCESSING = f"{BASE}/processing/v1.2.0/schema.json"
RENDER = f"{BASE}/render/v2.0.0/schema.json"
FILE = f"{BASE}/file/v2.1.0/schema.json"

_CLASS = {
    "type": "object",
    "required": ["value", "name", "color_hint"],
    "properties": {
        "value": {"type": "integer"},
        "name": {"type": "string", "pattern": "^[0-9A-Za-z-_]+$"},
        "title": _TEXT,
        "color_hint": {"type": "string", "pattern": "^([0-9A-F]{6})$"},
    },
}
_BAND = {
    "type": "object",
    "properties": {
        "data_type": {"const": "uint8"},
        "nodata": {"type": "number"},
        "unit": _TEXT,
        "raster:scale": {"type": "number"},
        "classification:classes": {"type": "array", "minItems": 1, "uniqueItems": True, "items": _CLASS},
    },
}
_RENDER = {
    "type": "object",
    "required": ["assets"],
    "properties": {
        "assets": {"type": "array", "minItems": 1, "items": _TEXT},
        "title": _TEXT,
        "nodata": {"type": ["number", "string"]},
        "resampling": _TEXT,
        "colormap": {
            "type": "object",
            "additionalProperties": {
                "type": "array",
                "minItems": 4,
                "maxItems": 4,
                "items": {"type": "integer", "minimum": 0, "maximum": 255},
            },
        },
    },
}
_RENDERS = {"type": "object", "minProperties": 1, "additionalProperties": _RENDER}

SCHEMAS: dict[str, dict[str, Any]] = {
    PROJECTION: _of_properties(
        PROJECTION,
        ["proj:code", "proj:shape", "proj:transform", "proj:bbox"],
        {
            "proj:code": {"type": ["string", "null"], "pattern": "^[A-Z]+:[0-9A-Z]+$"},
            "proj:shape": {"type": "array", "minItems": 2, "maxItems": 2, "items": {"type": "integer"}},
            "proj:transform": {**_NUMBERS, "minItems": 6, "maxItems": 9},
            "proj:bbox": {**_NUMBERS, "minItems": 4, "maxItems": 6},
        },
    ),
    RASTER: _of_assets(
        RASTER,
        {
            "properties": {
                "bands": {"type": "array", "minItems": 1, "items": _BAND},
                "raster:sampling": {"enum": ["area", "point"]},
                "raster:spatial_resolution": {"type": "number", "exclusiveMinimum": 0},
            }
        },
    ),
    CLASSIFICATION: _of_assets(
        CLASSIFICATION, {"properties": {"bands": {"type": "array", "minItems": 1, "items": _BAND}}}
    ),
    PROCESSING: _of_properties(
        PROCESSING,
        ["processing:software", "processing:lineage"],
        {
            "processing:software": {"type": "object", "additionalProperties": _TEXT},
            "processing:lineage": _TEXT,
        },
    ),
    RENDER: {
        "$schema": DRAFT,
        "allOf": [
            _listed(RENDER),
            {
                "if": {"properties": {"type": {"const": "Collection"}}},
                "then": {"required": ["renders"], "properties": {"renders": _RENDERS}},
                "else": {
                    "properties": {
                        "properties": {"type": "object", "required": ["renders"], "properties": {"renders": _RENDERS}}
                    }
                },
            },
        ],
    },
    FILE: _of_assets(
        FILE,
        {
            "required": ["file:size", "file:checksum"],
            "properties": {
                "file:size": {"type": "integer", "minimum": 1},
                # sha2-256, 32 bytes, as a multihash in hexadecimal
                "file:checksum": {"type": "string", "pattern": "^1220[0-9a-f]{64}$"},
            },
        },
    ),
}
