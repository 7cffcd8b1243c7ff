"""How a grid is written into a Zarr group: exact JSON, centre coordinates, and the CRS variable of CF and GDAL."""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from odc.geo.crs import CRS
from zarr.abc.store import Store
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent

_COORDINATE_CODEC = (BloscCodec(typesize=8, cname="zstd", clevel=5, shuffle=BloscShuffle.shuffle), Crc32cCodec())


def grid_to_json(grid: Grid) -> dict[str, Any]:
    """Return a grid as plain JSON values, exact."""
    return {
        "crs": grid.crs,
        "resolution": str(grid.resolution),
        **extent_to_json(grid.extent),
        "anchor_xy": [str(value) for value in grid.anchor_xy],
    }


def grid_from_json(written: Mapping[str, Any]) -> Grid:
    """Return the grid that `grid_to_json` wrote."""
    anchor_x, anchor_y = (Fraction(value) for value in written["anchor_xy"])
    return Grid(
        crs=written["crs"],
        resolution=Fraction(written["resolution"]),
        extent=extent_from_json(written),
        anchor_xy=(anchor_x, anchor_y),
    )


def extent_to_json(extent: Extent) -> dict[str, list[int]]:
    """Return an extent as plain JSON values."""
    return {"rows": [extent.y.start, extent.y.stop], "columns": [extent.x.start, extent.x.stop]}


def extent_from_json(written: Mapping[str, Any]) -> Extent:
    """Return the extent that `extent_to_json` wrote."""
    (top, bottom), (left, right) = written["rows"], written["columns"]
    return Extent.of((top, bottom), (left, right))


def grid_coordinates(grid: Grid) -> dict[str, Any]:
    """Return ``y`` and ``x`` of the pixel centres and ``spatial_ref``, the coordinates of a dataset on ``grid``."""
    import xarray as xr  # half a second, which a plan does without

    axes = {axis: (axis, centres, _axis_attributes(axis)) for axis, centres in (("y", grid.y), ("x", grid.x))}
    return {**axes, "spatial_ref": xr.Variable((), 0, _crs_attributes(grid))}


def declare_grid(store: Store, path: str, grid: Grid) -> None:
    """Write the coordinates and the CRS variable of a group.

    Parameters
    ----------
    store
        Where it is written.
    path
        The group in it.
    grid
        Pixels of the group's arrays.
    """
    for axis, centres in (("y", grid.y), ("x", grid.x)):
        write_coordinate(store, f"{path}/{axis}", centres, _axis_attributes(axis))
    zarr.create_array(store, name=f"{path}/spatial_ref", data=np.array(0), attributes=_crs_attributes(grid))


def write_coordinate(store: Store, path: str, values: NDArray[Any], attributes: Mapping[str, Any]) -> None:
    """Write a one-dimensional array named like its dimension, in one chunk.

    Parameters
    ----------
    store
        Where it is written.
    path
        The array in it; its last part names the dimension.
    values
        ``(n,)``, numbers or text (numpy's ``StringDType``).
    attributes
        Of the array.
    """
    zarr.create_array(
        store,
        name=path,
        data=values,
        chunks=values.shape,
        compressors=_COORDINATE_CODEC,
        dimension_names=(path.rpartition("/")[2],),
        attributes=dict(attributes),
    )


def check_georeference(group: zarr.Group, grid: Grid) -> None:
    """Make sure that affine, coordinates and grid of a group are one and the same.

    Parameters
    ----------
    group
        A level of a map, or a group of a cube.
    grid
        What its attributes say.

    Raises
    ------
    InputError
        When the affine or a centre coordinate is not exactly that of ``grid``.
    """
    where = f"{group.store}/{group.path}"
    written = tuple(float(number) for number in str(group["spatial_ref"].attrs["GeoTransform"]).split())
    if written != grid.transform.to_gdal():
        raise InputError(f"{where}: its affine is {written}, its grid says {grid.transform.to_gdal()}.")
    for axis, centres in (("x", grid.x), ("y", grid.y)):
        stored = np.asarray(group[axis][:])  # type: ignore[index]
        if not np.array_equal(stored, centres):
            raise InputError(
                f"{where}: its {axis} runs from {stored[:1]} to {stored[-1:]} in {stored.size} steps, "
                f"its grid says {centres[:1]} to {centres[-1:]} in {centres.size}."
            )


def _axis_attributes(axis: str) -> dict[str, Any]:
    name = {"x": "easting", "y": "northing"}[axis]
    return {
        "axis": axis.upper(),
        "standard_name": f"projection_{axis}_coordinate",
        "long_name": f"{name} of pixel centres",
        "units": "m",
    }


def _crs_attributes(grid: Grid) -> dict[str, Any]:
    crs = CRS(grid.crs)
    affine = " ".join(repr(number) for number in grid.transform.to_gdal())
    return {**crs.proj.to_cf(), "spatial_ref": crs.to_wkt(), "GeoTransform": affine}
