"""Chips: small pictures of the ground around a point, as PNG, the pixel in question outlined."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from landweave.core.errors import OutputError

_SIDE_IN, _DPI = 4.0, 128

_AROUND = 4
"""Pixels between the pixel in question and its outline."""


def write_chip(values: NDArray[Any], valid: NDArray[np.bool_], path: Path, *, pixel_m: float) -> None:
    """Write a chip whose middle pixel is outlined, stretched between its 1st and 99th percentile.

    Parameters
    ----------
    values
        ``(3, y, x)``, an odd number of rows and columns; red, green, blue.
    valid
        bool ``(y, x)``; grey elsewhere.
    path
        File to write; its folder is made.
    pixel_m
        Side of a pixel in metres.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    height, width = valid.shape
    figure = Figure(figsize=(_SIDE_IN, _SIDE_IN * height / width), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(_stretched(values, valid), interpolation="nearest")
    outline: dict[str, Any] = {"fill": False, "linewidth": 1}
    left, top = width // 2 - 0.5 - _AROUND, height // 2 - 0.5 - _AROUND  # around the pixel, which stays to be seen
    for grown, color in ((0.5, "black"), (0, "yellow")):
        side = 2 * (_AROUND + grown) + 1
        axes.add_patch(Rectangle((left - grown, top - grown), side, side, edgecolor=color, **outline))
    axes.text(0.02, 0.02, f"{width * pixel_m:.0f} m", transform=axes.transAxes, color="white", fontsize=8)
    axes.set_axis_off()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        figure.savefig(path, dpi=_DPI)
    except OSError as error:
        raise OutputError(f"Cannot write the chip {path}: {error}.") from error


def _stretched(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``(y, x, 3)`` from 0 to 1."""
    shown = np.full((*valid.shape, 3), 0.6)
    if valid.any():
        low, high = np.percentile(values[:, valid].astype(np.float64), (1, 99))
        scaled = (values.astype(np.float64) - low) / max(high - low, 1e-9)
        shown[valid] = np.moveaxis(scaled, 0, -1)[valid].clip(0, 1)
    return shown
