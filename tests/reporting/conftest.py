"""A small map with hostile names, its configuration with an aerial picture, zones over it, and its page."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
from affine import Affine

import landweave as lw
from landweave.core.legend import Legend
from landweave.store.maps.store import MapStore
from tests.publishing.conftest import ATTRIBUTES, COSIA, finished_map

HOSTILE = "</script><script>document.title='x'</script>"


class Reported(NamedTuple):
    folder: Path
    store: MapStore
    arrays: dict[str, np.ndarray]
    page: Path


@pytest.fixture(scope="session")
def reported(tmp_path_factory: pytest.TempPathFactory) -> Reported:
    folder = tmp_path_factory.mktemp("reported")
    first, *rest = COSIA.classes
    legend = Legend(name="cosia", classes=(replace(first, name=f"building {HOSTILE}"), *rest))
    attributes = {**ATTRIBUTES, "title": f"Land cover of {HOSTILE}", "source": HOSTILE}
    store, arrays = finished_map(folder / "out.zarr", legend=legend, attributes=attributes)
    x0, y0, x1, y1 = store.grid.bounds
    middle = (x0 + x1) / 2
    zones = [shapely.box(x0, y0, middle, y1), shapely.box(middle, y0, x1 + 5, y1)]
    geopandas.GeoDataFrame({"nom": ["Ouest", HOSTILE]}, geometry=zones, crs=store.grid.crs).to_file(
        folder / "zones.gpkg"
    )
    (folder / "rvb").mkdir()
    height, width = store.grid.shape
    profile = {"count": 3, "height": height, "width": width, "dtype": "uint8", "crs": store.grid.crs, "driver": "GTiff"}
    with rasterio.open(folder / "rvb/a.tif", "w", **profile, transform=Affine(0.2, 0, x0, 0, -0.2, y1)) as tile:
        tile.write(np.broadcast_to(np.array([40, 120, 60], np.uint8)[:, None, None], (3, height, width)))
    bands = "".join(f"{band}: {{files: rvb, band: {number}}}, " for number, band in enumerate("RGB", 1))
    (folder / "map.yaml").write_text(
        f"grid: {{crs: 'EPSG:2154'}}\nmodel: {{card: LC-A}}\noutput: {{store: out.zarr}}\n"
        f"inputs: {{AERIAL_RGBI: {{kind: mosaic, bands: {{{bands}}}}}}}\n"
    )
    config = lw.load_config(folder / "map.yaml")
    page = lw.report(config, folder / "report.html", zones=folder / "zones.gpkg", language="fr")
    return Reported(folder, store, arrays, page)
