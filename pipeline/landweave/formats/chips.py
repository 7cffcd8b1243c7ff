"""Chips: small pictures of the ground around a point, as PNG, the pixel in question outlined."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from landweave.core.errors import LandweaveError, OutputError
from landweave.core.protocols import Raster
from landweave.core.whole_files import part_folder

_SIDE_IN, _DPI = 4.0, 128

_AROUND = 4
"""Pixels between the pixel in question and its outline."""


def write_chips(chips: Iterable[tuple[str, Raster]], folder: Path, pixel_m: float) -> None:
    """Write chips into a folder, which is made: all are written before the first has its name.

    Each has its middle pixel outlined, and is stretched between its 1st and 99th percentile; grey where nothing is
    valid.

    Parameters
    ----------
    chips
        Names, and pixels of an odd number of rows and columns: red, green, blue.
    folder
        Earlier files of these names are replaced.
    pixel_m
        Side of a pixel in metres.

    Raises
    ------
    OutputError
        When they cannot be written.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with part_folder(folder) as parts:
            for name, raster in chips:
                _draw(raster, pixel_m).savefig(parts / name, dpi=_DPI)
            folder.mkdir(exist_ok=True)
            for part in sorted(parts.iterdir()):
                part.replace(folder / part.name)
    except LandweaveError:
        raise
    except OSError as error:
        raise OutputError(
            f"Cannot write the chips to {folder}: {error}. Check the folder and its free space."
        ) from error


def _draw(raster: Raster, pixel_m: float) -> Figure:
    height, width = raster.valid.shape
    figure = Figure(figsize=(_SIDE_IN, _SIDE_IN * height / width), dpi=_DPI)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.imshow(_stretched(raster.values, raster.valid), interpolation="nearest")
    outline: dict[str, Any] = {"fill": False, "linewidth": 1}
    left, top = width // 2 - 0.5 - _AROUND, height // 2 - 0.5 - _AROUND  # around the pixel, which stays to be seen
    for grown, color in ((0.5, "black"), (0, "yellow")):
        side = 2 * (_AROUND + grown) + 1
        axes.add_patch(Rectangle((left - grown, top - grown), side, side, edgecolor=color, **outline))
    axes.text(0.02, 0.02, f"{width * pixel_m:.0f} m", transform=axes.transAxes, color="white", fontsize=8)
    axes.set_axis_off()
    return figure


def _stretched(values: NDArray[Any], valid: NDArray[np.bool_]) -> NDArray[np.float64]:
    """``(y, x, 3)`` from 0 to 1."""
    shown = np.full((*valid.shape, 3), 0.6)
    if valid.any():
        low, high = np.percentile(values[:, valid].astype(np.float64), (1, 99))
        scaled = (values.astype(np.float64) - low) / max(high - low, 1e-9)
        shown[valid] = np.moveaxis(scaled, 0, -1)[valid].clip(0, 1)
    return shown
