"""Programs of torch.export: written from a card, read through a card, the same answers."""

import json

import pytest
import torch
import yaml

from landweave.core.errors import CardError, ConfigError, LandweaveError
from landweave.models.cards.registry import card_content, read_card, write_card
from landweave.models.export import export_model, export_program
from landweave.models.factory import load
from landweave.models.inference import torch_threads
from tests.helpers.marks import mostly_slow
from tests.models.conftest import SWIN, small_content

IMAGE = {"pixel": 0.2, "bands": {"R": {}}}
SERIES = {"pixel": 0.2, "bands": {"VV": {}}, "dates": {}}


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


HUB = {"architecture": {"kind": "flair_hub", "encoder": "lcnet_035"}, "inputs": {"AERIAL_RGBI": IMAGE}}


@pytest.mark.parametrize(
    "changes",
    mostly_slow([{}, HUB, {"architecture": SWIN}], fast=[{}]),
    ids=["unet", "flair_hub", "swin"],
)
def test_a_program_answers_as_its_network(small_card, weights_of, tmp_path, changes):
    card = small_card(**changes)
    weights, path = weights_of(card), tmp_path / "program.pt2"

    made = export_program(card, weights, path)
    write_card(card_content(made), path.with_suffix(".yaml"))

    program_card = read_card(path.with_suffix(".yaml"))
    program = load(program_card, 64, path, batch_size=2)
    network = load(card, 64, weights, batch_size=2)
    inputs = {name: torch.randn(2, len(spec.bands), 64, 64) for name, spec in card.inputs.items()}
    with torch.inference_mode():
        wanted, found = network(inputs, (64, 64))["LABEL"], program(inputs, (64, 64))["LABEL"]
    assert (found - wanted).abs().max() <= 1e-5 * wanted.std()
    assert program_card.inputs == card.inputs
    assert program_card.weights.file == str(path)


@pytest.mark.parametrize(
    ("inputs", "reason"),
    [
        ({"AERIAL_RGBI": IMAGE, "SENTINEL1-ASC_TS": SERIES}, "SENTINEL1-ASC_TS is a time series"),
        ({"AERIAL_RGBI": IMAGE, "SPOT_RGBI": IMAGE | {"pixel": 1.6}}, "SPOT_RGBI has pixels of 1.6 m"),
    ],
)
def test_a_model_of_more_than_images_is_refused_with_the_reason(small_card, tmp_path, inputs, reason):
    card = small_card(architecture={"kind": "flair_hub", "encoder": "mobilenet_v2"}, inputs=inputs)

    with pytest.raises(CardError, match=reason):
        export_program(card, tmp_path / "none.safetensors", tmp_path / "program.pt2")


def test_other_files_are_left_alone(small_card, tmp_path):
    there = tmp_path / "there.pt2"
    there.write_text("mine")

    with pytest.raises(CardError, match="is there already"):
        export_program(small_card(), tmp_path / "w.safetensors", there)
    with pytest.raises(CardError, match=r"ending in \.pt2"):
        export_program(small_card(), tmp_path / "w.safetensors", tmp_path / "program.onnx")
    assert there.read_text() == "mine"


@pytest.fixture
def small_file(tmp_path):
    path = tmp_path / "small.yaml"
    path.write_text(yaml.safe_dump(small_content(source="someone/small")))
    return path


@pytest.fixture
def weights(small_file, weights_of):
    return weights_of(read_card(small_file))


def test_nothing_that_is_there_is_written_over_and_no_part_of_an_export_is_left(small_file, weights, tmp_path):
    item, program = tmp_path / "item.json", tmp_path / "program.pt2"
    item.write_text("mine")

    with pytest.raises(CardError, match=r"item.json is there already: name another file, or remove it"):
        export_model(str(small_file), stac=item, program=program, weights=weights)
    assert item.read_text() == "mine"
    item.unlink()
    program.with_suffix(".yaml").write_text("mine")
    with pytest.raises(CardError, match=r"program.yaml is there already"):
        export_model(str(small_file), stac=item, program=program, weights=weights)
    assert not item.exists()
    assert not program.exists()


def contents(folder):
    return {path: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize(
    ("item", "program", "wrong"),
    [
        ("small.yaml", None, "small.yaml is there already"),
        ("weights", None, "is there already"),
        ("link.json", None, "link.json is there already"),
        ("item.json", "link.pt2", "link.pt2 is there already"),
        ("item.json", "small.pt2", "small.yaml is there already"),
        ("p.pt2", "p.pt2", "named twice"),
        ("p.yaml", "p.pt2", "named twice"),
        ("item.json", "none/p.pt2", r"none/p.pt2 cannot be written: No such file"),
    ],
)
def test_no_file_that_is_there_is_written_over(small_file, weights, tmp_path, item, program, wrong):
    (tmp_path / "link.json").symlink_to(small_file)
    (tmp_path / "link.pt2").symlink_to(weights)
    before = contents(tmp_path)
    files = {"stac": weights if item == "weights" else tmp_path / item, "program": program and tmp_path / program}

    with pytest.raises(LandweaveError, match=wrong):
        export_model(str(small_file), **files, weights=weights)
    assert contents(tmp_path) == before


def test_a_program_that_cannot_be_written_leaves_nothing(small_file, weights, tmp_path, monkeypatch):
    def full(_, path):
        path.write_text("part")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(torch.export, "save", full)
    before = contents(tmp_path)
    with pytest.raises(CardError, match=r"p.pt2 cannot be written: No space left"):
        export_model(str(small_file), program=tmp_path / "p.pt2", weights=weights)
    assert contents(tmp_path) == before


def test_an_item_goes_to_a_folder_that_is_there(small_file, tmp_path):
    with pytest.raises(CardError, match=r"none/item.json cannot be written: No such file"):
        export_model(str(small_file), stac=tmp_path / "none" / "item.json")


def test_an_item_and_a_program_are_written(small_file, weights, tmp_path):
    written = export_model(
        str(small_file), stac=tmp_path / "item.json", program=tmp_path / "program.pt2", weights=weights
    )
    item = json.loads((tmp_path / "item.json").read_text())

    assert [path.name for path in written] == ["program.pt2", "program.yaml", "item.json"]
    assert read_card(tmp_path / "program.yaml").weights.file == str(tmp_path / "program.pt2")
    assert item["properties"]["mlm:name"] == "small"


def test_an_export_of_nothing_is_refused(small_file, tmp_path):
    with pytest.raises(ConfigError, match="Nothing to export"):
        export_model(str(small_file))
    with pytest.raises(ConfigError, match="give their file"):
        export_model(str(small_file), program=tmp_path / "small.pt2")
