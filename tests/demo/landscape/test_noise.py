"""Noise has the mean and deviation that its docstring states."""

from __future__ import annotations

import numpy as np
import pytest

from landweave_demo.landscape.noise import interpolate_spline, spline_noise


def test_a_constant_is_interpolated_to_a_constant() -> None:
    assert np.allclose(interpolate_spline(np.full((13, 13), 3, np.float32), (100, 90), 10), 3)


def test_noise_has_mean_0_and_deviation_1() -> None:
    noise = spline_noise(np.random.default_rng(0), (600, 500), 4)
    assert noise.shape == (600, 500)
    assert abs(float(noise.mean())) < 0.05
    assert float(noise.std()) == pytest.approx(1, abs=0.05)
