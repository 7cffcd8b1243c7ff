"""The majority filter: each pixel takes the most frequent class around it."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landweave.core.legend import NODATA

LARGEST = 15
"""Pixels a side of the largest square: they are counted in uint8."""


def majority(classes: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The most frequent class of the ``size`` by ``size`` pixels around each pixel.

    Parameters
    ----------
    classes
        uint8 ``(y, x)``, 255 = nodata, which is not counted; a nodata pixel stays one.
    size
        Odd number of pixels from 3 to `LARGEST`.

    Returns
    -------
    ndarray
        uint8 of the same shape. Of equally frequent classes the pixel's own wins, then the lowest code. Pixels nearer
        to the edge than ``size // 2`` count what there is.

    >>> majority(np.array([[1, 1, 1], [1, 7, 7], [255, 7, 7]], dtype=np.uint8), 3)
    array([[  1,   1,   1],
           [  1,   7,   7],
           [255,   7,   7]], dtype=uint8)
    """
    counts = {int(code): _box_sum(classes == code, size) for code in np.unique(classes) if code != NODATA}
    best = np.zeros(classes.shape, np.uint8)
    for code, count in counts.items():
        np.copyto(best, count, where=classes == code)
    result = classes.copy()
    for code, count in counts.items():
        better = count > best
        np.copyto(result, code, where=better)
        np.maximum(best, count, out=best)
    result[classes == NODATA] = NODATA
    return result


def _box_sum(mask: NDArray[np.bool_], size: int) -> NDArray[np.uint8]:
    """How many pixels of the square around each are True: sums of shifted rows, then of shifted columns."""
    half = size // 2
    height, width = mask.shape
    padded = np.pad(mask.view(np.uint8), half)
    rows = padded[:height].copy()
    for offset in range(1, size):
        rows += padded[offset : offset + height]
    total = rows[:, :width].copy()
    for offset in range(1, size):
        total += rows[:, offset : offset + width]
    return total
