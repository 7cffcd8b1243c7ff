"""Items of a catalog, whatever kind it is: files on disk or on a web server, or an API that searches.

::

    an item, a list of items, a FeatureCollection ──> its items
    a catalog or collection in files ──────────────> every item below it (child and item links)
    an API (it names where to search) ─────────────> what its search answers, page by page
    a collection of an API (it names its items) ───> the same, of that collection

Items are handed on as served, not brought to a newer version of the standard; only the addresses of their files are
made absolute.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import shapely
from pystac.utils import make_absolute_href
from pystac_client.exceptions import APIError
from pystac_client.item_search import ItemSearch
from pystac_client.stac_api_io import StacApiIO

from landweave.core.errors import InputError
from landweave.core.grid import Bounds
from landweave.sources.files import is_url
from landweave.sources.stac.items import Json, UnusableItem, item_bounds, item_time

PAGE = 100
"""Items asked of an API at a time: servers refuse, or fail at, much more."""

_TIMEOUT_S = 60
_TRIES = 4


@dataclass(frozen=True, kw_only=True)
class CatalogQuery:
    """What is looked for in a catalog.

    Attributes
    ----------
    collections
        Ids; all when empty.
    first, last
        Days, both included.
    bounds
        Longitudes and latitudes ``(west, south, east, north)``.
    """

    collections: tuple[str, ...] = ()
    first: np.datetime64
    last: np.datetime64
    bounds: Bounds

    @property
    def interval(self) -> str:
        """Both days in the form that an API is asked."""
        return f"{self.first}T00:00:00Z/{self.last}T23:59:59Z"


@dataclass(frozen=True, kw_only=True)
class CatalogItems:
    """Items of a catalog within an area and dates, and in words what the catalog covers where there are none."""

    items: tuple[Json, ...]
    covers: str = ""


def list_items(catalog: str, wanted: CatalogQuery) -> CatalogItems:
    """Items of ``catalog`` that touch the bounds, of the dates and collections wanted, ordered by collection and id.

    Raises
    ------
    InputError
        When the catalog cannot be reached or read, or is none.
    """
    place = _absolute(catalog)
    try:
        document = _read(place)
        found = _found(document, place, wanted)
        items = {(str(item.get("collection")), str(item["id"])): item for item in found if is_wanted(item, wanted)}
        covers = "" if items else _coverage(document, place, found)
    except (APIError, OSError) as error:
        why = _why(error)
        raise InputError(
            f"The catalog {catalog} cannot be reached: {why}. Check its address, and that it is up."
        ) from error
    except (ValueError, pystac.STACError) as error:
        raise InputError(f"{catalog} cannot be read as STAC: {error}.") from error
    return CatalogItems(items=tuple(items[name] for name in sorted(items)), covers=covers)


def tell_kind(document: Any) -> str:
    """``items``, ``files``, ``api``, ``api collection``; empty when it is not STAC.

    >>> tell_kind({"type": "Catalog", "links": [{"rel": "search", "href": "/search"}]}), tell_kind({"name": "lodash"})
    ('api', '')
    """
    if isinstance(document, list):
        return "items" if document and all(_is_item(each) for each in document) else ""
    if not isinstance(document, Mapping):
        return ""
    if document.get("type") in ("Feature", "FeatureCollection"):
        members = document.get("features", [document])
        return "items" if all(_is_item(member) for member in members) else ""
    rels = {link.get("rel") for link in document.get("links", ())}
    searches = any("item-search" in str(name) for name in document.get("conformsTo", ()))
    if "search" in rels or searches:
        return "api"
    if document.get("type") == "Collection" and {"items", "root"} <= rels:
        return "api collection"
    return "files" if "stac_version" in document and document.get("type") != "Feature" else ""


def _why(error: Exception) -> str:
    """A server's number rather than the page around it."""
    status = getattr(error, "status_code", None)
    return f"it answered {status}" if status else str(error)


def is_wanted(item: Json, wanted: CatalogQuery) -> bool:
    """Whether an item is of the collections and dates, and its outline touches the bounds.

    One that does not say when or where it is counts: whoever reads it names what it lacks.
    """
    if wanted.collections and item.get("collection") not in wanted.collections:
        return False
    try:
        day, bounds = item_time(item).astype("datetime64[D]"), item_bounds(item)
    except UnusableItem:
        return True
    shape = shapely.geometry.shape(item["geometry"]) if item.get("geometry") else _boxes(bounds)
    return bool(wanted.first <= day <= wanted.last and shape.intersects(_boxes(wanted.bounds)))


def _boxes(bounds: Bounds) -> shapely.Geometry:
    west, south, east, north = bounds
    if west <= east:
        return shapely.box(west, south, east, north)
    return shapely.union(shapely.box(west, south, 180, north), shapely.box(-180, south, east, north))


def _found(document: Any, place: str, wanted: CatalogQuery) -> list[Json]:
    """Every item of files; of an API, what it answers."""
    kind = tell_kind(document)
    if not kind:
        raise InputError(
            f"{place} is not STAC: neither an item, a list of items, a catalog, a collection, nor the first page of an "
            "API. Give the address of one of these."
        )
    if kind == "items":
        members = document if isinstance(document, list) else document.get("features", [document])
        return [_with_absolute_assets(member, place) for member in members]
    if kind == "files":
        return list(_walk(document, place, {place}))
    if kind == "api collection":
        landing = _link(document, "root", place)
        return _search(_read(landing), landing, wanted, (str(document["id"]),))
    return _search(document, place, wanted, wanted.collections)


def _walk(document: Json, place: str, seen: set[str]) -> Iterator[Json]:
    """Items below a catalog in files, depth first; a file that is linked twice is read once."""
    for link in document.get("links", ()):
        if link.get("rel") in ("child", "item"):
            href = make_absolute_href(link["href"], place)
            if href not in seen:
                seen.add(href)
                below = _read(href)
                yield from [_with_absolute_assets(below, href)] if link["rel"] == "item" else _walk(below, href, seen)


def _search(landing: Json, place: str, wanted: CatalogQuery, collections: Sequence[str]) -> list[Json]:
    methods = {link.get("method", "GET") for link in landing.get("links", ()) if link.get("rel") == "search"}
    search = ItemSearch(
        url=_link(landing, "search", place) or f"{place.rstrip('/')}/search",
        method="POST" if "POST" in methods else "GET",
        stac_io=_io(),
        limit=PAGE,
        collections=list(collections) or None,
        bbox=list(wanted.bounds),
        datetime=wanted.interval,
    )
    return [_with_absolute_assets(item, _link(item, "self", place) or place) for item in search.items_as_dicts()]


def _coverage(document: Any, place: str, found: Sequence[Json]) -> str:
    """In words, which dates and bounds there are."""
    if tell_kind(document) in ("items", "files"):
        return _extent_of(found)
    single = tell_kind(document) == "api collection"
    collections = [document] if single else _collections(document, place)
    return "; ".join(_extent_words(each) for each in collections) or "no collection"


def _collections(landing: Json, place: str) -> list[Json]:
    pages = _io().get_pages(_link(landing, "data", place) or f"{place.rstrip('/')}/collections")
    return [each for page in pages for each in page.get("collections", ())]


def _extent_words(collection: Json) -> str:
    extent = collection.get("extent", {})
    first, last = (extent.get("temporal", {}).get("interval") or [[None, None]])[0]
    box = (extent.get("spatial", {}).get("bbox") or [["?"]])[0]
    return f"{collection.get('id')} from {(first or '..')[:10]} to {(last or '..')[:10]} within {_words(box)}"


def _extent_of(items: Sequence[Json]) -> str:
    times, boxes = [], []
    for item in items:
        try:
            times.append(item_time(item))
            boxes.append(item_bounds(item))
        except UnusableItem:
            continue
    if not boxes:
        return "no item"
    west, south, east, north = zip(*boxes, strict=True)
    around = _words([min(west), min(south), max(east), max(north)])
    days = f"{str(min(times))[:10]} to {str(max(times))[:10]}"
    collections = ", ".join(sorted({str(item.get("collection")) for item in items}))
    return f"{len(items)} items of {collections} from {days} within {around}"


def _words(box: Iterable[float]) -> str:
    return " ".join(f"{side:.6g}" if isinstance(side, float | int) else str(side) for side in box)


def _with_absolute_assets(item: Json, place: str) -> Json:
    assets = {
        key: {**asset, "href": make_absolute_href(asset["href"], place)} if asset.get("href") else asset
        for key, asset in (item.get("assets") or {}).items()
    }
    return {**item, "assets": assets}


def _is_item(document: Any) -> bool:
    return (
        isinstance(document, Mapping)
        and document.get("type") == "Feature"
        and {"id", "properties", "assets"} <= {*document}
    )


def _link(document: Json, rel: str, place: str) -> str:
    """Address that a document links to as ``rel``; empty where it does not."""
    found = next((link["href"] for link in document.get("links", ()) if link.get("rel") == rel), "")
    return make_absolute_href(found, place) if found else ""


def _absolute(catalog: str) -> str:
    return catalog if is_url(catalog) else str(Path(catalog).expanduser().absolute())


def _read(place: str) -> Any:
    return _io().read_json(place)


@lru_cache(maxsize=1)
def _io() -> StacApiIO:
    return StacApiIO(timeout=_TIMEOUT_S, max_retries=_TRIES)
