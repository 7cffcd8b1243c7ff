"""Accuracy of a map against reference classes, and visibility of its seams: functions of class arrays."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

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

    @property
    def precision(self) -> NDArray[np.float64]:
        """Share of the pixels mapped as each class that are of it, in [0, 1]; 0 for a class that is not mapped."""
        return self._share(self.confusion.sum(0))

    @property
    def recall(self) -> NDArray[np.float64]:
        """Share of the pixels of each class that are mapped as it, in [0, 1]; 0 for a class without pixels."""
        return self._share(self.confusion.sum(1))

    @property
    def f1(self) -> NDArray[np.float64]:
        """Harmonic mean of `precision` and `recall` of each class, in [0, 1]; 0 for a class absent from both."""
        return 2 * self._share(self.confusion.sum(0) + self.confusion.sum(1))

    def _share(self, whole: NDArray[np.int64]) -> NDArray[np.float64]:
        return np.asarray(np.diag(self.confusion) / np.maximum(whole, 1), np.float64)

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
    """Class changes between neighbouring pixels across borders of windows and blocks; sums of parts are exact.

    Attributes
    ----------
    across, inside
        int64 ``(2, axis, distance)``: pairs of neighbours, and those of them whose classes differ, down and across, by
        their distance to an edge of the reference; pairs with a border of a window or block between them, and others.
    """

    across: NDArray[np.int64]
    inside: NDArray[np.int64]

    @property
    def pairs(self) -> int:
        """Pairs of neighbours with a border between them."""
        return int(self.across[0].sum())

    @property
    def changes(self) -> int:
        """Pairs of these whose classes differ."""
        return int(self.across[1].sum())

    @property
    def expected(self) -> float:
        """Changes expected at the rates of pairs that have no border between them."""
        return float((self.across[0] * (self.inside[1] / np.maximum(self.inside[0], 1))).sum())

    @property
    def score(self) -> float:
        """``changes / expected``: 1 for a map without seams, more with visible seams."""
        return self.changes / max(self.expected, 1e-12)

    def __add__(self, other: Seams) -> Seams:
        """Sums of both."""
        return Seams(across=self.across + other.across, inside=self.inside + other.inside)


def stored_lattice(provenance: Mapping[str, Any]) -> Lattice | None:
    """The windows of a map by its provenance; None where they are not known, or the map is coarser than the model."""
    fields = provenance.get("fingerprint_fields", {})
    windows, factor = fields.get("windows"), fields.get("output", {}).get("factor", 1)
    if not windows or factor != 1:
        return None
    return Lattice(window=windows["size"], stride=windows["size"] - windows["overlap"])


def seams(
    classes: NDArray[np.uint8],
    extent: Extent,
    lattice: Lattice,
    blocks: Blocks,
    *,
    truth: NDArray[np.uint8] | None = None,
    own: Extent | None = None,
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
        uint8 ``(y, x)`` reference classes of the same pixels; pairs without one, 255, are left out.
    own
        Pairs whose northern or western pixel is in it are counted; all by default. What `SEAM_HALO` pixels around it
        hold is looked at, so that parts of a map add up to the whole.
    """
    flat = np.zeros_like(classes) if truth is None else truth
    rows, columns = (own or extent).slices_in(extent)
    down = _seams(classes, flat, borders(extent.y, lattice, blocks.rows), rows, columns)
    right = _seams(classes.T, flat.T, borders(extent.x, lattice, blocks.columns), columns, rows)
    across, inside = (np.stack(both, axis=1) for both in zip(down, right, strict=True))
    return Seams(across=across, inside=inside)


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

SEAM_HALO = _EDGE_PIXELS + 1
"""Pixels around a part of a map that its seams depend on."""


def _seams(
    classes: NDArray[np.uint8], truth: NDArray[np.uint8], border: NDArray[np.bool_], lines: slice, columns: slice
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Pairs and changes by distance, int64 ``(2, distance)``: across borders, and elsewhere."""
    known = (classes != NODATA) & (truth != NODATA)
    pairs = (known[1:] & known[:-1])[lines, columns]
    changed = (classes[1:] != classes[:-1])[lines, columns] & pairs
    near, border = _lines_to_edge(truth)[lines, columns], border[lines]

    def by_distance(counted: NDArray[np.bool_], which: NDArray[np.bool_]) -> NDArray[np.int64]:
        return np.bincount(near[which][counted[which]], minlength=_EDGE_PIXELS + 2)

    across, inside = ([by_distance(each, which) for each in (pairs, changed)] for which in (border, ~border))
    return np.array(across, np.int64), np.array(inside, np.int64)


def _lines_to_edge(truth: NDArray[np.uint8]) -> NDArray[np.int8]:
    """Rows from each pair to the nearest change of the reference in its column; 0 is the pair itself."""
    change = truth[1:] != truth[:-1]
    near = np.full(change.shape, _EDGE_PIXELS + 1, np.int8)
    for lines in range(_EDGE_PIXELS, 0, -1):
        near[lines:][change[:-lines]] = lines
        near[:-lines][change[lines:]] = lines
    near[change] = 0
    return near
