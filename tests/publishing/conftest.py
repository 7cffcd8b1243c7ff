"""Small finished maps that are published in dalles of some metres."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landweave.core.protocols import BlockResult, BlockState
from landweave.jobs.ledger import Ledger
from landweave.models.cards.outputs import named_legends
from landweave.store.maps.store import MapStore, create_map, create_map_ledger
from landweave.store.objects import Target
from tests.store.conftest import s3_endpoint, s3_options, s3_target  # noqa: F401  an S3 on this machine
from tests.store.samples import block_of, pixels, template

COSIA = named_legends()["cosia"]
ATTRIBUTES = {
    "title": "Land cover of nowhere",
    "license": "Licence Ouverte 2.0",
    "source": "drawn at random",
    "fingerprint": "0123456789abcdef" * 4,
    "model": {"card": "LC-A", "weights": "f" * 64},
    "fingerprint_fields": {
        "inputs": {
            "AERIAL_RGBI": {"bands": ["R", "G", "B"], "scenes": ["30-2021-0770-6278.jp2"]},
            "SENTINEL2_TS": {"observations": [["S2A_20210405T10", "x"], ["S2B_20210918T10", "y"]]},
        }
    },
    "libraries": {"torch": "2.0"},
}


def finished_map(
    place: Path | str | Target,
    arrays: dict[str, np.ndarray] | None = None,
    *,
    left: int = 0,
    seed: int = 0,
    **changes: Any,
) -> tuple[MapStore, dict[str, np.ndarray]]:
    """A map with all its blocks but the last ``left`` ones, its ledger, and its values."""
    wanted = template(**{"legend": COSIA, "attributes": ATTRIBUTES, **changes})
    target = place if isinstance(place, Target) else Target.parse(place)
    store, arrays = create_map(target, wanted), arrays or pixels(wanted)
    ledger, blocks = Ledger(wanted.blocks.shape, store.arrays), list(wanted.blocks)
    for index in blocks[: len(blocks) - left]:
        objects = store.write(index, block_of(arrays, store, index))
        ledger.mark(index, BlockResult(state=BlockState.DONE, objects=objects))
    ledger.flush(create_map_ledger(store))
    return store, arrays


def bytes_below(folder: Path, *, records: bool = False) -> dict[str, bytes]:
    """Content of every file of a publication, by its path; those of its ledger with ``records``."""
    files = (path for path in sorted(folder.rglob("*")) if path.is_file())
    named = {str(path.relative_to(folder)): path.read_bytes() for path in files}
    return {name: content for name, content in named.items() if records or not name.startswith(".landweave/ledger")}


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, MapStore, dict[str, np.ndarray]]:
    """A map of 192 x 128 pixels of 0.2 m (38.4 x 25.6 m) and its values."""
    place = tmp_path_factory.mktemp("small") / "map.zarr"
    return place, *finished_map(place)
