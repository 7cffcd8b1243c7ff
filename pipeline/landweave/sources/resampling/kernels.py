"""Which source pixels stand behind each target pixel, and with what weights: one axis, or a field of points.

A decision rests on the absolute coordinate of a pixel alone; where a window of the source starts only shifts indices.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import ceil
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from landweave.core.lattice import Extent, Span
from landweave.sources.mosaic.spec import Kernel
from landweave.sources.mosaic.tile_index import PASTE_PX

Plane = NDArray[Any]

EDGE_PX = PASTE_PX
"""A centre this close beyond a tile's edge still belongs to it, so that no hairline opens between two tiles."""

_TIE = 1e-6
"""Centres on the very edge of two pixels take the later one, whatever the last digit says."""

_NOWHERE = -1e9
"""Coordinate of a pixel that a projection does not reach."""

_WIDEN = 1.05
"""Grids coarser than this many source pixels need a wider kernel, or they alias."""

_SUPPORT = {"nearest": 0.5, "bilinear": 1.0, "cubic": 2.0}
"""Reach of a kernel, in pixels of the coarser of the two."""


@dataclass(frozen=True, kw_only=True)
class Filter:
    """A kernel and how wide it is on each axis, in source pixels (1 unless the grid is coarser)."""

    kernel: Kernel
    widths_yx: tuple[float, float]

    @classmethod
    def of(cls, kernel: Kernel, ratio_yx: tuple[float, float]) -> Filter:
        """The filter for a grid whose pixels span ``ratio_yx`` source pixels."""
        y, x = (ratio if ratio > _WIDEN and kernel != "nearest" else 1.0 for ratio in ratio_yx)
        return cls(kernel=kernel, widths_yx=(y, x))

    @property
    def margin(self) -> int:
        """Source pixels it reaches beyond a pixel's centre, rounded up, with one to spare."""
        return ceil(_SUPPORT[self.kernel] * max(self.widths_yx)) + 1


class Sampler(Protocol):
    """Where a strip of target pixels takes its values from. Planes are ``(y, x)``, already cut to `window`."""

    @property
    def window(self) -> tuple[slice, slice]:
        """What the strip needs of the source."""

    @property
    def candidates(self) -> int:
        """1, or 4 where some centre is so close to a pixel's edge that its neighbours may stand in."""

    def pick(self, plane: Plane, candidate: int) -> Plane:
        """The plane at the nearest pixels, or at their stand-ins."""

    def blend(self, plane: Plane) -> Plane:
        """The plane under the kernel."""

    def every(self, mask: Plane) -> Plane:
        """Whether all pixels under the kernel are True."""


@dataclass(frozen=True)
class Taps:
    """Source pixels behind each target pixel of one axis, or of a field: all counted in the source's window.

    ``indices`` and ``weights`` (float64) are ``(tap, ...)``; ``nearest`` is ``(2, ...)``: the nearest pixel, and the
    one that may stand in for it, the same away from edges.
    """

    indices: NDArray[np.intp]
    weights: NDArray[np.float64]
    nearest: NDArray[np.intp]


def find_taps(places: NDArray[np.float64], window: Span, kernel: Kernel, width: float) -> Taps:
    """The taps of target pixels at ``places`` (in source pixels), counted from the start of ``window``."""
    # Everything is decided from absolute coordinates; only whole pixels are subtracted, at the end.
    support = _SUPPORT[kernel] * width
    count = ceil(2 * support) + (width != 1)
    first = np.floor(places - 0.5 - support) + 1
    steps = np.arange(count).reshape(-1, *[1] * places.ndim)
    weights = _weight((first + steps + 0.5 - places) / width, kernel)
    weights /= weights.sum(axis=0)
    nearest = np.stack([np.floor(places + _TIE), np.floor(places - EDGE_PX)])
    nearest[1] += np.floor(places + EDGE_PX) - nearest[0]
    # What lies beyond the window is sent to its outermost pixels, which hold no measurement.
    first -= window.start
    nearest -= window.start
    last = window.size - 1
    indices = np.clip(first, -count, last).astype(np.int32) + steps.astype(np.int32)
    return Taps(np.clip(indices, 0, last, out=indices), weights, np.clip(nearest, 0, last).astype(np.int32))


def _weight(distance: NDArray[np.float64], kernel: Kernel) -> NDArray[np.float64]:
    away = np.abs(distance)
    if kernel == "nearest":
        return np.ones_like(away)
    if kernel == "bilinear":
        tent: NDArray[np.float64] = np.maximum(0, 1 - away)
        return tent
    near = (1.5 * away - 2.5) * away**2 + 1  # Keys' cubic with a = -1/2
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    return np.where(away <= 1, near, np.where(away < 2, far, 0))


@dataclass(frozen=True)
class Lines:
    """A strip whose rows and columns do not mix: one axis after the other."""

    down: Taps
    across: Taps
    window: tuple[slice, slice]

    @classmethod
    def of(cls, down: Taps, across: Taps) -> Lines:
        """The strip of rows ``down`` and columns ``across``."""
        low, high = _reach(down)
        return cls(_shifted(down, low), across, (slice(low, high), slice(None)))

    @property
    def candidates(self) -> int:
        """See `Sampler`."""
        return 1 if _settled(self.down) and _settled(self.across) else 4

    def pick(self, plane: Plane, candidate: int) -> Plane:
        """See `Sampler`."""
        lines = plane.take(self.down.nearest[candidate // 2], 0)
        picked: Plane = lines.take(self.across.nearest[candidate % 2], 1)
        return picked

    def blend(self, plane: Plane) -> Plane:
        """See `Sampler`."""
        lines = _total([plane.take(index, 1) * weight for index, weight in _weighted(self.across, plane)])
        return _total([lines.take(index, 0) * weight[:, None] for index, weight in _weighted(self.down, plane)])

    def every(self, mask: Plane) -> Plane:
        """See `Sampler`."""
        lines = _all([mask.take(index, 1) for index in self.across.indices])
        return _all([lines.take(index, 0) for index in self.down.indices])


@dataclass(frozen=True)
class Points:
    """A strip where every pixel has coordinates of its own.

    ``indices`` ``(tap, y, x)`` and ``nearest`` ``(1 or 4, y, x)`` count along the rows of what `window` cuts out;
    ``weights`` are float64 ``(tap, y, x)``.
    """

    indices: NDArray[np.intp]
    weights: NDArray[np.float64]
    nearest: NDArray[np.intp]
    window: tuple[slice, slice]

    @classmethod
    def of(cls, yx: NDArray[np.float64], window: Extent, using: Filter) -> Points:
        """The strip whose coordinates are ``yx`` ``(2, y, x)``, not finite where there are none."""
        y, x = np.where(np.isfinite(yx).all(axis=0), yx, _NOWHERE)
        down = find_taps(y, window.y, using.kernel, using.widths_yx[0])
        across = find_taps(x, window.x, using.kernel, using.widths_yx[1])
        (top, bottom), (left, right) = _reach(down), _reach(across)
        down, across, width = _shifted(down, top), _shifted(across, left), right - left
        ways = 1 if _settled(down) and _settled(across) else 2
        shape = (-1, *y.shape)
        rows, stand_ins = down.indices * width, down.nearest[:ways] * width
        return cls(
            (rows[:, None] + across.indices).reshape(shape),
            (down.weights[:, None] * across.weights).reshape(shape),
            (stand_ins[:, None] + across.nearest[:ways]).reshape(shape),
            (slice(top, bottom), slice(left, right)),
        )

    @property
    def candidates(self) -> int:
        """See `Sampler`."""
        return len(self.nearest)

    def pick(self, plane: Plane, candidate: int) -> Plane:
        """See `Sampler`."""
        picked: Plane = plane.ravel().take(self.nearest[candidate])
        return picked

    def blend(self, plane: Plane) -> Plane:
        """See `Sampler`."""
        flat = plane.ravel()
        weights = self.weights.astype(plane.dtype)
        return _total([flat.take(index) * weight for index, weight in zip(self.indices, weights, strict=True)])

    def every(self, mask: Plane) -> Plane:
        """See `Sampler`."""
        flat = mask.ravel()
        return _all([flat.take(index) for index in self.indices])


def _weighted(taps: Taps, plane: Plane) -> list[tuple[NDArray[np.intp], Plane]]:
    return list(zip(taps.indices, taps.weights.astype(plane.dtype), strict=True))


def _total(terms: list[Plane]) -> Plane:
    total = terms[0]
    for term in terms[1:]:
        total += term
    return total


def _all(terms: list[Plane]) -> Plane:
    total = terms[0]
    for term in terms[1:]:
        total &= term
    return total


def _settled(taps: Taps) -> bool:
    return bool((taps.nearest[0] == taps.nearest[1]).all())


def _reach(taps: Taps) -> tuple[int, int]:
    low = min(int(taps.indices.min()), int(taps.nearest.min()))
    return low, max(int(taps.indices.max()), int(taps.nearest.max())) + 1


def _shifted(taps: Taps, by: int) -> Taps:
    return Taps(taps.indices - by, taps.weights, taps.nearest - by)
