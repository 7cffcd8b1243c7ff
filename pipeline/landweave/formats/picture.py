"""A map as a PNG that a person can read: colours, legend, scale bar, coordinates, source and licence."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from odc.geo.crs import CRS

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.legend import NODATA
from landweave.core.protocols import MapReader
from landweave.formats.figure import (
    colored,
    draw_image,
    draw_legend,
    draw_north_arrow,
    draw_scale_bar,
    mark_coordinates,
    new_figure,
    save_figure,
    write_texts,
)


def write_picture(
    reader: MapReader,
    path: str | os.PathLike[str],
    *,
    max_size: int = 2048,
    title: str | None = None,
    credit: str | None = None,
) -> Path:
    """Write the land cover as a PNG, and return its path: north up, legend with shares of the mapped area, scale bar.

    Parameters
    ----------
    reader
        The map, with overviews when it is large.
    path
        File to write; an older one is replaced.
    max_size
        The finest level of at most this many pixels a side is drawn.
    title, credit
        Above and below; the map's ``title``, ``source`` and ``license`` by default.

    Raises
    ------
    InputError
        When no level is small enough.
    OutputError
        When the file cannot be written.
    """
    classes, grid = _finest_level(reader, max_size)
    x0, y0, x1, y1 = grid.bounds
    figure, (axes,) = new_figure(classes.shape)
    draw_image(axes, colored(classes, reader.legend), (x0, x1, y0, y1))
    mark_coordinates(axes, grid.shape)
    draw_scale_bar(axes)
    draw_north_arrow(axes)
    draw_legend(axes, reader.legend, [classes], shares=True)
    write_texts(
        figure,
        title=title or str(reader.attrs.get("title", "Land cover")),
        subtitle=_subtitle(reader.grids[0], classes, grid),
        credit=credit or _credit(reader),
    )
    return save_figure(figure, path)


def _finest_level(reader: MapReader, max_size: int) -> tuple[NDArray[np.uint8], Grid]:
    """Land cover at the finest level that fits, without the empty margin that whole blocks leave around an area."""
    small = [level for level, grid in enumerate(reader.grids) if max(grid.shape) <= max_size]
    if not small:
        raise InputError(
            f"The coarsest level is {reader.grids[-1].shape}, a picture of at most {max_size} pixels a side was asked "
            "for: make the overviews first, or ask for a larger picture."
        )
    level, grid = small[0], reader.grids[small[0]]
    classes = reader.read("landcover", grid.extent, level)
    rows = np.flatnonzero((classes != NODATA).any(axis=1))
    columns = np.flatnonzero((classes != NODATA).any(axis=0))
    if not rows.size:
        return classes, grid
    top, left = grid.extent.y.start, grid.extent.x.start
    inside = Extent.of((top + rows[0], top + rows[-1] + 1), (left + columns[0], left + columns[-1] + 1))
    return classes[inside.slices_in(grid.extent)], grid.with_extent(inside)


def _subtitle(grid: Grid, classes: NDArray[np.uint8], drawn: Grid) -> str:
    mapped_km2 = np.count_nonzero(classes != NODATA) * float(drawn.resolution) ** 2 / 1e6
    value, unit = (mapped_km2, "km²") if mapped_km2 >= 1 else (mapped_km2 * 100, "ha")
    area = f"{value:,.0f}".replace(",", "\u2009") if value >= 100 else f"{value:.3g}"
    crs = CRS(grid.crs)
    name = crs.proj.name.split("/")[-1].strip()
    code = f" (EPSG:{crs.to_epsg()})" if crs.to_epsg() else ""
    return f"{area} {unit} mapped at {float(grid.resolution):g} m  ·  {name}{code}"


def _credit(reader: MapReader) -> str:
    parts = [str(reader.attrs[name]) for name in ("source", "license") if reader.attrs.get(name)]
    return "  ·  ".join([*parts, "made with Landweave"])
