"""Sentinel-2 items of any provider: bands by our names, and reflectance x 10000 with or without ESA's offset.

From processing baseline 04.00 on (25 January 2022; older dates once reprocessed) ESA adds 1000 to every number, so that
dark pixels need not be clipped. Providers differ: Planetary Computer, the Copernicus Data Space and ESA's own products
keep it, Earth Search takes it off its copies and says so with a flag, others state it as scale and offset, and
Earth Search's items do both at once: there the flag is the truth, and the stated offset is not to be applied again.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np

from landweave.core.modalities import SENTINEL2_BANDS
from landweave.sources.stac.item_files import local_facts, reflectance_tags
from landweave.sources.stac.items import AssetBand, Json, StacItem, UnusableItem, native, pick_file, to_int, to_time
from landweave.sources.stac.products import refuse_unsupported
from landweave.sources.stac.records import BandAsset, Scene

ADDED = 1000
"""What ESA adds to reflectance x 10000 from baseline 04.00 on."""

_FIRST_WITH_OFFSET = "04.00"
_UNIT = 10_000
_ALIASES: Mapping[str, tuple[str, ...]] = {
    "B2": ("b02", "b2", "blue"),
    "B3": ("b03", "b3", "green"),
    "B4": ("b04", "b4", "red"),
    "B5": ("b05", "b5", "rededge1", "rededge071"),
    "B6": ("b06", "b6", "rededge2", "rededge075"),
    "B7": ("b07", "b7", "rededge3", "rededge078"),
    "B8": ("b08", "b8", "nir"),
    "B8A": ("b8a", "nir08"),
    "B11": ("b11", "swir16"),
    "B12": ("b12", "swir22"),
    "SCL": ("scl",),
    "CLOUD": ("cloud", "cld", "cldprb", "msk_cldprb"),
    "SNOW": ("snow", "snw", "snwprb", "msk_snwprb"),
}
_OUR_NAMES = {alias: name for name, aliases in _ALIASES.items() for alias in aliases}
_FINE = ("B2", "B3", "B4", "B8")

_PRODUCT = re.compile(
    r"(?P<platform>S2[A-Z])_MSIL(?P<level>1C|2A)_(?P<start>\d{8}T\d{6})_(N(?P<baseline>\d{4})_)?"
    r"R(?P<orbit>\d{3})_T(?P<tile>\d\d[A-Z]{3})_(?P<processed>\d{8}T\d{6})"
)
_DATATAKE = re.compile(r"G(?P<platform>S2[A-Z])_(?P<start>\d{8}T\d{6})_(?P<absolute>\d{6})_N(?P<baseline>\d\d\.\d\d)")
_GRANULE = re.compile(
    r"(?P<platform>S2[A-Z])_OPER_MSI_\w+_A(?P<absolute>\d{6})_T(?P<tile>\d\d[A-Z]{3})(_N(?P<baseline>\d\d\.\d\d))?"
)
_BASELINE = re.compile(r"\d\d\.\d\d")
_DATASTRIP = re.compile(r"_S(\d{8}T\d{6})")

_LEVEL_1C = "holds reflectance at the top of the atmosphere (level 1C), not at the surface (2A)"
_TOP_OF_ATMOSPHERE = re.compile(r"top[ -]of[ -](the[ -])?atmosphere|\btoa\b")

Names = Mapping[str, str]


def read_sentinel2(item: Json, bands: Sequence[str]) -> Scene:
    """The scene of an item.

    Parameters
    ----------
    item
        As served.
    bands
        By our names, those that pixel classes come from included.

    Raises
    ------
    UnusableItem
        When it is not level 2A, lacks a band, or does not say whether its offset is applied.
    """
    stac = StacItem(item)
    refuse_unsupported(stac, "sentinel-2")
    names = read_names(stac)
    if names.get("level") == "1C":
        raise UnusableItem(_LEVEL_1C)
    baseline = _baseline(stac, names)
    files, decision = _files(stac, bands, baseline)
    tile = _tile(stac, names)
    return stac.scene(
        # Of the tile's UTM zone, the same for every version of it.
        longitude=int(tile[:2]) * 6 - 183 if tile[:2].isdecimal() else None,
        assets=files,
        datatake=_datatake(stac, names),
        tile=tile,
        baseline=baseline,
        processed=_processed(stac, names),
        datastrip=_datastrip(stac),
        offset_decision=decision,
        relative_orbit=_orbit(stac, names),
    )


def read_names(item: StacItem) -> Names:
    """Fields of the names in an item: platform, start and orbit of the datatake, baseline, tile, processing time.

    A product's name counts before a datatake's, and that before a granule's.
    """
    texts = [item.id, *(value for value in item.properties.values() if isinstance(value, str))]
    texts += [str(asset.get("href", "")) for asset in item.assets.values()]
    found: dict[str, str] = {}
    for pattern in (_GRANULE, _DATATAKE, _PRODUCT):
        matches = [match for text in texts if (match := pattern.search(text))]
        for match in reversed(matches):
            found |= {name: value for name, value in match.groupdict().items() if value}
    return found


def decide_offset(
    *, baseline: str, applied: bool | None, stated: tuple[float | None, float | None]
) -> tuple[float, float, str]:
    """Scale and offset that bring a stored number to reflectance x 10000, and the reason in words.

    Parameters
    ----------
    baseline
        Such as ``05.10``; empty where it is unknown.
    applied
        The provider's flag that its copy has the offset taken off; None where there is no flag.
    stated
        Scale and offset of the item, else of its file, to reflectance; None where they are not stated.

    Raises
    ------
    UnusableItem
        When nothing says whether the offset is in the numbers, or two fields contradict each other.
    """
    if any(number is not None and not math.isfinite(number) for number in stated) or (stated[0] or 1) < 0:
        raise UnusableItem(f"states scale and offset as {stated[0]} and {stated[1]}: numbers are needed")
    if stated[0] == 0:
        raise UnusableItem("states a scale of 0")
    if stated[0] in (None, 1) and stated[1]:  # an offset alone: to reflectance, or in stored numbers
        stated = (1 / _UNIT, stated[1] if abs(stated[1]) < 1 else stated[1] / _UNIT)
    scale = 1.0 if stated[0] in (None, 1) else round(float(stated[0] or 0) * _UNIT, 9)
    added = baseline >= _FIRST_WITH_OFFSET if baseline else None
    # 1. The provider's flag: what it did to the pixels is stated nowhere else.
    if applied:
        return scale, 0.0, "already applied by the provider, by its flag"
    # 2. The offset as stated, unless a flag says that nothing was done: then the baseline says the same. A scale of 1
    # states nothing: reflectance is never whole numbers.
    if applied is None and stated[0] not in (None, 1) and stated[1] is not None:
        return scale, *_stated_offset(stated[1], baseline, added=added)
    # 3. Neither: the numbers are as ESA made them.
    if added is None:
        raise UnusableItem("gives neither its processing baseline nor its offset: reflectance would be a guess by 0.1")
    flag = "raw" if applied is None else "not applied by the provider, by its flag"
    return (scale, -float(ADDED), f"{flag}: -1000 applied here") if added else (scale, 0.0, f"none in {baseline}")


def _stated_offset(stated: float, baseline: str, *, added: bool | None) -> tuple[float, str]:
    offset = round(stated * _UNIT, 6)
    if offset not in (0, -ADDED):
        raise UnusableItem(f"states an offset of {offset:g} where 0 or {-ADDED} is known (reflectance x 10000)")
    if offset and added is False:
        raise UnusableItem(f"states an offset of {offset:g}, and its baseline {baseline} has none")
    return offset, f"stated as scale and offset: {offset:g} applied here" if offset else "stated as scale and offset: 0"


def _files(item: StacItem, bands: Sequence[str], baseline: str) -> tuple[Mapping[str, BandAsset], str]:
    """Files of ``bands`` with scale and offset, and the decisions on the offset in words."""
    found: dict[str, list[AssetBand]] = {}
    for asset in item.bands():
        found.setdefault(_our_name(asset), []).append(asset)
    item.require(found, bands)
    flag = _flag(item)
    files: dict[str, BandAsset] = {}
    decisions: dict[str, None] = {}
    offsets: dict[bool, float] = {}
    for name in bands:
        resolution = 10 if name in _FINE else 20
        asset = native(pick_file(found[name], resolution=resolution), resolution)
        files[name] = asset.file
        if name in SENTINEL2_BANDS:
            if _TOP_OF_ATMOSPHERE.search(asset.text):
                raise UnusableItem(_LEVEL_1C)
            stated = _stated(asset)
            # The flag is about the provider's copies; ESA's files stand beside them as they were.
            applied = None if asset.original else flag
            scale, offset, decision = decide_offset(baseline=baseline, applied=applied, stated=stated)
            files[name] = replace(asset.file, scale=scale, offset=offset)
            decisions[decision] = None
            if offsets.setdefault(asset.original, offset) != offset:
                raise UnusableItem(f"has bands with an offset of {offset:g} and of {offsets[asset.original]:g}")
        elif name != "SCL" and asset.stated[0] not in (None, 1):
            raise UnusableItem(f"states a scale of {asset.stated[0]:g} for {name}: probabilities of 0 to 100 are read")
    return files, "; ".join(decisions)


def _flag(item: StacItem) -> bool | None:
    """Whether the provider took the offset off its copies; None where it does not say."""
    for name in ("earthsearch:boa_offset_applied", "sentinel:boa_offset_applied"):
        value = item.properties.get(name)
        if value is not None and not isinstance(value, bool):
            raise UnusableItem(f"states {name} as {value!r}: true or false is needed")
        if value is not None:
            return value
    return None


def _stated(asset: AssetBand) -> tuple[float | None, float | None]:
    """Scale and offset as the item states them, else as its file does, where it is at hand."""
    stated, facts = asset.stated, local_facts(asset.file.href)
    if stated[0] in (None, 1) and facts is not None and asset.file.band <= facts.count:
        tags = reflectance_tags(facts, asset.file.band)
        stated = stated if tags[0] is None else tags
    if asset.dtype.startswith("float") and stated[0] in (None, 1):
        raise UnusableItem(f"stores {asset.dtype} without a scale in {asset.key!r}: 0.05 or 500 for a dark pixel?")
    return stated


def _our_name(asset: AssetBand) -> str:
    names = (asset.key, *asset.names) if asset.file.band == 1 else asset.names
    known = next((_OUR_NAMES[name] for name in names if name in _OUR_NAMES), "")
    if not known and "rededge" in asset.names and asset.wavelength is not None:
        centres = {"B5": 0.704, "B6": 0.740, "B7": 0.783, "B8A": 0.865}
        known = min(centres, key=lambda name: abs(centres[name] - (asset.wavelength or 0)))
    return known


def _baseline(item: StacItem, names: Names) -> str:
    stated = item.first("s2:processing_baseline", "sentinel:processing_baseline")
    texts = [str(text) for text in (stated, names.get("baseline"), item.first("processing:version")) if text]
    dotted = [f"{text[:2]}.{text[2:]}" if len(text) == 4 and text.isdigit() else text for text in texts]
    return next((text for text in dotted if _BASELINE.fullmatch(text)), "")


def _datatake(item: StacItem, names: Names) -> str:
    """Platform and start of the datatake, else its absolute orbit, else its relative orbit, for the solar day.

    Without the baseline that ESA's own id ends in, so that reprocessed versions share it.
    """
    platform = names.get("platform") or "S" + str(item.first("platform") or "")[-2:].upper()
    orbit = _orbit(item, names)
    if "start" in names:
        return f"{platform}_{names['start']}"
    if "absolute" in names:
        return f"{platform}_A{names['absolute']}"
    if orbit is None:
        raise UnusableItem("gives no datatake: no name of a product, datatake or granule, and no relative orbit")
    return f"{platform}_R{orbit:03d}"


def _tile(item: StacItem, names: Names) -> str:
    if tile := item.mgrs_tile() or item.mgrs_tile("sentinel"):
        return tile
    code = str(item.first("s2:mgrs_tile", "grid:code") or names.get("tile", ""))
    return code.removeprefix("MGRS-").removeprefix("T").zfill(5) if code else ""


def _processed(item: StacItem, names: Names) -> np.datetime64:
    stated = to_time(item.first("s2:generation_time", "processing:datetime"))
    return to_time(names.get("processed")) if np.isnat(stated) else stated


def _datastrip(item: StacItem) -> str:
    """Start of the part of the datatake that was received in one go: a tile may lie in two of them."""
    found = _DATASTRIP.search(str(item.first("s2:datastrip_id", "eopf:datastrip_id") or ""))
    return found.group(1) if found else ""


def _orbit(item: StacItem, names: Names) -> int | None:
    return to_int(item.first("sat:relative_orbit")) or to_int(names.get("orbit"))
