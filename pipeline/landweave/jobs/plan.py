"""What a run has to do: for every block of any job, whether it is new, done, failed, stale, or outside the area."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from landweave.core.budget import GIB, decode_seconds
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockState, ReadCost
from landweave.jobs.ledger import Ledger, cells_where

NAMED = 12
"""Blocks or dates that are named in a line; of more, the first ones."""


class BlockAction(IntEnum):
    """What a run does with a block, and why."""

    NEW = 0
    DONE = 1
    OUTSIDE = 2
    FAILED = 3
    STALE = 4


@dataclass(frozen=True, kw_only=True)
class BlockActionGrid:
    """The action of every block.

    Attributes
    ----------
    actions
        `BlockAction` values, uint8 ``(block_y, block_x)``.
    recompute_stale
        Whether done blocks whose files changed since are run again.
    """

    actions: NDArray[np.uint8]
    recompute_stale: bool = False

    @property
    def todo(self) -> list[BlockIndex]:
        """Blocks to run, north to south, then west to east."""
        stale = [BlockAction.STALE] if self.recompute_stale else []
        return self.blocks(BlockAction.NEW, BlockAction.FAILED, *stale)

    def blocks(self, *actions: BlockAction) -> list[BlockIndex]:
        """Blocks with one of ``actions``."""
        return cells_where(self.actions, actions)

    def count(self, action: BlockAction) -> int:
        """Number of blocks with ``action``."""
        return int((self.actions == action).sum())

    @property
    def plain(self) -> dict[str, int]:
        """Number of blocks, of those to run, and by action, for JSON."""
        counts = {action.name.lower(): self.count(action) for action in BlockAction}
        return {"total": self.actions.size, "to_run": len(self.todo), **counts}


def plan_block_actions(
    ledger: Ledger,
    *,
    outside: NDArray[np.bool_] | None,
    input_version: Callable[[BlockIndex], int],
    recompute_stale: bool = False,
) -> BlockActionGrid:
    """The action of every block, from the ledger and the files as they are now. Reads no pixel.

    Parameters
    ----------
    ledger
        The states of all blocks; a new one for a new run.
    outside
        Which blocks are wholly outside what is mapped, ``(block_y, block_x)``; None for none.
    input_version
        Digest of the files a block reads, as they are now; called for finished blocks only.
    recompute_stale
        Whether done blocks whose files changed since are run again.
    """
    states = ledger.fields["state"]
    actions = np.full(ledger.shape, BlockAction.NEW, np.uint8)
    actions[np.isin(states, [state for state in BlockState if state.failed])] = BlockAction.FAILED
    actions[np.isin(states, [state for state in BlockState if state.finished])] = BlockAction.DONE
    actions[states == BlockState.OUTSIDE] = BlockAction.OUTSIDE
    if outside is not None:
        actions[outside] = BlockAction.OUTSIDE
    for index in cells_where(actions, [BlockAction.DONE]):
        if int(ledger.fields["inputs"][index]) != input_version(index):
            actions[index] = BlockAction.STALE
    return BlockActionGrid(actions=actions, recompute_stale=recompute_stale)


def cost_rows(cost: ReadCost) -> list[tuple[str, str]]:
    """What reading costs, as rows of a plan."""
    formats = [f"{pixels / 1e6:,.0f} million pixels x bands of {name}" for name, pixels in cost.decoded_pixels.items()]
    return [
        ("read", f"about {cost.bytes / 1e6:,.0f} MB, {', '.join(formats) or 'nothing'}"),
        ("decode", f"{decode_seconds(cost.decoded_pixels):,.0f} core seconds"),
    ]


def memory_row(worker_bytes: int, gpu_bytes: int = 0) -> tuple[str, str]:
    """Memory of a worker as a row of a plan.

    Parameters
    ----------
    worker_bytes
        Of the process, with its libraries.
    gpu_bytes
        Of its GPU; 0 where there is none.
    """
    gpu = f"; {gpu_bytes / GIB:.2f} GiB of a GPU" if gpu_bytes else ""
    return "memory a worker", f"{worker_bytes / GIB:.2f} GiB, its libraries included{gpu}"


def first_names(names: Sequence[object]) -> str:
    """The first `NAMED` of some blocks or dates in one line."""
    return ", ".join(map(str, names[:NAMED])) + (", …" if len(names) > NAMED else "")
