"""Public names of Landweave that are still to come, over the functions that they will be; this module then goes.

With it gone, ``from landweave_demo._pending import lw`` reads ``import landweave as lw``, and nothing else changes.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

import landweave
from landweave.config.package_data import configs_folder
from landweave.core import errors, timeseries
from landweave.core.lattice import Blocks, Lattice
from landweave.core.legend import Legend
from landweave.core.metrics import Scores, Seams, score, seams
from landweave.core.timeseries import DatesRule, PixelClass
from landweave.formats.figure import draw_classes
from landweave.models import build, find_card, list_cards
from landweave.store.maps.views import Map, open_map


class _Public:
    """Names of ``landweave``, those to come first."""

    PixelClass = PixelClass
    errors = errors
    load_model = staticmethod(build)

    def __getattr__(self, name: str) -> Any:
        return getattr(landweave, name)

    def list_models(self) -> dict[str, Any]:
        """Return the cards that come with the package, by name."""
        return {name: find_card(name) for name in list_cards()}

    def example_config(self, name: str) -> Any:
        """Return the configuration ``configs/<name>.yaml``."""
        return landweave.load_config(configs_folder() / f"{name}.yaml")

    def plan_map(self, config: Any) -> Any:
        """Return the plan of a map."""
        return landweave.plan(config)

    def open_map(self, where: Any) -> xr.Dataset:
        """Return a stored map as a dataset."""
        return open_map(where).dataset.assign_attrs(source=str(where))

    def open_ledger(self, where: Any) -> xr.Dataset:
        """Return the ledger of a stored map as a dataset."""
        return open_map(where).ledger


lw: Any = _Public()

if not hasattr(DatesRule, "select"):

    def _select(rule: Any, pixel_class: NDArray[np.uint8], times: Sequence[np.datetime64]) -> SimpleNamespace:
        indices = timeseries.choose(pixel_class, rule).indices
        offsets = tuple(timeseries.day_offset(times[index], rule) for index in indices)
        return SimpleNamespace(dates=tuple((index,) for index in indices), day_offsets=offsets)

    DatesRule.select = _select  # type: ignore[attr-defined]
    DatesRule.day_offset = lambda self, time: timeseries.day_offset(time, self)  # type: ignore[attr-defined]


class _Accessor:
    def __init__(self, dataset: xr.Dataset) -> None:
        self.dataset = dataset

    def _map(self) -> Map:
        return open_map(Path(self.dataset.attrs["source"]))

    @property
    def legend(self) -> Legend:
        """Classes of the map."""
        return self._map().legend

    def scores(self, truth: xr.DataArray) -> Scores:
        """Return the scores against a truth on the same pixels."""
        return score(truth.values, self.dataset.landcover.values, self.legend.codes)

    def seams(self, truth: xr.DataArray) -> Seams:
        """Return the seams, against edges of a truth on the same pixels."""
        found = self._map()
        y, x = self.dataset.y.values, self.dataset.x.values
        extent = found.grid.covering((float(x[0]), float(y[-1]), float(x[-1]), float(y[0])))
        windows = found.attrs["fingerprint_fields"]["windows"]
        lattice = Lattice(window=windows["size"], stride=windows["size"] - windows["overlap"])
        blocks = Blocks.covering(extent, found.block_size)
        return seams(self.dataset.landcover.values, extent, lattice, blocks, truth=truth.values)


class _ArrayAccessor:
    def __init__(self, array: xr.DataArray) -> None:
        self.array = array

    def plot(self, ax: Any = None) -> None:
        """Draw classes with their legend."""
        draw_classes(self.array, ax)


if not hasattr(xr.Dataset, "landweave"):
    xr.register_dataset_accessor("landweave")(_Accessor)  # type: ignore[no-untyped-call]
    xr.register_dataarray_accessor("landweave")(_ArrayAccessor)  # type: ignore[no-untyped-call]
