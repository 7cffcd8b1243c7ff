"""The minimum mapping unit: a slow reference on the whole map, any tiles, and GDAL's sieve where the rules agree."""

from __future__ import annotations

from collections import defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import sieve as gdal_sieve
from scipy import ndimage

from landweave.core.legend import NODATA
from landweave.core.sieve import ROUNDS, OpenSides, largest_halo, sieve


def reference(classes: np.ndarray, minimum: dict[int, int], sums: np.ndarray | None = None) -> np.ndarray:
    """The rules of the module, patch by patch on the whole map, with scipy's labels and dictionaries."""
    labels, codes, count = np.zeros(classes.shape, int), {}, 0
    for code in np.unique(classes):
        found, n = ndimage.label(classes == code)
        labels[found > 0] = found[found > 0] + count
        codes |= {count + 1 + number: int(code) for number in range(n)}
        count += n
    sizes = np.bincount(labels.ravel(), minlength=count + 1)
    small = {p for p, code in codes.items() if code != NODATA and sizes[p] < minimum.get(code, 0)}
    borders: dict[int, dict[int, int]] = defaultdict(lambda: defaultdict(int))
    for one, two in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        for a, b in zip(one.ravel().tolist(), two.ravel().tolist(), strict=True):
            if a != b:
                borders[a][b] += 1
                borders[b][a] += 1
    decided = {p: code for p, code in codes.items() if p not in small and code != NODATA}
    for _ in range(ROUNDS):
        new = {}
        for p in small - decided.keys():
            length: dict[int, int] = defaultdict(int)
            for other, n in borders[p].items():
                if other in decided:
                    length[decided[other]] += n
            if length:
                score = length if sums is None else {c: int(sums[c][labels == p].sum()) for c in length}
                new[p] = min(length, key=lambda c, s=score, n=length: (-s[c], -n[c], c))
        decided |= new
    table = np.array([0, *(decided.get(p, codes[p]) for p in range(1, count + 1))], np.uint8)
    return table[labels]


def noisy(seed: int, shape: tuple[int, int] = (40, 52)) -> np.ndarray:
    """Lumps with specks, snakes and holes without data."""
    rng = np.random.default_rng(seed)
    lumps = np.kron(rng.integers(0, 4, (8, 11)), np.ones((5, 5))).astype(np.uint8)[: shape[0], : shape[1]]
    specks = rng.random(shape) < rng.choice([0.02, 0.15, 0.4])
    lumps[specks] = rng.integers(0, 4, specks.sum())
    lumps[rng.random(shape) < 0.02] = NODATA
    lumps[7, 3:40] = 3
    return lumps


MINIMUM = {0: 3, 1: 9, 3: 45}


def tiled(classes: np.ndarray, minimum: dict[int, int], side: int, offset: int, sums: np.ndarray | None = None):
    """Tile by tile, with a halo that grows where pixels are uncertain; the largest halo that was needed."""
    result, largest = np.full_like(classes, 77), 0
    height, width = classes.shape
    for top in range(-offset, height, side):
        for left in range(-offset, width, side):
            rows, columns = slice(max(top, 0), top + side), slice(max(left, 0), left + side)
            halo = 1
            while True:
                y0, x0 = max(rows.start - halo, 0), max(columns.start - halo, 0)
                y1, x1 = min(rows.stop + halo, height), min(columns.stop + halo, width)
                sides = OpenSides(top=y0 > 0, left=x0 > 0, bottom=y1 < height, right=x1 < width)
                window = (slice(y0, y1), slice(x0, x1))
                core = (slice(rows.start - y0, rows.stop - y0), slice(columns.start - x0, columns.stop - x0))
                of = None if sums is None else patch_sums(sums[:, y0:y1, x0:x1])
                found = sieve(classes[window], minimum, sides=sides, patch_sums=of)
                if not found.uncertain[core].any():
                    break
                halo *= 2
                assert halo < 2 * largest_halo(minimum)
            result[rows, columns] = found.classes[core]
            largest = max(largest, halo)
    return result, largest


def patch_sums(sums: np.ndarray):
    """Probability summed over each patch, in one piece."""

    def over(numbers: np.ndarray, count: int) -> np.ndarray:
        inside = numbers >= 0
        rows = np.zeros((count, NODATA))
        for code, layer in enumerate(sums):
            rows[:, code] = np.bincount(numbers[inside], weights=layer[inside], minlength=count)
        return rows

    return over


@pytest.mark.parametrize("seed", range(12))
def test_a_whole_map_is_as_the_rules_say(seed: int) -> None:
    classes = noisy(seed)
    np.testing.assert_array_equal(sieve(classes, MINIMUM).classes, reference(classes, MINIMUM))


@settings(max_examples=25)
@given(seed=st.integers(0, 10_000), side=st.integers(3, 30), offset=st.integers(0, 29))
def test_any_tiles_at_any_offset_give_the_same_bits(seed: int, side: int, offset: int) -> None:
    classes = noisy(seed)
    whole = sieve(classes, MINIMUM).classes
    np.testing.assert_array_equal(tiled(classes, MINIMUM, side, offset % side)[0], whole)


@settings(max_examples=15)
@given(seed=st.integers(0, 10_000), side=st.integers(5, 30))
def test_probabilities_decide_the_same_in_any_tiles(seed: int, side: int) -> None:
    classes = noisy(seed)
    sums = np.random.default_rng(seed).integers(0, 251, (4, *classes.shape))
    whole = sieve(classes, MINIMUM, patch_sums=patch_sums(sums)).classes
    np.testing.assert_array_equal(whole, reference(classes, MINIMUM, sums))
    np.testing.assert_array_equal(tiled(classes, MINIMUM, side, 0, sums)[0], whole)


def test_a_halo_that_is_too_small_is_noticed() -> None:
    """A snake that leaves the window may be large enough to stay; so may be what decides its neighbour."""
    classes = np.zeros((20, 60), np.uint8)
    classes[9, 5:50] = 3
    window = classes[:, 30:40]
    sides = OpenSides(left=True, right=True)
    assert sieve(window, {3: 45}, sides=sides).uncertain[9].all()
    assert not sieve(window, {3: 45}, sides=sides).uncertain[:9].any()
    assert not sieve(window, {3: 10}, sides=sides).uncertain.any(), "ten pixels are enough: it stays"
    np.testing.assert_array_equal(sieve(classes, {3: 45}).classes, classes)
    assert (sieve(classes, {3: 46}).classes == 0).all()


def test_islands_are_absorbed_as_by_gdal() -> None:
    """Where each small patch lies inside one larger patch, every rule is the same."""
    rng = np.random.default_rng(1)
    classes = np.kron(rng.integers(0, 5, (6, 6)), np.ones((30, 30))).astype(np.uint8)
    for y in range(4, 176, 9):
        for x in range(4, 176, 9):
            inside = classes[y - 3 : y + 6, x - 3 : x + 6]
            if (inside == inside[0, 0]).all():
                classes[y : y + rng.integers(1, 4), x : x + rng.integers(1, 4)] = rng.integers(0, 5)
    ours = sieve(classes, dict.fromkeys(range(5), 12)).classes
    np.testing.assert_array_equal(ours, gdal_sieve(classes, 12))
    assert (ours != classes).sum() > 50


def test_the_longest_border_wins_and_ties_go_to_the_lowest_code() -> None:
    classes = np.array([[5, 5, 5, 5], [5, 9, 9, 7], [7, 7, 7, 7], [7, 7, 7, 7]], np.uint8)
    assert sieve(classes, {9: 3}).classes[1, 1] == 5, "5 and 7 share three edges each: the lowest code"
    classes[0, 2] = 7
    assert sieve(classes, {9: 3}).classes[1, 1] == 7


def test_a_class_keeps_its_own_unit() -> None:
    """A pool of four pixels stays where lawns of four do not."""
    classes = np.zeros((8, 12), np.uint8)
    classes[2:4, 2:4], classes[2:4, 8:10] = 2, 8
    assert np.unique(sieve(classes, {8: 5, 2: 4}).classes).tolist() == [0, 2]


def test_nodata_neither_takes_nor_gives() -> None:
    classes = np.full((6, 6), NODATA, np.uint8)
    classes[2, 2], classes[4:, :] = 1, 0
    found = sieve(classes, {0: 5, 1: 5, NODATA: 99}).classes
    np.testing.assert_array_equal(found, classes)


def test_patches_touch_along_edges_not_at_corners() -> None:
    classes = np.zeros((6, 6), np.uint8)
    classes[2, 2] = classes[3, 3] = 1
    assert not sieve(classes, {1: 2}).classes.any()


def test_what_lies_deep_among_small_patches_is_absorbed_from_outside_in() -> None:
    """Nested rings, each too small: the innermost is reached in as many rounds as there are rings."""
    classes = np.zeros((41, 41), np.uint8)
    for ring in range(6):
        classes[14 + ring : 27 - ring, 14 + ring : 27 - ring] = 1 + ring % 2
    found = sieve(classes, {1: 200, 2: 200}).classes
    assert not found.any()
