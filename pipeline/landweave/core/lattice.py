"""Windows and blocks in integer pixels counted from an anchor, and all arithmetic of pixel offsets.

One axis is solved and used twice. Everything is half-open and counted in pixels from the anchor, so a pixel has the
same position in its windows whatever area or block is computed::

      anchor                    block
        |------------------|wwwwwwwwwwwwww|------
        [  window 0  ]
                [  window 1  ]
                        [  window 2  ]
                                [  window 3  ]      <- windows 1 to 3 touch the block,
                |rrrrrrrrrr|rrrrrrrrrrrrrr|rr|         together they are what it reads
        <stride>
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor

import numpy as np
from numpy.typing import NDArray

from landweave.core.errors import LatticeError


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """Pixels ``[start, stop)`` of one axis, counted from the anchor.

    >>> Span(5, 9).snap(4)
    Span(start=4, stop=12)
    >>> Span(5, 9).slice_in(Span(4, 12))
    slice(1, 5, None)
    """

    start: int
    stop: int

    @property
    def size(self) -> int:
        """Number of pixels; 0 for an empty span."""
        return max(0, self.stop - self.start)

    def grow(self, before: int, after: int | None = None) -> Span:
        """The span extended by ``before`` pixels at its start and ``after`` (by default as many) at its end."""
        return Span(self.start - before, self.stop + (before if after is None else after))

    def snap(self, step: int) -> Span:
        """The smallest span between multiples of ``step`` that contains this one."""
        return Span(self.start // step * step, -(-self.stop // step) * step)

    def intersect(self, other: Span) -> Span:
        """Pixels of both; empty (``size`` 0) when they are disjoint."""
        start = max(self.start, other.start)
        return Span(start, max(start, min(self.stop, other.stop)))

    @classmethod
    def hull(cls, positions: NDArray[np.int64]) -> Span:
        """The smallest span that contains all ``positions``; empty where there are none."""
        return cls(int(positions.min()), int(positions.max()) + 1) if positions.size else cls(0, 0)

    def unite(self, other: Span) -> Span:
        """The smallest span that contains both."""
        return Span(min(self.start, other.start), max(self.stop, other.stop))

    def contains(self, other: Span) -> bool:
        """Whether every pixel of ``other`` is in this span."""
        return self.unite(other) == self

    def slice_in(self, outer: Span) -> slice:
        """Index of this span in an array over ``outer``."""
        return slice(self.start - outer.start, self.stop - outer.start)

    def part(self, inner: Span) -> Span:
        """The pixels ``inner`` of this span, counted from its start."""
        return Span(self.start + inner.start, self.start + inner.stop)

    def cut(self, size: int) -> list[Span]:
        """Pieces of ``size`` pixels from the start; the last one ends with the span.

        >>> Span(-3, 4).cut(5)
        [Span(start=-3, stop=2), Span(start=2, stop=4)]
        """
        return [Span(start, min(start + size, self.stop)) for start in range(self.start, self.stop, size)]

    def coarsen(self, factor: int | Fraction) -> Span:
        """The same extent in ``factor`` times larger pixels, extended outwards to whole ones."""
        return Span(self.start // factor, -(-self.stop // factor))

    def centred(self, factor: int | Fraction, size: int, phase: int | Fraction = 0) -> Span:
        """``size`` pixels, ``factor`` times larger, around the one nearest to the middle of this span.

        With an even ``size``, half of them precede that pixel; of two pixels as near, it is the later one.

        Parameters
        ----------
        factor
            Pixels of this span a side of a larger one.
        size
            Of the result.
        phase
            Where the first of the larger pixels begins, in their own size behind pixel 0.

        >>> Span(0, 512).centred(50, 40), Span(0, 512).centred(50, 40, phase=Fraction(1, 2))
        (Span(start=-15, stop=25), Span(start=-16, stop=24))
        """
        start = floor(Fraction(self.start + self.stop, 2) / factor - phase) - size // 2
        return Span(start, start + size)

    def holders(self, factor: int | Fraction) -> list[int]:
        """For each pixel, the ``factor`` times larger one that contains its centre.

        >>> Span(-1, 3).holders(Fraction(3, 2))
        [-1, 0, 1, 1]
        """
        long, short = factor.as_integer_ratio()
        return [(2 * pixel + 1) * short // (2 * long) for pixel in range(self.start, self.stop)]

    def refine(self, factor: int) -> Span:
        """The same extent in ``factor`` times smaller pixels."""
        return Span(self.start * factor, self.stop * factor)


@dataclass(frozen=True, slots=True)
class Extent:
    """A rectangle of pixels: one `Span` down (``y``, rows southwards) and one across (``x``)."""

    y: Span
    x: Span

    @classmethod
    def of(cls, y: tuple[int, int], x: tuple[int, int]) -> Extent:
        """The rectangle of rows ``y[0]:y[1]`` and columns ``x[0]:x[1]``."""
        return cls(Span(*y), Span(*x))

    @property
    def shape(self) -> tuple[int, int]:
        """``(height, width)`` in pixels."""
        return self.y.size, self.x.size

    @property
    def size(self) -> int:
        """Number of pixels."""
        return self.y.size * self.x.size

    def grow(self, pixels: int) -> Extent:
        """The rectangle extended by ``pixels`` on every side."""
        return Extent(self.y.grow(pixels), self.x.grow(pixels))

    def snap(self, step: int) -> Extent:
        """The smallest rectangle between multiples of ``step`` that contains this one."""
        return Extent(self.y.snap(step), self.x.snap(step))

    def intersect(self, other: Extent) -> Extent:
        """Pixels of both; empty (``size`` 0) when they are disjoint."""
        return Extent(self.y.intersect(other.y), self.x.intersect(other.x))

    def unite(self, other: Extent) -> Extent:
        """The smallest rectangle that contains both."""
        return Extent(self.y.unite(other.y), self.x.unite(other.x))

    def contains(self, other: Extent) -> bool:
        """Whether every pixel of ``other`` is in this rectangle."""
        return self.unite(other) == self

    def slices_in(self, outer: Extent) -> tuple[slice, slice]:
        """Index ``[y, x]`` of this rectangle in an array over ``outer``."""
        return self.y.slice_in(outer.y), self.x.slice_in(outer.x)

    def part(self, inner: Span) -> Extent:
        """The rows and columns ``inner`` of this rectangle, counted from its corner."""
        return Extent(self.y.part(inner), self.x.part(inner))

    def coarsen(self, factor: int | Fraction) -> Extent:
        """The same extent in ``factor`` times larger pixels, extended outwards to whole ones."""
        return Extent(self.y.coarsen(factor), self.x.coarsen(factor))

    def refine(self, factor: int) -> Extent:
        """The same extent in ``factor`` times smaller pixels."""
        return Extent(self.y.refine(factor), self.x.refine(factor))


def nearest_multiples(value: int, unit: int) -> str:
    """The multiples of ``unit`` around ``value``, for an error message.

    >>> nearest_multiples(384, 256)
    '256 or 512'
    """
    below, above = value // unit * unit, -(-value // unit) * unit
    return f"{below} or {above}" if 0 < below < above else f"{above}"


@dataclass(frozen=True, kw_only=True)
class WindowFootprint:
    """The extent that one input covers around a window, in pixels of that input.

    Attributes
    ----------
    pixel
        Base pixels a side of one pixel of the input; 51.2 is ``Fraction(256, 5)``.
    size
        Pixels a side of a centred footprint, around the pixel nearest to the window's centre. None for a nested one:
        the extent of the window itself, which is a whole number of pixels where windows are multiples of the card's
        unit.
    phase_yx
        Where pixel (0, 0) of a centred footprint really begins, in pixels of the input behind the anchor: 0 to 1.
    """

    pixel: int | Fraction = 1
    size: int | None = None
    phase_yx: tuple[int | Fraction, int | Fraction] = (0, 0)

    def span(self, window: Span, phase: int | Fraction = 0) -> Span:
        """Pixels of the input for one axis of a window, which begin at ``phase``."""
        return window.coarsen(self.pixel) if self.size is None else window.centred(self.pixel, self.size, phase)

    def cut(self, window: Extent) -> Extent:
        """Pixels of the input for a window."""
        return Extent(self.span(window.y, self.phase_yx[0]), self.span(window.x, self.phase_yx[1]))

    def read_extent(self, windows: Extent, window: int) -> Extent:
        """Pixels of the input that all windows of ``window`` base pixels need whose union is ``windows``."""
        down, across = self.phase_yx
        return Extent(self._read_span(windows.y, window, down), self._read_span(windows.x, window, across))

    def _read_span(self, windows: Span, window: int, phase: int | Fraction) -> Span:
        if not windows.size:
            return windows.coarsen(self.pixel)
        first, last = Span(windows.start, windows.start + window), Span(windows.stop - window, windows.stop)
        return self.span(first, phase).unite(self.span(last, phase))

    def halo(self, window: int) -> int:
        """Largest number of base pixels by which it exceeds a window of ``window`` base pixels, on any side.

        >>> WindowFootprint(pixel=50, size=40).halo(512), WindowFootprint(pixel=8).halo(512)
        (794, 0)
        """
        if self.size is None:
            return 0
        half = self.size // 2 + 1 + max(self.phase_yx)
        return max(0, ceil((2 * half * self.pixel - window) / 2))


@dataclass(frozen=True, kw_only=True)
class Lattice:
    """Square windows of ``window`` base pixels at every multiple of ``stride`` from the anchor.

    Attributes
    ----------
    window, stride
        In base pixels; the overlap of two neighbours is ``window - stride``.
    unit
        Least common multiple, in base pixels, of the pixels of all nested inputs: windows and strides that are
        not multiples of it would cut one of them mid-pixel.

    Raises
    ------
    LatticeError
        When a size is off the unit (the nearest valid sizes are named) or the overlap does not fit the window.
    """

    window: int
    stride: int
    unit: int = 1

    def __post_init__(self) -> None:
        if self.window > 0 and not 0 < self.stride <= self.window:
            raise LatticeError(
                f"An overlap of {self.overlap} does not fit windows of {self.window}: "
                f"it has to be from 0 to {max(0, self.window - self.unit)}."
            )
        for name, value in (("window", self.window), ("stride", self.stride)):
            if value <= 0 or value % self.unit:
                raise LatticeError(
                    f"A {name} of {value} base pixels does not lie on this card's unit of {self.unit}: "
                    f"use {nearest_multiples(max(value, 1), self.unit)}"
                    + (f" (stride = window {self.window} - overlap)." if name == "stride" else ".")
                )

    @property
    def overlap(self) -> int:
        """Base pixels shared by two neighbouring windows of one row."""
        return self.window - self.stride

    @property
    def model_pixels_per_map_pixel(self) -> float:
        """Windows that cover a pixel of the map: ``(window / stride) ** 2``."""
        return (self.window / self.stride) ** 2

    def starts(self, span: Span, support: Span | None = None) -> range:
        """Starts of the windows that intersect ``span``, ascending.

        Parameters
        ----------
        span
            Pixels of one axis.
        support
            Pixels of a window with a positive weight, ``[0, window)`` by default; windows that meet ``span`` only
            with others are left out.

        >>> list(Lattice(window=4, stride=3).starts(Span(4, 9)))
        [3, 6]
        """
        if not span.size:
            return range(0)
        support = support or Span(0, self.window)
        first = -(-(span.start - support.stop + 1) // self.stride) * self.stride
        last = (span.stop - 1 - support.start) // self.stride * self.stride
        return range(first, last + 1, self.stride)

    def windows(self, extent: Extent, support: Span | None = None) -> Iterator[Extent]:
        """Windows that intersect ``extent``, in lattice order: north to south, then west to east."""
        for top in self.starts(extent.y, support):
            for left in self.starts(extent.x, support):
                yield Extent.of((top, top + self.window), (left, left + self.window))

    def count(self, extent: Extent, support: Span | None = None) -> int:
        """Number of windows that intersect ``extent``."""
        return len(self.starts(extent.y, support)) * len(self.starts(extent.x, support))

    def read_extent(self, extent: Extent, support: Span | None = None) -> Extent:
        """Union of the windows that touch ``extent``: what must be read to predict it."""
        return Extent(self._read_span(extent.y, support), self._read_span(extent.x, support))

    def _read_span(self, span: Span, support: Span | None) -> Span:
        starts = self.starts(span, support)
        return Span(starts[0], starts[-1] + self.window) if starts else Span(span.start, span.start)


BlockIndex = tuple[int, int]
"""``(block_y, block_x)``, from the north-west corner of the output."""


LARGEST_COUNT = 2**22
"""Blocks of one job: the ledger of so many takes a gigabyte. All of France is 200,000 blocks of 8192 px of 0.2 m."""


@dataclass(frozen=True, kw_only=True)
class Blocks:
    """Blocks of ``height`` x ``width`` pixels that tile an extent from its north-west corner.

    They only cut the work: windows are at multiples of the stride from the anchor wherever the corner is. Those at the
    south and east edges end with the extent.

    Attributes
    ----------
    extent
        Pixels that the blocks tile.
    height, width
        Pixels of a block that no edge cuts.
    """

    extent: Extent
    height: int
    width: int

    def __post_init__(self) -> None:
        if not self.extent.size or self.height <= 0 or self.width <= 0:
            raise LatticeError(f"Blocks of {self.height} x {self.width} pixels cannot tile {self.extent}.")

    @classmethod
    def square(cls, extent: Extent, size: int) -> Blocks:
        """Blocks of ``size`` pixels a side that tile ``extent`` from its corner."""
        return cls(extent=extent, height=size, width=size)

    @classmethod
    def covering(cls, extent: Extent, size: int) -> Blocks:
        """Whole blocks of ``size`` pixels a side that cover ``extent``, each at a multiple of ``size``."""
        return cls.square(extent.snap(size), size)

    def of_a_job(self) -> Blocks:
        """These blocks, once they are sure to be no more than a ledger can hold.

        Raises
        ------
        LatticeError
            When there are more than `LARGEST_COUNT`.
        """
        if (count := self.shape[0] * self.shape[1]) > LARGEST_COUNT:  # more than len() can give
            raise LatticeError(
                f"{self.extent.y.size:,} x {self.extent.x.size:,} pixels are {count:,} blocks of {self.height} x "
                f"{self.width}, {LARGEST_COUNT:,} is the most: make the area smaller, or the blocks larger. Without an "
                "area the imagery is mapped: a tile in another place, or with another CRS, stretches it."
            )
        return self

    def coarsen(self, factor: int) -> Blocks:
        """The same blocks in ``factor`` times larger pixels, of which each has a whole number."""
        return Blocks(extent=self.extent.coarsen(factor), height=self.height // factor, width=self.width // factor)

    @property
    def shape(self) -> tuple[int, int]:
        """Number of blocks ``(down, across)``."""
        return -(-self.extent.y.size // self.height), -(-self.extent.x.size // self.width)

    @property
    def rows(self) -> list[Span]:
        """Pixels of each row of blocks."""
        return self.extent.y.cut(self.height)

    @property
    def columns(self) -> list[Span]:
        """Pixels of each column of blocks."""
        return self.extent.x.cut(self.width)

    def touching(self, extent: Extent) -> tuple[slice, slice]:
        """Rows and columns of the blocks that hold pixels of ``extent``; what of it lies beside the blocks has none.

        >>> Blocks(extent=Extent.of((5, 25), (0, 30)), height=4, width=30).touching(Extent.of((8, 10), (-9, 3)))
        (slice(0, 2, None), slice(0, 1, None))
        """
        inside = extent.intersect(self.extent)
        if not inside.size:
            return slice(0), slice(0)
        (top, bottom), (left, right) = ((span.start, span.stop) for span in (inside.y, inside.x))
        y, x = self.extent.y.start, self.extent.x.start
        return (
            slice((top - y) // self.height, -((y - bottom) // self.height)),
            slice((left - x) // self.width, -((x - right) // self.width)),
        )

    def __len__(self) -> int:
        return self.shape[0] * self.shape[1]

    def __iter__(self) -> Iterator[BlockIndex]:
        down, across = self.shape
        return ((row, column) for row in range(down) for column in range(across))

    def __getitem__(self, index: BlockIndex) -> Extent:
        top = self.extent.y.start + index[0] * self.height
        left = self.extent.x.start + index[1] * self.width
        return Extent.of((top, top + self.height), (left, left + self.width)).intersect(self.extent)
