"""A map as one Cloud-Optimised GeoTIFF with its colours, class names and own overviews."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml
from zlib import crc32

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from odc.geo.crs import CRS
from rasterio.io import DatasetWriter
from rasterio.windows import Window

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.legend import CONFIDENCE_SCALE, NODATA, Legend
from landweave.core.protocols import MapReader
from landweave.core.pyramid import coarsen, depth, level_grid, steps
from landweave.formats.products import map_tags, mark_of, replacing
from landweave.formats.vrt import add_class_names

TILE = 512
"""Pixels a side of the tiles of the file."""

_LEVEL: dict[str, Any] = {
    "driver": "GTiff",
    "count": 1,
    "dtype": "uint8",
    "nodata": NODATA,
    "tiled": True,
    "blockxsize": TILE,
    "blockysize": TILE,
    "compress": "deflate",
    "zlevel": 1,
    "bigtiff": "if_safer",
}
"""Of the file of one level, which lives until the COG is made of it."""

COG_OPTIONS = {
    "driver": "COG",
    "OVERVIEWS": "FORCE_USE_EXISTING",
    "COMPRESS": "DEFLATE",
    "PREDICTOR": "NO",
    "LEVEL": "6",
    "BLOCKSIZE": str(TILE),
    "BIGTIFF": "IF_SAFER",
    "NUM_THREADS": "ALL_CPUS",
    "STATISTICS": "NO",
}

_DESCRIPTIONS = {
    "landcover": "land cover",
    "confidence": "probability of the class shown",
    "date_fallback": "how far the date selection of a series had to fall back",
}


def write_cog(reader: MapReader, path: str | os.PathLike[str], array: str = "landcover") -> Path:
    """Write one array of a map as a COG, atomically, and return its path; memory stays at some blocks.

    The file covers the map's `mapped_extent`. It is uint8 with nodata 255, DEFLATE, tiles of 512 px, BigTIFF where it
    may need to be, and states scale, unit and description of its band as the map does. Its overviews are made as those
    of the map. ``landcover`` has a colour table; names of classes are in ``<path>.aux.xml`` beside it, where GDAL and
    QGIS look for them, and in its tags.

    Parameters
    ----------
    reader
        The map.
    path
        File to write; an earlier one of this map is replaced. Its folder needs twice the room of the file meanwhile.
    array
        ``landcover``, ``confidence`` or ``date_fallback``.

    Raises
    ------
    InputError
        When the map has no such array of two dimensions.
    OutputError
        When something else is there, or the file cannot be written.
    """
    if array not in reader.arrays or array == "probability":
        wanted = [name for name in reader.arrays if name != "probability"]
        raise InputError(f"A COG of {array!r} was asked for; this map has {', '.join(wanted)}.")
    grid = reader.grids[0].with_extent(reader.mapped_extent)
    with replacing(path, mark_of(reader)) as written:
        levels = [written.with_name(f"{level}.tif") for level in range(1 + depth(grid.shape, TILE))]
        sums = [_write_map(reader, array, grid, levels[0])]
        for step in steps(len(levels) - 1):
            sums += _write_overviews(levels, array, grid, step)
        names = reader.legend.names if array == "landcover" else {}
        rasterio.shutil.copy(str(join_levels(levels, names)), str(written), strict=False, **COG_OPTIONS)
        for level, expected in enumerate(sums):
            _read_back(written, level, level_grid(grid, level), expected)
    return Path(path).absolute()


Sums = Mapping[Extent, int]
"""Checksum of the pixels of each piece of a level, as they were written."""


def _write_map(reader: MapReader, array: str, grid: Grid, path: Path) -> Sums:
    """Write a GeoTIFF of the full resolution, with tags and, for classes, colours."""
    with new_level_file(path, grid) as file:
        file.update_tags(**_tags(reader, array))
        describe_band(file, array, reader.legend if array == "landcover" else None)
        # Edges of pieces are edges of the file's tiles, so that no tile is written twice.
        pieces = _pieces(grid, max(TILE, reader.block_size // TILE * TILE))
        return {extent: _write(file, grid, extent, reader.read(array, extent)) for extent in pieces}


def _write_overviews(levels: Sequence[Path], array: str, grid: Grid, step: range) -> list[Sums]:
    """Write a GeoTIFF of each level of ``step``, all from one read of the level below."""
    grids, sums = [level_grid(grid, level) for level in step], [dict[Extent, int]() for _ in step]
    with ExitStack() as stack:
        base = stack.enter_context(rasterio.open(levels[step[0] - 1]))
        files = [stack.enter_context(new_level_file(levels[level], at)) for level, at in zip(step, grids, strict=True)]
        whole = Window(0, 0, base.width, base.height)
        for piece in _pieces(grids[-1], TILE):
            rows, columns = piece.refine(1 << len(step)).slices_in(grids[-1].extent.refine(1 << len(step)))
            values = base.read(1, window=Window.from_slices(rows, columns).intersection(whole))
            for number, layer in enumerate(coarsen(array, values, len(step))):
                at = piece.refine(1 << (len(step) - 1 - number)).intersect(grids[number].extent)
                sums[number][at] = _write(files[number], grids[number], at, layer)
    return list(sums)


def describe_band(file: DatasetWriter, array: str, legend: Legend | None) -> None:
    """Write what the numbers of one array of a map mean: colours of classes, the scale of confidences, a name.

    Parameters
    ----------
    file
        Open to be written.
    array
        Name of the array.
    legend
        Of land cover; of other arrays it is not used.
    """
    if array == "landcover" and legend is not None:
        file.write_colormap(1, {code: legend.colors.get(code, (0, 0, 0)) for code in range(NODATA + 1)})
    if array == "confidence":
        file.scales, file.units = (1 / CONFIDENCE_SCALE,), ("1",)
    file.set_band_description(1, _DESCRIPTIONS[array])


def new_level_file(path: Path, grid: Grid, *, compress: str = "deflate") -> DatasetWriter:
    """An open GeoTIFF of one level, uint8 with nodata 255, to be closed by the caller.

    Parameters
    ----------
    path
        Of the file.
    grid
        Pixels of the level.
    compress
        ``deflate``, or ``none`` where speed matters more than room.
    """
    height, width = grid.shape
    crs, options = CRS(grid.crs).to_wkt(), _LEVEL | {"compress": compress}
    if compress == "none":
        del options["zlevel"]
    return rasterio.open(path, "w", height=height, width=width, crs=crs, transform=grid.transform, **options)


def _pieces(grid: Grid, side: int) -> Iterator[Extent]:
    for top in range(grid.extent.y.start, grid.extent.y.stop, side):
        for left in range(grid.extent.x.start, grid.extent.x.stop, side):
            yield Extent.of((top, top + side), (left, left + side)).intersect(grid.extent)


def _write(file: DatasetWriter, grid: Grid, extent: Extent, values: NDArray[np.uint8]) -> int:
    file.write(values, 1, window=Window.from_slices(*extent.slices_in(grid.extent)))
    return crc32(values.tobytes())


def _read_back(path: Path, level: int, grid: Grid, sums: Sums) -> None:
    """Make sure that the file holds what was written: of a disk that fills up GDAL says nothing when it closes one."""
    with rasterio.open(path, **({"overview_level": level - 1} if level else {})) as file:
        for extent, expected in sums.items():
            values = file.read(1, window=Window.from_slices(*extent.slices_in(grid.extent)))
            if crc32(values.tobytes()) != expected:
                raise OSError(f"rows {extent.y} and columns {extent.x} of level {level} do not read as written")


def join_levels(levels: Sequence[Path], names: Mapping[int, str]) -> Path:
    """A VRT of the first file with the others as its overviews, and the names of classes, which rasterio cannot set.

    Parameters
    ----------
    levels
        Files from `new_level_file`, the finest first.
    names
        Of classes by code; empty for none.
    """
    path = levels[0].with_name("map.vrt")
    rasterio.shutil.copy(str(levels[0]), str(path), driver="VRT")
    document = Xml.parse(path)
    (band,) = document.iter("VRTRasterBand")
    if names:
        add_class_names(band, names)
    for level in levels[1:]:
        overview = Xml.SubElement(band, "Overview")
        Xml.SubElement(overview, "SourceFilename", relativeToVRT="0").text = str(level)
        Xml.SubElement(overview, "SourceBand").text = "1"
    document.write(path, encoding="utf-8")
    return path


def _tags(reader: MapReader, array: str) -> dict[str, str]:
    """`map_tags`, and of classes their names."""
    names = reader.legend.names if array == "landcover" else {}
    return {**map_tags(reader), **{f"CLASS_{code}": name for code, name in names.items()}}
