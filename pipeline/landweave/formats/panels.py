"""Images and class rasters of one area side by side, as a PNG."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from landweave.core.errors import InputError
from landweave.core.legend import Legend
from landweave.core.pyramid import MOST_VOTES, mode
from landweave.formats.figure import (
    INK,
    colored,
    draw_image,
    draw_legend,
    draw_north_arrow,
    draw_scale_bar,
    new_figure,
    save_figure,
    write_texts,
)


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One image of a row.

    Attributes
    ----------
    title
        A few words above it.
    image
        uint8 class codes ``(y, x)``, 255 = nodata; or uint8 red, green, blue ``(y, x, 3)``.
    """

    title: str
    image: NDArray[np.uint8]


def write_panels(
    path: str | os.PathLike[str],
    panels: Sequence[Panel],
    legend: Legend,
    *,
    resolution_m: float,
    title: str = "",
    subtitle: str = "",
    credit: str = "",
) -> Path:
    """Write images of one area side by side, with one legend and one scale bar, and return the path.

    Parameters
    ----------
    path
        File to write; an older one is replaced.
    panels
        Of one height and width; those of 1500 pixels a side and more are thinned.
    legend
        Of the panels of class codes.
    resolution_m
        Side of a pixel in metres.
    title, subtitle, credit
        Above, below the title, and at the foot.

    Raises
    ------
    InputError
        When the panels differ in height or width.
    OutputError
        When the file cannot be written.
    """
    shapes = {panel.image.shape[:2] for panel in panels}
    if len(shapes) != 1:
        raise InputError(f"Panels of one height and width are needed, these are {sorted(shapes)}.")
    height, width = shapes.pop()
    step = max(1, round(max(height, width) / 1000))
    whole = slice(0, height // step * step), slice(0, width // step * step)
    images = [_thinned(panel.image[whole], step) for panel in panels]
    height, width = images[0].shape[:2]
    figure, row = new_figure((height, width), count=len(panels), side_in=5.2)
    for axes, panel, image in zip(row, panels, images, strict=True):
        draw_image(axes, image if image.ndim == 3 else colored(image, legend), (0, width, 0, height))
        axes.set(xticks=[], yticks=[])
        axes.set_title(panel.title, loc="left", fontsize=10, color=INK, pad=5)
    draw_scale_bar(row[0], unit_m=resolution_m * step)
    draw_north_arrow(row[-1])
    draw_legend(row[-1], legend, [image for image in images if image.ndim == 2])
    write_texts(figure, title=title, subtitle=subtitle, credit=credit, above_pt=22)
    return save_figure(figure, path)


def _thinned(image: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Classes by their mode, colours by their mean, over squares of ``step`` pixels."""
    if image.ndim == 2:
        return mode(image, step) if step <= MOST_VOTES else image[::step, ::step]
    height, width = image.shape[0] // step, image.shape[1] // step
    squares = image.reshape(height, step, width, step, 3)
    return np.asarray(squares.mean(axis=(1, 3)).round(), dtype=np.uint8)
