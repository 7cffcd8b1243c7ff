"""A GTI (raster index of GDAL 3.9 and later) over many GeoTIFFs of one kind; no file is opened.

It is a GeoPackage: outlines of the files, which are searched by place, and XML of what they show together, as metadata
of their layer. A VRT lists all files in XML, and who opens it reads that first.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from contextlib import closing
from xml.etree import ElementTree as Xml

import geopandas
import shapely

from landweave.core.grid import Grid
from landweave.core.legend import Legend
from landweave.formats.polygons import geopackage_bytes
from landweave.formats.vrt import add_band, united

ENDING = ".gti.gpkg"
"""That GDAL knows it by."""


def mosaic_gti(files: Mapping[str, Grid], *, levels: int, legend: Legend | None = None) -> bytes:
    """A GTI that shows files side by side, with nodata 255 elsewhere.

    Parameters
    ----------
    files
        Pixels of each file, by its path from the folder of the GTI; one CRS, one resolution and one anchor.
    levels
        Number of overviews of the files: the GTI has as many, read from theirs.
    legend
        Of classes; None for confidences.
    """
    outlines = [shapely.box(*grid.bounds) for grid in files.values()]
    crs = next(iter(files.values())).crs
    frame = geopandas.GeoDataFrame({"location": list(files)}, geometry=outlines, crs=crs)
    package = geopackage_bytes(frame, "files", {"replaced": "below"})
    root = Xml.Element("GDALMultiDomainMetadata")
    root.append(Xml.Element("Metadata", domain="xml:GTI", format="xml"))
    root[0].append(_mosaic(united(list(files.values())), levels, legend))
    with closing(sqlite3.connect(":memory:")) as database:  # pyogrio writes metadata of the default domain alone
        database.deserialize(package)
        database.execute("UPDATE gpkg_metadata SET metadata = ?", (Xml.tostring(root, encoding="unicode"),))
        database.commit()
        return database.serialize()


def _mosaic(whole: Grid, levels: int, legend: Legend | None) -> Xml.Element:
    """What the files show together."""
    root, (height, width) = Xml.Element("GDALTileIndexDataset"), whole.shape
    transform = ",".join(repr(value) for value in whole.transform.to_gdal())
    for name, size in {"XSize": width, "YSize": height, "BlockXSize": 512, "BlockYSize": 512}.items():
        Xml.SubElement(root, name).text = str(size)
    Xml.SubElement(root, "GeoTransform").text = transform
    add_band(root, "Band", legend)
    for level in range(1, levels + 1):
        Xml.SubElement(Xml.SubElement(root, "Overview"), "Factor").text = str(1 << level)
    return root
