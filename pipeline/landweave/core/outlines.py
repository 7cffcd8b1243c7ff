"""Outlines of the 4-connected regions of a class raster: arrays of pixel corners, no coordinates.

A region is what a class covers without a break, by pixels that share an edge. Its outline is walked with the region on
the right, so outer rings run clockwise and holes the other way. A straight *side* runs along edges of one region's
pixels, from its first to its last::

    E ->            A side ends at a corner and another begins there: to the right, along the same pixel, or to the
    +-----------+   left, along the pixel B diagonally ahead. Left where B is of the same region, although the pixel
    | 3   3   3 | S between is not: there the region meets itself corner to corner, and the walk stays with what it
    |   +---+   |   surrounds. So no ring touches itself: rings of one region share single corners at most, and every
    | 3 | 7 | 3 |   polygon is valid. Two regions of one class that meet at a corner stay two.
    |   +---+---+
    | 3 | 3 | 7 |   The edge of the raster bounds regions too: rasters side by side have the same corners along it.
    +---+---+---+
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array
from scipy.sparse.csgraph import breadth_first_order, connected_components

from landweave.core.scanlines import Integers, ranges

Flags = NDArray[np.bool_]
Codes = NDArray[np.uint8 | np.uint16]


@dataclass(frozen=True, kw_only=True)
class Regions:
    """The 4-connected regions of a class raster, as runs of pixels along its rows.

    Attributes
    ----------
    starts
        First pixel of each run, ``row * width + column``, ascending.
    region
        Region of each run; regions are numbered by their first pixel.
    codes
        Class of each region, ``(region,)``, of the dtype of the raster.
    sizes
        Pixels of each region.
    """

    starts: Integers
    region: Integers
    codes: Codes
    sizes: Integers

    def of_pixels(self, pixels: Integers) -> Integers:
        """The region of each pixel, given as ``row * width + column``."""
        return self.region[np.searchsorted(self.starts, pixels, side="right") - 1]

    def sums(self, values: NDArray[np.uint8 | np.bool_]) -> Integers:
        """The sum of ``values (y, x)`` over each region."""
        return _sums(self.region, np.add.reduceat(values.ravel(), self.starts, dtype=np.int64), self.codes.size)


@dataclass(frozen=True, kw_only=True)
class Rings:
    """Closed rings of pixel corners, by region, the outer ring of each region first.

    Attributes
    ----------
    rows, columns
        Corners in order, counted from the raster's north-west corner; the last of a ring is its first.
    ring_offsets
        Where each ring begins among the corners, and the number of corners.
    region_offsets
        Where each region begins among the rings, and the number of rings.
    """

    rows: Integers
    columns: Integers
    ring_offsets: Integers
    region_offsets: Integers


def find_regions(classes: Codes) -> Regions:
    """The 4-connected regions of ``classes (y, x)``, those of nodata too; 30 bytes for each run of pixels."""
    width = classes.shape[1]
    begins = _differs(classes, axis=1)
    starts = np.flatnonzero(begins)
    # Runs of two rows touch: one pixel for each pair of runs is enough, where the later of both begins.
    touches = classes[1:] == classes[:-1]
    touches &= begins[1:] | begins[:-1]
    upper = np.flatnonzero(touches)
    pairs = (np.searchsorted(starts, pixels, side="right") - 1 for pixels in (upper, upper + width))
    region, first = _components(starts.size, *pairs)
    sizes = _sums(region, np.diff(starts, append=classes.size), first.size)
    return Regions(starts=starts, region=region, codes=classes.ravel()[starts[first]], sizes=sizes)


def trace(classes: Codes, regions: Regions, *, junctions: bool = False) -> Rings:
    """The outlines of all regions.

    Parameters
    ----------
    classes
        uint8 or uint16 ``(y, x)``.
    regions
        Those of it.
    junctions
        Whether rings have a corner also where the border of two others meets a straight side of theirs: then polygons
        side by side have all corners of their common border, as a coverage needs.
    """
    sides = _Sides.of(classes, junctions)
    # Sides along rows (east, west) and along columns (south, north) take turns: every second one is linked.
    upright = np.concatenate([_following(sides, direction, regions) for direction in (_EAST, _WEST)])
    level = np.concatenate([_following(sides, direction, regions) for direction in (_SOUTH, _NORTH)])
    following = level[upright]
    ring, first = _components(following.size, np.arange(following.size), following)
    region = regions.of_pixels(np.concatenate([sides.first[_EAST], sides.first[_WEST]])[first])
    order = np.lexsort((first, region))  # eastward sides come first, from the north: the first one is on the outer ring
    walked = _walk(following, ring, first[order], order)
    rows, columns, of_sides = sides.corners(np.stack([walked, level.size + upright[walked]], axis=1).ravel())
    sizes = 2 * np.bincount(ring)[order]  # sides of each ring, both kinds
    of_rings = np.add.reduceat(of_sides, np.cumsum(sizes) - sizes)
    ring_offsets = np.concatenate([[0], np.cumsum(of_rings + 1)])
    return Rings(
        rows=_closed(rows, ring_offsets),
        columns=_closed(columns, ring_offsets),
        ring_offsets=ring_offsets,
        region_offsets=np.searchsorted(region[order], np.arange(regions.codes.size + 1)),
    )


_EAST, _SOUTH, _WEST, _NORTH = range(4)

_NUMBERED = (_EAST, _WEST, _SOUTH, _NORTH)
"""Order in which sides are numbered, those along rows before those along columns."""

_AHEAD = {_EAST: (0, 1), _SOUTH: (1, 0), _WEST: (0, -1), _NORTH: (-1, 0)}
"""Row and column of the next pixel; the direction to the right is the next one, to the left the one before."""

_CORNER = np.array([(0, 0), (0, 1), (1, 1), (1, 0)])
"""Corner of a pixel where a side of each direction begins: row and column, from its north-west one."""


@dataclass(frozen=True, kw_only=True)
class _Sides:
    """Sides of all regions by direction, in walking order.

    Attributes
    ----------
    classes
        uint8 or uint16 ``(y, x)``.
    first, last
        Pixels, ``row * width + column``, of the sides of each direction.
    marks
        Pixels whose corner is one of a ring: the first of each side, and those after a junction.
    offsets
        Where the marks of each side begin.
    """

    classes: Codes
    first: dict[int, Integers]
    last: dict[int, Integers]
    marks: dict[int, Integers]
    offsets: dict[int, Integers]

    @classmethod
    def of(cls, classes: Codes, junctions: bool) -> _Sides:
        """All sides of ``classes``, with or without their ``junctions``."""
        height, width = classes.shape
        north, west = _differs(classes, axis=0), _differs(classes, axis=1)
        south, east = np.ones_like(north), np.ones_like(west)
        south[:-1], east[:, :-1] = north[1:], west[:, 1:]
        found = {}
        for direction, edges in ((_EAST, north), (_SOUTH, east), (_WEST, south), (_NORTH, west)):
            along_rows = direction in (_EAST, _WEST)
            breaks = west if along_rows else north
            beyond = _moved(breaks, _AHEAD[(direction - 1) % 4]) if junctions else None
            if along_rows:
                found[direction] = _straight(edges, breaks, beyond, backwards=direction == _WEST)
            else:
                turned = None if beyond is None else beyond.T
                *pixels, offsets = _straight(edges.T, breaks.T, turned, backwards=direction == _NORTH)
                found[direction] = [*(each % height * width + each // height for each in pixels), offsets]
        parts = ({direction: each[part] for direction, each in found.items()} for part in range(4))
        return cls(classes=classes, **dict(zip(("first", "last", "marks", "offsets"), parts, strict=True)))

    def corners(self, walked: Integers) -> tuple[Integers, Integers, Integers]:
        """Rows and columns of the corners of some sides, one side after the other, and how many each has.

        Parameters
        ----------
        walked
            Numbers of sides, counted in the order `_NUMBERED`.
        """
        marks = np.concatenate([self.marks[direction] for direction in _NUMBERED])
        before = np.cumsum([0, *(self.marks[direction].size for direction in _NUMBERED[:-1])])
        starts = np.concatenate([self.offsets[each] + more for each, more in zip(_NUMBERED, before, strict=True)])
        directions = np.repeat(_NUMBERED, [self.first[direction].size for direction in _NUMBERED])
        counts = np.diff(starts, append=marks.size)[walked]
        pixels = marks[ranges(starts[walked], counts)]
        rows, columns = np.divmod(pixels, self.classes.shape[1])
        corner = _CORNER[np.repeat(directions[walked], counts)]
        return rows + corner[:, 0], columns + corner[:, 1], counts


def _straight(edges: Flags, breaks: Flags, junctions: Flags | None, *, backwards: bool) -> list[Integers]:
    """The straight sides along rows: first and last pixels, marks and offsets of `_Sides`.

    Parameters
    ----------
    edges
        Whether each pixel has an edge there, ``(y, x)``.
    breaks
        Whether each pixel differs from the one before it in its row.
    junctions
        Whether the pixel beyond the edge does; None where that does not matter.
    backwards
        Whether sides run from higher to lower columns.
    """
    pixels = np.flatnonzero(edges)
    goes_on = np.diff(pixels) == 1
    goes_on &= ~breaks.ravel()[pixels[1:]]
    meets = None if junctions is None else goes_on & junctions.ravel()[pixels[1:]]
    if backwards:
        pixels, goes_on, meets = pixels[::-1], goes_on[::-1], None if meets is None else meets[::-1]
    begins, ends = np.concatenate([[True], ~goes_on]), np.concatenate([~goes_on, [True]])
    marked = begins if meets is None else begins | np.concatenate([[False], meets])
    return [pixels[begins], pixels[ends], pixels[marked], np.flatnonzero(begins[marked])]


def _moved(flags: Flags, beyond: tuple[int, int]) -> Flags:
    """The flags of each pixel's neighbour in a direction, False where it has none.

    Parameters
    ----------
    flags
        ``(y, x)``.
    beyond
        Row and column of the neighbour.
    """
    moved = np.zeros_like(flags)
    here, there = (
        tuple(
            slice(max(0, -sign * step), size - max(0, sign * step))
            for step, size in zip(beyond, flags.shape, strict=True)
        )
        for sign in (1, -1)
    )
    moved[here] = flags[there]
    return moved


def _following(sides: _Sides, direction: int, regions: Regions) -> Integers:
    """The side that follows each one of ``direction``: its number among those along the other axis."""
    right, left = (direction + 1) % 4, (direction - 1) % 4
    last = sides.last[direction]
    diagonal, turns = _diagonals(sides, direction, regions)
    found = np.empty(last.size, np.int64)
    number = np.empty(sides.classes.size, np.int32)  # of the side that begins along a pixel
    for side, here, pixels in ((right, ~turns, last), (left, turns, diagonal)):
        before = 0 if side in (_EAST, _SOUTH) else sides.first[side - 2].size  # as numbered
        number[sides.first[side]] = np.arange(before, before + sides.first[side].size)
        found[here] = number[pixels[here]]
    return found


def _diagonals(sides: _Sides, direction: int, regions: Regions) -> tuple[Integers, Flags]:
    """The pixel ahead to the left of each side's end, and whether the region goes on there."""
    classes, last = sides.classes, sides.last[direction]
    ahead, aside = _AHEAD[direction], _AHEAD[(direction - 1) % 4]
    down, across = ahead[0] + aside[0], ahead[1] + aside[1]
    rows, columns = np.divmod(last, classes.shape[1])
    rows += down
    columns += across
    inside = (rows >= 0) & (rows < classes.shape[0]) & (columns >= 0) & (columns < classes.shape[1])
    diagonal = last + down * classes.shape[1] + across
    flat = classes.ravel()
    goes_on = inside & (flat[diagonal * inside] == flat[last])
    straight = flat[(last + ahead[0] * classes.shape[1] + ahead[1]) * goes_on] == flat[last]
    unsure = np.flatnonzero(goes_on & ~straight)  # corner to corner
    goes_on[unsure] = regions.of_pixels(diagonal[unsure]) == regions.of_pixels(last[unsure])
    return diagonal, goes_on


def _walk(following: Integers, ring: Integers, first: Integers, order: Integers) -> Integers:
    """All sides, ring after ring, each in its order.

    Parameters
    ----------
    following
        The next side of each.
    ring
        Of each side.
    first
        Side with which each ring begins, in the order of the rings.
    order
        The rings.
    """
    # One path through all rings, which a search follows in compiled code: the end of each leads to the next.
    after = np.empty(first.size, np.int64)
    after[order] = np.roll(first, -1)
    closes = np.zeros(following.size, np.bool_)
    closes[first] = True
    path = np.where(closes[following], after[ring], following)
    walked: Integers = breadth_first_order(_links(path), first[0], return_predecessors=False)
    return walked


def _closed(corners: Integers, ring_offsets: Integers) -> Integers:
    """Corners with the first one of each ring again at its end."""
    closed = np.empty(ring_offsets[-1], np.int64)
    last = ring_offsets[1:] - 1
    is_open = np.ones(closed.size, np.bool_)
    is_open[last] = False
    closed[is_open] = corners
    closed[last] = closed[ring_offsets[:-1]]
    return closed


def _components(count: int, ends: Integers, others: Integers) -> tuple[Integers, Integers]:
    """The component of each of ``count`` things, numbered by their first thing, and these first things.

    Parameters
    ----------
    count
        Things.
    ends, others
        Pairs that are linked.
    """
    links = csr_array((np.ones(ends.size, np.bool_), (ends, others)), shape=(count, count))
    components, found = connected_components(links, directed=False)
    first = np.empty(components, np.int64)
    first[found[::-1]] = np.arange(count)[::-1]  # of several the last one stays
    order = np.argsort(first)
    number = np.empty(components, np.int64)
    number[order] = np.arange(components)
    return number[found], first[order]


def _links(following: Integers) -> Any:
    count = following.size
    return csr_array((np.ones(count, np.bool_), following, np.arange(count + 1)), shape=(count, count))


def _differs(classes: Codes, axis: int) -> Flags:
    """Whether each pixel differs from the one before it along an axis, the first ones by being first."""
    moved, differs = np.moveaxis(classes, axis, 0), np.ones(classes.shape, np.bool_)
    np.not_equal(moved[1:], moved[:-1], out=np.moveaxis(differs, axis, 0)[1:])
    return differs


def _sums(groups: Integers, values: Integers, count: int) -> Integers:
    # float64 is exact up to 2**53: 2**45 pixels of 255.
    return np.bincount(groups, weights=values, minlength=count).astype(np.int64)
