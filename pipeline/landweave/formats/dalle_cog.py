"""One dalle as a Cloud-Optimised GeoTIFF in memory, and the files beside it that say what its classes are.

GDAL and QGIS read names, colours and the table of classes from ``<file>.aux.xml``, and QGIS its style from the file of
the same name that ends in ``.qml``: it then lists the classes of the legend, not 256 entries of a palette.
"""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from xml.etree import ElementTree as Xml

import numpy as np
import rasterio
import rasterio.shutil
from numpy.typing import NDArray
from rasterio.errors import RasterioError

from landweave.core.errors import OutputError
from landweave.core.grid import Grid
from landweave.core.legend import Legend
from landweave.core.pyramid import level_grid
from landweave.formats.cog import COG_OPTIONS, describe_band, join_levels, new_level_file
from landweave.formats.vrt import add_class_names

GDAL_VERSION = rasterio.__gdal_version__
"""Of the library that writes the files."""

_TABLE_COLUMNS = (("Value", 0, 5), ("Class", 2, 2), ("Classe", 2, 2), ("Red", 0, 6), ("Green", 0, 7), ("Blue", 0, 8))
"""Of a raster attribute table: name, GDAL's type (integer or text) and usage (value, name, colours)."""


def encode_cog(
    levels: Sequence[NDArray[np.uint8]], grid: Grid, *, tags: Mapping[str, str], legend: Legend | None = None
) -> bytes:
    """A COG of one array of a map, read back before it is returned.

    Parameters
    ----------
    levels
        uint8 ``(y, x)``, 255 = nodata: the array and its overviews.
    grid
        Pixels of the first of them.
    tags
        TIFF tags of the file.
    legend
        Of classes: a colour table is written. Without one the values are confidences, with scale and unit.

    Raises
    ------
    OutputError
        When the temporary folder of this machine does not take it.
    """
    try:
        with tempfile.TemporaryDirectory(prefix="landweave-") as folder:
            files = [Path(folder) / f"{level}.tif" for level in range(len(levels))]
            for level, (values, file) in enumerate(zip(levels, files, strict=True)):
                with new_level_file(file, level_grid(grid, level), compress="none") as opened:
                    opened.update_tags(**(tags if level == 0 else {}))
                    describe_band(opened, "landcover" if legend else "confidence", legend)
                    opened.write(values, 1)
            written = Path(folder) / "cog.tif"
            options = COG_OPTIONS | {"NUM_THREADS": "1"}  # dalles are made side by side
            rasterio.shutil.copy(str(join_levels(files, {})), str(written), strict=False, **options)
            _read_back(written, levels)
            return written.read_bytes()
    except (OSError, RasterioError) as error:
        raise OutputError(
            f"Cannot write a GeoTIFF into the temporary folder {tempfile.gettempdir()}: {error}. Check its free space, "
            "or set TMPDIR."
        ) from error


def _read_back(path: Path, levels: Sequence[NDArray[np.uint8]]) -> None:
    """Make sure that the file holds what was written: of a disk that fills up GDAL says nothing when it closes one."""
    for level, values in enumerate(levels):
        with rasterio.open(path, **({"overview_level": level - 1} if level else {})) as file:
            if not np.array_equal(file.read(1), values):
                raise OSError(f"level {level} does not read as written")


def class_table(legend: Legend) -> bytes:
    """The ``.aux.xml`` of a raster of classes: category names, and an attribute table with names and colours.

    Parameters
    ----------
    legend
        What the codes mean.
    """
    root = Xml.Element("PAMDataset")
    band = Xml.SubElement(root, "PAMRasterBand", band="1")
    add_class_names(band, legend.names)
    table = Xml.SubElement(band, "GDALRasterAttributeTable", tableType="thematic")
    for number, (name, kind, usage) in enumerate(_TABLE_COLUMNS):
        column = Xml.SubElement(table, "FieldDefn", index=str(number))
        for key, text in (("Name", name), ("Type", str(kind)), ("Usage", str(usage))):
            Xml.SubElement(column, key).text = text
    for number, each in enumerate(legend.classes):
        row = Xml.SubElement(table, "Row", index=str(number))
        for value in (each.code, each.name, each.name_fr or each.name, *each.rgb):
            Xml.SubElement(row, "F").text = str(value)
    return _xml(root)


def class_style(legend: Legend) -> bytes:
    """The ``.qml`` of a raster of classes: QGIS lists the classes of the legend with their colours.

    Parameters
    ----------
    legend
        What the codes mean.
    """
    root = Xml.Element("qgis", version="3.22", styleCategories="AllStyleCategories")
    pipe = Xml.SubElement(root, "pipe")
    renderer = Xml.SubElement(
        pipe, "rasterrenderer", type="paletted", band="1", opacity="1", alphaBand="-1", nodataColor=""
    )
    palette = Xml.SubElement(renderer, "colorPalette")
    for each in legend.classes:
        Xml.SubElement(palette, "paletteEntry", value=str(each.code), color=each.color, alpha="255", label=each.name)
    return b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + _xml(root)


def confidence_style() -> bytes:
    """The ``.qml`` of a raster of confidences: grey, from a probability of 0 to one of 1."""
    root = Xml.Element("qgis", version="3.22", styleCategories="AllStyleCategories")
    pipe = Xml.SubElement(root, "pipe")
    renderer = Xml.SubElement(
        pipe,
        "rasterrenderer",
        type="singlebandgray",
        grayBand="1",
        opacity="1",
        alphaBand="-1",
        gradient="BlackToWhite",
    )
    stretch = Xml.SubElement(renderer, "contrastEnhancement")
    for key, value in (("minValue", "0"), ("maxValue", "1"), ("algorithm", "StretchToMinimumMaximum")):
        Xml.SubElement(stretch, key).text = value
    return b"<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>\n" + _xml(root)


def _xml(root: Xml.Element) -> bytes:
    Xml.indent(root)
    content: bytes = Xml.tostring(root, encoding="utf-8") + b"\n"
    return content
