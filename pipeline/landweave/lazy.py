"""A map that is computed where it is looked at: an xarray dataset whose slices run just the windows they touch."""

from __future__ import annotations

import threading
from collections import OrderedDict
from pathlib import Path
from typing import Any, cast

import numpy as np
import rioxarray  # noqa: F401  registers the accessor that writes CRS and transform
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from landweave.assembly import MapRun, assemble
from landweave.config import Config
from landweave.errors import BudgetError
from landweave.lattice import Extent, Span
from landweave.legend import NODATA
from landweave.selection import config_of_cube
from landweave.steps.map import MapFunction, Stopwatch
from landweave.store.layout import flag_attributes, rung_attributes

LARGEST_LOAD = 10**9
"""Pixels that may be asked for at once; more is a run's work."""

CACHED_EXTENTS = 8
"""Answers kept: a plot asks for land cover, then for confidence, of the same ground."""


def predict(
    what: Config | MapRun | xr.DataTree | str | Path,
    card: str | None = None,
    *,
    weights: str | Path | None = None,
    year: int | None = None,
) -> xr.Dataset:
    """The map of a configuration, or of a cube by a model, as a lazy dataset; nothing runs yet.

    The values are those that `landweave.run` writes.

    Slicing and then loading computes the windows that touch the slice, in this process. A few answers are kept.

    Parameters
    ----------
    what
        A configuration from `landweave.load_config` (its output need not be writable, its engine is not used), or a
        cube: from `landweave.open_cube`, a path or a URL. Of a tree the modalities, the days and the ground that it
        still has are mapped, with what windows reach beyond that ground.
    card
        Of the model, for a cube: a name of ``landweave models list``, or a card's file.
    weights
        Of the model, where its card does not name them.
    year
        Civil year of the cube's dates that the model is given.

    Returns
    -------
    xarray.Dataset
        ``landcover``, ``confidence`` (probability x 250) and ``probability`` as configured, uint8, 255 = nodata,
        dims ``(y, x)`` or ``(class, y, x)``, with pixel-centre coordinates, CRS and transform.

    Raises
    ------
    BudgetError
        When more than a gigapixel is loaded at once.
    """
    if not isinstance(what, Config | MapRun):
        what = config_of_cube(what, card, weights=weights, year=year)
    made = what if isinstance(what, MapRun) else assemble(what)
    answers = _Answers(made)
    dataset = xr.Dataset(coords={"y": made.template.grid.y, "x": made.template.grid.x})
    for name in made.template.arrays:
        dims = ("class", "y", "x") if name == "probability" else ("y", "x")
        lazy = indexing.LazilyIndexedArray(_LazyArray(answers, name))
        flags = {"landcover": flag_attributes(made.template.legend), "rung": rung_attributes()}
        attributes = flags.get(name, {})
        dataset[name] = xr.Variable(dims, lazy, {"nodata": NODATA, **attributes})
    if "probability" in dataset:
        dataset = dataset.assign_coords({"class": list(made.template.legend.codes)})
    dataset.attrs = dict(made.template.attributes)
    placed: xr.Dataset = dataset.rio.write_crs(made.template.grid.crs)
    return cast("xr.Dataset", placed.rio.write_transform(made.template.grid.transform))


class _Answers:
    """Blocks of any extent, computed when asked for; the model is loaded with the first."""

    def __init__(self, made: MapRun) -> None:
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


class _LazyArray(BackendArray):
    """One array of the map, as xarray's backends index it."""

    def __init__(self, answers: _Answers, name: str) -> None:
        self._answers, self._name = answers, name
        self.shape = answers.shape(name)
        self.dtype = np.dtype(np.uint8)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._basic)

    def __deepcopy__(self, memo: dict[int, Any]) -> _LazyArray:
        """Itself: it holds no pixels of its own, and copies of a dataset share the model and what is kept."""
        return self

    def _basic(self, key: tuple[int | slice, ...]) -> NDArray[np.uint8]:
        *channels, rows, columns = key
        outer = self._answers.made.template.grid.extent
        y, row_pick = _hull(rows, outer.y)
        x, column_pick = _hull(columns, outer.x)
        if not (y.size and x.size):
            shape = (*self.shape[:-2], y.size, x.size)
            return np.empty(shape, np.uint8)[(*channels, row_pick, column_pick)]
        return self._answers.get(self._name, Extent(y, x))[(*channels, row_pick, column_pick)]


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
