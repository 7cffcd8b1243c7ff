import json
from fractions import Fraction

import numpy as np
import pytest
import rioxarray  # noqa: F401
import xarray as xr
import zarr

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.store.georeference import (
    check_georeference,
    declare_grid,
    grid_coordinates,
    grid_from_json,
    grid_to_json,
    write_coordinate,
)
from landweave.store.zarr_store import zarr_store

GRID = Grid(
    crs="EPSG:2154",
    resolution=Fraction(256, 25),
    extent=Extent.of((-613_600, -613_590), (78_300, 78_307)),
    anchor_xy=(Fraction(1, 3), Fraction(0)),
)


def test_a_grid_survives_json_exactly():
    assert grid_from_json(json.loads(json.dumps(grid_to_json(GRID)))) == GRID


def test_what_is_declared_is_what_views_are_built_of(target):
    zarr.create_group(zarr_store(target), path="level")
    declare_grid(zarr_store(target), "level", GRID)
    declared = xr.open_zarr(zarr_store(target), group="level", consolidated=False).set_coords("spatial_ref")
    xr.testing.assert_identical(declared.load(), xr.Dataset(coords=grid_coordinates(GRID)))
    assert declared.rio.crs.to_epsg() == 2154
    group = zarr.open_group(zarr_store(target), path="level", mode="r")
    check_georeference(group, GRID)
    with pytest.raises(InputError, match="its affine is"):
        check_georeference(group, GRID.with_extent(GRID.extent.grow(1)))


def test_coordinates_may_be_text(target):
    write_coordinate(
        zarr_store(target), "band", np.array(["B2", "B8A"], np.dtypes.StringDType()), {"long_name": "band"}
    )
    found = xr.open_zarr(zarr_store(target), consolidated=False)["band"]
    assert (found.values.tolist(), found.attrs) == (["B2", "B8A"], {"long_name": "band"})
