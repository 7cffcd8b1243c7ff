"""Asking of the models: what is listed, shown, measured, exported, and written for one's own training."""

import json

import numpy as np
import pytest
import rasterio
import torch
import yaml
from rasterio.transform import from_origin
from safetensors.torch import save_file

from landweave.core.errors import CardError, ConfigError
from landweave.models.cards.card import ModelCard
from landweave.models.cards.registry import list_cards, read_card
from landweave.models.factory import build, core
from landweave.models.inference import torch_threads
from landweave.setup import model_tools

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
    network = core(build(ModelCard.model_validate(CARD), 64))
    generator = torch.Generator().manual_seed(3)
    tensors = {
        name: torch.randn(tensor.shape, generator=generator) / max(tensor[0].numel(), 1) ** 0.5
        if tensor.ndim > 1
        else tensor.clone()
        for name, tensor in network.state_dict().items()
    }
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


def test_nothing_that_is_there_is_written_over_and_no_part_of_an_export_is_left(card, weights, tmp_path):
    item, program = tmp_path / "item.json", tmp_path / "program.pt2"
    item.write_text("mine")

    with pytest.raises(CardError, match=r"item.json is there already: name another file, or remove it"):
        model_tools.export_model(str(card), stac=item, program=program, weights=weights)
    assert item.read_text() == "mine"
    item.unlink()
    program.with_suffix(".yaml").write_text("mine")
    with pytest.raises(CardError, match=r"program.yaml is there already"):
        model_tools.export_model(str(card), stac=item, program=program, weights=weights)
    assert not item.exists()
    assert not program.exists()


def test_an_item_goes_to_a_folder_that_is_there(card, tmp_path):
    with pytest.raises(CardError, match=r"none/item.json cannot be written: No such file"):
        model_tools.export_model(str(card), stac=tmp_path / "none" / "item.json")


def test_every_card_is_listed_once():
    listing = model_tools.list_models()

    assert [row[0] for row in listing.rows] == list(list_cards())
    head, *lines = str(listing).splitlines()
    assert [line.split()[0] for line in lines] == list(list_cards())
    assert head.split() == ["name", "Mparam", "mIoU", "what", "it", "is"]


def test_a_card_is_shown_as_its_file_says_it_under_what_follows_from_it(card, tmp_path):
    card.write_text("# Mine.\n" + card.read_text())

    shown = model_tools.show_model(str(card))

    again = tmp_path / "again.yaml"
    again.write_text(shown)
    assert shown.endswith(card.read_text())
    assert f"# {card}" in shown
    assert "# LABEL: 0 c0, 1 c1\n" in shown
    assert read_card(again) == read_card(card)


def test_classes_never_trained_are_told_apart():
    told = " ".join(model_tools.show_model("LC-A").replace("#", "").split())

    assert "14 brushwood, 15 clear cut*, 16 ligneous*" in told
    assert "(* never trained, left out of the decision)" in told


def test_with_imagery_and_weights_placements_are_compared(card, weights, imagery):
    found = model_tools.inspect_model(str(card), weights=weights, imagery=imagery)

    placements = found.placements
    assert placements.window == 64
    assert sum(placements.pixels) > 10_000
    # The reach is 43 px, more than half of the window: the edge shows, the more the nearer it is.
    shares = [share for share, pixels in zip(placements.disagreement, placements.pixels, strict=True) if pixels > 500]
    assert shares[0] > shares[-1]
    assert "overlap under 1%" in str(found)
    assert not list(imagery.parent.glob("*.zarr"))


def test_without_imagery_nothing_is_placed(card):
    assert model_tools.inspect_model(str(card)).placements is None


def test_an_item_and_a_program_are_written(card, weights, tmp_path):
    written = model_tools.export_model(
        str(card), stac=tmp_path / "item.json", program=tmp_path / "program.pt2", weights=weights
    )
    item = json.loads((tmp_path / "item.json").read_text())

    assert [path.name for path in written] == ["program.pt2", "program.yaml", "item.json"]
    assert read_card(tmp_path / "program.yaml").weights.file == str(tmp_path / "program.pt2")
    assert item["properties"]["mlm:name"] == "small"


def test_an_export_of_nothing_is_refused(card, tmp_path):
    with pytest.raises(ConfigError, match="Nothing to export"):
        model_tools.export_model(str(card))
    with pytest.raises(ConfigError, match="give their file"):
        model_tools.export_model(str(card), program=tmp_path / "small.pt2")


def test_a_card_of_ones_own_training_lies_beside_its_weights(tmp_path):
    content = {
        "modalities": {
            "inputs": {"AERIAL_RGBI": True},
            "inputs_channels": {"AERIAL_RGBI": [1, 2]},
            "normalization": {"norm_type": "scaling"},
        },
        "models": {"monotemp_model": {"arch": "lcnet_035-upernet"}},
        "labels": ["AERIAL_LABEL-COSIA"],
        "labels_configs": {"AERIAL_LABEL-COSIA": {"value_name": {0: "building", 1: "water"}}},
    }
    legend = {"name": "x", "classes": CARD["outputs"]["LABEL"]["legend"]["classes"]}
    like = CARD | {
        "architecture": {"kind": "flair_hub", "encoder": "lcnet_035"},
        "outputs": {"AERIAL_LABEL-COSIA": {"pixel": 0.2, "legend": legend}},
    }
    weights = tmp_path / "mine.ckpt"
    torch.save({"state_dict": core(build(ModelCard.model_validate(like), 64)).state_dict()}, weights)
    config = tmp_path / "training.yaml"
    config.write_text(yaml.safe_dump(content))

    written = model_tools.new_card(config, weights)

    made = read_card(written)
    assert written == tmp_path / "mine.yaml"
    assert "file: mine.ckpt" in written.read_text()
    assert made.weights.file == str(weights)
    assert made.legend().classes[1].name_fr == "eau"
    with pytest.raises(CardError, match="is there already"):
        model_tools.new_card(config, weights)
