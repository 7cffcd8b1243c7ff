"""Arrays that xarray indexes lazily: a shape, a dtype, and a function that reads what an indexer selects."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import DTypeLike, NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

Chunks = Mapping[str, Any] | int | str | None
"""Sizes of dask chunks, as `xarray.open_dataset` takes them; None for arrays without dask."""


class LazyArray(BackendArray):
    """An array of which nothing is read before it is indexed and loaded. Pickles as its function does.

    Parameters
    ----------
    shape, dtype
        Of the whole array.
    read
        Returns the cells of an outer indexer: one integer, slice or array of integers a dimension.
    """

    def __init__(self, shape: Sequence[int], dtype: DTypeLike, read: Callable[[tuple[Any, ...]], NDArray[Any]]) -> None:
        self.shape, self.dtype, self._read = tuple(shape), np.dtype(dtype), read

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._read)

    def __deepcopy__(self, memo: dict[int, Any]) -> LazyArray:
        """Return itself: it holds no cells, and copies of a dataset share what is behind ``read``."""
        return self


def lazy_variable(
    dimensions: Sequence[str],
    array: LazyArray,
    attributes: Mapping[str, Any],
    encoding: Mapping[str, Any] | None = None,
) -> xr.Variable:
    """Return ``array`` as a variable of a dataset.

    Parameters
    ----------
    dimensions
        Names, one a dimension of ``array``.
    array
        What is read lazily.
    attributes, encoding
        Of the variable.
    """
    return xr.Variable(dimensions, indexing.LazilyIndexedArray(array), dict(attributes), dict(encoding or {}))


def chunked(dataset: xr.Dataset, chunks: Chunks, stored: Mapping[str, int]) -> xr.Dataset:
    """Return a lazily indexed dataset in dask chunks, or as it is.

    Parameters
    ----------
    dataset
        Of lazily indexed arrays.
    chunks
        None for no dask; ``{}`` or ``"auto"`` for ``stored``; otherwise as `xarray.Dataset.chunk`, of which dimensions
        that the dataset lacks are left out.
    stored
        Sizes that are read without waste, by dimension.
    """
    if chunks is None:
        return dataset
    if chunks in ({}, "auto"):
        chunks = stored
    if isinstance(chunks, Mapping):
        chunks = {name: size for name, size in chunks.items() if name in dataset.dims}
    return dataset.chunk(chunks)
