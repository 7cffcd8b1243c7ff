"""Maps drawn with matplotlib, on axes or as a PNG: colours, coordinates, legend, scale bar, source and licence."""

from __future__ import annotations

import os
import textwrap
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
from numpy.typing import NDArray
from odc.geo.crs import CRS

from landweave.core.crs import keeps_areas
from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.legend import NODATA, Legend
from landweave.core.protocols import MAP_MARK, MapReader
from landweave.core.pyramid import level_extent
from landweave.formats.products import mark_of, replacing

INK, SOFT, LINE, VOID = "#1a1a1a", "#6e6e6e", "#9a9a9a", "#efefef"
"""Text; lesser text; frames and ticks; nodata."""

SIDE_IN, SIDE_DOTS = 9.0, 1500
"""The longer side of a picture: inches, and about how many dots."""

Edges = tuple[float, float, float, float]
"""``(left, right, bottom, top)`` of an image in CRS units, as matplotlib takes them."""


def write_picture(
    reader: MapReader,
    path: str | os.PathLike[str],
    *,
    max_size: int = 2048,
) -> Path:
    """Write the land cover as a PNG, and return its path: north up, legend with shares of the mapped area, scale bar.

    Above it is the map's ``title``, below it its ``source`` and ``license``.

    Parameters
    ----------
    reader
        The map, with overviews when it is large.
    path
        File to write; an earlier one of this map is replaced.
    max_size
        The finest level of at most this many pixels a side is drawn.

    Raises
    ------
    InputError
        When no level is small enough.
    OutputError
        When something else is there, or the file cannot be written.
    """
    classes, grid = _finest_level(reader, max_size)
    x0, y0, x1, y1 = grid.bounds
    figure = _new_figure(classes.shape)
    axes = figure.axes[0]
    _draw(axes, classes, reader.legend, (x0, x1, y0, y1), shares=True)
    if keeps_areas(grid.crs, grid.bounds):  # lengths too
        _draw_scale_bar(axes)
    _write(axes, "\u25b2\nN", (1, 0), (-6, -24), 8, ha="center", va="top")
    _write_texts(
        figure,
        title=str(reader.attrs.get("title", "Land cover")),
        subtitle=_subtitle(reader.grids[0], classes, grid),
        credit=_credit(reader),
    )
    return save_figure(figure, path, mark_of(reader))


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
    y, x = (classes[dim].values for dim in classes.dims)
    half = next(abs(axis[1] - axis[0]) for axis in (y, x) if axis.size > 1) / 2
    _draw(axes, classes.values, _legend_of(classes), (x[0] - half, x[-1] + half, y[-1] - half, y[0] + half))


def colored(classes: NDArray[np.uint8], legend: Legend) -> NDArray[np.uint8]:
    """Colours of class codes ``(y, x)`` as uint8 ``(y, x, 3)``; nodata and codes of no class are light grey."""
    table = np.empty((NODATA + 1, 3), dtype=np.uint8)
    table[:] = [int(VOID[start : start + 2], 16) for start in (1, 3, 5)]
    for code, color in legend.colors.items():
        table[code] = color
    return table[classes]


def save_figure(figure: Figure, path: str | os.PathLike[str], mark: str) -> Path:
    """Write a PNG that holds everything drawn, atomically, and return its path.

    Parameters
    ----------
    figure
        What is drawn.
    path
        File to write.
    mark
        Of the map.

    Raises
    ------
    OutputError
        When something else is there, or the file cannot be written.
    """
    with replacing(path, mark) as written:
        about: dict[str, Any] = {"format": "png", "metadata": {MAP_MARK: mark}}
        figure.savefig(written, dpi=figure.dpi, bbox_inches="tight", pad_inches=0.2, **about)
    return Path(path).absolute()


def _finest_level(reader: MapReader, max_size: int) -> tuple[NDArray[np.uint8], Grid]:
    """Land cover of the area's bounds at the finest level that fits, and its pixels."""
    extents = [level_extent(reader.grids[0], reader.mapped_extent, level) for level in range(len(reader.grids))]
    small = [level for level, extent in enumerate(extents) if max(extent.shape) <= max_size]
    if not small:
        raise InputError(
            f"The coarsest level is {extents[-1].shape}, a picture of at most {max_size} pixels a side was asked "
            "for: make the overviews first, or ask for a larger picture."
        )
    level = small[0]
    return reader.read("landcover", extents[level], level), reader.grids[level].with_extent(extents[level])


def _subtitle(grid: Grid, classes: NDArray[np.uint8], drawn: Grid) -> str:
    crs = CRS(grid.crs)
    name = crs.proj.name.split("/")[-1].strip()
    code = f" (EPSG:{crs.to_epsg()})" if crs.to_epsg() else ""
    where = f"{float(grid.resolution):g} m  ·  {name}{code}"
    if not keeps_areas(grid.crs, grid.bounds):
        return f"pixels of {where}, whose metres are not those of the ground"
    mapped_km2 = np.count_nonzero(classes != NODATA) * float(drawn.resolution) ** 2 / 1e6
    value, unit = (mapped_km2, "km²") if mapped_km2 >= 1 else (mapped_km2 * 100, "ha")
    area = f"{value:,.0f}".replace(",", "\u2009") if value >= 100 else f"{value:.3g}"
    return f"{area} {unit} mapped at {where}"


def _credit(reader: MapReader) -> str:
    parts = [str(reader.attrs[name]) for name in ("source", "license") if reader.attrs.get(name)]
    return "  ·  ".join([*parts, "made with Landweave"])


def _legend_of(classes: xr.DataArray) -> Legend:
    """The legend in CF attributes; colours from dark to light where they name none."""
    codes, names = classes.attrs["flag_values"], classes.attrs["flag_meanings"].split()
    shades = colormaps["viridis"](np.linspace(0, 1, len(names)))
    colors = classes.attrs.get("flag_colors", " ".join(map(to_hex, shades))).split()
    return Legend.from_flags(str(classes.name), codes, names, colors)


def _new_figure(shape: tuple[int, ...]) -> Figure:
    """A figure filled by its axes, for an image ``(height, width)`` whose pixels take a whole number of dots each."""
    longest = max(shape)
    height_in, width_in = (SIDE_IN * size / longest for size in shape)
    dpi = longest * max(1, round(SIDE_DOTS / longest)) / SIDE_IN
    figure = Figure(figsize=(width_in, height_in), facecolor="white", dpi=dpi)
    figure.add_axes((0, 0, 1, 1))
    return figure


def _draw(axes: Axes, classes: NDArray[np.uint8], legend: Legend, edges: Edges, *, shares: bool = False) -> None:
    """Draw class codes ``(y, x)``, 255 = nodata, north up in a thin frame, with coordinates and legend."""
    axes.imshow(colored(classes, legend), extent=edges, interpolation="nearest", aspect="equal", origin="upper")
    for spine in axes.spines.values():
        spine.set(color=INK, linewidth=0.7)
    _mark_coordinates(axes, classes.shape)
    _draw_legend(axes, legend, classes, shares=shares)


def _mark_coordinates(axes: Axes, shape: tuple[int, ...]) -> None:
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


def _draw_legend(axes: Axes, legend: Legend, classes: NDArray[np.uint8], *, shares: bool) -> None:
    """Legend of the classes that occur, to the right; with ``shares``, of each among the pixels with a class."""
    counts = np.bincount(classes.ravel(), minlength=NODATA + 1)
    mapped = max(1, int(counts[:NODATA].sum()))
    patches = []
    for cls in legend.classes:
        if count := counts[cls.code]:
            share = f"  {count / mapped:.1%}" if count / mapped >= 0.0005 else "  <0.1%"
            patches.append(Patch(facecolor=cls.color, edgecolor=LINE, label=cls.name + share * shares))
    if counts[NODATA]:
        patches.append(Patch(facecolor=VOID, edgecolor=LINE, label="no data"))
    axes.legend(handles=patches, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)


def _draw_scale_bar(axes: Axes) -> None:
    """Draw a bar of a round length below the lower left corner; the x axis counts metres."""
    left, right = axes.get_xlim()
    length_m = bar_length_m(right - left)
    below = axes.get_xaxis_transform() + ScaledTranslation(0, -28 / 72, axes.figure.dpi_scale_trans)
    ends: dict[str, Any] = {"solid_capstyle": "butt", "clip_on": False, "scalex": False, "scaley": False}
    axes.plot([left, left + length_m], [0, 0], transform=below, color=INK, linewidth=2, **ends)
    label = f"{length_m / 1000:g}\u2009km" if length_m >= 1000 else f"{length_m:g}\u2009m"
    _write(axes, label, (0, 0), (0, -33), 7.5, va="top")


def bar_length_m(width_m: float) -> float:
    """A round length, 1, 2 or 5 times a power of ten, of an eighth to a third of ``width_m``.

    >>> bar_length_m(819.2), bar_length_m(60_000)
    (200.0, 20000.0)
    """
    power = 10.0 ** np.floor(np.log10(width_m / 3))
    return float(max(step * power for step in (1, 2, 5) if step * power <= width_m / 3))


def _write_texts(figure: Figure, *, title: str, subtitle: str, credit: str) -> None:
    """Write title and subtitle above the axes and the credit below, in lines about as wide as the figure."""
    line_pt = 72 * max(7.0, figure.get_figwidth())
    below_title = textwrap.wrap(subtitle, int(line_pt / 5.3))
    title_pt = 22 + 10 * max(1, len(below_title))
    _write(figure.axes[0], textwrap.fill(title, int(line_pt / 9.3)), (0, 1), (0, title_pt), 15, fontweight="bold")
    _write(figure.axes[0], "\n".join(below_title), (0, 1), (0, 10), 8.5, color=SOFT)
    _write(figure.axes[0], textwrap.fill(credit, int(line_pt / 4.4)), (0, 0), (0, -58), 7, color=SOFT, va="top")


def _write(
    axes: Axes, text: str, corner: tuple[int, int], offset_pt: tuple[int, int], size_pt: float, **style: Any
) -> None:
    """Write plain text, in which no mathematics is set, some points from a corner of the axes."""
    where: dict[str, Any] = {"xycoords": "axes fraction", "textcoords": "offset points", "parse_math": False}
    axes.annotate(text, corner, offset_pt, fontsize=size_pt, **where, **{"color": INK, **style})
