"""Changes between two maps that are kept: where both maps are sure enough, in patches that are large enough.

A patch is what changed without a break, by pixels that share an edge, whatever it changed from and to. Patches are
labelled block by block; those that reach the edge of a block are joined with their neighbours' by the driver::

    block    label patches ─> sizes; of those at its edge: label and size, and which pixels of the edge they hold
    driver   patches that meet across an edge are one ─> labels at edges that are too small, by block
    block    label again (the same labels) ─> drop the small ones inside, and those that the driver found
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from landweave.core.lattice import BlockIndex, Blocks, Extent
from landweave.core.legend import CONFIDENCE_SCALE, NODATA
from landweave.core.outlines import find_regions
from landweave.store.maps.store import MapStore

Codes = NDArray[np.uint8]
Integers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True)
class MapPair:
    """Two maps on one lattice of pixels, their classes in one legend. Picklable.

    Attributes
    ----------
    before, after
        The maps.
    tables
        uint8 ``(256,)``: the class that each class becomes, of both.
    blocks
        Blocks over the pixels that both have.
    """

    before: MapStore
    after: MapStore
    tables: tuple[Codes, Codes]
    blocks: Blocks

    def classes(self, extent: Extent) -> tuple[Codes, Codes]:
        """Classes of both maps, uint8 ``(y, x)``; 255 where a map has none."""
        stores = zip((self.before, self.after), self.tables, strict=True)
        before, after = (table[store.read_beyond("landcover", extent)] for store, table in stores)
        return before, after

    @property
    def has_confidence(self) -> bool:
        """Whether any of the maps has confidences."""
        return any("confidence" in store.arrays for store in (self.before, self.after))

    def confidence(self, extent: Extent) -> Codes:
        """The lower confidence of the two, probability x 250; 250 for a map that has none."""
        found = [
            store.read_beyond("confidence", extent)
            for store in (self.before, self.after)
            if "confidence" in store.arrays
        ]
        return np.minimum.reduce(found) if found else np.full(extent.shape, CONFIDENCE_SCALE, np.uint8)


@dataclass(frozen=True, kw_only=True)
class PatchSizes:
    """Patches of one block that reach its edge.

    Attributes
    ----------
    labels, sizes
        int64: their labels, and their pixels inside the block.
    edges
        By side (top, bottom, left, right): positions along it and the label there, int64 ``(2, pixel)``.
    """

    labels: Integers
    sizes: Integers
    edges: Mapping[str, Integers]


@dataclass(frozen=True, kw_only=True)
class Gate:
    """Which changes are kept. Picklable.

    Attributes
    ----------
    pair
        The maps.
    min_stored
        Least confidence of both, probability x 250.
    min_pixels
        Least pixels of a patch.
    too_small
        Labels of patches at the edge of a block that are too small, by block; found by `join_patches`.
    """

    pair: MapPair
    min_stored: int = 0
    min_pixels: int = 1
    too_small: Mapping[BlockIndex, Integers] = field(default_factory=dict)

    def sure_changes(self, extent: Extent, before: Codes, after: Codes) -> NDArray[np.bool_]:
        """Pixels that changed and are sure enough, bool ``(y, x)``; patches of any size."""
        changed = (before != after) & (before != NODATA) & (after != NODATA)
        if self.min_stored:
            changed &= self.pair.confidence(extent) >= self.min_stored
        return np.asarray(changed)

    def patch_sizes(self, index: BlockIndex) -> PatchSizes:
        """The patches of a block that reach its edge."""
        labels = _label(self.sure_changes(self.pair.blocks[index], *self.pair.classes(self.pair.blocks[index])))
        sides = {"top": labels[0], "bottom": labels[-1], "left": labels[:, 0], "right": labels[:, -1]}
        edges = {
            side: np.stack([np.flatnonzero(line), line[line > 0]]).astype(np.int64) for side, line in sides.items()
        }
        at_edge = np.unique(np.concatenate([each[1] for each in edges.values()]))
        return PatchSizes(labels=at_edge, sizes=np.bincount(labels.ravel())[at_edge], edges=edges)

    def changes(self, index: BlockIndex) -> tuple[Codes, Codes]:
        """Classes of a block before and after where a change is kept, 255 elsewhere."""
        extent = self.pair.blocks[index]
        before, after = self.pair.classes(extent)
        kept = self.sure_changes(extent, before, after)
        if self.min_pixels > 1:
            kept = self._large(kept, self.too_small.get(index, np.zeros(0, np.int64)))
        return np.where(kept, before, np.uint8(NODATA)), np.where(kept, after, np.uint8(NODATA))

    def _large(self, changed: NDArray[np.bool_], too_small: Integers) -> NDArray[np.bool_]:
        labels = _label(changed)
        sizes = np.bincount(labels.ravel())
        large = sizes >= self.min_pixels
        edges = np.unique(np.concatenate([labels[0], labels[-1], labels[:, 0], labels[:, -1]]))
        large[edges] = True  # larger than what is here of them
        large[too_small] = False
        large[0] = False
        return np.asarray(large[labels])


def pair_codes(before: Codes, after: Codes) -> NDArray[np.uint16]:
    """One code for each pair of classes: that before times 256, and that after.

    Parameters
    ----------
    before, after
        uint8 ``(y, x)``.
    """
    return np.left_shift(before.astype(np.uint16), np.uint16(8)) | after


def _label(changed: NDArray[np.bool_]) -> NDArray[np.int32]:
    labels: NDArray[np.int32] = ndimage.label(changed)[0]
    return labels


def join_patches(found: Mapping[BlockIndex, PatchSizes], min_pixels: int) -> dict[BlockIndex, Integers]:
    """Labels at the edges of blocks whose whole patch is too small, by block.

    Parameters
    ----------
    found
        Of every block.
    min_pixels
        Least pixels of a patch.
    """
    numbers, parents, sizes = _number(found)

    def root(node: int) -> int:
        while parents[node] != node:
            parents[node] = parents[parents[node]]
            node = parents[node]
        return node

    for one, other in _meetings(found, numbers):
        first, second = sorted((root(one), root(other)))
        if first != second:
            parents[second] = first
            sizes[first] += sizes[second]
    return {
        index: np.array(
            [label for label in patches.labels.tolist() if sizes[root(numbers[index, label])] < min_pixels], np.int64
        )
        for index, patches in found.items()
    }


def _number(found: Mapping[BlockIndex, PatchSizes]) -> tuple[dict[tuple[BlockIndex, int], int], list[int], list[int]]:
    """A number for every patch at an edge, its own parent, and its size."""
    listed = [
        (index, label, size)
        for index, patches in found.items()
        for label, size in zip(patches.labels.tolist(), patches.sizes.tolist(), strict=True)
    ]
    numbers = {(index, label): number for number, (index, label, _) in enumerate(listed)}
    return numbers, list(range(len(listed))), [size for _, _, size in listed]


def _meetings(
    found: Mapping[BlockIndex, PatchSizes], numbers: Mapping[tuple[BlockIndex, int], int]
) -> Iterable[tuple[int, int]]:
    """Patches that share an edge of a block."""
    for (row, column), patches in found.items():
        for side, opposite, other in (("bottom", "top", (row + 1, column)), ("right", "left", (row, column + 1))):
            if other in found:
                here, there = patches.edges[side], found[other].edges[opposite]
                _, mine, theirs = np.intersect1d(here[0], there[0], assume_unique=True, return_indices=True)
                pairs = np.unique(np.stack([here[1][mine], there[1][theirs]]), axis=1)
                yield from ((numbers[(row, column), one], numbers[other, two]) for one, two in pairs.T.tolist())


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
    counts = np.bincount(pair_codes(before, after), minlength=1)
    return Counter({int(pair): int(counts[pair]) for pair in np.flatnonzero(counts)})


def _patches(before: NDArray[np.uint8], after: NDArray[np.uint8]) -> int:
    regions = find_regions(pair_codes(before, after))
    return int(np.count_nonzero(regions.codes >> 8 != NODATA))
