"""Pixels of an image resampled to the pixels of a grid, by numpy alone.

GDAL's warper is not used. It gives the same bits for any extent only with one fixed target for the whole delivery, its
kernels see one tile at a time, and with an exact transformer it is no faster: over 4096 x 4096 pixels, per band and
side by side, as fast as this without nodata, half as fast with it, a third as fast between two coordinate systems. Here
a pixel is a fixed sequence of float operations on the measurements around it, whatever else is read.

Pixels that hold no measurement never enter a kernel (its weights are renormalised over those that do), and a pixel is
valid where the nearest one is, within `landweave.sources.resampling.kernels.EDGE_PX` of it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.lattice import Extent
from landweave.sources.resampling.kernels import (
    Plane,
    PointSampler,
    ResamplingKernel,
    Sampler,
    SeparableSampler,
    kernel_weights,
)
from landweave.sources.resampling.pixel_coordinates import AxisCoordinates, InterpolatedCoordinates

_PIXELS_AT_ONCE = {AxisCoordinates: 2**18, InterpolatedCoordinates: 2**14}
"""Pixels resampled together: what is at hand stays in a core's cache."""

DType = np.dtype[Any]
Coordinates = AxisCoordinates | InterpolatedCoordinates


@dataclass(frozen=True, kw_only=True)
class Patch:
    """Pixels of an image, or of the grid once resampled.

    Attributes
    ----------
    values
        ``(band, y, x)``; anything where nothing is measured.
    rank
        Unsigned ``(y, x)``: reading order of the tile each pixel comes from, the dtype's largest value (`no_rank`)
        where there is no measurement.
    extent
        The pixels.
    """

    values: NDArray[Any]
    rank: NDArray[Any]
    extent: Extent

    @classmethod
    def empty(cls, bands: int, extent: Extent, *, dtype: DType, ranks: DType) -> Patch:
        """A patch without any measurement.

        Parameters
        ----------
        bands, extent
            Its size.
        dtype, ranks
            Of `values` and of `rank`.
        """
        rank = np.full(extent.shape, np.iinfo(ranks).max, ranks)
        return cls(values=np.zeros((bands, *extent.shape), dtype), rank=rank, extent=extent)

    @property
    def no_rank(self) -> int:
        """Rank of a pixel without a measurement."""
        return int(np.iinfo(self.rank.dtype).max)

    @property
    def measured(self) -> NDArray[np.bool_]:
        """Bool ``(y, x)``, True where there is a measurement."""
        measured: NDArray[np.bool_] = self.rank != self.no_rank
        return measured


def resample(
    source: Patch, coordinates: Coordinates, extent: Extent, *, kernel: ResamplingKernel, dtype: DType
) -> Patch:
    """``source`` on the pixels of ``extent``.

    Parameters
    ----------
    source
        Every measurement that the kernel may touch, and around them a ring of pixels without any.
    coordinates
        Of the pixels of ``extent``, from `landweave.sources.resampling.pixel_coordinates.pixel_coordinates`.
    extent
        Pixels of the grid.
    kernel
        Kernel and widths.
    dtype
        Of the result. Values are computed in float32 (float64 for 32-bit integers and float64) and, for an integer
        dtype, rounded once and clipped to its range.
    """
    result = Patch.empty(len(source.values), extent, dtype=dtype, ranks=source.rank.dtype)
    for rows, sampler in _samplers(source, coordinates, extent, kernel):
        picked, result.rank[rows] = _nearest(source, sampler, values=kernel.name == "nearest")
        result.values[:, rows] = picked if kernel.name == "nearest" else _blend(source, sampler, dtype)
    return result


def _samplers(
    source: Patch, coordinates: Coordinates, extent: Extent, kernel: ResamplingKernel
) -> Iterator[tuple[slice, Sampler]]:
    height, width = extent.shape
    step = max(1, _PIXELS_AT_ONCE[type(coordinates)] // width)
    bands_of_rows = [slice(top, min(top + step, height)) for top in range(0, height, step)]
    if isinstance(coordinates, InterpolatedCoordinates):
        for rows in bands_of_rows:
            yield rows, PointSampler.of(coordinates.rows(rows), source.extent, kernel)
        return
    (width_y, width_x), (y, x) = kernel.widths_yx, (source.extent.y, source.extent.x)
    across = kernel_weights(coordinates.x, x, kernel.name, width_x)
    for rows in bands_of_rows:
        yield rows, SeparableSampler.of(kernel_weights(coordinates.y[rows], y, kernel.name, width_y), across)


def _nearest(source: Patch, sampler: Sampler, *, values: bool) -> tuple[Plane, Plane]:
    ranks = source.rank[sampler.window]
    rank = sampler.pick(ranks, 0)
    planes = [band[sampler.window] for band in source.values] if values else []
    picked = [sampler.pick(plane, 0) for plane in planes]
    for candidate in range(1, sampler.candidates):
        if (rank != source.no_rank).all():
            break
        stand_in = sampler.pick(ranks, candidate)
        missing = (rank == source.no_rank) & (stand_in != source.no_rank)
        if missing.any():
            rank = np.where(missing, stand_in, rank)
            picked = [
                np.where(missing, sampler.pick(plane, candidate), done)
                for plane, done in zip(planes, picked, strict=True)
            ]
    return (np.stack(picked) if values else rank), rank


def _blend(source: Patch, sampler: Sampler, dtype: DType) -> Plane:
    work = np.result_type(source.values.dtype, np.float32)  # float64 for what float32 cannot hold exactly
    measured = source.rank[sampler.window] != source.no_rank
    whole = bool(measured.all())
    if not whole:
        full, weight = sampler.every(measured), sampler.blend(measured.astype(work))
        # A pixel's bits may not depend on whether some other pixel at hand is masked: divide only where needed.
        weight = np.where(full | (weight <= 0), work.type(1), weight)
    planes = []
    for band in source.values:
        plane = band[sampler.window].astype(work)
        if not whole:
            plane = np.where(measured, plane, work.type(0))
        blended = sampler.blend(plane)
        planes.append(_rounded(blended if whole else blended / weight, dtype))
    return np.stack(planes)


def _rounded(values: Plane, dtype: DType) -> Plane:
    if dtype.kind not in "iu":
        return values.astype(dtype)
    limits = np.iinfo(dtype)
    rounded: Plane = np.clip(np.floor(values + values.dtype.type(0.5)), limits.min, limits.max).astype(dtype)
    return rounded
