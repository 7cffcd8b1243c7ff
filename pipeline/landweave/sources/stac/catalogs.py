"""Items of a catalog of any kind: files on disk or on a web server, or an API that searches.

::

    an item, a list of items, a FeatureCollection ──> its items
    a catalog or collection in files ──────────────> every item below it (child and item links)
    an API (it links to its search) ───────────────> the items of its search, page by page
    a collection of an API (it links to its items) ─> the same, of that collection

Items are passed on as served; only the addresses of their files are made absolute. Catalogs in files are walked here
and not by pystac, which follows rings of links for ever and ends at the first item that it cannot read. One item that
is malformed or cannot be read never ends a search: it is named beside the others.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pystac
import shapely
from numpy.typing import NDArray
from pystac.utils import make_absolute_href
from pystac_client.exceptions import APIError
from pystac_client.item_search import ItemSearch
from pystac_client.stac_api_io import StacApiIO

from landweave.core.errors import InputError
from landweave.core.grid import Bounds
from landweave.core.paths import from_home
from landweave.core.words import counted
from landweave.sources.files import is_url
from landweave.sources.stac.items import Json, StacItem, UnusableItem, lonlat_polygon
from landweave.sources.stac.records import DroppedItem

PAGE = 100
"""Items in one page of an API: servers refuse, or fail at, much more."""

MOST_FILES, MOST_LEVELS = 200_000, 64
"""Files below a catalog, and catalogs below each other, that are read; items that an API gives."""

MOST_BYTES = 2**28
"""Of one document; in memory it takes about five times as much."""

_PIECE = 2**20

_OF_A_MACHINE = re.compile(r"(?!(https?|s3|gs|az|abfss?)://)([a-z+]*(file|zip|tar|vsi)|[a-z]:|/|[.])", re.IGNORECASE)
"""Beginning of an address that leads, or may lead through an archive, to a file of the machine that reads it."""

_NOT_ON_THE_WEB = "names a file that is not on the web, and its catalog is: it could be any file of this machine"
_UNREADABLE = (ValueError, KeyError, TypeError, AttributeError, RecursionError, pystac.STACError)
"""What parsing raises, and pystac-client at pages that are none."""

_TIMEOUT_S = 60
_TRIES = 4


@dataclass(frozen=True, kw_only=True)
class CatalogQuery:
    """Which items of a catalog are needed.

    Attributes
    ----------
    collections
        Ids; all when empty.
    first, last
        Days, both included.
    bounds
        Longitudes and latitudes ``(west, south, east, north)``; west is east of east across the 180th meridian.
    """

    collections: tuple[str, ...] = ()
    first: np.datetime64
    last: np.datetime64
    bounds: Bounds

    @property
    def boxes(self) -> tuple[Bounds, ...]:
        """The bounds, or their two parts across the 180th meridian: many servers read one such box the other way."""
        return _parts(self.bounds)

    def matches(self, item: Json) -> bool:
        """Whether an item is of the collections and dates, and its outline touches the bounds.

        One without a time or a place matches: its reader then says what it lacks.
        """
        if self.collections and item.get("collection") not in self.collections:
            return False
        known = _time_and_bounds(item)
        if known is None:
            return True
        if not self.first <= known[0].astype("datetime64[D]") <= self.last:
            return False
        parts = _parts_of(StacItem(item).outline or lonlat_polygon(known[1]))
        # Outlines may go on beyond 180 degrees.
        boxes = [lonlat_polygon(box, turn) for box in self.boxes for turn in (-360, 0, 360)]
        return bool(shapely.intersects(parts[:, None], boxes).any())


@dataclass(frozen=True, kw_only=True)
class CatalogItems:
    """Items of a catalog that match a query, and in words what the catalog covers where there are none.

    ``dropped`` are those that could not be read, or are others of the same id.
    """

    items: tuple[Json, ...]
    covers: str = ""
    dropped: tuple[DroppedItem, ...] = ()


def list_items(catalog: str, query: CatalogQuery) -> CatalogItems:
    """Items of a catalog that match a query, ordered by collection and id.

    Parameters
    ----------
    catalog
        Path or URL.
    query
        Dates, bounds and collections.

    Raises
    ------
    InputError
        When the catalog cannot be reached or read, or is none.
    """
    address = catalog if is_url(catalog) else str(from_home(catalog).absolute())
    try:
        document = _read(address)
        listed = _find_items(document, address, query)
        dropped = [each for each in listed if isinstance(each, DroppedItem)]
        found = [each for each in listed if not isinstance(each, DroppedItem)]
        items, others = _one_of_each_id(item for item in found if query.matches(item))
        covers = "" if items else _coverage(document, address, found)
    except _TooLargeError as error:
        raise InputError(f"The catalog {catalog} cannot be read: {error}. Name a part of it.") from error
    except (APIError, OSError) as error:
        status = getattr(error, "status_code", None)  # rather than the page around it
        why = f"it answered {status}" if status else str(error)
        raise InputError(
            f"The catalog {catalog} cannot be reached: {why}. Check its address, and that it is up."
        ) from error
    except _UNREADABLE as error:
        raise InputError(f"{catalog} cannot be read as STAC: {type(error).__name__}: {error}.") from error
    return CatalogItems(items=tuple(items), covers=covers, dropped=(*dropped, *others))


def _one_of_each_id(items: Iterable[Json]) -> tuple[list[Json], list[DroppedItem]]:
    """Items by collection and id; of several that share both the one that was updated last, whatever their order."""
    found: dict[tuple[str, str], dict[str, Json]] = {}
    for item in items:
        served = {name: value for name, value in item.items() if name != "links"}  # pages repeat items
        same = found.setdefault((str(item.get("collection")), str(item.get("id"))), {})
        same[_digest(served)] = item
    kept, dropped = [], []
    for key in sorted(found):
        *others, last = sorted(found[key], key=lambda digest: (_updated(found[key][digest]), digest))
        kept.append(found[key][last])
        dropped += [DroppedItem(id=key[1], reason="shares its id with a later item of other content")] * len(others)
    return kept, dropped


def _digest(content: Any) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()


def _updated(item: Json) -> str:
    properties = item.get("properties")
    return str(properties.get("updated") or "") if isinstance(properties, Mapping) else ""


def kind_of(document: Any) -> str:
    """``items``, ``files``, ``api``, ``api collection``; empty when it is not STAC.

    Examples
    --------
    >>> kind_of({"type": "Catalog", "links": [{"rel": "search", "href": "/search"}]}), kind_of({"name": "lodash"})
    ('api', '')
    """
    members = _members(document)
    if members is not None:
        return "items" if any(map(_is_item, members)) else ""
    if not isinstance(document, Mapping):
        return ""
    rels = {link["rel"] for link in _links(document)}
    conforms = document.get("conformsTo")
    if "search" in rels or any("item-search" in str(name) for name in (conforms if isinstance(conforms, list) else ())):
        return "api"
    if document.get("type") == "Collection" and {"items", "root"} <= rels:
        return "api collection"
    return "files" if "stac_version" in document else ""


def _members(document: Any) -> list[Any] | None:
    """Items of a document that holds them itself; None for any other."""
    if isinstance(document, Mapping) and document.get("type") in ("Feature", "FeatureCollection"):
        features = document.get("features", [document])
        return features if isinstance(features, list) else []
    return document if isinstance(document, list) else None


def _is_item(document: Any) -> bool:
    is_feature = isinstance(document, Mapping) and document.get("type") == "Feature"
    return is_feature and {"id", "properties", "assets"} <= {*document}


def _time_and_bounds(item: Json) -> tuple[np.datetime64, Bounds] | None:
    try:
        return StacItem(item).time, StacItem(item).bounds
    except UnusableItem:
        return None


def _parts(bounds: Bounds) -> tuple[Bounds, ...]:
    west, south, east, north = bounds
    if west <= east:
        return (bounds,)
    sides = ((west, south, 180.0, north), (-180.0, south, east, north))
    return tuple(box for box in sides if box[0] < box[2]) or sides  # one that ends at the meridian has one side


def _parts_of(outline: shapely.Geometry) -> NDArray[Any]:
    """Parts of an item's outline; one that goes around the Earth the long way crosses the 180th meridian instead."""
    parts = shapely.get_parts(outline)
    west, _, east, _ = shapely.bounds(parts).T
    crossing = (east - west > 180) & (east - west < 360)
    parts[crossing] = shapely.transform(parts[crossing], lambda xy: xy + (xy[:, :1] < 0) * [360, 0])
    return np.asarray(parts)


def _find_items(document: Any, address: str, query: CatalogQuery) -> list[Json | DroppedItem]:
    """Every item of files; of an API, those that its search gives; and what stands among them and is none."""
    kind = kind_of(document)
    if not kind:
        raise InputError(
            f"{address} is not STAC: neither an item, a list of items, a catalog, a collection, nor the first page of "
            "an API. Give the address of one of these."
        )
    if kind == "items":
        return [_item(member, address) for member in _members(document) or ()]
    if kind == "files":
        return list(_walk(document, address))
    if kind == "api collection":
        landing = _link(document, "root", address)
        return _search(_read(landing), landing, query, (str(document["id"]),))
    return _search(document, address, query, query.collections)


def _walk(document: Any, address: str) -> Iterator[Json | DroppedItem]:
    """Items below a catalog in files, depth first; a file that is linked twice is read once.

    Without a catalog below it nobody knows what is missing: that ends the search.
    """
    seen, below = {address}, [(document, address, 0)]
    while below:
        parent, place, depth = below.pop()
        for link in _links(parent):
            if link["rel"] not in ("child", "item") or not isinstance(link.get("href"), str):
                continue
            href = make_absolute_href(link["href"], place)
            if href in seen:
                continue
            seen.add(href)
            _refuse_endless(address, len(seen), depth)
            if not may_refer(place, href):
                yield DroppedItem(id=href, reason=_NOT_ON_THE_WEB)
            elif link["rel"] == "item":
                yield _read_item(href)
            else:
                below.append((_read(href), href, depth + 1))


def _refuse_endless(address: str, count: int, depth: int = 0) -> None:
    if count > MOST_FILES or depth > MOST_LEVELS:
        raise InputError(
            f"The catalog {address} does not end: {count:,} files or items on {depth} levels were read, and "
            f"{MOST_FILES:,} on {MOST_LEVELS} are. Name the part of it that is needed."
        )


def may_refer(owner: str, href: str) -> bool:
    """Whether a document may name a file: one on the web names no file of the machine that reads it.

    Parameters
    ----------
    owner
        Address of the document.
    href
        What it names, made absolute.
    """
    return not owner.startswith(("http://", "https://")) or not _OF_A_MACHINE.match(href)


def _read_item(href: str) -> Json | DroppedItem:
    try:
        return _item(_read(href), href)
    except _TooLargeError as error:
        return DroppedItem(id=href, reason=f"cannot be read: {error}")
    except (APIError, OSError, ValueError, RecursionError) as error:
        return DroppedItem(id=href, reason=f"cannot be read: {type(error).__name__}")


def _item(member: Any, address: str) -> Json | DroppedItem:
    if not isinstance(member, Mapping):
        return DroppedItem(id=str(member)[:40], reason="is no STAC item")
    item = _with_absolute_assets(member, address)
    for asset in StacItem(item).assets.values() if isinstance(item.get("assets"), Mapping) else ():
        if isinstance(asset.get("href"), str) and not may_refer(address, asset["href"]):
            return DroppedItem(id=str(item.get("id")), reason=_NOT_ON_THE_WEB)
    return item


def _search(landing: Json, address: str, query: CatalogQuery, collections: Sequence[str]) -> list[Json | DroppedItem]:
    methods = {link.get("method", "GET") for link in _links(landing) if link["rel"] == "search"}
    searches = [
        ItemSearch(
            url=_link(landing, "search", address) or f"{address.rstrip('/')}/search",
            method="POST" if "POST" in methods else "GET",
            stac_io=_io(),
            limit=PAGE,
            collections=list(collections) or None,
            bbox=list(box),
            datetime=f"{query.first}T00:00:00Z/{query.last}T23:59:59Z",
        )
        for box in query.boxes
    ]
    return [
        _item(item, (_link(item, "self", address) if isinstance(item, Mapping) else "") or address)
        for search in searches
        for page in _new_pages(search)
        for item in page
    ]


def _new_pages(search: ItemSearch) -> Iterator[list[Any]]:
    """Pages of items until one comes again: some servers link their last page to itself."""
    seen: set[str] = set()
    count = 0
    for page in search.pages_as_dicts():
        features = page.get("features")
        count += len(features) if isinstance(features, list) else 1
        _refuse_endless(str(search.url), count)
        if (digest := _digest(features)) in seen:
            return
        seen.add(digest)
        yield features if isinstance(features, list) else []


def _coverage(document: Any, address: str, found: Sequence[Json]) -> str:
    """Dates and bounds of a catalog, in words."""
    kind = kind_of(document)
    if kind in ("items", "files"):
        return _coverage_of_items(found)
    collections = [document] if kind == "api collection" else _collections(document, address)
    return "; ".join(map(_coverage_of_collection, collections)) or "no collection"


def _collections(landing: Json, address: str) -> list[Json]:
    pages = _io().get_pages(_link(landing, "data", address) or f"{address.rstrip('/')}/collections")
    return [each for page in pages for each in page.get("collections", ())]


def _coverage_of_collection(collection: Json) -> str:
    extent = collection.get("extent", {})
    first, last = (extent.get("temporal", {}).get("interval") or [[None, None]])[0]
    box = (extent.get("spatial", {}).get("bbox") or [["?"]])[0]
    return f"{collection.get('id')} from {(first or '..')[:10]} to {(last or '..')[:10]} within {_words(box)}"


def _coverage_of_items(items: Sequence[Json]) -> str:
    known = [each for item in items if (each := _time_and_bounds(item))]
    if not known:
        return "no item"
    times, boxes = zip(*known, strict=True)
    west, south, east, north = zip(*boxes, strict=True)
    around = _words([min(west), min(south), max(east), max(north)])
    collections = ", ".join(sorted({str(item.get("collection")) for item in items}))
    days = f"{str(min(times))[:10]} to {str(max(times))[:10]}"
    return f"{counted(len(items), 'item')} of {collections} from {days} within {around}"


def _words(box: Iterable[float]) -> str:
    return " ".join(f"{side:.6g}" if isinstance(side, float | int) else str(side) for side in box)


def _with_absolute_assets(item: Json, address: str) -> Json:
    assets = item.get("assets")
    if not isinstance(assets, Mapping):
        return item
    absolute = {
        key: {**asset, "href": make_absolute_href(asset["href"], address)}
        for key, asset in assets.items()
        if isinstance(asset, Mapping) and isinstance(asset.get("href"), str)
    }
    return {**item, "assets": {**assets, **absolute}}


def _links(document: Any) -> Iterator[Json]:
    """Links that say what they are."""
    links = document.get("links") if isinstance(document, Mapping) else None
    for link in links if isinstance(links, list) else ():
        if isinstance(link, Mapping) and isinstance(link.get("rel"), str):
            yield link


def _link(document: Json, rel: str, address: str) -> str:
    """Address that a document links to as ``rel``; empty where it has no such link."""
    found = next((link.get("href") for link in _links(document) if link["rel"] == rel), "")
    return make_absolute_href(found, address) if found and isinstance(found, str) else ""


def _read(address: str) -> Any:
    return _io().read_json(address)


class _TooLargeError(OSError):
    """A document has more than `MOST_BYTES`."""

    def __init__(self) -> None:
        super().__init__(f"it has more than {MOST_BYTES:,} bytes, and so many of a document are read")


class _BoundedIO(StacApiIO):
    """Reads documents of `MOST_BYTES` at most; of a larger one no more than that."""

    def __init__(self) -> None:
        super().__init__(timeout=_TIMEOUT_S, max_retries=_TRIES)
        self.session.hooks["response"].append(_bounded)

    def read_text(self, source: Any, *args: Any, **kwargs: Any) -> str:
        if isinstance(source, str) and not is_url(source):
            with Path(source).open("rb") as file:
                content = file.read(MOST_BYTES + 1)
            if len(content) > MOST_BYTES:
                raise _TooLargeError
            return content.decode()
        return str(super().read_text(source, *args, **kwargs))

    def request(self, *args: Any, **kwargs: Any) -> str:
        try:
            return str(super().request(*args, **kwargs))
        except APIError as error:
            if isinstance(error.__context__, _TooLargeError):
                raise error.__context__ from None
            raise


def _bounded(response: Any, **_: Any) -> None:
    """Read the body of a response, unpacked, before `requests` reads all of it."""
    content = bytearray()
    for piece in response.iter_content(_PIECE):
        content += piece
        if len(content) > MOST_BYTES:
            response.close()
            raise _TooLargeError
    response._content = bytes(content)


@lru_cache(maxsize=1)
def _io() -> StacApiIO:
    return _BoundedIO()
