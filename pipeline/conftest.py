"""A folder for the examples in docstrings: a small map, a later one, labels, zones and an aerial image."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from landweave.store.maps.store import MapStore


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
    write_tile(folder / "ortho.tif", textured((256, 256), 3), corner_xy=(x, y))
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


@pytest.fixture(autouse=True)
def _in_the_examples(request: pytest.FixtureRequest) -> Iterator[None]:
    before = Path.cwd()
    os.chdir(request.getfixturevalue("examples"))
    yield
    os.chdir(before)
