"""The public models, reproduced: same weights, same inputs, same logits at every pixel on record."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from landweave.models.networks.flair1 import AERIAL, METADATA, Flair1, FlairSpec
from landweave.models.networks.flair2 import SERIES, Flair2
from landweave.models.networks.flair_hub import FlairHub
from tests.helpers.flair_hub_models import FLAIR_HUB_MODELS

PART_OF_STD = 1e-3
EVERY = 16
"""Rows and columns between the pixels on record."""


def scores(net: nn.Module, inputs: dict[str, Tensor], output: str) -> NDArray[np.float32]:
    with torch.inference_mode():
        return net.eval()(inputs, (512, 512))[output][0].numpy()


def assert_reproduced(found: NDArray[np.float32], path: Path) -> None:
    recorded = np.load(path)
    allowed = PART_OF_STD * recorded["logits"].std()
    assert np.abs(found[:, ::EVERY, ::EVERY] - recorded["logits"]).max() <= allowed
    assert np.abs(found.mean((1, 2)) - recorded["mean"]).max() <= allowed
    assert np.abs(found.std((1, 2)) - recorded["std"]).max() <= allowed
    counts = np.bincount(found.argmax(0).ravel(), minlength=len(found))
    # A tie within float32 may go either way: one pixel in ten thousand.
    assert np.abs(counts - recorded["argmax_hist"]).sum() <= found[0].size * 1e-4


@pytest.mark.parametrize(
    "name",
    ["LPIS-F", *(pytest.param(name, marks=pytest.mark.slow) for name in ("LC-A", "LC-B", "LC-F"))],
)
def test_flair_hub_answers_as_published(public, name):
    spec = FLAIR_HUB_MODELS[name]
    net = FlairHub(replace(spec, aux=True))
    net.load_state_dict(public.weights(name), strict=True)

    found = scores(net, public.hub_inputs(spec), next(iter(spec.classes)))

    assert_reproduced(found, public.folder / f"{name}.npz")


def test_flair1_answers_as_published(public):
    name = "FLAIR1-unet-resnet34"
    net = Flair1(FlairSpec())
    net.load_state_dict(public.weights(name, prefix="model."), strict=True)

    found = scores(net, {AERIAL: public.values("FLAIR1", 1, 5, 512, 512)}, net.spec.output)

    assert_reproduced(found, public.folder / f"{name}.npz")


def test_flair2_answers_as_published(public):
    name = "FLAIR2-unet-utae"
    net = Flair2(FlairSpec(classes=13, metadata=True))
    net.load_state_dict(public.weights(name), strict=True)
    inputs = {
        AERIAL: public.values("FLAIR2:aerial", 1, 5, 512, 512),
        SERIES: public.values("FLAIR2:sat", 1, 6, 10, 40, 40),
        "SENTINEL2_DATES": public.days("FLAIR2", 6),
        METADATA: public.values("FLAIR2:mtd", 1, 45),
    }

    found = scores(net, inputs, net.spec.output)

    assert_reproduced(found, public.folder / f"{name}.npz")
