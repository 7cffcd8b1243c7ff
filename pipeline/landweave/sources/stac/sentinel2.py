"""Sentinel-2 items of any provider: bands by our names, and reflectance x 10000 whatever became of ESA's offset.

From processing baseline 04.00 on (25 January 2022; older dates once reprocessed) ESA adds 1000 to every number, so that
dark pixels need not be clipped. Providers differ: Planetary Computer, the Copernicus Data Space and ESA's own products
keep it, Earth Search takes it off its copies and says so with a flag, others state it as scale and offset, and
Earth Search's items do both at once: there the flag is the truth, and the stated offset is not to be applied again.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from landweave.core.grid import Bounds
from landweave.core.modalities import SENTINEL2_BANDS
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

CLASS_BANDS = ("SCL", "CLOUD", "SNOW")
"""Scene classes; probabilities of cloud and of snow, 0 to 100."""

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
    r"R(?P<orbit>\d{3})_T(?P<tile>\d\d[A-Z]{3})_(?P<made>\d{8}T\d{6})"
)
_DATATAKE = re.compile(r"G(?P<platform>S2[A-Z])_(?P<start>\d{8}T\d{6})_(?P<pass>\d{6})_N(?P<baseline>\d\d\.\d\d)")
_GRANULE = re.compile(
    r"(?P<platform>S2[A-Z])_OPER_MSI_\w+_A(?P<pass>\d{6})_T(?P<tile>\d\d[A-Z]{3})(_N(?P<baseline>\d\d\.\d\d))?"
)
_BASELINE = re.compile(r"\d\d\.\d\d")
_STRIP = re.compile(r"_S(\d{8}T\d{6})")

Names = Mapping[str, str]


def read_sentinel2(item: Json, bands: Sequence[str]) -> Scene:
    """An item as an acquisition that holds ``bands``, by our names.

    Raises
    ------
    UnusableItem
        When it is not level 2A, lacks a band, or does not tell where its offset stands.
    """
    names = read_names(item)
    if names.get("level") == "1C" or str(_first(item, "s2:product_type")).endswith("1C"):
        raise UnusableItem("holds reflectance at the top of the atmosphere (level 1C), not at the surface (2A)")
    time, bounds = item_time(item), item_bounds(item)
    baseline = _baseline(item, names)
    files, decision = _files(item, bands, baseline)
    properties = item.get("properties", {})
    tile = _tile(item, names)
    return Scene(
        id=item["id"],
        collection=item.get("collection") or "",
        time=time,
        bounds=bounds,
        assets=files,
        datatake=_datatake(item, names),
        solar_day=solar_day(time, _longitude(tile, bounds)),
        tile=tile,
        baseline=baseline,
        processed=_processed(item, names),
        datastrip=_datastrip(item),
        offset_decision=decision,
        orbit_state=str(properties.get("sat:orbit_state") or "").lower(),
        relative_orbit=_orbit(item, names),
    )


def read_names(item: Json) -> Names:
    """What the names in an item say: platform, start and number of the pass, baseline, orbit, tile, when made.

    A product's name counts before a datatake's, and that before a granule's.
    """
    properties = item.get("properties", {})
    texts = [str(item.get("id", "")), *(str(value) for value in properties.values() if isinstance(value, str))]
    texts += [str(asset.get("href", "")) for asset in item.get("assets", {}).values()]
    found: dict[str, str] = {}
    for pattern in (_GRANULE, _DATATAKE, _PRODUCT):
        matches = [match for text in texts if (match := pattern.search(text))]
        for match in reversed(matches):
            found |= {name: value for name, value in match.groupdict().items() if value}
    return found


def decide_offset(
    *, baseline: str, applied: bool | None, stated: tuple[float | None, float | None]
) -> tuple[float, float, str]:
    """Scale and offset that bring a stored number to reflectance x 10000, and in words why.

    Parameters
    ----------
    baseline
        Such as ``05.10``; empty where it is not told.
    applied
        The provider's flag that its copy has the offset taken off; None where there is no flag.
    stated
        Scale and offset of the item, to reflectance; None where they are not stated.

    Raises
    ------
    UnusableItem
        When nothing tells, or two things contradict each other.
    """
    scale = _unit_scale(stated[0])
    added = baseline >= _FIRST_WITH_OFFSET if baseline else None
    # 1. The provider's flag: what it did to the pixels is not known from anywhere else.
    if applied:
        return scale, 0.0, "already applied by the provider, by its flag"
    # 2. The offset as stated, unless a flag says that nothing was done: then the baseline knows as well. A scale of 1
    # states nothing: reflectance is never whole numbers.
    if applied is None and stated[0] not in (None, 1) and stated[1] is not None:
        return scale, *_stated_offset(stated[1], baseline, added=added)
    # 3. Neither: the numbers are as ESA made them.
    if added is None:
        raise UnusableItem("tells neither its processing baseline nor its offset: reflectance would be a guess by 0.1")
    flag = "raw" if applied is None else "not applied by the provider, by its flag"
    return (scale, -float(ADDED), f"{flag}: -1000 applied here") if added else (scale, 0.0, f"none in {baseline}")


def _unit_scale(stated: float | None) -> float:
    return 1.0 if stated in (None, 1) else round(float(stated or 0) * _UNIT, 9)


def _stated_offset(stated: float, baseline: str, *, added: bool | None) -> tuple[float, str]:
    offset = round(stated * _UNIT, 6)
    if offset not in (0, -ADDED):
        raise UnusableItem(f"states an offset of {offset:g} where 0 or {-ADDED} is known (reflectance x 10000)")
    if offset and added is False:
        raise UnusableItem(f"states an offset of {offset:g}, and its baseline {baseline} has none")
    return offset, f"stated as scale and offset: {offset:g} applied here" if offset else "stated as scale and offset: 0"


def _files(item: Json, bands: Sequence[str], baseline: str) -> tuple[Mapping[str, BandAsset], str]:
    """Files of ``bands`` with scale and offset, and the decisions on those in words."""
    found: dict[str, list[AssetBand]] = {}
    for asset in read_assets(item):
        found.setdefault(_our_name(asset), []).append(asset)
    require(found, bands, item)
    decide = _decider(item, baseline)
    files: dict[str, BandAsset] = {}
    decisions: dict[str, None] = {}
    for name in bands:
        asset = choose(found[name], resolution=10 if name in _FINE else 20)
        if name in SENTINEL2_BANDS:
            _refuse_bare_floats(asset)
            scale, offset, decision = decide(asset)
            files[name] = replace(asset.file, scale=scale, offset=offset)
            decisions[decision] = None
        else:
            files[name] = asset.file
    return files, "; ".join(decisions)


def _refuse_bare_floats(asset: AssetBand) -> None:
    if asset.dtype.startswith("float") and asset.stated[0] in (None, 1):
        raise UnusableItem(f"stores {asset.dtype} without a scale in {asset.key!r}: 0.05 or 500 for a dark pixel?")


def _decider(item: Json, baseline: str) -> Callable[[AssetBand], tuple[float, float, str]]:
    properties = item.get("properties", {})
    flags = (properties.get(f"{name}:boa_offset_applied") for name in ("earthsearch", "sentinel"))
    flag = next((bool(value) for value in flags if value is not None), None)

    def decide(asset: AssetBand) -> tuple[float, float, str]:
        # The flag is about the provider's copies; ESA's files stand beside them as they were.
        return decide_offset(baseline=baseline, applied=None if asset.original else flag, stated=asset.stated)

    return decide


def _our_name(asset: AssetBand) -> str:
    names = (asset.key, *asset.names) if asset.file.band == 1 else asset.names
    known = next((_OUR_NAMES[name] for name in names if name in _OUR_NAMES), "")
    if not known and "rededge" in asset.names and asset.wavelength is not None:
        centres = {"B5": 0.704, "B6": 0.740, "B7": 0.783, "B8A": 0.865}
        known = min(centres, key=lambda name: abs(centres[name] - (asset.wavelength or 0)))
    return known


def _baseline(item: Json, names: Names) -> str:
    told = (_first(item, "s2:processing_baseline", "sentinel:processing_baseline"), names.get("baseline"))
    texts = [str(text) for text in (*told, _first(item, "processing:version")) if text]
    dotted = [f"{text[:2]}.{text[2:]}" if len(text) == 4 and text.isdigit() else text for text in texts]
    return next((text for text in dotted if _BASELINE.fullmatch(text)), "")


def _datatake(item: Json, names: Names) -> str:
    """Platform and start of the pass; where no name tells its start, its number; else its orbit, for the solar day.

    Without the baseline that ESA's own id ends in, so that reprocessed versions share it.
    """
    platform = names.get("platform") or "S" + str(_first(item, "platform") or "")[-2:].upper()
    orbit = _orbit(item, names)
    if "start" in names:
        return f"{platform}_{names['start']}"
    if "pass" in names:
        return f"{platform}_A{names['pass']}"
    if orbit is None:
        raise UnusableItem("names no pass: no product, datatake, granule or relative orbit")
    return f"{platform}_R{orbit:03d}"


def _tile(item: Json, names: Names) -> str:
    properties = item.get("properties", {})
    for prefix in ("mgrs", "sentinel"):
        parts = [properties.get(f"{prefix}:{part}") for part in ("utm_zone", "latitude_band", "grid_square")]
        if all(parts):
            return "".join(map(str, parts)).zfill(5)
    told = str(_first(item, "s2:mgrs_tile", "grid:code") or names.get("tile", ""))
    return told.removeprefix("MGRS-").removeprefix("T").zfill(5) if told else ""


def _longitude(tile: str, bounds: Bounds) -> float:
    """Of the tile's UTM zone, the same for every version of it; without a tile, the middle of the bounds."""
    return int(tile[:2]) * 6 - 183 if tile[:2].isdigit() else middle_longitude(bounds)


def _processed(item: Json, names: Names) -> np.datetime64:
    told = to_time(_first(item, "s2:generation_time", "processing:datetime"))
    return to_time(names.get("made")) if np.isnat(told) else told


def _datastrip(item: Json) -> str:
    """Start of the part of the pass that was received in one go: a tile may lie in two of them."""
    found = _STRIP.search(str(_first(item, "s2:datastrip_id", "eopf:datastrip_id") or ""))
    return found.group(1) if found else ""


def _orbit(item: Json, names: Names) -> int | None:
    told = _first(item, "sat:relative_orbit") or names.get("orbit")
    return int(told) if told else None


def _first(item: Json, *names: str) -> str | None:
    properties = item.get("properties", {})
    return next((properties[name] for name in names if properties.get(name)), None)
