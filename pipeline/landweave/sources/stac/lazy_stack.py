"""Scenes as one lazy array on a grid, through stackstac: nothing is read until it is computed."""

from __future__ import annotations

from typing import Any

import stackstac
import xarray as xr

from landweave.core.grid import Grid
from landweave.sources.stac.records import Scene
from landweave.sources.stac.scene_reader import Reading, address

_NO_CODE = 0
"""Stands for a CRS without a code: stackstac only ever compares it with itself here."""


def stack(reading: Reading, *, chunk: int | None = None) -> xr.DataArray:
    """Scenes of ``reading`` as a lazy array ``(time, band, y, x)``, scene by scene in their order.

    Values are reflectance x 10000 or linear power in `Reading.dtype`, 0 where nothing is measured. Coordinates are the
    grid's own pixel centres; ``id`` names the scene of each time.

    Parameters
    ----------
    reading
        Scenes, bands, grid and kernel; at least one scene, and every one of them may touch the grid.
    chunk
        Pixels a side of what is read at once; the whole grid when not given. Bands of a scene are read together.
    """
    grid = reading.grid
    array: xr.DataArray = stackstac.stack(
        [_plain(scene, reading) for scene in reading.scenes],
        assets=list(reading.bands),
        epsg=_code(grid),
        resolution=float(grid.resolution),
        bounds=grid.bounds,
        snap_bounds=False,
        dtype=reading.dtype,
        fill_value=reading.dtype.type(0),
        rescale=False,
        sortby_date=False,
        xy_coords="center",
        properties=False,
        band_coords=False,
        errors_as_nodata=(),
        reader=reading.open_band,
        chunksize=(1, len(reading.bands), chunk or -1, chunk or -1),
    )
    return _on_grid(array, grid)


def _plain(scene: Scene, reading: Reading) -> dict[str, Any]:
    """A scene as stackstac wants items, said to lie where the grid does: where it does lie our reader knows better."""
    place = {"proj:epsg": _code(reading.grid), "proj:bbox": reading.grid.bounds}
    return {
        "id": scene.id,
        "properties": {"datetime": f"{scene.time}Z", **place},
        "assets": {band: {"href": address(scene.assets[band])} for band in reading.bands},
    }


def _on_grid(array: xr.DataArray, grid: Grid) -> xr.DataArray:
    """``array`` with the exact coordinates of the grid, in place of sums of floats."""
    exact = array.drop_vars("epsg").assign_coords(x=grid.x, y=grid.y)
    exact.attrs = {"crs": grid.crs, "transform": tuple(grid.transform)[:6], "nodata": 0}
    return exact


def _code(grid: Grid) -> int:
    authority, _, code = grid.crs.partition(":")
    return int(code) if authority == "EPSG" and code.isdigit() else _NO_CODE
