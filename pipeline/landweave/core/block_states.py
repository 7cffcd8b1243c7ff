"""The states of many blocks at a glance: fewer cells, and characters for a terminal."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from landweave.core.protocols import BlockState

BlockStates = NDArray[np.uint8]
"""`landweave.core.protocols.BlockState` values ``(block_y, block_x)``."""

CHARACTERS = {
    BlockState.OUTSIDE: " ",
    BlockState.NO_INPUT: "░",
    BlockState.DONE: "█",
    BlockState.PENDING: "·",
    BlockState.READ_FAILED: "r",
    BlockState.MODEL_FAILED: "m",
    BlockState.FAILED: "x",
    BlockState.DAMAGED: "d",
    BlockState.WORKER_DIED: "w",
}
"""A character for each state, those that need a look last."""


def most_urgent(states: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The state along the first axis that most needs a look: a failure before a pending block, that before a done one.

    >>> int(most_urgent(np.array([[1], [4], [0]], np.uint8))[0])
    4
    """
    order: NDArray[np.uint8] = np.array(list(CHARACTERS), np.uint8)
    highest: NDArray[np.intp] = np.argsort(order)[states].max(axis=0)
    return order[highest]


def reduced(states: BlockStates, largest: int) -> BlockStates:
    """The same with at most ``largest`` cells a side, each the state of several blocks that most needs a look.

    Parameters
    ----------
    states
        Of the blocks.
    largest
        Cells a side.
    """
    step = max(1, -(-max(states.shape) // largest))
    rows, columns = (-(-size // step) for size in states.shape)
    padded = np.full((rows * step, columns * step), BlockState.OUTSIDE, np.uint8)
    padded[: states.shape[0], : states.shape[1]] = states
    cells = padded.reshape(rows, step, columns, step).transpose(1, 3, 0, 2).reshape(step * step, rows, columns)
    return most_urgent(cells)


def states_text(states: BlockStates) -> str:
    """The states of all blocks as lines of 100 characters at most, north up, and one that explains those that occur.

    >>> print(states_text(np.array([[1, 1], [0, 4]], np.uint8)))
    ██
    ·r
    █ done, · pending, r read failed
    """
    grid = reduced(states, 100)
    lines = ["".join(CHARACTERS[BlockState(value)] for value in row) for row in grid]
    present = [state for state in CHARACTERS if state in grid and state is not BlockState.OUTSIDE]
    return "\n".join([*lines, ", ".join(f"{CHARACTERS[state]} {state.words}" for state in present)])
