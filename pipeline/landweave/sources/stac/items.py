"""Fields that every STAC item has in some form: time, bounds, and which band each of its files holds.

Extensions moved their fields more than once (``proj:epsg`` became ``proj:code``; ``eo:bands`` and ``raster:bands``
became ``bands``; a field may stand at the asset or at the item). pystac's migration covers the first of these alone,
and only where an item declares the extension; so all forms are read here, and nothing is decided yet.
"""

from __future__ import annotations

import json
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import shapely
from affine import Affine

from landweave.core.crs import usable_crs
from landweave.core.grid import Bounds
from landweave.sources.stac.records import BandAsset, Scene

Json = Mapping[str, Any]
"""An item as served: plain JSON values, the paths of its assets absolute."""

_SECONDS_A_DEGREE = 240
_SUFFIX = re.compile(r"([-_](\d+m|jp2))+$")
_NOT_A_BAND = re.compile(r"visual|overview|preview|thumbnail|tci|pvi|tilejson|true.?colou?r")
_ENTRY = ("scale", "offset", "nodata", "data_type", "unit", "spatial_resolution", "gsd", "center_wavelength")
_RASTER = re.compile(r"^image/(tiff|vnd\.stac\.geotiff|jp2)")


class UnusableItem(Exception):  # noqa: N818  it is no error: the item is dropped for this reason, and the search goes on
    """An item that cannot be used; the text says why."""


@dataclass(frozen=True, kw_only=True)
class AssetBand:
    """One band of one file as its item describes it.

    Attributes
    ----------
    key
        Of the asset, without resolution and format: ``b02`` for ``B02_10m``, ``red`` for ``red-jp2``.
    original
        Whether the key says that this is the JPEG 2000 file as ESA made it, beside a copy in another format.
    names
        Names of the band, lower case: its own, then the common one.
    wavelength
        Its centre in micrometres.
    resolution
        Pixel side in units of its CRS.
    dtype, unit
        Of the stored numbers, in the item's words.
    stated
        Scale and offset as written; None where they are not.
    text
        Title, description and roles, lower case.
    file
        Address, georeference and nodata; its scale is 1 and its offset 0.
    """

    key: str
    original: bool
    names: tuple[str, ...]
    wavelength: float | None
    resolution: float | None
    dtype: str
    unit: str
    stated: tuple[float | None, float | None]
    text: str
    file: BandAsset


@dataclass(frozen=True)
class StacItem:
    """The fields of an item, wherever it keeps them.

    Attributes
    ----------
    json
        The item as served.
    """

    json: Json

    @property
    def properties(self) -> Json:
        """Properties by name."""
        return cast("Json", self.json.get("properties", {}))

    @property
    def collection(self) -> str:
        """Id of its collection; empty without one."""
        return str(self.json.get("collection") or "")

    @property
    def time(self) -> np.datetime64:
        """Time of acquisition, UTC, in whole seconds; raises `UnusableItem` without one."""
        text = self.first("datetime", "start_datetime")
        if not text:
            raise UnusableItem("has neither datetime nor start_datetime")
        return to_time(text)

    @property
    def bounds(self) -> Bounds:
        """Longitudes and latitudes ``(west, south, east, north)``; west is east of east across the 180th meridian.

        Raises `UnusableItem` without a box and an outline.
        """
        box = self.json.get("bbox")
        if not box and self.json.get("geometry"):
            box = shapely.bounds(shapely.geometry.shape(self.json["geometry"])).tolist()
        if not box or len(box) not in (4, 6):
            raise UnusableItem("has neither bbox nor geometry")
        half = len(box) // 2
        return float(box[0]), float(box[1]), float(box[half]), float(box[half + 1])

    def first(self, *names: str) -> Any:
        """The first of some properties, in order, that is there and not empty; None without any."""
        return next((self.properties[name] for name in names if self.properties.get(name)), None)

    def mgrs_tile(self, prefix: str = "mgrs") -> str:
        """MGRS tile such as ``31TCJ`` from its three properties; empty where the item lacks one.

        Parameters
        ----------
        prefix
            Of the properties.
        """
        parts = [self.first(f"{prefix}:{part}") for part in ("utm_zone", "latitude_band", "grid_square")]
        return "".join(map(str, parts)).zfill(5) if all(parts) else ""

    def bands(self) -> tuple[AssetBand, ...]:
        """Every band of every raster asset; pictures made for people to look at, and metadata, are left out."""
        assets = self.json.get("assets", {}).items()
        return tuple(band for key, asset in assets for band in _bands(key.lower(), asset, self.properties))

    def require(self, found: Container[str], bands: Sequence[str]) -> None:
        """Refuse the item where it lacks a band.

        Parameters
        ----------
        found, bands
            Bands that it has, and those that are needed.

        Raises
        ------
        UnusableItem
            With the bands, and the assets there are.
        """
        if missing := [name for name in bands if name not in found]:
            assets = ", ".join(sorted(self.json.get("assets", {})))
            raise UnusableItem(f"has no asset for {', '.join(missing)}; it has {assets}")

    def scene(self, *, longitude: float | None = None, **fields: Any) -> Scene:
        """The scene of the item.

        Parameters
        ----------
        longitude
            Whose sun gives the local date; by default the middle of the bounds.
        fields
            Of the scene, those that do not stand in every item alike.

        Raises
        ------
        UnusableItem
            When the item lacks a time or a place.
        """
        time, bounds = self.time, self.bounds
        return Scene(
            id=self.json["id"],
            collection=self.collection,
            time=time,
            bounds=bounds,
            solar_day=solar_day(time, middle_longitude(bounds) if longitude is None else longitude),
            orbit_state=str(self.first("sat:orbit_state") or "").lower(),
            **fields,
        )


def to_time(text: str | None) -> np.datetime64:
    """A moment written in ISO 8601, UTC, in whole seconds; NaT where there is none or it is malformed."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return np.datetime64("NaT", "s")
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return np.datetime64(aware.astimezone(UTC).replace(tzinfo=None), "s")


def solar_day(time: np.datetime64, longitude: float) -> np.datetime64:
    """Local date by the sun.

    Parameters
    ----------
    time
        UTC.
    longitude
        Degrees east.

    Examples
    --------
    >>> solar_day(np.datetime64("2023-06-25T23:46:21"), 179.8), solar_day(np.datetime64("2023-06-25T02:00"), -90)
    (np.datetime64('2023-06-26'), np.datetime64('2023-06-24'))
    """
    seconds = np.timedelta64(round(longitude * _SECONDS_A_DEGREE), "s")
    return cast("np.datetime64", (time + seconds).astype("datetime64[D]"))


def middle_longitude(bounds: Bounds) -> float:
    """Longitude halfway between west and east, the short way across the 180th meridian."""
    west, _, east, _ = bounds
    return (west + (east - west) % 360 / 2 + 180) % 360 - 180


def _bands(key: str, asset: Json, properties: Json) -> Iterator[AssetBand]:
    if _NOT_A_BAND.search(key) or not _RASTER.match(asset.get("type") or "image/tiff") or not asset.get("href"):
        return
    georef = _georeference(asset, properties)
    shared = {name: asset[form] for name in _ENTRY for form in (name, f"raster:{name}", f"eo:{name}") if form in asset}
    lists = [asset[name] for name in ("eo:bands", "bands", "raster:bands") if asset.get(name)]
    for index in range(max(map(len, lists), default=1)):
        # Of two places that hold the same field, the more particular one counts.
        entry = dict(shared)
        for entries in lists:
            entry |= {name.rpartition(":")[2]: value for name, value in (entries[index : index + 1] or [{}])[0].items()}
        yield _band(key, asset, entry, {**georef, "band": index + 1})


def _band(key: str, asset: Json, entry: Json, georef: Mapping[str, Any]) -> AssetBand:
    transform = georef["transform"]
    words = (asset.get("title"), asset.get("description"), *asset.get("roles", ()))
    return AssetBand(
        key=_SUFFIX.sub("", key),
        original=key.endswith("jp2"),
        names=tuple(str(entry[name]).lower() for name in ("name", "common_name") if entry.get(name)),
        wavelength=_number(entry.get("center_wavelength")),
        resolution=transform.a if transform else _number(entry.get("spatial_resolution", entry.get("gsd"))),
        dtype=str(entry.get("data_type", "")),
        unit=str(entry.get("unit", "")).lower(),
        stated=(_number(entry.get("scale")), _number(entry.get("offset"))),
        text=" ".join(str(word).lower() for word in words if word),
        file=BandAsset(href=asset["href"], nodata=_number(entry.get("nodata")), **georef),
    )


def _georeference(asset: Json, properties: Json) -> dict[str, Any]:
    """CRS, transform and shape: the asset's own, else the item's. A shape counts only beside its transform."""
    owner = asset if asset.get("proj:transform") else properties
    numbers, shape = owner.get("proj:transform"), owner.get("proj:shape")
    return {
        "crs": _crs(asset) or _crs(properties),
        # 6 numbers, or 9 with a last row of 0 0 1.
        "transform": Affine(*map(float, numbers[:6])) if numbers and len(numbers) in (6, 9) else None,
        "shape": (int(shape[0]), int(shape[1])) if shape and numbers else None,
    }


def _crs(owner: Json) -> str | None:
    code = f"EPSG:{owner['proj:epsg']}" if owner.get("proj:epsg") else None
    stated = owner.get("proj:code") or code or owner.get("proj:wkt2") or owner.get("proj:projjson")
    if not stated:
        return None
    known, problem = usable_crs(json.dumps(stated) if isinstance(stated, Mapping) else stated)
    if problem:
        raise UnusableItem(f"states a CRS that {problem}")
    return known


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def pick_file(candidates: Sequence[AssetBand], *, resolution: float) -> AssetBand:
    """The file to read of several of one band: nearest to its native pixel, a copy before ESA's JPEG 2000.

    Parameters
    ----------
    candidates
        Files of the band.
    resolution
        Native pixel of the band.
    """
    return min(
        candidates, key=lambda band: (abs((band.resolution or resolution) - resolution), band.original, band.key)
    )
