import copy
import pickle
from functools import partial

import dask.array
import numpy as np
import pytest
import xarray as xr

from landweave.store.lazy_array import LazyArray, chunked, lazy_variable

VALUES = np.arange(6 * 8).reshape(6, 8)


def outer(values, key):
    rows, columns = key
    return values[rows][..., columns]


@pytest.fixture
def lazy():
    array = LazyArray(VALUES.shape, "int64", partial(outer, VALUES))
    return xr.Dataset({"a": lazy_variable(("y", "x"), array, {"units": "m"}, {"grid_mapping": "spatial_ref"})})["a"]


@pytest.mark.parametrize(
    "pick", [{"y": 2}, {"y": slice(None, None, -2), "x": [7, 0, 0]}, {"x": -1, "y": 0}, {"y": slice(3, 3)}], ids=str
)
def test_any_pick_is_that_of_the_array(lazy, pick):
    np.testing.assert_array_equal(lazy.isel(pick), xr.DataArray(VALUES, dims=("y", "x")).isel(pick))
    assert (lazy.attrs, lazy.encoding) == ({"units": "m"}, {"grid_mapping": "spatial_ref"})


def test_nothing_is_read_before_it_is_loaded():
    array = LazyArray(VALUES.shape, "int64", lambda key: 1 / 0)
    raster = xr.DataArray(lazy_variable(("y", "x"), array, {}))
    repr(raster[1:3].isel(x=[1, 2])), raster.copy(deep=True), copy.deepcopy(raster)
    with pytest.raises(ZeroDivisionError):
        raster.load()


def test_it_pickles_as_its_function(lazy):
    np.testing.assert_array_equal(pickle.loads(pickle.dumps(lazy[1:3])), VALUES[1:3])


@pytest.mark.parametrize(
    ("chunks", "sizes"),
    [(None, None), ({}, ((4, 2), (8,))), ("auto", ((4, 2), (8,))), ({"x": 3, "time": 1}, ((6,), (3, 3, 2)))],
    ids=str,
)
def test_chunks_are_those_of_xarray(lazy, chunks, sizes):
    found = chunked(lazy.to_dataset(), chunks, {"y": 4, "x": 8, "time": 1})
    assert found["a"].chunks == sizes
    assert isinstance(found["a"].variable._data, dask.array.Array) == (sizes is not None)
    np.testing.assert_array_equal(found["a"], VALUES)
