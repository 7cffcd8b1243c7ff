"""The blocks of an area: fewest windows for one worker, least time for several, whatever lies where."""

from dataclasses import replace

import numpy as np
import pytest

from landweave.core.division import LARGEST_PIXELS, MOST_REPEATED, choose_blocks, planned_time
from landweave.core.lattice import Blocks, Extent, Lattice, Span
from landweave.core.needed_windows import NeededWindows

STEP = 512
WINDOWS = [(512, 384, Span(0, 512)), (512, 256, Span(128, 384)), (1024, 256, Span(0, 1024))]


def needs(height: int, width: int, *, corner=(-31_420_177, 4_010_093), window=WINDOWS[0]) -> NeededWindows:
    size, stride, support = window
    extent = Extent.of((corner[0], corner[0] + height), (corner[1], corner[1] + width))
    return NeededWindows(lattice=Lattice(window=size, stride=stride), support=support, extent=extent)


def chosen(needed: NeededWindows, *, workers=1, fits=lambda height, width: True, batch=1) -> Blocks:
    extent = needed.extent.snap(STEP)
    return choose_blocks(needed, extent, step=STEP, workers=workers, batch=batch, fits=fits)


def repeated(needed: NeededWindows, blocks: Blocks) -> float:
    run = needed.counts(blocks.rows, blocks.columns).sum()
    return float(run / needed.counts([needed.extent.y], [needed.extent.x]).sum())


@pytest.mark.parametrize("window", WINDOWS)
@pytest.mark.parametrize("shape", [(300, 300), (1024, 1024), (4096, 4096), (9000, 2000)])
def test_an_area_that_one_worker_holds_is_one_block(shape: tuple[int, int], window) -> None:
    needed = needs(*shape, window=window)
    blocks = chosen(needed)
    assert len(blocks) == 1
    assert blocks.extent.contains(needed.extent)
    assert repeated(needed, blocks) == 1


@pytest.mark.parametrize("corner", [(0, 0), (-31_420_177, 4_010_093), (-200, -777), (385, 130)])
@pytest.mark.parametrize("side", [2048, 4096, 8192, 20_000])
def test_several_workers_repeat_little(side: int, corner: tuple[int, int]) -> None:
    needed = needs(side, side, corner=corner)
    assert repeated(needed, blocks := chosen(needed, workers=4)) <= 1 + MOST_REPEATED
    assert side < 8192 or len(blocks) >= 4


def test_blocks_start_at_the_corner_of_the_area_and_need_not_be_square() -> None:
    needed = needs(20_000, 4_000)
    blocks = chosen(needed, workers=2)
    assert blocks.extent == needed.extent.snap(STEP)
    assert blocks.shape == (2, 1)
    assert blocks.height % STEP == blocks.width % STEP == 0
    assert (blocks.extent.y.start % blocks.height, blocks.extent.x.start % blocks.width) != (0, 0)


def test_memory_limits_a_block_and_then_fewest_windows_win() -> None:
    needed = needs(8192, 8192)
    blocks = chosen(needed, fits=lambda height, width: height * width <= 2**24)
    assert blocks.height * blocks.width <= 2**24
    every = [
        repeated(needed, Blocks(extent=needed.extent.snap(STEP), height=tall, width=wide))
        for tall in range(STEP, 9000, STEP)
        for wide in range(STEP, 9000, STEP)
        if tall * wide <= 2**24
    ]
    assert repeated(needed, blocks) <= min(every) * 1.01


def test_where_nothing_fits_the_smallest_block_is_given() -> None:
    assert chosen(needs(4096, 4096), fits=lambda height, width: False).height == STEP


@pytest.mark.parametrize("workers", [1, 8, 100])
def test_a_department_repeats_at_most_a_tenth(workers: int) -> None:
    needed = needs(387_000, 387_000)
    blocks = chosen(needed, workers=workers)
    assert blocks.height * blocks.width <= LARGEST_PIXELS
    assert repeated(needed, blocks) < 1.10


def test_an_outline_counts() -> None:
    """Of an area in two far corners, blocks that cut the empty middle are worth nothing."""
    needed = needs(20_000, 20_000)
    marks = np.zeros([len(starts) for starts in needed.starts], np.bool_)
    marks[:10, :10] = marks[-10:, -10:] = True
    two = replace(needed, needed=marks)
    blocks = chosen(two, workers=2)
    assert two.counts(blocks.rows, blocks.columns).sum() <= 200 * (1 + MOST_REPEATED)
    assert planned_time(two.counts(blocks.rows, blocks.columns), 2, 1) <= 110


@pytest.mark.parametrize(
    ("windows", "workers", "batch", "time"),
    [([9], 1, 1, 10), ([9], 1, 4, 13), ([9, 9, 9], 2, 1, 20), ([0, 9, 0], 2, 1, 10), ([1, 1, 8], 2, 1, 11)],
)
def test_time_is_that_of_the_worker_that_ends_last(windows, workers: int, batch: int, time: float) -> None:
    assert planned_time(np.array([windows]), workers, batch) == time


def test_many_blocks_are_bounded_without_being_scheduled() -> None:
    windows = np.random.default_rng(1).integers(1, 400, (40, 50))
    few = np.sort(windows.ravel())
    assert few.sum() / 8 <= planned_time(windows, 8, 1) <= (few.sum() + few.size) / 8 + few[-1] + 1
