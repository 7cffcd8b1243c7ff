"""Pixels of a frame brought to the pixels of a grid, by numpy alone.

GDAL's warper is not used. It gives the same bits for any extent only with one fixed target for the whole delivery, its
kernels see one tile at a time, and with an exact transformer it is no faster: over 4096 x 4096 pixels, per band and
side by side, as fast as this without nodata, half as fast with it, a third as fast between two coordinate systems. Here
a pixel's answer is a fixed sequence of float operations on the measurements around it, whatever else is read.

Without data stays without data: pixels that hold no measurement never enter a kernel (its weights are renormalised over
those that do), and a pixel is valid where the nearest one is, within
`landweave.sources.resampling.kernels.EDGE_PX` of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.lattice import Extent
from landweave.sources.resampling.kernels import Filter, Lines, Plane, Points, Sampler, find_taps
from landweave.sources.resampling.pixel_coordinates import Axes, Nodes

_STRIP_PIXELS = {"Axes": 2**18, "Nodes": 2**14}
"""Pixels resampled together: what is at hand stays in a core's cache."""

DType = np.dtype[Any]


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Pixels of a frame, or of the grid once resampled.

    Attributes
    ----------
    values
        ``(band, y, x)``; anything where nothing is measured.
    rank
        Unsigned ``(y, x)``: place of the tile each pixel came from, the dtype's largest value (`nothing`) where there
        is no measurement.
    extent
        The pixels.
    """

    values: NDArray[Any]
    rank: NDArray[Any]
    extent: Extent

    @classmethod
    def blank(cls, bands: int, extent: Extent, *, dtype: DType, ranks: DType) -> Patch:
        """Nothing measured yet, in ``dtype``; ``ranks`` is the dtype of `rank`."""
        rank = np.full(extent.shape, np.iinfo(ranks).max, ranks)
        return cls(values=np.zeros((bands, *extent.shape), dtype), rank=rank, extent=extent)

    @property
    def nothing(self) -> int:
        """Rank of a pixel that no tile gave."""
        return int(np.iinfo(self.rank.dtype).max)


def resample(source: Patch, places: Axes | Nodes, extent: Extent, *, using: Filter, dtype: DType) -> Patch:
    """``source`` on the pixels of ``extent``, whose coordinates in the frame are ``places``.

    Parameters
    ----------
    source
        Every measurement that the kernel may touch, and around them a ring of pixels without any.
    places
        From `landweave.sources.resampling.pixel_coordinates.locate`.
    extent
        Pixels of the grid to answer.
    using
        The kernel.
    dtype
        Of the answer. Values are computed in float32 (float64 for 32-bit integers and float64) and, for an integer
        dtype, rounded once and clipped to its range.
    """
    answer = Patch.blank(len(source.values), extent, dtype=dtype, ranks=source.rank.dtype)
    for rows, sampler in _strips(source, places, extent, using):
        picked, answer.rank[rows] = _nearest(source, sampler, values=using.kernel == "nearest")
        answer.values[:, rows] = picked if using.kernel == "nearest" else _blend(source, sampler, dtype)
    return answer


def _strips(source: Patch, places: Axes | Nodes, extent: Extent, using: Filter) -> Iterator[tuple[slice, Sampler]]:
    height, width = extent.shape
    step = max(1, _STRIP_PIXELS[type(places).__name__] // width)
    strips = [slice(top, min(top + step, height)) for top in range(0, height, step)]
    if isinstance(places, Nodes):
        for rows in strips:
            yield rows, Points.of(places.rows(rows), source.extent, using)
        return
    across = find_taps(places.x, source.extent.x, using.kernel, using.widths_yx[1])
    for rows in strips:
        yield rows, Lines.of(find_taps(places.y[rows], source.extent.y, using.kernel, using.widths_yx[0]), across)


def _nearest(source: Patch, sampler: Sampler, *, values: bool) -> tuple[Plane, Plane]:
    ranks = source.rank[sampler.window]
    rank = sampler.pick(ranks, 0)
    planes = [band[sampler.window] for band in source.values] if values else []
    picked = [sampler.pick(plane, 0) for plane in planes]
    for candidate in range(1, sampler.candidates):
        if (rank != source.nothing).all():
            break
        stand_in = sampler.pick(ranks, candidate)
        missing = (rank == source.nothing) & (stand_in != source.nothing)
        if missing.any():
            rank = np.where(missing, stand_in, rank)
            picked = [
                np.where(missing, sampler.pick(plane, candidate), done)
                for plane, done in zip(planes, picked, strict=True)
            ]
    return (np.stack(picked) if values else rank), rank


def _blend(source: Patch, sampler: Sampler, dtype: DType) -> Plane:
    work = np.result_type(source.values.dtype, np.float32)  # float64 for what float32 cannot hold exactly
    measured = source.rank[sampler.window] != source.nothing
    whole = bool(measured.all())
    if not whole:
        full, weight = sampler.every(measured), sampler.blend(measured.astype(work))
        # A pixel's bits may not depend on whether some other pixel of the strip is masked: divide only where needed.
        weight = np.where(full | (weight <= 0), work.type(1), weight)
    answer = []
    for band in source.values:
        plane = band[sampler.window].astype(work)
        if not whole:
            plane = np.where(measured, plane, work.type(0))
        blended = sampler.blend(plane)
        answer.append(_rounded(blended if whole else blended / weight, dtype))
    return np.stack(answer)


def _rounded(values: Plane, dtype: DType) -> Plane:
    if dtype.kind not in "iu":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    rounded: Plane = np.clip(np.floor(values + values.dtype.type(0.5)), limits.min, limits.max).astype(dtype)
    return rounded
