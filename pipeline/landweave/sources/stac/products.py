"""Products that are no source of a series, recognised by their names: what each is, and what is taken instead."""

from __future__ import annotations

import re

from landweave.sources.stac.items import StacItem, UnusableItem

_SENTINEL1 = "Take a calibrated, orthorectified collection, as sentinel-1-rtc"
_SENTINEL2 = "Take Sentinel-2 level 2A, as sentinel-2-l2a"
_MODELS = "the models were trained on Sentinel-1 and Sentinel-2 scenes"

_PRODUCTS: tuple[tuple[str, str, str], ...] = (
    # in its id, its collection or its product type; what it is; what is taken instead
    (r"\bhls|harmoni.ed[-_ ]landsat", "HLS, Landsat and Sentinel-2 harmonised to 30 m", _SENTINEL2),
    (r"^l[cetmo]0[1-9]_|landsat", f"Landsat, and {_MODELS}", _SENTINEL2),
    (r"^m[coy]d\d\d|modis", f"MODIS, with pixels of 250 m and more, and {_MODELS}", _SENTINEL2),
    (r"^v(np|j1|j2)\d\d|viirs", f"VIIRS, with pixels of 375 m and more, and {_MODELS}", _SENTINEL2),
    (r"^s3[a-d]_|sentinel-?3", f"Sentinel-3, with pixels of 300 m and more, and {_MODELS}", _SENTINEL2),
    (r"^s5p_|sentinel-?5", f"Sentinel-5P, which measures the atmosphere, and {_MODELS}", _SENTINEL2),
    (r"sentinel-?1.*mosaic|s1sar_l3", "a mosaic of Sentinel-1 over a month, not one acquisition", _SENTINEL1),
    (r"sentinel-?2.*mosaic|s2msi_l3", "a mosaic of Sentinel-2 over months, not one acquisition", _SENTINEL2),
    (
        r"msil1c|\bl1c\b|_l1c\b|level-?1c|msi1c",
        "Sentinel-2 level 1C: reflectance at the top of the atmosphere (level 1C), not at the surface (2A)",
        _SENTINEL2,
    ),
)
_RAW: tuple[tuple[str, str], ...] = (
    (r"_slc_|\bslc\b|-slc", "Sentinel-1 SLC: complex numbers in radar geometry, not calibrated power"),
    (r"_raw_|-raw\b", "Sentinel-1 level 0: signals, and no image yet"),
    (r"_ocn_|-ocn\b", "Sentinel-1 OCN: winds and waves, not backscatter"),
)
_CALIBRATED = re.compile(r"rtc|nrb|gamma|sigma")
"""Products are named after those that they were made from: terrain-corrected power after an SLC."""

_DAYS_OF_A_SCENE = 1


def refuse_unsupported(item: StacItem, mission: str) -> None:
    """Refuse an item of another product or sensor than a series is made of, by its name.

    Parameters
    ----------
    item
        The item.
    mission
        ``sentinel-1`` or ``sentinel-2``.

    Raises
    ------
    UnusableItem
        With what it is, and what is taken instead.
    """
    instead = _SENTINEL1 if mission == "sentinel-1" else _SENTINEL2
    names = _names(item)
    for pattern, product, taken in _PRODUCTS:
        if any(re.search(pattern, name) for name in names):
            raise UnusableItem(f"is {product}. {taken if mission in taken.lower() else instead}")
    for pattern, product in () if _CALIBRATED.search(" ".join(names)) else _RAW:
        if any(re.search(pattern, name) for name in names):
            raise UnusableItem(f"is {product}. {instead}")
    if item.days > _DAYS_OF_A_SCENE:
        raise UnusableItem(f"spans {item.days} days, from start to end: a composite, not one acquisition. {instead}")
    sensors = [text for name in ("platform", "constellation") if (text := _mission(item.first(name)))]
    if sensors and not any(sensor.startswith(mission) for sensor in sensors):
        raise UnusableItem(f"is of {sensors[0]}, and {mission} is needed. {instead}")


def _names(item: StacItem) -> list[str]:
    kinds = ("product:type", "s2:product_type", "s1:product_type", "processing:level", "hls:product")
    texts = [item.id, item.collection, *(item.properties.get(name) for name in kinds)]
    return [text.lower() for text in texts if isinstance(text, str)]


def _mission(text: object) -> str:
    """``sentinel-2`` of ``Sentinel-2A``, ``sentinel-2b`` or ``S2A``; other names in lower case."""
    name = text.lower().replace("_", "-").replace(" ", "-") if isinstance(text, str) else ""
    return re.sub(r"^(copernicus-)?(sentinel-?|s)(?=[1-6])", "sentinel-", name)
