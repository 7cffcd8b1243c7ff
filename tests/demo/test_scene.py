"""A scene is the same for its seed, and its picture, heights and truth tell one story."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from landweave_demo.landuse import Use
from landweave_demo.scene import CLASS_CODES, UNKNOWN, Scene, make_scene


@pytest.fixture(scope="module")
def scene() -> Scene:
    return make_scene(3, height=1500, width=1540)


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = make_scene(5, height=512, width=600), make_scene(5, height=512, width=600)
    for layer in ("rgbi", "dsm", "dtm", "truth", "parcel"):
        assert getattr(first, layer).tobytes() == getattr(second, layer).tobytes(), layer
    assert first.parcels == second.parcels


def test_another_seed_gives_another_place() -> None:
    first, second = make_scene(5, height=512, width=512), make_scene(6, height=512, width=512)
    assert (first.truth != second.truth).mean() > 0.3


def test_a_scene_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match=r"511 x 600 .* 512"):
        make_scene(5, height=511, width=600)


def test_layers_share_their_pixels(scene: Scene) -> None:
    assert scene.rgbi.shape == (4, 1500, 1540)
    assert scene.rgbi.dtype == np.uint8
    for layer, dtype in (
        (scene.dsm, "float32"),
        (scene.dtm, "float32"),
        (scene.truth, "uint8"),
        (scene.parcel, "int32"),
    ):
        assert layer.shape == (1500, 1540)
        assert layer.dtype == dtype
    assert np.isfinite(scene.dsm).all()


def test_no_pixel_looks_like_the_collar(scene: Scene) -> None:
    assert scene.rgbi.min() >= 8


def test_every_class_is_there(scene: Scene) -> None:
    assert set(np.unique(scene.truth).tolist()) == set(CLASS_CODES)
    assert UNKNOWN not in scene.truth


def test_heights_stand_on_the_ground(scene: Scene) -> None:
    above = scene.dsm - scene.dtm
    assert np.median(above[scene.truth == 0]) > 2.5
    assert np.median(above[scene.truth == 12]) > 4
    assert np.median(above[scene.truth == 13]) > 4
    assert abs(float(np.median(above[scene.truth == 3]))) < 0.2
    assert above.min() > -1


def test_water_is_flat_and_lies_low(scene: Scene) -> None:
    water = ndimage.binary_erosion(scene.truth == 6, iterations=2)
    steps = np.abs(np.diff(scene.dtm, axis=1))[water[:, 1:]]
    assert np.quantile(steps, 0.98) < 0.002
    assert np.quantile(np.abs(scene.dsm - scene.dtm)[water], 0.98) < 0.01
    around = ndimage.binary_dilation(water, iterations=40) & (scene.truth != 6)
    assert np.median(scene.dtm[around]) > np.median(scene.dtm[water])


def test_classes_differ_in_the_infrared(scene: Scene) -> None:
    red, infrared = scene.rgbi[0].astype(float), scene.rgbi[3].astype(float)
    assert np.median(infrared[scene.truth == 6]) < 50
    assert np.median((infrared - red)[scene.truth == 8]) > 20
    assert np.median((infrared - red)[scene.truth == 3]) < 0


def test_the_truth_has_no_specks(scene: Scene) -> None:
    """Counted on clumps of one class: hardly any ground lies in one smaller than a square metre."""
    small = 0
    for code in CLASS_CODES:
        clumps, count = ndimage.label(scene.truth == code)
        sizes = np.bincount(clumps.ravel(), minlength=count + 1)[1:]
        small += int(sizes[sizes < 25].sum())
    assert small / scene.truth.size < 4e-3


def test_parcels_are_in_the_table(scene: Scene) -> None:
    table = {parcel.id: parcel for parcel in scene.parcels}
    assert list(table) == list(range(1, len(table) + 1))
    assert set(np.unique(scene.parcel).tolist()) <= {0, *table}
    assert {"wheat", "barley", "maize", "sunflower"} <= {parcel.crop for parcel in scene.parcels}
    shares = [
        float((scene.truth[scene.parcel == parcel.id] == parcel.code).mean())
        for parcel in scene.parcels
        if parcel.use in (Use.CROP, Use.PLOWED, Use.VINEYARD, Use.BARE) and (scene.parcel == parcel.id).any()
    ]
    assert np.median(shares) > 0.95


def test_wheat_and_barley_look_alike_on_the_day_of_the_flight(scene: Scene) -> None:
    colors = {
        crop: np.median(scene.rgbi[:, np.isin(scene.parcel, [p.id for p in scene.parcels if p.crop == crop])], axis=1)
        for crop in ("wheat", "barley")
    }
    assert np.abs(colors["wheat"] - colors["barley"]).max() < 45
