"""A map that is computed where it is looked at: an xarray dataset whose slices run just the windows they touch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from functools import partial
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray
from xarray.core.indexing import IndexingSupport

from landweave.core.errors import BudgetError
from landweave.core.lattice import Extent, Span
from landweave.core.legend import NODATA
from landweave.core.stopwatch import Stopwatch
from landweave.mapping.job import MapFunction
from landweave.mapping.run import MapSetup
from landweave.store.lazy_array import LazyArray
from landweave.store.maps.views import map_dataset

LARGEST_LOAD = 10**9
"""Pixels that may be asked for at once; more is a run's work."""

CACHED_EXTENTS = 8
"""Answers kept: a plot asks for land cover, then for confidence, of the same ground."""


def lazy_map(made: MapSetup) -> xr.Dataset:
    """The map of ``made`` as a lazy dataset: slicing and then loading computes the windows that touch the slice.

    Returns
    -------
    xarray.Dataset
        As `landweave.store.maps.views.map_dataset`.
    """
    answers = _Answers(made)
    arrays = {
        name: LazyArray(answers.shape(name), np.uint8, partial(answers.pick, name), IndexingSupport.BASIC)
        for name in made.template.arrays
    }
    return map_dataset(made.template, made.template.grid, arrays)


class _Answers:
    """Blocks of any extent, computed when asked for; the model is loaded with the first."""

    def __init__(self, made: MapSetup) -> None:
        self.made = made
        self._function: MapFunction | None = None
        self._kept: OrderedDict[Extent, dict[str, NDArray[Any]] | None] = OrderedDict()
        self._lock = threading.Lock()

    def get(self, name: str, extent: Extent) -> NDArray[np.uint8]:
        """Array ``name`` over ``extent`` of output pixels."""
        if extent.size > LARGEST_LOAD:
            raise BudgetError(
                f"{extent.shape[0]:,} x {extent.shape[1]:,} pixels were asked for at once; at most {LARGEST_LOAD:,} "
                f"are computed in a notebook. Slice less, or use landweave.run (landweave run CONFIG)."
            )
        with self._lock:
            holder = next((kept for kept in self._kept if kept.contains(extent)), None)
            if holder is None:
                holder = extent
                self._kept[extent] = self._compute(extent)
                if len(self._kept) > CACHED_EXTENTS:
                    self._kept.popitem(last=False)
            self._kept.move_to_end(holder)
            arrays = self._kept[holder]
        return self._empty(name, extent) if arrays is None else arrays[name][..., *extent.slices_in(holder)]

    def pick(self, name: str, key: tuple[int | slice, ...]) -> NDArray[np.uint8]:
        """Cells of array ``name`` at a basic indexer, counted from its first pixel."""
        *channels, rows, columns = key
        outer = self.made.template.grid.extent
        y, row_pick = _hull(rows, outer.y)
        x, column_pick = _hull(columns, outer.x)
        if not (y.size and x.size):
            return np.empty((*self.shape(name)[:-2], y.size, x.size), np.uint8)[(*channels, row_pick, column_pick)]
        return self.get(name, Extent(y, x))[(*channels, row_pick, column_pick)]

    def shape(self, name: str) -> tuple[int, ...]:
        """Shape of array ``name``."""
        template = self.made.template
        return (*((len(template.legend),) if name == "probability" else ()), *template.grid.shape)

    def _compute(self, extent: Extent) -> dict[str, NDArray[Any]] | None:
        if self._function is None:
            opened = self.made.job.open()
            assert isinstance(opened, MapFunction)
            self._function = opened
        arrays, _ = self._function.answer(extent.refine(self.made.job.factor), Stopwatch())
        return arrays

    def _empty(self, name: str, extent: Extent) -> NDArray[np.uint8]:
        return np.full((*self.shape(name)[:-2], *extent.shape), NODATA, np.uint8)


def _hull(pick: int | slice, outer: Span) -> tuple[Span, int | slice]:
    """The pixels that ``pick`` spans, and the same pick counted from their first."""
    if isinstance(pick, slice):
        places = range(*pick.indices(outer.size))
        if not places:
            return Span(outer.start, outer.start), slice(0, 0)
        low, high = min(places), max(places)
        turned = slice(None, None, pick.step) if places.step > 0 else slice(None, None, places.step)
        return Span(outer.start + low, outer.start + high + 1), turned
    place = range(outer.size)[pick]
    return Span(outer.start + place, outer.start + place + 1), 0
