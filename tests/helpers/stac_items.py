"""STAC items as catalogs serve them: real ones read as plain JSON, made-up ones with just what a test is about."""

from __future__ import annotations

import json
from copy import deepcopy
from pathlib import Path
from typing import Any

BANDS = ("B2", "B3", "B4", "B5", "B6", "B7", "B8", "B8A", "B11", "B12")
BOX = (2.9, 43.2, 4.2, 44.2)
"""Bounds of made-up items: tile 31TEJ, more or less."""

Item = dict[str, Any]


def real_items(path: Path) -> list[Item]:
    """The items of one file: an item, a list of items, or a FeatureCollection."""
    document = json.loads(path.read_text())
    members = document if isinstance(document, list) else document.get("features", [document])
    return sorted(members, key=lambda item: str(item["id"]))


def with_properties(item: Item, **properties: Any) -> Item:
    """A copy of ``item``; ``s2__x`` writes ``s2:x``, and None takes a property away."""
    copy = deepcopy(item)
    for name, value in properties.items():
        copy["properties"].pop(name.replace("__", ":"), None)
        if value is not None:
            copy["properties"][name.replace("__", ":")] = value
    return copy


def made_item(name: str, *, collection: str, box: tuple[float, float, float, float] = BOX, **properties: Any) -> Item:
    """A bare item without assets."""
    west, south, east, north = box
    ring = [[west, south], [east, south], [east, north], [west, north], [west, south]]
    item = {
        "type": "Feature",
        "stac_version": "1.0.0",
        "id": name,
        "collection": collection,
        "bbox": list(box),
        "geometry": {"type": "Polygon", "coordinates": [ring]},
        "properties": {},
        "links": [],
        "assets": {},
    }
    return with_properties(item, **properties)


def optical(
    day: str = "20210614",
    *,
    tile: str = "31TEJ",
    baseline: str = "0500",
    made: str = "20230101T000000",
    **settings: Any,
) -> Item:
    """A Sentinel-2 item as Planetary Computer names things; ``settings`` are those of `made_item`."""
    start = f"{day}T105031"
    name = f"S2A_MSIL2A_{start}_N{baseline}_R051_T{tile}_{made}"
    item = made_item(
        name,
        collection="sentinel-2-l2a",
        datetime=f"{day[:4]}-{day[4:6]}-{day[6:]}T10:50:31.024Z",
        proj__epsg=32631,
        s2__mgrs_tile=tile,
        s2__product_uri=f"{name}.SAFE",
        **settings,
    )
    places = {name: f"https://files.example/{item['id']}/{name}.tif" for name in (*map(_padded, BANDS), "SCL")}
    item["assets"] = {name: {"href": href, "type": "image/tiff"} for name, href in places.items()}
    return item


def radar(
    day: str = "20210614", *, collection: str = "sentinel-1-rtc", text: str = "", keys: str = "{}", **settings: Any
) -> Item:
    """A Sentinel-1 item of an ascending pass in the evening; ``keys`` makes asset keys of ``vv`` and ``vh``."""
    moment = {"datetime": f"{day[:4]}-{day[4:6]}-{day[6:]}T17:39:53Z"}
    orbit = {"sat__orbit_state": "ascending", "sat__absolute_orbit": 38000 + int(day[-2:]), "sat__relative_orbit": 59}
    item = made_item(f"S1A_{day}_{collection}", collection=collection, **moment, **orbit, **settings)
    item["properties"].setdefault("platform", "sentinel-1a")
    for name in ("vv", "vh"):
        key = keys.format(name)
        item["assets"][key] = {"href": f"https://files.example/{day}/{key}.tif", "description": text}
    return item


def write_items(path: Path, *items: Item) -> str:
    """A FeatureCollection in a file."""
    path.write_text(json.dumps({"type": "FeatureCollection", "features": items}))
    return str(path)


def _padded(band: str) -> str:
    return f"B0{band[1:]}" if band in BANDS[:7] else band
