"""Programs of torch.export: the same answers as the network, and nothing but tensors and operators in the file."""

import json
import pickle
import zipfile

import numpy as np
import pytest
import torch
from torch import nn

from landweave.core.errors import CardError, WeightsError
from landweave.core.protocols import InputBatch
from landweave.models.exported import load_exported
from landweave.models.factory import build
from landweave.models.predictor import resolve_model
from landweave.models.settings import Compute

PROGRAM = {
    "architecture": {"kind": "exported"},
    "inputs": {"AERIAL_RGBI": {"pixel": 0.2, "bands": {"R": {"mean": 100, "std": 50}, "G": {}}}},
    "window": {"size": 16, "overlap": 4},
}


class Small(nn.Module):
    """A convolution, a norm, a dropout: what differs between training and use."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(3)
        self.layers = nn.Sequential(nn.Conv2d(2, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Dropout(0.5))

    def forward(self, x):
        return self.layers(x)


@pytest.fixture(scope="module")
def program(tmp_path_factory):
    path = tmp_path_factory.mktemp("program") / "small.pt2"
    torch.export.save(torch.export.export(Small().eval(), (torch.zeros(2, 2, 16, 16),)), path)
    return path


def rewritten(program, path, change):
    """The archive with what ``change(name, content)`` makes of each file."""
    with zipfile.ZipFile(program) as old, zipfile.ZipFile(path, "w") as new:
        for name in old.namelist():
            new.writestr(name, change(name, old.read(name)))
    return path


def test_a_program_answers_as_its_network(program, small_card):
    model = resolve_model(small_card(**PROGRAM), weights=program, compute=Compute(batch_size=2, device="cpu"))
    values = np.random.default_rng(0).integers(0, 255, (2, 2, 16, 16), dtype=np.uint8)

    answer = model.open().predict({"AERIAL_RGBI": InputBatch(values=values, valid=np.ones((2, 16, 16), bool))})

    fed = np.stack([(values[:, 0] - np.float32(100)) / np.float32(50), values[:, 1]], 1)
    with torch.inference_mode():
        wanted = Small().eval()(torch.from_numpy(fed)).softmax(1)
    np.testing.assert_allclose(answer, wanted.numpy(), rtol=1e-5, atol=1e-37)
    assert model.memory_bytes() > program.stat().st_size


def test_another_batch_or_window_than_it_was_exported_for_is_refused(program, small_card):
    model = resolve_model(small_card(**PROGRAM), weights=program, compute=Compute(batch_size=4, device="cpu"))

    with pytest.raises(WeightsError, match=r"\(2, 2, 16, 16\).*\(4, 2, 16, 16\)"):
        model.open()
    with pytest.raises(CardError, match="loaded from its"):
        build(small_card(**PROGRAM), 16)


def test_a_pickle_in_the_archive_is_refused_and_does_not_run(program, tmp_path):
    trace = tmp_path / "trace"

    class Malice:
        def __reduce__(self):
            return (open, (str(trace), "w"))

    def with_object(name, content):
        if name.endswith("_constants_config.json"):
            entry = {"path_name": "opaque_obj_0", "is_param": False, "use_pickle": True, "tensor_meta": None}
            return json.dumps({"config": {"x": entry}})
        return content

    path = rewritten(program, tmp_path / "a.pt2", with_object)
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(archive.namelist()[0].split("/")[0] + "/data/constants/opaque_obj_0", pickle.dumps(Malice()))

    with pytest.raises(WeightsError, match="x is a pickle"):
        load_exported(path)
    inputs = rewritten(
        program,
        tmp_path / "b.pt2",
        lambda name, content: pickle.dumps(Malice(), protocol=2) if "sample_inputs" in name else content,
    )
    with pytest.raises(WeightsError, match=r"sample_inputs.*more than plain tensors"):
        load_exported(inputs)
    assert not trace.exists()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("torch.ops.aten.conv2d.default", "torch.os.system", r"it calls torch\.os\.system"),
        ('"name": "conv2d"', '"name": "x=print(1)"', r"a value is named 'x=print\(1\)'"),
        ('"guards_code": []', '"guards_code": ["print(1)"]', "not fixed"),
    ],
)
def test_calls_names_and_guards_that_are_none_are_refused(program, tmp_path, old, new, message):
    def change(name, content):
        return content.replace(old.encode(), new.encode()) if "/models/" in name else content

    with pytest.raises(WeightsError, match=message):
        load_exported(rewritten(program, tmp_path / "p.pt2", change))


def test_a_program_exported_in_training_is_refused(tmp_path):
    path = tmp_path / "training.pt2"
    torch.export.save(torch.export.export(Small().train(), (torch.zeros(2, 2, 16, 16),)), path)

    with pytest.raises(WeightsError, match=r"batch_norm.*in training mode"):
        load_exported(path)


def test_half_a_program_is_refused(program, tmp_path):
    path = tmp_path / "half.pt2"
    path.write_bytes(program.read_bytes()[:1000])

    with pytest.raises(WeightsError, match="broken"):
        load_exported(path)
