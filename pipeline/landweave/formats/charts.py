"""Charts of scores with matplotlib, as PNG bytes: confusion matrix, classes, reliability."""

from __future__ import annotations

from collections.abc import Sequence
from io import BytesIO
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from landweave.formats.picture import INK, LINE, SOFT

DPI = 130

Floats = NDArray[np.float64]


def confusion_chart(
    confusion: NDArray[Any],
    names: Sequence[str],
    axes_names: tuple[str, str] = ("map", "reference, percent of each row"),
) -> bytes:
    """A matrix of classes, each row as shares of its sum.

    Parameters
    ----------
    confusion
        ``(reference, map)`` in pixels or hectares.
    names
        Of the classes.
    axes_names
        Across and down.
    """
    size = len(names)
    side = 2.4 + 0.42 * size
    figure = Figure(figsize=(side + 0.6, side), layout="constrained")
    axes = figure.add_subplot()
    sums = confusion.sum(1, keepdims=True)
    shares = confusion / np.where(sums > 0, sums, 1)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(size), names, rotation=60, ha="right", rotation_mode="anchor", fontsize=8)
    axes.set_yticks(range(size), names, fontsize=8)
    axes.set_xlabel(axes_names[0], color=SOFT)
    axes.set_ylabel(axes_names[1], color=SOFT)
    for row, column in zip(*np.nonzero(shares >= 0.005), strict=True):
        share = shares[row, column]
        color = "white" if share > 0.55 else INK
        axes.text(column, row, f"{100 * share:.0f}", ha="center", va="center", fontsize=7, color=color)
    return _png(figure)


def class_chart(iou: Floats, names: Sequence[str], colors: Sequence[str], mean: float) -> bytes:
    """The IoU of each class as bars, and their mean as a line.

    Parameters
    ----------
    iou
        Of each class, 0 to 1.
    names, colors
        Of the classes.
    mean
        Of all.
    """
    figure = Figure(figsize=(7, 1.2 + 0.27 * len(names)), layout="constrained")
    axes = figure.add_subplot()
    axes.barh(range(len(names)), iou, color=colors, edgecolor=LINE, linewidth=0.6)
    axes.axvline(mean, color=INK, linewidth=1, linestyle="--", label=f"mean {mean:.3f}")
    for place, value in enumerate(iou):
        axes.text(value + 0.01, place, f"{value:.3f}", va="center", fontsize=7, color=INK, backgroundcolor="white")
    axes.set_yticks(range(len(names)), names, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlim(0, 1.08)
    axes.set_xlabel("intersection over union", color=SOFT)
    axes.legend(frameon=False, fontsize=8, loc="lower right")
    return _png(figure)


def reliability_chart(curve: tuple[Floats, Floats, NDArray[np.int64]], error: float) -> bytes:
    """Accuracy by confidence, with the share of pixels in each bin below.

    Parameters
    ----------
    curve
        Mean confidence, accuracy and pixels of each bin.
    error
        Expected calibration error.
    """
    confidence, accuracy, pixels = curve
    figure = Figure(figsize=(5, 5.4), layout="constrained")
    axes, below = figure.subplots(2, 1, sharex=True, height_ratios=(3, 1))
    axes.plot([0, 1], [0, 1], color=LINE, linewidth=1, linestyle="--", label="calibrated")
    axes.plot(
        confidence, accuracy, color="#1553ae", marker="o", markersize=4, label=f"map, calibration error {error:.3f}"
    )
    axes.set_ylim(0, 1.02)
    axes.set_ylabel("accuracy", color=SOFT)
    axes.legend(frameon=False, fontsize=8, loc="upper left")
    below.bar(confidence, pixels / pixels.sum(), width=0.03, color="#9bb4d6", edgecolor=LINE, linewidth=0.5)
    below.set_xlim(0, 1.02)
    below.set_xlabel("confidence", color=SOFT)
    below.set_ylabel("share of pixels", color=SOFT)
    return _png(figure)


def _png(figure: Figure) -> bytes:
    for axes in figure.axes:
        for spine in axes.spines.values():
            spine.set(color=LINE, linewidth=0.7)
        axes.tick_params(length=3, width=0.5, color=LINE, labelcolor=INK, labelsize=8)
    written, about = BytesIO(), dict[str, Any](format="png", dpi=DPI, metadata={"Software": None})
    figure.savefig(written, **about)
    return written.getvalue()
