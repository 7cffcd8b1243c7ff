"""Reads a map as it is published: of the target legend, cleaned up, with nodata where the map ends."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave.core.crosswalk import Crosswalk
from landweave.core.lattice import Extent, Span
from landweave.core.legend import NODATA, Legend
from landweave.core.protocols import MapReader
from landweave.publishing.cleanup import Arrays, Cleanup

BAND_ROWS = 512
"""Rows whose probabilities are in memory at once."""


@dataclass(frozen=True, kw_only=True)
class PublishedPixels:
    """A map as it is published. Picklable; `read` may be called from several threads.

    Attributes
    ----------
    map
        The stored map.
    crosswalk
        To the published legend; None to keep the map's own.
    cleanup
        Of the published classes; None for none.
    """

    map: MapReader
    crosswalk: Crosswalk | None = None
    cleanup: Cleanup | None = None

    @property
    def legend(self) -> Legend:
        """Of the published classes."""
        return self.crosswalk.legend if self.crosswalk else self.map.legend

    @property
    def arrays(self) -> tuple[str, ...]:
        """``landcover``, and ``confidence`` where the map has it."""
        return tuple(name for name in ("landcover", "confidence") if name in self.map.arrays)

    @property
    def sums_probabilities(self) -> bool:
        """Whether classes are chosen anew from summed probabilities."""
        merges = self.crosswalk is not None and not self.crosswalk.is_one_to_one
        return merges and "probability" in self.map.arrays

    def read(self, extent: Extent) -> Arrays:
        """Pixels of each of `arrays`, uint8 ``(y, x)``; 255 where the map has no data or ends.

        Parameters
        ----------
        extent
            In pixels of the map, beyond its own too.

        Raises
        ------
        ReadError
            When the map cannot be read.
        """
        if self.cleanup is None:
            return self._published(extent)
        sum_rows = self._sum_rows if "probability" in self.map.arrays else None
        return self.cleanup.apply(self._published, extent, self.map.grids[0].extent, sum_rows)

    def _published(self, extent: Extent) -> Arrays:
        """Pixels before any clean-up."""
        arrays = {name: self._stored(name, extent) for name in self.arrays}
        if self.sums_probabilities:
            return self._merged(arrays, extent)
        if self.crosswalk:
            arrays["landcover"] = self.crosswalk.classes_of(arrays["landcover"])
            if "confidence" in arrays:  # of a class that is left out nothing is shown
                arrays["confidence"][arrays["landcover"] == NODATA] = NODATA
        return arrays

    def _merged(self, arrays: Arrays, extent: Extent) -> Arrays:
        assert self.crosswalk is not None
        for rows, probabilities in self._probability_rows(extent):
            classes, confidence = self.crosswalk.merge(arrays["landcover"][rows], probabilities, self.map.legend)
            arrays["landcover"][rows] = classes
            if "confidence" in arrays:
                arrays["confidence"][rows] = confidence
        return arrays

    def _sum_rows(self, extent: Extent) -> Iterator[tuple[slice, Mapping[int, NDArray[np.uint16]]]]:
        """Summed probability x 250 of each published class, some rows at a time."""
        crosswalk = self.crosswalk or Crosswalk.identity(self.map.legend)
        for rows, probabilities in self._probability_rows(extent):
            yield rows, crosswalk.sums(probabilities, self.map.legend)

    def _probability_rows(self, extent: Extent) -> Iterator[tuple[slice, NDArray[np.uint8]]]:
        """Probability x 250 of each class of the map, some rows at a time: where in ``extent``, ``(class, y, x)``."""
        for top in range(extent.y.start, extent.y.stop, BAND_ROWS):
            rows = Span(top, min(top + BAND_ROWS, extent.y.stop))
            yield rows.slice_in(extent.y), self._stored("probability", Extent(rows, extent.x))

    def _stored(self, name: str, extent: Extent) -> NDArray[np.uint8]:
        outer = self.map.grids[0].extent
        inside = extent.intersect(outer)
        classes = (len(self.map.legend),) if name == "probability" else ()
        if inside == extent:
            return self.map.read(name, extent)
        found = np.full((*classes, *extent.shape), NODATA, np.uint8)
        if inside.size:
            found[..., *inside.slices_in(extent)] = self.map.read(name, inside)
        return found
