"""Accuracy of a map against reference classes, and visibility of its seams: functions of class arrays."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave.core.lattice import Blocks, Extent, Lattice, Span
from landweave.core.legend import NODATA


@dataclass(frozen=True, kw_only=True)
class Scores:
    """Accuracy from one confusion matrix over all pixels, as FLAIR-HUB computes it (arXiv 2506.07080).

    Attributes
    ----------
    codes
        Codes of the classes that are scored.
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
        """Scores over the pixels of both; ``codes`` have to be the same."""
        return Scores(codes=self.codes, confusion=self.confusion + other.confusion)


def score(truth: NDArray[np.uint8], prediction: NDArray[np.uint8], codes: Collection[int]) -> Scores:
    """Scores of predicted classes against reference classes.

    Parameters
    ----------
    truth, prediction
        uint8 class codes of one shape; 255 is nodata. Pixels where either is nodata, or a code that is not
        among ``codes``, are left out.
    codes
        Classes to be scored.
    """
    listed = tuple(sorted(codes))
    channel = np.full(NODATA + 1, -1, np.int64)
    channel[list(listed)] = np.arange(len(listed))
    rows, columns = channel[truth], channel[prediction]
    known = (rows >= 0) & (columns >= 0)
    counts = np.bincount(rows[known] * len(listed) + columns[known], minlength=len(listed) ** 2)
    return Scores(codes=listed, confusion=counts.reshape(len(listed), -1))


@dataclass(frozen=True, kw_only=True)
class Seams:
    """Class changes between neighbouring pixels across borders of windows and blocks.

    Attributes
    ----------
    pairs
        Pairs of neighbours with a border of a window or block between them.
    changes
        Pairs of these whose classes differ.
    expected
        Changes expected at the rates of pairs that have no border between them.
    """

    pairs: int
    changes: int
    expected: float

    @property
    def score(self) -> float:
        """``changes / expected``: 1 for a map without seams, more with visible seams."""
        return self.changes / max(self.expected, 1e-12)

    def __add__(self, other: Seams) -> Seams:
        """Sums of both."""
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
    """Visibility of the borders of windows and blocks.

    Edges of fields that happen to follow a border are no seams, and in an area of a few kilometres they are most of
    the changes there. With reference classes, a pair is therefore compared with pairs elsewhere that are as far from
    an edge of the reference.

    Parameters
    ----------
    classes
        uint8 ``(y, x)`` over ``extent``; 255 is nodata, and pairs with it are left out.
    extent
        Pixels of ``classes``, in base pixels.
    lattice, blocks
        Windows and blocks of the map, in base pixels.
    truth
        uint8 ``(y, x)`` reference classes of the same pixels.
    """
    flat = np.zeros_like(classes) if truth is None else truth
    return _seams(classes, flat, borders(extent.y, lattice, blocks.rows)) + _seams(
        classes.T, flat.T, borders(extent.x, lattice, blocks.columns)
    )


def borders(span: Span, lattice: Lattice, blocks: Sequence[Span]) -> NDArray[np.bool_]:
    """Whether a border of a window or block separates pixels ``i`` and ``i + 1``; bool ``(span.size - 1,)``.

    Parameters
    ----------
    span
        One axis, in base pixels.
    lattice
        Windows.
    blocks
        Blocks of the same axis.
    """
    after = np.arange(span.start + 1, span.stop)
    starts, ends = after % lattice.stride == 0, (after - lattice.window) % lattice.stride == 0
    return np.asarray(starts | ends | np.isin(after, [block.start for block in blocks]))


_EDGE_PIXELS = 12
"""Largest distance to an edge of the reference that is told apart, in pixels."""


def _seams(classes: NDArray[np.uint8], truth: NDArray[np.uint8], border: NDArray[np.bool_]) -> Seams:
    known = (classes[1:] != NODATA) & (classes[:-1] != NODATA)
    changed = (classes[1:] != classes[:-1]) & known
    near = _lines_to_edge(truth)

    def by_distance(pairs: NDArray[np.bool_], lines: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(near[lines][pairs[lines]], minlength=_EDGE_PIXELS + 2)

    across = by_distance(known, border)
    rates = by_distance(changed, ~border) / np.maximum(by_distance(known, ~border), 1)
    changes = int(changed[border].sum())
    return Seams(pairs=int(across.sum()), changes=changes, expected=float((across * rates).sum()))


def _lines_to_edge(truth: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Rows from each pair to the nearest change of the reference in its column; 0 is the pair itself."""
    change = truth[1:] != truth[:-1]
    near = np.full(change.shape, _EDGE_PIXELS + 1, np.int8)
    for lines in range(_EDGE_PIXELS, 0, -1):
        near[lines:][change[:-lines]] = lines
        near[:-lines][change[lines:]] = lines
    near[change] = 0
    return near
