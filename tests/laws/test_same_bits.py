"""The same ground has the same bits, whatever the blocks, the area, the workers and the engine."""

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from landweave import api
from landweave.core.lattice import Extent
from landweave.core.legend import NODATA
from landweave.core.protocols import Engine
from landweave.engine.clusters import local_engine
from landweave.models.inference import TorchPredictor
from landweave.models.settings import cpu_has_bfloat16
from tests.helpers.commands import ARRAYS, RGBI_FILES, pixels, write_config
from tests.helpers.networks import swin, unet, write_card, write_weights
from tests.helpers.stored import stored_map
from tests.helpers.tiles import PIXEL, Imagery, textured


@dataclass(frozen=True, kw_only=True)
class Study:
    """A scene around a corner where blocks of all sizes meet, and the network that maps it.

    It is neither square nor centred on that corner, its tiles are cut elsewhere, and a black border runs across the
    borders of blocks and tiles, not along them.
    """

    folder: Path
    card: Path
    weights: Path
    scene: Imagery
    nodata_border: NDArray[np.bool_]
    torch_threads: int = 1
    chunk: int = 64
    compute: Mapping[str, object] = field(default_factory=dict)

    @classmethod
    def make(cls, folder: Path, kind: str, *, window: int, corner: int, scale: int, **settings: Any) -> "Study":
        """``corner`` is a multiple of every block size; ``scale`` sizes all else."""
        shape = (19 * scale, 14 * scale)
        rows, columns = np.indices(shape)
        nodata_border = 3 * columns + rows < 7 * scale + 5 * np.sin(rows / 7)
        nodata_border |= columns - 2 * rows > 9 * scale
        values = textured(shape, 4)
        values[:, nodata_border] = 0
        scene = Imagery(values=values, top=-9 * corner - 8 * scale, left=3 * corner - 5 * scale - 3)
        for name, bands in (("rgb", (0, 1, 2)), ("irc", (3,))):
            scene.write(folder / name, bands, rows=(4 * scale + 1,), columns=(4 * scale - 5, 11 * scale))
        architecture = {"unet": unet(), "swin": swin(window)}[kind]
        numerics = {"batch": 2, "bfloat16": True}
        card = write_card(folder / f"{kind}.yaml", architecture, window=window, overlap=window // 4, numerics=numerics)
        weights = write_weights(card)
        return cls(folder=folder, card=card, weights=weights, scene=scene, nodata_border=nodata_border, **settings)

    @property
    def extent(self) -> Extent:
        """Pixels of the scene, counted from the anchor."""
        height, width = self.nodata_border.shape
        top, left = self.scene.top, self.scene.left
        return Extent.of((top, top + height), (left, left + width))

    def moved(self, top: int, bottom: int, left: int, right: int) -> Extent:
        """The scene's extent with every side moved by that many pixels, south and east positive."""
        y, x = self.extent.y, self.extent.x
        return Extent.of((y.start + top, y.stop + bottom), (x.start + left, x.stop + right))

    def map(self, name: str, block: int, *, engine: Engine | None = None, area: Extent | None = None) -> Path:
        """The store of a map in blocks of ``block`` px, of all the scene or of ``area``."""
        store = self.folder / f"{name}.zarr"
        sections: dict[str, Any] = {
            "inputs": {"AERIAL_RGBI": {**RGBI_FILES, "nodata_border": True}},
            "output": {"store": str(store), "block": block, "chunk": self.chunk},
            "model": {"torch_threads": self.torch_threads, **self.compute},
        }
        if area is not None:
            sections["area"] = {"bounds": list(bounds_of(area))}
        config = write_config(self.folder, self.card, self.weights, **sections)
        summary = api.run(api.load_config(config), engine=engine)
        assert summary.exit_code == 0, str(api.status(store))
        return store


def bounds_of(area: Extent) -> tuple[float, float, float, float]:
    """Bounds that touch exactly the pixels of ``area``: a tenth of a pixel inside."""
    inset = PIXEL / 10
    x0, x1 = area.x.start * PIXEL + inset, area.x.stop * PIXEL - inset
    return x0, -area.y.stop * PIXEL + inset, x1, -area.y.start * PIXEL - inset


def assert_same(one: Path, other: Path, extent: Extent) -> None:
    expected, found = pixels(one, extent), pixels(other, extent)
    for name in ARRAYS:
        np.testing.assert_array_equal(found[name], expected[name], err_msg=f"{name} of {other.name}")


def assert_worth_comparing(study: Study, store: Path) -> None:
    """Classes and confidences vary, nodata is exactly the nodata_border, and there are blocks to differ."""
    found = pixels(store, study.extent)
    np.testing.assert_array_equal(found["landcover"] == NODATA, study.nodata_border)
    assert 0.05 < study.nodata_border.mean() < 0.5
    shares = np.bincount(found["landcover"][~study.nodata_border], minlength=5) / (~study.nodata_border).sum()
    assert shares.min() > 0.001
    assert shares.max() < 0.8
    assert len(np.unique(found["confidence"])) > 50
    assert min(stored_map(store).block_shape) >= 2


@pytest.fixture(scope="module")
def one_worker() -> Iterator[Engine]:
    with local_engine(workers=1, torch_threads=1) as engine:
        yield engine


@pytest.fixture(scope="module")
def two_workers() -> Iterator[Engine]:
    with local_engine(workers=2, torch_threads=1) as engine:
        yield engine


@pytest.mark.parametrize("kind", ["unet", pytest.param("swin", marks=pytest.mark.slow)])
def test_small_maps_agree_bit_for_bit(
    tmp_path: Path, two_workers: Engine, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = Study.make(tmp_path, kind, window=128, corner=384, scale=16)
    reference = study.map("reference", 128)
    assert_worth_comparing(study, reference)
    assert_same(reference, study.map("dask", 384, engine=two_workers), study.extent)
    moved = study.moved(61, -17, 1, -71)
    monkeypatch.setattr(TorchPredictor, "sent_ahead", 1)  # as on a GPU: batches are cut and sent in another thread
    assert_same(reference, study.map("moved", 192, area=moved), moved)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("kind", ["unet", "swin"])
def test_maps_agree_bit_for_bit(tmp_path: Path, one_worker: Engine, two_workers: Engine, kind: str) -> None:
    """Windows of 512/128; blocks of 1024, 2048 and 3072; inline, one and two workers with their nannies."""
    study = Study.make(tmp_path, kind, window=512, corner=6144, scale=100, chunk=512)
    reference = study.map("reference", 1024)
    assert_worth_comparing(study, reference)
    for block in (2048, 3072):
        assert_same(reference, study.map(f"inline-{block}", block), study.extent)
    for name, engine, block in (("one", one_worker, 2048), ("two", two_workers, 1024), ("two", two_workers, 3072)):
        assert_same(reference, study.map(f"{name}-{block}", block, engine=engine), study.extent)
    for name, engine, block, area in (
        ("a", None, 1024, study.moved(1, 0, -1, -1)),
        ("b", two_workers, 2048, study.moved(-333, -407, 250, 511)),
    ):
        found = study.map(f"moved-{name}", block, engine=engine, area=area)
        assert_same(reference, found, area.intersect(study.extent))


@pytest.mark.slow
def test_two_threads_of_torch_agree_in_every_process(tmp_path: Path) -> None:
    """A nanny exports one thread, and a Swin's bits differ between one and two: the run's setting must win."""
    study = Study.make(tmp_path, "swin", window=128, corner=384, scale=16, torch_threads=2)
    with local_engine(workers=2, torch_threads=2) as engine:
        found = study.map("dask", 192, engine=engine)
    assert_same(study.map("inline", 128), found, study.extent)


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("engine", "bfloat16"), [("onnxruntime", False), ("openvino", False), ("eager", True)])
def test_maps_of_an_engine_agree_bit_for_bit(tmp_path: Path, engine: str, bfloat16: bool) -> None:
    """Graphs that another process exported, and batches that begin with other windows, change no bit either."""
    if not (engine == "eager" or find_spec(engine) or os.environ.get("CI")):
        pytest.skip(f"{engine} is not installed here")
    if bfloat16 and not cpu_has_bfloat16():
        pytest.skip("this CPU has no bfloat16")
    compute = {"engine": engine, "bfloat16": bfloat16}
    study = Study.make(tmp_path, "unet", window=128, corner=384, scale=16, compute=compute)
    reference = study.map("reference", 128)
    assert_worth_comparing(study, reference)
    moved = study.moved(61, -17, 1, -71)
    with local_engine(workers=2, torch_threads=1) as workers:
        assert_same(reference, study.map("dask", 192, engine=workers, area=moved), moved)


@pytest.mark.gpu
@pytest.mark.timeout(900)
@pytest.mark.parametrize("bfloat16", [False, True])
@pytest.mark.parametrize("kind", ["unet", "swin"])
def test_maps_of_a_gpu_agree_bit_for_bit(tmp_path: Path, two_workers: Engine, kind: str, bfloat16: bool) -> None:
    compute = {"device": "cuda", "bfloat16": bfloat16}
    study = Study.make(tmp_path, kind, window=512, corner=6144, scale=100, chunk=512, compute=compute)
    reference = study.map("reference", 1024)
    assert_worth_comparing(study, reference)
    assert_same(reference, study.map("inline", 2048), study.extent)
    assert_same(reference, study.map("dask", 3072, engine=two_workers), study.extent)
    moved = study.moved(-333, -407, 250, 511)
    assert_same(reference, study.map("moved", 1024, engine=two_workers, area=moved), moved.intersect(study.extent))
