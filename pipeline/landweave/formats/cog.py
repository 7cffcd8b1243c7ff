"""A map as one Cloud-Optimised GeoTIFF: colours, class names, and our own overviews."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
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
from landweave.core.legend import NODATA, Legend
from landweave.core.protocols import MapReader

TILE = 512
"""Pixels a side of the tiles of the file."""

_SCRATCH: dict[str, Any] = {
    "driver": "GTiff",
    "tiled": True,
    "blockxsize": TILE,
    "blockysize": TILE,
    "compress": "deflate",
    "zlevel": 1,
    "bigtiff": "if_safer",
}
_FINAL = {
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
    """Write one array of a map as a COG, atomically; memory stays at one block.

    The file is DEFLATE, 512 px tiles, BigTIFF where it may need to be, nodata 255. Its overviews are the map's own
    levels. ``landcover`` has a colour table; names of classes lie beside it in ``<path>.aux.xml``, where GDAL and
    QGIS look for them, and as tags inside.

    Parameters
    ----------
    reader
        The map, with its overviews.
    path
        File to write, over an older one. As much room again is needed in its folder while it is written.
    array
        ``landcover`` or ``confidence``.

    Returns
    -------
    The path.

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
    goal = Path(path).absolute()
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{goal.name}-", dir=goal.parent) as folder:
            scratch = Path(folder)
            levels = [_write_level(reader, array, level, scratch) for level in range(len(reader.grids))]
            vrt = _bind(levels, reader, array, scratch / "map.vrt")
            made = scratch / "out" / goal.name
            made.parent.mkdir()
            rasterio.shutil.copy(str(vrt), str(made), strict=False, **_FINAL)
            _move(made, goal)
    except (OSError, RasterioError) as error:
        raise OutputError(f"Cannot write {goal}: {error}. Check the place and its free room.") from error
    return goal


def _write_level(reader: MapReader, array: str, level: int, folder: Path) -> Path:
    grid = reader.grids[level]
    path = folder / f"{level}.tif"
    height, width = grid.shape
    with rasterio.open(
        path,
        "w",
        height=height,
        width=width,
        count=1,
        dtype="uint8",
        nodata=NODATA,
        crs=CRS(grid.crs).to_wkt(),
        transform=grid.transform,
        **_SCRATCH,
    ) as file:
        for extent in _pieces(grid, reader.block_size):
            rows, columns = extent.slices_in(grid.extent)
            file.write(reader.read(array, extent, level), 1, window=Window.from_slices(rows, columns))
    return path


def _pieces(grid: Grid, block_size: int) -> Iterator[Extent]:
    """Squares of about a block that end where tiles of the file end, so that none is written twice."""
    side = max(TILE, block_size // TILE * TILE)
    for top in range(grid.extent.y.start, grid.extent.y.stop, side):
        for left in range(grid.extent.x.start, grid.extent.x.stop, side):
            yield Extent.of((top, top + side), (left, left + side)).intersect(grid.extent)


def _bind(levels: list[Path], reader: MapReader, array: str, path: Path) -> Path:
    """A VRT in which the first file is the image and the others are its overviews."""
    grid = reader.grids[0]
    height, width = grid.shape
    root = Xml.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    Xml.SubElement(root, "SRS").text = CRS(grid.crs).to_wkt()
    Xml.SubElement(root, "GeoTransform").text = ", ".join(repr(number) for number in grid.transform.to_gdal())
    tags = Xml.SubElement(root, "Metadata")
    for name, text in _tags(reader, array).items():
        Xml.SubElement(tags, "MDI", key=name).text = text
    band = Xml.SubElement(root, "VRTRasterBand", dataType="Byte", band="1")
    Xml.SubElement(band, "NoDataValue").text = str(NODATA)
    if array == "landcover":
        _describe_classes(band, reader.legend)
    source = Xml.SubElement(band, "SimpleSource")
    Xml.SubElement(source, "SourceFilename", relativeToVRT="0").text = str(levels[0])
    Xml.SubElement(source, "SourceBand").text = "1"
    for level in levels[1:]:
        overview = Xml.SubElement(band, "Overview")
        Xml.SubElement(overview, "SourceFilename", relativeToVRT="0").text = str(level)
        Xml.SubElement(overview, "SourceBand").text = "1"
    Xml.ElementTree(root).write(path, encoding="utf-8")
    return path


def _describe_classes(band: Xml.Element, legend: Legend) -> None:
    Xml.SubElement(band, "ColorInterp").text = "Palette"
    table = Xml.SubElement(band, "ColorTable")
    colors, names = legend.colors, legend.names
    for code in range(NODATA + 1):
        red, green, blue = colors.get(code, (0, 0, 0))
        alpha = 255 if code in colors else 0
        Xml.SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4=str(alpha))
    categories = Xml.SubElement(band, "CategoryNames")
    for code in range(max(names) + 1):
        Xml.SubElement(categories, "Category").text = names.get(code, "")


def _tags(reader: MapReader, array: str) -> dict[str, str]:
    """What a person wants to know of the file, as TIFF tags."""
    told = {"title": "TIFFTAG_IMAGEDESCRIPTION", "license": "TIFFTAG_COPYRIGHT", "source": "SOURCE"}
    tags = {tag: str(reader.attrs[name]) for name, tag in told.items() if name in reader.attrs}
    if array == "landcover":
        return tags | {f"CLASS_{code}": name for code, name in reader.legend.names.items()}
    return tags | {"UNITS": "probability of the class shown x 250, 255 = nodata"}


def _move(made: Path, goal: Path) -> None:
    """Put the file and what GDAL wrote beside it in place: the names first, so that no file is without them."""
    beside = made.with_name(made.name + ".aux.xml")
    if beside.exists():
        beside.replace(goal.with_name(goal.name + ".aux.xml"))
    else:
        goal.with_name(goal.name + ".aux.xml").unlink(missing_ok=True)
    shutil.move(made, goal)
