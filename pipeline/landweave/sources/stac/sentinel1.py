"""Sentinel-1 items of any provider: orthorectified, calibrated backscatter as linear power, and nothing else.

The quantity of a file is given by its collection, by the words of its asset and by the file itself. It is never given
by ``sar:product_type``, which names what a product was made from (``GRD`` for terrain-corrected gamma0), nor by a
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
from landweave.sources.stac.items import AssetBand, Json, StacItem, UnusableItem, pick_file, to_time
from landweave.sources.stac.records import BandAsset, Scene

POLARISATIONS = ("VV", "VH", "HH", "HV")

_SIGMA = re.compile(r"sigma[\s_-]*(0|naught|nought|zero)")
_GAMMA = re.compile(r"gamma[\s_-]*(0|naught|nought|zero)")
_FLATTENED = re.compile(r"\brtc\b|_rtc|rtc_|\bnrb\b|terrain[\s_-]*(correct|flatten)")
_ORTHORECTIFIED = re.compile(rf"ortho|geocod|\bgtc\b|{_FLATTENED.pattern}")
_DECIBELS = re.compile(r"(?<![a-z])db(?![a-z])|decibel")
_PRODUCT = re.compile(r"(?P<platform>S1[A-Z])_\w\w_\w{3}[A-Z_]_\w{4}_\d{8}T\d{6}_\d{8}T\d{6}_(?P<orbit>\d{6})")


def read_sentinel1(item: Json, bands: Sequence[str], *, quantity: str | None = None) -> Scene:
    """The scene of an item.

    Parameters
    ----------
    item
        As served.
    bands
        ``VV``, ….
    quantity
        ``sigma0`` or ``gamma0_rtc``; by default the one that the item has.

    Raises
    ------
    UnusableItem
        When it is raw, is not orthorectified, measures something else, or lacks a band.
    """
    stac = StacItem(item)
    measured, found = _files_by_band(stac, quantity)
    stac.require(found, bands)
    files = {name: pick_file(found[name], resolution=10) for name in bands}
    _refuse_radar_geometry(files, measured, stac.collection)
    orbit = stac.properties.get("sat:relative_orbit")
    return stac.scene(
        assets={name: _scaled(asset) for name, asset in files.items()},
        datatake=_datatake(stac),
        tile=stac.mgrs_tile(),
        processed=to_time(stac.first("s1:processing_datetime", "processing:datetime")),
        relative_orbit=None if orbit is None else int(orbit),
        quantity=measured,
    )


def quantity_of(collection: str, text: str) -> str:
    """The quantity of a file: ``sigma0``, ``gamma0_rtc``, ``gamma0`` (terrain not flattened); empty when raw.

    Parameters
    ----------
    collection
        Name of the collection.
    text
        Words of the asset: they count before the name of its collection.

    Examples
    --------
    >>> quantity_of("sentinel-1-rtc", "vv"), quantity_of("sentinel-1-grd", "amplitude of signal")
    ('gamma0_rtc', '')
    """
    for words in (text.lower(), collection.lower()):
        if _SIGMA.search(words):
            return "sigma0"
        if _GAMMA.search(words):
            return "gamma0_rtc" if _FLATTENED.search(f"{collection.lower()} {text.lower()}") else "gamma0"
    # Catalogs copy "terrain correction applied" into the text of raw products: only a collection is believed alone.
    return "gamma0_rtc" if _FLATTENED.search(collection.lower()) and "amplitude" not in text.lower() else ""


def _files_by_band(item: StacItem, quantity: str | None) -> tuple[str, Mapping[str, list[AssetBand]]]:
    """The quantity to read and the files of each band that hold it."""
    found: dict[str, dict[str, list[AssetBand]]] = {}
    for asset in item.bands():
        if band := _band(asset):
            of_asset = quantity_of(item.collection, f"{asset.key} {asset.text}")
            found.setdefault(of_asset, {}).setdefault(band, []).append(asset)
    usable = [each for each in ("sigma0", "gamma0_rtc") if each in found]
    if found and not usable:
        raise UnusableItem(_why_unusable(item.collection, found))
    if quantity and usable and quantity not in usable:
        raise UnusableItem(f"measures {' and '.join(usable)}, {quantity} was asked for")
    if not quantity and len(usable) > 1:
        raise UnusableItem(f"measures {' and '.join(usable)}: name one as quantity")
    taken = quantity or (usable[0] if usable else "")
    return taken, found.get(taken, {})


def _why_unusable(collection: str, found: Mapping[str, Mapping[str, Sequence[AssetBand]]]) -> str:
    if "gamma0" in found:
        return "measures gamma0 without a word of terrain correction: slopes facing the radar would look bright"
    asset = next(iter(next(iter(found.values())).values()))[0]
    points = _control_points(asset.file)
    seen = f" ({points} ground control points in its file)" if points else ""
    return (
        f"is raw: neither its collection {collection!r} nor its asset {asset.key!r} speaks of sigma0 or gamma0{seen}; "
        "uncalibrated amplitude in radar geometry. Take a calibrated, orthorectified collection, as sentinel-1-rtc"
    )


def _refuse_radar_geometry(files: Mapping[str, AssetBand], quantity: str, collection: str) -> None:
    words = [collection, *(f"{asset.key} {asset.text}" for asset in files.values())]
    orthorectified = _ORTHORECTIFIED.search(" ".join(words).lower())
    for name, asset in files.items():
        points = _control_points(asset.file)
        if points:
            raise UnusableItem(f"is in radar geometry: {name} has {points} ground control points and lies on no map")
        if _DECIBELS.search(f"{asset.key} {asset.unit} {asset.text}"):
            raise UnusableItem(f"stores {name} in decibels, linear power is needed")
        if points is None and not orthorectified:
            raise UnusableItem(f"measures {quantity}, and nothing says that it is orthorectified")


def _control_points(file: BandAsset) -> int | None:
    """Ground control points of a local file: 0 for a georeferenced one, None where that is not known."""
    if is_url(file.href) or not Path(file.href).is_file():
        return None
    try:
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            facts = facts_at_first_open(RasterFile(href=file.href))
    except ReadError:
        return None  # the read of its pixels says what is wrong with it
    return facts.control_points or (0 if facts.crs else None)


def _scaled(asset: AssetBand) -> BandAsset:
    scale, offset = asset.stated
    return replace(asset.file, scale=1.0 if scale is None else scale, offset=offset or 0.0)


def _band(asset: AssetBand) -> str:
    words = [*asset.names, *re.split(r"[^a-z]+", asset.key)] if asset.file.band == 1 else list(asset.names)
    return next((name for name in POLARISATIONS if name.lower() in words), "")


def _datatake(item: StacItem) -> str:
    """Platform and absolute orbit; without one the relative orbit, which its solar day makes unique."""
    properties = item.properties
    found = _PRODUCT.search(f"{item.json['id']} {properties.get('s1:product_identifier', '')}")
    platform = found["platform"] if found else "S" + str(properties.get("platform") or "")[-2:].upper()
    absolute = properties.get("sat:absolute_orbit", found["orbit"] if found else None)
    relative = properties.get("sat:relative_orbit")
    if absolute is not None:
        return f"{platform}_A{int(absolute):06d}"
    if relative is None:
        raise UnusableItem("gives neither its absolute nor its relative orbit")
    return f"{platform}_R{int(relative):03d}"
