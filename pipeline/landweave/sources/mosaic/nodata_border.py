"""Nodata borders: black pixels between a tile's edge and its first pixel that is not black.

A pixel belongs to the border when all pixels from the tile's edge to it, along its row or its column, are dark, and
there are at least `SHORTEST` of them. So a border is four profiles, one run length a row or column and side::

    #######.......     rows 0-1: west runs of 7 and 4      a dark roof inside the tile is not part of it,
    ####..........     column 0: a north run of 3          nor a shadow at the edge that is shorter than
    #......##.....                                         SHORTEST

The profiles belong to the tile, whatever extent is read, and are found in one pass over it, once a process. Tiles whose
edges are bright, nearly all of them, are known from their outermost pixels.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave.core.lattice import Extent

SHORTEST = 8
"""Dark pixels in a row that make a border; fewer are a shadow at the tile's edge."""

_ROWS = 256
"""Rows looked at together, rounded up to whole blocks of the file."""

Dark = Callable[[Extent], NDArray[np.bool_]]
"""Which pixels of a part of the tile are dark; bool ``(y, x)``, True for dark."""


@dataclass(frozen=True, kw_only=True)
class NodataBorder:
    """Dark runs from the four edges of a tile, in pixels.

    Attributes
    ----------
    west, east
        int32 ``(height,)``: for each row, the run from its west (east) end.
    north, south
        int32 ``(width,)``: for each column, the run from its north (south) end.
    """

    west: NDArray[np.int32]
    east: NDArray[np.int32]
    north: NDArray[np.int32]
    south: NDArray[np.int32]

    def mask(self, window: Extent) -> NDArray[np.bool_]:
        """Bool ``(y, x)`` over ``window`` in the tile's pixels; True inside the border."""
        height, width = len(self.west), len(self.north)
        y, x = np.arange(window.y.start, window.y.stop), np.arange(window.x.start, window.x.stop)
        rows, columns = slice(window.y.start, window.y.stop), slice(window.x.start, window.x.stop)
        inside: NDArray[np.bool_] = x < self.west[rows, None]
        inside |= x >= width - self.east[rows, None]
        inside |= y[:, None] < self.north[columns]
        inside |= y[:, None] >= height - self.south[columns]
        return inside


def unite(borders: Sequence[NodataBorder]) -> NodataBorder | None:
    """The border of a tile whose files have ``borders``; None without any."""
    if not borders:
        return None
    sides = ("west", "east", "north", "south")
    return NodataBorder(**{side: np.maximum.reduce([getattr(border, side) for border in borders]) for side in sides})


def find_nodata_border(dark: Dark, shape: tuple[int, int], block_height: int) -> NodataBorder | None:
    """The nodata border of a tile; None where no edge is dark.

    Parameters
    ----------
    dark
        Called for strips along the edges, and for the whole tile by bands of rows if one of them is dark.
    shape
        ``(height, width)`` of the tile.
    block_height
        Rows the file decodes at once; bands of rows are whole blocks.
    """
    height, width = shape
    if not _has_dark_edge(dark, height, width):
        return None
    west, east = np.zeros(height, np.int32), np.zeros(height, np.int32)
    north, last_bright = np.zeros(width, np.int32), np.full(width, -1, np.int32)
    step = -(-_ROWS // block_height) * block_height
    for top in range(0, height, step):
        part = dark(Extent.of((top, min(top + step, height)), (0, width)))
        rows = slice(top, top + len(part))
        west[rows], east[rows] = _runs(part), _runs(part[:, ::-1])
        north = np.where(north == top, north + _runs(part.T), north).astype(np.int32)
        from_below = _runs(part[::-1].T)
        last_bright = np.where(from_below < len(part), top + len(part) - 1 - from_below, last_bright)
    south = (height - 1 - last_bright).astype(np.int32)
    for runs in (west, east, north, south):
        runs[runs < SHORTEST] = 0
    return NodataBorder(west=west, east=east, north=north, south=south)


def _has_dark_edge(dark: Dark, height: int, width: int) -> bool:
    deep_y, deep_x = min(SHORTEST, height), min(SHORTEST, width)
    edges = (
        (Extent.of((0, deep_y), (0, width)), 0),
        (Extent.of((height - deep_y, height), (0, width)), 0),
        (Extent.of((0, height), (0, deep_x)), 1),
        (Extent.of((0, height), (width - deep_x, width)), 1),
    )
    return any(bool(dark(extent).all(axis=axis).any()) for extent, axis in edges)


def _runs(dark: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Length of the run of True at the start of each row of bool ``(row, position)``."""
    runs: NDArray[np.int32] = np.argmin(dark, axis=1).astype(np.int32)
    runs[dark.all(axis=1)] = dark.shape[1]
    return runs
