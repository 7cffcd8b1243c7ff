"""The demo's picture: aerial image, map, truth and confidence, with the legend of the classes."""

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
_NODATA: Mapping[str, Any] = {"facecolor": "#404040", "edgecolor": "#707070", "hatch": "////", "linewidth": 0}
"""Dark and hatched: no class is, neither is the page."""

_COLUMNS = 2
_PANEL_IN = 5.2
_LEGEND_IN = 2.4
_LETTERS_PER_INCH = 11
_SCALE_BAR_M = (10, 20, 50, 100, 200, 500)


def write_panels(
    path: Path,
    panels: Mapping[str, NDArray[Any]],
    legend: Any,
    *,
    resolution_m: float,
    title: str,
    subtitle: str,
) -> None:
    """Write pictures of the same ground, two in a row, as a PNG.

    Parameters
    ----------
    path
        File to write.
    panels
        By title, an even number, all of one height and width: uint8 (y, x) of class codes, 255 = nodata; uint8
        (y, x, 4) of red, green, blue and 255, or 0 = nodata; or floats (y, x) from 0 to 1, NaN = nodata, which get a
        colour bar.
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
    rows, width_in = -(-len(panels) // _COLUMNS), _PANEL_IN * _COLUMNS + _LEGEND_IN
    lines = "\n".join(textwrap.fill(text, int(_LETTERS_PER_INCH * width_in)) for text in (title, subtitle))
    figure = Figure(figsize=(width_in, (_PANEL_IN * height / width + 0.3) * rows + 0.7), layout="constrained")
    figure.suptitle(lines, x=0.01, ha="left", fontsize=11)
    for axes, (name, image) in zip(figure.subplots(rows, _COLUMNS, squeeze=False).flat, images.items(), strict=True):
        _draw_panel(axes, image, legend)
        axes.set_title(name, loc="left", fontsize=10)
    _draw_scale_bar(figure.axes[0], resolution_m * thinning, images[next(iter(images))].shape)
    present = {code for image in images.values() if _has_classes(image) for code in np.unique(image).tolist()}
    patches = [Patch(color=each.color, label=each.name) for each in legend.classes if each.code in present]
    if 255 in present:
        patches.append(Patch(**_NODATA, label="no data"))
    figure.legend(handles=patches, loc="outside right upper", frameon=False, fontsize=9)
    figure.savefig(path, dpi=160)


def _has_classes(image: NDArray[Any]) -> bool:
    return image.ndim == 2 and image.dtype == np.uint8


def _draw_panel(axes: Any, image: NDArray[Any], legend: Any) -> None:
    """Draw one panel; nodata is transparent, the axes behind it have its look."""
    axes.patch.set(**_NODATA)
    axes.set(xticks=[], yticks=[])
    drawn = axes.imshow(_colored(image, legend) if _has_classes(image) else image, interpolation="nearest")
    if image.ndim == 2 and not _has_classes(image):
        drawn.set_clim(0, 1)
        bar = axes.inset_axes((1.04, 0.05, 0.03, 0.4), in_layout=False)  # in the column of the legend
        axes.figure.colorbar(drawn, cax=bar, ticks=[0, 0.5, 1])


def _thinned(image: NDArray[Any], factor: int) -> NDArray[Any]:
    """Return colours as means over squares of ``factor`` pixels, and of the rest every ``factor``-th pixel."""
    if image.ndim == 2:
        return image[::factor, ::factor]
    height, width = (size // factor * factor for size in image.shape[:2])
    squares = image[:height, :width].reshape(height // factor, factor, width // factor, factor, -1)
    return np.asarray(squares.mean(axis=(1, 3)).round(), np.uint8)


def _colored(classes: NDArray[np.uint8], legend: Any) -> NDArray[np.uint8]:
    """Return red, green, blue and 255 of each class, and zeros where there is none."""
    table = np.zeros((256, 4), np.uint8)
    for code, color in legend.colors.items():
        table[code] = (*color, 255)
    return table[classes]


def _draw_scale_bar(axes: Any, pixel_m: float, shape: tuple[int, ...]) -> None:
    """Draw a bar of a round length, about a fifth of the width, in the lower left corner."""
    height, width = shape[:2]
    length_m = max(length for length in _SCALE_BAR_M if length <= max(width * pixel_m / 5, _SCALE_BAR_M[0]))
    left, row = 0.04 * width, 0.96 * height
    for color, thickness in (("black", 5), ("white", 3)):
        axes.plot([left, left + length_m / pixel_m], [row, row], color=color, linewidth=thickness)
    axes.text(left, row - 0.02 * height, f"{length_m} m", color="white", fontsize=9, va="bottom")
