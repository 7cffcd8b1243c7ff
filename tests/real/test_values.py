"""No real imagery is refused for its values by a card that reads such imagery."""

from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
import rasterio

from landweave.models.cards.registry import find_card, list_cards
from landweave.models.cards.trained_values import TrainedValues
from tests.helpers.marks import mostly_slow
from tests.helpers.real_series import BANDS, POLARISATIONS, Flanders

Shared = Callable[[str], Path]

AERIAL = {
    "bd_ortho/rgb/*.tiff": ("R", "G", "B"),
    "bd_ortho/irc/*.tiff": ("NIR", "R", "G"),
    "ortho_lidar/test_data_rgb.tif": ("R", "G", "B"),
    "ortho_lidar/test_data_irc.tif": ("NIR", "R", "G"),
    "treesat/*.tif": ("NIR", "G", "B", "R"),
    "naip/m_*.tif": ("R", "G", "B", "NIR"),
    "massachusetts/*.tif": ("R", "G", "B"),
}


CARDS = {name: find_card(name) for name in list_cards()}


def refusals(modality: str, values: Mapping[str, np.ndarray], dtype: str, quantity: str = "") -> list[str]:
    """Of every published card that reads the modality, over the bands that there are."""
    refused, compared = [], 0
    for name, card in CARDS.items():
        spec = card.inputs.get(modality)
        bands = [band for band in spec.names if band in values] if spec else []
        if spec is None or not bands:
            continue
        compared += 1
        found = TrainedValues.of(modality, spec, quantity).findings({b: values[b] for b in bands}, np.dtype(dtype))
        refused += [f"{name}: {each.text}" for each in found if each.refused]
    assert compared > 5
    return refused


@pytest.mark.parametrize("pattern", mostly_slow(AERIAL, fast={*AERIAL} - {"massachusetts/*.tif"}))
def test_aerial_imagery(shared: Shared, pattern: str) -> None:
    for path in sorted(shared("data").glob(pattern)):
        with rasterio.open(path) as dataset:
            planes, dtype = dataset.read().astype(float), dataset.dtypes[0]
        for rows in (slice(None), slice(0, 40)):  # the whole, and a small part
            values = dict(zip(AERIAL[pattern], (plane[rows].ravel() for plane in planes), strict=False))
            assert refusals("AERIAL_RGBI", values, dtype) == []
            wrong = {band: plane * 257 for band, plane in values.items()}
            assert refusals("AERIAL_RGBI", wrong, "uint16")


def test_elevation(shared: Shared) -> None:
    trained = TrainedValues.of("DEM_ELEV", CARDS["LC-B"].inputs["DEM_ELEV"])
    folder = shared("data")
    for path in (*folder.glob("elevation/*.tif"), *folder.glob("ortho_lidar/d[st]m.tif")):
        with rasterio.open(path) as dataset:
            heights = dataset.read(1, masked=True).compressed().astype(float)
        assert list(trained.findings({"DSM": heights}, np.dtype("float32"))) == []
    with rasterio.open(folder / "ortho_lidar/dsm.tif") as dsm, rasterio.open(folder / "ortho_lidar/dtm.tif") as dtm:
        above = (dsm.read(1, masked=True) - dtm.read(1, masked=True)).compressed().astype(float)
    assert list(trained.findings({"NDSM": above}, np.dtype("float32"))) == []
    assert any("swapped" in each.text for each in trained.findings({"NDSM": -above}, np.dtype("float32")))


def test_satellites_of_every_season(shared: Shared) -> None:
    flanders = Flanders(folder=shared("data/flanders"))
    fine, coarse = flanders.fine, flanders.coarse
    for date in range(0, len(fine.times), 4):
        planes = {b: (fine if b in fine.planes else coarse).planes[b][date].ravel().astype(float) for b in BANDS}
        values = {band: np.clip(plane[plane > 0], 1, 32767) for band, plane in planes.items()}
        if all(plane.size for plane in values.values()):
            assert refusals("SENTINEL2_TS", values, "uint16", "reflectance") == []
            unit = {band: plane / 10000 for band, plane in values.items()}
            assert refusals("SENTINEL2_TS", unit, "float32", "reflectance")
    radar = flanders.radar
    for date in range(0, len(radar.times), 4):
        values = {band: radar.planes[band][date].ravel().astype(float) for band in POLARISATIONS}
        values = {band: plane[np.isfinite(plane) & (plane > 0)] for band, plane in values.items()}
        if all(plane.size for plane in values.values()):
            assert refusals("SENTINEL1-ASC_TS", values, "float32", "sigma0") == []
            decibels = {band: 10 * np.log10(plane) for band, plane in values.items()}
            assert refusals("SENTINEL1-ASC_TS", decibels, "float32", "sigma0")
