"""The real series beside the project as catalogs of GeoTIFFs, as providers serve them: no tests here.

Flanders (one site near Lille, 16 months) takes the form of Planetary Computer's items, its states told from scene
classes; TreeSatAI (sites of 60 m in Germany, a year each) that of Earth Search's, with probabilities. Pixels are the
files' own, bit for bit; where a file tells no product, as in Flanders, names follow ESA's pattern.
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import rasterio
import xarray as xr
from affine import Affine
from numpy.typing import NDArray
from rasterio.warp import transform_bounds

from landweave.core.timeseries import PixelClass
from tests.helpers.scenes_on_disk import SceneFile
from tests.helpers.stac_items import Item, made_item, write_items

FINE = ("B2", "B3", "B4", "B8")
COARSE = ("B5", "B6", "B7", "B8A", "B11", "B12")
BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
"""As TreeSatAI and the models have them."""

POLARISATIONS = ("VV", "VH")

Planes = Mapping[str, NDArray[Any]]


def write_planes(folder: Path, planes: Planes, *, crs: str, place: Affine) -> dict[str, SceneFile]:
    """GeoTIFFs of ``planes`` ``(y, x)`` by band."""
    folder.mkdir(parents=True, exist_ok=True)
    files = {}
    for name, plane in planes.items():
        path = folder / f"{name}.tif"
        height, width = plane.shape
        profile = {"width": width, "height": height, "count": 1, "dtype": plane.dtype, "crs": crs, "transform": place}
        with rasterio.open(path, "w", driver="GTiff", **profile) as dataset:
            dataset.write(plane, 1)
        files[name] = SceneFile(path=path, crs=crs, transform=place, shape=(height, width))
    return files


def box_of(file: SceneFile) -> tuple[float, float, float, float]:
    """Longitudes and latitudes around a file."""
    bounds = rasterio.transform.array_bounds(*file.shape, file.transform)
    return tuple(transform_bounds(file.crs, "EPSG:4326", *bounds))


def told(time: np.datetime64) -> str:
    """A moment as items write it."""
    return f"{time.astype('datetime64[s]')}Z"


def compact(time: np.datetime64) -> str:
    """A moment as products' names write it.

    >>> compact(np.datetime64("2019-01-03T10:44:31"))
    '20190103T104431'
    """
    return re.sub(r"[-:]", "", str(time.astype("datetime64[s]")))


@dataclass(frozen=True, kw_only=True)
class Dated:
    """Planes ``(t, y, x)`` by name at ``times``."""

    times: NDArray[np.datetime64]
    planes: Planes

    def part(self, chosen: NDArray[np.bool_] | slice) -> Dated:
        """Some of the dates."""
        return Dated(times=self.times[chosen], planes={name: each[chosen] for name, each in self.planes.items()})


@dataclass(frozen=True, kw_only=True)
class Flanders:
    """The site near Lille, its bands by our names."""

    folder: Path

    CRS = "EPSG:32631"
    CORNER = (501360.0, 5629680.0)
    BOUNDS = (501360.0, 5629040.0, 502000.0, 5629680.0)
    TILE = "31UDS"

    @cached_property
    def fine(self) -> Dated:
        """B2, B3, B4, B8: uint16 reflectance x 10000, 64 x 64 pixels of 10 m."""
        return self._bands("S2_L2A_10m", FINE)

    @cached_property
    def coarse(self) -> Dated:
        """The other bands and SCL, on the dates of `fine`: 32 x 32 pixels of 20 m."""
        return self._bands("S2_L2A_20m", (*COARSE, "SCL"))

    @cached_property
    def radar(self) -> Dated:
        """VV, VH: float32 linear power, 32 x 32 pixels of 20 m. The file has ten thousandths of a decibel."""
        stored = self._bands("S1_GRD-ASCENDING_20m", POLARISATIONS)
        power = {name: np.float32(10 ** (each / 1e5)) for name, each in stored.planes.items()}
        return Dated(times=stored.times, planes=power)

    def _bands(self, kind: str, names: tuple[str, ...]) -> Dated:
        [path] = self.folder.glob(f"{kind}_*.nc")
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Variable.s. referenced in bounds")
            with xr.open_dataset(path, engine="h5netcdf", mask_and_scale=False) as stored:
                planes = {name: stored[padded(name)].values for name in names}
                return Dated(times=stored["timestamp"].values.astype("datetime64[s]"), planes=planes)

    def write(self, folder: Path, chosen: NDArray[np.bool_], bands: tuple[str, ...] = BANDS) -> str:
        """A catalog of the chosen dates of Sentinel-2."""
        fine, coarse = self.fine.part(chosen), self.coarse.part(chosen)
        items = []
        for number, time in enumerate(fine.times):
            name = f"S2A_MSIL2A_{compact(time)}_N0206_R051_T{self.TILE}_20190101T000000"
            where = folder / name
            sharp = {padded(band): fine.planes[band][number] for band in bands if band in FINE}
            rough = {padded(band): coarse.planes[band][number] for band in (*bands, "SCL") if band not in FINE}
            files = write_planes(where, sharp, crs=self.CRS, place=self.place(10))
            files |= write_planes(where, rough, crs=self.CRS, place=self.place(20))
            items.append(planetary_item(name, files, time, self.TILE))
        return write_items(folder / "optical.json", *items)

    def write_radar(self, folder: Path, chosen: NDArray[np.bool_]) -> str:
        """A catalog of the chosen dates of Sentinel-1."""
        radar = self.radar.part(chosen)
        items = []
        for number, time in enumerate(radar.times):
            # The file tells no orbit: passes that differ in time differ in number here.
            name = f"S1A_IW_GRDH_1SDV_{compact(time)}_{compact(time)}_{20000 + number:06}_000000_0000"
            planes = {band: plane[number] for band, plane in radar.planes.items()}
            files = write_planes(folder / name, planes, crs=self.CRS, place=self.place(20))
            items.append(sigma_item(name, files, time, "ascending"))
        return write_items(folder / "radar.json", *items)

    def place(self, side: float) -> Affine:
        """From pixels of ``side`` metres to the CRS."""
        return Affine(side, 0, self.CORNER[0], 0, -side, self.CORNER[1])


@dataclass(frozen=True, kw_only=True)
class Treesat:
    """One site of TreeSatAI: an aerial image beside a year of both satellites, on 6 x 6 pixels of 10 m.

    The file does not tell where its pixels lie: they are those of Sentinel's grid nearest the image. Only some
    ``dates`` of each satellite are given where that is said.
    """

    folder: Path
    name: str
    dates: slice = field(default_factory=lambda: slice(None))

    CRS = "EPSG:32632"

    @property
    def image(self) -> Path:
        """304 x 304 pixels of 0.2 m: NIR, green, blue, red, in EPSG:25832."""
        return self.folder / f"{self.name}.tif"

    @property
    def year(self) -> int:
        """That of its satellites."""
        return int(self._file.stem.rpartition("_")[2])

    @property
    def _file(self) -> Path:
        [path] = self.folder.glob(f"{self.name}_*.h5")
        return path

    @cached_property
    def corner(self) -> tuple[float, float]:
        """North-west corner of the pixels."""
        with rasterio.open(self.image) as image:
            return round(image.bounds.left / 10) * 10.0, round(image.bounds.top / 10) * 10.0

    @property
    def bounds(self) -> tuple[float, float, float, float]:
        """Ground of the pixels."""
        x, y = self.corner
        return x, y - 60, x + 60, y

    def stored(self, name: str) -> NDArray[Any]:
        """One array of the file."""
        with h5py.File(self._file) as file:
            return file[name][self.dates]

    def products(self, satellite: str) -> list[str]:
        """Names of ``sen-2``, ``sen-1-asc`` or ``sen-1-des``."""
        return [name.decode() for name in self.stored(f"{satellite}-products")]

    def write(self, folder: Path, bands: tuple[str, ...] = BANDS) -> str:
        """A catalog of Sentinel-2, with probabilities of cloud and snow."""
        values, masks = self.stored("sen-2-data"), self.stored("sen-2-masks")
        items = []
        for number, product in enumerate(self.products("sen-2")):
            planes = {band: values[number, BANDS.index(band)].astype(np.uint16) for band in bands}
            snow, cloud = masks[number]
            planes |= {"SNOW": snow, "CLOUD": cloud}
            files = write_planes(folder / product, planes, crs=self.CRS, place=self._place)
            items.append(earth_search_item(product, files))
        return write_items(folder / "optical.json", *items)

    def write_radar(self, folder: Path) -> str:
        """A catalog of Sentinel-1, both directions."""
        items = []
        for satellite, state in (("sen-1-asc", "ascending"), ("sen-1-des", "descending")):
            values = self.stored(f"{satellite}-data")
            for number, product in enumerate(self.products(satellite)):
                planes = dict(zip(POLARISATIONS, values[number], strict=True))
                files = write_planes(folder / product, planes, crs=self.CRS, place=self._place)
                items.append(sigma_item(product, files, moment(product.split("_")[4]), state))
        return write_items(folder / "radar.json", *items)

    @property
    def _place(self) -> Affine:
        return Affine(10, 0, self.corner[0], 0, -10, self.corner[1])


def planetary_item(name: str, files: Mapping[str, SceneFile], time: np.datetime64, tile: str) -> Item:
    """A Sentinel-2 item as Planetary Computer has it: a file a band by ESA's names, the product in ``s2:``."""
    file = next(iter(files.values()))
    item = made_item(
        name,
        collection="sentinel-2-l2a",
        box=box_of(file),
        datetime=told(time),
        proj__epsg=int(file.crs.split(":")[1]),
        s2__mgrs_tile=tile,
        s2__product_uri=f"{name}.SAFE",
    )
    item["assets"] = {band: each.asset for band, each in files.items()}
    return item


COMMON = {
    "B2": "blue",
    "B3": "green",
    "B4": "red",
    "B5": "rededge1",
    "B6": "rededge2",
    "B7": "rededge3",
    "B8": "nir",
    "B8A": "nir08",
    "B11": "swir16",
    "B12": "swir22",
    "SNOW": "snow",
    "CLOUD": "cloud",
}
"""Earth Search's names."""


def earth_search_item(product: str, files: Mapping[str, SceneFile]) -> Item:
    """A Sentinel-2 item as Earth Search's collection 1 has it: common names, the baseline and its own short id."""
    platform, _, start, baseline, _, tile, _ = product.split("_")
    item = made_item(
        f"{platform}_{tile}_{start}_L2A",
        collection="sentinel-2-c1-l2a",
        box=box_of(files["SNOW"]),
        datetime=told(moment(start)),
        grid__code=f"MGRS-{tile[1:]}",
        proj__code=files["SNOW"].crs,
        s2__processing_baseline=f"{baseline[1:3]}.{baseline[3:]}",
        s2__product_uri=f"{product}.SAFE",
    )
    bare = {band: {k: v for k, v in each.asset.items() if k != "proj:epsg"} for band, each in files.items()}
    scaled = {"raster:bands": [{"nodata": 0, "data_type": "uint16", "scale": 0.0001, "offset": 0}]}
    item["assets"] = {COMMON[band]: {**asset, **(scaled if band in BANDS else {})} for band, asset in bare.items()}
    return item


def sigma_item(product: str, files: Mapping[str, SceneFile], time: np.datetime64, state: str) -> Item:
    """A Sentinel-1 item of calibrated, orthorectified sigma0, its id that of the product."""
    item = made_item(
        product,
        collection="sentinel-1-sigma0",
        box=box_of(files["VV"]),
        datetime=told(time),
        platform=f"sentinel-1{product[2].lower()}",
        sat__orbit_state=state,
        sat__absolute_orbit=int(product.split("_")[6]),
    )
    item["assets"] = {
        band.lower(): {**file.asset, "description": "sigma0, orthorectified, linear power"}
        for band, file in files.items()
    }
    return item


def moment(text: str) -> np.datetime64:
    """The moment in a product's name.

    >>> moment("20190103T104431")
    np.datetime64('2019-01-03T10:44:31')
    """
    day = f"{text[:4]}-{text[4:6]}-{text[6:8]}"
    return np.datetime64(f"{day}T{text[9:11]}:{text[11:13]}:{text[13:15]}")


def padded(band: str) -> str:
    """ESA's name of a band: ``B02`` for ``B2``."""
    return f"B0{band[1:]}" if len(band) == 2 and band[0] == "B" else band


def states_of_classes(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Pixel states by the words of the guide: cloud 8, 9, 10; snow 11; shadow 3; nodata 0, 1; all others clear."""
    state = np.full(classes.shape, PixelClass.CLEAR, np.uint8)
    for pixel_state, codes in (
        (PixelClass.CLOUD, (8, 9, 10)),
        (PixelClass.SNOW, (11,)),
        (PixelClass.SHADOW, (3,)),
        (PixelClass.NODATA, (0, 1)),
    ):
        state[np.isin(classes, codes)] = pixel_state
    return state
