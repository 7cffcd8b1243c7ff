"""FLAIR-1's training configuration as a card's content."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from inspect import getmembers, isclass
from typing import Any

from torch import nn

from landweave.core.errors import CardError
from landweave.models._torchvision import smp
from landweave.models.flair_import.classes import legend_of
from landweave.models.flair_import.schema import Flair1Config, refuse_slips

_AERIAL = ("R", "G", "B", "NIR")
_HEIGHT = 5
"""Number of the band that holds height above ground, as a byte."""

TASK = "AERIAL_LABEL"
WINDOW, OVERLAP = 512, 128


def flair1_content(config: Mapping[str, Any]) -> dict[str, Any]:
    """Content of a card, but for its name and its weights.

    Raises
    ------
    CardError
        With everything that no network of ours is.
    """
    refuse_slips(Flair1Config, config)
    channels: list[int] = config["channels"]
    if problems := list(_problems(config, channels)):
        raise CardError(
            "The training configuration describes a network that cannot be built here:\n"
            + "\n".join(f"  - {each}" for each in problems)
        )
    return {
        "architecture": _smp_architecture(config),
        "inputs": _inputs(config, channels),
        "window": {"size": WINDOW, "overlap": OVERLAP, "blend": "cosine", "trained": [WINDOW], "multiple": 32},
        "outputs": {TASK: {"legend": _legend(config), "pixel": 0.2}},
        "numerics": {"bfloat16": True, "batch": 4},
    }


def _problems(config: Mapping[str, Any], channels: Sequence[int]) -> Iterator[str]:
    provider = config.get("model_provider", "SegmentationModelsPytorch")
    if provider != "SegmentationModelsPytorch":
        yield f"model_provider is {provider}: networks come from segmentation-models-pytorch"
    if _architecture(config) is None:
        yield f"model_architecture {config.get('model_architecture')!r} is not in segmentation-models-pytorch"
    if config.get("use_metadata") and str(config.get("model_architecture", "unet")).lower() != "unet":
        yield "use_metadata goes with the architecture unet only"
    images = [each for each in channels if each != _HEIGHT]
    if not images or any(not 1 <= each <= len(_AERIAL) for each in images) or len(set(channels)) < len(channels):
        yield f"channels is {list(channels)}: bands are numbered 1 to {_HEIGHT}, each once"
    if _HEIGHT in channels[1:-1]:
        yield f"channels is {list(channels)}: band {_HEIGHT} stands among the aerial ones, inputs are joined whole"
    kinds = [config.get(key) or () for key in ("norm_means", "norm_stds")]
    if config.get("norm_type") == "custom" and min(map(len, kinds)) < len(channels):
        yield f"norm_means and norm_stds are too few for {len(channels)} channels"


def _architecture(config: Mapping[str, Any]) -> str | None:
    """The class of segmentation-models-pytorch of that name, whatever its case."""
    wanted = str(config.get("model_architecture", "unet")).lower()
    classes = (name for name, each in getmembers(smp, isclass) if issubclass(each, nn.Module))
    return next((name for name in classes if name.lower() == wanted), None)


def _smp_architecture(config: Mapping[str, Any]) -> dict[str, Any]:
    if config.get("use_metadata"):
        return {"kind": "flair1", "metadata": True}
    arguments = {"encoder_name": config["encoder_name"]}
    return {"kind": "smp", "name": _architecture(config), "arguments": arguments}


def _inputs(config: Mapping[str, Any], channels: Sequence[int]) -> dict[str, Any]:
    """Inputs in the order of their channels, which is the order in which they are joined."""
    inputs: dict[str, Any] = {}
    for place, number in enumerate(channels):
        band = _band(config, place)
        if number == _HEIGHT:
            inputs["DEM_ELEV"] = {"pixel": 0.2, "bands": {"NDSM": {**band, "coding": "unstated"}}}
        else:
            aerial = inputs.setdefault("AERIAL_RGBI", {"pixel": 0.2, "bands": {}})
            aerial["bands"][_AERIAL[number - 1]] = band
    return inputs


def _band(config: Mapping[str, Any], place: int) -> dict[str, Any]:
    scaling = config.get("norm_type", "scaling")
    if scaling == "custom":
        return {"mean": config["norm_means"][place], "std": config["norm_stds"][place]}
    return {"scale": "1/255"} if scaling == "scaling" else {}


def _legend(config: Mapping[str, Any]) -> str | dict[str, Any]:
    classes = {int(code): value for code, value in config["classes"].items()}
    untrained = frozenset(code for code, (weight, _) in classes.items() if config.get("use_weights") and not weight)
    return legend_of("flair1-own", {code: str(name) for code, (_, name) in classes.items()}, untrained)
