"""Polygons of many parts, each treated alone: as one geometry, 12,000 far tiles take minutes."""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray


def unite(parts: NDArray[Any]) -> shapely.Geometry:
    """The union of some polygons; the others are left out."""
    polygons = parts[(shapely.get_type_id(parts) == shapely.GeometryType.POLYGON) & ~shapely.is_empty(parts)]
    return shapely.disjoint_subset_union_all(polygons)


def overlap(ground: shapely.Geometry, other: shapely.Geometry) -> shapely.Geometry:
    """The polygons that two grounds share; empty where they share none.

    Parameters
    ----------
    ground, other
        Polygons, in one CRS.
    """
    here, there = shapely.get_parts(ground), shapely.get_parts(other)
    first, second = shapely.STRtree(there).query(here)
    return unite(shapely.get_parts(shapely.intersection(here[first], there[second])))


def grow(ground: shapely.Geometry, metres: float) -> shapely.Geometry:
    """The ground with a strip around it, square at its corners; a negative width takes one away.

    Parameters
    ----------
    ground
        Polygons.
    metres
        Width of the strip, in units of their CRS.
    """
    return unite(shapely.get_parts(shapely.buffer(shapely.get_parts(ground), metres, join_style="mitre")))


def touched_boxes(ground: shapely.Geometry, boxes: NDArray[Any]) -> NDArray[np.bool_]:
    """Whether each box intersects the ground, bool ``(box,)``.

    Parameters
    ----------
    ground
        Polygons.
    boxes
        Polygons ``(box,)``, in the same CRS.
    """
    parts = shapely.get_parts(ground)
    shapely.prepare(parts)
    box, part = shapely.STRtree(parts).query(boxes)
    touched = np.zeros(boxes.size, np.bool_)
    touched[box[shapely.intersects(parts[part], boxes[box])]] = True
    return touched
