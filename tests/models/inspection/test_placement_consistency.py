"""Two placements of a window: models that forget, keep or invent their place."""

import numpy as np
import pytest

from landweave.core.errors import InputError
from landweave.core.lattice import Extent, Lattice
from landweave.core.protocols import InputBatch
from landweave.models.inspection.placement_consistency import PlacementConsistency, compare_placements
from tests.helpers.memory import one_hot

WINDOW = 64
LATTICE = Lattice(window=WINDOW, stride=48, unit=4)
GROUND = np.random.default_rng(5).integers(0, 4, (1, 300, 200), dtype=np.uint8)
EXTENT = Extent.of((-40, 260), (100, 300))


def read(extent):
    assert EXTENT.contains(extent)
    rows, columns = extent.slices_in(EXTENT)
    values = GROUND[:, rows, columns][None]
    return {"AERIAL_RGBI": InputBatch(values=values, valid=np.ones((1, *extent.shape), bool))}


def most(probabilities):
    """The most probable class."""
    return probabilities.argmax(0)


class Bordered:
    """Answers the ground, but closer than ``margin`` to its edge the place in the window."""

    def __init__(self, margin):
        self.margin = margin
        self.sizes = set()

    def predict(self, batch):
        values = batch["AERIAL_RGBI"].values[:, 0]
        self.sizes.add(len(values))
        ramp = np.minimum(np.arange(WINDOW), np.arange(WINDOW)[::-1])
        border = np.minimum.outer(ramp, ramp) < self.margin
        place = (np.arange(WINDOW)[:, None] * 7 + np.arange(WINDOW)) // 3 % 4
        return one_hot(np.where(border, place, values), 4)


def compared(predictor, **changes):
    options = {"lattice": LATTICE, "argmax": most, "batch_size": 3, "pairs": 8}
    return compare_placements(predictor, read, EXTENT, **(options | changes))


def test_a_model_that_forgets_its_place_needs_no_overlap():
    predictor = Bordered(0)

    found = compared(predictor)

    assert found.overlap == 0
    assert sum(found.differing) == 0
    assert sum(found.pixels) > 10_000
    assert predictor.sizes == {3}


def test_the_overlap_is_twice_the_margin_that_a_model_spoils():
    found = compared(Bordered(10))

    assert found.overlap == 20
    spoilt = [share for start, share in zip(found.distances, found.disagreement, strict=True) if start < 10]
    kept = [share for start, share in zip(found.distances, found.disagreement, strict=True) if 10 <= start < 28]
    assert min(spoilt) > 0.3
    assert max(kept) == 0


def test_a_model_that_knows_its_place_has_no_overlap():
    found = compared(Bordered(WINDOW))

    assert found.overlap is None
    assert found.rows[-1][1].startswith("none")


def test_pixels_not_measured_are_not_compared():
    def blind(extent):
        (name, batch), *_ = read(extent).items()
        return {name: InputBatch(values=batch.values, valid=np.zeros_like(batch.valid))}

    found = compare_placements(Bordered(WINDOW), blind, EXTENT, lattice=LATTICE, argmax=most, batch_size=2, pairs=2)

    assert sum(found.pixels) == 0
    assert found.overlap is None


def test_the_same_pairs_are_drawn_each_time_and_lie_on_the_unit():
    seen = []

    def noted(extent):
        seen.append(extent)
        return read(extent)

    for _ in range(2):
        compare_placements(Bordered(0), noted, EXTENT, lattice=LATTICE, argmax=most, batch_size=2, pairs=6)

    assert seen[:12] == seen[12:]
    assert all(start % 4 == 0 for each in seen for start in (each.y.start, each.x.start))
    for first, second in zip(seen[0:12:2], seen[1:12:2], strict=True):
        assert 8 <= abs(first.y.start - second.y.start) <= 32
        assert 8 <= abs(first.x.start - second.x.start) <= 32


def test_imagery_without_room_is_refused_with_its_size():
    with pytest.raises(InputError, match=r"64 x 100 base pixels.*need 72"):
        compare_placements(
            Bordered(0),
            read,
            Extent.of((0, 64), (100, 200)),
            lattice=LATTICE,
            argmax=most,
            batch_size=2,
        )


def test_a_few_pixels_decide_nothing():
    found = PlacementConsistency(
        window=64, unit=1, distances=(0, 8, 16), pixels=(5000, 5000, 10), differing=(500, 0, 10)
    )

    assert found.overlap == 16
