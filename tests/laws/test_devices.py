"""A map made on a GPU has the CPU's classes wherever the two best probabilities differ by more than a thousandth."""

from pathlib import Path

import numpy as np
import pytest

from landweave import api
from landweave.core.legend import CONFIDENCE_SCALE
from tests.helpers.networks import swin, write_card, write_weights
from tests.helpers.small import Small
from tests.helpers.stored import stored_map

TELLING = 1e-3
ROUNDED = 1 / CONFIDENCE_SCALE
"""Probabilities are stored in steps of it."""


def mapped(small: Small, name: str, **model: object) -> dict[str, np.ndarray]:
    store = small.folder / f"{name}.zarr"
    assert api.run(small.loaded(model=model, output={"store": str(store)})).exit_code == 0
    found = stored_map(store)
    return {array: found.read(array, small.extent) for array in ("landcover", "probability")}


@pytest.mark.parametrize("network", ["unet", "swin"])
@pytest.mark.parametrize("device", ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)])
@pytest.mark.slow
def test_devices_agree_where_it_is_clear(tmp_path: Path, device: str, network: str) -> None:
    small = Small.make(tmp_path)
    if network == "swin":
        card = write_card(tmp_path / "swin.yaml", swin(64), window=64, overlap=16)
        small = Small(folder=tmp_path, card=card, weights=write_weights(card), scene=small.scene)
    here, there = (mapped(small, f"map-{place}", device=name) for place, name in enumerate(("cpu", device)))
    second, best = np.sort(here["probability"].astype(float), axis=0)[-2:] * ROUNDED
    is_clear = best - second > TELLING + ROUNDED
    assert is_clear.mean() > 0.9
    np.testing.assert_array_equal(there["landcover"][is_clear], here["landcover"][is_clear])
    assert np.abs(there["probability"].astype(int) - here["probability"].astype(int)).max() <= 1
