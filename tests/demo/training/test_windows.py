"""Training windows: bands in order, a series a sensor, turned as one, shuffled days."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from landweave_demo.landscape.land_cover import CLASS_CODES
from landweave_demo.landscape.landscape import make_landscape
from landweave_demo.training.windows import (
    ModelCard,
    TrainingLandscape,
    TrainingWindow,
    augmented,
    cut_window,
    prepare_landscape,
    with_shuffled_days,
)


def window_of(landscape: TrainingLandscape, card: ModelCard) -> TrainingWindow:
    return cut_window(landscape, card, landscape.years[0], (16, 40), np.random.default_rng(0))


def test_a_training_landscape_has_the_bands_in_order() -> None:
    landscape = make_landscape(12, height=512, width=512)
    prepared = prepare_landscape(landscape, years=1)
    assert (prepared.images[:4] == landscape.rgbi[[3, 0, 1, 2]]).all()
    assert np.abs(prepared.images[4] - (landscape.dsm - landscape.dtm)).max() < 0.05
    assert (np.array(CLASS_CODES)[prepared.target] == landscape.truth).all()


def test_a_window_has_every_series_of_the_card(training_landscape: TrainingLandscape, card: ModelCard) -> None:
    window = window_of(training_landscape, card)
    assert set(window.series) == {name for name, spec in card.inputs.items() if spec.dates}
    for name, series in window.series.items():
        assert series.values.shape == (len(series.days), len(card.inputs[name].bands), 10, 10)
        assert (np.diff(series.days) > 0).all()


def coarse(height: np.ndarray) -> np.ndarray:
    """Heights of a window as 10 x 10 means."""
    return height[1:511, 1:511].reshape(10, 51, 10, 51).mean((1, 3))


def test_an_augmented_window_is_turned_as_one(training_landscape: TrainingLandscape, card: ModelCard) -> None:
    """The height above ground, made coarse, stands in for a series: it must turn and mirror as its images do."""
    window = window_of(training_landscape, card)
    heights = coarse(window.images[4])[None, None]
    stand_ins = {name: replace(series, values=heights, days=series.days[:1]) for name, series in window.series.items()}
    for seed in range(6):
        turned = augmented(replace(window, series=stand_ins), np.random.default_rng(seed))
        for series in turned.series.values():
            assert np.corrcoef(coarse(turned.images[4]).ravel(), series.values.ravel())[0, 1] > 0.99


def test_shuffled_days_are_the_same_days(training_landscape: TrainingLandscape, card: ModelCard) -> None:
    window = window_of(training_landscape, card)
    shuffled = with_shuffled_days(window, np.random.default_rng(1))
    for name, series in shuffled.series.items():
        assert sorted(series.days) == sorted(window.series[name].days)
        assert (series.values == window.series[name].values).all()
    assert any((series.days != window.series[name].days).any() for name, series in shuffled.series.items())
