"""The weights that come with the package fit the model, and training runs and learns."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from landweave.demo import train
from landweave.demo.scene import CLASS_CODES, DEMO_SEED, make_scene


def test_the_weights_fit_and_are_small() -> None:
    assert train.WEIGHTS.stat().st_size < 3_000_000
    model = train.build_model().eval()
    model.load_state_dict(load_file(train.WEIGHTS), strict=True)
    with torch.inference_mode():
        answer = model(torch.zeros(1, len(train.BANDS), 128, 128))
    assert answer.shape == (1, len(CLASS_CODES), 128, 128)
    assert torch.isfinite(answer).all()


def test_the_demo_is_not_in_the_training() -> None:
    assert DEMO_SEED not in train.TRAIN_SEEDS


def test_a_lesson_has_the_bands_in_order() -> None:
    scene = make_scene(12, height=512, width=512)
    lesson = train.prepare(scene)
    assert (lesson.inputs[:4] == scene.rgbi[[3, 0, 1, 2]]).all()
    assert np.abs(lesson.inputs[4] - (scene.dsm - scene.dtm)).max() < 0.05
    assert (np.array(CLASS_CODES)[lesson.target] == scene.truth).all()


@pytest.mark.slow
def test_training_gives_the_same_weights_again() -> None:
    lesson = train.prepare(make_scene(12, height=512, width=512))
    cycles = (train.Cycle(steps=3, rate=1e-3),)
    first, second = (train.train([lesson], cycles=cycles).state_dict() for _ in range(2))
    untrained = train.build_model().state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], untrained[name]) for name in first if name.endswith("conv.weight"))
