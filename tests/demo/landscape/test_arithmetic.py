"""Functions of plain arithmetic agree with those of NumPy and SciPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
from scipy import ndimage

from landweave_demo.landscape.arithmetic import blurred, cosine, direction, dot, exponential, norm, sine


def test_sine_and_cosine_agree_with_numpy() -> None:
    angles = np.linspace(-300, 300, 100_001)
    np.testing.assert_allclose(sine(angles), np.sin(angles), atol=1e-7)
    np.testing.assert_allclose(cosine(angles), np.cos(angles), atol=1e-7)
    assert sine(angles.astype(np.float32)).dtype == np.float32
    assert direction(2.0) == pytest.approx((math.cos(2.0), math.sin(2.0)), abs=1e-7)


def test_the_exponential_agrees_with_numpy() -> None:
    exponents = np.linspace(-10, 10, 10_001)
    np.testing.assert_allclose(exponential(exponents), np.exp(exponents), rtol=1e-8)
    np.testing.assert_allclose(exponential(np.array([-800.0, -40.0, 40.0])), np.exp([-800.0, -40.0, 40.0]), rtol=1e-5)


def test_products_and_lengths_are_those_of_vectors() -> None:
    vectors = np.array([[3.0, 4.0], [-1.0, 0.0]])
    assert norm(vectors).tolist() == [5.0, 1.0]
    assert dot(vectors, np.array([2.0, -1.0])).tolist() == [2.0, -2.0]


def test_a_blur_is_a_gaussian() -> None:
    image = np.random.default_rng(0).normal(100, 20, (40, 50)).astype(np.float32)
    np.testing.assert_allclose(blurred(image, 0.9), ndimage.gaussian_filter(image, 0.9, radius=2), rtol=1e-5)
