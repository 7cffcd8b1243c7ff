"""Sentinel scenes on disk: cloud-optimised GeoTIFFs behind a static STAC catalog."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pystac
import rasterio

from landweave_demo.files.sentinel_scenes import (
    CRS,
    NODATA,
    SENTINEL1,
    SENTINEL2,
    AssetFile,
    SceneItem,
    UtmBounds,
    optical_scenes,
    radar_scenes,
    utm_bounds,
)
from landweave_demo.satellites.satellite_year import YEAR, SatelliteYear

CATALOG = "catalog.json"

_COG: dict[str, Any] = {"driver": "COG", "compress": "deflate", "blocksize": 512, "overviews": "none", "level": 1}
_EXTENSIONS = {
    "eo": "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "projection": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "raster": "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "sar": "https://stac-extensions.github.io/sar/v1.0.0/schema.json",
    "sat": "https://stac-extensions.github.io/sat/v1.0.0/schema.json",
}
_LICENCE = "Apache-2.0"


def write_sentinel(year: SatelliteYear, folder: Path) -> Path:
    """Write the scenes of a year and return the path of their STAC catalog.

    Parameters
    ----------
    year
        That is acquired.
    folder
        Gets ``catalog.json``, the collections and the files.
    """
    whole = utm_bounds(year.truth.shape)
    catalog = pystac.Catalog(id="synthetic-year", description="Sentinel-1 and Sentinel-2 over a synthetic landscape.")
    titles = {
        SENTINEL2: "Sentinel-2 level 2A, surface reflectance (synthetic)",
        SENTINEL1: "Sentinel-1 sigma0, calibrated and orthorectified, linear power (synthetic)",
    }
    scenes = (*optical_scenes(year, whole), *radar_scenes(year, whole))
    with ThreadPoolExecutor(max_workers=2) as pool:
        items = list(pool.map(lambda scene: _write_scene(scene, folder), scenes))
    for name, title in titles.items():
        collection = pystac.Collection(id=name, description=title, extent=_extent(whole), license=_LICENCE)
        catalog.add_child(collection)
        collection.add_items(item for item in items if item.collection_id == name)
    catalog.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    return folder / CATALOG


def _write_scene(scene: SceneItem, folder: Path) -> pystac.Item:
    """Write the files of a scene and return its STAC item."""
    home = folder / scene.collection / scene.id
    home.mkdir(parents=True, exist_ok=True)
    for file in scene.files:
        _write_file(file, scene.bounds, home / file.name)
    west, south, east, north = scene.bounds.lonlat()
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    used = {key.partition(":")[0] for key in scene.properties}
    item = pystac.Item(
        id=scene.id,
        geometry={"type": "Polygon", "coordinates": [ring]},
        bbox=[west, south, east, north],
        datetime=pystac.utils.str_to_datetime(scene.time),
        properties={**scene.properties, "proj:code": CRS},
        stac_extensions=[url for name, url in _EXTENSIONS.items() if name in {"projection", "raster", *used}],
        collection=scene.collection,
    )
    for file in scene.files:
        item.add_asset(file.key, _asset(file, scene.bounds))
    return item


def _asset(file: AssetFile, bounds: UtmBounds) -> pystac.Asset:
    georeference = {"proj:shape": list(file.values.shape), "proj:transform": list(bounds.transform(file.pixel_m))[:6]}
    return pystac.Asset(
        href=f"./{file.name}",
        title=str(file.metadata["title"]),
        description=file.metadata.get("description"),
        media_type=pystac.MediaType.COG,
        roles=["data"],
        extra_fields={**{key: value for key, value in file.metadata.items() if ":" in key}, **georeference},
    )


def _write_file(file: AssetFile, bounds: UtmBounds, path: Path) -> None:
    height, width = file.values.shape
    with rasterio.open(
        path, "w", count=1, height=height, width=width, dtype=file.values.dtype.name, nodata=NODATA, crs=CRS,
        transform=bounds.transform(file.pixel_m), **_COG,
    ) as dataset:  # fmt: skip
        dataset.write(file.values, 1)


def _extent(whole: UtmBounds) -> pystac.Extent:
    first, last = (pystac.utils.str_to_datetime(f"{YEAR}-{day}T00:00:00Z") for day in ("01-01", "12-31"))
    return pystac.Extent(pystac.SpatialExtent([list(whole.lonlat())]), pystac.TemporalExtent([[first, last]]))
