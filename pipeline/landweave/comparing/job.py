"""The blocks of a comparison of two maps: patches at their edges first, then transitions."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave.comparing.gate import Gate, PatchSizes, pair_codes
from landweave.core.lattice import BlockIndex
from landweave.core.legend import CONFIDENCE_SCALE, NODATA
from landweave.core.outlines import find_regions

_CODES = NODATA + 1


@dataclass(frozen=True, kw_only=True)
class TransitionCounts:
    """Sums over the pixels of some blocks.

    Attributes
    ----------
    every, kept
        Pixels by ``256 * before + after``: all that both maps have, and the changes that are kept.
    patches
        Kept changes of one kind each, by pixels that share an edge; what the edges of blocks cut counts in each.
    compared, changed
        int64 ``(251,)``: pixels that both maps have by the lower confidence of the two, and those that changed.
    """

    every: Counter[int]
    kept: Counter[int]
    patches: int
    compared: NDArray[np.int64]
    changed: NDArray[np.int64]

    def __add__(self, other: TransitionCounts) -> TransitionCounts:
        """Sums of both."""
        return TransitionCounts(
            every=self.every + other.every,
            kept=self.kept + other.kept,
            patches=self.patches + other.patches,
            compared=self.compared + other.compared,
            changed=self.changed + other.changed,
        )


def count_patches(gate: Gate, index: BlockIndex) -> tuple[int, PatchSizes]:
    """Pixels of a block, and its patches that reach an edge.

    Parameters
    ----------
    gate
        Which changes are kept.
    index
        Of the block.
    """
    return gate.pair.blocks[index].size, gate.patch_sizes(index)


def count_transitions(gate: Gate, index: BlockIndex) -> tuple[int, TransitionCounts]:
    """Pixels of a block that both maps have, and their transitions.

    Parameters
    ----------
    gate
        Which changes are kept.
    index
        Of the block.
    """
    pair = gate.pair
    extent = pair.blocks[index]
    before, after = pair.classes(extent)
    both = (before != NODATA) & (after != NODATA)
    confidence, kept = pair.confidence(extent), gate.changes(index)
    bins = CONFIDENCE_SCALE + 1
    # Where a map has a class it has a confidence: 255 stands beside nodata alone.
    counts = TransitionCounts(
        every=_pairs(before[both], after[both]),
        kept=_pairs(*(each[kept[0] != NODATA] for each in kept)),
        patches=_patches(*kept),
        compared=np.bincount(confidence[both], minlength=bins)[:bins],
        changed=np.bincount(confidence[both & (before != after)], minlength=bins)[:bins],
    )
    return int(both.sum()), counts


def _pairs(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> Counter[int]:
    counts = np.bincount(before.astype(np.int64) * _CODES + after, minlength=1)
    return Counter({int(pair): int(counts[pair]) for pair in np.flatnonzero(counts)})


def _patches(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> int:
    regions = find_regions(pair_codes(before, after))
    return int(np.count_nonzero(regions.codes >> 8 != NODATA))
