"""Zones of a vector file (communes, parcels, a basin) with their columns, brought exactly into the CRS of a grid."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import geopandas
import numpy as np
import shapely
from numpy.typing import NDArray

from landweave.core.crs import transformation_note, usable_crs
from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.words import counted
from landweave.core.zonal import Zones
from landweave.formats.straight_edges import reprojected
from landweave.formats.vector import polygons_of, read_features

_TOLERANCE = 0.01
"""Share of a pixel by which an outline may leave the line that is straight in the CRS of its file."""


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
    path: str,
    grid: Grid,
    *,
    setting: str = "zones",
    layer: str | None = None,
    where: str | None = None,
    name: str | None = None,
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
    name
        Of the file where ``path`` is a copy of it, for notes.

    Raises
    ------
    InputError
        When the file cannot be used (`landweave.formats.vector.read_features`), or as `zones_of` does.
    """
    frame = read_features(path, setting=setting, crs=None, layer=layer, where=where, columns=None)
    return zones_of(frame, grid, name or path)


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
        tolerance = float(grid.resolution) * _TOLERANCE
        polygons, added = reprojected(polygons, crs, grid.crs, tolerance=tolerance, name=name)
        notes.append(
            f"{name}: from {crs[:40]} to {grid.crs[:40]}, with {counted(added, 'point')} added so that straight lines "
            f"of the file are followed to {tolerance:g} m"
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
