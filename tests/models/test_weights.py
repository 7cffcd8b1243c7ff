"""Weights in every accepted form load and are the same; broken or strange ones are refused, and say why."""

import gzip
import json
import pickle
import zipfile

import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from landweave.core.errors import WeightsError
from landweave.models.checksums import check_sha256, file_sha256
from landweave.models.exported import load_exported
from landweave.models.weights import load_weights


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


def test_a_missing_file_is_refused(tmp_path):
    with pytest.raises(WeightsError, match="no such file"):
        load_weights(network(), tmp_path / "none.ckpt")


def test_a_checksum_is_told_with_the_one_that_was_wanted(tmp_path):
    path = tmp_path / "w.pth"
    path.write_bytes(b"weights")
    right = file_sha256(path)

    check_sha256(path, right)
    check_sha256(path, right.upper())
    with pytest.raises(WeightsError, match=f"{right}, not {'0' * 64}"):
        check_sha256(path, "0" * 64)


def pickled_by_hand(content, path):
    path.write_bytes(pickle.dumps(content))


WRAPPED = {
    "compiled": "_orig_mod.",
    "of several GPUs": "module.",
    "of Lightning, compiled": "model._orig_mod.",
    "of several GPUs, compiled": "module._orig_mod.",
    "net": "net.",
    "network": "network.",
    "nested": "model.network.module.net.",
    "of a task of its own": "task.segmenter.",
}


@pytest.mark.parametrize("prefix", WRAPPED.values(), ids=WRAPPED)
@pytest.mark.parametrize("suffix", [".safetensors", ".bin", ".tar"])
def test_names_within_names_are_taken_off(tmp_path, tensors, prefix, suffix):
    path = tmp_path / f"w{suffix}"
    named = prefixed(tensors, prefix)
    save_file(named, path) if suffix == ".safetensors" else torch.save({"state_dict": named}, path)

    loaded = network()
    assert load_weights(loaded, path) == ()
    assert all(torch.equal(tensor, tensors[name]) for name, tensor in loaded.state_dict().items())


def test_a_layer_compiled_alone_is_found(tmp_path, tensors):
    path = tmp_path / "w.pt"
    torch.save({name.replace(".", "._orig_mod.", 1): tensor for name, tensor in tensors.items()}, path)

    assert load_weights(network(), path) == ()


def averaged(tensors):
    return {name: tensor + 1 if tensor.is_floating_point() else tensor for name, tensor in tensors.items()}


BESIDE = {
    "averaged weights": (
        lambda own: prefixed(averaged(own), "ema_model."),
        "averaged weights are left out: ema_model.0",
    ),
    "averaged weights and their settings": (
        lambda own: {"model_ema.decay": torch.tensor(0.9)} | prefixed(averaged(own), "model_ema.module."),
        "left out: model_ema.decay, model_ema.module.0.weight",
    ),
    "a loss": (lambda own: {"loss_fn.weight": torch.ones(3)}, "training alone are left out: loss_fn.weight"),
    "losses of a task": (lambda own: {"model.ce_loss.weight": torch.ones(3)}, "model.ce_loss.weight"),
    "metrics": (lambda own: {"val_metrics.iou.confmat": torch.ones(4, 4)}, "val_metrics.iou.confmat"),
    "a count": (lambda own: {"n_averaged": torch.tensor(3)}, "n_averaged"),
}


@pytest.mark.parametrize("prefix", ["", "model."])
@pytest.mark.parametrize("beside", BESIDE)
def test_what_training_keeps_beside_a_network_is_left_out_and_noted(tmp_path, tensors, beside, prefix):
    make, note = BESIDE[beside]
    path = tmp_path / "w.ckpt"
    torch.save({"state_dict": prefixed(tensors, prefix) | make(tensors)}, path)

    loaded = network()
    notes = load_weights(loaded, path)

    assert len(notes) == 1
    assert note in notes[0]
    assert torch.equal(loaded.state_dict()["0.weight"], tensors["0.weight"])


def test_averaged_weights_under_a_key_of_their_own_are_left_out_or_used_alone(tmp_path, tensors):
    path, loaded = tmp_path / "w.pth", network()
    torch.save({"state_dict": tensors, "state_dict_ema": averaged(tensors)}, path)
    assert load_weights(loaded, path) == ("averaged weights (state_dict_ema) are left out beside state_dict",)
    assert torch.equal(loaded.state_dict()["0.weight"], tensors["0.weight"])

    torch.save({"epoch": 3, "ema_state_dict": averaged(tensors)}, path)
    assert load_weights(loaded, path) == ("averaged weights (ema_state_dict) are used, as there are no others",)
    assert torch.equal(loaded.state_dict()["0.weight"], tensors["0.weight"] + 1)

    torch.save(prefixed(averaged(tensors), "ema_model."), path)
    assert load_weights(loaded, path) == ("the averaged weights (ema_model.) are used, as there are no others",)


def test_two_networks_in_a_file_are_refused_unless_they_are_the_same(tmp_path, tensors):
    path = tmp_path / "w.pth"
    torch.save(prefixed(tensors, "student.") | prefixed(averaged(tensors), "teacher."), path)
    with pytest.raises(WeightsError, match=r"twice, with '\w+\.' and with '\w+\.'"):
        load_weights(network(), path)

    torch.save(prefixed(tensors, "net.") | prefixed(tensors, "task.net."), path)
    load_weights(network(), path)


UNDECIDED = {
    "two names of the network": lambda own: {"state_dict": prefixed(own, "model."), "model": averaged(own)},
    "two averages under keys": lambda own: {"ema": averaged(own), "swa": own},
    "two averages under names": lambda own: prefixed(averaged(own), "ema_model.") | prefixed(own, "swa_model."),
    "compiled and not": lambda own: prefixed(own, "model.") | prefixed(averaged(own), "model._orig_mod."),
    "in another precision": lambda own: prefixed(own, "net.") | prefixed({k: v.half() for k, v in own.items()}, "b."),
}


@pytest.mark.parametrize("how", UNDECIDED)
def test_which_of_two_networks_is_meant_is_never_guessed(tmp_path, tensors, how):
    path, loaded = tmp_path / "w.pth", network()
    torch.save(UNDECIDED[how](tensors), path)
    before = loaded.state_dict()["0.weight"].clone()
    with pytest.raises(WeightsError, match=r"twice.*is unknown"):
        load_weights(loaded, path)
    assert torch.equal(loaded.state_dict()["0.weight"], before)


def test_the_same_network_under_two_keys_is_one_and_others_beside_it_are_noted(tmp_path, tensors):
    path, loaded = tmp_path / "w.pth", network()
    beside = {"model": {"name": "unet"}, "optimizer": {"state": {0: {"exp_avg": torch.ones(3)}}}}
    torch.save({"state_dict": prefixed(tensors, "model._orig_mod."), "network": tensors, **beside}, path)
    assert load_weights(loaded, path) == ()
    assert torch.equal(loaded.state_dict()["0.weight"], tensors["0.weight"])

    backwards = dict(reversed(tensors.items()))
    torch.save({"state_dict": tensors, "model": backwards, "weights": {"0.weight": torch.ones(3)}}, path)
    assert load_weights(loaded, path) == ()
    trained = prefixed(tensors, "model.") | {"criterion.weight": torch.ones(3)}
    columns = {name: torch.stack([each, each], -1)[..., 0] for name, each in tensors.items()}  # views with steps
    torch.save({"state_dict": trained, "model_state_dict": columns}, path)
    assert len(load_weights(loaded, path)) == 1
    assert torch.equal(loaded.state_dict()["0.weight"], tensors["0.weight"])

    torch.save({"model": tensors, "teacher": averaged(tensors)}, path)
    assert load_weights(loaded, path) == ("other weights (teacher) are left out beside model",)

    content = {}
    content["model"] = content
    torch.save(content, path)
    with pytest.raises(WeightsError, match="no state_dict"):
        load_weights(loaded, path)


ODD_NUMBERS = {
    "without numbers": (lambda each: each.to("meta"), "0.weight as meta"),
    "too large for float32": (lambda each: each.double() + 1e300, "1 not finite: 0.weight"),
}


@pytest.mark.parametrize("how", ODD_NUMBERS)
def test_numbers_that_cannot_be_computed_with_are_refused(tmp_path, tensors, how):
    change, told = ODD_NUMBERS[how]
    torch.save(tensors | {"0.weight": change(tensors["0.weight"])}, tmp_path / "w.pth")
    with pytest.raises(WeightsError, match=told):
        load_weights(network(), tmp_path / "w.pth")


def test_counts_of_batches_may_be_missing(tmp_path, tensors):
    path = tmp_path / "w.pth"
    torch.save({name: each for name, each in tensors.items() if not name.endswith("tracked")}, path)

    assert load_weights(network(), path) == ("1 of num_batches_tracked are missing, which prediction does not use",)


@pytest.mark.parametrize("dtype", [torch.float8_e4m3fn, torch.float16, torch.bfloat16, torch.float64])
def test_other_precisions_are_computed_in_float32_and_noted(tmp_path, tensors, dtype):
    path, loaded = tmp_path / "w.safetensors", network()
    save_file({name: each.to(dtype) if each.is_floating_point() else each for name, each in tensors.items()}, path)

    assert load_weights(loaded, path) == (f"stored as {str(dtype)[6:]}, computed as float32",)
    assert loaded.state_dict()["0.weight"].dtype == torch.float32
    assert torch.equal(loaded.state_dict()["0.weight"], tensors["0.weight"].to(dtype).float())


def test_tensors_that_pickle_wrote_alone_are_read_and_nothing_else(tmp_path, tensors):
    path, loaded = tmp_path / "w.bin", network()
    path.write_bytes(pickle.dumps(tensors))
    assert load_weights(loaded, path) == ()
    assert torch.equal(loaded.state_dict()["0.weight"], tensors["0.weight"])

    trace = tmp_path / "trace"
    path.write_bytes(pickle.dumps({"state_dict": tensors, "callback": Malice(str(trace))}))
    with pytest.raises(WeightsError, match="more than plain tensors"):
        load_weights(loaded, path)
    assert not trace.exists()


def test_a_file_is_what_it_holds_whatever_its_name(tmp_path, tensors):
    for suffix in (".pth", ".safetensors", ""):
        save_file(tensors, tmp_path / f"s{suffix}")
        torch.save(tensors, tmp_path / f"t{suffix}")
        load_weights(network(), tmp_path / f"s{suffix}")
        load_weights(network(), tmp_path / f"t{suffix}")


def zipped(path, **members):
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name.replace("__", "/"), content)


INDEX = {"metadata": {}, "weight_map": {"a": "m-00001-of-00002.safetensors", "b": "m-00002-of-00002.safetensors"}}
ONNX = b"\x08\x08\x12\x07pytorch\x1a\x052.1.0:\x90\x01\n\x1d"  # version 8 by producer pytorch, as torch.onnx begins
FOREIGN = {
    "TorchScript": (lambda path: torch.jit.script(network()).save(str(path)), "a TorchScript archive"),
    "a traced network": (
        lambda path: torch.jit.trace(network().eval(), torch.zeros(1, 2, 8, 8)).save(str(path)),
        "a TorchScript archive",
    ),
    "a program": (
        lambda path: torch.export.save(torch.export.export(network().eval(), (torch.zeros(1, 2, 8, 8),)), path),
        r"a program of torch.export: .*kind: exported",
    ),
    "ONNX": (lambda path: path.write_bytes(ONNX), "an ONNX model"),
    "a whole network": (lambda path: torch.save(network(), path), r"whole pickled module, torch\.nn\.\S*Sequential"),
    "a whole network, as before": (
        lambda path: torch.save(network(), path, _use_new_zipfile_serialization=False),
        r"whole pickled module, torch\.nn",
    ),
    "a whole network in a checkpoint": (
        lambda path: torch.save({"model": network(), "epoch": 3}, path),
        "whole pickled module",
    ),
    "a whole network by pickle": (lambda path: pickled_by_hand(network(), path), "whole pickled module"),
    "Keras": (lambda path: path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(64)), "an HDF5 file, as Keras"),
    "a Keras archive": (lambda path: zipped(path, config="{}", **{"model.weights.h5": "x"}), "a Keras archive"),
    "TensorFlow": (lambda path: path.write_bytes(b"\x08\x01\x12\xb0\x04\x0a"), "a TensorFlow SavedModel"),
    "TensorFlow Lite": (lambda path: path.write_bytes(b"\x1c\x00\x00\x00TFL3" + bytes(64)), "TensorFlow Lite"),
    "an index": (lambda path: path.write_text(json.dumps(INDEX)), r"the index of 2 files of tensors \(m-00001-of"),
    "another JSON": (lambda path: path.write_text('{"meta":{"a": 1}}'), "JSON text"),
    "an error in JSON": (lambda path: path.write_text('{"error": "Repository not found"}'), "JSON text"),
    "a page": (lambda path: path.write_text("\n<!DOCTYPE html><html><body>404</body></html>"), "an HTML page"),
    "a bucket's answer": (lambda path: path.write_text('<?xml version="1.0"?><Error>…</Error>'), "an XML message"),
    "a pointer": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"),
        "a Git LFS pointer",
    ),
    "nothing": (lambda path: path.write_bytes(b""), "empty"),
    "an archive": (lambda path: zipped(path, weights__w="x"), "a zip archive of weights/w: unpack it"),
    "a gzip archive": (lambda path: path.write_bytes(gzip.compress(b"x" * 100)), "a gzip archive: unpack it"),
    "noise": (lambda path: path.write_bytes(bytes(range(64, 256)) * 40), "broken"),
    "words": (lambda path: path.write_text("not weights at all"), "broken"),
}


@pytest.mark.parametrize("suffix", [".pth", ".safetensors"])
@pytest.mark.parametrize("name", FOREIGN)
def test_other_files_are_named_for_what_they_are(tmp_path, name, suffix):
    write, message = FOREIGN[name]
    path = tmp_path / f"w{suffix}"
    write(path)

    with pytest.raises(WeightsError, match=message) as caught:
        load_weights(network(), path)
    assert "weights_only" not in str(caught.value)


def test_a_pointer_is_named_before_its_checksum_is_compared(tmp_path):
    path = tmp_path / "w.safetensors"
    path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n")

    with pytest.raises(WeightsError, match="a Git LFS pointer"):
        check_sha256(path, "0" * 64)


@pytest.mark.parametrize("name", ["TorchScript", "ONNX", "a page", "a pointer", "nothing"])
def test_other_files_are_no_programs_either(tmp_path, name):
    write, message = FOREIGN[name]
    path = tmp_path / "w.pt2"
    write(path)

    with pytest.raises(WeightsError, match=message):
        load_exported(path)


def test_weights_are_no_program(tmp_path, tensors):
    path = tmp_path / "w.pt2"
    torch.save(tensors, path)

    with pytest.raises(WeightsError, match="a file of tensors without a program"):
        load_exported(path)
