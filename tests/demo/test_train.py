"""The weights that come with the package fit their cards, training runs and learns, and seasons are worth something."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from landweave.demo import lessons, train
from landweave.demo.scene import CLASS_CODES, DEMO_SEED, make_scene
from landweave.models.card import ModelCard
from landweave.models.weights import check_sha256, read_tensors

SHORT = train.Cycle(steps=2, rate=1e-3, batch=2)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(train.THREADS)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def lesson() -> lessons.Lesson:
    return lessons.prepare(make_scene(12, height=560, width=600), years=2)


@pytest.fixture(scope="module")
def card() -> ModelCard:
    return train.read_card(train.CARDS["all"])


def window_of(lesson: lessons.Lesson, card: ModelCard) -> lessons.Window:
    return lessons.view_window(lesson, card, lesson.years[0], (16, 40), np.random.default_rng(0))


@pytest.mark.parametrize("sensors", sorted(train.CARDS))
def test_the_weights_fit_and_are_small(sensors: str) -> None:
    card, network = train.load_shipped(sensors)
    path = Path(str(card.weights.file))
    check_sha256(path, str(card.weights.sha256))
    assert path.stat().st_size < 3_000_000
    assert card.legend().codes == CLASS_CODES
    assert {tensor.dtype for tensor in read_tensors(path).values()} == {torch.float16, torch.int64}
    assert {each.dtype for each in network.parameters()} == {torch.float32}


def test_neither_the_demo_nor_the_unseen_scenes_are_in_the_training() -> None:
    assert not {DEMO_SEED, *train.UNSEEN_SEEDS} & set(train.TRAIN_SEEDS)


def test_a_lesson_has_the_bands_in_order() -> None:
    scene = make_scene(12, height=512, width=512)
    lesson = lessons.prepare(scene, years=1)
    assert (lesson.images[:4] == scene.rgbi[[3, 0, 1, 2]]).all()
    assert np.abs(lesson.images[4] - (scene.dsm - scene.dtm)).max() < 0.05
    assert (np.array(CLASS_CODES)[lesson.target] == scene.truth).all()


def test_a_window_has_every_series_of_the_card(lesson: lessons.Lesson, card: ModelCard) -> None:
    window = window_of(lesson, card)
    assert set(window.series) == {name for name, spec in card.inputs.items() if spec.dates}
    for name, dates in window.series.items():
        assert dates.values.shape == (len(dates.days), len(card.inputs[name].bands), 10, 10)
        assert (np.diff(dates.days) > 0).all()


def test_both_models_are_given_the_same_windows(lesson: lessons.Lesson, card: ModelCard) -> None:
    images_only = train.read_card(train.CARDS["aerial"])
    (one, first), (other, second) = (next(train._batches([lesson], each, SHORT)) for each in (card, images_only))
    assert torch.equal(one["AERIAL_RGBI"], other["AERIAL_RGBI"])
    assert torch.equal(first, second)


def coarse(height: np.ndarray) -> np.ndarray:
    """Heights of a window as 10 x 10 means."""
    return height[1:511, 1:511].reshape(10, 51, 10, 51).mean((1, 3))


def test_a_varied_window_is_turned_as_one(lesson: lessons.Lesson, card: ModelCard) -> None:
    """The height above ground, made coarse, stands in for a series: it must turn and mirror as its images do."""
    window = window_of(lesson, card)
    heights = coarse(window.images[4])[None, None]
    stand_ins = {name: replace(dates, values=heights, days=dates.days[:1]) for name, dates in window.series.items()}
    for seed in range(6):
        varied = lessons.varied(replace(window, series=stand_ins), np.random.default_rng(seed))
        for dates in varied.series.values():
            assert np.corrcoef(coarse(varied.images[4]).ravel(), dates.values.ravel())[0, 1] > 0.99


def test_shuffled_days_are_the_same_days(lesson: lessons.Lesson, card: ModelCard) -> None:
    window = window_of(lesson, card)
    shuffled = lessons.shuffled(window, np.random.default_rng(1))
    for name, dates in shuffled.series.items():
        assert sorted(dates.days) == sorted(window.series[name].days)
        assert (dates.values == window.series[name].values).all()
    assert any((dates.days != window.series[name].days).any() for name, dates in shuffled.series.items())


def test_weights_are_kept_in_half_precision(card: ModelCard, tmp_path: Path) -> None:
    network = train.build(card, lessons.WINDOW)
    train.save_half(network, tmp_path / "half.safetensors")
    again = train.load(card, lessons.WINDOW, tmp_path / "half.safetensors", batch_size=1)
    for one, other in zip(network.parameters(), again.parameters(), strict=True):
        assert torch.equal(one.half().float(), other)


@pytest.mark.slow
def test_training_gives_the_same_weights_again(lesson: lessons.Lesson, card: ModelCard) -> None:
    first, second = (train.train([lesson], card, first_sight=SHORT, cycle=SHORT).state_dict() for _ in range(2))
    untrained = train.build(card, lessons.WINDOW).state_dict()
    assert all(torch.equal(first[name], second[name]) for name in first)
    assert not any(torch.equal(first[name], untrained[name]) for name in first if name.endswith("conv.weight"))


@pytest.mark.slow
def test_seasons_tell_crops_that_look_alike() -> None:
    """Over scenes that neither model has seen: the series are worth 0.2, and nothing once days are shuffled."""
    found = {name: train.seasonal_iou(matrix) for name, matrix in train.score_unseen().items()}
    assert found["all"] >= found["aerial"] + 0.2
    assert found["shuffled"] <= found["aerial"] + 0.1
