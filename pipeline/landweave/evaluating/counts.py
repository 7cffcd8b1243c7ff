"""What one block gives to the scores: pairs of classes, confidences, likelihoods and seams, as sums."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.calibration import Likelihood, Reliability
from landweave.core.lattice import Blocks, Extent, Lattice
from landweave.core.legend import NODATA, Legend
from landweave.core.metrics import SEAM_HALO, Scores, Seams, seams

Codes = NDArray[np.uint8]

SAMPLE_STEP = 4
"""Every such row and column, counted from the anchor, gives its probabilities to the temperature: one pixel of 16 is
plenty, and costs a block a tenth of a second instead of seconds."""

_CODES = NODATA + 1


@dataclass(frozen=True, kw_only=True)
class CountRule:
    """What is counted of a map.

    Attributes
    ----------
    legend
        Of the map, its channels in the order of its probabilities.
    codes
        Classes that are scored: calibration looks at pixels whose reference and class are among them.
    lattice, blocks
        Windows and blocks of the map, in its pixels; None where they are no whole number of them.
    """

    legend: Legend
    codes: tuple[int, ...]
    lattice: Lattice | None = None
    blocks: Blocks | None = None

    @property
    def halo(self) -> int:
        """Pixels around a block that are looked at."""
        return SEAM_HALO if self.lattice else 0


@dataclass(frozen=True, kw_only=True)
class Counts:
    """Sums over the pixels of some blocks, in any order.

    Attributes
    ----------
    pairs
        Pixels by ``256 * reference + map``; 255 is nodata of the map, never of the reference.
    reliability, likelihood, seams
        None where the map has no confidence, no probabilities, or no windows.
    """

    pairs: Mapping[int, int]
    reliability: Reliability | None = None
    likelihood: Likelihood | None = None
    seams: Seams | None = None

    def __add__(self, other: Counts) -> Counts:
        """Sums of both."""
        return Counts(
            pairs=Counter(self.pairs) + Counter(other.pairs),
            reliability=_plus(self.reliability, other.reliability),
            likelihood=_plus(self.likelihood, other.likelihood),
            seams=_plus(self.seams, other.seams),
        )

    def matrix(self, codes: Sequence[int]) -> Scores:
        """The confusion matrix of some classes: rows and columns of all others are removed.

        Parameters
        ----------
        codes
            In any order.
        """
        listed = tuple(sorted(codes))
        place = {code: position for position, code in enumerate(listed)}
        confusion = np.zeros((len(listed), len(listed)), np.int64)
        for pair, pixels in self.pairs.items():
            truth, mapped = divmod(pair, _CODES)
            if truth in place and mapped in place:
                confusion[place[truth], place[mapped]] += pixels
        return Scores(codes=listed, confusion=confusion)

    @property
    def pixels(self) -> int:
        """Pixels with a reference."""
        return sum(self.pairs.values())

    @property
    def unmapped(self) -> int:
        """Pixels with a reference where the map has no data."""
        return sum(pixels for pair, pixels in self.pairs.items() if pair % _CODES == NODATA)

    def agreeing(self, step: int = 0) -> int:
        """Pixels whose reference, less ``step``, is the class of the map."""
        return sum(pixels for pair, pixels in self.pairs.items() if pair // _CODES - step == pair % _CODES != NODATA)

    def by_reference(self) -> dict[int, int]:
        """Pixels by the class of the reference."""
        found = Counter[int]()
        for pair, pixels in self.pairs.items():
            found[pair // _CODES] += pixels
        return dict(sorted(found.items()))


def _plus(one: Any, other: Any) -> Any:
    return one if other is None else other if one is None else one + other


def count(arrays: Mapping[str, Codes], truth: Codes, extent: Extent, rule: CountRule, own: Extent) -> Counts:
    """What a block gives.

    Parameters
    ----------
    arrays
        ``landcover`` uint8 ``(y, x)`` over ``extent``; and over ``own`` ``confidence`` ``(y, x)`` and ``probability``
        ``(class, y, x)`` where the map has them. 255 = nodata.
    truth
        uint8 ``(y, x)`` over ``extent``, 255 where there is no reference.
    extent
        The block and its halo, in pixels of the map.
    rule
        What is counted.
    own
        The block.
    """
    landcover = arrays["landcover"]
    mapped, reference = landcover[own.slices_in(extent)], truth[own.slices_in(extent)]
    scored = np.isin(reference, rule.codes) & np.isin(mapped, rule.codes)
    return Counts(
        pairs=count_pairs(reference, mapped),
        reliability=_reliability(arrays, mapped == reference, scored),
        likelihood=_likelihood(arrays, reference, scored, rule, own),
        seams=_seams(landcover, truth, extent, rule, own),
    )


def count_pairs(reference: Codes, mapped: Codes) -> dict[int, int]:
    """Pixels by ``256 * reference + map``, those without a reference left out.

    Parameters
    ----------
    reference, mapped
        uint8 of one shape; 255 = nodata.
    """
    known = reference != NODATA
    pairs = np.bincount(reference[known].astype(np.int64) * _CODES + mapped[known], minlength=1)
    return {int(pair): int(pairs[pair]) for pair in np.flatnonzero(pairs)}


def _reliability(arrays: Mapping[str, Codes], right: NDArray[np.bool_], scored: NDArray[np.bool_]) -> Any:
    if "confidence" not in arrays:
        return None
    return Reliability.of(arrays["confidence"][scored], right[scored])


def _likelihood(
    arrays: Mapping[str, Codes], reference: Codes, scored: NDArray[np.bool_], rule: CountRule, own: Extent
) -> Any:
    """The likelihood over every `SAMPLE_STEP`-th row and column, whatever the blocks are."""
    if "probability" not in arrays:
        return None
    rows, columns = (slice(-span.start % SAMPLE_STEP, None, SAMPLE_STEP) for span in (own.y, own.x))
    taken = scored[rows, columns]
    of_class = [rule.legend.codes.index(code) for code in rule.codes]
    channel = np.zeros(_CODES, np.int64)
    channel[list(rule.codes)] = np.arange(len(of_class))
    probabilities = arrays["probability"][of_class][:, rows, columns][:, taken]
    return Likelihood.of(probabilities, channel[reference[rows, columns][taken]])


def _seams(landcover: Codes, truth: Codes, extent: Extent, rule: CountRule, own: Extent) -> Seams | None:
    if rule.lattice is None or rule.blocks is None:
        return None
    return seams(landcover, extent, rule.lattice, rule.blocks, truth=truth, own=own)
