"""The minimum mapping unit: patches that are too small take the class of their surroundings, the same in every tile.

A patch is a 4-connected component of one class; it is small when its area is below the unit of its class. Which pixels
change is defined on the whole map, with no regard to tiles:

1. All patches that are not small stay as they are.
2. Round by round, every small patch that touches a patch which stays, or which a round before decided, takes the class
   with which it shares the longest border (pixel edges, over all such patches of that class; of equal borders the
   lowest code). Where probabilities are known, it takes the class with the largest summed probability over its pixels
   instead, of the classes that it so touches; of equal sums the longest border, then the lowest code. The patches of a
   round are decided at once, from what was decided before it.
3. After `ROUNDS` rounds the rest stays as it is: it touches nothing larger than itself in so many steps, or only
   nodata. Nodata never takes a class and never gives one.

A small patch ends within so many pixels as its unit has, so what a pixel becomes depends on bounded surroundings. A
tile is computed with a halo; patches that the halo cuts and that may be small are not known, nor what depends on them.
`Sieved.uncertain` says whether any of the tile's own pixels does: then it is computed again with a larger halo. In
practice patches are compact, and a small halo is enough.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from landweave.core.legend import NODATA

ROUNDS = 8

Codes = NDArray[np.uint8]
PatchSums = Callable[[NDArray[np.int32], int], NDArray[np.float64]]
"""From the number of the small patch of each pixel, int32 ``(y, x)``, -1 elsewhere, and how many there are, to the
summed probability of each code over each patch: float64 ``(patch, code)``, up to the largest code."""


@dataclass(frozen=True, kw_only=True)
class OpenSides:
    """Sides of a window beyond which the map goes on: patches that touch them may be larger than they seem."""

    top: bool = False
    bottom: bool = False
    left: bool = False
    right: bool = False


@dataclass(frozen=True, kw_only=True)
class Sieved:
    """A window after the sieve: classes, uint8 ``(y, x)``, and which pixels need a larger window, bool ``(y, x)``."""

    classes: Codes
    uncertain: NDArray[np.bool_]


def largest_halo(minimum: Mapping[int, int]) -> int:
    """Pixels around a tile that are always enough.

    Parameters
    ----------
    minimum
        As of `sieve`.
    """
    return (ROUNDS + 2) * max(minimum.values(), default=0)


def sieve(
    classes: Codes,
    minimum: Mapping[int, int],
    *,
    sides: OpenSides | None = None,
    patch_sums: PatchSums | None = None,
) -> Sieved:
    """A window with its small patches absorbed.

    Parameters
    ----------
    classes
        uint8 ``(y, x)``, 255 = nodata.
    minimum
        Pixels that a patch needs to stay, by code; classes that are not named stay always.
    sides
        Sides beyond which the map goes on; none for a whole map.
    patch_sums
        Of the probabilities, where they are known.
    """
    patches = _Patches.of(classes)
    units = np.zeros(NODATA + 1)
    units[list(minimum)] = list(minimum.values())
    units[NODATA] = 0
    small = patches.sizes < units[patches.codes]
    if not small.any():
        return Sieved(classes=classes, uncertain=np.zeros(classes.shape, np.bool_))
    cut = small & patches.touching(sides or OpenSides())
    borders = patches.borders(small)
    sums = _sums(patches, small, patch_sums) if patch_sums else None
    decided, unknown = _decide(patches.codes, small, cut, borders, sums)
    return Sieved(classes=patches.paint(decided), uncertain=patches.paint(unknown))


@dataclass(frozen=True, kw_only=True)
class _Borders:
    """Edges of pixels between a small patch and another, each pair once in either direction that starts at a small one.

    Attributes
    ----------
    patch, other
        Numbers of patches.
    length
        Shared edges.
    """

    patch: NDArray[Any]
    other: NDArray[Any]
    length: NDArray[Any]


@dataclass(frozen=True, kw_only=True)
class _Patches:
    """The patches of a window, made of runs: pixels of one class side by side in a row.

    Attributes
    ----------
    shape
        Of the window.
    starts, lengths
        Of each run, the first as an index into the flattened window.
    patch_of
        Number of the patch of each run.
    codes, sizes
        Class and pixels of each patch.
    upper, lower, shared
        Runs that lie above each other, and how many columns they share.
    """

    shape: tuple[int, int]
    starts: NDArray[Any]
    lengths: NDArray[Any]
    patch_of: NDArray[Any]
    codes: Codes
    sizes: NDArray[Any]
    upper: NDArray[Any]
    lower: NDArray[Any]
    shared: NDArray[Any]

    @classmethod
    def of(cls, classes: Codes) -> _Patches:
        height, width = classes.shape
        begins = np.ones(classes.shape, np.bool_)
        np.not_equal(classes[:, 1:], classes[:, :-1], out=begins[:, 1:])
        starts = np.flatnonzero(begins)
        codes = classes.ravel()[starts]
        run_of = np.cumsum(begins.ravel(), dtype=np.int32)
        run_of -= 1
        # Where either of two rows begins a run, a pair of runs above each other begins.
        pairs = np.flatnonzero(begins[:-1] | begins[1:])
        upper, lower = run_of[pairs], run_of[pairs + width]
        shared = np.diff(pairs, append=(height - 1) * width)
        lengths = np.diff(starts, append=height * width)
        same = codes[upper] == codes[lower]
        links = coo_array((np.ones(same.sum(), np.bool_), (upper[same], lower[same])), shape=(len(starts),) * 2)
        count, patch_of = connected_components(links, directed=False)
        of_patch = np.zeros(count, np.uint8)
        of_patch[patch_of] = codes
        sizes = np.bincount(patch_of, weights=lengths, minlength=count)
        return cls(
            shape=classes.shape,
            starts=starts,
            lengths=lengths,
            patch_of=patch_of,
            codes=of_patch,
            sizes=sizes,
            upper=upper[~same],
            lower=lower[~same],
            shared=shared[~same],
        )

    def touching(self, sides: OpenSides) -> NDArray[np.bool_]:
        """Which patches touch an open side."""
        height, width = self.shape
        first, end = self.starts % width, (self.starts + self.lengths) % width
        row = self.starts // width
        runs = np.zeros(len(self.starts), np.bool_)
        for is_open, there in (
            (sides.top, row == 0),
            (sides.bottom, row == height - 1),
            (sides.left, first == 0),
            (sides.right, end == 0),
        ):
            runs |= is_open & there
        found = np.zeros(len(self.codes), np.bool_)
        found[self.patch_of[runs]] = True
        return found

    def borders(self, small: NDArray[np.bool_]) -> _Borders:
        """Borders of small patches with all that is no nodata."""
        right = np.flatnonzero(self.starts % self.shape[1])  # runs with another before them in their row
        one = np.concatenate([self.patch_of[self.upper], self.patch_of[right - 1]])
        two = np.concatenate([self.patch_of[self.lower], self.patch_of[right]])
        length = np.concatenate([self.shared, np.ones(len(right), self.shared.dtype)])
        patch, other = np.concatenate([one, two]), np.concatenate([two, one])
        length = np.concatenate([length, length])
        kept = small[patch] & (self.codes[other] != NODATA)
        return _Borders(patch=patch[kept], other=other[kept], length=length[kept])

    def paint(self, by_patch: NDArray[Any]) -> NDArray[Any]:
        """An image of a value for each patch."""
        return np.repeat(by_patch[self.patch_of], self.lengths).reshape(self.shape)


_Sums = Callable[[NDArray[Any], Codes], NDArray[np.float64]]
"""From patches and a code of each to summed probabilities."""


def _sums(patches: _Patches, small: NDArray[np.bool_], patch_sums: PatchSums) -> _Sums:
    """Summed probabilities of small patches; those of others are never looked at."""
    numbers = np.full(len(small), -1, np.int32)
    numbers[small] = np.arange(small.sum())
    rows = patch_sums(patches.paint(numbers), int(small.sum()))
    return lambda patch, code: rows[numbers[patch], code]


def _decide(
    codes: Codes,
    small: NDArray[np.bool_],
    cut: NDArray[np.bool_],
    borders: _Borders,
    sums: _Sums | None,
) -> tuple[Codes, NDArray[np.bool_]]:
    """The class of each patch after all rounds, and which of them are not known."""
    result, decided, unknown = codes.copy(), ~small, cut.copy()
    for _ in range(ROUNDS):
        waiting = ~decided & ~unknown
        if not waiting.any():
            break
        here = waiting[borders.patch]
        patch, other, length = borders.patch[here], borders.other[here], borders.length[here]
        unsure = np.zeros(len(codes), np.bool_)
        unsure[patch[unknown[other]]] = True
        usable = decided[other] & ~unsure[patch]
        chosen, classes = _best(patch[usable], result[other[usable]], length[usable], sums)
        unknown |= unsure
        result[chosen], decided[chosen] = classes, True
    return result, unknown


def _best(patch: NDArray[Any], code: Codes, length: NDArray[Any], sums: _Sums | None) -> tuple[NDArray[Any], Codes]:
    """Each patch once, and the class that it takes."""
    pairs, place = np.unique(patch.astype(np.int64) * (NODATA + 1) + code, return_inverse=True)
    border = np.bincount(place, weights=length, minlength=len(pairs))
    owner, candidate = pairs // (NODATA + 1), (pairs % (NODATA + 1)).astype(np.uint8)
    score = border if sums is None else sums(owner, candidate)
    order = np.lexsort((candidate, -border, -score, owner))
    owner, candidate = owner[order], candidate[order]
    first = np.ones(len(owner), np.bool_)
    first[1:] = owner[1:] != owner[:-1]
    return owner[first], candidate[first]
