"""Clean-up and crosswalks of a stored map: the same bits whatever the dalles, and by probability where it is known."""

from __future__ import annotations

from itertools import product
from pathlib import Path

import numpy as np
import pytest

from landweave.core.crosswalk import load_crosswalk
from landweave.core.lattice import Extent
from landweave.core.legend import NODATA
from landweave.core.majority import majority
from landweave.core.sieve import sieve
from landweave.publishing.cleanup import Cleanup
from landweave.publishing.reader import PublishedPixels
from landweave.store.maps.store import MapStore
from tests.helpers.marks import mostly_slow
from tests.publishing.conftest import COSIA, finished_map
from tests.publishing.test_run import mosaic, published

MINIMUM = tuple((code, 40) for code in range(19))


def specks(shape: tuple[int, int], seed: int = 0) -> np.ndarray:
    """Lumps of seven pixels, specks on them, and a gap."""
    rng = np.random.default_rng(seed)
    lumps = np.kron(rng.integers(0, 15, (-(-shape[0] // 7), -(-shape[1] // 7))), np.ones((7, 7)))
    values = lumps[: shape[0], : shape[1]].astype(np.uint8)
    here = rng.random(shape) < 0.1
    values[here] = rng.integers(0, 15, here.sum())
    values[40:50, 30:80] = NODATA
    return values


@pytest.fixture(scope="module")
def stored(tmp_path_factory: pytest.TempPathFactory) -> tuple[MapStore, dict[str, np.ndarray]]:
    """A map with probabilities whose most probable class is that which it shows."""
    shape, rng = (192, 128), np.random.default_rng(3)
    classes = specks(shape)
    probability = rng.integers(0, 12, (19, *shape)).astype(np.uint8)
    probability[15:] = 0
    rows, columns = np.nonzero(classes != NODATA)
    probability[classes[rows, columns], rows, columns] = rng.integers(12, 60, len(rows))
    confidence = probability.max(axis=0)
    probability[:, classes == NODATA] = confidence[classes == NODATA] = NODATA
    arrays = {"landcover": classes, "confidence": confidence, "probability": probability}
    return finished_map(tmp_path_factory.mktemp("map") / "map.zarr", arrays, probability=True)


def in_tiles(pixels: PublishedPixels, side: int, offset: int) -> dict[str, np.ndarray]:
    """The published map read tile by tile."""
    outer = pixels.map.grids[0].extent
    whole = {name: np.zeros(outer.shape, np.uint8) for name in pixels.arrays}
    for top in range(outer.y.start - offset, outer.y.stop, side):
        for left in range(outer.x.start - offset, outer.x.stop, side):
            extent = Extent.of((top, top + side), (left, left + side))
            inside = extent.intersect(outer)
            for name, values in pixels.read(extent).items():
                whole[name][inside.slices_in(outer)] = values[inside.slices_in(extent)]
    return whole


CLEANUPS = {
    "unit": Cleanup(minimum=MINIMUM),
    "unit and majority": Cleanup(minimum=MINIMUM, majority=5),
    "majority": Cleanup(majority=3),
}
CROSSWALK = "cosia-to-ocsge-cover"


@pytest.mark.parametrize(
    ("crosswalk", "how"),
    mostly_slow(product((None, CROSSWALK), CLEANUPS), fast={(CROSSWALK, "unit and majority")}),
)
def test_any_dalles_at_any_offset_give_the_same_bits(stored, how: str, crosswalk: str | None) -> None:
    found = load_crosswalk(crosswalk) if crosswalk else None
    pixels = PublishedPixels(map=stored[0], crosswalk=found, cleanup=CLEANUPS[how])
    whole = pixels.read(stored[0].grids[0].extent)
    for side, offset in ((53, 0), (64, 31)):
        tiled = in_tiles(pixels, side, offset)
        for name, values in whole.items():
            np.testing.assert_array_equal(tiled[name], values, err_msg=f"{name}, {side} + {offset}")
    assert (whole["landcover"] != NODATA).sum() == (stored[1]["landcover"] != NODATA).sum()


def test_without_probabilities_the_longest_border_decides(tmp_path: Path) -> None:
    classes = specks((192, 128))
    confidence = np.where(classes == NODATA, NODATA, 100).astype(np.uint8)
    store, _ = finished_map(tmp_path / "map.zarr", {"landcover": classes, "confidence": confidence})
    found = PublishedPixels(map=store, cleanup=Cleanup(minimum=MINIMUM, majority=3)).read(store.grids[0].extent)
    expected = sieve(majority(classes, 3), dict(MINIMUM)).classes
    np.testing.assert_array_equal(found["landcover"], expected)
    changed = expected != classes
    assert 0.02 < changed.mean() < 0.9
    np.testing.assert_array_equal(found["confidence"], np.where(changed, NODATA, confidence))


def test_with_probabilities_the_most_probable_neighbour_takes_a_patch(tmp_path: Path) -> None:
    """A pool between a lawn (longer border) and a road (more probable): it becomes road."""
    classes = np.full((192, 128), 8, np.uint8)
    classes[:, 64:] = 3
    classes[90:93, 61:65] = 2
    probability = np.zeros((19, *classes.shape), np.uint8)
    probability[8], probability[3] = 60, 70
    confidence = np.full(classes.shape, 99, np.uint8)
    arrays = {"landcover": classes, "confidence": confidence, "probability": probability}
    store, _ = finished_map(tmp_path / "map.zarr", arrays, probability=True)
    cleanup = Cleanup(minimum=((2, 20),))
    found = PublishedPixels(map=store, cleanup=cleanup).read(store.grids[0].extent)
    assert (found["landcover"][90:93, 61:65] == 3).all()
    assert (found["confidence"][90:93, 61:65] == 70).all()
    assert (sieve(classes, {2: 20}).classes[90:93, 61:65] == 8).all(), "by its border it would be lawn"
    assert (np.delete(found["confidence"], slice(90, 93), axis=0) == 99).all()


def test_a_crosswalk_sums_probabilities_before_the_class_is_chosen(tmp_path: Path) -> None:
    """Water of 0.4 among three kinds of greenery of 0.2: by labels water, by what it is herbaceous."""
    classes = np.full((192, 128), 6, np.uint8)
    probability = np.zeros((19, *classes.shape), np.uint8)
    probability[6], probability[8], probability[9], probability[10] = 100, 50, 50, 50
    arrays = {"landcover": classes, "confidence": np.full(classes.shape, 100, np.uint8), "probability": probability}
    for name, is_kept in (("labels", False), ("summed", True)):
        kept = arrays if is_kept else {key: arrays[key] for key in ("landcover", "confidence")}
        store, _ = finished_map(tmp_path / f"{name}.zarr", kept, probability=is_kept)
        published(tmp_path / f"{name}.zarr", tmp_path / name, dalle_m=100, crosswalk="cosia-to-ocsge-cover")
    expected = {"labels": (6, 100), "summed": (13, 150)}
    grid = store.grid
    for name, (code, probability_shown) in expected.items():
        shown, _ = mosaic(tmp_path / name, "landcover", grid.bounds, grid.shape)
        confidence, _ = mosaic(tmp_path / name, "confidence", grid.bounds, grid.shape)
        assert (np.unique(shown).tolist(), np.unique(confidence).tolist()) == ([code], [probability_shown])


def test_the_unit_is_in_square_metres_by_class(tmp_path: Path) -> None:
    """50 pixels of 0.2 m are 2 m2: a pool of that size stays, a lawn does not."""
    classes = np.full((192, 128), 3, np.uint8)
    classes[10:15, 10:20], classes[10:15, 40:50], classes[50:57, 40:47] = 2, 8, 2
    arrays = {"landcover": classes, "confidence": np.full(classes.shape, 9, np.uint8)}
    store, _ = finished_map(tmp_path / "map.zarr", arrays)
    published(tmp_path / "map.zarr", tmp_path / "out", minimum_unit_m2={"default": 2.1, "swimming pool": 2.0})
    shown, _ = mosaic(tmp_path / "out", "landcover", store.grid.bounds, store.grid.shape)
    expected = classes.copy()
    expected[10:15, 40:50] = 3
    expected[50:57, 40:47] = 3
    np.testing.assert_array_equal(shown, expected)
    assert COSIA.names[2] == "swimming pool"
