"""Clean-up of published classes: majority filter, then the minimum mapping unit, seamless from dalle to dalle."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from functools import partial
from math import isqrt
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.lattice import Extent
from landweave.core.legend import CONFIDENCE_SCALE, NODATA
from landweave.core.majority import majority
from landweave.core.sieve import OpenSides, largest_halo, sieve

Arrays = dict[str, NDArray[np.uint8]]

SumRows = Callable[[Extent], Iterator[tuple[slice, Mapping[int, NDArray[np.uint16]]]]]
"""Summed probability x 250 of each published class over an extent, some rows at a time."""


@dataclass(frozen=True, kw_only=True)
class Cleanup:
    """How classes are cleaned up.

    Attributes
    ----------
    minimum
        Pixels that a patch needs to stay, as pairs of code and number, ascending; other classes stay always.
    majority
        Pixels a side of the square that the majority filter counts; 0 for none.
    """

    minimum: tuple[tuple[int, int], ...] = ()
    majority: int = 0

    @property
    def fingerprint_fields(self) -> Mapping[str, Any]:
        """Both, as plain JSON values."""
        return {**asdict(self), "minimum": [list(pair) for pair in self.minimum]}

    def first_halo(self) -> int:
        """Pixels around a dalle that are mostly enough: some diameters of compact patches of the largest unit."""
        return min(4 * isqrt(max((pixels for _, pixels in self.minimum), default=0)), largest_halo(dict(self.minimum)))

    @property
    def reach(self) -> int:
        """Pixels around a dalle that any of its own may depend on."""
        return largest_halo(dict(self.minimum)) + self.majority // 2

    def apply(
        self, read: Callable[[Extent], Arrays], extent: Extent, outer: Extent, sum_rows: SumRows | None
    ) -> Arrays:
        """Pixels of ``extent`` cleaned up as in the whole map.

        Where a class changes, ``confidence`` is the probability of the new one where that is known, 255 elsewhere.

        Parameters
        ----------
        read
            Published pixels before the clean-up, of any extent; 255 beyond the map.
        extent
            The pixels that are wanted.
        outer
            Pixels of the map.
        sum_rows
            Of the probabilities, where the map has them.
        """
        halo, half = self.first_halo(), self.majority // 2
        while True:
            window = extent.grow(halo)
            arrays = read(window.grow(half))
            inside = window.slices_in(window.grow(half))
            before = {name: values[inside] for name, values in arrays.items()}
            classes = majority(arrays["landcover"], self.majority)[inside] if half else before["landcover"]
            core = extent.slices_in(window)
            sums = partial(_patch_sums, sum_rows, window) if sum_rows else None
            found = sieve(classes, dict(self.minimum), sides=_open_sides(window, outer), patch_sums=sums)
            if not found.uncertain[core].any():
                cleaned = {name: values[core] for name, values in before.items()} | {"landcover": found.classes[core]}
                return _with_confidence(cleaned, before["landcover"][core], sum_rows and sum_rows(extent))
            halo *= 2


def _open_sides(window: Extent, outer: Extent) -> OpenSides:
    """Sides beyond which there may be more of the map."""
    return OpenSides(
        top=window.y.start > outer.y.start,
        bottom=window.y.stop < outer.y.stop,
        left=window.x.start > outer.x.start,
        right=window.x.stop < outer.x.stop,
    )


def _patch_sums(sum_rows: SumRows, window: Extent, numbers: NDArray[np.int32], count: int) -> NDArray[np.float64]:
    """Probability of each code, summed over each patch."""
    result = np.zeros((count, 0))
    for rows, sums in sum_rows(window):
        if not result.size:  # a noisy dalle has a million patches: no column for a code that no class has
            result = np.zeros((count, 1 + max(sums)))
        inside = numbers[rows] >= 0
        patches = numbers[rows][inside]
        for code, layer in sums.items():
            result[:, code] += np.bincount(patches, weights=layer[inside], minlength=count)
    return result


def _with_confidence(
    arrays: Arrays,
    before: NDArray[np.uint8],
    rows_of: Iterator[tuple[slice, Mapping[int, NDArray[np.uint16]]]] | None,
) -> Arrays:
    """Pixels whose class changed have the probability of the new one, or 255."""
    if "confidence" not in arrays:
        return arrays
    changed = arrays["landcover"] != before
    confidence = np.where(changed, NODATA, arrays["confidence"]).astype(np.uint8)
    for rows, sums in rows_of or ():
        for code, layer in sums.items():
            here = changed[rows] & (arrays["landcover"][rows] == code)
            confidence[rows][here] = np.minimum(layer[here], CONFIDENCE_SCALE)
    return {**arrays, "confidence": confidence}
