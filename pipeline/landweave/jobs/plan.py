"""What a run has to do: for every block of any job, whether it is new, done, failed, stale, or outside."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockState
from landweave.jobs.ledger import Ledger


class BlockAction(IntEnum):
    """What is to be done about a block."""

    NEW = 0
    DONE = 1
    OUTSIDE = 2
    FAILED = 3
    STALE = 4


@dataclass(frozen=True, kw_only=True)
class BlockActionGrid:
    """The lot of every block.

    Attributes
    ----------
    tasks
        `BlockAction` values, uint8 ``(block_y, block_x)``.
    recompute_stale
        Whether done blocks whose scenes changed since are run again.
    """

    tasks: NDArray[np.uint8]
    recompute_stale: bool = False

    @property
    def todo(self) -> list[BlockIndex]:
        """Blocks to run, north to south, then west to east."""
        wanted = [BlockAction.NEW, BlockAction.FAILED, *([BlockAction.STALE] if self.recompute_stale else [])]
        return self.blocks(*wanted)

    def blocks(self, *tasks: BlockAction) -> list[BlockIndex]:
        """Blocks with one of ``tasks``."""
        rows, columns = np.nonzero(np.isin(self.tasks, tasks))
        return list(zip(rows.tolist(), columns.tolist(), strict=True))

    def count(self, task: BlockAction) -> int:
        """Number of blocks with ``task``."""
        return int((self.tasks == task).sum())


def plan_block_actions(
    blocks: Iterable[BlockIndex],
    ledger: Ledger,
    *,
    outside: Callable[[BlockIndex], bool],
    input_version: Callable[[BlockIndex], int],
    recompute_stale: bool = False,
) -> BlockActionGrid:
    """The lot of every block, from the ledger and the scenes as they are now. Reads no pixel.

    Parameters
    ----------
    blocks
        All blocks of the job.
    ledger
        What became of them so far; a new one for a new run.
    outside
        Whether a block lies wholly outside the area.
    input_version
        Digest of the scenes a block reads, as their files are now; asked for finished blocks only.
    recompute_stale
        Whether to run blocks again that are done from scenes that changed since.
    """
    tasks = np.zeros(ledger.shape, np.uint8)
    for index in blocks:
        tasks[index] = _task(index, ledger, outside, input_version)
    return BlockActionGrid(tasks=tasks, recompute_stale=recompute_stale)


def _task(
    index: BlockIndex,
    ledger: Ledger,
    outside: Callable[[BlockIndex], bool],
    input_version: Callable[[BlockIndex], int],
) -> BlockAction:
    state = ledger.state(index)
    if state is BlockState.OUTSIDE or outside(index):
        return BlockAction.OUTSIDE
    if state is BlockState.PENDING:
        return BlockAction.NEW
    if state.failed:
        return BlockAction.FAILED
    return BlockAction.DONE if int(ledger.fields["inputs"][index]) == input_version(index) else BlockAction.STALE
