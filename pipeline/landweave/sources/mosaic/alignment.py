"""How tiles come onto the grid, decided once for the whole mosaic: all pasted as they are, or all resampled."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import hypot

import numpy as np
from affine import Affine
from pyproj.exceptions import ProjError

from landweave.core.errors import InputError
from landweave.core.grid import Grid, exact
from landweave.core.lattice import Extent
from landweave.sources.mosaic.tile_index import Floats, Ints, TileIndex, corner_bounds, lattice_origins
from landweave.sources.resampling.kernels import PASTE_PX, ResamplingKernel
from landweave.sources.resampling.pixel_coordinates import Frame, bounds_in, pixels_per_pixel

_NATIVE_PX = 1 / 100
"""How far a grid with a readable resolution may be from a mosaic's real pixels, anywhere on it."""

_OTHER_PIXEL = 1 / 100
"""Share by which a pixel is larger or smaller than the grid's that is not meant to be one of it."""


@dataclass(frozen=True, kw_only=True)
class TileFrame:
    """Tiles that share one lattice of pixels: they are read as one image without seams.

    Attributes
    ----------
    frame
        The lattice, its pixels that hold all tiles, and those of the grid that they may give.
    tiles
        int64 ``(tile,)``: places in the index, ascending, so in reading order.
    origins, shapes
        int64 ``(tile, 2)``: row and column of each tile's first pixel on the lattice, height and width.
    kernel
        How the lattice is resampled to the grid; None when the tiles are pasted.
    """

    frame: Frame
    tiles: Ints
    origins: Ints
    shapes: Ints
    kernel: ResamplingKernel | None

    def touching(self, window: Extent) -> Ints:
        """Positions in `tiles` of those that have pixels in ``window``, in reading order."""
        starts = np.maximum(self.origins, (window.y.start, window.x.start))
        stops = np.minimum(self.origins + self.shapes, (window.y.stop, window.x.stop))
        return np.flatnonzero((starts < stops).all(axis=1))

    def tile_extent(self, position: int) -> Extent:
        """Pixels of the lattice that one tile covers."""
        (top, left), (height, width) = self.origins[position].tolist(), self.shapes[position].tolist()
        return Extent.of((top, top + height), (left, left + width))


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """The decision for a mosaic, and what it rests on.

    Attributes
    ----------
    pasted
        Whether tiles are copied by whole pixels. All of them or none: a mixture would show as sharpness seams.
    reason
        Why, with the worst tile.
    resampling
        Name of the kernel; ``paste`` when there is none.
    frames
        Lattices of the tiles. When pasted, the grid's own.
    deviations
        float64 ``(tile,)``: the largest distance in pixels of a tile's corners from pixel corners of the grid if it
        were pasted; NaN in another CRS.
    """

    pasted: bool
    reason: str
    resampling: str
    frames: tuple[TileFrame, ...]
    deviations: Floats


def align(index: TileIndex, grid: Grid) -> Alignment:
    """How the tiles of ``index`` come onto the pixels of ``grid``.

    Parameters
    ----------
    index
        The tiles.
    grid
        The pixels; its extent plays no part.
    """
    lattice = grid.with_extent(Extent.of((0, 1), (0, 1))).transform
    origins, deviations = lattice_origins(lattice, index.corners, index.shapes)
    deviations[index.crs != grid.crs] = np.nan
    pasted = bool((deviations <= PASTE_PX).all())
    everything = np.arange(len(index.tiles))
    return Alignment(
        pasted=pasted,
        reason=_reason(index, grid, deviations),
        resampling="paste" if pasted else index.spec.resampling,
        frames=(_frame(index, lattice, everything, origins, grid, pasted=True),) if pasted else _group(index, grid),
        deviations=deviations,
    )


@dataclass(frozen=True, kw_only=True)
class NativeGrid:
    """A mosaic's own pixels as a grid over all of it, or None with the reason why it has none."""

    grid: Grid | None
    reason: str


def native_grid(index: TileIndex) -> NativeGrid:
    """The grid of the tiles' own pixels.

    Its resolution is the shortest decimal that stays within a hundredth of a pixel of the real pixels everywhere, its
    anchor the first corner at or after the CRS origin; tiles that count from that origin keep it as their anchor.
    """
    reason = _why_not_native(index)
    if reason:
        return NativeGrid(grid=None, reason=reason)
    first = index.tiles[0]
    resolution = _readable(first.pixel, _NATIVE_PX / int(_span(index, first.transform)))
    digits = _NATIVE_PX * float(resolution)
    anchor_x, anchor_y = (
        _readable(value, digits / abs(value) if value else 1) % resolution
        for value in (first.transform.c, first.transform.f)
    )
    x0, y0, x1, y1 = map(exact, corner_bounds(index.corners))
    half = resolution / 2  # outer corners may lie a hair outside their pixel: go half a pixel in
    grid = Grid.from_bounds(
        (x0 + half, y0 + half, x1 - half, y1 - half),
        crs=first.crs,
        resolution=resolution,
        anchor_xy=(anchor_x, anchor_y),
    )
    return NativeGrid(grid=grid, reason=f"{len(index.tiles)} tiles share pixels of {float(resolution)}")


def _why_not_native(index: TileIndex) -> str:
    first = index.tiles[0]
    if len(set(index.crs.tolist())) > 1:
        return f"tiles lie in {sorted(set(index.crs.tolist()))}"
    width, height = _pixel(first.transform)
    if first.transform.b or first.transform.d or first.transform.a < 0 or first.transform.e > 0:
        return f"{first.id} is not north up"
    if abs(width - height) / width * int(_span(index, first.transform)) > PASTE_PX:
        return f"pixels of {first.id} are not square: {width} by {height}"
    _, deviations = lattice_origins(first.transform, index.corners, index.shapes)
    worst = int(deviations.argmax())
    if deviations[worst] <= PASTE_PX:
        return ""
    off = f"{deviations[worst]:.3f} px off the pixels of {first.id} ({PASTE_PX} allowed)"
    return f"{index.tiles[worst].id} lies {off}"


def _readable(value: float, tolerance: float) -> Fraction:
    """The decimal with the fewest digits within a relative ``tolerance`` of ``value``."""
    for digits in range(17):
        rounded = round(value, digits)
        if abs(rounded - value) <= tolerance * abs(value):
            return exact(rounded)
    return exact(value)


def _span(index: TileIndex, transform: Affine) -> float:
    """Longest side of the mosaic, in pixels."""
    x0, y0, x1, y1 = corner_bounds(index.corners)
    return float(max(np.array([x1 - x0, y1 - y0]) / np.array(_pixel(transform)))) + 1


def _pixel(transform: Affine) -> tuple[float, float]:
    return hypot(transform.a, transform.d), hypot(transform.b, transform.e)


def _reason(index: TileIndex, grid: Grid, deviations: Floats) -> str:
    foreign = np.isnan(deviations)
    if foreign.any():
        first = index.tiles[int(foreign.argmax())]
        return f"{int(foreign.sum())} of {len(foreign)} tiles are not in {grid.crs[:40]}, {first.id} the first"
    worst = int(deviations.argmax())
    tile, step, pixel = index.tiles[worst], index.tiles[worst].transform, float(grid.resolution)
    sides = " x ".join(f"{side:.8g}" for side in _pixel(step))
    if step.b or step.d or step.a < 0 or step.e > 0:
        return f"{tile.id} is not north up"
    if max(abs(side / pixel - 1) for side in _pixel(step)) > _OTHER_PIXEL:  # how far its corners are off says nothing
        return f"{tile.id} has pixels of {sides}, the grid of {pixel:.8g}"
    relation = "at most" if deviations[worst] <= PASTE_PX else "more than"
    return (
        f"{relation} {PASTE_PX} px off the grid: {deviations[worst]:.4f} px at the worst, {tile.id} with pixels of "
        f"{sides}"
    )


def _group(index: TileIndex, grid: Grid) -> tuple[TileFrame, ...]:
    """Frames for resampling: each starts with the first tile left, and takes all that share its pixels."""
    left = np.arange(len(index.tiles))
    frames = []
    while left.size:
        first = index.tiles[int(left[0])]
        origins, deviations = lattice_origins(first.transform, index.corners[left], index.shapes[left])
        same = (deviations <= PASTE_PX) & (index.crs[left] == first.crs)
        frames.append(_frame(index, first.transform, left[same], origins[same], grid, pasted=False))
        left = left[~same]
    return tuple(frames)


def _frame(index: TileIndex, lattice: Affine, members: Ints, origins: Ints, grid: Grid, *, pasted: bool) -> TileFrame:
    shapes = index.shapes[members]
    (top, left), (bottom, right) = origins.min(axis=0).tolist(), (origins + shapes).max(axis=0).tolist()
    crs = str(index.crs[members[0]])
    try:
        bounds = bounds_in(corner_bounds(index.corners[members]), crs, grid.crs)
    except ProjError:
        bounds = (np.inf,) * 4
    if not np.isfinite(bounds).all():
        raise InputError(
            f"{index.tiles[int(members[0])].id} lies at {corner_bounds(index.corners[members])} of {crs[:60]}, which "
            f"{grid.crs[:60]} does not reach: is its CRS right?"
        )
    frame = Frame(
        crs=crs,
        transform=lattice,
        extent=Extent.of((top, bottom), (left, right)),
        grid_extent=grid.covering(bounds).grow(2),  # a densified outline is short of its curve by less than that
    )
    kernel = None if pasted else ResamplingKernel.of(index.spec.resampling, pixels_per_pixel(grid, frame))
    return TileFrame(frame=frame, tiles=members, origins=origins, shapes=shapes, kernel=kernel)
