"""Data of the demo on disk: tiles, Sentinel scenes behind a catalog, and the configuration that maps them."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import landweave as lw
from landweave_demo.files.aerial_files import LandscapeFiles, write_landscape
from landweave_demo.files.sentinel_catalog import write_sentinel
from landweave_demo.landscape.landscape import Landscape, make_landscape
from landweave_demo.satellites.satellite_year import make_satellite_year

CONFIG = "demo.yaml"


@dataclass(frozen=True, kw_only=True)
class DemoData:
    """A landscape and its files.

    Attributes
    ----------
    landscape
        The pixels.
    files
        Tiles and land-cover truth.
    catalog
        STAC catalog of the Sentinel scenes.
    config
        Configuration of a map of it all: ``demo.yaml``.
    """

    landscape: Landscape
    files: LandscapeFiles
    catalog: Path
    config: Path


def make_demo_data(folder: str | Path, *, seed: int = 7, shape: tuple[int, int] = (1024, 1280)) -> DemoData:
    """Make a landscape and its satellite year, and write them with their configuration.

    Parameters
    ----------
    folder
        Gets ``demo.yaml``, and ``imagery`` with the tiles, ``truth.tif`` and the Sentinel scenes.
    seed
        Of landscape and year; the same seed and shape give the same files.
    shape
        Height and width in pixels of 0.2 m, 512 and more.

    Raises
    ------
    ValueError
        When a side is shorter than 512 pixels.
    """
    folder = Path(folder)
    landscape = make_landscape(seed, height=shape[0], width=shape[1])
    imagery = folder / "imagery"
    with ThreadPoolExecutor(max_workers=1) as pool:
        catalog = pool.submit(lambda: write_sentinel(make_satellite_year(landscape, seed), imagery / "sentinel"))
        files = write_landscape(landscape, imagery)
        (folder / CONFIG).write_text(str(lw.example_config("demo")), encoding="utf-8")
        return DemoData(landscape=landscape, files=files, catalog=catalog.result(), config=folder / CONFIG)
