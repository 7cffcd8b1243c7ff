"""A landscape is the same for its seed, and its picture, heights and truth tell one story."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from landweave_demo.landscape.land_cover import CLASS_CODES, UNKNOWN
from landweave_demo.landscape.land_use import LandUse
from landweave_demo.landscape.landscape import Landscape, make_landscape


@pytest.fixture(scope="module")
def landscape() -> Landscape:
    return make_landscape(5, height=1500, width=1540)


def test_the_same_seed_gives_the_same_bits() -> None:
    first, second = make_landscape(5, height=512, width=600), make_landscape(5, height=512, width=600)
    for layer in ("rgbi", "dsm", "dtm", "truth", "parcel"):
        assert getattr(first, layer).tobytes() == getattr(second, layer).tobytes(), layer
    assert first.parcels == second.parcels


def test_another_seed_gives_another_place() -> None:
    first, second = make_landscape(5, height=512, width=512), make_landscape(6, height=512, width=512)
    assert (first.truth != second.truth).mean() > 0.3


def test_a_landscape_too_small_is_refused() -> None:
    with pytest.raises(ValueError, match=r"511 x 600 .* 512"):
        make_landscape(5, height=511, width=600)


def test_layers_share_their_pixels(landscape: Landscape) -> None:
    assert landscape.rgbi.shape == (4, 1500, 1540)
    assert landscape.rgbi.dtype == np.uint8
    for layer, dtype in (
        (landscape.dsm, "float32"),
        (landscape.dtm, "float32"),
        (landscape.truth, "uint8"),
        (landscape.parcel, "int32"),
    ):
        assert layer.shape == (1500, 1540)
        assert layer.dtype == dtype
    assert np.isfinite(landscape.dsm).all()


def test_no_pixel_looks_like_the_nodata_border(landscape: Landscape) -> None:
    assert landscape.rgbi.min() >= 8


def test_every_class_is_there(landscape: Landscape) -> None:
    assert set(np.unique(landscape.truth).tolist()) == set(CLASS_CODES)
    assert UNKNOWN not in landscape.truth


def test_heights_stand_on_the_ground(landscape: Landscape) -> None:
    above = landscape.dsm - landscape.dtm
    assert np.median(above[landscape.truth == 0]) > 2.5
    assert np.median(above[landscape.truth == 12]) > 4
    assert np.median(above[landscape.truth == 13]) > 4
    assert abs(float(np.median(above[landscape.truth == 3]))) < 0.2
    assert above.min() > -1


def test_water_is_flat_and_lies_low(landscape: Landscape) -> None:
    water = ndimage.binary_erosion(landscape.truth == 6, iterations=2)
    steps = np.abs(np.diff(landscape.dtm, axis=1))[water[:, 1:]]
    assert np.quantile(steps, 0.98) < 0.002
    assert np.quantile(np.abs(landscape.dsm - landscape.dtm)[water], 0.98) < 0.01
    around = ndimage.binary_dilation(water, iterations=40) & (landscape.truth != 6)
    assert np.median(landscape.dtm[around]) > np.median(landscape.dtm[water])


def test_classes_differ_in_the_infrared(landscape: Landscape) -> None:
    red, infrared = landscape.rgbi[0].astype(float), landscape.rgbi[3].astype(float)
    assert np.median(infrared[landscape.truth == 6]) < 50
    assert np.median((infrared - red)[landscape.truth == 8]) > 20
    assert np.median((infrared - red)[landscape.truth == 3]) < 0


def test_the_truth_has_no_specks(landscape: Landscape) -> None:
    """Counted on clumps of one class: hardly any ground lies in one smaller than a square metre."""
    small = 0
    for code in CLASS_CODES:
        clumps, count = ndimage.label(landscape.truth == code)
        sizes = np.bincount(clumps.ravel(), minlength=count + 1)[1:]
        small += int(sizes[sizes < 25].sum())
    assert small / landscape.truth.size < 4e-3


def test_parcels_are_in_the_table(landscape: Landscape) -> None:
    table = {parcel.id: parcel for parcel in landscape.parcels}
    assert list(table) == list(range(1, len(table) + 1))
    assert set(np.unique(landscape.parcel).tolist()) <= {0, *table}
    assert {"wheat", "barley", "maize", "sunflower"} <= {parcel.crop for parcel in landscape.parcels}
    shares = [
        float((landscape.truth[landscape.parcel == parcel.id] == parcel.code).mean())
        for parcel in landscape.parcels
        if parcel.use in (LandUse.CROP, LandUse.PLOWED, LandUse.VINEYARD, LandUse.BARE)
        and (landscape.parcel == parcel.id).any()
    ]
    assert np.median(shares) > 0.95


def test_wheat_and_barley_look_alike_on_the_day_of_the_flight(landscape: Landscape) -> None:
    colors = {}
    for crop in ("wheat", "barley"):
        ids = [parcel.id for parcel in landscape.parcels if parcel.crop == crop]
        colors[crop] = np.median(landscape.rgbi[:, np.isin(landscape.parcel, ids)], axis=1)
    assert np.abs(colors["wheat"] - colors["barley"]).max() < 45
