"""A card as a STAC item, with the Machine Learning Model extension: a model that catalogs can list and search."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pystac
import torch
from torch import nn

from landweave.core.errors import CardError
from landweave.core.grid import Bounds
from landweave.core.legend import LandClass
from landweave.models._torchvision import smp, timm
from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import BandSpec, HeightCoding, InputSpec
from landweave.models.factory import build
from landweave.models.networks.architectures import (
    ExportedArchitecture,
    FlairHubArchitecture,
    SmpArchitecture,
    UnetUtaeArchitecture,
)
from landweave.models.weights import file_sha256

MLM_SCHEMA = "https://stac-extensions.github.io/mlm/v1.4.0/schema.json"
FILE_SCHEMA = "https://stac-extensions.github.io/file/v2.1.0/schema.json"
RASTER_SCHEMA = "https://stac-extensions.github.io/raster/v1.1.0/schema.json"
CLASSIFICATION_SCHEMA = "https://stac-extensions.github.io/classification/v2.0.0/schema.json"

TASK = "semantic-segmentation"
_ARTIFACTS = {".safetensors": "safetensors.torch.save_file", ".pt2": "torch.export.save"}
_LICENCES = {"Licence Ouverte 2.0": "etalab-2.0"}
_SHA256_MULTIHASH = "1220"
_ALWAYS = {"start_datetime": "1900-01-01T00:00:00Z", "end_datetime": "9999-12-31T23:59:59Z"}
"""STAC wants a time of everything; this is how the extension's own examples say that a model has none."""


def export_stac(card: ModelCard, *, weights: Path | None = None, bounds: Bounds | None = None) -> dict[str, Any]:
    """The STAC item of a model: JSON values.

    Parameters
    ----------
    card
        The model's.
    weights
        Their file: its address, size and checksum go into the item. Without it the item says where they are
        published.
    bounds
        West, south, east and north in degrees of where the model is meant to be used; not said by default.

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
        properties={**_ALWAYS, **_description(card), **_model(card)},
        stac_extensions=[MLM_SCHEMA, RASTER_SCHEMA, CLASSIFICATION_SCHEMA, *([FILE_SCHEMA] if weights else ())],
    )
    item.add_asset("weights", _weights(card, weights))
    return item.to_dict(include_self_link=False)


def _polygon(bounds: Bounds) -> dict[str, Any]:
    west, south, east, north = bounds
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    return {"type": "Polygon", "coordinates": [ring]}


def _description(card: ModelCard) -> dict[str, Any]:
    known = _LICENCES.get(card.licence, card.licence)
    facts = [f"{key.replace('_', ' ')}: {value}" for key, value in card.facts.items()]
    unverified = [f"Unverified: {text}" for text in card.unverified]
    return {
        "title": card.title,
        "description": "\n\n".join([card.title, *facts, *unverified]),
        "license": known if re.fullmatch(r"[\w\-.+]+", known) else "other",
    }


def _model(card: ModelCard) -> dict[str, Any]:
    parameters = _parameters(card)
    return {
        "mlm:name": card.name,
        "mlm:architecture": _architecture(card),
        "mlm:tasks": [TASK],
        "mlm:framework": "PyTorch",
        "mlm:framework_version": torch.__version__.split("+")[0],
        **({"mlm:total_parameters": parameters} if parameters else {}),
        "mlm:batch_size_suggestion": card.numerics.batch,
        "mlm:input": [_input(card, name, spec) for name, spec in card.inputs.items()],
        "mlm:output": [_output(card, name) for name in card.outputs],
        "mlm:hyperparameters": {
            "card_sha256": card.sha256,
            "window": card.window.size,
            "overlap": card.window.overlap,
            "pixel_m": float(card.base_pixel),
            **{f"dates.{name}": spec.dates.model_dump() for name, spec in card.inputs.items() if spec.dates},
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
        "value_scaling": [_scaling(band) for band in spec.bands.values()],
        "resize_type": None,
        **({"description": " ".join(told)} if (told := list(_coded(spec))) else {}),
    }


def _coded(spec: InputSpec) -> Iterator[str]:
    """What becomes of heights before they are scaled."""
    for name, band in spec.bands.items():
        if isinstance(band.coding, HeightCoding):
            yield f"{name}: clip(round(metres * {band.coding.scale:g} + {band.coding.offset:g}), 0, 255)."
        elif band.coding is not None:
            yield f"{name}: metres as bytes, coded as the training set had them ({band.coding})."


def _output(card: ModelCard, name: str) -> dict[str, Any]:
    legend, size = card.outputs[name].legend, card.window.size
    dims = ((-1, "batch"), (len(legend), "class"), (size, "height"), (size, "width"))
    return {
        "name": name,
        "tasks": [TASK],
        "result": _array(dims),
        "description": "Logits; channels in the order of the classes. Classes never trained leave the decision.",
        "classification:classes": [_class(each) for each in legend.classes],
    }


def _array(dims: tuple[tuple[int, str], ...]) -> dict[str, Any]:
    return {"shape": [size for size, _ in dims], "dim_order": [name for _, name in dims], "data_type": "float32"}


def _band_name(modality: str, band: str) -> str:
    """A name that is its own in the whole item: two inputs may both have a VV."""
    return f"{modality}/{band}"


def _scaling(band: BandSpec) -> dict[str, Any]:
    return {"type": "z-score", "mean": band.statistics[0], "stddev": band.statistics[1]}


def _class(land_class: LandClass) -> dict[str, Any]:
    told = land_class.name if land_class.trained else f"{land_class.name} (never trained)"
    return {
        "value": land_class.code,
        "name": re.sub(r"[^0-9A-Za-z]+", "-", land_class.name),
        "title": land_class.name,
        "description": told,
        "color_hint": land_class.color.removeprefix("#").upper(),
    }


def _architecture(card: ModelCard) -> str:
    settings = card.architecture
    series = " and U-TAE" if any(spec.dates for spec in card.inputs.values()) else ""
    if isinstance(settings, SmpArchitecture | UnetUtaeArchitecture):
        encoder = settings.arguments.get("encoder_name", "resnet34")
        return f"{settings.name} with {encoder} (segmentation-models-pytorch {smp.__version__}){series}"
    if isinstance(settings, FlairHubArchitecture):
        return f"FLAIR-HUB: UPerNet with {settings.encoder} (timm {timm.__version__}){series}"
    names = {"exported": "program of torch.export", "flair1": "U-Net with ResNet-34", "flair2": "U-T&T"}
    return names[settings.kind]


def _parameters(card: ModelCard) -> int:
    """Parameters of the network; 0 for a program, which is nothing without its file."""
    if isinstance(card.architecture, ExportedArchitecture):
        return 0
    with torch.device("meta"):
        network = build(card, card.window.size)
    return _count(network)


def _count(network: nn.Module) -> int:
    return sum(parameter.numel() for parameter in network.parameters())


def _weights(card: ModelCard, weights: Path | None) -> pystac.Asset:
    if weights is None and not card.source:
        raise CardError(f"Model {card.name} does not say where its weights are published: give their file.")
    suffix = Path(weights or card.weights.file or "").suffix
    extra: dict[str, Any] = {"mlm:artifact_type": _ARTIFACTS.get(suffix, "torch.save")}
    # Where the extension looks for the bands that inputs name: STAC itself forbids them among an item's properties.
    extra["raster:bands"] = [
        {"name": _band_name(name, band), "spatial_resolution": float(spec.pixel)}
        for name, spec in card.inputs.items()
        for band in spec.bands
    ]
    extra |= dict(_file_fields(weights))
    return pystac.Asset(
        href=quote(str(weights or card.source), safe="/:#?&=%@"),
        title="Weights" if weights else f"Weights, as published by {card.source}",
        media_type="application/octet-stream",
        roles=["mlm:model", "mlm:weights"],
        extra_fields=extra,
    )


def _file_fields(weights: Path | None) -> Iterator[tuple[str, Any]]:
    if weights is None:
        return
    yield "file:checksum", _SHA256_MULTIHASH + file_sha256(weights)
    yield "file:size", weights.stat().st_size
