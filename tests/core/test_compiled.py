"""The compiled softmax is numpy's, operation by operation: nothing is fused, nothing depends on a pixel's place."""

import numpy as np
import pytest

from landweave.core.blending import Logits
from landweave.core.compiled import add_softmax


def drawn(classes: int, height: int, width: int) -> np.ndarray:
    rng = np.random.default_rng(classes)
    values = rng.normal(0, 8, (classes, height, width)).astype(np.float32)
    values[:, 0, :3] = [[0], [200], [-300]] * (classes // 3) + [[1]] * (classes % 3)
    return values


def by_hand(logits: np.ndarray) -> np.ndarray:
    """The same operations in numpy, each rounded to float32 before the next."""
    f = np.float32
    value = np.maximum(logits - logits.max(0), f(-88))
    whole = np.floor(value * f(1.44269504088896341) + f(0.5))
    value = (value - whole * f(0.693359375)) - whole * f(-2.12194440e-4)
    series = np.full_like(value, f(1.9875691500e-4))
    for term in (1.3981999507e-3, 8.3334519073e-3, 4.1665795894e-2, 1.6666665459e-1, 0.5):
        series = series * value + f(term)
    power = ((whole.astype(np.int32) + 127) << 23).view(np.float32)
    exponential = ((series * (value * value) + value) + f(1)) * power
    total = np.zeros(logits.shape[1:], np.float32)
    for plane in exponential:
        total += plane
    return exponential * (f(1) / total)


@pytest.mark.parametrize("classes", [3, 19])
def test_every_operation_is_rounded_as_numpy_does(classes: int) -> None:
    logits = drawn(classes, 9, 201)
    found = np.asarray(Logits(logits))
    np.testing.assert_array_equal(found, by_hand(logits))
    exact = np.exp((logits - logits.max(0)).astype(np.float64))
    np.testing.assert_allclose(found, exact / exact.sum(0), rtol=1e-6, atol=1e-30)


@pytest.mark.parametrize("order", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_a_part_has_the_bits_of_the_whole_in_any_layout(order: tuple[int, int, int]) -> None:
    logits, weights = drawn(7, 40, 300), np.random.default_rng(1).random(300, np.float32)
    laid = logits.transpose(order).copy().transpose(np.argsort(order))
    whole = np.full((7, 50, 310), 0.25, np.float32)
    add_softmax(logits, weights[:40], weights, whole, 4, 5)
    for rows, columns in ((slice(3, 40), slice(1, 2)), (slice(0, 7), slice(130, 299)), (slice(39, 40), slice(0, 300))):
        part = np.full((7, 40, 300), 0.25, np.float32)
        add_softmax(laid[:, rows, columns], weights[rows], weights[columns], part, rows.start, columns.start)
        np.testing.assert_array_equal(
            part[:, rows, columns], whole[:, 4 + rows.start : 4 + rows.stop, 5 + columns.start : 5 + columns.stop]
        )
    assert (whole[:, :4] == 0.25).all()
    assert (whole[:, :, 305:] == 0.25).all()


def test_windows_of_a_batch_are_taken_one_by_one() -> None:
    batch = np.stack([drawn(5, 12, 16), drawn(5, 12, 16)[:, ::-1]])
    found = Logits(batch)
    assert (found.shape, len(found)) == ((2, 5, 12, 16), 2)
    np.testing.assert_array_equal(np.asarray(found)[1], np.asarray(found[1]))
