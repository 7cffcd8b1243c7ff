"""The same ground has the same bits, whatever the blocks, the area, the workers and the engine."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from landweave import api
from landweave.engine.clusters import local_engine
from landweave.lattice import Extent
from landweave.legend import NODATA
from landweave.ports import Engine
from landweave.store.views import open_map
from tests.helpers.commands import ARRAYS, pixels, write_config
from tests.helpers.networks import swin, unet, write_card, write_weights
from tests.helpers.tiles import PIXEL, Scene, textured

THREADS = 1
"""Of torch, in every process: part of the bits."""


@dataclass(frozen=True, kw_only=True)
class Study:
    """A scene around a corner where blocks of all sizes meet, and the network that maps it."""

    folder: Path
    card: Path
    weights: Path
    scene: Scene
    collar: NDArray[np.bool_]

    @classmethod
    def make(cls, folder: Path, kind: str, *, window: int, overlap: int, corner: int, scale: int) -> "Study":
        """``corner`` is a multiple of every block size; the scene is neither square nor centred on it."""
        shape = (19 * scale, 14 * scale)
        values = textured(shape, 4)
        rows, columns = np.indices(shape)
        # A black collar that runs across the borders of blocks and tiles, not along them.
        collar = 3 * columns + rows < 7 * scale + 5 * np.sin(rows / 7)
        collar |= (columns - 2 * rows > 9 * scale)
        values[:, collar] = 0
        scene = Scene(values=values, top=-9 * corner - 8 * scale, left=3 * corner - 5 * scale - 3)
        cut_rows, cut_columns = (7 * scale + 1,), (4 * scale - 5, 11 * scale)
        scene.write(folder / "rgb", (0, 1, 2), cut_rows, cut_columns)
        scene.write(folder / "irc", (3,), cut_rows, cut_columns)
        builder = {"unet": unet(), "swin": swin(window)}[kind]
        card = write_card(folder / f"{kind}.yaml", builder, window=window, overlap=overlap)
        return cls(folder=folder, card=card, weights=write_weights(card), scene=scene, collar=collar)

    @property
    def extent(self) -> Extent:
        """Pixels of the scene, counted from the anchor."""
        height, width = self.collar.shape
        top, left = self.scene.top, self.scene.left
        return Extent.of((top, top + height), (left, left + width))

    def map(self, name: str, block: int, *, engine: Engine | None = None, area: Extent | None = None) -> Path:
        """The store of a map in blocks of ``block`` px, of all the scene or of ``area``."""
        store = self.folder / f"{name}.zarr"
        sections: dict[str, Any] = {"output": {"store": str(store), "block": block}}
        inputs = {"AERIAL_RGBI": {**_rgbi(), "collar": True}}
        if area is not None:
            sections["area"] = {"bounds": list(_bounds(area))}
        config = write_config(self.folder, self.card, self.weights, inputs=inputs, **sections)
        overrides = {"model.torch_threads": THREADS}
        summary = api.run(api.load_config(config, overrides=overrides), engine=engine)
        assert summary.exit_code == 0, str(api.status(store))
        return store

    def inside(self, area: Extent) -> Extent:
        """The part of ``area`` that has imagery."""
        return area.intersect(self.extent)


def _rgbi() -> dict[str, Any]:
    from tests.helpers.commands import RGBI_FILES

    return dict(RGBI_FILES)


def _bounds(area: Extent) -> tuple[float, float, float, float]:
    # A tenth of a pixel inside, so that the pixels that touch the bounds are those of the area.
    inset = PIXEL / 10
    return (
        area.x.start * PIXEL + inset,
        -area.y.stop * PIXEL + inset,
        area.x.stop * PIXEL - inset,
        -area.y.start * PIXEL - inset,
    )


def assert_same(one: Path, other: Path, extent: Extent) -> None:
    expected, found = pixels(one, extent), pixels(other, extent)
    for name in ARRAYS:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=f"{name} of {other.name}")


def assert_worth_comparing(study: Study, store: Path) -> None:
    """Every class is there, confidences vary, and exactly the collar and what lies beyond is nodata."""
    found = pixels(store, study.extent)
    np.testing.assert_array_equal(found["landcover"] == NODATA, study.collar)
    assert 0.05 < study.collar.mean() < 0.5
    classes, counts = np.unique(found["landcover"][~study.collar], return_counts=True)
    assert len(classes) >= 3
    assert counts.max() < 0.9 * counts.sum()
    assert len(np.unique(found["confidence"])) > 50
    blocks = open_map(store).store.block_shape
    assert min(blocks) >= 2
    assert blocks[0] != blocks[1] or study.collar.shape[0] != study.collar.shape[1]


@pytest.fixture(scope="module")
def one_worker() -> Iterator[Engine]:
    with local_engine(workers=1, torch_threads=THREADS) as engine:
        yield engine


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Engine]:
    with local_engine(workers=2, torch_threads=THREADS) as engine:
        yield engine


@pytest.mark.parametrize("kind", ["unet", "swin"])
def test_small_maps_agree_bit_for_bit(tmp_path: Path, two_workers: Engine, kind: str) -> None:
    study = Study.make(tmp_path, kind, window=128, overlap=32, corner=384, scale=24)
    reference = study.map("reference", 128)
    assert_worth_comparing(study, reference)
    for block in (192, 384):
        assert_same(reference, study.map(f"inline-{block}", block), study.extent)
    assert_same(reference, study.map("dask", 128, engine=two_workers), study.extent)
    whole = study.extent
    moved = Extent.of((whole.y.start + 61, whole.y.stop - 17), (whole.x.start + 1, whole.x.stop - 103))
    assert_same(reference, study.map("moved", 192, area=moved), study.inside(moved))
