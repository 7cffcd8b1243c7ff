"""A fused map has the same bits whatever its blocks, area, workers and engine, where neighbours keep other dates."""

from collections import Counter
from dataclasses import dataclass, replace
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from landweave.core.blending import Blend, Blending
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent, Lattice
from landweave.core.protocols import Engine
from landweave.core.timeseries import DatesRule, MinClearFraction, Observation, PixelClass
from landweave.engine.clusters import local_engine
from landweave.mapping.inputs import MapInput
from landweave.mapping.job import MapJob
from landweave.models.cards.registry import read_card
from landweave.models.factory import build, core
from landweave.models.inference import torch_threads
from landweave.models.predictor import TorchModel, resolve_model
from landweave.models.settings import Compute
from landweave.store.maps.store import MapStore, create_map
from landweave.store.maps.template import MapTemplate
from landweave.store.objects import Target
from tests.helpers.memory import ArraySeries, ArraySource
from tests.helpers.networks import save_file, write_card
from tests.helpers.tiles import textured

WINDOW, STRIDE, FACTOR = 128, 64, Fraction(64, 5)
ARRAYS = ("landcover", "confidence", "probability", "date_fallback")
SERIES_BANDS = ("B4", "B8")
RULE = DatesRule(filter=MinClearFraction())
DATES = (3, 9, 30)
"""How many dates are clear over each strip of a window's width, from west to east and again."""


def base_grid() -> Grid:
    """128 x 339 base pixels that begin between two windows, and between two blocks."""
    extent = Extent.of((-384 * 9 - 32, -384 * 9 + 96), (384 * 5 - 39, 384 * 5 + 300))
    return Grid(crs="EPSG:2154", resolution=Fraction(1, 5), extent=extent)


def drawn(name: str, tensor: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    if not tensor.is_floating_point():
        return tensor.clone()
    values = torch.randn(tensor.shape, generator=generator)
    if name.endswith("running_var"):
        return 1 + values.abs() / 10
    return 2 * values / max(tensor[0].numel(), 1) ** 0.5 if tensor.ndim > 1 else 1 + values / 10


def fusion(folder: Path) -> TorchModel:
    """A FLAIR-HUB network over an aerial image and a series, with a small encoder and drawn weights."""
    bands = {name: {"mean": 110, "std": 50} for name in ("R", "G")}
    series = {
        "pixel": "64/25",
        "bands": {name: {"mean": 4000, "std": 3000} for name in SERIES_BANDS},
        "dates": RULE.model_dump(mode="json"),
    }
    path = write_card(
        folder / "fusion.yaml",
        {"kind": "flair_hub", "encoder": "lcnet_035"},
        window=WINDOW,
        overlap=WINDOW - STRIDE,
        inputs={"AERIAL_RGBI": {"pixel": 0.2, "bands": bands}, "SENTINEL2_TS": series},
    )
    card = read_card(path)
    generator = torch.Generator().manual_seed(3)
    network = core(build(card, WINDOW))
    tensors = {name: drawn(name, tensor, generator) for name, tensor in network.state_dict().items()}
    network.load_state_dict(tensors)
    balance(network, tensors, generator)
    save_file(tensors, path.with_suffix(".safetensors"))
    compute = Compute(batch_size=2, torch_threads=1, device="cpu")
    return resolve_model(card, weights=path.with_suffix(".safetensors"), compute=compute)


def balance(network: torch.nn.Module, tensors: dict[str, torch.Tensor], generator: torch.Generator) -> None:
    """Change the last layer in ``tensors`` so that every class of ``network`` wins somewhere."""
    inputs = {
        "AERIAL_RGBI": torch.from_numpy(textured((4 * WINDOW, WINDOW), 2).astype("float32")).unflatten(1, (4, WINDOW)),
        "SENTINEL2_TS": torch.rand((4, 9, 2, 10, 10), generator=generator) * 3 - 1.5,
        "SENTINEL2_DATES": torch.arange(-100.0, 80, 20).expand(4, -1),
    }
    inputs["AERIAL_RGBI"] = (inputs["AERIAL_RGBI"].movedim(1, 0) - 110) / 50
    with torch.inference_mode(), torch_threads(1):
        logits = network.eval()(inputs, (WINDOW, WINDOW))["LABEL"]
    spread = logits.std((0, 2, 3)) / 2
    head = "main_decoders.LABEL.seg_model.segmentation_head.0."
    tensors[head + "bias"] = (tensors[head + "bias"] - logits.mean((0, 2, 3))) / spread
    tensors[head + "weight"] = tensors[head + "weight"] / spread[:, None, None, None]


def strips(grid: Grid) -> NDArray[np.uint8]:
    """Clear skies on 3, on 9 or on 30 dates, by strips of a window's width that begin where windows do."""
    columns = np.arange(grid.extent.x.start, grid.extent.x.stop)
    clear = np.array(DATES)[columns // (WINDOW * 5 // 64) % len(DATES)]
    shown = np.arange(30)[:, None] < clear[None, :]
    state = np.where(shown, PixelClass.CLEAR, PixelClass.CLOUD).astype(np.uint8)
    return np.broadcast_to(state[:, None], (30, *grid.shape)).copy()


@dataclass(frozen=True, kw_only=True)
class Fusion:
    """The scene and the network that maps it."""

    folder: Path
    model: TorchModel
    aerial: ArraySource
    series: ArraySeries

    @classmethod
    def make(cls, folder: Path) -> "Fusion":
        grid = base_grid()
        values = textured(grid.shape, 2)
        aerial = ArraySource(bands=("R", "G"), grid=grid, values=values)
        own = replace(grid, resolution=grid.resolution * FACTOR, extent=grid.extent.coarsen(FACTOR).grow(12))
        observations = tuple(
            Observation(datatake_id=f"{day}", time=np.datetime64("2021-01-03") + 12 * day) for day in range(30)
        )
        rng = np.random.default_rng(5)
        reflectance = rng.integers(0, 9000, (30, 2, *own.shape)).astype(np.uint16)
        series = ArraySeries(
            bands=SERIES_BANDS, grid=own, values=reflectance, observations=observations, pixel_class=strips(own)
        )
        return cls(folder=folder, model=fusion(folder), aerial=aerial, series=series)

    @property
    def extent(self) -> Extent:
        """Base pixels of the scene."""
        return self.aerial.grid.extent

    def job(self, name: str, block: int, extent: Extent | None = None) -> MapJob:
        """A map in blocks of ``block`` px, of all the scene or of ``extent``; it is declared on disk."""
        blocks = Blocks.covering(extent or self.extent, block)
        grid = self.aerial.grid.with_extent(blocks.extent)
        legend = self.model.settings.card.legend()
        template = MapTemplate(grid=grid, blocks=blocks, legend=legend, probability=True, date_fallback=True, chunk=64)
        return MapJob(
            key=name,
            grid=grid,
            blocks=blocks,
            factor=1,
            blending=Blending(Lattice(window=WINDOW, stride=STRIDE, unit=64), Blend.COSINE),
            model=self.model,
            inputs={
                "AERIAL_RGBI": MapInput(source=self.aerial, bands=("R", "G")),
                "SENTINEL2_TS": MapInput(
                    source=self.series, bands=SERIES_BANDS, factor=FACTOR, required=False, dates=RULE, year=2021
                ),
            },
            legend=legend,
            area=None,
            store=create_map(Target.parse(self.folder / f"{name}.zarr"), template),
            arrays=template.arrays,
        )

    def map(self, name: str, block: int, *, extent: Extent | None = None, engine: Engine | None = None) -> MapStore:
        """The finished map."""
        job = self.job(name, block, extent)
        if engine is None:
            function = job.open()
            results = [(index, function(index)) for index in job.blocks]
        else:
            results = list(engine.run(job, list(job.blocks)))
        assert all(result.state.finished for _, result in results), results
        return job.store


def assert_same(one: MapStore, other: MapStore, extent: Extent) -> None:
    for name in ARRAYS:
        np.testing.assert_array_equal(other.read(name, extent), one.read(name, extent), err_msg=name)


def assert_worth_comparing(fusion: Fusion, store: MapStore) -> None:
    """Classes and confidences vary, and neighbouring windows were given 3, 9 and 30 dates."""
    found = store.read("landcover", fusion.extent)
    shares = np.bincount(found.ravel(), minlength=5) / found.size
    assert shares.min() > 0.001
    assert shares.max() < 0.8
    assert len(np.unique(store.read("confidence", fusion.extent))) > 50
    job = fusion.job("windows", 128)
    windows = list(job.blending.lattice.windows(fusion.extent))
    lengths = Counter(int(job.window(window)["SENTINEL2_TS"].present.sum()) for window in windows)
    assert set(lengths) == set(DATES)


@pytest.fixture
def scene(tmp_path: Path) -> Fusion:
    return Fusion.make(tmp_path)


@pytest.mark.slow
def test_fused_maps_agree_for_any_block_and_area(scene: Fusion) -> None:
    reference = scene.map("reference", 128)
    assert_worth_comparing(scene, reference)
    y, x = scene.extent.y, scene.extent.x
    moved = Extent.of((y.start + 21, y.stop - 17), (x.start + 51, x.stop - 71))
    assert_same(reference, scene.map("moved", 192, extent=moved), moved)


@pytest.mark.slow
def test_fused_maps_agree_for_any_engine(scene: Fusion) -> None:
    reference = scene.map("reference", 64)
    assert_worth_comparing(scene, reference)
    assert_same(reference, scene.map("large", 448), scene.extent)
    for workers, block in ((1, 192), (2, 64), (2, 320)):
        with local_engine(workers=workers, torch_threads=1) as engine:
            found = scene.map(f"dask-{workers}-{block}", block, engine=engine)
        assert_same(reference, found, scene.extent)


def test_the_dates_change_the_answer(scene: Fusion) -> None:
    """Where the network did not look at its dates, the laws above would say nothing of them."""
    job = scene.job("looked", 256)
    window = next(iter(job.blending.lattice.windows(scene.extent)))
    given = job.window(window)
    shifted = replace(given["SENTINEL2_TS"], days=given["SENTINEL2_TS"].days + 40)
    predictor, answers = job.model.open(), []
    for series in (given["SENTINEL2_TS"], shifted):
        batch = {"AERIAL_RGBI": given["AERIAL_RGBI"], "SENTINEL2_TS": series}
        twice = {name: replace(each, **doubled(each)) for name, each in batch.items()}
        answers.append(np.asarray(predictor.predict(twice))[0])
    assert np.abs(answers[0] - answers[1]).max() > 1e-3


def doubled(batch) -> dict[str, NDArray]:
    parts = {name: getattr(batch, name) for name in ("values", "valid", "days", "present")}
    return {name: np.repeat(part, 2, 0) for name, part in parts.items() if part is not None}
