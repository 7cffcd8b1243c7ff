"""Areas from vector files: read, filtered, brought to the grid's CRS, and told pixel by pixel."""

from __future__ import annotations

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
        Of the answer: the grid's.

    Raises
    ------
    InputError
        When the file is missing or unreadable, has several layers or no CRS, the filter is wrong or matches nothing
        (the columns and the number of features are named), or nothing that matches is a polygon.
    """
    name = layer_of(path, layer)
    info = pyogrio.read_info(path, layer=name)
    if not info["crs"]:
        raise InputError(f"{path}, layer {name!r}, has no CRS: write one into the file.")
    try:
        frame = pyogrio.read_dataframe(path, layer=name, where=where, columns=[])
    except (ValueError, DataLayerError, FieldError) as error:
        raise InputError(f"{path}: the filter {where!r} is not understood ({error}). {_contents(info)}") from error
    if frame.empty:
        raise InputError(f"{path}: 0 of {info['features']} features match {where!r}. {_contents(info)}")
    shapes = frame.geometry.to_crs(crs).make_valid().explode()
    shapes = shapes[shapes.geom_type.isin(["Polygon", "MultiPolygon"])]
    if shapes.empty:
        raise InputError(
            f"{path}: none of the {len(frame)} features that match is a polygon ({info['geometry_type']})."
        )
    area = shapes.union_all()
    if not isinstance(area, shapely.Polygon | shapely.MultiPolygon) or not np.isfinite(area.bounds).all():
        raise InputError(f"{path}: its polygons do not lie within the reach of {crs[:60]} (bounds {area.bounds}).")
    return area


def rasterize_area(geometry: Area, grid: Grid) -> NDArray[np.bool_]:
    """Which pixels have their centre inside an area.

    Each row of centres is crossed with the outline, and a centre is inside when it has an odd number of crossings at
    or before it. A crossing is computed from the edge and the row alone, so the answer for a pixel is the same for any
    extent, and two areas that share a border share out its pixels, each to one of them. Edges of rows that are not
    asked for cost nothing but a comparison.

    Parameters
    ----------
    geometry
        In the CRS of ``grid``.
    grid
        Pixels to tell.

    Returns
    -------
    ndarray
        bool ``(y, x)``, True inside.
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
    """Lower and upper ends ``(edge, xy)`` of all edges that are not level."""
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


def layer_of(path: str, layer: str | None) -> str:
    """The layer that is meant: ``layer``, or the only one there is.

    Raises
    ------
    InputError
        When the file is missing or no vector file, or the layer is not there or has to be named.
    """
    if "://" not in path and not path.startswith("/vsi") and not Path(path).exists():
        raise InputError(f"Area file {path} does not exist.")
    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
    except DataSourceError as error:
        raise InputError(f"{path} is not a vector file that GDAL can open: {error}.") from error
    if layer is None and len(layers) == 1:
        return layers[0]
    if layer not in layers:
        raise InputError(f"{path} has {len(layers)} layers, {layers}, and {layer!r} is asked: name one of them.")
    return layer


def _contents(info: dict[str, Any]) -> str:
    return f"The layer has {info['features']} features with the columns {[str(name) for name in info['fields']]}."
