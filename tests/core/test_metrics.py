"""Scores against counting by hand, and seams that are there or not."""

import numpy as np
import pytest

from landweave.core.lattice import Blocks, Extent, Lattice
from landweave.core.metrics import SEAM_HALO, score, seams

EXTENT = Extent.of((-40, 80), (13, 173))


def test_scores_equal_counting_by_hand() -> None:
    truth = np.array([[0, 0, 1, 1], [5, 5, 255, 9]], np.uint8)
    made = np.array([[0, 1, 1, 1], [5, 0, 0, 5]], np.uint8)
    scores = score(truth, made, (0, 1, 5))
    assert scores.confusion.tolist() == [[1, 1, 0], [0, 2, 0], [1, 0, 1]]
    assert scores.accuracy == pytest.approx(4 / 6)
    assert scores.iou.tolist() == pytest.approx([1 / 3, 2 / 3, 1 / 2])
    assert scores.mean_iou == pytest.approx(0.5)


def test_an_absent_class_counts_zero_in_the_mean() -> None:
    scores = score(np.zeros(4, np.uint8), np.zeros(4, np.uint8), (0, 7))
    assert scores.iou.tolist() == [1, 0]
    assert scores.mean_iou == 0.5


def test_scores_add_up() -> None:
    rng = np.random.default_rng(0)
    truth, made = rng.integers(0, 4, (2, 30), np.uint8)
    parts = score(truth[:9], made[:9], range(4)) + score(truth[9:], made[9:], range(4))
    np.testing.assert_array_equal(parts.confusion, score(truth, made, range(4)).confusion)


def test_a_map_drawn_without_windows_has_no_seams() -> None:
    classes = np.random.default_rng(1).integers(0, 3, EXTENT.shape, np.uint8)
    lattice, blocks = Lattice(window=32, stride=24), Blocks.covering(EXTENT, 48)
    assert seams(classes, EXTENT, lattice, blocks).score == pytest.approx(1, abs=0.03)


@pytest.mark.parametrize("axis", [0, 1])
def test_a_step_at_every_window_shows(axis: int) -> None:
    lattice, blocks = Lattice(window=24, stride=24), Blocks.covering(EXTENT, 48)
    places = (np.arange(EXTENT.y.start, EXTENT.y.stop)[:, None], np.arange(EXTENT.x.start, EXTENT.x.stop)[None, :])
    steps = np.broadcast_to(places[axis] // 24 % 2, EXTENT.shape).astype(np.uint8)
    rare = np.random.default_rng(2).random(EXTENT.shape) < 0.01
    found = seams(np.where(rare, 1 - steps, steps).astype(np.uint8), EXTENT, lattice, blocks)
    assert found.score > 10


def test_pairs_with_nodata_are_left_out() -> None:
    classes = np.full(EXTENT.shape, 255, np.uint8)
    classes[::2] = 1
    found = seams(classes, EXTENT, Lattice(window=24, stride=24), Blocks.covering(EXTENT, 48))
    assert found.changes == found.expected == 0
    assert 0 < found.pairs < (EXTENT.shape[1] - 1) * 60


def test_edges_of_the_ground_along_a_border_are_no_seams() -> None:
    lattice, blocks = Lattice(window=48, stride=24), Blocks.covering(EXTENT, 48)
    rows = np.arange(EXTENT.y.start, EXTENT.y.stop)[:, None]
    rough = np.random.default_rng(3).integers(-1, 2, EXTENT.shape)
    truth = np.broadcast_to((rows // 24 % 2) * 2, EXTENT.shape).astype(np.uint8)
    drawn = ((rows + rough) // 24 % 2 * 2).astype(np.uint8)
    other = ((rows + 9) // 31 % 2).astype(np.uint8)  # edges elsewhere, drawn as roughly
    truth, drawn = truth + other, drawn + ((rows + 9 + rough) // 31 % 2).astype(np.uint8)
    assert seams(drawn, EXTENT, lattice, blocks).score > 3
    assert seams(drawn, EXTENT, lattice, blocks, truth=truth).score == pytest.approx(1, abs=0.25)


def test_a_seam_shows_through_the_edges_of_the_ground() -> None:
    lattice, blocks = Lattice(window=24, stride=24), Blocks.covering(EXTENT, 48)
    truth = np.random.default_rng(4).integers(0, 2, EXTENT.shape, np.uint8).repeat(9, 0)[: EXTENT.shape[0]]
    steps = np.arange(EXTENT.y.start, EXTENT.y.stop)[:, None] // 24 % 2
    found = seams((truth + 2 * steps).astype(np.uint8), EXTENT, lattice, blocks, truth=truth)
    assert found.score > 1.5


def test_precision_recall_and_f1_are_those_of_scikit_learn() -> None:
    metrics = pytest.importorskip("sklearn.metrics")
    truth, made = np.random.default_rng(5).integers(0, 6, (2, 4000), np.uint8)
    made[made == 4] = 1  # a class that is never mapped
    scores = score(truth, made, range(6))
    known = metrics.precision_recall_fscore_support(truth, made, labels=range(6), zero_division=0)
    for ours, theirs in zip((scores.precision, scores.recall, scores.f1), known[:3], strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-12)


def test_seams_of_parts_add_up_to_those_of_the_whole() -> None:
    lattice, blocks = Lattice(window=32, stride=24), Blocks.covering(EXTENT, 48)
    rng = np.random.default_rng(6)
    truth = rng.integers(0, 2, (7, 9), np.uint8).repeat(20, 0).repeat(20, 1)[: EXTENT.shape[0], : EXTENT.shape[1]]
    classes = np.where(rng.random(EXTENT.shape) < 0.1, 1 - truth, truth).astype(np.uint8)
    classes[:5], truth[:, -9:] = 255, 255
    whole = seams(classes, EXTENT, lattice, blocks, truth=truth)
    total = None
    for part in (EXTENT.intersect(Blocks.covering(EXTENT, 40)[index]) for index in Blocks.covering(EXTENT, 40)):
        read = part.grow(SEAM_HALO).intersect(EXTENT)
        pieces = (each[read.slices_in(EXTENT)] for each in (classes, truth))
        found = seams(next(pieces), read, lattice, blocks, truth=next(pieces), own=part)
        total = found if total is None else total + found
    assert total is not None
    np.testing.assert_array_equal(total.across, whole.across)
    np.testing.assert_array_equal(total.inside, whole.inside)
