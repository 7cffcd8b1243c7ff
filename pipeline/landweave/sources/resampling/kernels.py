"""Source pixels behind each target pixel and their weights: for axes that do not mix, or pixel by pixel.

All is decided from the absolute coordinate of a pixel; where a window of the source starts only shifts indices.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from math import ceil
from operator import iadd, iand
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from landweave.core.lattice import Extent, Span

Plane = NDArray[Any]

KernelName = Literal["nearest", "bilinear", "cubic"]
"""Resampling kernels; all but ``nearest`` widen with the pixel when the grid is coarser than the source."""

PASTE_PX = 1 / 20
"""Pixels whose corners lie this close, in pixels, count as the same pixels."""

EDGE_PX = PASTE_PX
"""A centre this close beyond a tile's edge still belongs to it, so that no hairline opens between two tiles."""

_TIE = 1e-6
"""Centres on the very edge of two pixels take the later one, whatever the last digit of their coordinate."""

_UNREACHED = -1e9
"""Coordinate of a pixel that a projection does not reach."""

_WIDEN = 1.05
"""Grids coarser than this many source pixels need a wider kernel, or they alias."""

_SUPPORT = {"nearest": 0.5, "bilinear": 1.0, "cubic": 2.0}
"""Half the width of a kernel, in pixels of the coarser of the two."""


@dataclass(frozen=True, kw_only=True)
class ResamplingKernel:
    """A kernel and how wide it is on each axis, in source pixels (1 unless the grid is coarser)."""

    name: KernelName
    widths_yx: tuple[float, float]

    @classmethod
    def of(cls, name: KernelName, ratio_yx: tuple[float, float]) -> ResamplingKernel:
        """The kernel for a grid whose pixels span ``ratio_yx`` source pixels.

        Parameters
        ----------
        name
            Which kernel.
        ratio_yx
            Source pixels in a pixel of the grid, down and across.
        """
        y, x = (ratio if ratio > _WIDEN and name != "nearest" else 1.0 for ratio in ratio_yx)
        return cls(name=name, widths_yx=(y, x))

    @property
    def margin(self) -> int:
        """Source pixels that it touches beyond a pixel's centre, rounded up, and one more."""
        return ceil(_SUPPORT[self.name] * max(self.widths_yx)) + 1


@dataclass(frozen=True)
class KernelWeights:
    """Source pixels and weights of each target pixel, along one axis or for each pixel of a plane.

    Attributes
    ----------
    indices, weights
        ``(pixel under the kernel, ...)``, the weights float64 with a sum of 1; indices count in the source's window.
    nearest
        ``(2, ...)``: the nearest pixel, and the one that may stand in for it, the same away from edges.
    """

    indices: NDArray[np.intp]
    weights: NDArray[np.float64]
    nearest: NDArray[np.intp]

    @property
    def has_stand_ins(self) -> bool:
        """Whether another pixel may stand in for a nearest one."""
        return bool((self.nearest[0] != self.nearest[1]).any())

    def cropped(self) -> tuple[KernelWeights, slice]:
        """The same pixels counted from the first that is used, and those that are used."""
        low = min(int(self.indices.min()), int(self.nearest.min()))
        high = max(int(self.indices.max()), int(self.nearest.max())) + 1
        return KernelWeights(self.indices - low, self.weights, self.nearest - low), slice(low, high)


def kernel_weights(coordinates: NDArray[np.float64], window: Span, name: KernelName, width: float) -> KernelWeights:
    """The weights of target pixels on one axis.

    Parameters
    ----------
    coordinates
        Centres of the target pixels in source pixels; 0.5 is the centre of the first.
    window
        Source pixels that are at hand; indices count from its start.
    name, width
        The kernel, and how many times wider than a source pixel it is.
    """
    # Everything is decided from absolute coordinates; only whole pixels are subtracted, at the end.
    support = _SUPPORT[name] * width
    count = ceil(2 * support) + (width != 1)
    first = np.floor(coordinates - 0.5 - support) + 1
    steps = np.arange(count).reshape(-1, *[1] * coordinates.ndim)
    weights = _weight((first + steps + 0.5 - coordinates) / width, name)
    weights /= weights.sum(axis=0)
    nearest = np.stack([np.floor(coordinates + _TIE), np.floor(coordinates - EDGE_PX)])
    nearest[1] += np.floor(coordinates + EDGE_PX) - nearest[0]
    # What lies beyond the window is sent to its outermost pixels, which hold no measurement.
    first -= window.start
    nearest -= window.start
    last = window.size - 1
    indices = np.clip(first, -count, last).astype(np.int32) + steps.astype(np.int32)
    return KernelWeights(np.clip(indices, 0, last, out=indices), weights, np.clip(nearest, 0, last).astype(np.int32))


def _weight(distance: NDArray[np.float64], name: KernelName) -> NDArray[np.float64]:
    away = np.abs(distance)
    if name == "nearest":
        return np.ones_like(away)
    if name == "bilinear":
        tent: NDArray[np.float64] = np.maximum(0, 1 - away)
        return tent
    near = (1.5 * away - 2.5) * away**2 + 1  # Keys (1981), cubic convolution with a = -1/2
    far = ((-0.5 * away + 2.5) * away - 4) * away + 2
    return np.where(away <= 1, near, np.where(away < 2, far, 0))


@dataclass(frozen=True)
class SeparableSampler:
    """Samples where rows and columns of the grid are rows and columns of the source: one axis after the other.

    Planes are ``(y, x)``, already cut to `window`, the rows and columns of the source that are needed.
    """

    down: KernelWeights
    across: KernelWeights
    window: tuple[slice, slice]

    @classmethod
    def of(cls, down: KernelWeights, across: KernelWeights) -> SeparableSampler:
        """The sampler of rows ``down`` and columns ``across``.

        Parameters
        ----------
        down, across
            Weights of each target row and column, counted in one window of the source.
        """
        (down, rows), (across, columns) = down.cropped(), across.cropped()
        return cls(down, across, (rows, columns))

    @property
    def candidates(self) -> int:
        """1, or 4 where a centre is so close to a pixel's edge that its neighbours may stand in."""
        return 4 if self.down.has_stand_ins or self.across.has_stand_ins else 1

    def pick(self, plane: Plane, candidate: int) -> Plane:
        """The plane at the nearest pixels, or at those that may stand in for them.

        Parameters
        ----------
        plane
            Pixels of the source ``(y, x)``.
        candidate
            0 for the nearest pixels, else below `candidates`.
        """
        rows = plane.take(self.down.nearest[candidate // 2], 0)
        picked: Plane = rows.take(self.across.nearest[candidate % 2], 1)
        return picked

    def blend(self, plane: Plane) -> Plane:
        """The weighted sum of the plane under the kernel."""
        down, across = self.down.weights.astype(plane.dtype), self.across.weights.astype(plane.dtype)
        rows = _total([plane.take(i, 1) * weight for i, weight in zip(self.across.indices, across, strict=True)])
        return _total([rows.take(i, 0) * weight[:, None] for i, weight in zip(self.down.indices, down, strict=True)])

    def every(self, mask: Plane) -> Plane:
        """Whether all pixels under the kernel are True."""
        rows = reduce(iand, (mask.take(index, 1) for index in self.across.indices))
        return reduce(iand, (rows.take(index, 0) for index in self.down.indices))


@dataclass(frozen=True)
class PointSampler:
    """Samples where every pixel has coordinates of its own.

    Attributes
    ----------
    indices, weights
        ``(pixel under the kernel, y, x)``, counted along the rows of what `window` cuts out; weights float64.
    nearest
        ``(1 or 4, y, x)``: the nearest pixels, and those that may stand in for them.
    """

    indices: NDArray[np.intp]
    weights: NDArray[np.float64]
    nearest: NDArray[np.intp]
    window: tuple[slice, slice]

    @classmethod
    def of(cls, yx: NDArray[np.float64], window: Extent, kernel: ResamplingKernel) -> PointSampler:
        """The sampler of pixels at any coordinates.

        Parameters
        ----------
        yx
            Coordinates of the target pixels in source pixels ``(2, y, x)``; not finite where there are none.
        window
            Source pixels that are at hand.
        kernel
            Kernel and widths.
        """
        y, x = np.where(np.isfinite(yx).all(axis=0), yx, _UNREACHED)
        down, rows = kernel_weights(y, window.y, kernel.name, kernel.widths_yx[0]).cropped()
        across, columns = kernel_weights(x, window.x, kernel.name, kernel.widths_yx[1]).cropped()
        width, shape = columns.stop - columns.start, (-1, *y.shape)
        ways = 2 if down.has_stand_ins or across.has_stand_ins else 1
        return cls(
            ((down.indices * width)[:, None] + across.indices).reshape(shape),
            (down.weights[:, None] * across.weights).reshape(shape),
            ((down.nearest[:ways] * width)[:, None] + across.nearest[:ways]).reshape(shape),
            (rows, columns),
        )

    @property
    def candidates(self) -> int:
        """See `SeparableSampler`."""
        return len(self.nearest)

    def pick(self, plane: Plane, candidate: int) -> Plane:
        """See `SeparableSampler`."""
        picked: Plane = plane.ravel().take(self.nearest[candidate])
        return picked

    def blend(self, plane: Plane) -> Plane:
        """See `SeparableSampler`."""
        flat, weights = plane.ravel(), self.weights.astype(plane.dtype)
        return _total([flat.take(index) * weight for index, weight in zip(self.indices, weights, strict=True)])

    def every(self, mask: Plane) -> Plane:
        """See `SeparableSampler`."""
        flat = mask.ravel()
        return reduce(iand, (flat.take(index) for index in self.indices))


Sampler = SeparableSampler | PointSampler


def _total(terms: list[Plane]) -> Plane:
    return reduce(iadd, terms)  # in place, in this order: the order of a sum of floats is part of its bits
