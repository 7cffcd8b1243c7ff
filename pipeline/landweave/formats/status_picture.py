"""A picture of a ledger: the state of every block in its colour."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import BoundaryNorm, ListedColormap
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from landweave.core.block_states import BlockStates, reduced
from landweave.core.errors import OutputError
from landweave.core.protocols import BlockState
from landweave.core.whole_files import whole_file

COLORS = {
    BlockState.PENDING: "#d9d9d9",
    BlockState.DONE: "#2a7f62",
    BlockState.OUTSIDE: "#ffffff",
    BlockState.NO_INPUT: "#a9d5c4",
    BlockState.READ_FAILED: "#e07b39",
    BlockState.MODEL_FAILED: "#8e44ad",
    BlockState.FAILED: "#c0392b",
    BlockState.WORKER_DIED: "#17202a",
    BlockState.DAMAGED: "#d4ac0d",
}

LARGEST_SIDE = 1200
"""Blocks a side that are drawn one by one; of more, each dot is the state of several that most needs a look."""


def write_status_picture(states: Mapping[str, BlockStates], path: str | os.PathLike[str]) -> Path:
    """Write the states of all blocks as a PNG, north up, and return its path.

    Parameters
    ----------
    states
        By title: the map, or each modality of a cube.
    path
        File to write; an earlier one is replaced.

    Raises
    ------
    OutputError
        When it cannot be written: an earlier one is as it was.
    """
    figure = Figure(figsize=(8 * len(states), 6), layout="constrained", facecolor="white")
    axes = figure.subplots(1, len(states), squeeze=False)[0]
    for each, (title, grid) in zip(axes, states.items(), strict=True):
        _draw(each, grid, title)
    try:
        with whole_file(Path(path)) as part:
            figure.savefig(part, dpi=150, format="png")
    except OSError as error:
        raise OutputError(f"Cannot write {path}: {error}. Check the folder and its free space.") from error
    return Path(path)


def _draw(axes: Axes, states: BlockStates, title: str) -> None:
    colors = ListedColormap([COLORS[state] for state in BlockState])
    down, across = states.shape
    axes.imshow(
        reduced(states, LARGEST_SIDE),
        cmap=colors,
        norm=BoundaryNorm(np.arange(len(BlockState) + 1) - 0.5, colors.N),
        interpolation="nearest",
        extent=(0, across, down, 0),
    )
    counts = np.bincount(states.ravel(), minlength=len(BlockState))
    patches = [
        Patch(facecolor=COLORS[state], edgecolor="#9a9a9a", label=f"{state.words}  {counts[state]:,}")
        for state in BlockState
        if counts[state]
    ]
    axes.set_title(title, loc="left", fontweight="bold")
    axes.set(xlabel="block, west to east", ylabel="block, north to south")
    axes.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=9)
