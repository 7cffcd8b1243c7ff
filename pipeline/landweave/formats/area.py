"""The polygon that limits what is mapped, and the pixels inside it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

import numpy as np
import shapely
from numpy.typing import NDArray

from landweave.core.crs import canonical_crs, transformation_note
from landweave.core.grid import Bounds, Grid
from landweave.core.lattice import Span
from landweave.core.polygons import geometry_digest, grow, touched_rectangles
from landweave.core.scanlines import Edges
from landweave.core.words import counted
from landweave.formats.straight_edges import reprojected

_STRAIGHT_M = 0.001
"""Metres by which an outline may leave the line that is straight in the CRS of its file."""

_HALF_EARTH = 180
"""Degrees of longitude: an outline from 179 to -179 goes the long way."""

Polygons: TypeAlias = shapely.Polygon | shapely.MultiPolygon


@dataclass(frozen=True)
class PolygonArea:
    """A polygon in the CRS of the grids it is compared with: `landweave.core.protocols.Area`.

    Attributes
    ----------
    geometry
        The polygon.
    notes
        What of its file was left out or mended.
    """

    geometry: Polygons
    notes: tuple[str, ...] = field(default=(), compare=False)

    @classmethod
    def of_bounds(cls, bounds: Sequence[float]) -> PolygonArea:
        """The rectangle ``(x0, y0, x1, y1)``."""
        return cls(shapely.box(*bounds))

    def grown(self, metres: float) -> PolygonArea:
        """The polygon with a strip around it, square at its corners; a negative width takes one away."""
        return PolygonArea(grow(self.geometry, metres))

    @property
    def bounds(self) -> Bounds:
        """``(x0, y0, x1, y1)``."""
        x0, y0, x1, y1 = (float(value) for value in self.geometry.bounds)
        return x0, y0, x1, y1

    @property
    def fingerprint_fields(self) -> str:
        """Digest of the polygon."""
        return geometry_digest(self.geometry)

    def touched(self, grid: Grid, rows: Sequence[Span], columns: Sequence[Span]) -> NDArray[np.bool_]:
        """Whether each rectangle of some ``rows`` and ``columns`` intersects the polygon, bool ``(row, column)``."""
        tops, bottoms = (
            np.array([float(grid.corner(row, 0)[1]) for row in ends])
            for ends in ([row.start for row in rows], [row.stop for row in rows])
        )
        lefts, rights = (
            np.array([float(grid.corner(0, column)[0]) for column in ends])
            for ends in ([column.start for column in columns], [column.stop for column in columns])
        )
        return touched_rectangles(self.geometry, (tops, bottoms), (lefts, rights))

    def mask(self, grid: Grid) -> NDArray[np.bool_]:
        """Pixels of ``grid`` whose centre is inside the polygon, bool ``(y, x)``.

        A pixel has one value whatever the extent of ``grid`` (`landweave.core.scanlines`); GDAL's rasterization
        depends on the extent.
        """
        parity = np.zeros((grid.shape[0], grid.shape[1] + 1), bool)
        _, row, column = Edges.of(shapely.get_parts(self.geometry)).crossings(grid.x, grid.y)
        np.logical_xor.at(parity, (row, column), True)
        inside: NDArray[np.bool_] = np.logical_xor.accumulate(parity[:, :-1], axis=1)
        return inside


def read_area(path: str, *, where: str | None = None, layer: str | None = None, crs: str) -> PolygonArea:
    """The polygons of a vector file, united, in ``crs``; what is straight in the file stays that line.

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
        When the file cannot be used (`read_features`), or nothing that matches is a polygon.
    """
    from landweave.formats.vector import polygons_of, read_features  # GeoPandas is slow to import

    frame = read_features(path, setting="area", layer=layer, where=where, crs=None)
    shapes, way, stated = polygons_of(frame, path), "", canonical_crs(frame.crs)
    if stated != canonical_crs(crs):
        shapes, _ = reprojected(shapes, stated, crs, tolerance=_STRAIGHT_M, name=path)
        way = transformation_note(stated, crs, tuple(shapely.get_coordinates(frame.geometry.array)[0].tolist()))
    parts, owner = shapely.get_parts(frame.geometry.array, return_index=True)
    west, _, east, _ = shapely.bounds(parts).T
    wide = owner[(east - west > _HALF_EARTH) & frame.crs.is_geographic]
    notes = {
        "go around more than half of the Earth: across the 180th meridian write two polygons, or go on to 181": np.isin(
            np.arange(len(frame)), wide
        ),
        "are not polygons: left out, or what they hold of them is taken": np.isin(
            frame.geom_type, ["Polygon", "MultiPolygon"], invert=True
        ),
        "have outlines that cross themselves: inside by the even-odd rule": ~(frame.is_valid | frame.geometry.isna()),
    }
    listed = (
        f"{which.sum():,} of {counted(len(frame), 'feature')} {what}" for what, which in notes.items() if which.any()
    )
    return PolygonArea(shapely.union_all(shapes), notes=(*listed, *filter(None, [way])))
