"""A year on disk as a catalog serves it: Sentinel-1 and Sentinel-2 files in UTM behind static STAC.

::

    catalog.json
    sentinel-2-l2a/            31TCJ |------------------|
                                          |------------------| 31TDJ     one pass, delivered as two tiles
    sentinel-1-sigma0-ortho/   |-------------------------------|         one file a pass and polarisation

Until ESA's baseline 04.00 numbers of Sentinel-2 are reflectance x 10000, from then on 1000 more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import rasterio
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.warp import transform_bounds

from landweave.core.timeseries import PixelClass
from landweave_demo.files.aerial_files import LEFT_PX, PIXELS_PER_M, TOP_PX
from landweave_demo.landscape.grid import Floats
from landweave_demo.landscape.noise import generator
from landweave_demo.satellites.phenology import FINE_BANDS, OPTICAL_BANDS, RADAR_BANDS
from landweave_demo.satellites.satellite_year import PixelCentres, SatelliteYear

CATALOG = "catalog.json"
SENTINEL2, SENTINEL1 = "sentinel-2-l2a", "sentinel-1-sigma0-ortho"
CRS = "EPSG:32631"

MARGIN_M = 300
"""How much further than the landscape the files go: a window at its edge wants to be seen whole."""

OFFSET_SINCE = np.datetime64("2022-01-25")
"""First day of baseline 04.00."""

OFFSET = 1000
NODATA = 0

_SNAP_M = 60
_TILES = {"31TCJ": (0.0, 0.62), "31TDJ": (0.38, 1.0)}
_OPTICAL_TIME, _OPTICAL_ORBIT = "10:50:31", 51
_RADAR_PASSES = {"ascending": ("17:48:12", 30, 41_300), "descending": ("06:01:04", 110, 41_352)}
_COMMON = {
    "B2": "blue", "B3": "green", "B4": "red", "B5": "rededge", "B6": "rededge", "B7": "rededge", "B8": "nir",
    "B8A": "nir08", "B11": "swir16", "B12": "swir22",
}  # fmt: skip
_COG: dict[str, Any] = {"driver": "COG", "compress": "deflate", "blocksize": 512, "overviews": "none", "level": 1}
_EXTENSIONS = {
    "eo": "https://stac-extensions.github.io/eo/v1.1.0/schema.json",
    "projection": "https://stac-extensions.github.io/projection/v2.0.0/schema.json",
    "raster": "https://stac-extensions.github.io/raster/v1.1.0/schema.json",
    "sar": "https://stac-extensions.github.io/sar/v1.0.0/schema.json",
    "sat": "https://stac-extensions.github.io/sat/v1.0.0/schema.json",
}
_LICENCE = "Apache-2.0"


@dataclass(frozen=True, kw_only=True)
class UtmBounds:
    """Ground of a file in metres of UTM, its sides on whole 60 m."""

    left: int
    top: int
    right: int
    bottom: int

    def shape(self, pixel_m: int) -> tuple[int, int]:
        """Pixels as (y, x)."""
        return (self.top - self.bottom) // pixel_m, (self.right - self.left) // pixel_m

    def transform(self, pixel_m: int) -> Affine:
        """PixelCentres of its pixels."""
        return Affine(pixel_m, 0.0, self.left, 0.0, -pixel_m, self.top)

    def within(self, whole: UtmBounds, pixel_m: int) -> tuple[slice, slice]:
        """Its pixels among those of ``whole``."""
        row, col = (whole.top - self.top) // pixel_m, (self.left - whole.left) // pixel_m
        height, width = self.shape(pixel_m)
        return slice(row, row + height), slice(col, col + width)

    def lonlat(self) -> tuple[float, float, float, float]:
        """Longitudes and latitudes (west, south, east, north)."""
        west, south, east, north = transform_bounds(CRS, "EPSG:4326", self.left, self.bottom, self.right, self.top)
        return west, south, east, north


@dataclass(frozen=True, kw_only=True)
class _AssetFile:
    """One file of an item: its asset's key, name and metadata, and what it holds (y, x)."""

    key: str
    name: str
    values: NDArray[Any]
    pixel_m: int
    metadata: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class _SceneItem:
    """One item: where and when, what it says, and its files."""

    id: str
    collection: str
    time: str
    bounds: UtmBounds
    properties: Mapping[str, Any]
    files: tuple[_AssetFile, ...]


def write_sentinel(year: SatelliteYear, folder: Path) -> Path:
    """Return the catalog of a year, written under ``folder``."""
    whole = utm_bounds(year.truth.shape)
    catalog = pystac.Catalog(id="made-up-year", description="Sentinel-1 and Sentinel-2 over a made-up landscape.")
    titles = {
        SENTINEL2: "Sentinel-2 level 2A, surface reflectance (synthetic)",
        SENTINEL1: "Sentinel-1 sigma0, calibrated and orthorectified, linear power (synthetic)",
    }
    scenes = (*optical_scenes(year, whole), *radar_scenes(year, whole))
    with ThreadPoolExecutor(max_workers=2) as pool:
        items = list(pool.map(lambda scene: _write(scene, folder), scenes))
    for name, title in titles.items():
        collection = pystac.Collection(id=name, description=title, extent=_extent(whole), license=_LICENCE)
        catalog.add_child(collection)
        collection.add_items(item for item in items if item.collection_id == name)
    catalog.normalize_and_save(str(folder), pystac.CatalogType.SELF_CONTAINED)
    return folder / CATALOG


def utm_bounds(shape: tuple[int, ...]) -> UtmBounds:
    """Return what files over a landscape of ``shape`` (y, x) pixels cover."""
    left, top = LEFT_PX / PIXELS_PER_M, TOP_PX / PIXELS_PER_M
    bounds = (left, top - shape[0] / PIXELS_PER_M, left + shape[1] / PIXELS_PER_M, top)
    x0, y0, x1, y1 = transform_bounds("EPSG:2154", CRS, *bounds)
    low_x, low_y = (int((low - MARGIN_M) // _SNAP_M) * _SNAP_M for low in (x0, y0))
    high_x, high_y = (-int(-(high + MARGIN_M) // _SNAP_M) * _SNAP_M for high in (x1, y1))
    return UtmBounds(left=low_x, top=high_y, right=high_x, bottom=low_y)


def pixel_centres(bounds: UtmBounds, pixel_m: int) -> PixelCentres:
    """Return pixels of UTM as places of the landscape."""
    height, width = bounds.shape(pixel_m)
    x, y = np.meshgrid(
        bounds.left + (np.arange(width) + 0.5) * pixel_m, bounds.top - (np.arange(height) + 0.5) * pixel_m
    )
    east, north = Transformer.from_crs(CRS, "EPSG:2154", always_xy=True).transform(x, y)
    return PixelCentres(x=east - LEFT_PX / PIXELS_PER_M, y=TOP_PX / PIXELS_PER_M - north, pixel_m=pixel_m)


def optical_scenes(year: SatelliteYear, whole: UtmBounds) -> Iterator[_SceneItem]:
    """Yield the tiles of every date: both show the same ground where they overlap."""
    tiles = {name: _part(whole, *reach) for name, reach in _TILES.items()}
    # The same stream for both pixel sizes: one date has one haze.
    seen = {pixel_m: year.optical(pixel_centres(whole, pixel_m), generator(0, 50)) for pixel_m in (10, 20)}
    for date, day in enumerate(year.days):
        classes = scene_classification(seen[20].values[date], seen[20].pixel_class[date])
        for tile, bounds in tiles.items():
            cut = {pixel_m: view.values[date][:, *bounds.within(whole, pixel_m)] for pixel_m, view in seen.items()}
            yield _optical(tile, bounds, day, cut, classes[bounds.within(whole, 20)])


def scene_classification(values: Floats, pixel_class: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return Sentinel-2's landscape classes (y, x) of reflectance (band, y, x) whose pixel states are known."""
    red, infrared, far = (values[OPTICAL_BANDS.index(band)] for band in ("B4", "B8", "B11"))
    green = (infrared - red) / (infrared + red)
    clear = np.where(far < 300, 6, np.where(green > 0.4, 4, 5))
    codes = {PixelClass.CLOUD: 9, PixelClass.SNOW: 11, PixelClass.SHADOW: 3}
    return np.select([pixel_class == each for each in codes], list(codes.values()), clear).astype(np.uint8)


def radar_scenes(year: SatelliteYear, whole: UtmBounds) -> Iterator[_SceneItem]:
    """Yield every pass of both orbits."""
    for orbit, (clock, relative, absolute) in _RADAR_PASSES.items():
        power = year.radar(orbit, pixel_centres(whole, 10), generator(0, 51, relative))
        for values, day in zip(power, year.radar_days[orbit], strict=True):
            days = int((day - np.datetime64("2022-01-01")).astype(int))
            orbits = {"relative": relative, "absolute": absolute + round(days * 175 / 12)}
            yield _radar(values, whole, (day, clock), orbit, orbits)


def _part(whole: UtmBounds, low: float, high: float) -> UtmBounds:
    left, right = (whole.left + round(at * (whole.right - whole.left) / _SNAP_M) * _SNAP_M for at in (low, high))
    return replace(whole, left=left, right=right)


def _optical(
    tile: str, bounds: UtmBounds, day: np.datetime64, values: Mapping[int, Floats], classes: NDArray[np.uint8]
) -> _SceneItem:
    added = OFFSET if day >= OFFSET_SINCE else 0
    baseline = "04.00" if added else "03.01"
    start = f"{day}T{_OPTICAL_TIME}".replace("-", "").replace(":", "")
    made = start.replace("T1050", "T1824")
    name = f"S2A_MSIL2A_{start}_N{baseline.replace('.', '')}_R{_OPTICAL_ORBIT:03d}_T{tile}_{made}"
    absolute = 34_134 + int((day - np.datetime64("2022-01-01")).astype(int)) * 143 // 10
    files = [
        _reflectance(band, values[10 if band in FINE_BANDS else 20][index] + added, f"T{tile}_{start}")
        for index, band in enumerate(OPTICAL_BANDS)
    ]
    scl = {"title": "Landscape classification map (SCL)", "raster:bands": [{"nodata": NODATA, "data_type": "uint8"}]}
    files.append(_AssetFile(key="SCL", name=f"T{tile}_{start}_SCL_20m.tif", values=classes, pixel_m=20, metadata=scl))
    return _SceneItem(
        id=name,
        collection=SENTINEL2,
        time=f"{day}T{_OPTICAL_TIME}Z",
        bounds=bounds,
        properties={
            "platform": "sentinel-2a",
            "constellation": "sentinel-2",
            "instruments": ["msi"],
            "eo:cloud_cover": round(100 * float(np.isin(classes, (8, 9, 10)).mean()), 2),
            "sat:orbit_state": "descending",
            "sat:relative_orbit": _OPTICAL_ORBIT,
            "s2:mgrs_tile": tile,
            "s2:product_type": "S2MSI2A",
            "s2:product_uri": f"{name}.SAFE",
            "s2:datatake_id": f"GS2A_{start}_{absolute:06d}_N{baseline}",
            "s2:processing_baseline": baseline,
            "s2:generation_time": f"{day}T18:24:31Z",
        },
        files=tuple(files),
    )


def _reflectance(band: str, values: Floats, stem: str) -> _AssetFile:
    pixel_m = 10 if band in FINE_BANDS else 20
    key = f"B{band[1:]:0>2}"
    metadata = {
        "title": f"Band {band[1:]} - {pixel_m} m",
        "eo:bands": [{"name": key, "common_name": _COMMON[band]}],
        "raster:bands": [{"nodata": NODATA, "data_type": "uint16", "spatial_resolution": pixel_m}],
    }
    numbers = np.clip(np.rint(values), 1, 65_535).astype(np.uint16)
    return _AssetFile(key=key, name=f"{stem}_{key}_{pixel_m}m.tif", values=numbers, pixel_m=pixel_m, metadata=metadata)


def _radar(
    power: Floats, bounds: UtmBounds, moment: tuple[np.datetime64, str], orbit: str, orbits: Mapping[str, int]
) -> _SceneItem:
    day, clock = moment
    start = f"{day}T{clock}".replace("-", "").replace(":", "")
    end = f"{start[:-2]}{int(start[-2:]) + 25:02d}"
    name = f"S1A_IW_GRDH_1SDV_{start}_{end}_{orbits['absolute']:06d}_0{orbits['absolute']:05X}"
    return _SceneItem(
        id=f"{name}_sigma0",
        collection=SENTINEL1,
        time=f"{day}T{clock}Z",
        bounds=bounds,
        properties={
            "platform": "sentinel-1a",
            "constellation": "sentinel-1",
            "sar:instrument_mode": "IW",
            "sar:frequency_band": "C",
            "sar:product_type": "GRD",
            "sar:polarizations": list(RADAR_BANDS),
            "sat:orbit_state": orbit,
            "sat:relative_orbit": orbits["relative"],
            "sat:absolute_orbit": orbits["absolute"],
            "s1:product_identifier": name,
        },
        files=tuple(_polarisation(band, values) for band, values in zip(RADAR_BANDS, power, strict=True)),
    )


def _polarisation(band: str, values: Floats) -> _AssetFile:
    metadata = {
        "title": f"{band}: sigma0, calibrated and orthorectified",
        "description": "Sigma naught of the ellipsoid as linear power, orthorectified with an elevation model.",
        "raster:bands": [{"nodata": NODATA, "data_type": "float32", "spatial_resolution": 10}],
    }
    return _AssetFile(key=band.lower(), name=f"{band.lower()}.tif", values=values, pixel_m=10, metadata=metadata)


def _write(scene: _SceneItem, folder: Path) -> pystac.Item:
    """Return the item of a scene whose files were written."""
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


def _asset(file: _AssetFile, bounds: UtmBounds) -> pystac.Asset:
    where = {"proj:shape": list(file.values.shape), "proj:transform": list(bounds.transform(file.pixel_m))[:6]}
    return pystac.Asset(
        href=f"./{file.name}",
        title=str(file.metadata["title"]),
        description=file.metadata.get("description"),
        media_type=pystac.MediaType.COG,
        roles=["data"],
        extra_fields={**{key: value for key, value in file.metadata.items() if ":" in key}, **where},
    )


def _write_file(file: _AssetFile, bounds: UtmBounds, path: Path) -> None:
    height, width = file.values.shape
    with rasterio.open(
        path, "w", count=1, height=height, width=width, dtype=file.values.dtype.name, nodata=NODATA, crs=CRS,
        transform=bounds.transform(file.pixel_m), **_COG,
    ) as dataset:  # fmt: skip
        dataset.write(file.values, 1)


def _extent(whole: UtmBounds) -> pystac.Extent:
    first, last = (pystac.utils.str_to_datetime(f"2022-{day}T00:00:00Z") for day in ("01-01", "12-31"))
    return pystac.Extent(pystac.SpatialExtent([list(whole.lonlat())]), pystac.TemporalExtent([[first, last]]))
