"""Border noise of Sentinel-1: numbers along the edge of a swath that look like measurements and are none.

Older products end in a fringe of very small numbers between the swath and the void around it. A pixel belongs to it
when its power is under `FLOOR`, far below the noise of the instrument, and the void is near. The void is where nothing
is measured for `SOLID` pixels around: still water whose noise was subtracted until nothing was left has holes too, but
small ones, and stays. Everything rests on the pixels within `REACH_PX`, so that a pixel is judged alike whatever is
read with it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

FLOOR = 1e-4
"""Linear power (-40 dB); the instrument's own noise lies from -22 to -30 dB."""

SOLID = 2
"""Pixels on every side of one in the void that are without measurement too."""

NEAR = 32
"""Pixels, on either axis, within which the void is near."""

REACH_PX = NEAR + SOLID
"""Pixels around one that decide whether it is noise."""

Mask = NDArray[np.bool_]


def border_noise(power: NDArray[Any], measured: Mask) -> Mask:
    """Bool ``(y, x)``, True on border noise.

    Parameters
    ----------
    power
        Linear power ``(y, x)``; nothing is known of the ground beyond the array.
    measured
        bool ``(y, x)``; False where there is no positive number.
    """
    low = measured & (power < FLOOR)
    if not low.any() or measured.all():
        return np.zeros(power.shape, np.bool_)
    from scipy import ndimage

    # A void that goes on beyond the edge of the file is not less solid for it: unknown ground does not count.
    void = ndimage.minimum_filter(~measured, size=2 * SOLID + 1, mode="constant", cval=1)
    near = ndimage.maximum_filter(void, size=2 * NEAR + 1, mode="constant", cval=0)
    return np.asarray(low & near)
