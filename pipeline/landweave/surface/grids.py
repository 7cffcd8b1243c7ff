"""The grid that the keywords of a call name, and how it is written to an array."""

from __future__ import annotations

from dataclasses import replace
from typing import Any, cast

import rioxarray  # noqa: F401  registers the accessor that writes CRS and transform
import xarray as xr

from landweave.core.crs import metric_crs
from landweave.core.errors import ConfigError
from landweave.core.grid import Bounds, Grid, Number, exact
from landweave.sources.arrays import grid_of

CHUNK = 1024
"""Pixels a side of a dask chunk where none is given."""

Spatial = xr.Dataset | xr.DataArray


def stated_grid(like: Spatial | None, crs: Any, resolution: Number | None, bounds: Bounds | None) -> Grid | None:
    """The grid that the keywords of a call name whole; None where they leave a part to the files."""
    if like is not None:
        if crs is not None:
            raise ConfigError("Give like, or crs, resolution and bounds: the CRS is that of like.")
        grid = grid_of(like, "like")
        fitting = replace(grid, resolution=exact(resolution)) if resolution is not None else grid
        return fitting.with_extent(fitting.covering(bounds or grid.bounds)) if (resolution or bounds) else grid
    if crs is None or resolution is None or bounds is None:
        return None
    return Grid.from_bounds(bounds, crs=metric_crs(crs), resolution=resolution)


def with_georeference(array: xr.DataArray, grid: Grid) -> xr.DataArray:
    """``array`` with the CRS and the transform of ``grid`` as rioxarray writes them."""
    return cast("xr.DataArray", array.rio.write_crs(grid.crs).rio.write_transform(grid.transform))
