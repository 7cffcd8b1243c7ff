"""The static STAC catalog of a publication: a collection, and an item for each dalle.

Items are plain JSON with relative links: a folder can be copied, zipped or served as it is. They are the same bytes
whenever they are made: nothing in them is the time of the run.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
import pyproj
from pyproj import Transformer

from landweave.core.checksums import SHA256_MULTIHASH
from landweave.core.crs import keeps_areas
from landweave.core.grid import Bounds, Grid
from landweave.core.legend import Legend
from landweave.core.licences import spdx_licence
from landweave.publishing.products import Asset
from landweave.publishing.publication import record_bytes

STAC_VERSION = "1.1.0"
GEOJSON = "application/geo+json"
_EXTENSIONS = {
    name: f"https://stac-extensions.github.io/{name}/{version}/schema.json"
    for name, version in (
        ("projection", "v2.0.0"),
        ("raster", "v2.0.0"),
        ("classification", "v2.0.0"),
        ("processing", "v1.2.0"),
        ("render", "v2.0.0"),
        ("file", "v2.1.0"),
    )
}
_EDGE_POINTS = 4
"""Points added to each edge of a dalle's outline in degrees."""

ANY_TIME = ("1900-01-01", "9999-12-31")
"""STAC needs a time span; this one says that none is known."""


@dataclass(frozen=True, kw_only=True)
class PublishedFile:
    """A file of a dalle as its item lists it: ``key`` of the asset, path, bytes, sha256 and how it is described."""

    key: str
    path: str
    size: int
    sha256: str
    asset: Asset

    @classmethod
    def of(cls, key: str, path: str, content: bytes, asset: Asset) -> PublishedFile:
        """The entry of a file.

        Parameters
        ----------
        key, path, content, asset
            Of the file.
        """
        digest = hashlib.sha256(content).hexdigest()
        return cls(key=key, path=path, size=len(content), sha256=digest, asset=asset)


@dataclass(frozen=True, kw_only=True)
class Catalog:
    """What all items of a publication share. Picklable.

    Attributes
    ----------
    id
        Of the collection.
    legend
        Of the published classes.
    provenance
        Of the map, plain JSON values.
    processing
        How pixels were changed for publication: crosswalk, clean-up.
    dates
        First and last day of the imagery, ISO.
    software
        Versions by name.
    """

    id: str
    legend: Legend
    provenance: Mapping[str, Any]
    processing: Mapping[str, Any]
    dates: tuple[str, str]
    software: Mapping[str, str]

    def item(self, name: str, grid: Grid, files: Iterable[PublishedFile]) -> bytes:
        """The item of a dalle, as JSON.

        Parameters
        ----------
        name
            Of the dalle.
        grid
            Pixels of its files.
        files
            All of its files.
        """
        outline, bbox = _outline(grid)
        root = [{"rel": rel, "href": "../collection.json", "type": "application/json"} for rel in _UPWARDS]
        return record_bytes(
            {
                "type": "Feature",
                "stac_version": STAC_VERSION,
                "stac_extensions": sorted(_EXTENSIONS.values()),
                "id": f"{self.id}_{name}",
                "collection": self.id,
                "geometry": {"type": "Polygon", "coordinates": [outline]},
                "bbox": bbox,
                "properties": {
                    **self._properties,
                    **_projection(grid),
                    **({"gsd": float(grid.resolution)} if keeps_areas(grid.crs, grid.bounds) else {}),
                },
                "links": root,
                "assets": {file.key: _asset(file, grid) for file in files},
            }
        )

    @property
    def _properties(self) -> dict[str, Any]:
        first, last = self.dates
        return {
            "title": self.provenance.get("title", "Land cover"),
            "datetime": None,
            "start_datetime": f"{first}T00:00:00Z",
            "end_datetime": f"{last}T23:59:59Z",
            "license": spdx_licence(str(self.provenance.get("license", ""))),
            "processing:software": dict(self.software),
            "processing:lineage": self.lineage,
            "landweave:model": dict(self.provenance.get("model", {})),
            "renders": self._renders,
        }

    @property
    def lineage(self) -> str:
        """How the pixels came about, in a sentence or two."""
        model = self.provenance.get("model", {})
        made = f"Land cover by the model {model['card']}" if "card" in model else "Land cover"
        steps = [f"{name}: {value}" for name, value in self.processing.items()]
        return f"{made}, blended over overlapping windows" + (f"; published with {'; '.join(steps)}" if steps else "")

    @property
    def _renders(self) -> dict[str, Any]:
        colours = {str(each.code): [*each.rgb, 255] for each in self.legend.classes}
        classes = {"title": "Classes", "assets": ["landcover"], "nodata": 255, "colormap": colours}
        return {"landcover": {**classes, "resampling": "nearest"}}

    def collection(self, items: Sequence[str], bounds: Sequence[Bounds], assets: Mapping[str, str]) -> bytes:
        """The collection over all items, as JSON.

        Parameters
        ----------
        items
            Names of the dalles.
        bounds
            West, south, east, north of each dalle in degrees.
        assets
            Titles of the files over all dalles, by name.
        """
        west, south, east, north = np.array(bounds).T
        bbox = [float(west.min()), float(south.min()), float(east.max()), float(north.max())]
        first, last = (f"{self.dates[0]}T00:00:00Z", f"{self.dates[1]}T23:59:59Z")
        credit = self.provenance.get("source")
        return record_bytes(
            {
                "type": "Collection",
                "stac_version": STAC_VERSION,
                "stac_extensions": [_EXTENSIONS["render"]],
                "id": self.id,
                "title": self.provenance.get("title", "Land cover"),
                "description": f"{self.lineage}." + (f" Source: {credit}." if credit else ""),
                "license": spdx_licence(str(self.provenance.get("license", ""))),
                "extent": {"spatial": {"bbox": [bbox]}, "temporal": {"interval": [[first, last]]}},
                "summaries": {"processing:software": [dict(self.software)]},
                "renders": self._renders,
                "landweave:model": dict(self.provenance.get("model", {})),
                "landweave:sources": sources_of(self.provenance),
                "landweave:map": self.provenance.get("fingerprint", "unknown"),
                "links": [
                    {"rel": "root", "href": "./collection.json", "type": "application/json"},
                    *({"rel": "item", "href": f"./items/{name}.json", "type": GEOJSON} for name in items),
                ],
                "assets": {
                    name: {"href": f"./{name}", "title": title, "roles": ["metadata"]} for name, title in assets.items()
                },
            }
        )


_UPWARDS = ("root", "parent", "collection")


def sources_of(provenance: Mapping[str, Any]) -> dict[str, Any]:
    """Files or observations of each input of a map, with the dates that their names have, by modality."""
    inputs = provenance.get("fingerprint_fields", {}).get("inputs", {})
    return {name: _source(fields) for name, fields in inputs.items()}


def _source(fields: Mapping[str, Any]) -> dict[str, Any]:
    observed = fields.get("observations")
    names = _texts(observed if observed is not None else fields)
    days = sorted({day for name in names for day in days_in(name)})
    found: dict[str, Any] = {"bands": list(fields.get("bands", ()))}
    if observed is not None:
        found["observations"] = len(observed)
    if "scenes" in fields:
        found["files"] = list(fields["scenes"])
    return {**found, **({"first_day": days[0], "last_day": days[-1]} if days else {})}


def _texts(value: Any) -> Iterable[str]:
    """Every text in some plain values."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for each in value.values():
            yield from _texts(each)
    elif isinstance(value, list | tuple):
        for each in value:
            yield from _texts(each)


def days_in(text: str) -> list[str]:
    """Days of eight digits in a name, as ISO dates.

    >>> days_in("S2B_MSIL2A_20210616T105031_N0500"), days_in("30-2021-0770-6278")
    (['2021-06-16'], [])
    """
    found = re.findall(r"(?<!\d)((?:19|20)\d\d)-?(0[1-9]|1[0-2])-?(0[1-9]|[12]\d|3[01])(?!\d)", text)
    return ["-".join(each) for each in found]


def known_days(provenance: Mapping[str, Any]) -> tuple[str, str] | None:
    """First and last day of the imagery as far as its names say; None where they do not."""
    sources = sources_of(provenance).values()
    days = [source[key] for source in sources for key in ("first_day", "last_day") if key in source]
    return (min(days), max(days)) if days else None


def _asset(file: PublishedFile, grid: Grid) -> dict[str, Any]:
    fields = dict(file.asset.fields)
    if "bands" in fields:
        fields |= {"raster:spatial_resolution": float(grid.resolution), "raster:sampling": "area"}
    return {
        "href": f"../{file.path}",
        "type": file.asset.media_type,
        "title": file.asset.title,
        "roles": list(file.asset.roles),
        "file:size": file.size,
        "file:checksum": f"{SHA256_MULTIHASH}{file.sha256}",
        **fields,
    }


def _projection(grid: Grid) -> dict[str, Any]:
    crs = pyproj.CRS(grid.crs)
    code = crs.to_authority()
    named = {"proj:code": ":".join(code)} if code else {"proj:code": None, "proj:wkt2": crs.to_wkt()}
    transform = [float(value) for value in grid.transform[:6]]
    return {**named, "proj:shape": list(grid.shape), "proj:transform": transform, "proj:bbox": list(grid.bounds)}


def _outline(grid: Grid) -> tuple[list[list[float]], list[float]]:
    """Outline in degrees, counter-clockwise and closed, and its bounding box."""
    x0, y0, x1, y1 = grid.bounds
    corners = [(x0, y1), (x0, y0), (x1, y0), (x1, y1), (x0, y1)]
    shares = np.arange(_EDGE_POINTS) / _EDGE_POINTS
    points = [
        (ax + share * (bx - ax), ay + share * (by - ay)) for (ax, ay), (bx, by) in pairwise(corners) for share in shares
    ]
    transformer = Transformer.from_crs(grid.crs, "OGC:CRS84", always_xy=True)
    lon, lat = transformer.transform(*np.array([*points, points[0]]).T)
    outline = [[round(float(x), 7), round(float(y), 7)] for x, y in zip(lon, lat, strict=True)]
    (west, south), (east, north) = np.array(outline).min(axis=0), np.array(outline).max(axis=0)
    return outline, [float(west), float(south), float(east), float(north)]


def lonlat_box(grid: Grid) -> Bounds:
    """West, south, east, north of the outline of some pixels, in degrees."""
    west, south, east, north = _outline(grid)[1]
    return west, south, east, north
