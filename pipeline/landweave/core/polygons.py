"""Polygons of many parts, each treated alone: as one geometry, 12,000 far tiles take minutes."""

from __future__ import annotations

from collections.abc import Callable
from hashlib import sha256
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

MOST_CROSSINGS = 200_000
"""Of an outline with itself: `valid_shapes` makes a point of each, 500 bytes, and their number grows as a square."""

_SAMPLE = 200
"""Edges that stand for all of an outline, and at most of how many near each it is found out whether they cross."""


def valid_shapes(shapes: NDArray[Any]) -> NDArray[Any]:
    """Valid forms of shapes; inside an outline that crosses itself is decided by the even-odd rule.

    Raises
    ------
    ValueError
        When one crosses itself more than `MOST_CROSSINGS` times.
    """
    for number in np.flatnonzero(~shapely.is_valid(shapes) & ~shapely.is_missing(shapes)):
        if (crossings := _crossings(shapes[number])) > MOST_CROSSINGS:
            raise ValueError(
                f"the outline of feature {number + 1} crosses itself about {crossings:,} times, "
                f"{MOST_CROSSINGS:,} are the most"
            )
    valid: NDArray[Any] = shapely.make_valid(shapes)
    return valid


def _crossings(shape: shapely.Geometry) -> int:
    """How often edges of a shape cross each other, about, or at least where there are too many."""
    points, line = shapely.get_coordinates(shapely.get_rings(shapely.get_parts(shape)), return_index=True)
    edges = shapely.linestrings(np.stack([points[:-1], points[1:]], axis=1)[line[:-1] == line[1:]])
    step, found, tree = max(1, len(edges) // _SAMPLE), 0, shapely.STRtree(edges)
    for edge in edges[::step]:
        near = tree.query(edge)
        every = -(-len(near) // _SAMPLE)
        found += every * int(shapely.crosses(edge, edges[near[::every]]).sum())
        if found * step // 2 > MOST_CROSSINGS:
            break
    return found * step // 2


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


GROUPED = 16
"""Rectangles a side that are compared as one before each is: most are wholly inside or outside a department."""

Edges = tuple[NDArray[np.float64], NDArray[np.float64]]


def touched_rectangles(ground: shapely.Geometry, rows: Edges, columns: Edges) -> NDArray[np.bool_]:
    """Whether each rectangle of some rows and columns intersects the ground, bool ``(row, column)``.

    Parameters
    ----------
    ground
        Polygons.
    rows
        Northern and southern edges, descending.
    columns
        Western and eastern edges, ascending.
    """
    shape = rows[0].size, columns[0].size
    down, across = (np.arange(0, size, GROUPED) for size in shape)
    last = tuple(np.minimum(first + GROUPED, size) - 1 for first, size in zip((down, across), shape, strict=True))
    groups = shapely.box(
        columns[0][across], rows[1][last[0]][:, None], columns[1][last[1]], rows[0][down][:, None]
    ).ravel()
    near, inside = _related(ground, groups, shapely.intersects), _related(ground, groups, shapely.contains_properly)
    touched, partly = (
        np.kron(each.reshape(down.size, across.size), np.ones((GROUPED, GROUPED), np.bool_))[: shape[0], : shape[1]]
        for each in (inside, near & ~inside)
    )
    row, column = np.nonzero(partly)
    boxes = shapely.box(columns[0][column], rows[1][row], columns[1][column], rows[0][row])
    touched[row, column] = _related(ground, boxes, shapely.intersects)
    return touched


def _related(ground: shapely.Geometry, boxes: NDArray[Any], predicate: Callable[..., Any]) -> NDArray[np.bool_]:
    """Whether ``predicate(part, box)`` holds of any part of the ground, bool ``(box,)``."""
    parts = shapely.get_parts(ground)
    shapely.prepare(parts)
    box, part = shapely.STRtree(parts).query(boxes)
    found = np.zeros(boxes.size, np.bool_)
    found[box[predicate(parts[part], boxes[box])]] = True
    return found


def geometry_digest(geometry: shapely.Geometry) -> str:
    """SHA-256 of a geometry in its normal form, for the fingerprint."""
    return sha256(shapely.to_wkb(shapely.normalize(geometry))).hexdigest()
