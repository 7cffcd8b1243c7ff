"""Scores of a map against a truth, and of its seams against itself: pure functions on class arrays."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave.lattice import Blocks, Extent, Lattice, Span
from landweave.legend import NODATA


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
    """How often neighbouring pixels differ in class, across borders and elsewhere.

    Attributes
    ----------
    border_pairs, border_changes
        Neighbours with a window's or block's border between them, and how many of them differ.
    other_pairs, other_changes
        All others.
    """

    border_pairs: int
    border_changes: int
    other_pairs: int
    other_changes: int

    @property
    def score(self) -> float:
        """Rate of change across borders over the rate elsewhere: 1 for a map without seams, more with them."""
        border = self.border_changes / max(self.border_pairs, 1)
        return border / max(self.other_changes / max(self.other_pairs, 1), 1e-12)

    def __add__(self, other: Seams) -> Seams:
        """Both together."""
        return Seams(
            border_pairs=self.border_pairs + other.border_pairs,
            border_changes=self.border_changes + other.border_changes,
            other_pairs=self.other_pairs + other.other_pairs,
            other_changes=self.other_changes + other.other_changes,
        )


def seams(classes: NDArray[np.uint8], extent: Extent, lattice: Lattice, blocks: Blocks) -> Seams:
    """How visible the borders of windows and blocks are.

    Parameters
    ----------
    classes
        uint8 ``(y, x)`` over ``extent``; 255 is nodata, and pairs with it are left out.
    extent
        Pixels of ``classes``, in base pixels.
    lattice, blocks
        Whose borders are looked at, in base pixels.
    """
    return _seams(classes, borders(extent.y, lattice, blocks.size)) + _seams(
        classes.T, borders(extent.x, lattice, blocks.size)
    )


def borders(span: Span, lattice: Lattice, block: int) -> NDArray[np.bool_]:
    """Whether a border lies between pixel ``i`` and ``i + 1`` of ``span``; bool ``(span.size - 1,)``."""
    after = np.arange(span.start + 1, span.stop)
    starts, ends = after % lattice.stride == 0, (after - lattice.window) % lattice.stride == 0
    return np.asarray(starts | ends | (after % block == 0))


def _seams(classes: NDArray[np.uint8], border: NDArray[np.bool_]) -> Seams:
    known = (classes[1:] != NODATA) & (classes[:-1] != NODATA)
    changed = ((classes[1:] != classes[:-1]) & known).sum(1)
    pairs = known.sum(1)
    return Seams(
        border_pairs=int(pairs[border].sum()),
        border_changes=int(changed[border].sum()),
        other_pairs=int(pairs[~border].sum()),
        other_changes=int(changed[~border].sum()),
    )
