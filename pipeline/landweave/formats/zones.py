"""Zones of a vector file (communes, parcels, a basin) with their columns, brought exactly into the CRS of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import geopandas
import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from landweave.core.crs import transformation_note, usable_crs
from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.scanlines import Integers, ranges
from landweave.core.words import counted
from landweave.core.zonal import Zones
from landweave.formats.vector import polygons_of, read_features

_TOLERANCE = 0.01
"""Share of a pixel by which an outline may leave the line that is straight in the CRS of its file."""

_MOST_POINTS = 10_000
"""That an edge gets: between two points at the poles no number is enough."""

_MOST_ADDED = 5_000_000
"""Points that all edges get together, some 100 bytes each while they are computed; a department's communes get none."""


@dataclass(frozen=True, kw_only=True)
class ZoneTable:
    """Zones in the CRS of a grid.

    Attributes
    ----------
    zones
        Their polygons.
    columns
        What the file says of each: a DataFrame, row by row.
    notes
        What was left out, and how they came to the CRS.
    """

    zones: Zones
    columns: Any
    notes: tuple[str, ...] = ()

    def frame(self, found: Mapping[str, NDArray[Any]], crs: str) -> geopandas.GeoDataFrame:
        """Zones with what was found of each: their number in the file, its columns, those found, the outlines.

        Parameters
        ----------
        found
            A value a zone, by column. A column of the file that has one of these names gets ``_of_zone`` behind it.
        crs
            Of the grid.
        """
        taken = {"zone", "geometry", *found}
        stated = {f"{name}_of_zone" if name in taken else name: values for name, values in self.columns.items()}
        columns = {"zone": np.arange(1, self.zones.polygons.size + 1), **stated, **found}
        return geopandas.GeoDataFrame(columns, geometry=self.zones.polygons, crs=crs)


def read_zones(
    path: str, grid: Grid, *, setting: str = "zones", layer: str | None = None, where: str | None = None
) -> ZoneTable:
    """The features of a vector file as zones, with all its columns.

    Parameters
    ----------
    path
        Anything GDAL reads.
    grid
        Of the map: the CRS of the zones, and how fine their outlines are to be there.
    setting
        What errors call the file: ``zones`` for ``zones.layer``.
    layer
        Needed where the file has several.
    where
        SQL filter on its columns, such as ``"code = '31'"``.

    Raises
    ------
    InputError
        When the file cannot be used (`landweave.formats.vector.read_features`), or as `zones_of` does.
    """
    frame = read_features(path, setting=setting, crs=None, layer=layer, where=where, columns=None)
    return zones_of(frame, grid, path)


def zones_of(frame: geopandas.GeoDataFrame, grid: Grid, name: str = "The zones") -> ZoneTable:
    """The rows of a GeoDataFrame as zones.

    Parameters
    ----------
    frame
        With a CRS.
    grid
        As of `read_zones`.
    name
        Of the frame, for messages.

    Raises
    ------
    InputError
        When it has no CRS, none of it is a polygon, polygons have no place in the CRS of the grid, or none meets it.
    """
    crs, problem = usable_crs(frame.crs) if frame.crs is not None else ("", "has no CRS")
    if problem:
        raise InputError(f"{name} {problem}: set the one that its coordinates are in.")
    polygons = polygons_of(frame, name)
    notes = []
    if missing := int(shapely.is_missing(polygons).sum()):
        notes.append(f"{name}: {missing:,} of {counted(len(frame), 'feature')} without a polygon: no area")
    crossing = ~shapely.is_valid(frame.geometry.to_numpy()) & ~shapely.is_missing(polygons)
    if crossing.any():
        notes.append(
            f"{name}: {crossing.sum():,} of {counted(len(frame), 'zone')}, zone {crossing.argmax() + 1} the first, "
            "with outlines that cross themselves: inside by the even-odd rule"
        )
    if crs != grid.crs:
        polygons, added = _reprojected(polygons, crs, grid, name)
        notes.append(
            f"{name}: from {crs[:40]} to {grid.crs[:40]}, with {counted(added, 'point')} added so that straight lines "
            f"of the file are followed to {float(grid.resolution) * _TOLERANCE:g} m"
        )
        first = shapely.get_coordinates(frame.geometry.array)[0]
        notes.extend(filter(None, [transformation_note(crs, grid.crs, tuple(first.tolist()))]))
    zones = Zones(polygons)
    if not zones.near(grid).size:
        here, there = (
            tuple(round(float(value), 1) for value in each) for each in (shapely.total_bounds(polygons), grid.bounds)
        )
        raise InputError(
            f"{name}: none of its {counted(len(frame), 'zone')} meets the map: they lie in {here}, the map in {there}."
        )
    columns = frame.drop(columns=frame.geometry.name).reset_index(drop=True)
    return ZoneTable(zones=zones, columns=columns, notes=tuple(notes))


def _reprojected(polygons: NDArray[Any], crs: str, grid: Grid, name: str) -> tuple[NDArray[Any], int]:
    """Polygons in the CRS of a grid, their edges bent as the CRS bends them, and the number of points added."""
    parts, owner = shapely.get_parts(polygons, return_index=True)
    kind, points, (rings, of_polygons) = shapely.to_ragged_array(parts)
    transformer = pyproj.Transformer.from_crs(crs, grid.crs, always_xy=True)
    numbers = _pieces(points, rings, transformer, float(grid.resolution) * _TOLERANCE)
    if (added := int(numbers.sum()) - len(points)) > _MOST_ADDED:
        raise InputError(
            f"{name}: its {len(points):,} points would need {added:,} between them to be followed from {crs[:40]} to "
            f"{float(grid.resolution) * _TOLERANCE:g} m, {_MOST_ADDED:,} are the most: leave zones out that are "
            f"elsewhere, or bring them to {grid.crs[:40]} with another program."
        )
    moved = np.stack(transformer.transform(*_divided(points, numbers).T), axis=1)
    if not np.isfinite(moved).all():
        raise InputError(
            f"{name}: its outlines (bounds {tuple(shapely.total_bounds(parts))} in {crs[:60]}) cannot be expressed in "
            f"{grid.crs[:60]}, the CRS of the map: correct that of the zones, or leave those out that are elsewhere."
        )
    offsets = np.concatenate([[0], np.cumsum(numbers)])[rings]
    bent = shapely.from_ragged_array(kind, moved, (offsets, of_polygons))
    whole: NDArray[Any] = np.full(polygons.size, None)
    shapely.multipolygons(bent, indices=owner, out=whole)
    return whole, len(moved) - len(points)


def _pieces(
    points: NDArray[np.float64], rings: Integers, transformer: pyproj.Transformer, tolerance: float
) -> Integers:
    """Number of pieces of the edge that begins at each point; 1 for the last point of a ring, which begins none.

    Parameters
    ----------
    points
        ``(point, 2)`` of all rings.
    rings
        Where each ring begins among them.
    transformer
        From their CRS.
    tolerance
        In units of the other CRS. Half way an edge is off by a quantity that falls with the square of its length.
    """
    x, y = transformer.transform(*points.T)
    half_x, half_y = transformer.transform(*((points[:-1] + points[1:]) / 2).T)
    with np.errstate(invalid="ignore"):  # of what is not finite: refused later
        off = np.hypot(half_x - (x[:-1] + x[1:]) / 2, half_y - (y[:-1] + y[1:]) / 2)
        numbers = np.append(np.ceil(np.sqrt(off / tolerance)), 1)
    numbers[rings[1:] - 1] = 1
    whole: Integers = np.nan_to_num(numbers, nan=1, posinf=1).clip(1, _MOST_POINTS).astype(np.int64)
    return whole


def _divided(points: NDArray[np.float64], numbers: Integers) -> NDArray[np.float64]:
    """All points with those between them; of an edge that two zones share both have the same, to the last bit."""
    edge = np.repeat(np.arange(len(points)), numbers)
    step = ranges(np.zeros_like(numbers), numbers)
    here, there = points[edge], points[np.minimum(edge + 1, len(points) - 1)]
    forwards = (here[:, 0] < there[:, 0]) | ((here[:, 0] == there[:, 0]) & (here[:, 1] < there[:, 1]))
    low, high = (np.where(forwards[:, None], *pair) for pair in ((here, there), (there, here)))
    share = (np.where(forwards, step, numbers[edge] - step) / numbers[edge])[:, None]
    between: NDArray[np.float64] = np.where((step == 0)[:, None], here, low + share * (high - low))
    return between
