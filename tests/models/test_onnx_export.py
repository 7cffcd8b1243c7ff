"""ONNX files, read as QGIS's plugin Deepness reads them: the probabilities of the predictor on the same bytes."""

import json
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from landweave.core.errors import CardError, ConfigError
from landweave.core.protocols import InputBatch
from landweave.models.cards.card import ModelCard
from landweave.models.cards.registry import card_content, write_card
from landweave.models.export import export_model
from landweave.models.factory import load
from landweave.models.inference import InferenceSettings, TorchPredictor, torch_threads
from tests.models.conftest import CLASSES, SWIN

BANDS = {"R": {"mean": 105.1, "std": 52.2}, "G": {"mean": 110.9, "std": 45.7}, "B": {"scale": "1/255"}}
AERIAL = {"AERIAL_RGBI": {"pixel": 0.2, "bands": BANDS}}
HEIGHT = {"DEM_ELEV": {"pixel": 0.2, "bands": {"NDSM": {"mean": 53, "std": 79, "coding": {"scale": 5, "offset": 1}}}}}
UNTRAINED = [*CLASSES[:3], CLASSES[3] | {"trained": False}]
BINARY = {"legend": {"name": "two", "classes": CLASSES[:2]}, "pixel": 0.2, "activation": "sigmoid", "threshold": 0.3}


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


def deepness(path: Path, pixels: np.ndarray) -> np.ndarray:
    """What the plugin computes of a tile ``(y, x, band)``: scaled to 0 to 1, standardised by the metadata."""
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    (only,) = session.get_inputs()
    meta = session.get_modelmeta().custom_metadata_map
    mean, std = (np.float32(json.loads(meta[f"standardization_{name}"])) for name in ("mean", "std"))
    tile = (np.float32(pixels * 1.0 / 255.0) - mean) / std
    (found,) = session.run(None, {only.name: tile.transpose(2, 0, 1)[None]})
    return found


def predicted(card: ModelCard, weights: Path, pixels: np.ndarray) -> np.ndarray:
    """Probabilities of the predictor for the same tile."""
    settings = InferenceSettings(
        card=card, output="LABEL", window=64, batch_size=1, torch_threads=1, device="cpu", bfloat16=False
    )
    predictor = TorchPredictor(settings, load(card, 64, weights, batch_size=1))
    (name,) = card.inputs
    batch = InputBatch(values=pixels.transpose(2, 0, 1)[None], valid=np.ones((1, 64, 64), np.bool_))
    return np.asarray(predictor.predict({name: batch}))


@pytest.mark.slow  # an export takes seconds
@pytest.mark.parametrize(
    ("changes", "largest"),
    [
        ({"inputs": HEIGHT}, 60),
        ({"outputs": {"LABEL": BINARY}}, 255),
        ({"outputs": {"LABEL": {"legend": {"name": "four", "classes": UNTRAINED}, "pixel": 0.2}}}, 255),
        ({"architecture": SWIN}, 255),
    ],
    ids=["height", "threshold", "untrained", "swin"],
)
def test_deepness_gets_the_probabilities_of_the_network(small_card, weights_of, tmp_path, changes, largest):
    card = small_card(**{"inputs": AERIAL, **changes})
    weights, path = weights_of(card), tmp_path / "small.onnx"
    write_card(card_content(card), tmp_path / "card.yaml")
    (spec,) = card.inputs.values()
    pixels = np.random.default_rng(0).integers(0, largest + 1, (64, 64, len(spec.bands))).astype(np.uint8)

    export_model(tmp_path / "card.yaml", onnx=path, weights=weights)

    found, wanted = deepness(path, pixels), predicted(card, weights, pixels)
    if card.outputs["LABEL"].threshold is not None:
        assert found.shape == (1, 1, 64, 64)
        wanted = wanted[:, 1:]
    trained = np.array(card.outputs["LABEL"].legend.trained)[: found.shape[1]]
    assert np.abs(found - wanted)[:, trained].max() <= 1e-4
    assert not found[:, ~trained].any()
    assert found.std() > 1e-3


def test_an_aerial_card_has_all_that_the_plugin_reads(small_card, weights_of, tmp_path):
    card = small_card(inputs=AERIAL)
    weights = weights_of(card)
    write_card(card_content(card), tmp_path / "card.yaml")

    assert export_model(tmp_path / "card.yaml", onnx=tmp_path / "a.onnx", weights=weights) == [tmp_path / "a.onnx"]

    pixels = np.random.default_rng(0).integers(0, 256, (64, 64, 3)).astype(np.uint8)
    assert np.abs(deepness(tmp_path / "a.onnx", pixels) - predicted(card, weights, pixels)).max() <= 1e-4
    model = onnx.load(tmp_path / "a.onnx")
    meta = {each.key: json.loads(each.value) for each in model.metadata_props}
    assert meta["model_type"] == "Segmentor"
    assert meta["class_names"] == {str(code): f"class {code}" for code in range(4)}
    assert meta["resolution"] == 20.0  # centimetres
    assert (meta["tile_size"], meta["tiles_overlap"]) == (64, 25)  # pixels and per cent
    assert meta["standardization_mean"] == pytest.approx([105.1 / 255, 110.9 / 255, 0])
    assert meta["standardization_std"] == pytest.approx([52.2 / 255, 45.7 / 255, 1])
    assert (meta["seg_thresh"], meta["seg_small_segment"]) == (0, 0)
    assert meta["landweave_bands"] == ["R", "G", "B"]
    assert (model.ir_version, model.opset_import[0].version) == (8, 18)
    dims = [each.dim_value for each in model.graph.input[0].type.tensor_type.shape.dim]
    assert dims == [1, 3, 64, 64]
    assert sorted(path.name for path in tmp_path.glob("*.onnx*")) == ["a.onnx"]


SERIES = {"pixel": 0.2, "bands": {"VV": {}}, "dates": {}}
HUB = {"kind": "flair_hub", "encoder": "mobilenet_v2"}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, r"it reads 2 inputs, AERIAL_RGBI, DEM_ELEV, and a layer is one"),
        ({"architecture": HUB, "inputs": {**AERIAL, "SENTINEL1-ASC_TS": SERIES}}, "SENTINEL1-ASC_TS is a time series"),
        ({"architecture": {"kind": "exported"}, "inputs": AERIAL}, "it is a program already"),
    ],
)
def test_cards_that_deepness_cannot_run_are_refused_by_name(small_card, tmp_path, changes, reason):
    write_card(card_content(small_card(**changes)), tmp_path / "card.yaml")
    with pytest.raises(CardError, match=rf"Model small cannot be made .*\n(.*\n)*.*{reason}"):
        export_model(tmp_path / "card.yaml", onnx=tmp_path / "a.onnx", weights=tmp_path / "none.safetensors")
    assert not (tmp_path / "a.onnx").exists()


@pytest.mark.slow
def test_a_file_that_differs_from_the_network_is_not_written(small_card, weights_of, tmp_path, monkeypatch):
    card = small_card(inputs=AERIAL)
    write_card(card_content(card), tmp_path / "card.yaml")
    weights = weights_of(card)
    monkeypatch.setattr("landweave.models.onnx_export.TOLERANCE", -1.0)
    with pytest.raises(CardError, match=r"up to .* off"):
        export_model(tmp_path / "card.yaml", onnx=tmp_path / "a.onnx", weights=weights)
    assert not list(tmp_path.glob("a.*"))


def test_names_and_weights_are_looked_at_first(small_card, tmp_path):
    write_card(card_content(small_card(inputs=AERIAL)), tmp_path / "card.yaml")
    weights = tmp_path / "none.safetensors"
    with pytest.raises(CardError, match=r"ending in \.onnx, not a\.pt2"):
        export_model(tmp_path / "card.yaml", onnx=tmp_path / "a.pt2", weights=weights)
    with pytest.raises(ConfigError, match="give their file"):
        export_model(tmp_path / "card.yaml", onnx=tmp_path / "a.onnx")
    assert not list(tmp_path.glob("a.*"))
