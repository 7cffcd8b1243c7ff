"""Which windows of a map are needed, by its area and its imagery."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from landweave.core.blending import Blending
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.needed_windows import NeededWindows
from landweave.core.protocols import Area

MOST_LOOKED_AT = 2**25
"""Windows that are held against an outline, 2,200 km of 0.2 m pixels a side; of a larger frame all count as needed."""


def needed_windows(blending: Blending, grid: Grid, extent: Extent, areas: Sequence[Area | None]) -> NeededWindows:
    """The windows whose support touches every area; reads no pixels.

    By rectangle, not by pixel: a window whose support an outline enters without reaching a pixel's centre is counted,
    and not run.

    Parameters
    ----------
    blending
        Lattice and profile of the windows.
    grid
        Base pixels.
    extent
        Base pixels that may be wanted.
    areas
        What limits them; None for no limit.
    """
    windows = NeededWindows(lattice=blending.lattice, support=blending.support, extent=extent)
    limits = [area for area in areas if area is not None]
    if not limits or len(windows.starts[0]) * len(windows.starts[1]) > MOST_LOOKED_AT:
        return windows
    needed = np.logical_and.reduce([area.touched(grid, *windows.supports) for area in limits])
    return replace(windows, needed=needed)
