"""Aerial tiles as a source: an index from headers, then pixels on the grid, pasted or resampled."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray

from landweave.core.crs import transformation_note
from landweave.core.grid import Bounds, Grid
from landweave.core.lattice import Extent
from landweave.core.polygons import unite
from landweave.core.protocols import Raster, ReadCost, SourceFile
from landweave.sources.band_reading import BandReading, NodataValue, decide_files
from landweave.sources.mosaic.alignment import Alignment, TileFrame, align
from landweave.sources.mosaic.spec import MosaicSpec
from landweave.sources.mosaic.tile_index import Tile, TileIndex, corner_bounds, corners_of, index_tiles, refuse_unpaired
from landweave.sources.mosaic.tile_reader import read_tile
from landweave.sources.requests import check_bands, check_pixels
from landweave.sources.resampling.pixel_coordinates import bounds_in, pixel_coordinates, points_in, source_window
from landweave.sources.resampling.resample import Patch, resample

_SIDE_POINTS = 21
"""Points along each side of a tile in another CRS."""

_SAME_EDGE_PX = 1 / 20
"""A tile that reaches less far into a pixel does not cover it."""


@dataclass(frozen=True, kw_only=True)
class MosaicSource:
    """One mosaic on one grid. Picklable; open it with `MosaicSource.open`.

    Attributes
    ----------
    index
        The tiles.
    grid
        Pixels the mosaic was aligned with; reads are on these pixels, over any extent.
    alignment
        Paste or resample, decided for the whole mosaic.
    """

    index: TileIndex
    grid: Grid
    alignment: Alignment

    @classmethod
    def open(cls, spec: MosaicSpec, grid: Grid) -> MosaicSource:
        """The mosaic of ``spec`` on the pixels of ``grid``, from headers alone.

        Parameters
        ----------
        spec
            Which files, and how they are read.
        grid
            Pixels to align with. Over its extent every product must be there.

        Raises
        ------
        InputError
            As `index_tiles`, and when products do not cover the same ground under ``grid``.
        """
        return cls.of(index_tiles(spec), grid)

    @classmethod
    def of(cls, index: TileIndex, grid: Grid) -> MosaicSource:
        """The mosaic of an ``index`` that exists already on the pixels of ``grid``."""
        refuse_unpaired(_needed_on(grid, index.unpaired), index.unpaired, index.spec.modality)
        return cls(index=index, grid=grid, alignment=align(index, grid))

    @property
    def modality(self) -> str:
        """FLAIR-HUB's name."""
        return self.index.spec.modality

    @property
    def bands(self) -> tuple[str, ...]:
        """Bands it can give, by name, in the order they were listed."""
        return self.index.spec.given

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """Tile ids in reading order, products, and what is done with each band; plain JSON values."""
        spec = self.index.spec
        return {
            "modality": spec.modality,
            "products": [list(product.bands) for product in self.index.products],
            "scenes": [tile.id for tile in self.index.tiles],
            "resampling": self.alignment.resampling,
            "crs": spec.crs,
            "nodata": spec.nodata if spec.nodata is not None and np.isfinite(spec.nodata) else None,
            "nodata_rule": spec.nodata_rule,
            "nodata_border": spec.nodata_border_level if spec.nodata_border else None,
            "nodes": spec.nodes,
            "dtype": self.dtype.name,
            "pixels": {band: [asdict(reading) for reading in readings] for band, readings in self._decided.items()},
        }

    @property
    def dtype(self) -> np.dtype[Any]:
        """Dtype of the values: the files' own, or float32 where the settings say so."""
        return np.dtype(np.float32) if self.index.spec.as_float else self.index.dtype

    def bounds(self, grid: Grid) -> Bounds | None:
        """Bounds ``(x0, y0, x1, y1)`` of all tiles in the CRS of ``grid``."""
        index, boxes = self.index, []
        for crs in dict.fromkeys(index.crs.tolist()):
            members = index.crs == crs
            boxes.append(bounds_in(corner_bounds(index.corners[members]), crs, grid.crs))
        x0, y0, x1, y1 = zip(*boxes, strict=True)
        return min(x0), min(y0), max(x1), max(y1)

    def footprint(self, grid: Grid) -> shapely.Geometry:
        """Ground that may be measured, in whole pixels of ``grid`` and its CRS: the tiles as one geometry."""
        index, names = self.index, dict.fromkeys(self.index.crs.tolist())
        boxes = [_covering_boxes(index.corners[index.crs == crs], crs, grid) for crs in names]
        return unite(np.concatenate(boxes))

    def files(self, grid: Grid) -> tuple[SourceFile, ...]:
        """Files that touch ``grid``, tile by tile in reading order. No pixel is read."""
        places = sorted({place for place, _ in self._touched(grid)})
        return tuple(
            SourceFile(
                id=f"{tile.id}#{product}" if product else tile.id,
                location=facts.name,
                size=facts.size,
                version=facts.version,
                format=facts.driver,
            )
            for tile in (self.index.tiles[place] for place in places)
            for product, facts in enumerate(tile.files)
        )

    def cost(self, grid: Grid) -> ReadCost:
        """File bytes and decoded pixels x bands of a `read` of ``grid``, counting whole blocks of the files."""
        touched, decoded = 0.0, dict[str, int]()
        for place, part in self._touched(grid):
            for facts in self.index.tiles[place].files:
                whole, (block_y, block_x) = facts.extent, facts.block
                pixels = Extent(part.y.snap(block_y), part.x.snap(block_x)).intersect(whole).size
                touched += facts.size * pixels / whole.size
                decoded[facts.driver] = decoded.get(facts.driver, 0) + pixels * facts.count
        return ReadCost(bytes=round(touched), decoded_pixels=decoded)

    def read(self, grid: Grid, bands: Sequence[str]) -> Raster:
        """Pixels of ``bands`` on exactly ``grid``, in `dtype`; invalid beyond the tiles and where they hold no data.

        A pixel has the same bits whatever extent is read and whichever bands with it.

        Parameters
        ----------
        grid
            Pixels of the grid that the source was opened on, over any extent.
        bands
            Names, in the order of the result.

        Raises
        ------
        ReadError
            When a file cannot be read; its bounds are named.
        ConfigError
            When the grid is of other pixels than the source was opened on, or a band is not one of `bands`.
        """
        check_pixels(self.modality, self.grid, grid)
        check_bands(self.modality, self.bands, bands)
        best = self._empty(len(bands), grid.extent, self.dtype)
        for frame, part in self._frames_under(grid):
            if self.alignment.pasted:
                self._fill(best, frame, part.extent, bands)
            else:
                _put_first(best, self._resample(part, frame, bands))
        return Raster(values=best.values, valid=best.measured)

    def describe(self) -> dict[str, Any]:
        """What `check` prints: the tiles, what is done with each band, the alignment and its reason; plain values."""
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
            "pixels": {band: " or ".join(map(str, readings)) for band, readings in self._decided.items()},
            "notes": [*index.notes, *self._gap_notes, *self._transformation_notes],
        }

    @property
    def tagged_ranges(self) -> dict[str, tuple[float, float]]:
        """By band, the least and the largest value that tags of scale and offset make of the files' integers."""
        stored, found = np.dtype(self.index.tiles[0].files[0].dtype), {}
        for band, readings in self._decided.items():
            tags = {(each.scale, each.offset) for each in readings if each.scaled_by == "file tag"}
            if tags and stored.kind in "iu" and band in self.bands:
                limits = np.iinfo(stored)
                ends = [end * scale + offset for scale, offset in tags for end in (limits.min, limits.max)]
                found[band] = min(ends), max(ends)
        return found

    @property
    def _gap_notes(self) -> Iterator[str]:
        """Nodata values that can be data, of files of one band: a gap in one of them is read as data."""
        single = {each for readings in self._decided.values() for each in readings if each.nodata_rule == "single"}
        if single:
            values = " or ".join(sorted({f"{value.value:g}" for each in single for value in each.shared_nodata}))
            yield (
                f"{', '.join(band for band in self.bands if single & {*self._decided[band]})} are files of one band: "
                f"{values} is no data where all of them hold it (one alone may be water or a roof), so a gap in one of "
                "them is read as data. Where such gaps exist, set nodata_rule: any"
            )

    @property
    def _transformation_notes(self) -> Iterator[str]:
        """How coarsely tiles in other CRSs come to the grid."""
        for crs, first in zip(*np.unique(self.index.crs, return_index=True), strict=True):
            x, y = self.index.corners[first].mean(axis=0).tolist()
            if note := transformation_note(str(crs), self.grid.crs, (x, y)):
                yield note

    @cached_property
    def _settings(self) -> tuple[tuple[BandReading, ...], ...]:
        """For each product, what the settings say of its bands."""
        spec = self.index.spec
        stated = (*(() if spec.nodata is None else (spec.nodata,)), *spec.gaps)
        nodata = tuple(NodataValue(value=value, origin="setting") for value in stated)
        scale, offset = spec.stated_scale or (1.0, 0.0)
        return tuple(
            tuple(
                BandReading(
                    band=band,
                    number=number,
                    nodata=nodata,
                    nodata_rule=spec.nodata_rule,
                    file_tag=spec.nodata is None,
                    file_scale=spec.stated_scale is None,
                    limits=spec.limits,
                    given=band in spec.given,
                    scale=scale,
                    offset=offset,
                    scaled_by="" if spec.stated_scale is None else "setting",
                    dtype=self.dtype.name,
                    resampling=self.alignment.resampling,
                )
                for band, number in product.bands.items()
            )
            for product in self.index.products
        )

    @cached_property
    def _decided(self) -> dict[str, tuple[BandReading, ...]]:
        """What is done with each band: one record, or several where files differ."""
        decided = {band: set[BandReading]() for product in self.index.products for band in product.bands}
        for tile in self.index.tiles:
            for settings, file in zip(self._settings, decide_files(self._settings, tile.files), strict=True):
                for reading in file.bands[: len(settings)]:
                    decided[reading.band].add(reading)
        return {band: tuple(sorted(readings, key=repr)) for band, readings in decided.items()}

    @cached_property
    def _grid_extents(self) -> NDArray[np.int64]:
        """int64 ``(frame, 4)``: first and last row, first and last column of the grid under each frame."""
        extents = [each.frame.grid_extent for each in self.alignment.frames]
        return np.array([(e.y.start, e.y.stop, e.x.start, e.x.stop) for e in extents], np.int64)

    def _frames_under(self, grid: Grid) -> Iterator[tuple[TileFrame, Grid]]:
        """Frames that may have pixels on ``grid``, each with the part of the grid that it may give."""
        y, x = grid.extent.y, grid.extent.x
        tops, bottoms, lefts, rights = self._grid_extents.T
        for place in np.flatnonzero((tops < y.stop) & (y.start < bottoms) & (lefts < x.stop) & (x.start < rights)):
            frame = self.alignment.frames[place]
            yield frame, grid.with_extent(grid.extent.intersect(frame.frame.grid_extent))

    def _empty(self, bands: int, extent: Extent, dtype: np.dtype[Any]) -> Patch:
        return Patch.empty(bands, extent, dtype=dtype, ranks=np.min_scalar_type(len(self.index.tiles) + 1))

    def _resample(self, grid: Grid, tiles: TileFrame, bands: Sequence[str]) -> Patch:
        frame, kernel = tiles.frame, tiles.kernel
        assert kernel is not None
        window = source_window(grid, frame, kernel.margin)
        source = self._empty(len(bands), window.grow(1), self.index.dtype)
        self._fill(source, tiles, window, bands)
        if not source.measured.any():
            return self._empty(len(bands), grid.extent, self.dtype)
        return resample(source, pixel_coordinates(grid, frame), grid.extent, kernel=kernel, dtype=self.dtype)

    def _fill(self, patch: Patch, frame: TileFrame, window: Extent, bands: Sequence[str]) -> None:
        """Lay the tiles of a frame under each other, the first on top, into the ``window`` of a patch."""
        level = self.index.spec.nodata_border_level if self.index.spec.nodata_border else None
        for position in frame.touching(window).tolist():
            whole = frame.tile_extent(position)
            part = whole.intersect(window)
            rows, columns = part.slices_in(patch.extent)
            rank = patch.rank[rows, columns]
            vacant = rank == patch.no_rank
            if not vacant.any():
                continue
            place = int(frame.tiles[position])
            values, measured = read_tile(
                self.index.tiles[place],
                self._settings,
                _inside(part, whole),
                bands,
                border_level=level,
            )
            measured &= vacant
            if measured.all():  # the common case: one tile, all of it measured
                patch.values[:, rows, columns], rank[:] = values, place
            else:
                np.copyto(patch.values[:, rows, columns], values, where=measured)
                np.copyto(rank, rank.dtype.type(place), where=measured)

    def _touched(self, grid: Grid) -> Iterator[tuple[int, Extent]]:
        """Place in the index and pixels of the tile, for every tile that a read of ``grid`` may open."""
        for tiles, part in self._frames_under(grid):
            window = part.extent if tiles.kernel is None else source_window(part, tiles.frame, tiles.kernel.margin)
            for position in tiles.touching(window).tolist():
                whole = tiles.tile_extent(position)
                yield int(tiles.tiles[position]), _inside(whole.intersect(window), whole)


def _covering_boxes(corners: NDArray[np.float64], crs: str, grid: Grid) -> NDArray[np.object_]:
    """A box of whole pixels of ``grid`` around each tile, shapely ``(tile,)``; ``corners`` are in ``crs``."""
    side = np.linspace(0, 1, _SIDE_POINTS)[:, None, None]
    northwest, northeast, southwest, southeast = corners.swapaxes(0, 1)
    sides = ((northwest, northeast), (northeast, southeast), (southeast, southwest), (southwest, northwest))
    outline = np.concatenate([start + (stop - start) * side for start, stop in sides])  # (point, tile, xy)
    x, y = points_in(outline[..., 0], outline[..., 1], crs, grid.crs)
    step, (x0, y0) = float(grid.resolution), map(float, grid.anchor_xy)
    more = 0 if crs == grid.crs else 1  # a side is bent between its points
    edge = _SAME_EDGE_PX  # tiles that end on a pixel's edge do not reach the next pixel
    left, bottom = (np.floor((axis.min(axis=0) - origin) / step + edge) - more for axis, origin in ((x, x0), (y, y0)))
    right, top = (np.ceil((axis.max(axis=0) - origin) / step - edge) + more for axis, origin in ((x, x0), (y, y0)))
    return np.asarray(shapely.box(x0 + left * step, y0 + bottom * step, x0 + right * step, y0 + top * step))


def _inside(part: Extent, whole: Extent) -> Extent:
    """``part`` counted from the first pixel of ``whole``."""
    rows, columns = part.slices_in(whole)
    return Extent.of((rows.start, rows.stop), (columns.start, columns.stop))


def _put_first(best: Patch, patch: Patch) -> None:
    """Give every pixel to the earlier tile; they are on the same pixels, ``patch`` over a part of ``best``."""
    rows, columns = patch.extent.slices_in(best.extent)
    rank = best.rank[rows, columns]
    earlier = patch.rank < rank
    np.copyto(best.values[:, rows, columns], patch.values, where=earlier)
    np.copyto(rank, patch.rank, where=earlier)


def _needed_on(grid: Grid, unpaired: Sequence[Tile]) -> list[Tile]:
    """Tiles without a file of every product that touch the grid."""
    needed = []
    for tile in unpaired:
        x0, y0, x1, y1 = corner_bounds(corners_of([tile]))
        bounds = bounds_in(grid.bounds, grid.crs, tile.crs, densify=21)
        if x0 < bounds[2] and bounds[0] < x1 and y0 < bounds[3] and bounds[1] < y1:
            needed.append(tile)
    return needed
