"""How coarser views of a map are made: what a coarse pixel says of the fine ones it covers.

Level 0 is the map; a pixel of level ``k`` covers ``2**k`` by ``2**k`` of its pixels, counted from the map's
north-west corner; at the south and east edges it covers what there is.

Taking the mode of modes, level after level, is not taking the mode: of two equally frequent classes the lower
code would win more ground at each step, and buildings (code 0) would spread. So a level is counted from the
nearest of levels 0, 3, 6, … below it: levels 1 to 3 are exact, each pixel of level 4 asks 2 by 2 pixels of level
3, each of level 5 asks 4 by 4, each of level 6 asks 8 by 8, and so on.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.legend import NODATA

LEVELS_A_STEP = 3
"""Levels counted from one base: up to 8 by 8 = 64 votes a pixel."""

MOST_VOTES = 15
"""Largest factor: votes are counted in uint8."""


def depth(shape: tuple[int, int], most: int) -> int:
    """Number of levels above level 0 until the map is at most ``most`` pixels a side.

    >>> depth((3072, 1024), 512), depth((512, 512), 512)
    (3, 0)
    """
    levels = 0
    while max(shape) > most << levels:
        levels += 1
    return levels


def base_of(level: int) -> tuple[int, int]:
    """The level that ``level`` is counted from, and the pixels a side of that one in a pixel of this one.

    >>> [base_of(level) for level in (1, 2, 3, 4, 6, 7)]
    [(0, 2), (0, 4), (0, 8), (3, 2), (3, 8), (6, 2)]
    """
    base = (level - 1) // LEVELS_A_STEP * LEVELS_A_STEP
    return base, 1 << (level - base)


def level_grid(grid: Grid, level: int) -> Grid:
    """The pixels of a level over a map on ``grid``, anchored at the map's north-west corner.

    The last row and column may reach beyond the map, by less than a pixel.
    """
    if not level:
        return grid
    corner_xy: tuple[Fraction, Fraction] = (
        grid.anchor_xy[0] + grid.extent.x.start * grid.resolution,
        grid.anchor_xy[1] - grid.extent.y.start * grid.resolution,
    )
    height, width = (-(-size // (1 << level)) for size in grid.shape)
    return Grid(
        crs=grid.crs,
        resolution=grid.resolution * (1 << level),
        extent=Extent.of((0, height), (0, width)),
        anchor_xy=corner_xy,
    )


def mode(classes: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The most frequent class of each ``factor`` by ``factor`` square.

    Parameters
    ----------
    classes
        uint8 ``(y, x)``, 255 = nodata.
    factor
        Pixels a side, 1 to `MOST_VOTES`.

    Returns
    -------
    uint8 ``(ceil(y / factor), ceil(x / factor))``. Ties go to the lowest code; nodata counts only where there is
    nothing else.

    >>> mode(np.array([[7, 3, 255], [3, 7, 255], [255, 9, 4]], dtype=np.uint8), 2)
    array([[  3, 255],
           [  9,   4]], dtype=uint8)
    """
    padded = _padded(classes, factor)
    result = np.full(_coarse(padded, factor), NODATA, dtype=np.uint8)
    best = np.zeros(result.shape, dtype=np.uint8)
    for code in _codes(padded):
        votes = _sums((padded == code).view(np.uint8), factor, np.uint8)
        np.copyto(result, code, where=votes > best)
        np.maximum(best, votes, out=best)
    return result


def average(values: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The mean of the valid pixels of each ``factor`` by ``factor`` square.

    Parameters
    ----------
    values
        uint8 ``(y, x)``, 255 = nodata.
    factor
        Pixels a side, 1 to `MOST_VOTES`.

    Returns
    -------
    uint8 ``(ceil(y / factor), ceil(x / factor))``, rounded to the nearest (halves up); 255 where no pixel is valid.

    >>> average(np.array([[10, 13, 255], [255, 255, 255]], dtype=np.uint8), 2)
    array([[ 12, 255]], dtype=uint8)
    """
    padded = _padded(values, factor)
    valid = padded != NODATA
    count = _sums(valid.view(np.uint8), factor, np.uint8).astype(np.uint32)
    total = _sums(np.where(valid, padded, 0).astype(np.uint16), factor, np.uint32)
    mean = (total + count // 2) // np.maximum(count, 1)
    return np.where(count > 0, mean, NODATA).astype(np.uint8)


def _codes(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Classes that are there, rising; counting them all would take twice as long."""
    found = np.zeros(NODATA + 1, dtype=np.bool_)
    found[classes] = True
    return np.flatnonzero(found[:NODATA]).astype(np.uint8)


def _padded(values: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    missing = [(0, -size % factor) for size in values.shape]
    return np.pad(values, missing, constant_values=NODATA) if any(after for _, after in missing) else values


def _coarse(values: NDArray[Any], factor: int) -> tuple[int, int]:
    return values.shape[0] // factor, values.shape[1] // factor


def _sums(values: NDArray[Any], factor: int, dtype: type[np.generic]) -> NDArray[Any]:
    """Sum of each square; rows first, which are whole contiguous lines, then columns."""
    height, width = _coarse(values, factor)
    rows = values.reshape(height, factor, -1).sum(axis=1, dtype=dtype)
    total: NDArray[Any] = rows[:, ::factor].copy()
    for offset in range(1, factor):
        total += rows[:, offset::factor]
    return total.reshape(height, width)
