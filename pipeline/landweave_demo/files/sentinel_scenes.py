"""The scenes of a satellite year as data hubs deliver them: Sentinel-1 and Sentinel-2 products in UTM.

::

    sentinel-2-l2a/            31TCJ |------------------|
                                          |------------------| 31TDJ     one datatake, two tiles
    sentinel-1-sigma0-ortho/   |-------------------------------|         one scene a date, a file a polarisation

Numbers of Sentinel-2 are reflectance x 10000; from ESA's processing baseline 04.00 on, 1000 more.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from pyproj import Transformer
from rasterio.warp import transform_bounds

import landweave as lw
from landweave_demo.files import georeference as landscape
from landweave_demo.landscape.grid import Floats
from landweave_demo.landscape.noise import generator
from landweave_demo.satellites.phenology import FINE_BANDS, OPTICAL_BANDS, RADAR_BANDS
from landweave_demo.satellites.pixel_centres import PixelCentres
from landweave_demo.satellites.satellite_year import YEAR, SatelliteYear

SENTINEL2, SENTINEL1 = "sentinel-2-l2a", "sentinel-1-sigma0-ortho"
CRS = "EPSG:32631"

MARGIN_M = 300
"""Metres that the files extend beyond the landscape, for windows at its edge."""

OFFSET_SINCE = np.datetime64("2022-01-25")
"""First day of baseline 04.00."""

OFFSET = 1000
NODATA = 0

_SNAP_M = 60
_TILES = {"31TCJ": (0.0, 0.62), "31TDJ": (0.38, 1.0)}
_OPTICAL_TIME, _OPTICAL_ORBIT = "10:50:31", 51
_RADAR_ORBITS = {"ascending": ("17:48:12", 30, 41_300), "descending": ("06:01:04", 110, 41_352)}
"""Time of day, relative orbit, and absolute orbit on 1 January."""

_COMMON_NAMES = {
    "B2": "blue", "B3": "green", "B4": "red", "B5": "rededge", "B6": "rededge", "B7": "rededge", "B8": "nir",
    "B8A": "nir08", "B11": "swir16", "B12": "swir22",
}  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class UtmBounds:
    """Bounds of a scene's files in metres of UTM, on multiples of 60 m."""

    left: int
    top: int
    right: int
    bottom: int

    def shape(self, pixel_m: int) -> tuple[int, int]:
        """Height and width in pixels of ``pixel_m`` metres."""
        return (self.top - self.bottom) // pixel_m, (self.right - self.left) // pixel_m

    def transform(self, pixel_m: int) -> Affine:
        """Transform of pixels of ``pixel_m`` metres."""
        return Affine(pixel_m, 0.0, self.left, 0.0, -pixel_m, self.top)

    def within(self, whole: UtmBounds, pixel_m: int) -> tuple[slice, slice]:
        """Rows and columns of these bounds in the array of larger ones.

        Parameters
        ----------
        whole
            The larger bounds.
        pixel_m
            Side of a pixel in metres.
        """
        row, col = (whole.top - self.top) // pixel_m, (self.left - whole.left) // pixel_m
        height, width = self.shape(pixel_m)
        return slice(row, row + height), slice(col, col + width)

    def lonlat(self) -> tuple[float, float, float, float]:
        """West, south, east and north in degrees, to a centimetre: the digits beyond depend on the CPU."""
        bounds = transform_bounds(CRS, "EPSG:4326", self.left, self.bottom, self.right, self.top)
        west, south, east, north = (round(side, 7) for side in bounds)
        return west, south, east, north


@dataclass(frozen=True, kw_only=True)
class AssetFile:
    """One file of a scene.

    Attributes
    ----------
    key
        Of the asset.
    name
        Of the file.
    values
        Pixels, (y, x).
    pixel_m
        Side of a pixel in metres.
    metadata
        Title, description and STAC fields of the asset.
    """

    key: str
    name: str
    values: NDArray[Any]
    pixel_m: int
    metadata: Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class SceneItem:
    """One scene as a STAC item.

    Attributes
    ----------
    id, collection
        Of the item.
    time
        Start of the acquisition, UTC, ISO 8601.
    bounds
        Of its files.
    properties
        STAC fields of the item.
    files
        One for each asset.
    """

    id: str
    collection: str
    time: str
    bounds: UtmBounds
    properties: Mapping[str, Any]
    files: tuple[AssetFile, ...]


def utm_bounds(shape: tuple[int, ...]) -> UtmBounds:
    """Return the bounds of scenes over a landscape of ``shape`` (y, x) pixels, with a margin of 300 m."""
    left, top = landscape.LEFT_M, landscape.TOP_M
    right, bottom = left + shape[1] / landscape.PIXELS_PER_M, top - shape[0] / landscape.PIXELS_PER_M
    x0, y0, x1, y1 = transform_bounds(landscape.CRS, CRS, left, bottom, right, top)
    low_x, low_y = (int((low - MARGIN_M) // _SNAP_M) * _SNAP_M for low in (x0, y0))
    high_x, high_y = (-int(-(high + MARGIN_M) // _SNAP_M) * _SNAP_M for high in (x1, y1))
    return UtmBounds(left=low_x, top=high_y, right=high_x, bottom=low_y)


def pixel_centres(bounds: UtmBounds, pixel_m: int) -> PixelCentres:
    """Return the centres of UTM pixels as positions in the landscape, to a centimetre.

    Parameters
    ----------
    bounds
        Of the pixels.
    pixel_m
        Side of a pixel in metres.
    """
    height, width = bounds.shape(pixel_m)
    x, y = np.meshgrid(
        bounds.left + (np.arange(width) + 0.5) * pixel_m, bounds.top - (np.arange(height) + 0.5) * pixel_m
    )
    east, north = Transformer.from_crs(CRS, landscape.CRS, always_xy=True).transform(x, y)
    x, y = np.round(east - landscape.LEFT_M, 2), np.round(landscape.TOP_M - north, 2)
    return PixelCentres(x=x, y=y, pixel_m=pixel_m)


def optical_scenes(year: SatelliteYear, whole: UtmBounds) -> Iterator[SceneItem]:
    """Yield the two tiles of every Sentinel-2 date; they have the same pixels where they overlap.

    Parameters
    ----------
    year
        That is acquired.
    whole
        Bounds of both tiles together.
    """
    tiles = {name: _part(whole, *share) for name, share in _TILES.items()}
    # The same stream for both pixel sizes: one date has one haze.
    series = {pixel_m: year.optical(pixel_centres(whole, pixel_m), generator(0, 50)) for pixel_m in (10, 20)}
    for date, day in enumerate(year.optical_days):
        classes = scene_classification(series[20].values[date], series[20].pixel_class[date])
        for tile, bounds in tiles.items():
            cut = {pixel_m: each.values[date][:, *bounds.within(whole, pixel_m)] for pixel_m, each in series.items()}
            yield _optical_scene(tile, bounds, day, cut, classes[bounds.within(whole, 20)])


def scene_classification(values: Floats, pixel_class: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the scene classification (SCL) of Sentinel-2 level 2A, uint8 (y, x).

    Parameters
    ----------
    values
        Reflectance x 10000, (band, y, x), bands `phenology.OPTICAL_BANDS`.
    pixel_class
        uint8 `landweave.PixelClass` (y, x).
    """
    red, infrared, shortwave = (values[OPTICAL_BANDS.index(band)] for band in ("B4", "B8", "B11"))
    ndvi = (infrared - red) / (infrared + red)
    clear = np.where(shortwave < 300, 6, np.where(ndvi > 0.4, 4, 5))
    codes = {lw.PixelClass.CLOUD: 9, lw.PixelClass.SNOW: 11, lw.PixelClass.SHADOW: 3}
    return np.select([pixel_class == each for each in codes], list(codes.values()), clear).astype(np.uint8)


def radar_scenes(year: SatelliteYear, whole: UtmBounds) -> Iterator[SceneItem]:
    """Yield the scene of every Sentinel-1 date, of both orbits.

    Parameters
    ----------
    year
        That is acquired.
    whole
        Bounds of the scenes.
    """
    for orbit, (clock, relative, absolute) in _RADAR_ORBITS.items():
        power = year.radar(orbit, pixel_centres(whole, 10), generator(0, 51, relative))
        for values, day in zip(power, year.radar_days[orbit], strict=True):
            orbits = {"relative": relative, "absolute": absolute + round(_day_of_year(day) * 175 / 12)}
            yield _radar_scene(values, whole, (day, clock), orbit, orbits)


def _day_of_year(day: np.datetime64) -> int:
    return int((day - np.datetime64(f"{YEAR}-01-01")).astype(int))


def _part(whole: UtmBounds, low: float, high: float) -> UtmBounds:
    left, right = (whole.left + round(share * (whole.right - whole.left) / _SNAP_M) * _SNAP_M for share in (low, high))
    return replace(whole, left=left, right=right)


def _optical_scene(
    tile: str, bounds: UtmBounds, day: np.datetime64, values: Mapping[int, Floats], classes: NDArray[np.uint8]
) -> SceneItem:
    added = OFFSET if day >= OFFSET_SINCE else 0
    baseline = "04.00" if added else "03.01"
    start = f"{day}T{_OPTICAL_TIME}".replace("-", "").replace(":", "")
    processed = start.replace("T1050", "T1824")
    name = f"S2A_MSIL2A_{start}_N{baseline.replace('.', '')}_R{_OPTICAL_ORBIT:03d}_T{tile}_{processed}"
    absolute = 34_134 + _day_of_year(day) * 143 // 10
    files = [
        _reflectance_file(band, values[10 if band in FINE_BANDS else 20][index] + added, f"T{tile}_{start}")
        for index, band in enumerate(OPTICAL_BANDS)
    ]
    scl = {"title": "Scene classification map (SCL)", "raster:bands": [{"nodata": NODATA, "data_type": "uint8"}]}
    files.append(AssetFile(key="SCL", name=f"T{tile}_{start}_SCL_20m.tif", values=classes, pixel_m=20, metadata=scl))
    return SceneItem(
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


def _reflectance_file(band: str, values: Floats, stem: str) -> AssetFile:
    pixel_m = 10 if band in FINE_BANDS else 20
    key = f"B{band[1:]:0>2}"
    metadata = {
        "title": f"Band {band[1:]} - {pixel_m} m",
        "eo:bands": [{"name": key, "common_name": _COMMON_NAMES[band]}],
        "raster:bands": [{"nodata": NODATA, "data_type": "uint16", "spatial_resolution": pixel_m}],
    }
    numbers = np.clip(np.rint(values), 1, 65_535).astype(np.uint16)
    return AssetFile(key=key, name=f"{stem}_{key}_{pixel_m}m.tif", values=numbers, pixel_m=pixel_m, metadata=metadata)


def _radar_scene(
    power: Floats, bounds: UtmBounds, moment: tuple[np.datetime64, str], orbit: str, orbits: Mapping[str, int]
) -> SceneItem:
    day, clock = moment
    start = f"{day}T{clock}".replace("-", "").replace(":", "")
    end = f"{start[:-2]}{int(start[-2:]) + 25:02d}"
    name = f"S1A_IW_GRDH_1SDV_{start}_{end}_{orbits['absolute']:06d}_0{orbits['absolute']:05X}"
    return SceneItem(
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
        files=tuple(_polarisation_file(band, values) for band, values in zip(RADAR_BANDS, power, strict=True)),
    )


def _polarisation_file(band: str, values: Floats) -> AssetFile:
    metadata = {
        "title": f"{band}: sigma0, calibrated and orthorectified",
        "description": "Sigma naught of the ellipsoid as linear power, orthorectified with an elevation model.",
        "raster:bands": [{"nodata": NODATA, "data_type": "float32", "spatial_resolution": 10}],
    }
    return AssetFile(key=band.lower(), name=f"{band.lower()}.tif", values=values, pixel_m=10, metadata=metadata)
