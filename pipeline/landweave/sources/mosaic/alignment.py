"""How tiles come onto the grid, decided once for the whole delivery: pasted as they are, or all resampled."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import hypot

import numpy as np
from affine import Affine
from rasterio.warp import transform_bounds

from landweave.core.grid import Grid, exact
from landweave.core.lattice import Extent
from landweave.sources.mosaic.spec import Kernel
from landweave.sources.mosaic.tile_index import PASTE_PX, Floats, Ints, TileIndex, corners, place_on

_NATIVE_PX = 1 / 100
"""How far a grid with a readable resolution may lie from a mosaic's real pixels, anywhere on it."""


@dataclass(frozen=True, kw_only=True)
class Frame:
    """Tiles that share one lattice of pixels; what is read of them is one image without seams.

    Attributes
    ----------
    crs, transform
        The lattice; ``transform`` goes from (column, row) to CRS coordinates of pixel corners.
    tiles
        int64 ``(tile,)``: places in the index, ascending, so in reading order.
    origins, shapes
        int64 ``(tile, 2)``: row and column of each tile's first pixel, height and width.
    extent
        Pixels of the lattice that hold all tiles.
    ground
        Pixels of the grid that may be answered from it.
    """

    crs: str
    transform: Affine
    tiles: Ints
    origins: Ints
    shapes: Ints
    extent: Extent
    ground: Extent

    def touching(self, window: Extent) -> Ints:
        """Positions in `tiles` of those that have pixels in ``window``, in reading order."""
        starts = np.maximum(self.origins, (window.y.start, window.x.start))
        stops = np.minimum(self.origins + self.shapes, (window.y.stop, window.x.stop))
        return np.flatnonzero((starts < stops).all(axis=1))

    def place(self, position: int) -> Extent:
        """Pixels of the lattice that one tile covers."""
        (top, left), (height, width) = self.origins[position].tolist(), self.shapes[position].tolist()
        return Extent.of((top, top + height), (left, left + width))


@dataclass(frozen=True, kw_only=True)
class TileOffset:
    """Where one tile lies beside the grid.

    Attributes
    ----------
    tile, crs
        Its id and CRS.
    pixel_xy
        Size of its pixel in CRS units.
    offset_yx_px
        How far its north-west corner lies from the nearest pixel corner of the grid, in pixels down and across; NaN
        in another CRS.
    deviation_px
        The largest such distance of its four corners if it were pasted; NaN in another CRS.
    """

    tile: str
    crs: str
    pixel_xy: tuple[float, float]
    offset_yx_px: tuple[float, float]
    deviation_px: float


@dataclass(frozen=True, kw_only=True)
class Alignment:
    """The decision for a delivery, and what it rests on.

    Attributes
    ----------
    pasted
        Whether tiles are copied by whole pixels. All of them or none: a mixture would show as sharpness seams.
    reason
        Why, with the worst tile.
    resampling
        Kernel in use; ``paste`` when there is none.
    frames
        Lattices that the tiles lie on. When pasted, the grid's own.
    offsets, deviations
        float64 ``(tile, 2)`` and ``(tile,)``, as in `TileOffset`.
    """

    pasted: bool
    reason: str
    resampling: str
    frames: tuple[Frame, ...]
    offsets: Floats
    deviations: Floats


def align(index: TileIndex, grid: Grid) -> Alignment:
    """The decision for ``index`` on the pixels of ``grid``, whose extent plays no part."""
    lattice = Affine(
        float(grid.resolution), 0, float(grid.anchor_xy[0]), 0, -float(grid.resolution), float(grid.anchor_xy[1])
    )
    origins, offsets, deviations = place_on(lattice, index.transforms, index.shapes)
    foreign = index.crs != grid.crs
    offsets[foreign], deviations[foreign] = np.nan, np.nan
    pasted = bool((deviations <= PASTE_PX).all())
    if pasted:
        everything = np.arange(len(index.tiles))
        frames: tuple[Frame, ...] = (_frame(index, lattice, everything, origins, grid),)
    else:
        frames = _group(index, grid)
    kernel: Kernel | str = "paste" if pasted else index.spec.resampling
    return Alignment(
        pasted=pasted,
        reason=_reason(index, grid, deviations),
        resampling=kernel,
        frames=frames,
        offsets=offsets,
        deviations=deviations,
    )


def tile_offsets(index: TileIndex, alignment: Alignment) -> list[TileOffset]:
    """One record a tile, in reading order, for a table."""
    return [
        TileOffset(
            tile=tile.id,
            crs=tile.crs,
            pixel_xy=_pixel(tile.transform),
            offset_yx_px=(float(offset[0]), float(offset[1])),
            deviation_px=float(deviation),
        )
        for tile, offset, deviation in zip(index.tiles, alignment.offsets, alignment.deviations, strict=True)
    ]


@dataclass(frozen=True, kw_only=True)
class NativeGrid:
    """A mosaic's own pixels as a grid over all of it, or None with the reason why it has none."""

    grid: Grid | None
    reason: str


def native_grid(index: TileIndex) -> NativeGrid:
    """The grid that the tiles themselves lie on.

    Its resolution is the shortest decimal that stays within a hundredth of a pixel of the real pixels everywhere, its
    anchor the first corner at or after the CRS origin; tiles that count from that origin keep it as their anchor.
    """
    first = index.tiles[0]
    if len(set(index.crs.tolist())) > 1:
        return NativeGrid(grid=None, reason=f"tiles lie in {sorted(set(index.crs.tolist()))}")
    width, height = _pixel(first.transform)
    span = int(_span(index, first.transform))
    square = abs(width - height) / width * span
    if first.transform.b or first.transform.d or first.transform.a < 0 or first.transform.e > 0:
        return NativeGrid(grid=None, reason=f"{first.id} is not north up")
    if square > PASTE_PX:
        return NativeGrid(grid=None, reason=f"pixels of {first.id} are not square: {width} by {height}")
    _, _, deviations = place_on(first.transform, index.transforms, index.shapes)
    worst = int(deviations.argmax())
    if deviations[worst] > PASTE_PX:
        return NativeGrid(
            grid=None,
            reason=f"{index.tiles[worst].id} lies {deviations[worst]:.3f} px off the pixels of {first.id} "
            f"({PASTE_PX} allowed)",
        )
    resolution = _readable(width, _NATIVE_PX / span)
    digits = _NATIVE_PX * float(resolution)
    anchor = tuple(
        _readable(value, digits / abs(value) if value else 1) % resolution
        for value in (first.transform.c, first.transform.f)
    )
    points = corners(index.transforms, index.shapes)
    middle = Fraction(1, 2) * resolution  # outer corners may lie a hair outside their pixel: go half a pixel in
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    bounds = [exact(float(value)) + middle for value in low] + [exact(float(value)) - middle for value in high]
    grid = Grid.from_bounds(bounds, crs=first.crs, resolution=resolution, anchor_xy=(anchor[0], anchor[1]))
    return NativeGrid(grid=grid, reason=f"{len(index.tiles)} tiles share pixels of {float(resolution)}")


def _readable(value: float, tolerance: float) -> Fraction:
    """The decimal with the fewest digits within a relative ``tolerance`` of ``value``."""
    for digits in range(17):
        rounded = round(value, digits)
        if abs(rounded - value) <= tolerance * abs(value):
            return exact(rounded)
    return exact(value)


def _span(index: TileIndex, transform: Affine) -> float:
    """Longest side of the delivery, in pixels."""
    points = corners(index.transforms, index.shapes)
    sides = points.max(axis=(0, 1)) - points.min(axis=(0, 1))
    return float(max(sides / np.array(_pixel(transform)))) + 1


def _pixel(transform: Affine) -> tuple[float, float]:
    return hypot(transform.a, transform.d), hypot(transform.b, transform.e)


def _reason(index: TileIndex, grid: Grid, deviations: Floats) -> str:
    foreign = np.isnan(deviations)
    if foreign.any():
        first = index.tiles[int(foreign.argmax())]
        return f"{int(foreign.sum())} of {len(foreign)} tiles are not in {grid.crs[:40]}, {first.id} the first"
    worst = int(deviations.argmax())
    relation = "at most" if deviations[worst] <= PASTE_PX else "more than"
    return (
        f"{relation} {PASTE_PX} px off the grid: {deviations[worst]:.4f} px at the worst, {index.tiles[worst].id} "
        f"with pixels of {' x '.join(f'{side:.8g}' for side in _pixel(index.tiles[worst].transform))}"
    )


def _group(index: TileIndex, grid: Grid) -> tuple[Frame, ...]:
    """Frames for resampling: each starts with the first tile left, and takes all that lie on its pixels."""
    left = np.arange(len(index.tiles))
    frames = []
    while left.size:
        first = index.tiles[int(left[0])]
        origins, _, deviations = place_on(first.transform, index.transforms[left], index.shapes[left])
        same = (deviations <= PASTE_PX) & (index.crs[left] == first.crs)
        frames.append(_frame(index, first.transform, left[same], origins[same], grid))
        left = left[~same]
    return tuple(frames)


def _frame(index: TileIndex, lattice: Affine, members: Ints, origins: Ints, grid: Grid) -> Frame:
    shapes = index.shapes[members]
    (top, left), (bottom, right) = origins.min(axis=0).tolist(), (origins + shapes).max(axis=0).tolist()
    crs = str(index.crs[members[0]])
    points = corners(index.transforms[members], shapes)
    low, high = points.min(axis=(0, 1)), points.max(axis=(0, 1))
    bounds = (*low.tolist(), *high.tolist())
    if crs != grid.crs:
        bounds = transform_bounds(crs, grid.crs, *bounds, densify_pts=101)
    return Frame(
        crs=crs,
        transform=lattice,
        tiles=members,
        origins=origins,
        shapes=shapes,
        extent=Extent.of((top, bottom), (left, right)),
        ground=grid.covering(bounds).grow(2),  # a densified outline may fall short of its curve by less than that
    )
