"""Overviews of a map: the mode of classes, the mean of confidences.

Level 0 is the map; a pixel of level ``k`` covers ``2**k`` by ``2**k`` of its pixels, counted from the map's
north-west corner; at the south and east edges it covers as many as there are.

The mode of modes, level after level, is not the mode: of two equally frequent classes the lower code would gain
pixels at each level, and buildings (code 0) would spread. So a level is computed from the nearest of levels 0, 3, 6, …
below it: levels 1 to 3 are exact, a pixel of level 4 is the mode of 2 by 2 pixels of level 3, one of level 5 of 4 by 4,
one of level 6 of 8 by 8, and so on.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import count

import numpy as np
from numpy.typing import NDArray

from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.legend import NODATA

LEVELS_A_STEP = 3
"""Levels computed from one base: up to 8 by 8 = 64 pixels each."""

Layers = tuple[NDArray[np.uint8], ...]
"""One layer of a map at several levels, each ``(y, x)``, the finest first."""


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


def steps(levels: int) -> list[range]:
    """Levels 1 to ``levels`` in groups that are computed from one base, and from one read of it.

    >>> steps(5)
    [range(1, 4), range(4, 6)]
    """
    firsts = range(1, levels + 1, LEVELS_A_STEP)
    return [range(first, min(first + LEVELS_A_STEP, levels + 1)) for first in firsts]


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


def coarsen(array: str, values: NDArray[np.uint8], levels: int) -> Layers:
    """A layer of a map at the levels above it: `averages` of confidence, `modes` of all others.

    Parameters
    ----------
    array
        ``landcover``, ``confidence`` or ``date_fallback``.
    values, levels
        As of `modes`.
    """
    return averages(values, levels) if array == "confidence" else modes(values, levels)


def levels_of(array: str, values: NDArray[np.uint8], levels: int) -> list[NDArray[np.uint8]]:
    """A layer of a map from its level 0 on, whatever the number of levels above it.

    Parameters
    ----------
    array, values
        As of `coarsen`.
    levels
        0 or more.
    """
    found = [values]
    for step in steps(levels):
        found += coarsen(array, found[step[0] - 1], len(step))
    return found


def modes(classes: NDArray[np.uint8], levels: int) -> Layers:
    """The most frequent class of each square of 2, 4 and 8 pixels a side, all counted in one visit.

    Parameters
    ----------
    classes
        uint8 ``(y, x)``, 255 = nodata.
    levels
        How many of them, 1 to 3.

    Returns
    -------
    tuple of ndarray
        uint8 ``(ceil(y / factor), ceil(x / factor))``. Ties go to the lowest code; 255 only where all are nodata.

    >>> modes(np.array([[7, 3, 255], [3, 7, 255], [255, 9, 4]], dtype=np.uint8), 2)
    (array([[  3, 255],
           [  9,   4]], dtype=uint8), array([[3]], dtype=uint8))
    """
    from landweave.core.compiled import cell_modes

    return _layers(cell_modes, classes, levels)


def averages(values: NDArray[np.uint8], levels: int) -> Layers:
    """The mean of the valid pixels of each square of 2, 4 and 8 pixels a side.

    Parameters
    ----------
    values, levels
        As of `modes`.

    Returns
    -------
    tuple of ndarray
        As of `modes`, rounded to the nearest (halves up); 255 where all are nodata.

    >>> averages(np.array([[10, 13, 255], [255, 255, 255]], dtype=np.uint8), 1)
    (array([[ 12, 255]], dtype=uint8),)
    """
    from landweave.core.compiled import cell_averages

    return _layers(cell_averages, values, levels)


def _layers(fill: Callable[..., None], values: NDArray[np.uint8], levels: int) -> Layers:
    """What ``fill`` gives of whole squares of 8 pixels; nodata beyond the values counts nowhere."""
    missing = [(0, -size % 8) for size in values.shape]
    padded = np.pad(values, missing, constant_values=NODATA) if any(after for _, after in missing) else values
    layers = [np.empty([size // factor for size in padded.shape], np.uint8) for factor in (2, 4, 8)]
    fill(np.ascontiguousarray(padded), *layers)
    sizes = [[-(-size // factor) for size in values.shape] for factor in (2, 4, 8)]
    return tuple(layer[:height, :width] for layer, (height, width) in zip(layers[:levels], sizes, strict=False))
