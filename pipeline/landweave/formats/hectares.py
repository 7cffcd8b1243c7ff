"""Hectares by zone and class, as a table, in GeoParquet and CSV."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from pathlib import Path

import geopandas
import numpy as np

from landweave.core.crs import TRUE_AREA, areal_scales
from landweave.core.errors import InputError
from landweave.core.grid import HECTARE_M2, Grid
from landweave.core.legend import CONFIDENCE_SCALE, NODATA, Legend
from landweave.core.scanlines import Floats, Integers
from landweave.core.zonal import ZoneCounts
from landweave.formats.zones import ZoneTable

_NOTED = 1e-4


def check_areas(grid: Grid) -> tuple[str, ...]:
    """Make sure that areas in the CRS of a grid are those on the ground; notes on how far they differ.

    Asked before hectares, areas of polygons or a smallest area are counted in pixels.

    Raises
    ------
    InputError
        When they differ by more than 1 %, as in Web Mercator.
    """
    smallest, largest = areal_scales(grid.crs, grid.bounds)
    if np.isnan(smallest):
        return (f"areas are those of pixels in {grid.crs[:60]}, which does not say how large they are on the ground",)
    off = max(1 - smallest, largest - 1)
    if off > TRUE_AREA:
        raise InputError(
            f"A hectare on the ground measures {smallest:.4g} to {largest:.4g} ha in {grid.crs[:60]}, the CRS of the "
            f"map, more than {TRUE_AREA:.0%} off: areas are counted in pixels, so make the map in a CRS that keeps "
            "areas there, such as EPSG:2154 in France or EPSG:3035 in Europe."
        )
    scales = f"a hectare on the ground is {smallest:.4f} to {largest:.4f} of them"
    return (f"areas are those of pixels in {grid.crs[:60]}: {scales}",) if off > _NOTED else ()


def hectares_table(table: ZoneTable, counts: ZoneCounts, grid: Grid, legend: Legend) -> geopandas.GeoDataFrame:
    """Areas of all zones, one row a zone in the order of the file.

    Parameters
    ----------
    table
        The zones.
    counts
        Pixels of all of them.
    grid
        Pixels of the map; those of a zone beyond it count as not mapped.
    legend
        Of the classes.

    Returns
    -------
    geopandas.GeoDataFrame
        ``zone`` (its number in the file, from 1), the columns of the file, ``area_ha`` of the zone's pixels (of its
        polygon where the map does not meet it), ``not_mapped`` (share of them, 0 to 1), ``confidence`` (mean of those
        that are mapped, 0 to 1), then for each class ``<name>_ha`` and ``<name>_confidence``, and the zone as
        ``geometry``. Shares and means are missing where there is no pixel. A column of the file that has one of these
        names gets ``_of_zone`` behind it.
    """
    mapped = counts.pixels[:, :NODATA].sum(axis=1)
    total = table.zones.sizes(grid)
    known, confidence = (each[:, :NODATA] for each in (counts.known, counts.confidence))
    found = {
        "area_ha": _hectares(total, grid),
        "not_mapped": _quotient(total - mapped, total),
        "confidence": _quotient(confidence.sum(axis=1), known.sum(axis=1) * CONFIDENCE_SCALE),
    }
    for code, name in _class_names(legend, counts):
        found[f"{name}_ha"] = _hectares(counts.pixels[:, code], grid)
        found[f"{name}_confidence"] = _quotient(confidence[:, code], known[:, code] * CONFIDENCE_SCALE)
    return table.frame(found, grid.crs)


def csv_bytes(table: geopandas.GeoDataFrame) -> bytes:
    """The table as CSV in UTF-8, without the geometries; nothing where a value is missing."""
    text: str = table.drop(columns="geometry").to_csv(index=False, float_format="%.12g", lineterminator="\n")
    return text.encode()


def parquet_bytes(table: geopandas.GeoDataFrame) -> bytes:
    """The table as GeoParquet 1.1."""
    buffer = io.BytesIO()
    table.to_parquet(buffer, index=False, compression="zstd", schema_version="1.1.0")
    return buffer.getvalue()


FORMATS: dict[str, Callable[[geopandas.GeoDataFrame], bytes]] = {".csv": csv_bytes, ".parquet": parquet_bytes}
"""What writes a table, by the ending of its file."""


def check_file(path: Path, *, may_exist: bool = False) -> None:
    """Make sure that a table can be written to ``path``.

    Parameters
    ----------
    path
        Of the table.
    may_exist
        Whether something may be there.

    Raises
    ------
    InputError
        When its ending is none of `FORMATS`, or something is there.
    """
    if path.suffix.lower() not in FORMATS:
        raise InputError(f"Hectares go to files that end in {' or '.join(FORMATS)}, not {path.name}.")
    if path.exists() and not may_exist:
        raise InputError(f"{path} is there already: name another file, or remove it.")


def column_names(legend: Legend) -> dict[int, str]:
    """Name of each class as columns have it, by code: one word, with the code where two classes have it."""
    names = ["_".join(each.name.replace("/", " ").split()) for each in legend.classes]
    found = zip(legend.classes, names, strict=True)
    return {each.code: name if names.count(name) == 1 else f"{name}_{each.code}" for each, name in found}


def _class_names(legend: Legend, counts: ZoneCounts) -> Iterator[tuple[int, str]]:
    """Code and name in columns of each class that is trained or was found."""
    names = column_names(legend)
    for each in legend.classes:
        if each.trained or counts.pixels[:, each.code].any():
            yield each.code, names[each.code]


def _hectares(pixels: Integers, grid: Grid) -> Floats:
    pixel_ha = grid.pixel_m2 / HECTARE_M2  # whole numbers divided once are rounded correctly
    return pixels * pixel_ha.numerator / pixel_ha.denominator


def _quotient(above: Integers, below: Integers) -> Floats:
    quotient: Floats = np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)
    return quotient
