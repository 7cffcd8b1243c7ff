"""Windows of made-up landscapes: bands in order, a series a sensor, turned as one, with_shuffled_days days."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from landweave.models.cards.card import ModelCard
from landweave_demo import training_windows
from landweave_demo.landscape.landscape import CLASS_CODES, make_landscape


def window_of(lesson: lessons.TrainingLandscape, card: ModelCard) -> lessons.Window:
    return lessons.cut_window(lesson, card, lesson.years[0], (16, 40), np.random.default_rng(0))


def test_a_lesson_has_the_bands_in_order() -> None:
    landscape = make_landscape(12, height=512, width=512)
    lesson = lessons.prepare_landscape(landscape, years=1)
    assert (lesson.images[:4] == landscape.rgbi[[3, 0, 1, 2]]).all()
    assert np.abs(lesson.images[4] - (landscape.dsm - landscape.dtm)).max() < 0.05
    assert (np.array(CLASS_CODES)[lesson.target] == landscape.truth).all()


def test_a_window_has_every_series_of_the_card(lesson: lessons.TrainingLandscape, card: ModelCard) -> None:
    window = window_of(lesson, card)
    assert set(window.series) == {name for name, spec in card.inputs.items() if spec.dates}
    for name, dates in window.series.items():
        assert dates.values.shape == (len(dates.days), len(card.inputs[name].bands), 10, 10)
        assert (np.diff(dates.days) > 0).all()


def coarse(height: np.ndarray) -> np.ndarray:
    """Heights of a window as 10 x 10 means."""
    return height[1:511, 1:511].reshape(10, 51, 10, 51).mean((1, 3))


def test_a_varied_window_is_turned_as_one(lesson: lessons.TrainingLandscape, card: ModelCard) -> None:
    """The height above ground, made coarse, stands in for a series: it must turn and mirror as its images do."""
    window = window_of(lesson, card)
    heights = coarse(window.images[4])[None, None]
    stand_ins = {name: replace(dates, values=heights, days=dates.days[:1]) for name, dates in window.series.items()}
    for seed in range(6):
        augmented = lessons.augmented(replace(window, series=stand_ins), np.random.default_rng(seed))
        for dates in augmented.series.values():
            assert np.corrcoef(coarse(augmented.images[4]).ravel(), dates.values.ravel())[0, 1] > 0.99


def test_shuffled_days_are_the_same_days(lesson: lessons.TrainingLandscape, card: ModelCard) -> None:
    window = window_of(lesson, card)
    with_shuffled_days = lessons.with_shuffled_days(window, np.random.default_rng(1))
    for name, dates in with_shuffled_days.series.items():
        assert sorted(dates.days) == sorted(window.series[name].days)
        assert (dates.values == window.series[name].values).all()
    assert any((dates.days != window.series[name].days).any() for name, dates in with_shuffled_days.series.items())
