"""Dalles: squares of whole kilometres (or metres) counted from the origin of the CRS, as IGN delivers its products.

::

      X = 770 km          771 km
        |-------------------|------ Y = 6278 km         the dalle is named by its upper-left corner: 0770_6278
        |o o o o o o o o o o|o o                        a pixel is of the dalle that contains its centre, so dalles
        |o o o o o o o o o o|o o                        tile any map exactly once, whatever its pixels
        |-------------------|------ Y = 6277 km

Overviews count from the dalle's corner. Where pixels of an overview cannot end at the dalle's edge (a dalle of 5000
pixels has no 313 of 16) those at the south and east edges are of all their pixels, the next dalle's included.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from math import ceil

from landweave.core.errors import ConfigError
from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex, Extent, Span
from landweave.core.pyramid import depth

KILOMETRE = 1000

TILE = 512
"""Pixels a side of the tiles of a file; a file that has more gets overviews."""

SMALLEST_OVERVIEW = 2 * TILE
"""Pixels a side at most of the coarsest overview: 625 of the 5000 pixels of a dalle of 1 km."""


@dataclass(frozen=True, kw_only=True)
class DalleGrid:
    """The dalles that a map touches, from the north-west corner, as blocks of a job.

    Attributes
    ----------
    grid
        Pixels of the map.
    mapped
        Those of them inside the bounds of the area: no file is larger.
    size_m
        Side of a dalle in metres.
    name
        Of a dalle: ``{x}`` and ``{y}`` are its upper-left corner, in kilometres of four digits where the side is whole
        kilometres, otherwise in metres of seven digits.

    Raises
    ------
    ConfigError
        When a dalle would be smaller than a pixel, or the name would not tell dalles apart.
    """

    grid: Grid
    mapped: Extent
    size_m: int
    name: str = "{x}_{y}"

    def __post_init__(self) -> None:
        if self.size_m < self.grid.resolution:
            raise ConfigError(
                f"A dalle of {self.size_m} m is smaller than a pixel of {float(self.grid.resolution):g} m: make "
                "publish.dalle_m larger."
            )
        check_name(self.name)

    @cached_property
    def dalles(self) -> Grid:
        """A pixel for each dalle."""
        (x0, y1), (x1, y0) = (
            self.grid.corner(self.mapped.y.start, self.mapped.x.start),
            self.grid.corner(self.mapped.y.stop, self.mapped.x.stop),
        )
        return Grid.from_bounds((x0, y0, x1, y1), crs=self.grid.crs, resolution=self.size_m)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of dalles ``(down, across)``."""
        return self.dalles.shape

    def __iter__(self) -> Iterator[BlockIndex]:
        down, across = self.shape
        return ((row, column) for row in range(down) for column in range(across))

    def corner(self, index: BlockIndex) -> tuple[Fraction, Fraction]:
        """Upper-left corner ``(x, y)`` of a dalle in metres."""
        return self.dalles.corner(self.dalles.extent.y.start + index[0], self.dalles.extent.x.start + index[1])

    def name_of(self, index: BlockIndex) -> str:
        """The name of a dalle, without layer and ending.

        >>> from landweave.core.lattice import Extent
        >>> grid = Grid.from_bounds((770000, 6277000, 771000, 6278000), crs="EPSG:2154", resolution=10)
        >>> DalleGrid(grid=grid, mapped=grid.extent, size_m=1000).name_of((0, 0))
        '0770_6278'
        """
        unit, digits = (KILOMETRE, 4) if self.size_m % KILOMETRE == 0 else (1, 7)
        x, y = (int(value) // unit for value in self.corner(index))
        return self.name.format(x=f"{x:0{digits}d}", y=f"{y:0{digits}d}")

    def whole(self, index: BlockIndex) -> Extent:
        """All pixels of a dalle, those that the map does not have too."""
        x, y = self.corner(index)
        side, (anchor_x, anchor_y) = self.size_m, self.grid.anchor_xy
        return Extent(self._pixels(anchor_y - y, side), self._pixels(x - anchor_x, side))

    def _pixels(self, start: Fraction, side: int) -> Span:
        """Pixels of one axis whose centre is in ``[start, start + side)`` metres from the anchor."""
        step, half = self.grid.resolution, Fraction(1, 2)
        return Span(ceil(start / step - half), ceil((start + side) / step - half))

    def extent(self, index: BlockIndex) -> Extent:
        """Pixels of the file of a dalle, none or those inside the mapped bounds, in whole pixels of its overviews."""
        whole = self.whole(index)
        cropped = whole.intersect(self.mapped)
        if not cropped.size:
            return cropped
        return Extent(self._snapped(cropped.y, whole.y), self._snapped(cropped.x, whole.x)).intersect(whole)

    def read_extent(self, index: BlockIndex) -> Extent:
        """Pixels of the file, and those beyond its south and east edges that its overviews have."""
        extent, whole = self.extent(index), self.whole(index)
        return Extent(self._snapped(extent.y, whole.y), self._snapped(extent.x, whole.x))

    def _snapped(self, part: Span, whole: Span) -> Span:
        """The smallest span around ``part`` of whole pixels of the coarsest overview, counted from the dalle's edge."""
        return part.grow(-whole.start, whole.start).snap(1 << self.levels).grow(whole.start, -whole.start)

    @property
    def levels(self) -> int:
        """Number of overviews of a file."""
        side = ceil(self.size_m / self.grid.resolution)
        return max(depth((side, side), SMALLEST_OVERVIEW), side > TILE)


def check_name(name: str) -> None:
    """Make sure that a name of dalles has ``{x}`` and ``{y}``, nothing else in braces, and is one file's name.

    Raises
    ------
    ConfigError
        When it has not.
    """
    try:
        formatted = {name.format(x=x, y=y) for x in "01" for y in "01"}
    except (LookupError, ValueError, AttributeError):
        formatted = set()
    if len(formatted) < 4 or any(set(each) & set('/\\:*?"<>|') for each in formatted):
        raise ConfigError(
            f"publish.name {name!r}: write {{x}} and {{y}}, for the upper-left corner, and what a file's name may have "
            "around them, as 34_2021_{x}_{y}."
        )
