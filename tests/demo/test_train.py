"""The weights that come with the package fit their cards, training runs and learns, and seasons are worth something."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from landweave.models.cards.card import ModelCard
from landweave.models.weights import check_sha256, read_tensors
from landweave_demo import training_windows, train
from landweave_demo.landscape.landscape import CLASS_CODES, DEMO_SEED

SHORT = train.OneCycle(steps=2, rate=1e-3, batch=2)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(train.THREADS)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("sensors", sorted(train.CARDS))
def test_the_weights_fit_and_are_small(sensors: str) -> None:
    card, network = train.load_demo_model(sensors)
    path = Path(str(card.weights.file))
    check_sha256(path, str(card.weights.sha256))
    assert path.stat().st_size < 3_000_000
    assert card.legend().codes == CLASS_CODES
    assert {tensor.dtype for tensor in read_tensors(path).values()} == {torch.float16, torch.int64}
    assert {each.dtype for each in network.parameters()} == {torch.float32}


def test_neither_the_demo_nor_the_unseen_scenes_are_in_the_training() -> None:
    assert not {DEMO_SEED, *train.UNSEEN_SEEDS} & set(train.TRAIN_SEEDS)


def test_both_models_are_given_the_same_windows(lesson: lessons.TrainingLandscape, card: ModelCard) -> None:
    images_only = train.read_card(train.CARDS["aerial"])
    (one, first), (other, second) = (next(train._batches([lesson], each, SHORT)) for each in (card, images_only))
    assert torch.equal(one["AERIAL_RGBI"], other["AERIAL_RGBI"])
    assert torch.equal(first, second)


def test_weights_are_kept_in_half_precision(card: ModelCard, tmp_path: Path) -> None:
    network = train.build(card, lessons.WINDOW)
    train.save_half(network, tmp_path / "half.safetensors")
    again = train.load(card, lessons.WINDOW, tmp_path / "half.safetensors", batch_size=1)
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one.half().float(), other)


@pytest.mark.slow
def test_training_gives_the_same_weights_again(lesson: lessons.TrainingLandscape, card: ModelCard) -> None:
    first, second = (train.train([lesson], card, series_cycle=SHORT, cycle=SHORT).state_dict() for _ in range(2))
    untrained = train.build(card, lessons.WINDOW).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], untrained[name]) for name in first if name.endswith("conv.weight"))


@pytest.mark.slow
def test_seasons_tell_crops_that_look_alike() -> None:
    """Over landscapes that neither model has seen: the series are worth 0.2, and nothing once days are with_shuffled_days."""
    found = {name: train.seasonal_iou(matrix) for name, matrix in train.score_unseen().items()}
    assert found["all"] >= found["aerial"] + 0.2
    assert found["with_shuffled_days"] <= found["aerial"] + 0.1
