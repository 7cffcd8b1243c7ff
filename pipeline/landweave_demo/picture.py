"""The demo's picture: aerial image, map and truth side by side, with the legend of the classes."""

from __future__ import annotations

import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from numpy.typing import NDArray

_SIDE_PX = 900
_NODATA_COLOR = "#efefef"
_LETTERS_PER_INCH = 11
_SCALE_BAR_M = (10, 20, 50, 100, 200, 500)


def write_panels(
    path: Path,
    panels: Mapping[str, NDArray[np.uint8]],
    legend: Any,
    *,
    resolution_m: float,
    title: str,
    subtitle: str,
) -> None:
    """Write pictures of the same ground side by side as a PNG.

    Parameters
    ----------
    path
        File to write.
    panels
        By title; uint8 (y, x) of class codes, 255 = nodata, or uint8 (y, x, 3) of red, green, blue; of one height and
        width.
    legend
        Of the classes, as ``dataset.landweave.legend`` gives it.
    resolution_m
        Side of a pixel in metres.
    title, subtitle
        Above the panels.
    """
    height, width = next(iter(panels.values())).shape[:2]
    thinning = max(1, round(max(height, width) / _SIDE_PX))
    images = {name: _thinned(image, thinning) for name, image in panels.items()}
    width_in = 5.2 * len(panels) + 2.2
    lines = "\n".join(textwrap.fill(text, int(_LETTERS_PER_INCH * width_in)) for text in (title, subtitle))
    figure = Figure(figsize=(width_in, 5.2 * height / width + 1.0), layout="constrained")
    figure.suptitle(lines, x=0.01, ha="left", fontsize=11)
    for axes, (name, image) in zip(figure.subplots(1, len(panels), squeeze=False)[0], images.items(), strict=True):
        axes.imshow(image if image.ndim == 3 else _colored(image, legend), interpolation="nearest")
        axes.set(xticks=[], yticks=[])
        axes.set_title(name, loc="left", fontsize=10)
    _draw_scale_bar(figure.axes[0], resolution_m * thinning, images[next(iter(images))].shape)
    present = {code for image in images.values() if image.ndim == 2 for code in np.unique(image).tolist()}
    patches = [Patch(color=each.color, label=each.name) for each in legend.classes if each.code in present]
    if 255 in present:
        patches.append(Patch(color=_NODATA_COLOR, label="no data"))
    figure.legend(handles=patches, loc="outside right upper", frameon=False, fontsize=9)
    figure.savefig(path, dpi=160)


def _thinned(image: NDArray[np.uint8], factor: int) -> NDArray[np.uint8]:
    """Return colours as means over squares of ``factor`` pixels, and of classes every ``factor``-th pixel."""
    if image.ndim == 2:
        return image[::factor, ::factor]
    height, width = (size // factor * factor for size in image.shape[:2])
    squares = image[:height, :width].reshape(height // factor, factor, width // factor, factor, 3)
    return np.asarray(squares.mean(axis=(1, 3)).round(), np.uint8)


def _colored(classes: NDArray[np.uint8], legend: Any) -> NDArray[np.uint8]:
    table = np.full((256, 3), list(bytes.fromhex(_NODATA_COLOR[1:])), np.uint8)
    for code, color in legend.colors.items():
        table[code] = color
    return table[classes]


def _draw_scale_bar(axes: Any, pixel_m: float, shape: tuple[int, ...]) -> None:
    """Draw a bar of a round length, about a fifth of the width, in the lower left corner."""
    height, width = shape[:2]
    length_m = max(length for length in _SCALE_BAR_M if length <= max(width * pixel_m / 5, _SCALE_BAR_M[0]))
    left, row = 0.04 * width, 0.96 * height
    for color, thickness in (("black", 5), ("white", 3)):
        axes.plot([left, left + length_m / pixel_m], [row, row], color=color, linewidth=thickness)
    axes.text(left, row - 0.02 * height, f"{length_m} m", color="white", fontsize=9, va="bottom")
