"""Sentinel scenes on disk with the STAC items that a catalog would serve for them: no tests here.

Write the bands of a scene with `write_scene`, give the answer to `optical_item` or `radar_item`, put the items in a
file with `tests.helpers.stac_items.write_items`, and any reader of STAC finds them::

    files = write_scene(folder, {"B2": plane, "SCL": classes}, corner_xy=(500000, 4900000), crs="EPSG:32631")
    catalog = write_items(folder / "items.json", optical_item(files, day="20210614", tile="31TEJ"))
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from affine import Affine
from numpy.typing import NDArray
from rasterio.warp import transform_bounds

from landweave.sources.stac.observations import group_observations
from landweave.sources.stac.records import ObservationScenes, Scene
from landweave.sources.stac.sentinel1 import read_sentinel1
from landweave.sources.stac.sentinel2 import read_sentinel2
from tests.helpers.stac_items import Item, optical, radar

FINE = ("B2", "B3", "B4", "B8")
"""Bands of 10 m; all others lie on pixels of 20 m."""

Planes = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, kw_only=True)
class SceneFile:
    """One band on disk, and what an item tells of it."""

    path: Path
    crs: str
    transform: Affine
    shape: tuple[int, int]

    @property
    def asset(self) -> dict[str, Any]:
        """As an item has it: the file and where its pixels lie."""
        return {
            "href": str(self.path),
            "type": "image/tiff; application=geotiff; profile=cloud-optimized",
            "proj:epsg": int(self.crs.split(":")[1]),
            "proj:shape": list(self.shape),
            "proj:transform": [float(number) for number in tuple(self.transform)[:6]],
        }


def write_scene(
    folder: Path,
    planes: Planes,
    *,
    corner_xy: tuple[float, float],
    crs: str = "EPSG:32631",
    nodata: float | None = 0,
    block: int = 256,
) -> dict[str, SceneFile]:
    """Cloud-optimised GeoTIFFs of ``planes`` ``(y, x)`` by band, north-west corner at ``corner_xy``.

    Bands of `FINE`, and those of radar, have pixels of 10 m, others of 20 m.
    """
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for band, plane in planes.items():
        side = 10.0 if band in (*FINE, "VV", "VH") else 20.0
        transform = Affine(side, 0, corner_xy[0], 0, -side, corner_xy[1])
        files[band] = _write(folder / f"{band}.tif", plane, transform, crs=crs, nodata=nodata, blocksize=block)
    return files


def optical_item(files: Mapping[str, SceneFile], day: str = "20210614", **settings: Any) -> Item:
    """A Sentinel-2 item of ``files``; ``settings`` are those of `tests.helpers.stac_items.optical`."""
    item = optical(day, box=_box(files), **settings)
    item["assets"] = {_key(band): file.asset for band, file in files.items()}
    return item


def radar_item(files: Mapping[str, SceneFile], day: str = "20210614", **settings: Any) -> Item:
    """A Sentinel-1 item of ``files`` ``VV`` and ``VH``: gamma0, terrain corrected."""
    item = radar(day, box=_box(files), **settings)
    item["assets"] = {
        band.lower(): {**file.asset, "raster:bands": [{"nodata": -32768}]} for band, file in files.items()
    }
    return item


def observations_of(items: Sequence[Item], bands: Sequence[str]) -> tuple[ObservationScenes, ...]:
    """Dates of ``items``, as a search makes them."""
    observations, _ = group_observations(_read(item, bands) for item in items)
    return observations


def as_pystac(items: Sequence[Item]) -> list[pystac.Item]:
    """The items for libraries that read STAC themselves."""
    return [pystac.Item.from_dict(item) for item in items]


def coded(shape: tuple[int, int], *, seed: int = 0, low: int = 1100, high: int = 9000) -> NDArray[np.uint16]:
    """Numbers from ``low`` to ``high`` without any pattern: no shift, flip or transposition leaves them alone."""
    return np.random.default_rng(seed).integers(low, high, shape).astype(np.uint16)


def _read(item: Item, bands: Sequence[str]) -> Scene:
    return (read_sentinel1 if "vv" in item["assets"] else read_sentinel2)(item, bands)


def _write(path: Path, plane: NDArray[Any], transform: Affine, **profile: Any) -> SceneFile:
    height, width = plane.shape
    where = {"width": width, "height": height, "count": 1, "dtype": plane.dtype, "transform": transform}
    form = {"driver": "COG", "compress": "deflate", "predictor": "yes", "overviews": "none"}
    with rasterio.open(path, "w", **where, **form, **profile) as dataset:
        dataset.write(plane, 1)
    return SceneFile(path=path, crs=profile["crs"], transform=transform, shape=plane.shape)


def _box(files: Mapping[str, SceneFile]) -> tuple[float, float, float, float]:
    file = next(iter(files.values()))
    bounds = rasterio.transform.array_bounds(*file.shape, file.transform)
    return tuple(transform_bounds(file.crs, "EPSG:4326", *bounds))


def _key(band: str) -> str:
    return f"B0{band[1:]}" if band[0] == "B" and len(band) == 2 else band
