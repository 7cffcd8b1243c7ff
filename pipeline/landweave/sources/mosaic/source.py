"""Aerial tiles as a source: an index from headers, then pixels on the grid, pasted or resampled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.warp import transform_bounds

from landweave.core.errors import ReadError
from landweave.core.grid import Bounds, Grid
from landweave.core.lattice import Extent
from landweave.core.protocols import Raster, ReadCost, SourceFile
from landweave.sources.mosaic.alignment import Alignment, Frame, TileOffset, align, tile_offsets
from landweave.sources.mosaic.spec import MosaicSpec, check_request
from landweave.sources.mosaic.tile_index import Tile, TileIndex, corners, index_tiles, refuse_unpaired
from landweave.sources.mosaic.tile_reader import TileReader
from landweave.sources.resampling.kernels import Filter
from landweave.sources.resampling.pixel_coordinates import locate, pixels_per_pixel, window_of
from landweave.sources.resampling.resample import Patch, resample


@dataclass(frozen=True, kw_only=True)
class MosaicSource:
    """One delivery of tiles on one grid. Picklable; open it with `MosaicSource.open`.

    Attributes
    ----------
    index
        The tiles.
    grid
        Pixels the delivery was aligned with; reads are on these pixels, over any extent.
    alignment
        Paste or resample, decided for the whole delivery.
    filters
        Kernel of each frame; empty when pasted.
    """

    index: TileIndex
    grid: Grid
    alignment: Alignment
    filters: tuple[Filter, ...]

    @classmethod
    def open(cls, spec: MosaicSpec, grid: Grid, *, workers: int = 8) -> MosaicSource:
        """The delivery ``spec`` on the pixels of ``grid``, from headers alone.

        Parameters
        ----------
        spec
            Which files, and how to read them.
        grid
            Pixels to align with. Over its extent every product must be there.
        workers
            Headers read at a time.

        Raises
        ------
        InputError
            As `index_tiles`, and when products do not share their footprints on the ground of ``grid``.
        """
        return cls.of(index_tiles(spec, workers=workers), grid)

    @classmethod
    def of(cls, index: TileIndex, grid: Grid) -> MosaicSource:
        """The delivery of an ``index`` that was read before."""
        _check_registration(index, grid)
        alignment = align(index, grid)
        filters = (
            ()
            if alignment.pasted
            else tuple(Filter.of(index.spec.resampling, pixels_per_pixel(grid, frame)) for frame in alignment.frames)
        )
        return cls(index=index, grid=grid, alignment=alignment, filters=filters)

    @property
    def modality(self) -> str:
        """FLAIR-HUB's name."""
        return self.index.spec.modality

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands it can give, by name, in the order they were listed."""
        return tuple(self.index.spec.bands)

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """What the map's meaning rests on: scene ids in reading order, bands, rules, kernel; plain JSON values."""
        spec = self.index.spec
        return {
            "modality": spec.modality,
            "bands": {
                name: {"product": place, "band": number}
                for place, product in enumerate(self.index.products)
                for name, number in zip(product.names, product.numbers, strict=True)
            },
            "scenes": [tile.id for tile in self.index.tiles],
            "resampling": self.alignment.resampling,
            "crs": spec.crs,
            "nodata": spec.nodata,
            "nodata_border": spec.nodata_border_level if spec.nodata_border else None,
            "nodes": spec.nodes,
            "dtype": self.dtype.name,
        }

    @property
    def dtype(self) -> np.dtype[Any]:
        """Of the values given: the files' own, or float32 where the delivery asks for it."""
        return np.dtype(np.float32) if self.index.spec.as_float else self.index.dtype

    def bounds(self, grid: Grid) -> Bounds | None:
        """Bounds ``(x0, y0, x1, y1)`` of all tiles in the CRS of ``grid``."""
        boxes = [_tile_bounds(self.index, crs, grid.crs) for crs in dict.fromkeys(self.index.crs.tolist())]
        x0, y0, x1, y1 = zip(*boxes, strict=True)
        return min(x0), min(y0), max(x1), max(y1)

    def files(self, grid: Grid) -> tuple[SourceFile, ...]:
        """Files that touch ``grid``, tile by tile in reading order. No pixel is read."""
        places = sorted({int(frame.tiles[position]) for frame, position, _ in self._touched(grid)})
        return tuple(
            SourceFile(
                id=tile.id if header is tile.files[0] else f"{tile.id}#{product}",
                location=header.path,
                size=header.size,
                version=header.version,
                format=header.driver,
            )
            for tile in (self.index.tiles[place] for place in places)
            for product, header in enumerate(tile.files)
        )

    def cost(self, grid: Grid) -> ReadCost:
        """File bytes and decoded pixels x bands of a `read` of ``grid``, counting whole blocks of the files."""
        touched, decoded = 0.0, dict[str, int]()
        for frame, position, part in self._touched(grid):
            tile = self.index.tiles[int(frame.tiles[position])]
            for header in tile.files:
                pixels = _whole_blocks(part, header.block, header.shape)
                touched += header.size * pixels / (header.shape[0] * header.shape[1])
                decoded[header.driver] = decoded.get(header.driver, 0) + pixels * header.count
        return ReadCost(bytes=round(touched), decoded_pixels=decoded)

    def read(self, grid: Grid, bands: Sequence[str]) -> Raster:
        """Pixels of ``bands`` on exactly ``grid``, in `dtype`; invalid beyond the tiles and where they hold no data.

        A pixel has the same bits whatever extent is read and whichever bands with it.

        Raises
        ------
        ReadError
            When a file cannot be read; the ground is named.
        ConfigError
            When the grid is of other pixels than the source was opened on, or a band is not one of `bands`.
        """
        check_request(self, grid, bands)
        best = self._blank(len(bands), grid.extent, self.dtype)
        for place, part in self._frames_under(grid):
            if self.alignment.pasted:
                self._fill(best, self.alignment.frames[place], part.extent, bands)
            else:
                _put_first(best, self._resample(part, place, bands))
        return Raster(values=best.values, valid=best.rank != best.nothing)

    def describe(self) -> dict[str, Any]:
        """What `check` prints: the tiles, the decision and what it rests on, what was noted; plain values."""
        index, alignment = self.index, self.alignment
        return {
            "modality": self.modality,
            "bands": list(self.bands),
            "tiles": len(index.tiles),
            "files": len(index.tiles) * len(index.products),
            "dtype": index.dtype.name,
            "crs": sorted(set(index.crs.tolist())),
            "frames": len(alignment.frames),
            "alignment": "paste" if alignment.pasted else "resample",
            "reason": alignment.reason,
            "resampling": alignment.resampling,
            "notes": list(index.notes),
        }

    def offsets(self) -> list[TileOffset]:
        """How far each tile lies from the grid, in reading order."""
        return tile_offsets(self.index, self.alignment)

    @cached_property
    def _grounds(self) -> NDArray[np.int64]:
        """int64 ``(frame, 4)``: first and last row, first and last column of each frame's ground, last excluded."""
        grounds = [frame.ground for frame in self.alignment.frames]
        return np.array([(g.y.start, g.y.stop, g.x.start, g.x.stop) for g in grounds], np.int64)

    def _frames_under(self, grid: Grid) -> Iterator[tuple[int, Grid]]:
        """Frames that may have pixels on ``grid``, each with the part of the grid it may answer."""
        y, x = grid.extent.y, grid.extent.x
        tops, bottoms, lefts, rights = self._grounds.T
        for place in np.flatnonzero((tops < y.stop) & (y.start < bottoms) & (lefts < x.stop) & (x.start < rights)):
            yield int(place), grid.with_extent(grid.extent.intersect(self.alignment.frames[place].ground))

    def _blank(self, bands: int, extent: Extent, dtype: np.dtype[Any]) -> Patch:
        return Patch.blank(bands, extent, dtype=dtype, ranks=np.min_scalar_type(len(self.index.tiles) + 1))

    def _resample(self, grid: Grid, place: int, bands: Sequence[str]) -> Patch:
        frame, using = self.alignment.frames[place], self.filters[place]
        window = window_of(grid, frame, using.margin)
        source = self._blank(len(bands), window.grow(1), self.index.dtype)
        self._fill(source, frame, window, bands)
        if (source.rank == source.nothing).all():
            return self._blank(len(bands), grid.extent, self.dtype)
        return resample(source, locate(grid, frame), grid.extent, using=using, dtype=self.dtype)

    def _fill(self, patch: Patch, frame: Frame, window: Extent, bands: Sequence[str]) -> None:
        """Lay the tiles of a frame under each other, the first on top, into the ``window`` of a patch."""
        for position in frame.touching(window).tolist():
            whole = frame.place(position)
            part = whole.intersect(window)
            rows, columns = part.slices_in(patch.extent)
            rank = patch.rank[rows, columns]
            vacant = rank == patch.nothing
            if not vacant.any():
                continue
            place = int(frame.tiles[position])
            tile = self.index.tiles[place]
            values, measured = self._read_tile(tile, _inside(part, whole), bands)
            measured &= vacant
            if measured.all():  # the common case: one tile, all of it measured
                patch.values[:, rows, columns], rank[:] = values, place
            else:
                np.copyto(patch.values[:, rows, columns], values, where=measured)
                np.copyto(rank, rank.dtype.type(place), where=measured)

    def _read_tile(self, tile: Tile, window: Extent, bands: Sequence[str]) -> tuple[NDArray[Any], NDArray[np.bool_]]:
        spec = self.index.spec
        reader = TileReader(
            products=self.index.products,
            nodata=spec.nodata,
            nodata_border_level=spec.nodata_border_level if spec.nodata_border else None,
        )
        try:
            return reader.read(tile, window, bands)
        except ReadError as error:
            (x0, y0), (x1, y1) = (
                tile.transform @ (x, y) for x, y in ((window.x.start, window.y.stop), (window.x.stop, window.y.start))
            )
            raise ReadError(
                f"{error} [{tile.id}, rows {window.y.start}-{window.y.stop}, columns {window.x.start}-{window.x.stop}, "
                f"ground ({x0:.2f}, {y0:.2f}, {x1:.2f}, {y1:.2f}) in {tile.crs[:40]}]"
            ) from error

    def _touched(self, grid: Grid) -> Iterator[tuple[Frame, int, Extent]]:
        """Frame, position in it and pixels of the tile, for every tile that a read of ``grid`` may open."""
        for place, part in self._frames_under(grid):
            frame, pasted = self.alignment.frames[place], self.alignment.pasted
            window = part.extent if pasted else window_of(part, frame, self.filters[place].margin)
            for position in frame.touching(window).tolist():
                whole = frame.place(position)
                yield frame, position, _inside(whole.intersect(window), whole)


def _inside(part: Extent, whole: Extent) -> Extent:
    """``part`` counted from the first pixel of ``whole``."""
    (rows, columns) = part.slices_in(whole)
    return Extent.of((rows.start, rows.stop), (columns.start, columns.stop))


def _put_first(best: Patch, patch: Patch) -> None:
    """Give every pixel to the earlier tile; they are on the same pixels, ``patch`` over a part of ``best``."""
    rows, columns = patch.extent.slices_in(best.extent)
    rank = best.rank[rows, columns]
    earlier = patch.rank < rank
    np.copyto(best.values[:, rows, columns], patch.values, where=earlier)
    np.copyto(rank, patch.rank, where=earlier)


def _whole_blocks(part: Extent, block: tuple[int, int], shape: tuple[int, int]) -> int:
    pixels = 1
    for span, size, limit in ((part.y, block[0], shape[0]), (part.x, block[1], shape[1])):
        pixels *= min(span.snap(size).stop, limit) - span.snap(size).start
    return pixels


def _tile_bounds(index: TileIndex, crs: str, target: str) -> Bounds:
    points = corners(index.transforms, index.shapes)[index.crs == crs]
    (x0, y0), (x1, y1) = points.min(axis=(0, 1)).tolist(), points.max(axis=(0, 1)).tolist()
    if crs == target:
        return x0, y0, x1, y1
    bounds: Bounds = transform_bounds(crs, target, x0, y0, x1, y1, densify_pts=101)
    return bounds


def _check_registration(index: TileIndex, grid: Grid) -> None:
    """Refuse products that do not lie on each other's footprints where the grid needs them."""
    needed = []
    for tile in index.unpaired:
        points = corners(np.array([tuple(tile.transform)[:6]]), np.array([tile.shape]))[0]
        (x0, y0), (x1, y1) = points.min(axis=0).tolist(), points.max(axis=0).tolist()
        bounds = grid.bounds if tile.crs == grid.crs else transform_bounds(grid.crs, tile.crs, *grid.bounds)
        if x0 < bounds[2] and bounds[0] < x1 and y0 < bounds[3] and bounds[1] < y1:
            needed.append(tile)
    refuse_unpaired(needed, index.unpaired, index.spec.modality)
