"""What the files of an item say beside it: asked at the search where they are at hand, else when they are first read.

::

    bounds of the item ─┐
    its proj: fields ───┼─> georeference, scale and offset, nodata: agreed, remarked, or the item is dropped
    header of the file ─┘
"""

from __future__ import annotations

import math
import os
import re
import warnings
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import shapely
from rasterio.errors import NotGeoreferencedWarning
from rasterio.transform import array_bounds

from landweave.core.checksums import Checksum
from landweave.core.errors import ReadError
from landweave.core.grid import Bounds
from landweave.sources.files import RasterFile, close_dataset, is_url, shown
from landweave.sources.raster_facts import GeoRef, RasterFacts, facts_at_first_open
from landweave.sources.resampling.pixel_coordinates import bounds_in
from landweave.sources.stac.georeference import same_georef
from landweave.sources.stac.items import UnusableItem, lonlat_polygon
from landweave.sources.stac.pixel_classes import BANDS_BY_SOURCE
from landweave.sources.stac.records import BandAsset, Scene

_UNIT = 10_000
_NEAR_DEG = 0.1
"""A box is drawn around the measurements of a scene, more or less."""

_CODE = re.compile(r"\b(B\d\d?|B8A|SCL|VV|VH|HH|HV)\b", re.IGNORECASE)
"""Names of bands in what a file says of its own."""

_PADDING = re.compile(r"^B0(?=\d)")

_NOT_MEASURED = (*BANDS_BY_SOURCE["scl"], *BANDS_BY_SOURCE["probability"])


def local_facts(href: str) -> RasterFacts | None:
    """Facts of a file of this machine; None for one on the web, and one that cannot be opened: its read says why."""
    if is_url(href) or not os.path.isfile(href):  # noqa: PTH113  False for a name that no file has
        return None
    try:
        with warnings.catch_warnings(action="ignore", category=NotGeoreferencedWarning):
            return facts_at_first_open(RasterFile(href=href))
    except ReadError:
        return None
    finally:
        close_dataset(href)  # a search asks thousands of files


def reflectance_tags(facts: RasterFacts, number: int) -> tuple[float | None, float | None]:
    """Scale and offset to reflectance that a file states in its tags; None where it does not.

    GDAL cannot tell an offset of 0 from none. An offset without a scale is in stored numbers.
    """
    scale, offset = facts.scales[number - 1], facts.offsets[number - 1]
    if scale == 1:
        return (1 / _UNIT, offset / _UNIT) if offset else (None, None)
    return scale, offset or None


def agree_with_files(scene: Scene) -> Scene:
    """The scene once its files are asked: its georeference is the item's where its files and its bounds agree.

    Raises
    ------
    UnusableItem
        When a file at hand lies elsewhere than the item's bounds, or contradicts how its numbers are read, or two bands
        are one of a file.
    """
    remarks: dict[str, None] = {}
    assets = {}
    if one := _one_picture(scene):
        raise UnusableItem(f"has one picture for {one[0]} and {one[1]}: {Path(shown(scene.assets[one[0]].href)).name}")
    for name, asset in scene.assets.items():
        facts = local_facts(asset.href)
        if facts is not None and (reason := contradiction(name, asset, facts, scene.quantity)):
            raise UnusableItem(reason)
        assets[name], found = _placed(asset, facts, scene.bounds)
        remarks.update(dict.fromkeys([*found, *_number_remarks(name, asset, facts), *_checksum_remarks(asset)]))
    return replace(scene, assets=assets, remarks=(*scene.remarks, *remarks))


def _one_picture(scene: Scene) -> tuple[str, str] | None:
    """Two bands that an item has in one place; None where each has its own."""
    places: dict[tuple[str, int], str] = {}
    for name, asset in scene.assets.items():
        if (first := places.setdefault((asset.href, asset.band), name)) != name:
            return first, name
    return None


def contradiction(name: str, asset: BandAsset, facts: RasterFacts, quantity: str) -> str:
    """Why the numbers of a file cannot be read as its item says; empty where they can.

    Parameters
    ----------
    name
        Of the band.
    asset
        The band as decided by its item.
    facts
        Of its file.
    quantity
        What the scene measures.
    """
    file = f"the file of {name} ({Path(shown(asset.href)).name})"
    if asset.band > facts.count:
        return f"names band {asset.band} of {file}, which has {facts.count}"
    dtype = facts.dtypes[asset.band - 1]
    if dtype.startswith("complex"):
        return f"holds complex numbers in {file}: neither reflectance nor power"
    tags = (facts.scales[asset.band - 1], facts.offsets[asset.band - 1])
    if name in BANDS_BY_SOURCE["probability"] and tags != (1, 0):
        return f"states scale {tags[0]:g} and offset {tags[1]:g} in {file}: probabilities of 0 to 100 are read"
    called = {_PADDING.sub("B", code.upper()) for code in _CODE.findall(facts.descriptions[asset.band - 1])}
    own = called - {f"B{asset.band}", f"B{asset.band - 1}"}  # many writers number their bands so, from 1 or from 0
    if len(own) == 1 and name not in own:
        return f"takes {name} from band {asset.band} of {file}, which calls it {own.pop()}"
    if name in _NOT_MEASURED:
        return ""
    if quantity == "reflectance":
        return _reflectance_contradiction(file, dtype, asset, reflectance_tags(facts, asset.band))
    if tags != (1, 0) and (asset.scale, asset.offset) != (1, 0) and not np.allclose(tags, (asset.scale, asset.offset)):
        return (
            f"states scale {asset.scale:g} and offset {asset.offset:g} for {name}, and {file} {tags[0]:g} and "
            f"{tags[1]:g}"
        )
    return ""


def _reflectance_contradiction(file: str, dtype: str, asset: BandAsset, tags: tuple[float | None, float | None]) -> str:
    scale, offset = tags
    if dtype.startswith("float") and not asset.dtype.startswith("float") and scale is None:
        return f"stores {dtype} without a scale in {file}: 0.05 or 500 for a dark pixel?"
    if scale is not None and not math.isclose(scale * _UNIT, asset.scale, rel_tol=1e-6):
        return f"comes to a scale of {asset.scale / _UNIT:g}, and {file} states {scale:g}"
    if offset is not None and not math.isclose(offset * _UNIT, asset.offset, rel_tol=1e-6):
        return f"comes to an offset of {asset.offset:g} (reflectance x {_UNIT}), and {file} states {offset * _UNIT:g}"
    return ""


def _placed(asset: BandAsset, facts: RasterFacts | None, bounds: Bounds) -> tuple[BandAsset, list[str]]:
    """The band, its georeference left to its file where the item's cannot be, and why."""
    file = GeoRef(crs=facts.crs, transform=facts.transform, shape=facts.shape) if facts and facts.crs else None
    if file is not None and not is_near(file, bounds):
        raise UnusableItem(f"has a file that lies elsewhere than its bbox: {Path(shown(asset.href)).name}")
    stated, unplaced = asset.georef, replace(asset, transform=None, shape=None)
    if stated is None:
        return asset, []
    if not is_near(stated, bounds):
        return unplaced, ["states a georeference far from its bbox: that of its files counts"]
    if file is not None and not same_georef(file, stated):
        return unplaced, ["states another georeference than its files: theirs counts"]
    return asset, []


@lru_cache(maxsize=4096)
def is_near(georef: GeoRef, bounds: Bounds) -> bool:
    """Whether an image may be the one that an item draws its box around.

    Parameters
    ----------
    georef
        Of the image.
    bounds
        Longitudes and latitudes of the item.
    """
    corners = bounds_in(array_bounds(*georef.shape, georef.transform), georef.crs, "EPSG:4326")
    if not np.isfinite(corners).all():
        return False
    ground: shapely.Geometry = lonlat_polygon(bounds).buffer(_NEAR_DEG)
    return any(ground.intersects(lonlat_polygon(corners, shift)) for shift in (-360, 0, 360))


def _checksum_remarks(asset: BandAsset) -> Iterator[str]:
    if asset.checksum and Checksum.parse(asset.checksum, "") is None:
        yield "states a checksum that is none of a known kind: not every file is held against one"


def _number_remarks(name: str, asset: BandAsset, facts: RasterFacts | None) -> Iterator[str]:
    tag = None if facts is None else facts.nodata[asset.band - 1]
    if facts and name in BANDS_BY_SOURCE["probability"] and facts.dtypes[asset.band - 1].startswith("float"):
        yield f"stores {name} in floats: 0 to 100 are read, and of probabilities from 0 to 1 all would be clear"
    if name not in _NOT_MEASURED and None not in (tag, asset.nodata) and tag != asset.nodata:
        yield f"states nodata {asset.nodata:g}, and its files {tag:g}: both count"
