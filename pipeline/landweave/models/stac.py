"""A card as a STAC item, with the Machine Learning Model extension: a model that catalogs can list and search."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pystac
import torch

from landweave.core.checksums import SHA256_MULTIHASH
from landweave.core.errors import CardError
from landweave.core.grid import Bounds
from landweave.core.legend import LandClass
from landweave.core.licences import spdx_licence
from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import HeightCoding, InputSpec
from landweave.models.checksums import file_sha256
from landweave.models.factory import build_on_meta
from landweave.models.networks.architectures import ExportedArchitecture

MLM_SCHEMA = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
FILE_SCHEMA = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
RASTER_SCHEMA = "https://stac-extensions.github.io/raster/v1.1.0/schema.json"
CLASSIFICATION_SCHEMA = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"

TASK = "semantic-segmentation"
_ARTIFACTS = {".safetensors": "safetensors.torch.save_file", ".pt2": "torch.export.save"}
_ALWAYS = {"start_datetime": "1900-01-01T00:00:00Z", "end_datetime": "9999-12-31T23:59:59Z"}
"""STAC requires a time; the extension's own examples use these two for a model, which has none."""


def export_stac(card: ModelCard, *, weights: Path | None = None, bounds: Bounds | None = None) -> dict[str, Any]:
    """Return the STAC item of a model: JSON values.

    Parameters
    ----------
    card
        The model's.
    weights
        Their file: its address, size and checksum go into the item. Without it the item has the place of
        publication.
    bounds
        West, south, east and north in degrees of the area that the model is meant for; none by default.

    Raises
    ------
    CardError
        When neither a file nor a place of publication is known.
    WeightsError
        When the file cannot be read.
    """
    item = pystac.Item(
        id=card.name,
        geometry=None if bounds is None else _polygon(bounds),
        bbox=None if bounds is None else list(bounds),
        datetime=None,
        properties={**_ALWAYS, **_description(card), **_mlm_fields(card)},
        stac_extensions=[MLM_SCHEMA, RASTER_SCHEMA, CLASSIFICATION_SCHEMA, *([FILE_SCHEMA] if weights else ())],
    )
    item.add_asset("weights", _weights_asset(card, weights))
    return item.to_dict(include_self_link=False)


def _polygon(bounds: Bounds) -> dict[str, Any]:
    west, south, east, north = bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _description(card: ModelCard) -> dict[str, Any]:
    facts = [f"{key.replace('_', ' ')}: {value}" for key, value in card.facts.items()]
    unverified = [f"Unverified: {text}" for text in card.unverified]
    return {
        "title": card.title,
        "description": "\n\n".join([card.title, *facts, *unverified]),
        "license": spdx_licence(card.licence),
    }


def _mlm_fields(card: ModelCard) -> dict[str, Any]:
    program = isinstance(card.architecture, ExportedArchitecture)  # its parameters are in its file
    return {
        "mlm:name": card.name,
        "mlm:architecture": card.architecture.summary + (" and U-TAE" if card.series else ""),
        "mlm:tasks": [TASK],
        "mlm:framework": "PyTorch",
        "mlm:framework_version": torch.__version__.split("+")[0],
        **({} if program else {"mlm:total_parameters": _parameters(card)}),
        "mlm:batch_size_suggestion": card.numerics.batch,
        "mlm:input": [_input(card, name, spec) for name, spec in card.inputs.items()],
        "mlm:output": [_output(card, name) for name in card.outputs],
        "mlm:hyperparameters": {
            "card_sha256": card.sha256,
            "window": card.window.size,
            "overlap": card.window.overlap,
            "pixel_m": float(card.base_pixel),
            **{f"dates.{name}": spec.dates.model_dump() for name, spec in card.series.items() if spec.dates},
        },
    }


def _input(card: ModelCard, name: str, spec: InputSpec) -> dict[str, Any]:
    size = card.input_size(name, card.window.size)
    times: tuple[tuple[int, str], ...] = ((-1, "time"),) if spec.dates else ()
    dims = ((-1, "batch"), *times, (len(spec.bands), "bands"), (size, "height"), (size, "width"))
    return {
        "name": name,
        "bands": [_band_name(name, band) for band in spec.bands],
        "input": _array(dims),
        "value_scaling": [
            {"type": "z-score", "mean": mean, "stddev": std}
            for mean, std in (band.statistics for band in spec.bands.values())
        ],
        "resize_type": None,
        **({"description": " ".join(texts)} if (texts := list(_coding_texts(spec))) else {}),
    }


def _coding_texts(spec: InputSpec) -> Iterator[str]:
    """Yield how heights are coded before they are scaled."""
    for name, band in spec.bands.items():
        if isinstance(band.coding, HeightCoding):
            yield f"{name}: clip(round(metres * {band.coding.scale:g} + {band.coding.offset:g}), 0, 255)."
        elif band.coding is not None:
            yield f"{name}: metres as bytes, coded as the training set had them ({band.coding})."


def _output(card: ModelCard, name: str) -> dict[str, Any]:
    output, size = card.outputs[name], card.window.size
    dims = ((-1, "batch"), (output.channels, "class"), (size, "height"), (size, "width"))
    one = f" One channel: the probability of the second class, mapped from {output.threshold} on." * (
        output.channels == 1
    )
    return {
        "name": name,
        "tasks": [TASK],
        "result": _array(dims),
        "description": f"{'Probabilities' if output.activation == 'none' else 'Logits'}; channels in the order of the "
        f"classes. Untrained classes are dropped before the argmax.{one}",
        "classification:classes": [_class_fields(each) for each in output.legend.classes],
    }


def _array(dims: tuple[tuple[int, str], ...]) -> dict[str, Any]:
    return {"shape": [size for size, _ in dims], "dim_order": [name for _, name in dims], "data_type": "float32"}


def _band_name(modality: str, band: str) -> str:
    """Return a name that is unique in the item: two inputs may both have a VV."""
    return f"{modality}/{band}"


def _class_fields(land_class: LandClass) -> dict[str, Any]:
    return {
        "value": land_class.code,
        "name": re.sub(r"[^0-9A-Za-z]+", "-", land_class.name),
        "title": land_class.name,
        "description": land_class.name + ("" if land_class.trained else " (never trained)"),
        "color_hint": land_class.color.removeprefix("#").upper(),
    }


def _parameters(card: ModelCard) -> int:
    """Return the number of parameters of the network."""
    return sum(parameter.numel() for parameter in build_on_meta(card, card.window.size).parameters())


def _weights_asset(card: ModelCard, weights: Path | None) -> pystac.Asset:
    if weights is None and not card.source:
        raise CardError(f"Model {card.name} has no source of its weights: give their file.")
    suffix = Path(weights or card.weights.file or "").suffix
    extra: dict[str, Any] = {"mlm:artifact_type": _ARTIFACTS.get(suffix, "torch.save")}
    # Where the extension looks for the bands that inputs name: STAC itself forbids them among an item's properties.
    extra["raster:bands"] = [
        {"name": _band_name(name, band), "spatial_resolution": float(spec.pixel)}
        for name, spec in card.inputs.items()
        for band in spec.bands
    ]
    if weights is not None:
        extra["file:checksum"] = SHA256_MULTIHASH + file_sha256(weights)
        extra["file:size"] = weights.stat().st_size
    return pystac.Asset(
        href=quote(str(weights or card.source), safe="/:#?&=%@"),
        title="Weights" if weights else f"Weights, as published by {card.source}",
        media_type="application/octet-stream",
        roles=["mlm:model", "mlm:weights"],
        extra_fields=extra,
    )
