"""What every item says in some way or other: when, where, and which band each of its files holds.

Extensions moved their fields more than once (``proj:epsg`` became ``proj:code``; ``eo:bands`` and ``raster:bands``
became ``bands``; a field may stand at the asset or at the item). All of that ends here; nothing is decided yet.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

import numpy as np
import shapely
from affine import Affine

from landweave.core.grid import Bounds
from landweave.sources.stac.records import BandAsset

Json = Mapping[str, Any]
"""An item as served: plain JSON values, the paths of its assets absolute."""

_HOURS_A_DEGREE = 1 / 15
_SUFFIX = re.compile(r"[-_](\d+m|jp2)$")
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
        Where it is; its scale is 1 and its offset 0.
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


def item_time(item: Json) -> np.datetime64:
    """When it was acquired, UTC, in whole seconds."""
    properties = item.get("properties", {})
    text = properties.get("datetime") or properties.get("start_datetime")
    if not text:
        raise UnusableItem("has neither datetime nor start_datetime")
    return to_time(text)


def to_time(text: str | None) -> np.datetime64:
    """A moment written in ISO 8601, UTC, in whole seconds; NaT where there is none or it is malformed."""
    try:
        moment = datetime.fromisoformat(text or "")
    except ValueError:
        return np.datetime64("NaT", "s")
    aware = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return np.datetime64(aware.astimezone(UTC).replace(tzinfo=None), "s")


def item_bounds(item: Json) -> Bounds:
    """Longitudes and latitudes ``(west, south, east, north)``; west is east of east across the 180th meridian."""
    box = item.get("bbox")
    if not box and item.get("geometry"):
        box = shapely.bounds(shapely.geometry.shape(item["geometry"])).tolist()
    if not box or len(box) not in (4, 6):
        raise UnusableItem("has neither bbox nor geometry")
    half = len(box) // 2
    return float(box[0]), float(box[1]), float(box[half]), float(box[half + 1])


def solar_day(time: np.datetime64, longitude: float) -> np.datetime64:
    """Local date at ``longitude``, by the sun.

    >>> solar_day(np.datetime64("2023-06-25T23:46:21"), 179.8), solar_day(np.datetime64("2023-06-25T02:00"), -90)
    (np.datetime64('2023-06-26'), np.datetime64('2023-06-24'))
    """
    seconds = round(longitude * _HOURS_A_DEGREE * 3600)
    return cast("np.datetime64", (time + np.timedelta64(seconds, "s")).astype("datetime64[D]"))


def middle_longitude(bounds: Bounds) -> float:
    """Longitude halfway between west and east, the short way across the 180th meridian."""
    west, _, east, _ = bounds
    return (west + (east - west) % 360 / 2 + 180) % 360 - 180


def read_assets(item: Json) -> tuple[AssetBand, ...]:
    """Every band of every raster asset; pictures made for people to look at, and metadata, are left out."""
    return tuple(band for key, asset in item.get("assets", {}).items() for band in _bands(key.lower(), asset, item))


def _bands(key: str, asset: Json, item: Json) -> Iterator[AssetBand]:
    if _NOT_A_BAND.search(key) or not _RASTER.match(asset.get("type") or "image/tiff") or not asset.get("href"):
        return
    place = _place(asset, item)
    shared = {name: asset[form] for name in _ENTRY for form in (name, f"raster:{name}", f"eo:{name}") if form in asset}
    lists = [asset[name] for name in ("eo:bands", "bands", "raster:bands") if asset.get(name)]
    for index in range(max(map(len, lists), default=1)):
        # Of two places that say the same thing, the more particular one counts.
        entry = dict(shared)
        for entries in lists:
            entry |= {_bare(name): value for name, value in (entries[index : index + 1] or [{}])[0].items()}
        yield _band(key, asset, entry, {**place, "band": index + 1})


def _band(key: str, asset: Json, entry: Json, place: Mapping[str, Any]) -> AssetBand:
    transform = place["transform"]
    resolution = transform.a if transform is not None else _number(entry.get("spatial_resolution", entry.get("gsd")))
    bare = key
    while (cut := _SUFFIX.sub("", bare)) != bare:
        bare = cut
    names = (str(entry[name]).lower() for name in ("name", "common_name") if entry.get(name))
    words = (asset.get("title"), asset.get("description"), *asset.get("roles", ()))
    return AssetBand(
        key=bare,
        original=key.endswith("jp2"),
        names=tuple(names),
        wavelength=_number(entry.get("center_wavelength")),
        resolution=resolution,
        dtype=str(entry.get("data_type", "")),
        unit=str(entry.get("unit", "")).lower(),
        stated=(_number(entry.get("scale")), _number(entry.get("offset"))),
        text=" ".join(str(word).lower() for word in words if word),
        file=BandAsset(href=asset["href"], nodata=_number(entry.get("nodata")), **place),
    )


def _place(asset: Json, item: Json) -> dict[str, Any]:
    """CRS, transform and shape: the asset's own, else the item's. A shape counts only beside its transform."""
    properties = item.get("properties", {})
    owner = asset if asset.get("proj:transform") else properties
    shape = owner.get("proj:shape")
    return {
        "crs": _crs(asset) or _crs(properties),
        "transform": _transform(owner.get("proj:transform")),
        "shape": (int(shape[0]), int(shape[1])) if shape and owner.get("proj:transform") else None,
    }


def _crs(owner: Json) -> str | None:
    if owner.get("proj:code"):
        return str(owner["proj:code"])
    return f"EPSG:{owner['proj:epsg']}" if owner.get("proj:epsg") else owner.get("proj:wkt2")


def _transform(numbers: Sequence[float] | None) -> Affine | None:
    """6 numbers, or 9 with a last row of 0 0 1."""
    return Affine(*(float(number) for number in numbers[:6])) if numbers and len(numbers) in (6, 9) else None


def _bare(name: str) -> str:
    return name.rpartition(":")[2]


def _number(value: Any) -> float | None:
    try:
        return None if value is None else float(value)
    except (TypeError, ValueError):
        return None


def choose(found: Sequence[AssetBand], *, resolution: float) -> AssetBand:
    """The one of several files of a band to read: nearest to its native pixel, a copy before ESA's JPEG 2000."""
    return min(found, key=lambda band: (abs((band.resolution or resolution) - resolution), band.original, band.key))


def require(found: Mapping[str, Any], wanted: Sequence[str], item: Json) -> None:
    """Nothing.

    Raises
    ------
    UnusableItem
        When a wanted band has no file: with what the item has.
    """
    missing = [name for name in wanted if name not in found]
    if missing:
        raise UnusableItem(f"has no asset for {', '.join(missing)}; it has {', '.join(sorted(item.get('assets', {})))}")
