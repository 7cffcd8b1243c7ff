"""Weights in every accepted form load and are the same; broken or strange ones are refused, and say why."""

import pickle

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from landweave.core.errors import WeightsError
from landweave.models.weights import check_sha256, file_sha256, load_weights


def network():
    return nn.Sequential(nn.Conv2d(2, 3, 3), nn.BatchNorm2d(3), nn.Conv2d(3, 4, 1))


@pytest.fixture
def tensors():
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(tensor.shape, generator=generator) if tensor.is_floating_point() else tensor.clone()
        for name, tensor in network().state_dict().items()
    }


def prefixed(tensors, prefix):
    return {prefix + name: tensor for name, tensor in tensors.items()}


TRAINING = {"criterion.weight": torch.ones(3), "model.aux_decoders.a.weight": torch.ones(2)}


@pytest.mark.parametrize("prefix", ["", "model.", "model.seg_model.", "seg_model.", "module."])
@pytest.mark.parametrize("form", ["safetensors", "pth", "ckpt", "legacy", "nested", "training"])
def test_every_form_of_the_same_weights_loads_the_same(tmp_path, tensors, prefix, form):
    named = prefixed(tensors, prefix)
    path = tmp_path / {"safetensors": "w.safetensors", "ckpt": "w.ckpt", "training": "w.ckpt"}.get(form, "w.pth")
    if form == "safetensors":
        save_file(named | TRAINING, path)
    elif form == "legacy":
        torch.save(named, path, _use_new_zipfile_serialization=False)
    elif form == "nested":
        torch.save({"model": {"state_dict": named}}, path)
    elif form == "training":
        torch.save({"state_dict": named | TRAINING, "epoch": 3, "optimizer_states": [{"lr": 0.1}]}, path)
    else:
        torch.save(named, path)

    loaded = network()
    load_weights(loaded, path)

    assert all(torch.equal(tensor, tensors[name]) for name, tensor in loaded.state_dict().items())


def test_every_difference_is_listed_and_nothing_is_loaded(tmp_path, tensors):
    broken = dict(tensors)
    broken["2.weights"] = broken.pop("2.weight")
    broken["0.weight"] = torch.zeros(3, 5, 3, 3)
    broken["0.bias"] = torch.full((3,), torch.nan)
    path = tmp_path / "w.safetensors"
    save_file(broken, path)
    target = network()
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}

    with pytest.raises(WeightsError) as caught:
        load_weights(target, path)

    text = str(caught.value)
    assert "1 missing: 2.weight" in text
    assert "1 unexpected: 2.weights" in text
    assert "0.weight is (3, 5, 3, 3), the network's (3, 2, 3, 3)" in text
    assert "1 not finite: 0.bias" in text
    assert all(torch.equal(tensor, before[name]) for name, tensor in target.state_dict().items())


def test_another_models_weights_are_refused_with_a_short_list(tmp_path):
    path = tmp_path / "other.safetensors"
    save_file({f"layer.{i}.weight": torch.zeros(1) for i in range(40)}, path)

    with pytest.raises(WeightsError, match=r"0 of its 9 tensors[\s\S]*40 unexpected: .*and 32 more"):
        load_weights(network(), path)


@pytest.mark.parametrize("name", ["w.safetensors", "w.ckpt", "w.pth"])
def test_half_a_file_is_refused(tmp_path, tensors, name):
    path = tmp_path / name
    save_file(tensors, path) if path.suffix == ".safetensors" else torch.save(tensors, path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])

    with pytest.raises(WeightsError, match="broken"):
        load_weights(network(), path)


class Malice:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


@pytest.mark.parametrize("how", ["torch", "pickle"])
def test_a_pickle_with_code_is_refused_and_does_not_run(tmp_path, tensors, how):
    trace = tmp_path / "trace"
    path = tmp_path / "w.ckpt"
    content = {"state_dict": tensors, "callback": Malice(str(trace))}
    torch.save(content, path) if how == "torch" else path.write_bytes(pickle.dumps(content, protocol=2))

    with pytest.raises(WeightsError, match="more than plain tensors"):
        load_weights(network(), path)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [([1, 2], "hold list"), ({"epoch": 3}, "epoch are not tensors"), ({}, "not a state_dict")],
)
def test_a_checkpoint_without_tensors_is_refused(tmp_path, content, message):
    path = tmp_path / "w.ckpt"
    torch.save(content, path)

    with pytest.raises(WeightsError, match=message):
        load_weights(network(), path)


def test_a_missing_file_and_an_unknown_kind_are_refused(tmp_path):
    (tmp_path / "w.onnx").write_bytes(b"")

    with pytest.raises(WeightsError, match="no such file"):
        load_weights(network(), tmp_path / "none.ckpt")
    with pytest.raises(WeightsError, match=r"end in \.onnx"):
        load_weights(network(), tmp_path / "w.onnx")


def test_a_checksum_is_told_with_the_one_that_was_wanted(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(b"weights")
    right = file_sha256(path)

    check_sha256(path, right)
    check_sha256(path, right.upper())
    with pytest.raises(WeightsError, match=f"{right}, not {'0' * 64}"):
        check_sha256(path, "0" * 64)
