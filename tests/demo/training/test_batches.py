"""Batches: the same windows for both models."""

from __future__ import annotations

import torch

import landweave as lw
from landweave_demo.training.batches import random_batches
from landweave_demo.training.windows import ModelCard, TrainingLandscape


def test_both_models_are_given_the_same_windows(training_landscape: TrainingLandscape, card: ModelCard) -> None:
    cards = card, lw.list_models()["demo-unet"]
    (one, first), (other, second) = (
        next(random_batches([training_landscape], each, count=2, size=2)) for each in cards
    )
    assert torch.equal(one["AERIAL_RGBI"], other["AERIAL_RGBI"])
    assert torch.equal(first, second)
