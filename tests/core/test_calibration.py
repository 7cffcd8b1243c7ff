"""Calibration of made-up models that are right as often as they say, and of ones that are not."""

from itertools import pairwise

import numpy as np
import pytest

from landweave.core.calibration import Likelihood, Reliability

RNG = np.random.default_rng(0)


def model(temperature: float, pixels: int = 60_000) -> tuple[np.ndarray, np.ndarray]:
    """Stored probabilities ``(class, pixel)`` of logits that are ``temperature`` times too large, and the truth."""
    logits = RNG.normal(0, 2, (5, pixels))
    honest = np.exp(logits) / np.exp(logits).sum(0)
    truth = (honest.cumsum(0) < RNG.random(pixels)).sum(0)
    stated = np.exp(logits * temperature)
    return np.rint(250 * stated / stated.sum(0)).astype(np.uint8), truth


@pytest.mark.parametrize("wrong", [0.5, 1.0, 1.7, 3.0])
def test_the_temperature_of_a_known_miscalibrated_model_is_found(wrong: float) -> None:
    probabilities, truth = model(wrong)
    found = Likelihood.of(probabilities, truth)
    assert found.temperature == pytest.approx(wrong, rel=0.03)


@pytest.mark.parametrize(("wrong", "least", "most"), [(1.0, 0, 0.01), (2.0, 0.05, 0.3), (0.5, 0.05, 0.3)])
def test_the_calibration_error_tells_honest_models_from_others(wrong: float, least: float, most: float) -> None:
    probabilities, truth = model(wrong)
    found = Reliability.of(probabilities.max(0), probabilities.argmax(0) == truth)
    assert least <= found.expected_error() <= most
    confidence, accuracy, pixels = found.curve()
    sides = np.sign(accuracy - confidence)[(np.abs(accuracy - confidence) > 0.05) & (pixels > 500)]
    assert (sides == {1.0: 0, 2.0: -1, 0.5: 1}[wrong]).all()


def test_the_error_is_that_of_counting_bin_by_bin() -> None:
    confidence, right = RNG.integers(0, 251, 5000).astype(np.uint8), RNG.random(5000) < 0.6
    edges = np.linspace(0, 1, 16)
    shares = confidence / 250
    expected = 0.0
    for low, high in pairwise(edges):
        inside = (shares > low + 1e-12) & (shares <= high + 1e-12) | ((low == 0) & (shares == 0))
        if inside.any():
            expected += abs(right[inside].mean() - shares[inside].mean()) * inside.mean()
    assert Reliability.of(confidence, right).expected_error() == pytest.approx(expected, abs=1e-12)


def test_sums_of_parts_are_those_of_the_whole() -> None:
    probabilities, truth = model(1.5, 3000)
    right = probabilities.argmax(0) == truth
    parts = [slice(0, 1000), slice(1000, 1100), slice(1100, 3000)]
    whole = Likelihood.of(probabilities, truth)
    first, *rest = (Likelihood.of(probabilities[:, part], truth[part]) for part in parts)
    np.testing.assert_allclose(sum(rest, first).micronats, whole.micronats, rtol=1e-6)
    first, *rest = (Reliability.of(probabilities.max(0)[part], right[part]) for part in parts)
    np.testing.assert_array_equal(sum(rest, first).right, Reliability.of(probabilities.max(0), right).right)


def test_no_pixels_and_no_best_temperature_give_none() -> None:
    empty = Likelihood.of(np.zeros((3, 0), np.uint8), np.zeros(0, np.int64))
    assert empty.temperature is None
    certain = np.array([[250, 0], [0, 250]], np.uint8)
    assert Likelihood.of(certain, np.array([0, 1])).temperature is None  # always right: the colder the better
