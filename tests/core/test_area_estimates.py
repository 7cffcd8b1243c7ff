"""The published worked example to its printed digits, and intervals that hold the truth as often as they say."""

import numpy as np
import pytest

from landweave.core.area_estimates import AreaEstimates, allocate, estimate
from landweave.core.errors import InputError

NAMES = ("deforestation", "forest gain", "stable forest", "stable non-forest")
PIXEL_HA = 30 * 30 / 10_000
EXAMPLE = AreaEstimates(
    strata=(1, 2, 3, 4),
    codes=(1, 2, 3, 4),
    counts=np.array([[66, 0, 5, 4], [0, 55, 8, 12], [1, 0, 153, 11], [2, 1, 9, 313]]),
    areas=np.array([200_000, 150_000, 3_200_000, 6_450_000]) * PIXEL_HA,
)
"""Olofsson et al. 2014, tables 8 and 9: counts by map (rows) and reference, pixels of the map."""


def test_areas_of_the_published_example() -> None:
    assert np.round(EXAMPLE.estimated).tolist() == [21_158, 11_686, 285_770, 581_386]
    assert np.round(EXAMPLE.margins).tolist() == [6_158, 3_756, 15_510, 16_282]
    assert round(EXAMPLE.estimated[0] / PIXEL_HA) == 235_086
    assert round(EXAMPLE.margins[0] / PIXEL_HA) == 68_418


def test_accuracies_of_the_published_example() -> None:
    assert np.round(EXAMPLE.accuracy, 2).tolist() == [0.95, 0.02]
    users, producers = EXAMPLE.users_accuracy, EXAMPLE.producers_accuracy
    assert np.round(users[0], 2).tolist() == [0.88, 0.73, 0.93, 0.96]
    assert np.round(users[1], 2).tolist() == [0.07, 0.10, 0.04, 0.02]
    assert np.round(producers[0], 2).tolist() == [0.75, 0.85, 0.93, 0.96]


def test_pairs_of_a_sample_give_the_same() -> None:
    rows, columns = np.nonzero(EXAMPLE.counts)
    pairs = [(r + 1, c + 1) for r, c in zip(rows, columns, strict=True) for _ in range(EXAMPLE.counts[r, c])]
    found = estimate(dict(zip(EXAMPLE.strata, EXAMPLE.areas, strict=True)), pairs)
    np.testing.assert_array_equal(found.counts, EXAMPLE.counts)
    np.testing.assert_allclose(found.margins, EXAMPLE.margins)


def test_intervals_hold_the_truth_in_95_percent_of_1000_samples() -> None:
    rng = np.random.default_rng(0)
    shares = np.array([[0.8, 0.1, 0.1], [0.05, 0.9, 0.05], [0.02, 0.08, 0.9]])
    pixels = np.array([20_000, 80_000, 900_000])
    truth = pixels @ shares
    inside, inside_accuracy = np.zeros(3), 0
    for _ in range(1000):
        counts = np.array([rng.multinomial(size, row) for size, row in zip((80, 150, 400), shares, strict=True)])
        found = AreaEstimates(strata=(0, 1, 2), codes=(0, 1, 2), counts=counts, areas=pixels.astype(float))
        inside += np.abs(found.estimated - truth) <= found.margins
        value, margin = found.accuracy
        inside_accuracy += abs(value - pixels @ np.diag(shares) / pixels.sum()) <= margin
    # 1,000 draws of a share of 0.95 stay within 0.02 of it in more than 99 of 100 cases; counts are coarse
    assert (np.abs(inside / 1000 - 0.95) < 0.025).all(), inside
    assert abs(inside_accuracy / 1000 - 0.95) < 0.025


def test_standard_errors_are_the_spread_over_many_samples() -> None:
    rng = np.random.default_rng(1)
    shares = EXAMPLE.counts / EXAMPLE.counts.sum(1, keepdims=True)
    drawn = []
    for _ in range(1500):
        counts = np.array([rng.multinomial(n, row) for n, row in zip((750, 750, 1650, 3250), shares, strict=True)])
        drawn.append(AreaEstimates(strata=(1, 2, 3, 4), codes=(1, 2, 3, 4), counts=counts, areas=EXAMPLE.areas))
    for name in ("users_accuracy", "producers_accuracy"):
        spread = np.std([getattr(each, name)[0] for each in drawn], axis=0)
        stated = np.mean([getattr(each, name)[1] for each in drawn], axis=0) / 1.96
        np.testing.assert_allclose(stated, spread, rtol=0.1)
    spread = np.std([each.estimated for each in drawn], axis=0)
    np.testing.assert_allclose(np.mean([each.standard_errors for each in drawn], axis=0), spread, rtol=0.1)


def test_a_class_that_the_map_lacks_has_an_area_too() -> None:
    found = estimate({0: 10.0, 1: 30.0}, [(0, 0), (0, 7), (1, 1), (1, 1)])
    assert found.codes == (0, 1, 7)
    assert found.estimated.tolist() == [5.0, 30.0, 5.0]
    assert found.estimated.sum() == pytest.approx(40)


def test_strata_with_too_few_units_and_foreign_ones_are_refused() -> None:
    with pytest.raises(InputError, match=r"Strata 1 \(1 of 2\) have fewer than 2 units"):
        estimate({0: 1.0, 1: 1.0}, [(0, 0), (0, 0), (1, 1)])
    with pytest.raises(InputError, match=r"strata \[5\], and the strata are \[0\]"):
        estimate({0: 1.0}, [(0, 0), (5, 0)])


def test_units_are_allocated_by_area_with_a_minimum() -> None:
    assert sum(allocate({0: 10_000, 1: 20_000, 2: 970_000}, 1000, 50).values()) == 1000
    assert allocate({0: 7, 1: 1_000_000}, 300, 50) == {0: 7, 1: 250}


def test_a_stratum_that_is_known_whole_has_no_error_even_if_it_is_one_pixel() -> None:
    """A class of one pixel is one unit: it adds its area to what it is, and nothing to the intervals."""
    pairs = [(0, 0)] * 40 + [(0, 1)] * 10 + [(1, 0)]
    found = estimate({0: 100.0, 1: 1.0}, pairs, {0: 100, 1: 1})
    assert found.estimated.tolist() == pytest.approx([81, 20])
    alone = estimate({0: 100.0}, pairs[:-1], {0: 100})
    assert found.standard_errors.tolist() == pytest.approx(alone.standard_errors.tolist())
    assert np.isfinite(found.accuracy).all()
    assert found.users_accuracy[1][1] == 0
    with pytest.raises(InputError, match=r"1 \(1 of 2\)"):
        estimate({0: 100.0, 1: 2.0}, pairs, {0: 100, 1: 2})
