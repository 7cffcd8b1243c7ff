"""Scores of a map against a truth, and of its seams against itself: pure functions on class arrays."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave.core.lattice import Blocks, Extent, Lattice, Span
from landweave.core.legend import NODATA


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Scores from one confusion matrix over all pixels (the rules of FLAIR-HUB, arXiv 2506.07080).

    Attributes
    ----------
    codes
        Classes that are scored.
    confusion
        int64 ``(truth, prediction)``, rows and columns in the order of ``codes``.
    """

    codes: tuple[int, ...]
    confusion: NDArray[np.int64]

    @property
    def accuracy(self) -> float:
        """Overall accuracy in [0, 1]: trace over sum."""
        return float(np.trace(self.confusion) / max(self.confusion.sum(), 1))

    @property
    def iou(self) -> NDArray[np.float64]:
        """Intersection over union of each class in [0, 1]; a class absent from truth and map counts 0."""
        hits = np.diag(self.confusion)
        union = self.confusion.sum(0) + self.confusion.sum(1) - hits
        return np.asarray(hits / np.maximum(union, 1), np.float64)

    @property
    def mean_iou(self) -> float:
        """Plain mean of `iou` in [0, 1]."""
        return float(self.iou.mean())

    def __add__(self, other: Scores) -> Scores:
        """Scores over the pixels of both."""
        return Scores(codes=self.codes, confusion=self.confusion + other.confusion)


def score(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], codes: Collection[int]) -> Scores:
    """Scores of a map.

    Parameters
    ----------
    truth, prediction
        uint8 class codes of one shape; 255 is nodata. Pixels where either is nodata, or a code that is not
        among ``codes``, are left out.
    codes
        Classes to be scored.
    """
    listed = tuple(sorted(codes))
    place = np.full(NODATA + 1, -1, np.int64)
    place[list(listed)] = np.arange(len(listed))
    rows, columns = place[truth], place[prediction]
    known = (rows >= 0) & (columns >= 0)
    counts = np.bincount(rows[known] * len(listed) + columns[known], minlength=len(listed) ** 2)
    return Scores(codes=listed, confusion=counts.reshape(len(listed), -1))


@dataclass(frozen=True, kw_only=True)
class Seams:
    """How often neighbouring pixels differ in class across borders, beside how often they would if there were none.

    Attributes
    ----------
    pairs
        Neighbours with a window's or block's border between them.
    changes
        How many of them differ.
    expected
        How many would at the rates of the pairs elsewhere.
    """

    pairs: int
    changes: int
    expected: float

    @property
    def score(self) -> float:
        """Changes over those expected: 1 for a map without seams, more with them."""
        return self.changes / max(self.expected, 1e-12)

    def __add__(self, other: Seams) -> Seams:
        """Both together."""
        return Seams(
            pairs=self.pairs + other.pairs,
            changes=self.changes + other.changes,
            expected=self.expected + other.expected,
        )


def seams(
    classes: NDArray[np.uint8],
    extent: Extent,
    lattice: Lattice,
    blocks: Blocks,
    *,
    truth: NDArray[np.uint8] | None = None,
) -> Seams:
    """How visible the borders of windows and blocks are.

    Field edges that happen to run along a border are no seams, and in a scene of a few kilometres they are most of
    what changes there. Where the truth is known, a pair is therefore held against pairs elsewhere that are as far
    from an edge of the truth.

    Parameters
    ----------
    classes
        uint8 ``(y, x)`` over ``extent``; 255 is nodata, and pairs with it are left out.
    extent
        Pixels of ``classes``, in base pixels.
    lattice, blocks
        Whose borders are looked at, in base pixels.
    truth
        True classes of the same pixels, where there are any.
    """
    flat = np.zeros_like(classes) if truth is None else truth
    return _seams(classes, flat, borders(extent.y, lattice, blocks.size)) + _seams(
        classes.T, flat.T, borders(extent.x, lattice, blocks.size)
    )


def borders(span: Span, lattice: Lattice, block: int) -> NDArray[np.bool_]:
    """Whether a border lies between pixel ``i`` and ``i + 1`` of ``span``; bool ``(span.size - 1,)``."""
    after = np.arange(span.start + 1, span.stop)
    starts, ends = after % lattice.stride == 0, (after - lattice.window) % lattice.stride == 0
    return np.asarray(starts | ends | (after % block == 0))


_EDGE_REACH = 12
"""Pixels to an edge of the truth beyond which it no longer matters how far it is."""


def _seams(classes: NDArray[np.uint8], truth: NDArray[np.uint8], border: NDArray[np.bool_]) -> Seams:
    known = (classes[1:] != NODATA) & (classes[:-1] != NODATA)
    changed = (classes[1:] != classes[:-1]) & known
    near = _lines_to_edge(truth)
    pairs, changes = (_count(near, which, border) for which in (known, changed))
    rates = changes[1] / np.maximum(pairs[1], 1)
    return Seams(pairs=int(pairs[0].sum()), changes=int(changes[0].sum()), expected=float((pairs[0] * rates).sum()))


def _count(
    near: NDArray[np.int8], which: NDArray[np.bool_], border: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs by their distance to an edge: across borders, and elsewhere."""
    across, elsewhere = (
        np.bincount(near[lines][which[lines]], minlength=_EDGE_REACH + 2) for lines in (border, ~border)
    )
    return across, elsewhere


def _lines_to_edge(truth: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Lines from each pair to the nearest change of the truth in its column; 0 is the pair itself."""
    change = truth[1:] != truth[:-1]
    near = np.full(change.shape, _EDGE_REACH + 1, np.int8)
    for lines in range(_EDGE_REACH, 0, -1):
        near[lines:][change[:-lines]] = lines
        near[:-lines][change[lines:]] = lines
    near[change] = 0
    return near
