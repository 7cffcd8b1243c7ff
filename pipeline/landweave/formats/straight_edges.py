"""Polygons in another CRS: what is straight in their file stays that line, though it is bent in the other CRS."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray
from pyproj.exceptions import ProjError

from landweave.core.errors import InputError
from landweave.core.scanlines import Integers, ranges

_MOST_POINTS = 10_000
"""That an edge gets: between two points at the poles no number is enough."""

_MOST_ADDED = 5_000_000
"""Points that all edges get together, some 100 bytes each while they are computed; a department's communes get none."""


def reprojected(
    polygons: NDArray[Any], crs: str, target: str, *, tolerance: float, name: str
) -> tuple[NDArray[Any], int]:
    """Polygons in another CRS, their edges bent as that CRS bends them, and the number of points added.

    Parameters
    ----------
    polygons
        None where there is none.
    crs, target
        Of the polygons, and of the result.
    tolerance
        How far an outline may leave the line that is straight in ``crs``, in units of ``target``.
    name
        Of their file, for messages.

    Raises
    ------
    InputError
        When they have no place in ``target``, or would take too many points there.
    """
    parts, owner = shapely.get_parts(polygons, return_index=True)
    kind, points, (rings, of_polygons) = shapely.to_ragged_array(parts)
    try:
        transformer = pyproj.Transformer.from_crs(crs, target, always_xy=True)
    except ProjError as error:
        raise InputError(
            f"{name}: no way leads from its CRS, {crs[:60]}, to {target[:60]}, the CRS of the map ({error!s:.120}): "
            "correct that of the file."
        ) from error
    numbers = _pieces(points, rings, transformer, tolerance)
    if (added := int(numbers.sum()) - len(points)) > _MOST_ADDED:
        raise InputError(
            f"{name}: its {len(points):,} points would need {added:,} between them to be followed from {crs[:40]} to "
            f"{tolerance:g} m, {_MOST_ADDED:,} are the most: leave outlines out that are elsewhere, or bring them to "
            f"{target[:40]} with another program."
        )
    moved = np.stack(transformer.transform(*_divided(points, numbers).T), axis=1)
    if not np.isfinite(moved).all():
        bounds = tuple(shapely.total_bounds(parts).tolist())
        raise InputError(
            f"{name}: its outlines (bounds {bounds} in {crs[:60]}) cannot be expressed in {target[:60]}, the CRS of "
            "the map: correct that of the file, or leave those out that are elsewhere."
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
