"""The blocks of a map: of all that fit a worker's memory, those with which it is done first.

A block computes every window whose support touches it, so each border repeats the windows across it: one block repeats
none and keeps one worker busy, many blocks keep all workers busy and repeat much. The time of each division is counted
in windows, with the windows that this area needs, its outline included; a share of repeated windows above
`MOST_REPEATED` is bought by no saving of time, as it is paid on every worker (``output.block`` decides otherwise).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterator
from itertools import product

import numpy as np
from numpy.typing import NDArray

from landweave.core.lattice import Blocks, Extent
from landweave.core.needed_windows import NeededWindows

LARGEST_PIXELS = 2**27
"""Base pixels of a block, 11,585 a side: beyond it the halo costs little and a lost block costs much."""

MOST_REPEATED = 0.15
"""Windows that blocks may repeat, over those that are needed, so that more workers have work.

It binds below some 50 million pixels alone. In windows of 512 every 384 pixels, batches of 4 and four workers: 16 Mpx
are two blocks, 1.08 of the windows and done in the time of 85; four blocks would be 1.17 of them in the time of 53. 64
Mpx are four blocks, as fast as any division is.
"""

BLOCK_WINDOWS = 1
"""Windows that could be computed while a block is handed out, begins to read, and ends to write."""

MANY_BLOCKS = 20_000
"""Of divisions into more blocks only the coarsest are looked at."""

FINER = 0.95
"""Of a side, the next smaller one that is looked at: nearer ones differ by less than the time of a block varies."""


def choose_blocks(
    needed: NeededWindows, extent: Extent, *, step: int, workers: int, batch: int, fits: Callable[[int, int], bool]
) -> Blocks:
    """The blocks with which the map is done first.

    Parameters
    ----------
    needed
        Windows of the area.
    extent
        Base pixels of the map, multiples of ``step``.
    step
        Sides of blocks are multiples of it (`landweave.core.budget.block_step`).
    workers
        Blocks that are computed at a time.
    batch
        Windows of one call of the model; the last batch of a block is padded.
    fits
        Whether the memory of a worker holds blocks of some height and width.

    Returns
    -------
    Blocks
        Of one step a side where nothing fits: `landweave.core.budget.check_memory` has the numbers.
    """
    divisions = list(_divisions(extent, step, fits)) or [Blocks.square(extent, step)]
    fewest = min(map(len, divisions))
    counts = {
        blocks: needed.counts(blocks.rows, blocks.columns)
        for blocks in divisions
        if len(blocks) <= max(fewest, MANY_BLOCKS)
    }
    every = needed.counts([needed.extent.y], [needed.extent.x]).sum()
    allowed = max(min(each.sum() for each in counts.values()), every * (1 + MOST_REPEATED))
    times = {
        blocks: (planned_time(each, workers, batch), each.sum(), len(blocks))
        for blocks, each in counts.items()
        if each.sum() <= allowed
    }
    return min(times, key=lambda blocks: times[blocks])


def _divisions(extent: Extent, step: int, fits: Callable[[int, int], bool]) -> Iterator[Blocks]:
    """The extent in any number of rows and columns, as equal as whole steps allow, that fit."""
    steps = (size // step for size in extent.shape)
    down, across = (_sides(size) for size in steps)
    for tall, wide in product(down, across):
        height, width = tall * step, wide * step
        if height * width <= LARGEST_PIXELS and fits(height, width):
            yield Blocks(extent=extent, height=height, width=width)


def _sides(steps: int) -> list[int]:
    """Sides of equal parts of some steps, descending, each at most `FINER` of the one before."""
    sides = [steps]
    for parts in range(2, steps + 1):
        if (side := -(-steps // parts)) <= FINER * sides[-1]:
            sides.append(side)
    return sides


def planned_time(windows: NDArray[np.int64], workers: int, batch: int) -> float:
    """Time until the last block is done, in windows.

    Parameters
    ----------
    windows
        Of each block; those without any are not run.
    workers
        Each takes the next block when it has done one.
    batch
        Windows of one call of the model.
    """
    times = -(-windows[windows > 0] // batch) * batch + BLOCK_WINDOWS
    if times.size > 16 * workers:  # a worker ends within one block of the others
        return float(times.sum() / workers + times.max() * (1 - 1 / workers))
    busy = [0] * workers
    for time in times.tolist():
        heapq.heapreplace(busy, busy[0] + time)
    return float(max(busy))
