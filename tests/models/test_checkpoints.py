"""A multi-sensor checkpoint in every form it is published or saved in, and broken in every way."""

import argparse
import pickle
from itertools import product
from pathlib import Path, WindowsPath

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from landweave.core.errors import WeightsError
from landweave.models.cards.card import ModelCard
from landweave.models.factory import build, core, load
from landweave.models.inference import torch_threads
from landweave.models.networks.flair_hub import FlairHub
from tests.helpers.marks import mostly_slow
from tests.helpers.networks import drawn
from tests.models.conftest import small_content

IMAGE = {"pixel": 0.2, "bands": {"R": {}, "G": {}}}
SERIES = {"pixel": 3.2, "bands": {"VV": {}, "VH": {}}, "dates": {}}
AUX = {
    "aux_decoders.AERIAL_RGBI__LABEL.seg_model.segmentation_head.0.weight": torch.ones(4, 64, 1, 1),
    "aux_decoders.SENTINEL1-ASC_TS__LABEL.weight": torch.ones(4, 4, 1, 1),
}
CRITERION = {"criterion.LABEL.weight": torch.ones(4)}


@pytest.fixture(autouse=True)
def one_thread():
    with torch_threads(1):
        yield


@pytest.fixture(scope="module")
def card():
    return ModelCard.model_validate(
        small_content(
            architecture={"kind": "flair_hub", "encoder": "lcnet_035"},
            inputs={"AERIAL_RGBI": IMAGE, "SENTINEL1-ASC_TS": SERIES},
        )
    )


@pytest.fixture(scope="module")
def drawn_once(card):
    return drawn(core(build(card, card.window.size)))


@pytest.fixture
def tensors(drawn_once):
    return dict(drawn_once)


def answer(network):
    generator = torch.Generator().manual_seed(2)
    inputs = {
        "AERIAL_RGBI": torch.randn(2, 2, 64, 64, generator=generator),
        "SENTINEL1-ASC_TS": torch.randn(2, 3, 2, 4, 4, generator=generator),
        "SENTINEL1-ASC_DATES": torch.tensor([[-30.0, 5, 60]] * 2),
    }
    with torch.inference_mode():
        return network(inputs, (64, 64))["LABEL"]


def saved(tensors, path, extra=None):
    """As training tools save: names within names for a ``.ckpt``, plain names elsewhere."""
    if path.suffix == ".safetensors":
        save_file(tensors, path)
    elif path.suffix == ".ckpt":
        torch.save({"state_dict": tensors, "epoch": 7, **(extra or {})}, path)
    else:
        torch.save(tensors, path)
    return path


TRAINING = {"bare": {}, "criterion": CRITERION, "aux": AUX, "both": CRITERION | AUX}
FORMS = product((".safetensors", ".ckpt", ".pth"), ("", "model."), TRAINING)
FAST_FORMS = {
    (".safetensors", "", "bare"),
    (".safetensors", "model.", "both"),
    (".ckpt", "model.", "criterion"),
    (".ckpt", "", "aux"),
    (".pth", "model.", "aux"),
    (".pth", "", "both"),
}


@pytest.mark.parametrize(("suffix", "prefix", "training"), mostly_slow(FORMS, fast=FAST_FORMS))
def test_every_form_answers_the_same(card, tensors, tmp_path, suffix, prefix, training):
    reference = core(build(card, 64))
    assert isinstance(reference, FlairHub)
    reference.load_state_dict(tensors, strict=True)
    # The loss is the training tool's own; everything else of the network stands under its prefix.
    named = {
        name if name.startswith("criterion.") else prefix + name: each
        for name, each in {**tensors, **TRAINING[training]}.items()
    }
    path = saved(named, tmp_path / f"weights{suffix}", {"optimizer_states": [{"lr": 0.1}]})

    loaded = load(card, 64, path, batch_size=2)

    assert torch.equal(answer(loaded), answer(reference))


class FromWindows:
    """Saved as a path of Windows is: its own class can be made there alone."""

    def __reduce__(self):
        return WindowsPath, ("C:/trainings/7",)


INERT = {
    "a folder": {"hyper_parameters": {"paths": {"out": Path("/trainings/7")}}},
    "a folder of Windows": {"hyper_parameters": {"out": FromWindows()}},
    "a score of numpy": {"callbacks": {"best": np.float64(0.6), "epochs": np.int64(7), "ended": np.bool_(True)}},
    "an array of numpy": {"hyper_parameters": {"weights": np.ones(3, np.float32)}},
    "arguments": {"hyper_parameters": argparse.Namespace(lr=0.1)},
}


@pytest.mark.parametrize("beside", INERT)
def test_what_training_keeps_beside_its_tensors_is_no_code(card, tensors, tmp_path, beside):
    path = saved(tensors, tmp_path / "weights.ckpt", INERT[beside])

    load(card, 64, path, batch_size=2)


def test_a_tensor_that_stands_twice_is_refused(card, tensors, tmp_path):
    name = "main_decoders.LABEL.seg_model.segmentation_head.0.weight"
    path = saved(
        {f"model.{each}": tensor for each, tensor in tensors.items()} | {name: tensors[name] + 1}, tmp_path / "w.pth"
    )

    with pytest.raises(WeightsError, match=rf"1 twice, without a prefix and with 'model.': {name}"):
        load(card, 64, path, batch_size=2)


def test_whole_numbers_are_no_weights(card, tensors, tmp_path):
    name = "main_decoders.LABEL.seg_model.segmentation_head.0.weight"
    path = saved(tensors | {name: tensors[name].to(torch.int8)}, tmp_path / "w.safetensors")

    with pytest.raises(WeightsError, match=rf"1 of another kind: {name} is int8, the network's float32"):
        load(card, 64, path, batch_size=2)


def renamed(tensors, name):
    return {("renamed" if each == name else each): tensor for each, tensor in tensors.items()}


BROKEN = {
    "one tensor renamed": (
        lambda tensors, name: renamed(tensors, name),
        ["1 missing: {name}", "1 unexpected: renamed"],
    ),
    "one tensor reshaped": (
        lambda tensors, name: tensors | {name: tensors[name].flatten()},
        ["1 of another shape: {name} is ("],
    ),
    "one tensor left out": (
        lambda tensors, name: {each: tensor for each, tensor in tensors.items() if each != name},
        ["1 missing: {name}"],
    ),
    "another model's": (
        lambda tensors, name: {f"backbone.{index}.weight": torch.zeros(3) for index in range(20)},
        ["0 of its", "20 unexpected: backbone.0.weight", "and 12 more"],
    ),
    "one sensor fewer": (
        lambda tensors, name: {each: tensor for each, tensor in tensors.items() if "SENTINEL1" not in each},
        ["missing: encoders.SENTINEL1-ASC_TS"],
    ),
}


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt", ".pth"])
@pytest.mark.parametrize("how", BROKEN)
def test_broken_weights_are_refused_with_the_list(card, tensors, tmp_path, how, suffix):
    name = "main_decoders.LABEL.seg_model.segmentation_head.0.weight"
    change, told = BROKEN[how]
    path = saved(change(tensors, name), tmp_path / f"weights{suffix}")

    with pytest.raises(WeightsError) as caught:
        load(card, 64, path, batch_size=2)

    assert all(part.format(name=name) in str(caught.value) for part in told), str(caught.value)


@pytest.mark.parametrize("suffix", [".safetensors", ".ckpt", ".pth"])
def test_half_a_file_is_refused(card, tensors, tmp_path, suffix):
    path = saved(tensors, tmp_path / f"weights{suffix}")
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(WeightsError, match="broken"):
        load(card, 64, path, batch_size=2)


class Malice:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_pickle_with_code_in_it_is_refused_and_does_not_run(card, tensors, tmp_path):
    trace = tmp_path / "trace"
    path = saved(tensors, tmp_path / "weights.ckpt", {"callbacks": Malice(str(trace))})

    with pytest.raises(WeightsError, match=r"more than plain tensors.*: _?io\.open"):
        load(card, 64, path, batch_size=2)
    path.write_bytes(pickle.dumps(Malice(str(trace)), protocol=2))
    with pytest.raises(WeightsError, match="more than plain tensors"):
        load(card, 64, path, batch_size=2)
    assert not trace.exists()
