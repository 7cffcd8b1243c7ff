"""A part of a map as polygons, in GeoParquet and GeoPackage."""

from __future__ import annotations

import io
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from threading import Lock
from typing import Any

import geopandas
import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray

from landweave.core.grid import Grid
from landweave.core.legend import CONFIDENCE_SCALE, NODATA, Legend
from landweave.core.outlines import Regions, Rings, find_regions, trace

LAYER = "landcover"
"""Of a GeoPackage."""

_DATE = "2000-01-01T00:00:00.000Z"
"""That a GeoPackage is dated with: the same polygons are the same bytes."""

_DATING = Lock()
"""The date is a setting of the whole process."""


def map_polygons(
    grid: Grid,
    classes: NDArray[np.uint8],
    confidence: NDArray[np.uint8] | None,
    legend: Legend,
    *,
    simplify_m: float = 0.0,
) -> geopandas.GeoDataFrame:
    """The regions of a part of a map: one valid polygon for what a class covers without a break.

    Pixels of a region share edges; what meets corner to corner are two. Corners are the exact ones of pixels (the
    float64 nearest to each), so polygons of parts side by side, dissolved, are those of both together.

    Parameters
    ----------
    grid
        Pixels of the part.
    classes
        uint8 ``(y, x)``; 255 (nodata) gets no polygon.
    confidence
        As it is stored, uint8 ``(y, x)``, 255 where it is not known; None where the map has none.
    legend
        Of the classes.
    simplify_m
        Bends whose triangle is smaller than the square of this side are straightened (Visvalingam and Whyatt), once
        for both polygons that share them: there is no gap and no overlap. What lies on the edge of the part, and where
        outlines meet three others, stays.

    Returns
    -------
    geopandas.GeoDataFrame
        ``class`` (code), ``name``, ``area_m2`` and ``confidence`` (mean, 0 to 1; missing where it is not known), both
        of the pixels, and ``geometry``; sorted by first pixel, row by row.
    """
    regions = find_regions(classes)
    kept = regions.codes != NODATA
    sizes, codes = regions.sizes[kept], regions.codes[kept]
    mean = np.full(codes.size, np.nan)
    if confidence is not None:
        known = regions.sums(confidence != NODATA)[kept]
        total = regions.sums(np.where(confidence == NODATA, 0, confidence))[kept]
        np.divide(total, known * CONFIDENCE_SCALE, out=mean, where=known > 0)
    columns = {
        "class": codes,
        "name": np.array([legend.names.get(int(code), "") for code in codes], dtype=object),
        "area_m2": sizes * grid.pixel_m2.numerator / grid.pixel_m2.denominator,
        "confidence": mean.astype(np.float32),
    }
    outlines = _outlines(grid, trace(classes, regions, junctions=simplify_m > 0), simplify_m)[kept]
    return geopandas.GeoDataFrame(columns, geometry=outlines, crs=grid.crs)


def outline_regions(grid: Grid, codes: NDArray[np.uint16]) -> tuple[Regions, NDArray[Any]]:
    """The regions of any codes, and one valid polygon for each, in their order; corners are those of `map_polygons`.

    Parameters
    ----------
    grid
        Pixels of the codes.
    codes
        uint16 ``(y, x)``.
    """
    regions = find_regions(codes)
    return regions, _outlines(grid, trace(codes, regions), 0.0)


def parquet_bytes(polygons: geopandas.GeoDataFrame) -> bytes:
    """The polygons as GeoParquet 1.1, with the bounds of each, by which readers skip what they do not need."""
    buffer = io.BytesIO()
    polygons.to_parquet(buffer, index=False, compression="zstd", write_covering_bbox=True, schema_version="1.1.0")
    return buffer.getvalue()


def geopackage_bytes(
    polygons: geopandas.GeoDataFrame, layer: str = LAYER, metadata: Mapping[str, str] | None = None
) -> bytes:
    """The polygons as a layer of a GeoPackage; the same bytes whenever it is written.

    Parameters
    ----------
    polygons
        With a CRS.
    layer, metadata
        Name of the layer, and what is said of it.
    """
    buffer, stated = io.BytesIO(), {"driver": "GPKG", "geometry_type": "Polygon", "layer_metadata": metadata}
    with dated_alike():
        pyogrio.write_dataframe(polygons, buffer, layer=layer, **stated)
    return buffer.getvalue()


def _outlines(grid: Grid, rings: Rings, simplify_m: float) -> NDArray[Any]:
    """Polygons of all regions, those of nodata too: simplified, they keep the outlines of their neighbours in place."""
    corners = np.stack([grid.corners_x[rings.columns], grid.corners_y[rings.rows]], axis=1)
    offsets = (rings.ring_offsets, rings.region_offsets)
    polygons: NDArray[Any] = shapely.from_ragged_array(shapely.GeometryType.POLYGON, corners, offsets)
    return shapely.coverage_simplify(polygons, simplify_m, simplify_boundary=False) if simplify_m else polygons


@contextmanager
def dated_alike() -> Iterator[None]:
    """GeoPackages that are written within the block have one date inside: the same features are the same bytes."""
    with _DATING:
        before = pyogrio.get_gdal_config_option("OGR_CURRENT_DATE")
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": _DATE})
        try:
            yield
        finally:
            pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": before})
