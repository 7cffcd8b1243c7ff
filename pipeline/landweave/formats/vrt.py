"""A VRT over many GeoTIFFs of one kind, with the colours and names of their classes; no file is opened."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from xml.etree import ElementTree as Xml

from odc.geo.crs import CRS

from landweave.core.grid import Grid
from landweave.core.legend import CONFIDENCE_SCALE, NODATA, Legend


def mosaic_vrt(files: Mapping[str, Grid], *, levels: int, legend: Legend | None = None) -> bytes:
    """A VRT that shows files side by side, with nodata 255 elsewhere.

    Parameters
    ----------
    files
        Pixels of each file, by its path from the folder of the VRT; one CRS, one resolution and one anchor.
    levels
        Number of overviews of the files: the VRT has as many, read from theirs.
    legend
        Of classes; None for confidences.
    """
    whole = united(list(files.values()))
    height, width = whole.shape
    root = Xml.Element("VRTDataset", rasterXSize=str(width), rasterYSize=str(height))
    Xml.SubElement(root, "SRS", dataAxisToSRSAxisMapping="1,2").text = CRS(whole.crs).to_wkt()
    Xml.SubElement(root, "GeoTransform").text = ", ".join(repr(value) for value in whole.transform.to_gdal())
    if levels:
        Xml.SubElement(root, "OverviewList", resampling="nearest").text = " ".join(
            str(1 << level) for level in range(1, levels + 1)
        )
    band = add_band(root, "VRTRasterBand", legend)
    band.attrib |= {"blockXSize": "512", "blockYSize": "512"}
    for path, grid in files.items():
        _add_source(band, path, grid, whole)
    Xml.indent(root)
    content: bytes = Xml.tostring(root, encoding="utf-8") + b"\n"
    return content


def united(grids: Sequence[Grid]) -> Grid:
    """All pixels of some grids of one CRS, one resolution and one anchor."""
    extent = grids[0].extent
    for grid in grids[1:]:
        extent = extent.unite(grid.extent)
    return grids[0].with_extent(extent)


def add_band(root: Xml.Element, name: str, legend: Legend | None) -> Xml.Element:
    """The element of a band of bytes, with the colours and names of its classes or the scale of confidences.

    Parameters
    ----------
    root
        That it is added to.
    name
        Of the element.
    legend
        Of classes; None for confidences.
    """
    band = Xml.SubElement(root, name, dataType="Byte", band="1")
    Xml.SubElement(band, "NoDataValue").text = str(NODATA)
    _describe(band, legend)
    return band


def _describe(band: Xml.Element, legend: Legend | None) -> None:
    if legend is None:
        Xml.SubElement(band, "UnitType").text = "1"
        Xml.SubElement(band, "Scale").text = repr(1 / CONFIDENCE_SCALE)
        return
    Xml.SubElement(band, "ColorInterp").text = "Palette"
    table = Xml.SubElement(band, "ColorTable")
    for code in range(NODATA + 1):
        red, green, blue = legend.colors.get(code, (0, 0, 0))
        alpha = "0" if code == NODATA else "255"
        Xml.SubElement(table, "Entry", c1=str(red), c2=str(green), c3=str(blue), c4=alpha)
    add_class_names(band, legend.names)


def add_class_names(band: Xml.Element, names: Mapping[int, str]) -> None:
    """Give a band of GDAL's XML the names of its classes; codes without a class have an empty one.

    Parameters
    ----------
    band
        To be completed.
    names
        By code.
    """
    categories = Xml.SubElement(band, "CategoryNames")
    for code in range(max(names) + 1):
        Xml.SubElement(categories, "Category").text = names.get(code, "")


def _add_source(band: Xml.Element, path: str, grid: Grid, whole: Grid) -> None:
    source = Xml.SubElement(band, "ComplexSource")
    Xml.SubElement(source, "SourceFilename", relativeToVRT="1").text = path
    Xml.SubElement(source, "SourceBand").text = "1"
    height, width = grid.shape
    sizes = {"RasterXSize": str(width), "RasterYSize": str(height), "DataType": "Byte"}
    Xml.SubElement(source, "SourceProperties", {**sizes, "BlockXSize": "512", "BlockYSize": "512"})
    rows, columns = grid.extent.slices_in(whole.extent)
    side = {"xSize": str(width), "ySize": str(height)}
    Xml.SubElement(source, "SrcRect", {"xOff": "0", "yOff": "0", **side})
    Xml.SubElement(source, "DstRect", {"xOff": str(columns.start), "yOff": str(rows.start), **side})
    Xml.SubElement(source, "NODATA").text = str(NODATA)
