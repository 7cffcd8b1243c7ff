"""Polygons from vector files in the grid's CRS, and the pixels inside them."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FieldError

from landweave.core.errors import InputError
from landweave.core.grid import Grid

Area: TypeAlias = shapely.Polygon | shapely.MultiPolygon


def read_area(path: str, *, where: str | None = None, layer: str | None = None, crs: str) -> Area:
    """The polygons of a vector file, united, in ``crs``.

    Parameters
    ----------
    path
        Anything GDAL reads: GeoPackage, Shapefile, GeoJSON, a zip of one.
    where
        SQL filter on its columns, such as ``"code = '31'"``; all features by default.
    layer
        Needed where the file has several.
    crs
        CRS of the result, such as that of the grid.

    Raises
    ------
    InputError
        When the file is missing or unreadable, has several layers or no CRS, the filter is wrong or matches nothing
        (the columns and the number of features are named), or nothing that matches is a polygon.
    """
    frame = read_features(path, layer=layer, where=where, crs=crs)
    shapes = frame.geometry.make_valid().explode()
    shapes = shapes[shapes.geom_type.isin(["Polygon", "MultiPolygon"])]
    if shapes.empty:
        kinds = ", ".join(sorted(set(frame.geom_type)))
        raise InputError(f"{path}: none of the {len(frame)} features that match is a polygon, but {kinds}.")
    area = shapes.union_all()
    if not isinstance(area, shapely.Polygon | shapely.MultiPolygon) or not np.isfinite(area.bounds).all():
        raise InputError(f"{path}: its polygons cannot be expressed in {crs[:60]} (bounds {area.bounds}).")
    return area


def rasterize_area(geometry: Area, grid: Grid) -> NDArray[np.bool_]:
    """Pixels of ``grid`` whose centre is inside ``geometry``, bool ``(y, x)``.

    The even-odd rule along each row: a centre is inside when the outline crosses its row an odd number of times at or
    before it. A crossing is computed from the edge and the row alone, so a pixel has one value whatever the extent of
    ``grid``, and of two areas that share a border each pixel on it belongs to exactly one. (GDAL's rasterization
    depends on the extent.) Edges beyond the rows of ``grid`` cost one comparison.

    Parameters
    ----------
    geometry
        In the CRS of ``grid``.
    grid
        CRS, rows and columns of the result.
    """
    x, y = grid.x, grid.y
    parity = np.zeros((len(y), len(x) + 1), bool)
    lower, upper = _edges(geometry)
    reached = (lower[:, 1] <= y[0]) & (upper[:, 1] > y[-1])
    lower, upper = lower[reached], upper[reached]
    north = np.searchsorted(-y, -upper[:, 1], side="right")  # an edge takes its lower end and leaves its upper one
    south = np.searchsorted(-y, -lower[:, 1], side="right")
    counts = south - north
    edge = np.repeat(np.arange(len(lower)), counts)
    row = np.arange(counts.sum()) - np.repeat(counts.cumsum() - counts, counts) + north[edge]
    share = (y[row] - lower[edge, 1]) / (upper[edge, 1] - lower[edge, 1])
    crossing = lower[edge, 0] + share * (upper[edge, 0] - lower[edge, 0])
    np.logical_xor.at(parity, (row, np.searchsorted(x, crossing, side="left")), True)
    inside: NDArray[np.bool_] = np.logical_xor.accumulate(parity[:, :-1], axis=1)
    return inside


def _edges(geometry: Area) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Lower and upper ends, float64 ``(edge, 2)`` of x and y, of all edges that are not horizontal."""
    rings = [np.asarray(ring.coords)[:, :2] for ring in _rings(geometry)]
    starts = np.concatenate([ring[:-1] for ring in rings])
    stops = np.concatenate([ring[1:] for ring in rings])
    sloped = starts[:, 1] != stops[:, 1]
    starts, stops = starts[sloped], stops[sloped]
    rising = (starts[:, 1] < stops[:, 1])[:, None]
    return np.where(rising, starts, stops), np.where(rising, stops, starts)


def _rings(geometry: Area) -> list[shapely.LinearRing]:
    parts = geometry.geoms if isinstance(geometry, shapely.MultiPolygon) else [geometry]
    return [ring for part in parts for ring in (part.exterior, *part.interiors)]


def read_features(
    path: str, *, crs: str, layer: str | None = None, where: str | None = None, columns: Sequence[str] = ()
) -> Any:
    """Features of a vector file in ``crs``, as a GeoDataFrame.

    Parameters
    ----------
    path
        Anything GDAL reads.
    crs
        CRS of the geometries returned.
    layer
        Needed where the file has several.
    where
        SQL filter on the columns of the file.
    columns
        Columns that are kept beside the geometry.

    Raises
    ------
    InputError
        When the file is missing or no vector file, the layer is not there or has to be named, it has no CRS or lacks
        a column, or the filter is wrong or matches nothing (columns and number of features are named).
    """
    name = _layer_of(path, layer)
    info = pyogrio.read_info(path, layer=name)
    fields = [str(field) for field in info["fields"]]
    contents = f"The layer has {info['features']} features with the columns {fields}."
    if not info["crs"]:
        raise InputError(f"{path}, layer {name!r}, has no CRS: write one into the file.")
    if missing := [column for column in columns if column not in fields]:
        raise InputError(f"{path} has no column {missing[0]!r}; its columns are {fields}.")
    try:
        frame = pyogrio.read_dataframe(path, layer=name, where=where, columns=list(columns))
    except (ValueError, DataLayerError, FieldError) as error:
        raise InputError(f"{path}: the filter {where!r} is not understood ({error}). {contents}") from error
    if frame.empty:
        raise InputError(f"{path}: 0 of {info['features']} features match {where!r}. {contents}")
    return frame.to_crs(crs)


def _layer_of(path: str, layer: str | None) -> str:
    """Return ``layer``, or the only one there is."""
    if "://" not in path and not path.startswith("/vsi") and not Path(path).exists():
        raise InputError(f"Vector file {path} does not exist.")
    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
    except DataSourceError as error:
        raise InputError(f"{path} is not a vector file that GDAL can open: {error}.") from error
    if layer is None and len(layers) == 1:
        return layers[0]
    if layer not in layers:
        raise InputError(f"{path} has {len(layers)} layers, {layers}, and {layer!r} is asked: name one of them.")
    return layer


def geometry_digest(geometry: shapely.Geometry) -> str:
    """SHA-256 of a geometry in its normal form, for the fingerprint."""
    return sha256(shapely.to_wkb(shapely.normalize(geometry))).hexdigest()
