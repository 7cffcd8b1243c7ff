"""The demo from start to end: make a scene, align and map it as anyone would theirs, and compare with the truth."""

from __future__ import annotations

import shutil
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import rasterio
from numpy.typing import NDArray

from landweave import api
from landweave.config.package_data import configs_folder
from landweave.config.schema import Config
from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent, Lattice
from landweave.core.metrics import Scores, Seams, score, seams
from landweave.core.protocols import MapReader
from landweave.formats.picture import Panel, write_panels
from landweave.jobs.progress import Progress
from landweave.jobs.result import RunResult
from landweave.store.maps.store import open_store
from landweave.store.objects import Target
from landweave_demo.files import SceneFiles, write_scene
from landweave_demo.landuse import CROP_CODES, SEASONAL
from landweave_demo.scene import DEMO_SEED, DEMO_SHAPE, Scene, make_scene
from landweave_demo.season import make_season
from landweave_demo.sentinel import write_sentinel

CONFIG = "demo.yaml"
PICTURE = "demo.png"

_CROP = {
    "windows.overlap": 0,
    "windows.blend": "crop",
    "output.store": "crop.zarr",
    "output.cog": None,
    "output.picture": None,
}
"""The same map without overlap: what most tools do, for comparison."""


@dataclass(frozen=True, kw_only=True)
class DemoReport:
    """What the demo made and how good it is; the scene is synthetic, so are its scores.

    Attributes
    ----------
    folder
        Holds the scene, the configuration, the cube, the map (Zarr, COG, PNG) and ``demo.png``.
    summary
        Of the run of the blended map.
    scene_seconds
        What making and writing the scene took.
    scores
        Against the truth, over all pixels that have both.
    blended, cropped
        Seams of the map, and of the same map from windows without overlap.
    names
        Of the classes, by code.
    """

    folder: Path
    summary: RunResult
    scene_seconds: float
    scores: Scores
    blended: Seams
    cropped: Seams
    names: dict[int, str]

    @property
    def seasonal_iou(self) -> float:
        """Mean IoU of the crops that only their season tells."""
        ious = dict(zip(self.scores.codes, self.scores.iou, strict=True))
        return float(np.mean([ious.get(CROP_CODES[crop], 0.0) for crop in SEASONAL]))

    def __str__(self) -> str:
        ious = zip(self.scores.codes, self.scores.iou, strict=True)
        return "\n".join(
            [
                f"scene         made in {self.scene_seconds:.0f} s (synthetic, seed {DEMO_SEED}, not seen in training)",
                f"map           {self.summary}",
                f"accuracy      {self.scores.accuracy:.3f} against the synthetic truth",
                f"mIoU          {self.scores.mean_iou:.3f} over {len(self.scores.codes)} classes",
                f"of season     {self.seasonal_iou:.3f} mean IoU of {', '.join(SEASONAL)}, which look alike in pairs",
                *(f"  {self.names[code]:<24} {iou:.3f}" for code, iou in ious),
                f"seam score    {self.blended.score:.3f} blended (cosine)",
                f"              {self.cropped.score:.3f} cropped (overlap 0)",
                f"look at       {self.folder / PICTURE}",
            ]
        )


def run_demo(
    folder: Path, *, progress: Progress | bool = True, shape: tuple[int, int] = DEMO_SHAPE, seed: int = DEMO_SEED
) -> DemoReport:
    """Make the demo's scene in ``folder``, map it, score it and draw it; an earlier demo there is replaced.

    Raises
    ------
    InputError
        When ``folder`` holds something that is not an earlier demo.
    """
    _clear(folder)
    started = time.perf_counter()
    scene = make_scene(seed, height=shape[0], width=shape[1])
    with ThreadPoolExecutor(max_workers=1) as beside:
        series = beside.submit(lambda: write_sentinel(make_season(scene, seed), folder / "scene" / "sentinel"))
        files = write_scene(scene, folder / "scene")
        series.result()
    scene_seconds = time.perf_counter() - started
    config = api.load_config(folder / CONFIG)
    cropping = api.load_config(folder / CONFIG, overrides=_CROP)
    with api.open_engine(config) as engine:
        api.align(config, engine=engine, progress=progress)
        summary = api.run(config, engine=engine, progress=progress)
        api.run(cropping, engine=engine, progress=progress)
    return _report(folder, scene, files, (config, cropping), (summary, scene_seconds))


def _clear(folder: Path) -> None:
    if folder.exists() and any(folder.iterdir()) and not (folder / CONFIG).exists():
        raise InputError(f"{folder} holds something that is not a demo: choose another folder.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copy(configs_folder() / CONFIG, folder / CONFIG)


def _report(
    folder: Path, scene: Scene, files: SceneFiles, configs: tuple[Config, Config], run: tuple[RunResult, float]
) -> DemoReport:
    blended, cropped = (open_store(Target.parse(config.path(config.output.store))) for config in configs)
    truth, extent = _truth(files, blended.grid)
    classes = blended.read("landcover", extent)
    summary, scene_seconds = run
    with ThreadPoolExecutor() as beside:
        judged = beside.map(lambda reader, config: _seams(reader, extent, truth, config), (blended, cropped), configs)
        scores = score(truth, classes, sorted(set(np.unique(truth).tolist()) & set(blended.legend.codes)))
    of_blended, of_cropped = judged
    report = DemoReport(
        folder=folder,
        summary=summary,
        scene_seconds=scene_seconds,
        scores=scores,
        blended=of_blended,
        cropped=of_cropped,
        names=blended.legend.names,
    )
    write_panels(
        folder / PICTURE,
        [
            Panel(title="aerial image (R, G, B)", image=np.moveaxis(scene.rgbi[:3], 0, -1)),
            Panel(title="land cover, mapped", image=classes),
            Panel(title="land cover, truth", image=truth),
        ],
        blended.legend,
        resolution_m=float(blended.grid.resolution),
        title="A made-up piece of country, mapped from aerial images, heights and a year of Sentinel-2 and Sentinel-1",
        subtitle=f"accuracy {report.scores.accuracy:.1%}, mIoU {report.scores.mean_iou:.1%} against a synthetic truth; "
        f"crops that only their season tells {report.seasonal_iou:.1%}; seam score {report.blended.score:.2f}",
        credit="Synthetic scene: nothing here is real.",
    )
    return report


def _truth(files: SceneFiles, grid: Grid) -> tuple[NDArray[np.uint8], Extent]:
    with rasterio.open(files.truth) as dataset:
        truth: NDArray[np.uint8] = dataset.read(1)
        bounds = dataset.bounds
        half = float(grid.resolution) / 2  # half a pixel in: floats of a bound may lie a hair outside
    inner = (bounds.left + half, bounds.bottom + half, bounds.right - half, bounds.top - half)
    return truth, grid.covering(inner)


def _seams(reader: MapReader, extent: Extent, truth: NDArray[np.uint8], config: Config) -> Seams:
    windows = config.windows
    assert windows.size is not None
    assert windows.overlap is not None
    lattice = Lattice(window=windows.size, stride=windows.size - windows.overlap)
    blocks = Blocks.covering(extent, reader.block_size)
    return seams(reader.read("landcover", extent), extent, lattice, blocks, truth=truth)
