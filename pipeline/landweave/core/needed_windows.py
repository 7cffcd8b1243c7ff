"""The windows that an area needs: those whose support, the pixels of positive weight, touches a wanted pixel.

::

    area       ....####....
    block   |......####|....   blocks that lie on the area's border have windows that no wanted pixel needs:
    windows [  s  ]            not needed, its support (s) ends before the area
               [  s  ]         needed

Counted by sums over the lattice: the windows of any block are four look-ups.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from landweave.core.blending import Blending
from landweave.core.grid import Grid
from landweave.core.lattice import Extent, Lattice, Span
from landweave.core.protocols import Area

Counts = NDArray[np.int64]

MOST_LOOKED_AT = 2**25
"""Windows that are held against an outline, 2,200 km of 0.2 m pixels a side; of a larger frame all count as needed."""


@dataclass(frozen=True, kw_only=True)
class NeededWindows:
    """The windows of a lattice that an area needs.

    Attributes
    ----------
    lattice
        The windows.
    support
        Pixels of a window, along one axis, with a positive weight.
    extent
        Pixels that may be wanted: windows whose support does not meet it are not needed.
    needed
        Which of the others are needed, bool ``(row, column)`` of the lattice; None for all.
    """

    lattice: Lattice
    support: Span
    extent: Extent
    needed: NDArray[np.bool_] | None = None

    @property
    def starts(self) -> tuple[range, range]:
        """First rows and first columns of the windows that may be needed."""
        y, x = (self.lattice.starts(span, self.support) for span in (self.extent.y, self.extent.x))
        return y, x

    @property
    def supports(self) -> tuple[list[Span], list[Span]]:
        """Pixels with a positive weight of these windows inside `extent`, down and across."""
        y, x = (
            [Span(start, start + self.lattice.window).part(self.support).intersect(span) for start in starts]
            for starts, span in zip(self.starts, (self.extent.y, self.extent.x), strict=True)
        )
        return y, x

    def counts(
        self, rows: Sequence[Span], columns: Sequence[Span], within: tuple[range, range] | None = None
    ) -> Counts:
        """Number of needed windows of each block, int64 ``(row, column)``.

        Parameters
        ----------
        rows, columns
            Pixels of rows and of columns of blocks.
        within
            Rows and columns of the lattice, counted from the first of `starts`, that count; all by default.
        """
        limits = within or (range(len(self.starts[0])), range(len(self.starts[1])))
        top, bottom = self._ranges([row.intersect(self.extent.y) for row in rows], self.starts[0], limits[0])
        left, right = self._ranges([column.intersect(self.extent.x) for column in columns], self.starts[1], limits[1])
        if self.needed is None:
            return np.asarray(np.multiply.outer(bottom - top, right - left), np.int64)
        upper, lower = self._sums[top], self._sums[bottom]
        return np.asarray(lower[:, right] - upper[:, right] - lower[:, left] + upper[:, left], np.int64)

    def of(self, extent: Extent) -> list[Extent]:
        """The needed windows of one block, in lattice order."""
        tops, lefts = self.starts
        windows = list(self.lattice.windows(extent.intersect(self.extent), self.support))
        if self.needed is None:
            return windows
        return [each for each in windows if self.needed[tops.index(each.y.start), lefts.index(each.x.start)]]

    def _ranges(self, spans: Sequence[Span], starts: range, limits: range) -> tuple[Counts, Counts]:
        """First and last (exclusive) window of each span, as indices of ``starts`` within ``limits``."""
        begins, ends = (
            np.array(edges, np.int64) for edges in zip(*((span.start, span.stop) for span in spans), strict=True)
        )
        # As `Lattice.starts`, for all spans at once.
        first = -((self.support.stop - 1 - begins) // self.lattice.stride)
        last = np.where(ends > begins, (ends - 1 - self.support.start) // self.lattice.stride + 1, first)
        before = starts.start // self.lattice.stride
        first, last = (np.clip(each - before, limits.start, limits.stop) for each in (first, last))
        return first, np.maximum(last, first)

    @cached_property
    def _sums(self) -> NDArray[np.int32]:
        """Needed windows before each row and column of the lattice, int32 ``(row + 1, column + 1)``."""
        assert self.needed is not None
        sums = np.zeros(tuple(size + 1 for size in self.needed.shape), np.int32)
        np.cumsum(np.cumsum(self.needed, 0, dtype=np.int32), 1, out=sums[1:, 1:])
        return sums


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
