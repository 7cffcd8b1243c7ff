"""Training and scoring see different landscapes, and series are worth something."""

from __future__ import annotations

import pytest

from landweave_demo.landscape.landscape import DEMO_SEED
from landweave_demo.train import TRAIN_SEEDS, UNSEEN_SEEDS, score_unseen
from landweave_demo.training.scores import seasonal_iou


def test_neither_the_demo_nor_the_unseen_landscapes_are_in_the_training() -> None:
    assert not {DEMO_SEED, *UNSEEN_SEEDS} & set(TRAIN_SEEDS)


@pytest.mark.slow
def test_series_tell_crops_apart_that_look_alike() -> None:
    """Over landscapes that neither model has seen: the series are worth 0.2, and nothing once days are shuffled."""
    found = {name: seasonal_iou(matrix) for name, matrix in score_unseen().items()}
    assert found["all"] >= found["aerial"] + 0.2
    assert found["shuffled"] <= found["aerial"] + 0.1
