"""Which pixels are inside polygons: those whose centre is, by the even-odd rule along each row.

A centre is inside when the outline crosses its row an odd number of times at or before it. A crossing is computed from
the edge and the row alone: a pixel has one value whatever extent is looked at, and of two polygons that share a border
each pixel on it belongs to exactly one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, kw_only=True)
class Edges:
    """Edges of polygons that are not horizontal: float64 ``(edge, 2)`` of x and y of the ends.

    Attributes
    ----------
    lower, upper
        The end further south, and the one further north.
    owner
        Polygon of each edge, ascending.
    """

    lower: Floats
    upper: Floats
    owner: Integers

    @classmethod
    def of(cls, polygons: NDArray[Any]) -> Edges:
        """The edges of polygons or multipolygons ``(polygon,)``; an owner is a place among them."""
        parts, owner = shapely.get_parts(polygons, return_index=True)
        rings, part = shapely.get_rings(parts, return_index=True)
        points, ring = shapely.get_coordinates(rings, return_index=True)
        starts, stops = points[:-1], points[1:]
        sloped = (ring[:-1] == ring[1:]) & (starts[:, 1] != stops[:, 1])
        starts, stops = starts[sloped], stops[sloped]
        rising = (starts[:, 1] < stops[:, 1])[:, None]
        return cls(
            lower=np.where(rising, starts, stops),
            upper=np.where(rising, stops, starts),
            owner=owner[part[ring[:-1][sloped]]],
        )

    def of_owners(self, owners: Integers) -> Edges:
        """The edges of some polygons, ascending."""
        begins, ends = (np.searchsorted(self.owner, owners, side=side) for side in ("left", "right"))
        chosen = ranges(begins, ends - begins)
        return Edges(lower=self.lower[chosen], upper=self.upper[chosen], owner=self.owner[chosen])

    def crossings(self, x: Floats, y: Floats) -> tuple[Integers, Integers, Integers]:
        """Where edges cross rows of pixels: owner, row, and the first column whose centre is not before the crossing.

        Edges beyond the rows cost one comparison.

        Parameters
        ----------
        x, y
            Pixel centres, x ascending and y descending.
        """
        if not len(y):
            none = np.zeros(0, np.int64)
            return none, none, none
        reached = (self.lower[:, 1] <= y[0]) & (self.upper[:, 1] > y[-1])
        lower, upper, owner = self.lower[reached], self.upper[reached], self.owner[reached]
        north = np.searchsorted(-y, -upper[:, 1], side="right")  # an edge takes its lower end and leaves its upper one
        south = np.searchsorted(-y, -lower[:, 1], side="right")
        edge, row = np.repeat(np.arange(len(lower)), south - north), ranges(north, south - north)
        share = (y[row] - lower[edge, 1]) / (upper[edge, 1] - lower[edge, 1])
        crossing = lower[edge, 0] + share * (upper[edge, 0] - lower[edge, 0])
        return owner[edge], row, np.searchsorted(x, crossing, side="left")

    def spans(self, x: Floats, y: Floats) -> tuple[Integers, Integers, Integers, Integers]:
        """The pixels inside each polygon, as spans of rows: owner, row, first column, column after the last.

        Parameters
        ----------
        x, y
            As of `crossings`.
        """
        owner, row, column = self.crossings(x, y)
        # A row crosses closed outlines an even number of times: sorted, they are entries and exits in turn.
        key = np.sort((owner * y.size + row) * (x.size + 1) + column)
        entry, leave = key[::2], key[1::2]
        kept = entry < leave
        line, start = np.divmod(entry[kept], x.size + 1)
        return *np.divmod(line, y.size), start, leave[kept] % (x.size + 1)


def ranges(starts: Integers, counts: Integers) -> Integers:
    """``counts[i]`` numbers from ``starts[i]`` on, one after the other.

    Parameters
    ----------
    starts, counts
        Of each range.
    """
    return np.arange(counts.sum()) + np.repeat(starts - (counts.cumsum() - counts), counts)
