"""A folder for the examples in docstrings: a small map, a later one, labels, zones and an aerial image.

What examples of models and series need beside them is made once one of them is run: a configuration of the image and
one of a valley seen by Sentinel-2, a small model, a dataset of patches and a sample that was interpreted.
"""

from __future__ import annotations

import os
import signal
import threading
import urllib.request
import webbrowser
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from landweave.store.maps.store import MapStore

_NEED_MODELS = ("nimes.yaml", "valley", "cube.zarr", "FLAIR-HUB", "interpreted.gpkg")
"""Files of `_with_models` by their names in examples."""


@pytest.fixture(scope="session")
def examples(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder; maps are of 51.2 x 51.2 m, and nothing in it comes from a model."""
    import geopandas
    import numpy as np
    import shapely

    from tests.helpers.maps import CORNER, confused, lumps, write_map
    from tests.helpers.tiles import textured, write_tile

    folder = tmp_path_factory.mktemp("examples")
    before = lumps((256, 256), (0, 3, 6, 8), side=16)
    after = np.where(before == 8, 3, before).astype(np.uint8)
    for name, classes in (("landcover", before), ("2024", after)):
        arrays = {"landcover": classes, "confidence": np.full(classes.shape, 240, np.uint8)}
        _with_ledger(write_map(folder / f"{name}.zarr", block=128, **arrays), arrays)
    x, y = CORNER[1] * 0.2, -CORNER[0] * 0.2
    write_tile(folder / "labels.tif", confused(before, (0, 3, 6, 8), 0.1)[None], corner_xy=(x, y))
    write_tile(folder / "ortho.tif", textured((256, 256), 4), corner_xy=(x, y))
    zones = [shapely.box(x, y - 51.2, x + 25.6, y), shapely.box(x + 25.6, y - 51.2, x + 51.2, y)]
    geopandas.GeoDataFrame({"name": ["west", "east"]}, geometry=zones, crs="EPSG:2154").to_file(
        folder / "communes.gpkg"
    )
    return folder


def _with_ledger(store: MapStore, arrays: dict[str, Any]) -> None:
    """Write the blocks of a map once more, and its ledger."""
    from landweave.core.protocols import BlockResult, BlockState
    from landweave.jobs.ledger import Ledger
    from landweave.store.maps.store import create_map_ledger

    ledger = Ledger(store.template.blocks.shape, store.arrays)
    for index in store.template.blocks:
        rows, columns = store.block(index).slices_in(store.grid.extent)
        part = {name: values[rows, columns] for name, values in arrays.items()}
        ledger.mark(index, BlockResult(state=BlockState.DONE, objects=store.write(index, part)))
    ledger.flush(create_map_ledger(store))
    store.finalize()


@pytest.fixture(scope="session")
def _with_models(examples: Path) -> None:
    """Beside the maps: two configurations, a card with weights, a cube, a dataset of one region, a sample."""
    import geopandas
    import numpy as np

    import landweave
    from tests.helpers.networks import unet, write_card, write_weights
    from tests.helpers.patches import MadeRegion, write_flair_hub
    from tests.helpers.small_series import SmallSeries
    from tests.helpers.tiles import textured

    (examples / "nimes.yaml").write_text(_NIMES)
    write_weights(write_card(examples / "small.yaml", unet(), window=64, overlap=16))
    SmallSeries.make(examples / "valley").write(examples / "valley.yaml")
    landweave.align(landweave.load_config(examples / "valley.yaml"), progress=False)
    landweave.run(landweave.load_config(examples / "nimes.yaml"), progress=False)
    labels = np.full((1, 128, 128), 3, np.uint8)
    arrays = {"AERIAL_RGBI": textured((128, 128), 4, 1), "AERIAL_LABEL-COSIA": labels}
    write_flair_hub(examples / "FLAIR-HUB", MadeRegion(domain="D012-2019", name="AA-S1-1", arrays=arrays, side=64))
    rule = landweave.SamplingRule(size=200, minimum=40)
    sample = landweave.draw_sample(
        examples / "landcover.zarr", examples / "interpreted.gpkg", rule=rule, progress=False
    )
    truth = landweave.open_mosaic(str(examples / "labels.tif"), bands={"class": 1})[0]
    frame = geopandas.read_file(sample, layer="sample")
    frame["reference"] = [int(truth.sel(x=at.x, y=at.y, method="nearest")) for at in frame.geometry]
    frame.to_file(sample, layer="sample", driver="GPKG")


_NIMES = """
area: {bounds: [802022.4, 6284006.4, 802048.0, 6284032.0]}
grid: {crs: EPSG:2154}
inputs:
  AERIAL_RGBI:
    kind: mosaic
    bands:
      NIR: {files: ortho.tif, band: 4}
      R: {files: ortho.tif, band: 1}
      G: {files: ortho.tif, band: 2}
      B: {files: ortho.tif, band: 3}
model: {card: small.yaml, weights: small.safetensors, torch_threads: 1}
output: {store: nimes.zarr, block: 128, chunk: 64}
engine: {kind: inline}
"""


@pytest.fixture(autouse=True)
def _in_the_examples(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(request.getfixturevalue("examples"))
    text = "".join(each.source for each in request.node.dtest.examples)
    if any(name in text for name in _NEED_MODELS):
        request.getfixturevalue("_with_models")
    monkeypatch.setattr(webbrowser, "open", _look_and_interrupt)
    yield
    os.chdir(before)


def _look_and_interrupt(url: str) -> None:
    """What a person does with a page that opens: looks at it, then presses Ctrl-C."""

    def look() -> None:
        try:
            assert b"<html" in urllib.request.urlopen(url, timeout=60).read().lower()
        finally:
            os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=look).start()
