"""Where the windows of one block are blended, and decided band by band of rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from array_api_compat import array_namespace, to_device
from numpy.typing import NDArray

from landweave.core.blending import Array, Blending, RowAccumulator, argmax_classes, coarsen, drop_untrained
from landweave.core.lattice import Extent, Span
from landweave.core.legend import CONFIDENCE_SCALE, NODATA, Legend
from landweave.core.stopwatch import Stopwatch
from landweave.core.timeseries import DateFallback


@dataclass(frozen=True, kw_only=True)
class ArgmaxRule:
    """How blended probabilities become the arrays of a map.

    Attributes
    ----------
    blending
        Lattice and profile of the windows.
    factor
        Base pixels a side of one output pixel.
    legend
        What the channels mean.
    arrays
        Which of ``landcover``, ``confidence``, ``probability``, ``date_fallback`` are kept.
    keep_untrained
        Whether classes the model was never trained on stay in the decision.
    """

    blending: Blending
    factor: int
    legend: Legend
    arrays: tuple[str, ...]
    keep_untrained: bool


@dataclass
class BlockAccumulator:
    """Blends windows as they come, in lattice order, and decides the rows that are done.

    Attributes
    ----------
    how
        The rules.
    extent
        The block, in base pixels.
    wanted
        Output pixels that are answered, bool ``(y, x)``; the others are nodata.
    watch
        Where the seconds of ``blend`` and ``argmax_classes`` go.
    """

    how: ArgmaxRule
    extent: Extent
    wanted: NDArray[np.bool_]
    watch: Stopwatch
    band: RowAccumulator = field(init=False)
    top: int = field(init=False)
    results: dict[str, NDArray[Any]] = field(init=False)
    date_fallbacks: NDArray[np.uint8] = field(init=False)

    def __post_init__(self) -> None:
        self.band = RowAccumulator(self.how.blending, self.extent, cell=self.how.factor)
        self.top = self.extent.y.start
        shapes = {"probability": (len(self.how.legend), *self.wanted.shape)}
        self.results = {
            name: np.full(shapes.get(name, self.wanted.shape), NODATA, np.uint8) for name in self.how.arrays
        }
        self.date_fallbacks = np.zeros(self.wanted.shape if "date_fallback" in self.how.arrays else (0, 0), np.uint8)

    def add(self, window: Extent, probabilities: Array, date_fallback: DateFallback) -> None:
        """Add one window; rows no later window can touch are decided first."""
        self._finish(window.y.start + self.how.blending.support.start)
        with self.watch("blend"):
            self.band.add(window, probabilities)
        if "date_fallback" in self.how.arrays:
            touched = window.part(self.how.blending.support).intersect(self.extent).coarsen(self.how.factor)
            here = touched.slices_in(self.extent.coarsen(self.how.factor))
            self.date_fallbacks[here] = np.maximum(self.date_fallbacks[here], np.uint8(date_fallback))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The finished arrays of the block."""
        self._finish(self.extent.y.stop)
        return self.results

    def _finish(self, stop: int) -> None:
        factor = self.how.factor
        stop = max(self.top, min(stop, self.extent.y.stop)) // factor * factor
        strips = self.band.finish(stop)
        while (strip := self._blended(strips)) is not None:
            rows, blended = strip
            with self.watch("argmax"):
                place = rows.coarsen(factor).slice_in(self.extent.y.coarsen(factor))
                self._decide(coarsen(blended, factor), place)
        self.top = stop

    def _blended(self, strips: Iterator[tuple[Span, Array]]) -> tuple[Span, Array] | None:
        with self.watch("blend"):
            return next(strips, None)

    def _decide(self, probabilities: Array, rows: slice) -> None:
        legend, wanted = self.how.legend, self.wanted[rows]
        trained = (True,) * len(legend) if self.how.keep_untrained else legend.trained
        probabilities = drop_untrained(probabilities, trained)
        channel, best = argmax_classes(probabilities, trained)
        codes = np.array(legend.codes, np.uint8)
        answers: dict[str, Callable[[], NDArray[np.uint8]]] = {
            "landcover": lambda: codes.take(_host(channel)),
            "confidence": lambda: _host(_scaled(best)),
            "probability": lambda: _host(_scaled(probabilities)),
            "date_fallback": lambda: self.date_fallbacks[rows],
        }
        for name, result in self.results.items():
            np.copyto(result[..., rows, :], answers[name](), where=wanted)


def _host(array: Array) -> NDArray[Any]:
    move: Any = to_device  # array-api-compat has no types
    return np.asarray(move(array, "cpu"))


def _scaled(probability: Array) -> Array:
    xp = array_namespace(probability)
    return xp.astype(xp.round(probability * CONFIDENCE_SCALE), xp.uint8)
