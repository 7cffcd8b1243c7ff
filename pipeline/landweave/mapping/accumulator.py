"""Blends the windows of one block and turns finished rows of probabilities into the arrays of the map."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from array_api_compat import array_namespace, to_device
from numpy.typing import NDArray

from landweave.core.blending import (
    Array,
    Blending,
    Logits,
    RowAccumulator,
    argmax_classes,
    coarsen,
    drop_untrained,
)
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
        Lattice and weight profile of the windows.
    factor
        Base pixels a side of one output pixel.
    legend
        What the channels mean.
    arrays
        Which of ``landcover``, ``confidence``, ``probability``, ``date_fallback`` are stored.
    keep_untrained
        Whether classes that the model was never trained on can be mapped.
    threshold
        Of two classes, the probability from which a pixel is of the second; None for the more probable one.
    """

    blending: Blending
    factor: int
    legend: Legend
    arrays: tuple[str, ...] = ("landcover", "confidence")
    keep_untrained: bool = False
    threshold: float | None = None

    def classify(self, probabilities: Array) -> tuple[Array, Array, Array]:
        """Probabilities ``(class, y, x)`` of the classes that count, then channel and probability of the mapped one.

        Parameters
        ----------
        probabilities
            float32 ``(class, y, x)``, of all classes.
        """
        trained = (True,) * len(self.legend) if self.keep_untrained else self.legend.trained
        kept = drop_untrained(probabilities, trained)
        return kept, *argmax_classes(kept, trained, self.threshold)


class BlockAccumulator:
    """Sums of one block, added window by window in lattice order; rows are classified as soon as they are complete.

    Parameters
    ----------
    rule
        How probabilities become arrays.
    extent
        The block, in base pixels.
    mapped
        Output pixels to be classified, bool ``(y, x)``; the others are nodata.
    watch
        Adds up the seconds of ``blend`` and ``argmax``.
    """

    def __init__(self, *, rule: ArgmaxRule, extent: Extent, mapped: NDArray[np.bool_], watch: Stopwatch) -> None:
        self.rule, self.extent, self.mapped, self.watch = rule, extent, mapped, watch
        self._sums = RowAccumulator(rule.blending, extent, cell=rule.factor)
        self._top, shape = extent.y.start, mapped.shape
        shapes = {"probability": (len(rule.legend), *shape)}
        self._results = {name: np.full(shapes.get(name, shape), NODATA, np.uint8) for name in rule.arrays}
        self._date_fallbacks = np.zeros(shape if "date_fallback" in rule.arrays else (0, 0), np.uint8)

    def add(self, window: Extent, probabilities: Array | Logits, date_fallback: DateFallback) -> None:
        """Add one window; rows that no later window touches are classified first.

        Parameters
        ----------
        window
            In base pixels.
        probabilities
            float32 ``(class, y, x)`` of the window, on any device; or its logits.
        date_fallback
            Of the dates that the window was given.
        """
        blending, factor = self.rule.blending, self.rule.factor
        self._finish(window.y.start + blending.support.start)
        with self.watch("blend"):
            self._sums.add(window, probabilities)
        if "date_fallback" in self.rule.arrays:
            touched = window.part(blending.support).intersect(self.extent).coarsen(factor)
            here = touched.slices_in(self.extent.coarsen(factor))
            self._date_fallbacks[here] = np.maximum(self._date_fallbacks[here], np.uint8(date_fallback))

    def arrays(self) -> dict[str, NDArray[np.uint8]]:
        """The finished arrays of the block, ``(y, x)`` or ``(class, y, x)``, 255 = nodata."""
        self._finish(self.extent.y.stop)
        return self._results

    def _finish(self, stop: int) -> None:
        """Classify the rows above ``stop``."""
        factor = self.rule.factor
        stop = max(self._top, min(stop, self.extent.y.stop)) // factor * factor
        finished = self._sums.finish(stop)
        while (part := self._next_rows(finished)) is not None:
            rows, blended = part
            with self.watch("argmax"):
                self._classify(coarsen(blended, factor), rows.coarsen(factor).slice_in(self.extent.y.coarsen(factor)))
        self._top = stop

    def _next_rows(self, finished: Iterator[tuple[Span, Array]]) -> tuple[Span, Array] | None:
        with self.watch("blend"):
            return next(finished, None)

    def _classify(self, probabilities: Array, rows: slice) -> None:
        probabilities, channel, best = self.rule.classify(probabilities)
        codes = np.array(self.rule.legend.codes, np.uint8)
        compute: dict[str, Callable[[], NDArray[np.uint8]]] = {
            "landcover": lambda: codes.take(_to_host(channel)),
            "confidence": lambda: _to_host(_scaled(best)),
            "probability": lambda: _to_host(_scaled(probabilities)),
            "date_fallback": lambda: self._date_fallbacks[rows],
        }
        # Where classes that do not count have all that float32 holds, the first one would be a guess.
        mapped = self.mapped[rows] & _to_host(best > 0)
        for name, result in self._results.items():
            np.copyto(result[..., rows, :], compute[name](), where=mapped)


def _to_host(array: Array) -> NDArray[Any]:
    move: Any = to_device  # array-api-compat has no types
    return np.asarray(move(array, "cpu"))


def _scaled(probability: Array) -> Array:
    xp = array_namespace(probability)
    return xp.astype(xp.round(probability * CONFIDENCE_SCALE), xp.uint8)
