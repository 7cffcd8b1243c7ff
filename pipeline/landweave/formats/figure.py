"""Rasters of classes on matplotlib axes: colours, coordinates, legend, scale bar and north arrow."""

from __future__ import annotations

import os
import tempfile
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.figure import Figure
from matplotlib.patches import Patch
from matplotlib.ticker import FuncFormatter, MaxNLocator
from matplotlib.transforms import ScaledTranslation
from mpl_toolkits.axes_grid1.anchored_artists import AnchoredSizeBar
from numpy.typing import NDArray

from landweave.core.errors import InputError, OutputError
from landweave.core.legend import NODATA, LandClass, Legend

INK, SOFT, LINE, VOID = "#1a1a1a", "#6e6e6e", "#9a9a9a", "#efefef"
"""Text; lesser text; frames and ticks; nodata."""

NODATA_NAME = "no data"

Edges = tuple[float, float, float, float]
"""``(left, right, bottom, top)`` of an image in CRS units, as matplotlib takes them."""


def draw_classes(classes: xr.DataArray, axes: Axes) -> None:
    """Draw land cover, date fallbacks or a ledger's states, with a legend of the classes that occur.

    Parameters
    ----------
    classes
        uint8 ``(y, x)`` (any names), 255 = nodata, with pixel-centre coordinates and the CF attributes ``flag_values``,
        ``flag_meanings`` and optionally ``flag_colors``, as `landweave.open_map` gives them.
    axes
        Where to draw; the legend is to the right of them.

    Raises
    ------
    InputError
        When the array has no ``flag_values``, or is not two-dimensional with at least two pixels.
    """
    if "flag_values" not in classes.attrs:
        raise InputError(f"{classes.name!r} is no layer of classes: it has no attribute flag_values.")
    if classes.ndim != 2 or classes.size < 2:
        raise InputError(
            f"A layer over ('y', 'x') of two pixels and more is drawn, not {classes.shape} {classes.dims}."
        )
    legend = _legend_of(classes)
    draw_image(axes, colored(classes.values, legend), _edges_of(classes))
    mark_coordinates(axes, classes.shape)
    draw_legend(axes, legend, [classes.values])


def colored(classes: NDArray[np.uint8], legend: Legend) -> NDArray[np.uint8]:
    """Colours of class codes ``(y, x)`` as uint8 ``(y, x, 3)``; nodata and codes of no class are light grey."""
    table = np.empty((NODATA + 1, 3), dtype=np.uint8)
    table[:] = [int(VOID[start : start + 2], 16) for start in (1, 3, 5)]
    for code, color in legend.colors.items():
        table[code] = color
    return table[classes]


def draw_image(axes: Axes, image: NDArray[np.uint8], edges: Edges) -> None:
    """Draw a uint8 image ``(y, x, 3)``, north up, in a thin frame."""
    axes.imshow(image, extent=edges, interpolation="nearest", aspect="equal", origin="upper")
    for spine in axes.spines.values():
        spine.set(color=INK, linewidth=0.7)


def mark_coordinates(axes: Axes, shape: tuple[int, ...]) -> None:
    """Ticks with coordinates in whole metres, fewer on the shorter side of ``shape``, and faint lines across."""
    plain = FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", "\u2009"))
    for axis, size in ((axes.xaxis, shape[1]), (axes.yaxis, shape[0])):
        axis.set_major_locator(MaxNLocator(nbins=max(2, round(5 * size / max(shape))), steps=[1, 2, 5, 10]))
        axis.set_major_formatter(plain)
    axes.tick_params(length=3, width=0.5, color=LINE, labelcolor=SOFT, labelsize=7.5, pad=3)
    axes.tick_params(axis="y", labelrotation=90)
    for label in axes.get_yticklabels():
        label.set_verticalalignment("center")
    axes.grid(color="white", linewidth=0.4, alpha=0.35)


def draw_legend(axes: Axes, legend: Legend, images: Sequence[NDArray[np.uint8]], *, shares: bool = False) -> None:
    """Legend of the classes that occur, to the right of ``axes``.

    Parameters
    ----------
    axes
        Where to draw.
    legend
        Names and colours of the codes.
    images
        uint8 class codes ``(y, x)``, 255 = nodata.
    shares
        Whether each name is followed by the share of the class among the pixels that are not nodata.
    """
    counts = sum((np.bincount(image.ravel(), minlength=NODATA + 1) for image in images), np.zeros(NODATA + 1, int))
    mapped = max(1, int(counts[:NODATA].sum()))
    patches = []
    for cls in legend.classes:
        if count := counts[cls.code]:
            share = f"  {count / mapped:.1%}" if count / mapped >= 0.0005 else "  <0.1%"
            patches.append(Patch(facecolor=cls.color, edgecolor=LINE, label=cls.name + share * shares))
    if counts[NODATA]:
        patches.append(Patch(facecolor=VOID, edgecolor=LINE, label=NODATA_NAME))
    axes.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)


def draw_scale_bar(axes: Axes, unit_m: float = 1.0) -> None:
    """Draw a bar of a round length below the lower left corner; a unit of the x axis is ``unit_m`` metres."""
    left, right = axes.get_xlim()
    length_m = bar_length_m((right - left) * unit_m)
    label = f"{length_m / 1000:g}\u2009km" if length_m >= 1000 else f"{length_m:g}\u2009m"
    below = axes.transAxes + ScaledTranslation(0, -26 / 72, axes.figure.dpi_scale_trans)
    bar = AnchoredSizeBar(
        axes.transData,
        length_m / unit_m,
        label,
        loc="upper left",
        bbox_to_anchor=(0, 0),
        bbox_transform=below,
        borderpad=0,
        pad=0,
        sep=4,
        frameon=False,
        color=INK,
        size_vertical=0.003 * (right - left),
        fill_bar=True,
        fontproperties={"size": 7.5},
    )
    axes.add_artist(bar)


def bar_length_m(width_m: float) -> float:
    """A round length, 1, 2 or 5 times a power of ten, of an eighth to a third of ``width_m``.

    >>> bar_length_m(819.2), bar_length_m(60_000)
    (200.0, 20000.0)
    """
    power = 10.0 ** np.floor(np.log10(width_m / 3))
    return float(max(step * power for step in (1, 2, 5) if step * power <= width_m / 3))


def draw_north_arrow(axes: Axes) -> None:
    """Draw an arrow to the north below the lower right corner."""
    where: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "ha": "center", "va": "top"}
    axes.annotate("\u25b2\nN", xy=(1, 0), xytext=(-6, -24), fontsize=8, color=INK, **where)


def new_figure(shape: tuple[int, ...], *, count: int = 1, side_in: float = 9.0) -> tuple[Figure, list[Axes]]:
    """A figure with ``count`` axes side by side, in which each pixel takes a whole number of dots.

    Parameters
    ----------
    shape
        ``(height, width)`` of each image in pixels.
    count
        How many axes.
    side_in
        Inches of the longer side of an image.
    """
    dots, gap_in = max(1, round((1500 if count == 1 else 900) / max(shape))), 0.25
    dpi = max(shape) * dots / side_in
    tall, wide = (size * dots / dpi for size in shape[:2])
    width = count * wide + (count - 1) * gap_in
    figure = Figure(figsize=(width, tall), facecolor="white", dpi=dpi)
    lefts = [number * (wide + gap_in) / width for number in range(count)]
    return figure, [figure.add_axes((left, 0, wide / width, 1)) for left in lefts]


def write_texts(figure: Figure, *, title: str, subtitle: str, credit: str, above_pt: float = 10) -> None:
    """Write title and subtitle above the axes and the credit below them, in lines about as wide as the figure.

    Parameters
    ----------
    figure
        Of `new_figure`.
    title, subtitle, credit
        Plain text; no mathematics is set.
    above_pt
        Points kept free between the axes and the subtitle.
    """
    line_pt = 72 * max(7.0, figure.get_figwidth())
    below_title = textwrap.wrap(subtitle, int(line_pt / 5.3))
    title_pt = above_pt + 12 + 10 * max(1, len(below_title))
    for lines, y, offset_pt, size_pt, style in (
        (textwrap.wrap(title, int(line_pt / 9.3)), 1, title_pt, 15, {"fontweight": "bold", "color": INK}),
        (below_title, 1, above_pt, 8.5, {"color": SOFT}),
        (textwrap.wrap(credit, int(line_pt / 4.4)), 0, -58, 7, {"color": SOFT, "verticalalignment": "top"}),
    ):
        where: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "parse_math": False}
        text = figure.axes[0].annotate("\n".join(lines), xy=(0, y), xytext=(0, offset_pt), fontsize=size_pt, **where)
        text.set(**style)


def save_figure(figure: Figure, path: str | os.PathLike[str]) -> Path:
    """Write a PNG that holds everything drawn, atomically, and return its path.

    Raises
    ------
    OutputError
        When the file cannot be written.
    """
    target = Path(path).absolute()
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{target.name}-", dir=target.parent) as folder:
            written = Path(folder) / "picture.png"
            figure.savefig(written, dpi=figure.dpi, format="png", bbox_inches="tight", pad_inches=0.2)
            written.replace(target)
    except OSError as error:
        raise OutputError(f"Cannot write {target}: {error}. Check the folder and its free space.") from error
    return target


def _legend_of(classes: xr.DataArray) -> Legend:
    """The legend in CF attributes; colours from dark to light where they name none."""
    codes, names = classes.attrs["flag_values"], classes.attrs["flag_meanings"].split()
    shades = colormaps["viridis"](np.linspace(0, 1, len(names)))
    colors = classes.attrs.get("flag_colors", " ".join(map(to_hex, shades))).split()
    rows = zip(codes, names, colors, strict=True)
    entries = tuple(LandClass(code=int(code), name=name.replace("_", " "), color=color) for code, name, color in rows)
    return Legend(name=str(classes.name), classes=entries)


def _edges_of(classes: xr.DataArray) -> Edges:
    """Outer edges, from the centres of square pixels."""
    y, x = (classes[dim].values for dim in classes.dims)
    half = next(abs(axis[1] - axis[0]) for axis in (y, x) if axis.size > 1) / 2
    return x[0] - half, x[-1] + half, y[-1] - half, y[0] + half
