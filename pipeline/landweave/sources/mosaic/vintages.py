"""Tiles that lie on the same ground, and the dates that their names and tags carry: which one a pixel comes from."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

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

_GEOD = pyproj.Geod(ellps="WGS84")
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

    def differs(self, other: TileDate) -> bool:
        """Whether one is later than the other, as far as both are known."""
        return self.is_newer(other) or other.is_newer(self)


def dates_of(tile_ids: Sequence[str], tags: Sequence[str]) -> list[TileDate]:
    """The date of each tile: of its file name, else of a folder's, else of its tag.

    A number that the names of all tiles share tells none from another: it is a date where some tile has no other.

    Parameters
    ----------
    tile_ids
        Their paths.
    tags
        Their TIFFTAG_DATETIME, which is often the day of processing.

    >>> [date.value for date in dates_of(["naip_2010/m_ne_14_20100704.tif"], ["2011:02:03 10:00:00"])]
    ['20100704']
    >>> [date.value for date in dates_of(["2024/su2012_2018.tif", "2024/su2012_2021.tif"], ["", ""])]
    ['2018', '2021']
    """
    named = [[TileDate(value=value, origin="names") for value in _values_in(each)] for each in tile_ids]
    shared = set.intersection(*map(set, named)) if len(named) > 1 else set()
    tagged = [_tag_dates(tag) for tag in tags]
    telling = [
        [*(date for date in dates if date not in shared), *tag] for dates, tag in zip(named, tagged, strict=True)
    ]
    found = telling if all(telling) else [[*dates, *tag] for dates, tag in zip(named, tagged, strict=True)]
    return [dates[0] if dates else TileDate() for dates in found]


def _values_in(path: str) -> Iterator[str]:
    """Days and years of a path, the file's name first."""
    for part in reversed(path.split("/")):
        days = [found[1] + found[3] + found[4] for found in _DAY.finditer(part)]
        yield from filter(_is_past, [*days, *_BARE_YEAR.findall(part)])


def _tag_dates(tag: str) -> list[TileDate]:
    found = _TAG.match(tag)
    value = "".join(found.groups()) if found else ""
    return [TileDate(value=value, origin="TIFFTAG_DATETIME")] if found and _is_past(value) else []


def _is_past(value: str) -> bool:
    return int(value[:4]) <= datetime.now(UTC).year + 1  # a campaign may be named for the season to come


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
        Side of a pixel of each, in units of its CRS: the mean of width and height.
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
            When a much coarser tile would hide a finer one, and nobody listed them so; when the newest is asked for,
            and dates do not tell which it is.
        """
        sizes = Counter(f"{size:.3g}{self._unit}" for size in self._ground_pixels.tolist())
        if self._ground_pixels.max() > 1.05 * self._ground_pixels.min():
            yield "tiles have pixels of " + ", ".join(f"{size} ({count} tiles)" for size, count in sizes.items())
        pairs = self.overlaps()
        if not pairs.size:
            return
        if order == "name":
            self._refuse_coarse(pairs)
        untold = [pair for pair in pairs.tolist() if not self.dates[pair[0]].differs(self.dates[pair[1]])]
        alike = " and ".join(map(self._named, untold[0])) if untold else ""
        if untold and order == "newest":
            raise InputError(
                f"{len(untold):,} pairs of tiles share ground, and their dates do not tell which is newer, as {alike}: "
                "list the files in order, and set order: listed."
            )
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
        if untold and order == "name" and len({date.value for date in self.dates} - {""}) > 1:
            yield f"dates do not tell which is newer of {len(untold):,} pairs, as {alike}"

    def _refuse_coarse(self, pairs: NDArray[np.int64]) -> None:
        pixels = self._ground_pixels
        coarse = pairs[pixels[pairs[:, 0]] >= COARSER * pixels[pairs[:, 1]]]
        if coarse.size:
            above, below = coarse[0].tolist()
            raise InputError(
                f"{len(np.unique(coarse[:, 1])):,} tiles would be hidden by coarser ones, which come first by name: "
                f"{self.ids[above]} with pixels of {pixels[above]:g}{self._unit} above {self.ids[below]} with "
                f"{pixels[below]:g}{self._unit}. Leave the coarser ones out, or list the files and set order: listed."
            )

    def _named(self, place: int) -> str:
        date = self.dates[place].value
        return f"{self.ids[place]}{f' of {date}' if date else ''}"

    @property
    def _unit(self) -> str:
        """Of `_ground_pixels`: tiles of one CRS are compared in its own."""
        return " m" if len(set(self.crs.tolist())) > 1 else ""

    @cached_property
    def _ground_pixels(self) -> NDArray[np.float64]:
        """Side of a pixel of each; in metres on the ground where CRSs may have several units."""
        if not self._unit:
            return self.pixels
        degrees = self._corners_in("EPSG:4326")
        sides = [(degrees[:, 0], degrees[:, end]) for end in (1, 2)]
        ground = [_GEOD.inv(*start.T, *end.T)[2] for start, end in sides]
        own = [np.hypot(*(self.corners[:, 0] - self.corners[:, end]).T) for end in (1, 2)]
        scale: NDArray[np.float64] = np.sqrt(np.prod(ground, axis=0) / np.prod(own, axis=0))
        return self.pixels * scale

    def _common_corners(self) -> NDArray[np.float64]:
        """Corners in the CRS of the first tile."""
        return self._corners_in(str(self.crs[0]))

    def _corners_in(self, common: str) -> NDArray[np.float64]:
        corners = self.corners.copy()
        for crs in set(self.crs.tolist()) - {common}:
            members = self.crs == crs
            transformer = pyproj.Transformer.from_crs(crs, common, always_xy=True)
            corners[members] = np.stack(transformer.transform(*np.moveaxis(corners[members], -1, 0)), axis=-1)
        return corners


def sources_of(dates: Sequence[TileDate]) -> str:
    """First and last date, and where they stand, in words."""
    values, origins = sorted(date.value for date in dates), Counter(date.origin for date in dates)
    return f"{values[-1]} to {values[0]}, from {' and '.join(f'{name} ({count})' for name, count in origins.items())}"
