"""Sentinel-1 items of any provider: orthorectified, calibrated backscatter as linear power, and nothing else.

What a file measures is told by its collection, by the words of its asset and by the file itself. It is never told by
``sar:product_type``, which names what a product was made from (``GRD`` for terrain-corrected gamma0), nor by a
``proj:transform``, which catalogs write for raw products too (a box of longitudes and latitudes around a swath).
"""

from __future__ import annotations

import re
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from rasterio.errors import NotGeoreferencedWarning

from landweave.core.errors import ReadError
from landweave.sources.files import RasterFile, is_url
from landweave.sources.raster_facts import facts_at_first_open
from landweave.sources.stac.items import (
    AssetBand,
    Json,
    UnusableItem,
    choose,
    item_bounds,
    item_time,
    middle_longitude,
    read_assets,
    require,
    solar_day,
    to_time,
)
from landweave.sources.stac.records import BandAsset, Scene

POLARISATIONS = ("VV", "VH", "HH", "HV")

_SIGMA = re.compile(r"sigma[\s_-]*(0|naught|nought|zero)")
_GAMMA = re.compile(r"gamma[\s_-]*(0|naught|nought|zero)")
_FLATTENED = re.compile(r"\brtc\b|_rtc|rtc_|\bnrb\b|terrain[\s_-]*(correct|flatten)")
_ON_THE_MAP = re.compile(rf"ortho|geocod|\bgtc\b|{_FLATTENED.pattern}")
_DECIBELS = re.compile(r"(?<![a-z])db(?![a-z])|decibel")
_PRODUCT = re.compile(r"(?P<platform>S1[A-Z])_\w\w_\w{3}[A-Z_]_\w{4}_\d{8}T\d{6}_\d{8}T\d{6}_(?P<pass>\d{6})")


def read_sentinel1(item: Json, bands: Sequence[str], *, quantity: str | None = None) -> Scene:
    """An item as an acquisition that holds ``bands`` (``VV``, …) of ``quantity``, or of the one that it has.

    Raises
    ------
    UnusableItem
        When it is raw, is not on the map, measures something else, or lacks a band.
    """
    measured, found = _measured(item, quantity)
    require(found, bands, item)
    chosen = {name: choose(found[name], resolution=10) for name in bands}
    _refuse_radar_geometry(chosen, measured, item)
    time, bounds = item_time(item), item_bounds(item)
    properties = item.get("properties", {})
    orbit = properties.get("sat:relative_orbit")
    return Scene(
        id=item["id"],
        collection=item.get("collection") or "",
        time=time,
        bounds=bounds,
        assets={name: _file(asset) for name, asset in chosen.items()},
        datatake=_pass(item),
        solar_day=solar_day(time, middle_longitude(bounds)),
        tile=_tile(properties),
        processed=to_time(properties.get("s1:processing_datetime") or properties.get("processing:datetime")),
        orbit_state=str(properties.get("sat:orbit_state") or "").lower(),
        relative_orbit=None if orbit is None else int(orbit),
        quantity=measured,
    )


def tell_quantity(collection: str, text: str) -> str:
    """What a file measures: ``sigma0``, ``gamma0_rtc``, ``gamma0`` (terrain not flattened), empty when raw or untold.

    The asset's own ``text`` counts before the name of its collection.

    >>> tell_quantity("sentinel-1-rtc", "vv"), tell_quantity("sentinel-1-grd", "amplitude of signal")
    ('gamma0_rtc', '')
    """
    for words in (text.lower(), collection.lower()):
        if _SIGMA.search(words):
            return "sigma0"
        if _GAMMA.search(words):
            return "gamma0_rtc" if _FLATTENED.search(f"{collection.lower()} {text.lower()}") else "gamma0"
    # Catalogs copy "terrain correction applied" into the text of raw products: only a collection is believed alone.
    return "gamma0_rtc" if _FLATTENED.search(collection.lower()) and "amplitude" not in text.lower() else ""


def _measured(item: Json, wanted: str | None) -> tuple[str, Mapping[str, list[AssetBand]]]:
    """The quantity to read and the files of each band that hold it."""
    collection = str(item.get("collection") or "")
    found: dict[str, dict[str, list[AssetBand]]] = {}
    for asset in read_assets(item):
        if band := _band(asset):
            kind = tell_quantity(collection, f"{asset.key} {asset.text}")
            found.setdefault(kind, {}).setdefault(band, []).append(asset)
    usable = [kind for kind in ("sigma0", "gamma0_rtc") if kind in found]
    if found and not usable:
        raise UnusableItem(_why_not(collection, found))
    if wanted and usable and wanted not in usable:
        raise UnusableItem(f"measures {' and '.join(usable)}, {wanted} was asked")
    if not wanted and len(usable) > 1:
        raise UnusableItem(f"measures {' and '.join(usable)}: name one as quantity")
    kind = wanted or (usable[0] if usable else "")
    return kind, found.get(kind, {})


def _why_not(collection: str, found: Mapping[str, Mapping[str, Sequence[AssetBand]]]) -> str:
    if "gamma0" in found:
        return "measures gamma0 without a word of terrain correction: slopes facing the radar would look bright"
    asset = next(iter(next(iter(found.values())).values()))[0]
    points = _control_points(asset.file)
    seen = f" ({points} ground control points in its file)" if points else ""
    return (
        f"is raw: neither its collection {collection!r} nor its asset {asset.key!r} speaks of sigma0 or gamma0{seen}; "
        "uncalibrated amplitude in radar geometry. Take a calibrated, orthorectified collection, as sentinel-1-rtc"
    )


def _refuse_radar_geometry(chosen: Mapping[str, AssetBand], quantity: str, item: Json) -> None:
    told = " ".join([str(item.get("collection") or ""), *(f"{asset.key} {asset.text}" for asset in chosen.values())])
    for name, asset in chosen.items():
        points = _control_points(asset.file)
        if points:
            raise UnusableItem(f"is in radar geometry: {name} has {points} ground control points and lies on no map")
        if _DECIBELS.search(f"{asset.key} {asset.unit} {asset.text}"):
            raise UnusableItem(f"stores {name} in decibels, where linear power is wanted")
        if points is None and not _ON_THE_MAP.search(told.lower()):
            raise UnusableItem(f"measures {quantity}, and nothing says that it is orthorectified")


def _control_points(file: BandAsset) -> int | None:
    """Ground control points of a file on this machine: 0 for one that lies on the map, None when it cannot be told."""
    if is_url(file.href) or not Path(file.href).is_file():
        return None
    try:
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            facts = facts_at_first_open(RasterFile(href=file.href))
    except ReadError:
        return None  # the read of its pixels says what is wrong with it
    return facts.control_points or (0 if facts.crs else None)


def _file(asset: AssetBand) -> BandAsset:
    scale, offset = asset.stated
    return replace(asset.file, scale=1.0 if scale is None else scale, offset=offset or 0.0)


def _band(asset: AssetBand) -> str:
    words = [*asset.names, *re.split(r"[^a-z]+", asset.key)] if asset.file.band == 1 else list(asset.names)
    return next((name for name in POLARISATIONS if name.lower() in words), "")


def _pass(item: Json) -> str:
    """Platform and absolute orbit; where that is not told, the relative orbit, which its solar day makes unique."""
    properties = item.get("properties", {})
    found = _PRODUCT.search(f"{item['id']} {properties.get('s1:product_identifier', '')}")
    platform = found["platform"] if found else "S" + str(properties.get("platform") or "")[-2:].upper()
    absolute = properties.get("sat:absolute_orbit", found["pass"] if found else None)
    relative = properties.get("sat:relative_orbit")
    if absolute is None and relative is None:
        raise UnusableItem("tells neither its absolute nor its relative orbit")
    return f"{platform}_A{int(absolute):06d}" if absolute is not None else f"{platform}_R{int(relative):03d}"


def _tile(properties: Json) -> str:
    parts = [properties.get(f"mgrs:{part}") for part in ("utm_zone", "latitude_band", "grid_square")]
    return "".join(map(str, parts)).zfill(5) if all(parts) else ""
