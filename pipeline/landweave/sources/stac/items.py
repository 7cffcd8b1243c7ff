"""Fields that every STAC item has in some form: time, bounds, and which band each of its files holds.

Extensions moved their fields more than once (``proj:epsg`` became ``proj:code``; ``eo:bands`` and ``raster:bands``
became ``bands``; a field may stand at the asset or at the item). pystac's migration covers the first of these alone,
and only where an item declares the extension; so all forms are read here, and nothing is decided yet.

Any field may be missing, null or of another type: what a file says as well is then left to the file, and an item
without what only it can say is an `UnusableItem`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import shapely
from affine import Affine

from landweave.core.crs import usable_crs
from landweave.core.grid import Bounds
from landweave.core.polygons import valid_shapes
from landweave.sources.stac.records import BandAsset, Scene

Json = Mapping[str, Any]
"""An item as served: plain JSON values, the paths of its assets absolute."""

_SECONDS_A_DEGREE = 240
_SUFFIX = re.compile(r"([-_](\d+m|jp2))+$")
_NOT_A_BAND = re.compile(r"visual|overview|preview|thumbnail|tci|pvi|tilejson|true.?colou?r")
_ENTRY = ("scale", "offset", "nodata", "data_type", "unit", "spatial_resolution", "gsd", "center_wavelength")
_RASTER = re.compile(r"tiff|jp2|jpeg2000|jpx")
_RASTER_FILE = re.compile(r"\.(tiff?|jp2|j2k)($|\?)", re.IGNORECASE)
_MALFORMED_SHAPE = (
    *(ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError),
    shapely.errors.ShapelyError,
)
_LONGITUDE_MAX, _LATITUDE_MAX = 360, 90
_SHAPE_MAX = 2**20


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
    unit
        Of the stored numbers, in the item's words.
    stated
        Scale and offset as written; None where they are not, NaN where they are no numbers.
    text
        Title, description and roles, lower case.
    of_item
        Whether the transform is the item's, for all its assets, and not the asset's own.
    file
        Address, georeference, nodata and dtype; its scale is 1 and its offset 0.
    """

    key: str
    original: bool
    names: tuple[str, ...]
    wavelength: float | None
    resolution: float | None
    unit: str
    stated: tuple[float | None, float | None]
    text: str
    of_item: bool
    file: BandAsset

    @property
    def dtype(self) -> str:
        """Dtype of the stored numbers, in the item's words."""
        return self.file.dtype


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
    def id(self) -> str:
        """Its id; raises `UnusableItem` without one."""
        name = self.json.get("id")
        if not isinstance(name, str) or not name:
            raise UnusableItem(f"has the id {name!r}, which is no text")
        return name

    @property
    def properties(self) -> Json:
        """Properties by name; raises `UnusableItem` without any."""
        return self._part("properties")

    @property
    def assets(self) -> Mapping[str, Json]:
        """Assets by key, those that are none left out; raises `UnusableItem` without any."""
        return {key: asset for key, asset in self._part("assets").items() if isinstance(asset, Mapping)}

    def _part(self, name: str) -> Json:
        part = self.json.get(name)
        if not isinstance(part, Mapping):
            raise UnusableItem(f"has no {name}")
        return part

    @property
    def collection(self) -> str:
        """Id of its collection; empty without one."""
        return str(self.json.get("collection") or "")

    @property
    def time(self) -> np.datetime64:
        """Time of acquisition, UTC, in whole seconds; raises `UnusableItem` without one."""
        texts = [text for name in ("datetime", "start_datetime") if (text := self.properties.get(name))]
        known = [time for text in texts if not np.isnat(time := to_time(text))]
        if not texts:
            raise UnusableItem("has neither datetime nor start_datetime")
        if not known:
            raise UnusableItem(f"has the datetime {texts[0]!r}, which is no time")
        return known[0]

    @property
    def days(self) -> int:
        """Days from its start to its end; 0 where it does not state both."""
        first, last = (to_time(self.properties.get(f"{name}_datetime")) for name in ("start", "end"))
        return 0 if np.isnat(first) or np.isnat(last) else int((last - first).astype("m8[D]").astype(int))

    @property
    def outline(self) -> shapely.Geometry | None:
        """Its geometry, longitudes and latitudes; None where there is none or it is malformed."""
        try:
            with np.errstate(invalid="ignore"):
                found = valid_shapes(np.array([shapely.geometry.shape(self.json["geometry"])]))[0]
            finite = np.isfinite(shapely.get_coordinates(found)).all()
            return found if finite and _lonlat_box(shapely.bounds(found).tolist()) else None
        except _MALFORMED_SHAPE:
            return None

    @property
    def bounds(self) -> Bounds:
        """Longitudes and latitudes ``(west, south, east, north)``; west is east of east across the 180th meridian.

        Raises `UnusableItem` without a box and an outline.
        """
        box = _lonlat_box(self.json.get("bbox"))
        if box is None and (outline := self.outline) is not None:
            box = _lonlat_box(shapely.bounds(outline).tolist())
        if box is None:
            raise UnusableItem("has neither bbox nor geometry in longitudes and latitudes")
        return box

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
        assets = self.assets.items()
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
            assets = ", ".join(sorted(self.assets))
            raise UnusableItem(f"has no asset for {', '.join(missing)}; it has {assets or 'none'}")

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
            id=self.id,
            collection=self.collection,
            time=time,
            bounds=bounds,
            solar_day=solar_day(time, middle_longitude(bounds) if longitude is None else longitude),
            orbit_state=str(self.first("sat:orbit_state") or "").lower(),
            **fields,
        )


def to_time(text: Any) -> np.datetime64:
    """A moment written in ISO 8601, UTC, in whole seconds; NaT where there is none or it is malformed.

    Without a time zone it is UTC, as STAC requires of all its times.
    """
    try:
        moment = datetime.fromisoformat(text)
        aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
        return np.datetime64(aware.astimezone(UTC).replace(tzinfo=None), "s")
    except (TypeError, ValueError, OverflowError):
        return np.datetime64("NaT", "s")


def to_int(value: Any) -> int | None:
    """A whole number from 0, as a number or as text; None for anything else."""
    number = _number(value)
    return int(number) if number is not None and number >= 0 and number.is_integer() else None


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


def lonlat_polygon(bounds: Bounds, shift: float = 0) -> shapely.Geometry:
    """Longitudes and latitudes ``(west, south, east, north)`` as a polygon, or two across the 180th meridian.

    Parameters
    ----------
    bounds
        West is east of east across the 180th meridian.
    shift
        Degrees to the east.
    """
    west, south, east, north = bounds
    if west <= east:
        return shapely.box(west + shift, south, east + shift, north)
    parts = (shapely.box(west + shift, south, 180 + shift, north), shapely.box(shift - 180, south, east + shift, north))
    return shapely.union(*parts)


def middle_longitude(bounds: Bounds) -> float:
    """Longitude halfway between west and east, the short way across the 180th meridian."""
    west, _, east, _ = bounds
    return (west + (east - west) % 360 / 2 + 180) % 360 - 180


def _bands(key: str, asset: Json, properties: Json) -> Iterator[AssetBand]:
    href = asset.get("href")
    if not isinstance(href, str) or not href or _NOT_A_BAND.search(key) or not _is_raster(asset.get("type"), href):
        return
    shared = {name: asset[form] for name in _ENTRY for form in (name, f"raster:{name}", f"eo:{name}") if form in asset}
    lists = [found for name in ("eo:bands", "bands", "raster:bands") if (found := asset.get(name))]
    lists = [found for found in lists if isinstance(found, list)]
    for index in range(max(map(len, lists), default=1)):
        # Of two places that hold the same field, the more particular one counts.
        entry = dict(shared)
        for entries in lists:
            found = entries[index] if index < len(entries) and isinstance(entries[index], Mapping) else {}
            entry |= {name.rpartition(":")[2]: value for name, value in found.items()}
        yield _band(key, asset, entry, properties, index + 1)


def _is_raster(kind: Any, href: str) -> bool:
    """By the media type, however it is written, or by the ending of the file."""
    text = kind.lower() if isinstance(kind, str) else ""
    return not text or bool(_RASTER.search(text) or _RASTER_FILE.search(href))


def _band(key: str, asset: Json, entry: Json, properties: Json, number: int) -> AssetBand:
    pixel = _number(entry.get("spatial_resolution", entry.get("gsd")))
    georef = _georeference(asset, properties, pixel)
    transform, roles = georef["transform"], asset.get("roles")
    words = (asset.get("title"), asset.get("description"), *(roles if isinstance(roles, list) else ()))
    return AssetBand(
        key=_SUFFIX.sub("", key),
        original=key.endswith("jp2"),
        names=tuple(str(entry[name]).lower() for name in ("name", "common_name") if entry.get(name)),
        wavelength=_number(entry.get("center_wavelength")),
        resolution=transform.a if transform else pixel,
        unit=str(entry.get("unit") or "").lower(),
        stated=(_stated(entry.get("scale")), _stated(entry.get("offset"))),
        text=" ".join(str(word).lower() for word in words if word),
        of_item=_transform(asset) is None,
        file=BandAsset(
            href=asset["href"],
            band=number,
            nodata=_number(entry.get("nodata"), finite=False),
            dtype=str(entry.get("data_type") or ""),
            checksum=str(asset.get("file:checksum") or asset.get("checksum:multihash") or ""),
            **georef,
        ),
    )


def _georeference(asset: Json, properties: Json, pixel: float | None) -> dict[str, Any]:
    """CRS, transform and shape: the asset's own, else the item's. A shape counts only beside its transform.

    That of the item is one for all assets: it is not that of an asset which states another ``pixel``.
    """
    transform, owner = _transform(asset), asset
    if transform is None:
        transform, owner = _transform(properties), properties
        if transform is not None and pixel is not None and abs(transform.a - pixel) > 1e-3 * abs(pixel):
            transform = None
    return {
        "crs": _crs(asset) or _crs(properties),
        "transform": transform,
        "shape": None if transform is None else _shape(owner.get("proj:shape")),
    }


def _transform(owner: Json) -> Affine | None:
    """6 numbers, or 9 with a last row of 0 0 1; None where they place no pixels."""
    numbers = _numbers(owner.get("proj:transform"))
    transform = Affine(*numbers[:6]) if len(numbers) in (6, 9) else None
    return transform if transform is not None and transform.determinant else None


def _shape(value: Any) -> tuple[int, int] | None:
    sides = [to_int(side) for side in value] if isinstance(value, list) else []
    height, width = sides if len(sides) == 2 else (None, None)
    return (height, width) if height and width and max(height, width) <= _SHAPE_MAX else None


def _crs(owner: Json) -> str | None:
    """The first form of a CRS that names one; None leaves it to the file."""
    code = to_int(owner.get("proj:epsg"))
    forms = (owner.get("proj:code"), f"EPSG:{code}" if code else None, owner.get("proj:wkt2"))
    projjson = owner.get("proj:projjson")
    texts = (*forms, json.dumps(projjson) if isinstance(projjson, Mapping) else None)
    return next((crs for text in texts if isinstance(text, str) and text and (crs := usable_crs(text)[0])), None)


def _lonlat_box(box: Any) -> Bounds | None:
    """West, south, east, north of 4 or 6 numbers in degrees; None for anything else."""
    numbers = _numbers(box)
    if len(numbers) not in (4, 6):
        return None
    half = len(numbers) // 2
    west, south, east, north = numbers[0], numbers[1], numbers[half], numbers[half + 1]
    if max(abs(west), abs(east)) > _LONGITUDE_MAX or not -_LATITUDE_MAX <= south <= north <= _LATITUDE_MAX:
        return None
    return west, south, east, north


def _numbers(values: Any) -> list[float]:
    """Finite numbers of a list; empty where any of its members is none."""
    found = [_number(value) for value in values] if isinstance(values, list | tuple) else []
    return [] if None in found else cast("list[float]", found)


def _stated(value: Any) -> float | None:
    number = _number(value)
    return math.nan if number is None and value is not None else number


def _number(value: Any, *, finite: bool = True) -> float | None:
    try:
        number = None if value is None or isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return None if number is None or (finite and not math.isfinite(number)) else number


def native(band: AssetBand, resolution: float) -> AssetBand:
    """The band, its georeference left to its file where the item states one for all assets and other pixels than its.

    Parameters
    ----------
    band
        Of an item.
    resolution
        Native pixel of the band.
    """
    transform = band.file.transform
    if not band.of_item or transform is None or math.isclose(transform.a, resolution, rel_tol=1e-3):
        return band
    return replace(band, file=replace(band.file, transform=None, shape=None))


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
