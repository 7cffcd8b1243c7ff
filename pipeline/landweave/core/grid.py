"""Grids: a CRS, an exact resolution, and an integer extent of pixels counted from an anchor."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from math import ceil, floor

import numpy as np
from affine import Affine
from numpy.typing import NDArray
from odc.geo.geobox import GeoBox
from pyproj import Transformer

from landweave.core.crs import canonical_crs
from landweave.core.errors import ConfigError
from landweave.core.lattice import Blocks, Extent, Span

Number = int | float | str | Fraction

_WHOLE_FLOATS = 2**53
"""Below it every whole number is a float64."""

Bounds = tuple[float, float, float, float]
"""``(x0, y0, x1, y1)`` in the units of a CRS, or ``(west, south, east, north)`` in degrees."""


HECTARE_M2 = 10_000


def exact(value: Number) -> Fraction:
    """The rational number as it is written: ``0.2`` is 1/5, not the binary float nearest to it.

    >>> exact(0.2), exact("1/3"), exact(10.24)
    (Fraction(1, 5), Fraction(1, 3), Fraction(256, 25))
    """
    return Fraction(repr(value)) if isinstance(value, float) else Fraction(value)


@dataclass(frozen=True, kw_only=True)
class Grid:
    """Square pixels in a CRS: pixel ``(row, column)`` counts from the anchor, rows southwards.

    Attributes
    ----------
    crs
        ``EPSG:n`` or WKT; a projected CRS in metres.
    resolution
        Side of a pixel in CRS units, exact (0.2 m is ``Fraction(1, 5)``).
    extent
        Rows and columns covered. North of the anchor rows are negative.
    anchor_xy
        CRS coordinates of the north-west corner of pixel (0, 0): the CRS origin by default.

    Examples
    --------
    >>> grid = Grid.from_bounds((700000, 6600000, 700001, 6600000.4), crs="EPSG:2154", resolution=0.2)
    >>> grid.shape, grid.extent.x.start, grid.extent.y.start
    ((2, 5), 3500000, -33000002)
    >>> grid.x[:2].tolist()
    [700000.1, 700000.3]
    """

    crs: str
    resolution: Fraction
    extent: Extent
    anchor_xy: tuple[Fraction, Fraction] = (Fraction(0), Fraction(0))

    def __post_init__(self) -> None:
        if self.resolution <= 0:
            raise ConfigError(f"A resolution of {self.resolution} is not positive.")

    @classmethod
    def from_bounds(
        cls, bounds: Sequence[Number], *, crs: str, resolution: Number, anchor_xy: tuple[Number, Number] = (0, 0)
    ) -> Grid:
        """The smallest grid of whole pixels that covers some bounds.

        Parameters
        ----------
        bounds
            ``(x0, y0, x1, y1)`` in CRS units.
        crs
            Anything `landweave.core.crs.canonical_crs` reads.
        resolution
            Side of a pixel in CRS units.
        anchor_xy
            CRS coordinates of a pixel corner.

        Raises
        ------
        ConfigError
            When the bounds are empty or the CRS cannot be read.
        """
        step = exact(resolution)
        anchor_x, anchor_y = exact(anchor_xy[0]), exact(anchor_xy[1])
        x0, y0, x1, y1 = (exact(value) for value in bounds)
        if not (x0 < x1 and y0 < y1):
            raise ConfigError(f"Bounds {tuple(bounds)} are empty: write them as [x0, y0, x1, y1], x0 < x1, y0 < y1.")
        extent = Extent(
            Span(floor((anchor_y - y1) / step), ceil((anchor_y - y0) / step)),
            Span(floor((x0 - anchor_x) / step), ceil((x1 - anchor_x) / step)),
        )
        return cls(crs=canonical_crs(crs), resolution=step, extent=extent, anchor_xy=(anchor_x, anchor_y))

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        return self.extent.shape

    @property
    def transform(self) -> Affine:
        """Affine from (column, row) of the extent to CRS coordinates of pixel corners."""
        step, (x0, y1) = float(self.resolution), self.corner(self.extent.y.start, self.extent.x.start)
        return Affine(step, 0.0, float(x0), 0.0, -step, float(y1))

    @property
    def bounds(self) -> Bounds:
        """``(x0, y0, x1, y1)`` of the pixels' outer edges, in CRS units."""
        x0, y1 = self.corner(self.extent.y.start, self.extent.x.start)
        x1, y0 = self.corner(self.extent.y.stop, self.extent.x.stop)
        return float(x0), float(y0), float(x1), float(y1)

    @property
    def pixel_m2(self) -> Fraction:
        """Area of a pixel, exact."""
        return self.resolution**2

    @property
    def geobox(self) -> GeoBox:
        """The same pixels as an `odc.geo.geobox.GeoBox`, for projection work."""
        return GeoBox(self.shape, self.transform, self.crs)

    @property
    def lonlat_bounds(self) -> Bounds:
        """``(west, south, east, north)`` in degrees; west is east of east across the 180th meridian.

        Not finite where the grid leaves the ground that its CRS describes.
        """
        west, south, east, north = Transformer.from_crs(self.crs, "OGC:CRS84", always_xy=True).transform_bounds(
            *self.bounds
        )
        return west, south, east, north

    @property
    def x(self) -> NDArray[np.float64]:
        """Pixel-centre eastings, float64, ascending, each the float nearest to the exact value."""
        return self._positions(self.anchor_xy[0], self.resolution, self.extent.x, Fraction(1, 2))

    @property
    def y(self) -> NDArray[np.float64]:
        """Pixel-centre northings, float64, descending, each the float nearest to the exact value."""
        return self._positions(self.anchor_xy[1], -self.resolution, self.extent.y, Fraction(1, 2))

    @property
    def corners_x(self) -> NDArray[np.float64]:
        """Eastings of pixel corners, one more than columns, each the float nearest to the exact value."""
        return self._positions(self.anchor_xy[0], self.resolution, self.extent.x.grow(0, 1))

    @property
    def corners_y(self) -> NDArray[np.float64]:
        """Northings of pixel corners, one more than rows, each the float nearest to the exact value."""
        return self._positions(self.anchor_xy[1], -self.resolution, self.extent.y.grow(0, 1))

    def block_centres(self, blocks: Blocks) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Northings of the centres of rows of ``blocks``, and eastings of those of columns, float64."""
        halves = replace(self, resolution=self.resolution / 2)
        y = [float(halves.corner(row.start + row.stop, 0)[1]) for row in blocks.rows]
        x = [float(halves.corner(0, column.start + column.stop)[0]) for column in blocks.columns]
        return np.array(y), np.array(x)

    def with_extent(self, extent: Extent) -> Grid:
        """The grid with the same CRS, resolution and anchor over another extent."""
        return replace(self, extent=extent)

    def coarsen(self, factor: int) -> Grid:
        """The grid of ``factor`` times larger pixels from the same anchor, extended outwards to whole ones."""
        return replace(self, resolution=self.resolution * factor, extent=self.extent.coarsen(factor))

    def refine(self, factor: int) -> Grid:
        """The grid of ``factor`` times smaller pixels over the same extent."""
        return replace(self, resolution=self.resolution / factor, extent=self.extent.refine(factor))

    def covering(self, bounds: Sequence[Number]) -> Extent:
        """The smallest extent of pixels of this grid (beyond its own extent too) that covers ``bounds`` in its CRS."""
        return Grid.from_bounds(bounds, crs=self.crs, resolution=self.resolution, anchor_xy=self.anchor_xy).extent

    def corner(self, row: int, column: int) -> tuple[Fraction, Fraction]:
        """Exact CRS coordinates ``(x, y)`` of the north-west corner of a pixel.

        Parameters
        ----------
        row, column
            Counted from the anchor.
        """
        return self.anchor_xy[0] + column * self.resolution, self.anchor_xy[1] - row * self.resolution

    @staticmethod
    def _positions(anchor: Fraction, step: Fraction, span: Span, shift: Fraction = Fraction(0)) -> NDArray[np.float64]:
        # Whole numbers divided once are rounded correctly, float sums would not be. Where a float does not hold them
        # Python's, of any length, do it.
        first = anchor + step * (span.start + shift)
        denominator = first.denominator * step.denominator
        start = first.numerator * step.denominator
        stride = step.numerator * first.denominator
        largest = max(abs(start), abs(start + stride * span.size), denominator)
        steps = np.arange(span.size, dtype=np.int64 if largest < _WHOLE_FLOATS else object)
        return ((start + stride * steps) / denominator).astype(np.float64)
