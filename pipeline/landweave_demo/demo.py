"""The demo from start to end: make data, align and map them as anyone would theirs, and compare with the truth."""

from __future__ import annotations

import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np
import rioxarray
import xarray as xr
from numpy.typing import NDArray

import landweave as lw
from landweave_demo.data import CONFIG, DemoData, make_demo_data
from landweave_demo.landscape.landscape import DEMO_SEED, DEMO_SHAPE
from landweave_demo.picture import write_panels
from landweave_demo.report import DemoReport
from landweave_demo.satellites.satellite_year import YEAR

_WITHOUT_OVERLAP = {
    "windows.overlap": 0,
    "windows.blend": "crop",
    "output.store": "crop.zarr",
    "output.cog": None,
    "output.picture": None,
}
"""The same map without overlap: what most tools do, for comparison."""

_MADE = {
    *(CONFIG, "imagery", "cube.zarr", "crop.zarr", "demo.png"),
    *("landcover.zarr", "landcover.tif", "landcover.tif.aux.xml", "landcover.png"),
}
"""Everything that a demo makes in its folder."""


def run_demo(
    folder: Path, *, progress: Any = None, shape: tuple[int, int] = DEMO_SHAPE, seed: int = DEMO_SEED
) -> DemoReport:
    """Make the demo's data in ``folder``, map them, score the map and draw it; an earlier demo there is replaced.

    Parameters
    ----------
    folder
        Empty, missing, or an earlier demo.
    progress
        As `landweave.run` takes it.
    shape
        Height and width of the landscape in pixels of 0.2 m.
    seed
        Of the landscape.

    Raises
    ------
    landweave.errors.InputError
        When ``folder`` holds something that is not an earlier demo.
    """
    _clear(folder)
    started = time.perf_counter()
    data = make_demo_data(folder, seed=seed, shape=shape)
    data_seconds = time.perf_counter() - started
    config = lw.load_config(data.config)
    without_overlap = lw.load_config(data.config, overrides=_WITHOUT_OVERLAP)
    with lw.open_engine(config) as engine:
        lw.align(config, engine=engine, progress=progress)
        result = lw.run(config, engine=engine, progress=progress)
        lw.run(without_overlap, engine=engine, progress=progress)
    truth = _open_truth(data.files.truth)
    blended, cropped = (_map_over(truth, config.path(config.output.store)) for config in (config, without_overlap))
    truth = truth.assign_coords(x=blended.x, y=blended.y)  # the same pixels; a float may differ in its last bit
    scores = blended.landweave.scores(truth)
    by_class = zip(scores.codes, scores.iou.tolist(), scores.confusion.sum(axis=1), strict=True)
    report = DemoReport(
        folder=folder,
        run=str(result),
        exit_code=result.exit_code,
        data_seconds=data_seconds,
        accuracy=scores.accuracy,
        ious={code: iou for code, iou, pixels in by_class if pixels},
        blended_seams=blended.landweave.seams(truth).score,
        cropped_seams=cropped.landweave.seams(truth).score,
        names=blended.landweave.legend.names,
    )
    _draw(report, data, blended, truth)
    return report


def _clear(folder: Path) -> None:
    """Remove an earlier demo: a folder of what a demo makes and nothing else."""
    names = {path.name.removesuffix(".lease") for path in folder.iterdir()} if folder.exists() else set()
    foreign = sorted(names - _MADE)
    if foreign or (names and not (folder / "imagery" / "truth.tif").exists()):
        what = foreign[0] if foreign else "no truth.tif in imagery"
        raise lw.errors.InputError(f"{folder} holds something that is not a demo ({what}): choose another folder.")
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)


def _open_truth(path: Path) -> xr.DataArray:
    bands = rioxarray.open_rasterio(path)
    assert isinstance(bands, xr.DataArray)
    return bands[0]


def _map_over(truth: xr.DataArray, store: str) -> xr.Dataset:
    """Return the part of a map that lies on the pixels of ``truth``."""
    left, bottom, right, top = truth.rio.bounds()
    part: xr.Dataset = lw.open_map(store).sel(x=slice(left, right), y=slice(top, bottom))
    return part


def _draw(report: DemoReport, data: DemoData, blended: xr.Dataset, truth: xr.DataArray) -> None:
    pixel_m = float(truth.x[1] - truth.x[0])
    height_m, width_m = (round(size * pixel_m) for size in truth.shape)
    write_panels(
        report.picture,
        {
            "aerial image (R, G, B)": _delivered_image(data, truth),
            "land cover, mapped": blended.landcover.values,
            "land cover, truth": truth.values,
            "confidence: probability of the class mapped": xr.decode_cf(blended[["confidence"]]).confidence.values,
        },
        blended.landweave.legend,
        resolution_m=pixel_m,
        title=f"A synthetic landscape of {width_m} x {height_m} m in {YEAR}, no real place: land cover from aerial "
        "images, heights, Sentinel-2 and Sentinel-1",
        subtitle=f"accuracy {report.accuracy:.1%}, mIoU {report.mean_iou:.1%} against the synthetic truth; crops that "
        f"only a series tells apart {report.seasonal_iou:.1%}; seam score {report.blended_seams:.2f}",
    )


def _delivered_image(data: DemoData, truth: xr.DataArray) -> NDArray[np.uint8]:
    """Return the image of the delivered tiles on the pixels of ``truth``: red, green, blue, and 255 or 0 = nodata."""
    tiles = lw.open_mosaic(data.files.rvb, {"R": 1, "G": 2, "B": 3}, like=truth, nodata_border=True)
    return np.dstack([*tiles.values, np.where(tiles.valid, 255, 0)]).astype(np.uint8)
