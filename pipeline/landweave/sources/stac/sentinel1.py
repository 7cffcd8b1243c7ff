"""Sentinel-1 items of any provider: orthorectified, calibrated backscatter as linear power, and nothing else.

The quantity of a file is given by its collection, by the words of its asset and by the file itself. It is never given
by ``sar:product_type``, which names what a product was made from (``GRD`` for terrain-corrected gamma0), nor by a
``proj:transform``, which catalogs write for raw products too (a box of longitudes and latitudes around a swath).
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import PurePath
from typing import Literal

from landweave.sources.stac.item_files import local_facts
from landweave.sources.stac.items import AssetBand, Json, StacItem, UnusableItem, pick_file, to_int, to_time
from landweave.sources.stac.products import refuse_unsupported
from landweave.sources.stac.records import BandAsset, Scene

POLARISATIONS = ("VV", "VH", "HH", "HV")

_SIGMA = re.compile(r"sigma[\s_-]*(0|naught|nought|zero)")
_GAMMA = re.compile(r"gamma[\s_-]*(0|naught|nought|zero)")
_FLATTENED = re.compile(r"\brtc\b|_rtc|rtc_|\bnrb\b|terrain[\s_-]*(correct|flatten)")
_ORTHORECTIFIED = re.compile(rf"ortho|geocod|\bgtc\b|{_FLATTENED.pattern}")
_DECIBELS = re.compile(r"(?<![a-z])db(?![a-z])|decibel")
_DECIBELS_IN_NAME = re.compile(r"(?<![a-z0-9])db(?![a-z0-9])|decibel", re.IGNORECASE)
"""Names hold codes too, such as ``0DB3``."""

StoredAs = Literal["power", "decibels"]
_PRODUCT = re.compile(r"(?P<platform>S1[A-Z])_\w\w_\w{3}[A-Z_]_\w{4}_\d{8}T\d{6}_\d{8}T\d{6}_(?P<orbit>\d{6})")


def read_sentinel1(
    item: Json, bands: Sequence[str], *, quantity: str | None = None, stored_as: StoredAs | None = None
) -> Scene:
    """The scene of an item.

    Parameters
    ----------
    item
        As served.
    bands
        ``VV``, ….
    quantity
        ``sigma0`` or ``gamma0_rtc``; by default the one that the item has.
    stored_as
        ``power`` or ``decibels``, whatever names say; by default power, and what is named decibels is refused.

    Raises
    ------
    UnusableItem
        When it is raw, is not orthorectified, is in decibels, measures something else, or lacks a band.
    """
    stac = StacItem(item)
    refuse_unsupported(stac, "sentinel-1")
    measured, found = _files_by_band(stac, quantity)
    stac.require(found, bands)
    files = {name: pick_file(found[name], resolution=10) for name in bands}
    _refuse_radar_geometry(files, measured, stac.collection)
    if stored_as is None:
        _refuse_other_units(files, f"{stac.id} {stac.collection}")
    return stac.scene(
        assets={name: replace(_scaled(asset), decibels=stored_as == "decibels") for name, asset in files.items()},
        datatake=_datatake(stac),
        tile=stac.mgrs_tile(),
        processed=to_time(stac.first("s1:processing_datetime", "processing:datetime")),
        relative_orbit=to_int(stac.properties.get("sat:relative_orbit")),
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
        "Sentinel-1 GRD or the like, uncalibrated amplitude in radar geometry. Take a calibrated, orthorectified "
        "collection, as sentinel-1-rtc"
    )


def _refuse_radar_geometry(files: Mapping[str, AssetBand], quantity: str, collection: str) -> None:
    words = [collection, *(f"{asset.key} {asset.text}" for asset in files.values())]
    orthorectified = _ORTHORECTIFIED.search(" ".join(words).lower())
    for name, asset in files.items():
        points = _control_points(asset.file)
        if points:
            raise UnusableItem(f"is in radar geometry: {name} has {points} ground control points and lies on no map")
        if points is None and not orthorectified:
            raise UnusableItem(f"measures {quantity}, and nothing says that it is orthorectified")


def _refuse_other_units(files: Mapping[str, AssetBand], names: str) -> None:
    """Refuse files whose words, or those of their items, say decibels or amplitude."""
    for name, asset in files.items():
        facts = local_facts(asset.file.href)
        words = f"{asset.key} {asset.unit} {asset.text}"
        file = " ".join([PurePath(asset.file.href).name, *(facts.words if facts else ())])
        if "amplitude" in f"{words} {file}".lower():
            raise UnusableItem(
                f"stores {name} as amplitude, by its words or those of its file {PurePath(asset.file.href).name}: "
                "power is its square, and is needed; stored_as: power takes it as power"
            )
        if _DECIBELS.search(words) or _DECIBELS_IN_NAME.search(f"{names} {file}"):
            raise UnusableItem(
                f"stores {name} in decibels, by its words or the name of its file {PurePath(asset.file.href).name}, "
                "and power is needed: stored_as: decibels makes power of it, stored_as: power takes it as power"
            )


def _control_points(file: BandAsset) -> int | None:
    """Ground control points of a local file: 0 for a georeferenced one, None where that is not known."""
    facts = local_facts(file.href)
    return None if facts is None else facts.control_points or (0 if facts.crs else None)


def _scaled(asset: AssetBand) -> BandAsset:
    """The file with scale and offset as its item states them, else as its own tags do, where it is at hand."""
    scale, offset = asset.stated
    if scale is None and offset is None and (facts := local_facts(asset.file.href)) is not None:
        number = min(asset.file.band, facts.count) - 1
        scale, offset = facts.scales[number], facts.offsets[number]
    scale, offset = 1.0 if scale is None else scale, offset or 0.0
    if not (math.isfinite(scale) and math.isfinite(offset) and scale > 0):
        raise UnusableItem(f"states scale and offset of {asset.key} as {scale:g} and {offset:g}")
    return replace(asset.file, scale=scale, offset=offset)


def _band(asset: AssetBand) -> str:
    words = [*asset.names, *re.split(r"[^a-z]+", asset.key)] if asset.file.band == 1 else list(asset.names)
    return next((name for name in POLARISATIONS if name.lower() in words), "")


def _datatake(item: StacItem) -> str:
    """Platform and absolute orbit; without one the relative orbit, which its solar day makes unique."""
    properties = item.properties
    found = _PRODUCT.search(f"{item.id} {properties.get('s1:product_identifier', '')}")
    platform = found["platform"] if found else "S" + str(properties.get("platform") or "")[-2:].upper()
    absolute = to_int(properties.get("sat:absolute_orbit"))
    absolute = int(found["orbit"]) if absolute is None and found else absolute
    relative = to_int(properties.get("sat:relative_orbit"))
    if absolute is not None:
        return f"{platform}_A{absolute:06d}"
    if relative is None:
        raise UnusableItem("gives neither its absolute nor its relative orbit")
    return f"{platform}_R{relative:03d}"
