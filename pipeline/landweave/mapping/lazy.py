"""A map that is computed where it is looked at: a lazy dataset whose slices predict just the windows they touch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import cached_property, partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from landweave.core.errors import BudgetError
from landweave.core.lattice import Extent, Span
from landweave.core.legend import NODATA
from landweave.core.stopwatch import Stopwatch
from landweave.mapping.job import Arrays, MapFunction, MapJob
from landweave.mapping.value_sample import check_values
from landweave.store.lazy_array import LazyArray
from landweave.store.maps.template import MapTemplate
from landweave.store.maps.views import map_dataset

LARGEST_LOAD = 10**9
"""Pixels that may be loaded at once; for more there is `landweave.run`."""

CACHED_EXTENTS = 8
"""Extents that are kept: a plot loads land cover, then confidence, of the same pixels."""


def lazy_map(job: MapJob, template: MapTemplate) -> xr.Dataset:
    """The map of ``job`` as a lazy dataset: loading a slice computes the windows that touch it.

    Parameters
    ----------
    job
        What is computed; nothing is written.
    template
        The arrays and the grid of the map.

    Returns
    -------
    xarray.Dataset
        As of `landweave.store.maps.views.map_dataset`.
    """
    computed = _ComputedExtents(job, template)
    shapes = {name: (*template.class_shape(name), *template.grid.shape) for name in template.arrays}
    arrays = {name: LazyArray(shape, np.uint8, partial(computed.read, name, shape)) for name, shape in shapes.items()}
    return map_dataset(template, arrays)


class _ComputedExtents:
    """Arrays over any extent, computed when they are loaded; the model is opened with the first."""

    def __init__(self, job: MapJob, template: MapTemplate) -> None:
        self._job, self._template = job, template
        self._cached: OrderedDict[Extent, Arrays | None] = OrderedDict()
        self._lock = threading.Lock()

    def read(self, name: str, shape: tuple[int, ...], key: tuple[Any, ...]) -> NDArray[np.uint8]:
        """Cells of array ``name`` of the given ``shape``, by an outer indexer."""
        indices = [np.arange(size)[part] for size, part in zip(shape, key, strict=True)]
        result_shape = tuple(part.size for part in indices if part.ndim)
        *channels, rows, columns = (np.atleast_1d(part) for part in indices)
        if not (rows.size and columns.size):
            return np.empty(result_shape, np.uint8)
        corner = self._template.grid.extent
        extent = Extent(corner.y.part(Span.hull(rows)), corner.x.part(Span.hull(columns)))
        values = self._get(name, extent)
        if values is None:
            return np.full(result_shape, NODATA, np.uint8)
        for axis, part in enumerate((*channels, rows - rows.min(), columns - columns.min())):
            values = values.take(part, axis)
        return values.reshape(result_shape)

    def _get(self, name: str, extent: Extent) -> NDArray[np.uint8] | None:
        """Array ``name`` over ``extent`` of output pixels; None where all of it is nodata."""
        if extent.size > LARGEST_LOAD:
            raise BudgetError(
                f"{extent.shape[0]:,} x {extent.shape[1]:,} pixels were asked for at once; at most {LARGEST_LOAD:,} "
                f"are computed in a notebook. Slice less, or use landweave.run (landweave run CONFIG)."
            )
        with self._lock:
            outer = next((cached for cached in self._cached if cached.contains(extent)), None)
            if outer is None:
                outer = extent
                self._cached[extent] = self._function.predict(extent.refine(self._job.factor), Stopwatch())[0]
                if len(self._cached) > CACHED_EXTENTS:
                    self._cached.popitem(last=False)
            self._cached.move_to_end(outer)
            arrays = self._cached[outer]
        return None if arrays is None else arrays[name][..., *extent.slices_in(outer)]

    @cached_property
    def _function(self) -> MapFunction:
        check_values(self._job)
        return self._job.open()
