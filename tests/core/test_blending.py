"""Laws of blending, beside an independent float64 blend of the whole area."""

from collections.abc import Callable
from typing import Any
from unittest.mock import patch

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from landweave.core import blending as blending_module
from landweave.core.blending import (
    Blend,
    Blending,
    Logits,
    RowAccumulator,
    argmax_classes,
    coarsen,
    drop_untrained,
    profile,
)
from landweave.core.errors import ConfigError
from landweave.core.lattice import Extent, Lattice, Span

blends = st.sampled_from(list(Blend))
lattices = st.integers(2, 24).flatmap(
    lambda window: st.builds(Lattice, window=st.just(window), stride=st.integers(1, window))
)
spans = st.builds(lambda start, size: Span(start, start + size), st.integers(-60, 60), st.integers(1, 50))


@given(lattices, blends, spans)
def test_summed_weights_are_positive_and_true(lattice: Lattice, blend: Blend, span: Span) -> None:
    blending = Blending(lattice, blend)
    sums = np.zeros(span.size)
    for start in lattice.starts(span):
        for place, weight in enumerate(profile(blend, lattice.window, lattice.overlap)):
            if span.start <= start + place < span.stop:
                sums[start + place - span.start] += float(weight)
    assert (blending.summed(span) > 0).all()
    np.testing.assert_allclose(blending.summed(span), sums, rtol=1e-6)


@given(lattices, blends)
def test_support_is_where_weights_are_positive(lattice: Lattice, blend: Blend) -> None:
    blending = Blending(lattice, blend)
    inside = np.zeros(lattice.window, bool)
    inside[blending.support.start : blending.support.stop] = True
    assert ((blending.weights > 0) == inside).all()


@pytest.mark.parametrize("blend", [Blend.LINEAR, Blend.COSINE])
@pytest.mark.parametrize("overlap", [2, 5, 16])
def test_ramps_of_two_neighbours_sum_to_one(blend: Blend, overlap: int) -> None:
    weights = profile(blend, 32, overlap)
    np.testing.assert_allclose(weights[:overlap] + weights[-overlap:], 1, atol=1e-6)
    np.testing.assert_array_equal(weights, weights[::-1])


def test_gaussian_falls_by_its_sigma() -> None:
    weights = profile(Blend.GAUSSIAN, 512, 128).astype(float)
    one_sigma = np.interp(256 + 64, np.arange(512) + 0.5, weights)
    assert one_sigma == pytest.approx(np.exp(-0.5), rel=1e-3)


def test_a_profile_without_weight_somewhere_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("landweave.core.blending.profile", lambda *_: np.zeros(4, np.float32))
    with pytest.raises(ConfigError, match="without weight"):
        Blending(Lattice(window=4, stride=4), Blend.COSINE)


Make = Callable[[np.ndarray], Any]
"""From probabilities to what is added."""


def _scores(window: Extent, classes: int = 3) -> np.ndarray:
    rng = np.random.default_rng([window.y.start + 500, window.x.start + 500])
    raw = rng.random((classes, *window.shape), np.float32)
    return raw / raw.sum(0)


def _interleaved(probabilities: np.ndarray) -> Logits:
    """Logits of these probabilities, the classes of a pixel side by side, as of a channels-last network."""
    return Logits(np.log(probabilities).transpose(1, 2, 0).copy().transpose(2, 0, 1))


def _by_threads(probabilities: np.ndarray) -> Logits:
    """Logits whose rows are added by more threads than some parts of a window have rows."""
    return Logits(np.log(probabilities), threads=3)


makes = st.sampled_from([np.asarray, _interleaved, _by_threads])


def _whole(blending: Blending, extent: Extent) -> np.ndarray:
    """Blend over the whole extent in float64, with a padded canvas and no bands."""
    lattice = blending.lattice
    read = lattice.read_extent(extent)
    sums, total = np.zeros((3, *read.shape)), np.zeros(read.shape)
    weights = np.outer(blending.weights, blending.weights).astype(float)
    for window in lattice.windows(extent):
        rows, columns = window.slices_in(read)
        sums[:, rows, columns] += _scores(window) * weights
        total[rows, columns] += weights
    rows, columns = extent.slices_in(read)
    return sums[:, rows, columns] / total[rows, columns]


def _banded(blending: Blending, extent: Extent, cell: int = 1, make: Make = np.asarray) -> np.ndarray:
    band = RowAccumulator(blending, extent, cell)
    top, done = extent.y.start, []
    for window in blending.lattice.windows(extent, blending.support):
        stop = max(top, min(window.y.start + blending.support.start, extent.y.stop)) // cell * cell
        if stop > top:
            done += band.finish(stop)
            top = stop
        band.add(window, make(_scores(window)))
    done += band.finish(extent.y.stop)
    return np.concatenate([strip for _, strip in done], axis=1)


@settings(deadline=None, max_examples=60)
@given(lattices, blends, spans, spans, makes)
def test_bands_equal_an_independent_blend(lattice: Lattice, blend: Blend, y: Span, x: Span, make: Make) -> None:
    blending, extent = Blending(lattice, blend), Extent(y, x)
    np.testing.assert_allclose(_banded(blending, extent, make=make), _whole(blending, extent), rtol=2e-6, atol=1e-7)


@settings(deadline=None, max_examples=60)
@given(lattices, blends, spans, spans, makes, st.data())
def test_bits_do_not_depend_on_the_block(
    lattice: Lattice, blend: Blend, y: Span, x: Span, make: Make, data: st.DataObject
) -> None:
    blending, extent = Blending(lattice, blend), Extent(y, x)
    cut = data.draw(st.integers(y.start, y.stop - 1)), data.draw(st.integers(x.start, x.stop - 1))
    part = Extent(Span(cut[0], y.stop), Span(cut[1], x.stop))
    rows, columns = part.slices_in(extent)
    np.testing.assert_array_equal(
        _banded(blending, part, make=make), _banded(blending, extent, make=make)[:, rows, columns]
    )


@settings(deadline=None, max_examples=60)
@given(lattices, blends, spans, spans)
def test_whole_tensors_as_a_device_adds_them_have_the_bits_of_planes(
    lattice: Lattice, blend: Blend, y: Span, x: Span
) -> None:
    blending, extent = Blending(lattice, blend), Extent(y, x)
    larger = patch.multiple(blending_module, _is_host=lambda array: False, DEVICE_PART_PIXELS=300)
    with patch.object(blending_module, "PART_PIXELS", 70):
        planes = _banded(blending, extent)
        with larger:
            np.testing.assert_array_equal(_banded(blending, extent, make=torch.from_numpy), planes)


@pytest.mark.parametrize("cell", [2, 5])
def test_rows_may_wait_for_whole_cells(cell: int) -> None:
    blending = Blending(Lattice(window=12, stride=7), Blend.COSINE)
    extent = Extent.of((-20, 30), (10, 40))
    np.testing.assert_array_equal(_banded(blending, extent, cell), _banded(blending, extent))


def test_a_tie_goes_to_the_lowest_class() -> None:
    probabilities = np.array([0.2, 0.4, 0.4], np.float32)[:, None, None] * np.ones((1, 2, 2), np.float32)
    channel, best = argmax_classes(probabilities, (True, True, True))
    assert (channel == 1).all()
    assert (best == np.float32(0.4)).all()
    assert channel.dtype == np.uint8


def test_untrained_classes_are_dropped_before_the_decision() -> None:
    probabilities = np.array([0.3, 0.1, 0.6], np.float32)[:, None, None]
    kept = drop_untrained(probabilities, (True, True, False))
    np.testing.assert_allclose(kept.ravel(), [0.75, 0.25, 0], rtol=1e-6)
    channel, best = argmax_classes(kept, (True, True, False))
    assert channel.item() == 0
    assert best.item() == pytest.approx(0.75)


def test_a_pixel_given_wholly_to_untrained_classes_has_no_confidence() -> None:
    probabilities = np.array([0, 0, 1], np.float32)[:, None, None]
    channel, best = argmax_classes(drop_untrained(probabilities, (True, True, False)), (True, True, False))
    assert (channel.item(), best.item()) == (0, 0)


def test_what_trained_classes_have_left_is_renormalised_however_little_it_is() -> None:
    """Without a warning of numpy's: one over 1e-40 is more than float32 holds."""
    probabilities = np.array([1e-40, 0, 1], np.float32)[:, None, None]
    with np.errstate(all="raise", under="ignore"):
        kept = drop_untrained(probabilities, (True, True, False))
    np.testing.assert_array_equal(kept.ravel(), [1, 0, 0])


@given(st.integers(1, 5), st.integers(1, 4), st.integers(1, 4))
def test_cells_are_means(factor: int, rows: int, columns: int) -> None:
    values = np.random.default_rng(0).random((2, rows * factor, columns * factor), np.float32)
    cells = coarsen(values, factor)
    for row in range(rows):
        for column in range(columns):
            part = values[:, row * factor : (row + 1) * factor, column * factor : (column + 1) * factor]
            np.testing.assert_allclose(cells[:, row, column], part.mean((1, 2)), rtol=1e-6)
