"""Small cards with weights, for tests of what runs them; and the recipe behind the answers on record."""

import importlib.util
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import Tensor

from landweave.models.cards.card import ModelCard
from landweave.models.cards.inputs import days_input
from landweave.models.factory import build, core
from landweave.models.networks.flair_hub import FlairHubSpec
from tests.helpers.networks import drawn

CLASSES = [{"code": code, "name": f"class {code}", "color": "#808080"} for code in range(4)]

UNET = {
    "kind": "smp",
    "name": "Unet",
    "arguments": {"encoder_name": "tu-lcnet_035", "encoder_depth": 3, "decoder_channels": [16, 16, 8]},
}

SWIN = {
    "kind": "smp",
    "name": "UPerNet",
    "arguments": {
        "encoder_name": "tu-swin_tiny_patch4_window7_224",
        "decoder_channels": 32,
        "img_size": 64,
        "embed_dim": 24,
        "depths": [1, 1, 1, 1],
        "num_heads": [1, 2, 2, 4],
    },
}
"""A Swin encoder with a UPerNet decoder, small enough for a test: global layers, so that a margin hides nothing."""


def small_content(**changes: Any) -> dict[str, Any]:
    """A card's content: a U-Net over red, green and a byte-coded height, windows of 64 pixels, four classes."""
    return {
        "name": "small",
        "title": "A small model",
        "architecture": UNET,
        "inputs": {
            "AERIAL_RGBI": {"pixel": 0.2, "bands": {"R": {"mean": 100, "std": 50}, "G": {"scale": "1/255"}}},
            "DEM_ELEV": {
                "pixel": 0.2,
                "required": False,
                "bands": {"NDSM": {"mean": 53, "std": 79, "coding": {"scale": 5, "offset": 1}}},
            },
        },
        "window": {"size": 64, "overlap": 16, "multiple": 8},
        "outputs": {"LABEL": {"legend": {"name": "four", "classes": CLASSES}, "pixel": 0.2}},
        "numerics": {"batch": 2},
        **changes,
    }


@pytest.fixture
def small_card() -> Callable[..., ModelCard]:
    """A card with some fields changed: ``small_card(architecture=...)``."""

    def make(**changes: Mapping[str, Any]) -> ModelCard:
        return ModelCard.model_validate(small_content(**changes))

    return make


@pytest.fixture
def weights_of(tmp_path: Path) -> Callable[[ModelCard], Path]:
    """A file of weights that fit a card: drawn from a fixed seed, statistics of norm layers included."""

    def write(card: ModelCard) -> Path:
        path = tmp_path / f"{card.name}-{card.sha256[:8]}.safetensors"
        save_file(drawn(core(build(card, card.window.size))), path)
        return path

    return write


@dataclass(frozen=True)
class Public:
    """The recipe and the answers of the folder of references."""

    folder: Path
    fill: ModuleType

    def shapes(self, name: str) -> dict[str, tuple[int, ...]]:
        keys = json.loads((self.folder / f"{name}.keys.json").read_text())
        return {key: tuple(shape) for key, shape in keys.items()}

    def weights(self, name: str, prefix: str = "") -> dict[str, Tensor]:
        """Filled by the full name, then stripped of ``prefix``."""
        return {
            key.removeprefix(prefix): torch.from_numpy(np.asarray(self.fill.tensor_values(key, shape)))
            for key, shape in self.shapes(name).items()
        }

    def values(self, name: str, *shape: int) -> Tensor:
        return torch.from_numpy(self.fill.input_values(name, shape))

    def days(self, name: str, dates: int) -> Tensor:
        return torch.from_numpy(self.fill.day_offsets(name, dates))

    def hub_inputs(self, spec: FlairHubSpec) -> dict[str, Tensor]:
        inputs = {}
        for each in spec.images:
            inputs[each.name] = self.values(each.name, 1, each.channels, each.window, each.window)
        for each in spec.series:
            shape = (1, self.fill.DATES, each.channels, each.window, each.window)
            inputs[each.name] = self.values(each.name, *shape)
            inputs[days_input(each.name)] = self.days(each.name, self.fill.DATES)
        return inputs


@pytest.fixture(scope="session")
def public(shared: Callable[[str], Path]) -> Public:
    path = shared("reference/fill.py")
    spec = importlib.util.spec_from_file_location("reference_fill", path)
    fill = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(fill)
    return Public(path.parent, fill)
