"""Inspection of a model, alone and over a run's imagery."""

import numpy as np
import pytest
import rasterio
import yaml
from rasterio.transform import from_origin
from safetensors.torch import save_file

from landweave.models.cards.card import ModelCard
from landweave.models.factory import build, core
from landweave.models.inference import torch_threads
from landweave.setup.model_tools import inspect_model
from tests.helpers.networks import drawn

CARD = {
    "name": "small",
    "title": "A small model",
    "source": "someone/small",
    "architecture": {
        "kind": "smp",
        "name": "Unet",
        "arguments": {"encoder_name": "tu-lcnet_035", "encoder_depth": 3, "decoder_channels": [16, 16, 8]},
    },
    "inputs": {"AERIAL_RGBI": {"pixel": 0.2, "bands": {"R": {"mean": 100, "std": 50}, "G": {"mean": 100, "std": 50}}}},
    "window": {"size": 64, "overlap": 16, "multiple": 8},
    "outputs": {
        "LABEL": {
            "pixel": 0.2,
            "legend": {"name": "two", "classes": [{"code": c, "name": f"c{c}", "color": "#808080"} for c in range(2)]},
        }
    },
    "numerics": {"batch": 2},
}


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


@pytest.fixture
def card(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(CARD))
    return path


@pytest.fixture
def weights(tmp_path):
    tensors = drawn(core(build(ModelCard.model_validate(CARD), 64)), seed=3)
    save_file(tensors, tmp_path / "small.safetensors")
    return tmp_path / "small.safetensors"


@pytest.fixture
def imagery(tmp_path):
    """A run's configuration over one tile of 180 x 200 pixels; its own model is another."""
    values = np.random.default_rng(1).integers(60, 140, (2, 180, 200), dtype=np.uint8)
    profile = {"driver": "GTiff", "dtype": "uint8", "count": 2, "height": 180, "width": 200, "crs": "EPSG:2154"}
    with rasterio.open(tmp_path / "t.tif", "w", transform=from_origin(700000, 6600000, 0.2, 0.2), **profile) as file:
        file.write(values)
    config = {
        "grid": {"crs": "EPSG:2154", "resolution": 0.2},
        "inputs": {
            "AERIAL_RGBI": {
                "kind": "mosaic",
                "bands": {b: {"files": "t.tif", "band": i} for i, b in ((1, "R"), (2, "G"))},
            }
        },
        "model": {"card": "flair1-unet-resnet34", "weights": "none.ckpt", "sha256": "0" * 64, "torch_threads": 1},
        "windows": {"size": 512, "overlap": 128},
        "output": {"store": "out.zarr", "block": 512},
        "engine": {"kind": "inline"},
    }
    path = tmp_path / "run.yaml"
    path.write_text(yaml.safe_dump(config))
    return path


def test_with_imagery_and_weights_placements_are_compared(card, weights, imagery):
    found = inspect_model(str(card), weights=weights, imagery=imagery)

    placements = found.placement_consistency
    assert placements.window == 64
    assert sum(placements.pixels) > 10_000
    # The receptive field is 43 px, more than half of the window: the edge shows, the more the nearer it is.
    shares = [share for share, pixels in zip(placements.disagreement, placements.pixels, strict=True) if pixels > 500]
    assert shares[0] > shares[-1]
    assert "overlap under 1%" in str(found)
    assert not list(imagery.parent.glob("*.zarr"))


def test_without_imagery_nothing_is_placed(card):
    assert inspect_model(str(card)).placement_consistency is None
