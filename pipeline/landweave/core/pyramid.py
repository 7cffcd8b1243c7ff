"""Overviews of a map: the mode of classes, the mean of confidences.

Level 0 is the map; a pixel of level ``k`` covers ``2**k`` by ``2**k`` of its pixels, counted from the map's
north-west corner; at the south and east edges it covers as many as there are.

The mode of modes, level after level, is not the mode: of two equally frequent classes the lower code would gain
pixels at each level, and buildings (code 0) would spread. So a level is computed from the nearest of levels 0, 3, 6, …
below it: levels 1 to 3 are exact, a pixel of level 4 is the mode of 2 by 2 pixels of level 3, one of level 5 of 4 by 4,
one of level 6 of 8 by 8, and so on.
"""

from __future__ import annotations

from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.legend import NODATA

LEVELS_A_STEP = 3
"""Levels computed from one base: up to 8 by 8 = 64 pixels each."""


def depth(shape: tuple[int, int], most: int) -> int:
    """Number of levels above level 0 until the map is at most ``most`` pixels a side.

    Parameters
    ----------
    shape
        ``(height, width)`` of level 0.
    most
        Pixels a side of the coarsest level.

    >>> depth((3072, 1024), 512), depth((512, 512), 512)
    (3, 0)
    """
    return next(level for level in count() if max(shape) <= most << level)


def base_of(level: int) -> tuple[int, int]:
    """The level that ``level`` is computed from, and how many of its pixels a side make one of ``level``.

    >>> [base_of(level) for level in (1, 2, 3, 4, 6, 7)]
    [(0, 2), (0, 4), (0, 8), (3, 2), (3, 8), (6, 2)]
    """
    base = (level - 1) // LEVELS_A_STEP * LEVELS_A_STEP
    return base, 1 << (level - base)


def level_grid(grid: Grid, level: int) -> Grid:
    """Grid of a level of a map, anchored at the map's north-west corner.

    The last row and column may extend beyond the map, by less than a pixel.

    Parameters
    ----------
    grid
        Of level 0.
    level
        0 or more.
    """
    if not level:
        return grid
    height, width = (-(-size // (1 << level)) for size in grid.shape)
    return Grid(
        crs=grid.crs,
        resolution=grid.resolution * (1 << level),
        extent=Extent.of((0, height), (0, width)),
        anchor_xy=grid.corner(grid.extent.y.start, grid.extent.x.start),
    )


def level_extent(grid: Grid, extent: Extent, level: int) -> Extent:
    """Pixels of a level that cover some pixels of level 0.

    Parameters
    ----------
    grid
        Of level 0.
    extent
        Counted as ``grid`` counts.
    level
        0 or more.
    """
    if not level:
        return extent
    rows, columns = extent.slices_in(grid.extent)  # an overview counts from the map's corner
    return Extent.of((rows.start, rows.stop), (columns.start, columns.stop)).coarsen(1 << level)


def coarsen(array: str, values: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """A layer of a map in ``factor`` times larger pixels: `average` of confidence, `mode` of all others.

    Parameters
    ----------
    array
        ``landcover``, ``confidence`` or ``date_fallback``.
    values, factor
        As of `mode`.
    """
    return average(values, factor) if array == "confidence" else mode(values, factor)


def coarsen_levels(array: str, values: NDArray[np.uint8], levels: int) -> list[NDArray[np.uint8]]:
    """Levels 1 to ``levels`` above one base, all of its pixels: the same bits as `coarsen`, in half the time.

    Counts of squares are added up from those of the squares in them, so that all pixels are looked at once.

    Parameters
    ----------
    array, values
        As of `coarsen`.
    levels
        At most `LEVELS_A_STEP`.
    """
    height, width = values.shape
    found = _averages(values, levels) if array == "confidence" else _modes(values, levels)
    return [each[: -(-height >> level), : -(-width >> level)] for level, each in enumerate(found, 1)]


def _modes(classes: NDArray[np.uint8], levels: int) -> list[NDArray[np.uint8]]:
    padded = _padded(classes, 1 << levels)
    shapes = [tuple(size >> level for size in padded.shape) for level in range(1, levels + 1)]
    best = [np.zeros(shape, np.uint8) for shape in shapes]
    results = [np.full(shape, NODATA, np.uint8) for shape in shapes]
    for code in _codes(padded):
        votes: NDArray[np.uint8] = (padded == code).view(np.uint8)
        for most, result in zip(best, results, strict=True):
            votes = _sums(votes, 2, np.uint8)
            np.copyto(result, code, where=votes > most)
            np.maximum(most, votes, out=most)
    return results


def _averages(values: NDArray[np.uint8], levels: int) -> list[NDArray[np.uint8]]:
    padded = _padded(values, 1 << levels)
    valid = padded != NODATA
    count: NDArray[Any] = valid.view(np.uint8)
    total: NDArray[Any] = np.where(valid, padded, 0).astype(np.uint16)  # 64 times 254 is less than 65536
    results = []
    for _ in range(levels):
        count, total = _sums(count, 2, np.uint8), _sums(total, 2, np.uint16)
        mean = (total + count // 2) // np.maximum(count, 1)
        results.append(np.where(count > 0, mean, NODATA).astype(np.uint8))
    return results


def mode(classes: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """The most frequent class of each ``factor`` by ``factor`` square.

    Parameters
    ----------
    classes
        uint8 ``(y, x)``, 255 = nodata.
    factor
        Pixels a side, 1 to 15: they are counted in uint8.

    Returns
    -------
    ndarray
        uint8 ``(ceil(y / factor), ceil(x / factor))``. Ties go to the lowest code; 255 only where all are nodata.

    >>> mode(np.array([[7, 3, 255], [3, 7, 255], [255, 9, 4]], dtype=np.uint8), 2)
    array([[  3, 255],
           [  9,   4]], dtype=uint8)
    """
    padded = _padded(classes, factor)
    best = np.zeros([size // factor for size in padded.shape], dtype=np.uint8)
    result = np.full_like(best, NODATA)
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
        Pixels a side, 1 to 15: they are counted in uint8.

    Returns
    -------
    ndarray
        uint8 ``(ceil(y / factor), ceil(x / factor))``, rounded to the nearest (halves up); 255 where all are nodata.

    >>> average(np.array([[10, 13, 255], [255, 255, 255]], dtype=np.uint8), 2)
    array([[ 12, 255]], dtype=uint8)
    """
    padded = _padded(values, factor)
    valid = padded != NODATA
    valid_count = _sums(valid.view(np.uint8), factor, np.uint8).astype(np.uint32)
    total = _sums(np.where(valid, padded, 0).astype(np.uint16), factor, np.uint32)
    mean = (total + valid_count // 2) // np.maximum(valid_count, 1)
    return np.where(valid_count > 0, mean, NODATA).astype(np.uint8)


def _codes(classes: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Codes that occur, ascending; counting all codes would take twice as long."""
    found = np.zeros(NODATA + 1, dtype=np.bool_)
    found[classes] = True
    return np.flatnonzero(found[:NODATA]).astype(np.uint8)


def _padded(values: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    missing = [(0, -size % factor) for size in values.shape]
    return np.pad(values, missing, constant_values=NODATA) if any(after for _, after in missing) else values


def _sums(values: NDArray[Any], factor: int, dtype: type[np.generic]) -> NDArray[Any]:
    """Sum of each square; over rows first, which are contiguous in memory, then over columns."""
    rows = values.reshape(-1, factor, values.shape[1]).sum(axis=1, dtype=dtype)
    total: NDArray[Any] = rows[:, ::factor].copy()
    for offset in range(1, factor):
        total += rows[:, offset::factor]
    return total
