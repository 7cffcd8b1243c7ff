"""Tiles that lie on the same ground, and the dates that their names and tags carry: which one a pixel comes from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pyproj
import shapely
from numpy.typing import NDArray

from landweave.core.errors import InputError

SEAM = 0.2
"""Of the smaller tile: tiles of one coverage share an edge strip, a tenth of their ground at most."""

COARSER = 2
"""Times the pixel of a tile below: an overview sheet, not another camera."""

HIDES_NEWER = "OLDER TILES HIDE NEWER ONES"

_YEAR = r"(19[3-9]\d|20[0-3]\d)"
_DAY = re.compile(rf"(?<!\d){_YEAR}([-_]?)(0[1-9]|1[0-2])\2(0[1-9]|[12]\d|3[01])(?!\d)")
_BARE_YEAR = re.compile(rf"(?<!\d){_YEAR}(?!\d)")
_TAG = re.compile(rf"{_YEAR}[:-](\d\d)[:-](\d\d)")


@dataclass(frozen=True, kw_only=True)
class TileDate:
    """``YYYYMMDD`` or ``YYYY``, and where it stands; both empty where there is none."""

    value: str = ""
    origin: str = ""

    def is_newer(self, other: TileDate) -> bool:
        """Whether it is later, as far as both are known."""
        known = min(len(self.value), len(other.value))
        return self.value[:known] > other.value[:known]


def date_of(tile_id: str, tag: str) -> TileDate:
    """The date of a tile: of its file name, else of a folder's, else of its tag.

    Parameters
    ----------
    tile_id
        Its path.
    tag
        Its TIFFTAG_DATETIME, which is often the day of processing.

    >>> date_of("ortho/34-2021-0712-6275-LA93.jp2", "").value
    '2021'
    >>> date_of("naip/m_4609915_ne_14_1_20100704.tif", "2011:02:03 10:00:00").value
    '20100704'
    """
    for part in reversed(tile_id.split("/")):
        if found := _DAY.search(part):
            return TileDate(value=found[1] + found[3] + found[4], origin="names")
        if found := _BARE_YEAR.search(part):
            return TileDate(value=found[1], origin="names")
    found = _TAG.match(tag)
    return TileDate(value="".join(found.groups()), origin="TIFFTAG_DATETIME") if found else TileDate()


@dataclass(frozen=True, kw_only=True)
class Coverage:
    """Tiles in reading order, the first on top.

    Attributes
    ----------
    ids, dates
        Of each tile.
    corners
        float64 ``(tile, corner, xy)``: NW, NE, SW, SE.
    crs
        Of each tile.
    pixels
        Side of a pixel of each, in units of its CRS.
    """

    ids: Sequence[str]
    dates: Sequence[TileDate]
    corners: NDArray[np.float64]
    crs: NDArray[np.str_]
    pixels: NDArray[np.float64]

    def overlaps(self) -> NDArray[np.int64]:
        """Pairs ``(pair, 2)`` of tiles that share more than `SEAM`: the upper, the lower; in reading order."""
        grounds = shapely.polygons(self._common_corners()[:, [0, 1, 3, 2]])
        areas = shapely.area(grounds)
        x0, y0, x1, y1 = shapely.bounds(grounds).T
        upper, lower = shapely.STRtree(grounds).query(grounds)
        once = upper < lower
        upper, lower = upper[once], lower[once]
        smaller = np.minimum(areas[upper], areas[lower])
        width = np.minimum(x1[upper], x1[lower]) - np.maximum(x0[upper], x0[lower])
        height = np.minimum(y1[upper], y1[lower]) - np.maximum(y0[upper], y0[lower])
        near = width * height > SEAM * smaller  # of bounds: cheap, and exact but for turned tiles
        upper, lower, smaller = upper[near], lower[near], smaller[near]
        shared = shapely.area(shapely.intersection(grounds[upper], grounds[lower])) > SEAM * smaller
        pairs = np.stack([upper[shared], lower[shared]], axis=-1)
        return pairs[np.lexsort((pairs[:, 1], pairs[:, 0]))]

    def notes(self, order: str) -> Iterator[str]:
        """What a person should know of tiles that lie on others.

        Parameters
        ----------
        order
            The setting that the reading order comes from.

        Raises
        ------
        InputError
            When a much coarser tile would hide a finer one, and nobody listed them so.
        """
        sizes = Counter(f"{size:.3g}" for size in self.pixels.tolist())
        if self.pixels.max() > 1.05 * self.pixels.min():
            yield "tiles have pixels of " + ", ".join(f"{size} ({count} tiles)" for size, count in sizes.items())
        pairs = self.overlaps()
        if not pairs.size:
            return
        if order == "name":
            self._refuse_coarse(pairs)
        first, count = pairs[0].tolist(), len(np.unique(pairs[:, 1]))
        yield (
            f"{count:,} of {len(self.ids):,} tiles lie under others by more than {SEAM:.0%}: a pixel is taken from the "
            f"first by order: {order}, as {self._named(first[0])} before {self._named(first[1])}"
        )
        hidden = [pair for pair in pairs.tolist() if self.dates[pair[1]].is_newer(self.dates[pair[0]])]
        if hidden:
            above, below = hidden[0]
            yield (
                f"{HIDES_NEWER}: {len({pair[1] for pair in hidden}):,} tiles lie under older ones, as "
                f"{self._named(below)} under {self._named(above)}. Set order: newest, or name the files of one date"
            )

    def _refuse_coarse(self, pairs: NDArray[np.int64]) -> None:
        coarse = pairs[self.pixels[pairs[:, 0]] >= COARSER * self.pixels[pairs[:, 1]]]
        if coarse.size:
            above, below = coarse[0].tolist()
            raise InputError(
                f"{len(np.unique(coarse[:, 1])):,} tiles would be hidden by coarser ones, which come first by name: "
                f"{self.ids[above]} with pixels of {self.pixels[above]:g} above {self.ids[below]} with "
                f"{self.pixels[below]:g}. Leave the coarser ones out, or list the files and set order: listed."
            )

    def _named(self, place: int) -> str:
        date = self.dates[place].value
        return f"{self.ids[place]}{f' of {date}' if date else ''}"

    def _common_corners(self) -> NDArray[np.float64]:
        """Corners in the CRS of the first tile."""
        corners = self.corners.copy()
        for crs in set(self.crs.tolist()) - {self.crs[0]}:
            members = self.crs == crs
            transformer = pyproj.Transformer.from_crs(crs, str(self.crs[0]), always_xy=True)
            corners[members] = np.stack(transformer.transform(*np.moveaxis(corners[members], -1, 0)), axis=-1)
        return corners


def sources_of(dates: Sequence[TileDate]) -> str:
    """First and last date, and where they stand, in words."""
    values, origins = sorted(date.value for date in dates), Counter(date.origin for date in dates)
    return f"{values[-1]} to {values[0]}, from {' and '.join(f'{name} ({count})' for name, count in origins.items())}"
