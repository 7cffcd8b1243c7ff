"""A map as one Cloud-Optimised GeoTIFF with its colours, class names and own overviews."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as Xml

import rasterio
import rasterio.shutil
from odc.geo.crs import CRS
from rasterio.errors import RasterioError
from rasterio.windows import Window

from landweave.core.errors import InputError, OutputError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.legend import CONFIDENCE_SCALE, NODATA
from landweave.core.protocols import MapReader

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

_COG = {
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


def write_cog(reader: MapReader, path: str | os.PathLike[str], array: str = "landcover") -> Path:
    """Write one array of a map as a COG, atomically, and return its path; memory stays at one block.

    The file is uint8 with nodata 255, DEFLATE, tiles of 512 px, BigTIFF where it may need to be. Its overviews are
    the map's own levels. ``landcover`` has a colour table; names of classes are in ``<path>.aux.xml`` beside it, where
    GDAL and QGIS look for them, and in its tags.

    Parameters
    ----------
    reader
        The map, with its overviews.
    path
        File to write; an older one is replaced. Its folder needs twice the room of the file meanwhile.
    array
        ``landcover`` or ``confidence``.

    Raises
    ------
    InputError
        When the map has no such array of two dimensions, or is large and has no overviews.
    OutputError
        When the file cannot be written.
    """
    if array not in reader.arrays or array == "probability":
        wanted = [name for name in reader.arrays if name != "probability"]
        raise InputError(f"A COG of {array!r} was asked for; this map has {', '.join(wanted)}.")
    if len(reader.grids) == 1 and max(reader.grids[0].shape) > 2 * TILE:
        raise InputError(f"The map of {reader.grids[0].shape} pixels has no overviews: make them first.")
    target = Path(path).absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
            levels = [_write_level(reader, array, level, Path(folder)) for level in range(len(reader.grids))]
            names = reader.legend.names if array == "landcover" else {}
            written = Path(folder) / "out" / target.name
            written.parent.mkdir()
            rasterio.shutil.copy(str(_join_levels(levels, names)), str(written), strict=False, **_COG)
            _move(written, target)
    except (OSError, RasterioError) as error:
        raise OutputError(f"Cannot write {target}: {error}. Check the folder and its free space.") from error
    return target


def _write_level(reader: MapReader, array: str, level: int, folder: Path) -> Path:
    """A GeoTIFF of one level; that of the full resolution has the tags and, for classes, the colours."""
    grid = reader.grids[level]
    path = folder / f"{level}.tif"
    height, width = grid.shape
    crs = CRS(grid.crs).to_wkt()
    with rasterio.open(path, "w", height=height, width=width, crs=crs, transform=grid.transform, **_LEVEL) as file:
        if level == 0:
            file.update_tags(**_tags(reader, array))
        if level == 0 and array == "landcover":
            file.write_colormap(1, {code: reader.legend.colors.get(code, (0, 0, 0)) for code in range(NODATA + 1)})
        for extent in _pieces(grid, reader.block_size):
            rows, columns = extent.slices_in(grid.extent)
            file.write(reader.read(array, extent, level), 1, window=Window.from_slices(rows, columns))
    return path


def _pieces(grid: Grid, block_size: int) -> Iterator[Extent]:
    """Squares of about a block whose edges are edges of the file's tiles, so that no tile is written twice."""
    side = max(TILE, block_size // TILE * TILE)
    for top in range(grid.extent.y.start, grid.extent.y.stop, side):
        for left in range(grid.extent.x.start, grid.extent.x.stop, side):
            yield Extent.of((top, top + side), (left, left + side)).intersect(grid.extent)


def _join_levels(levels: Sequence[Path], names: Mapping[int, str]) -> Path:
    """A VRT of the first file with the others as its overviews, and the names of classes, which rasterio cannot set."""
    path = levels[0].with_name("map.vrt")
    rasterio.shutil.copy(str(levels[0]), str(path), driver="VRT")
    document = Xml.parse(path)
    (band,) = document.iter("VRTRasterBand")
    if names:
        categories = Xml.SubElement(band, "CategoryNames")
        for code in range(max(names) + 1):
            Xml.SubElement(categories, "Category").text = names.get(code, "")
    for level in levels[1:]:
        overview = Xml.SubElement(band, "Overview")
        Xml.SubElement(overview, "SourceFilename", relativeToVRT="0").text = str(level)
        Xml.SubElement(overview, "SourceBand").text = "1"
    document.write(path, encoding="utf-8")
    return path


def _tags(reader: MapReader, array: str) -> dict[str, str]:
    """Title, licence, source and the meaning of the values, as TIFF tags."""
    tags = {"title": "TIFFTAG_IMAGEDESCRIPTION", "license": "TIFFTAG_COPYRIGHT", "source": "SOURCE"}
    found = {tag: str(reader.attrs[name]) for name, tag in tags.items() if name in reader.attrs}
    if array == "landcover":
        return found | {f"CLASS_{code}": name for code, name in reader.legend.names.items()}
    return found | {"UNITS": f"probability of the class shown x {CONFIDENCE_SCALE}, {NODATA} = nodata"}


def _move(written: Path, target: Path) -> None:
    """Put the file and its ``.aux.xml`` in place: the names first, so that no file is without them."""
    names = target.with_name(target.name + ".aux.xml")
    new_names = written.with_name(names.name)
    if new_names.exists():
        new_names.replace(names)
    else:
        names.unlink(missing_ok=True)
    written.replace(target)
