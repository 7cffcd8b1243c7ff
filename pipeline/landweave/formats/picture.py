"""Maps as pictures a person can read: colours, legend, scale bar, coordinates, and where it all comes from."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray
from odc.geo.crs import CRS

from landweave.core.errors import InputError, OutputError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.legend import NODATA, Legend
from landweave.core.protocols import MapReader
from landweave.core.pyramid import MOST_VOTES, mode

INK, SOFT, LINE, VOID = "#1a1a1a", "#6e6e6e", "#9a9a9a", "#efefef"
"""Text; lesser text; frames and ticks; ground without an answer."""

NODATA_NAME = "no data"


@dataclass(frozen=True, kw_only=True)
class Panel:
    """One picture of a row.

    Attributes
    ----------
    title
        A few words above it.
    image
        uint8 ``(y, x)`` of class codes, 255 = nodata; or uint8 ``(y, x, 3)`` of red, green, blue.
    """

    title: str
    image: NDArray[np.uint8]


def write_picture(
    reader: MapReader,
    path: str | os.PathLike[str],
    *,
    max_size: int = 2048,
    title: str | None = None,
    credit: str | None = None,
) -> Path:
    """Write the land cover as a PNG: north up, legend of the classes present with their shares, scale bar.

    Parameters
    ----------
    reader
        The map, with overviews when it is large.
    path
        File to write.
    max_size
        The finest level of at most this many pixels a side is drawn.
    title, credit
        Above and below; from the map's ``title``, ``source`` and ``license`` when not given.

    Raises
    ------
    InputError
        When no level is small enough.
    OutputError
        When the file cannot be written.
    """
    classes, grid = _smallest_view(reader, max_size)
    sheet = _Sheet.around([classes.shape], side_in=9.0)
    axes = sheet.axes[0]
    _draw(axes, colored(classes, reader.legend), grid)
    mark_coordinates(axes, grid.shape)
    _draw_scale_bar(sheet, grid)
    _draw_north(sheet)
    _draw_legend(sheet, reader.legend, [classes], shares=True)
    _write_margins(
        sheet,
        title=title or str(reader.attrs.get("title", "Land cover")),
        subtitle=_subtitle(reader.grids[0], classes, grid),
        credit=credit or _credit(reader),
    )
    return _save(sheet.figure, path, sheet.dpi)


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
    """Write pictures of the same ground side by side, with one legend and one scale bar, as a PNG.

    Parameters
    ----------
    path
        File to write.
    panels
        All of one height and width; those of 1500 pixels a side and more are thinned.
    legend
        Of the panels that hold classes.
    resolution_m
        Side of a pixel.
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
        raise InputError(f"Panels of one height and width are wanted, these are {sorted(shapes)}.")
    height, width = shapes.pop()
    step = max(1, round(max(height, width) / 1000))
    whole = slice(0, height // step * step), slice(0, width // step * step)
    images = [_thinned(panel.image[whole], step) for panel in panels]
    sheet = _Sheet.around([image.shape[:2] for image in images], side_in=5.2)
    grid = Grid.from_bounds((0, 0, images[0].shape[1], images[0].shape[0]), crs="EPSG:3857", resolution=1)
    for axes, panel, image in zip(sheet.axes, panels, images, strict=True):
        _draw(axes, image if image.ndim == 3 else colored(image, legend), grid)
        axes.set_xticks([])
        axes.set_yticks([])
        axes.set_title(panel.title, loc="left", fontsize=10, color=INK, pad=5)
    _draw_scale_bar(sheet, grid, unit_m=resolution_m * step)
    _draw_north(sheet)
    _draw_legend(sheet, legend, [image for image in images if image.ndim == 2])
    _write_margins(sheet, title=title, subtitle=subtitle, credit=credit)
    return _save(sheet.figure, path, sheet.dpi)


def colored(classes: NDArray[np.uint8], legend: Legend) -> NDArray[np.uint8]:
    """Colours of class codes, uint8 ``(y, x, 3)``; ground without an answer is light grey."""
    table = np.empty((NODATA + 1, 3), dtype=np.uint8)
    table[:] = [int(VOID[place : place + 2], 16) for place in (1, 3, 5)]
    for code, color in legend.colors.items():
        table[code] = color
    return table[classes]


def mark_coordinates(axes: Axes, shape: tuple[int, ...]) -> None:
    """Ticks with coordinates in whole metres, fewer on the shorter side, and hairlines where they cross the map."""
    plain = FuncFormatter(lambda value, _: f"{value:,.0f}".replace(",", "\u2009"))
    for axis, span in ((axes.xaxis, shape[1]), (axes.yaxis, shape[0])):
        axis.set_major_locator(MaxNLocator(nbins=max(2, round(5 * span / max(shape))), steps=[1, 2, 5, 10]))
        axis.set_major_formatter(plain)
    axes.tick_params(length=3, width=0.5, color=LINE, labelcolor=SOFT, labelsize=7.5, pad=3)
    axes.tick_params(axis="y", labelrotation=90)
    for label in axes.get_yticklabels():
        label.set_verticalalignment("center")
    axes.grid(color="white", linewidth=0.4, alpha=0.35)


def bar_length_m(width_m: float) -> float:
    """A round length, 1, 2 or 5 times a power of ten, of an eighth to a third of ``width_m``.

    >>> bar_length_m(819.2), bar_length_m(60_000)
    (200.0, 20000.0)
    """
    power = 10.0 ** np.floor(np.log10(width_m / 3))
    return float(max(step * power for step in (1, 2, 5) if step * power <= width_m / 3))


@dataclass(frozen=True, kw_only=True)
class _Sheet:
    """The paper, in inches: pictures side by side, a legend to their right, margins for words."""

    figure: Figure
    axes: tuple[Axes, ...]
    dpi: float
    legend_left: float
    top: float
    bottom: float

    @classmethod
    def around(cls, shapes: Sequence[tuple[int, ...]], *, side_in: float) -> _Sheet:
        """A sheet on which each pixel of the pictures is a whole number of dots."""
        rows, columns = shapes[0][:2]
        single = len(shapes) == 1
        dots = max(1, round((1500 if single else 900) / max(rows, columns)))
        dpi = max(rows, columns) * dots / side_in
        wide, tall = columns * dots / dpi, rows * dots / dpi
        left, above = (0.75, 0.98) if single else (0.4, 1.12)
        gap, legend, below = 0.25, 2.75, 1.0
        width = max(left + len(shapes) * wide + (len(shapes) - 1) * gap + legend, 7.0)
        height = above + max(tall, 2.6) + below
        figure = Figure(figsize=(width, height), facecolor="white")
        FigureCanvasAgg(figure)
        bottom = height - above - tall
        places = [(left + number * (wide + gap), bottom, wide, tall) for number in range(len(shapes))]
        axes = tuple(figure.add_axes(cls._share(place, width, height)) for place in places)
        right = places[-1][0] + wide
        return cls(figure=figure, axes=axes, dpi=dpi, legend_left=right + 0.3, top=height - above, bottom=bottom)

    @staticmethod
    def _share(
        place: tuple[float, float, float, float], width: float, height: float
    ) -> tuple[float, float, float, float]:
        return place[0] / width, place[1] / height, place[2] / width, place[3] / height

    def text(self, x: float, y: float, words: str, **style: Any) -> None:
        """Words at inches from the lower left corner."""
        width, height = self.figure.get_size_inches()
        self.figure.text(x / width, y / height, words, **style)

    def line(self, x: float, y: float, words: str, **style: Any) -> None:
        """Words in one line, smaller where they would not fit the paper."""
        self.text(x, y, words, **style)
        written = self.figure.texts[-1]
        room_px = (self.figure.get_size_inches()[0] - x - 0.2) * self.figure.dpi
        while written.get_window_extent().width > room_px:
            written.set_fontsize(0.95 * float(written.get_fontsize()))

    def swatch(self, x: float, y: float, color: str) -> None:
        """A small rectangle of one colour at inches from the lower left corner."""
        width, height = self.figure.get_size_inches()
        self.figure.add_artist(
            Rectangle(
                (x / width, y / height),
                0.26 / width,
                0.16 / height,
                facecolor=color,
                edgecolor=LINE,
                linewidth=0.5,
                transform=self.figure.transFigure,
            )
        )


def _smallest_view(reader: MapReader, max_size: int) -> tuple[NDArray[np.uint8], Grid]:
    """Land cover at the finest level that fits, without the empty margin that whole blocks leave around an area."""
    small = [level for level, grid in enumerate(reader.grids) if max(grid.shape) <= max_size]
    if not small:
        raise InputError(
            f"The coarsest level is {reader.grids[-1].shape}, a picture of at most {max_size} pixels a side was asked "
            "for: make the overviews first, or ask for a larger picture."
        )
    level, grid = small[0], reader.grids[small[0]]
    classes = reader.read("landcover", grid.extent, level)
    rows = np.flatnonzero((classes != NODATA).any(axis=1))
    columns = np.flatnonzero((classes != NODATA).any(axis=0))
    if not rows.size:
        return classes, grid
    top, left = grid.extent.y.start, grid.extent.x.start
    inside = Extent.of((top + rows[0], top + rows[-1] + 1), (left + columns[0], left + columns[-1] + 1))
    return classes[inside.slices_in(grid.extent)], grid.with_extent(inside)


def _draw(axes: Axes, image: NDArray[np.uint8], grid: Grid) -> None:
    x0, y0, x1, y1 = grid.bounds
    axes.imshow(image, extent=(x0, x1, y0, y1), interpolation="nearest", aspect="equal", origin="upper")
    for spine in axes.spines.values():
        spine.set(color=INK, linewidth=0.7)


def _thinned(image: NDArray[np.uint8], step: int) -> NDArray[np.uint8]:
    """Classes by their mode, colours by their mean, over squares of ``step`` pixels."""
    if image.ndim == 2:
        return mode(image, step) if step <= MOST_VOTES else image[::step, ::step]
    height, width = image.shape[0] // step, image.shape[1] // step
    squares = image.reshape(height, step, width, step, 3)
    return np.asarray(squares.mean(axis=(1, 3)).round(), dtype=np.uint8)


def _draw_scale_bar(sheet: _Sheet, grid: Grid, unit_m: float = 1.0) -> None:
    """A bar of four parts below the lower left corner, labelled in metres or kilometres."""
    x0, _, x1, _ = grid.bounds
    length_m = bar_length_m((x1 - x0) * unit_m)
    share = length_m / ((x1 - x0) * unit_m)
    axes = sheet.axes[0]
    inch_y = sheet.figure.get_size_inches()[1] * axes.get_position().height
    base, tall = -0.42 / inch_y, 0.06 / inch_y
    for part in range(4):
        axes.add_patch(
            Rectangle(
                (part * share / 4, base),
                share / 4,
                tall,
                transform=axes.transAxes,
                clip_on=False,
                facecolor=INK if part % 2 == 0 else "white",
                edgecolor=INK,
                linewidth=0.6,
            )
        )
    kilometres = length_m >= 1000
    for mark in (0.0, 0.5, 1.0):
        value = length_m * mark / (1000 if kilometres else 1)
        unit = ("\u2009km" if kilometres else "\u2009m") if mark == 1 else ""
        axes.text(
            mark * share,
            base - 0.05 / inch_y,
            f"{value:g}{unit}",
            transform=axes.transAxes,
            ha="center" if mark else "left",
            va="top",
            fontsize=7.5,
            color=INK,
        )


def _draw_north(sheet: _Sheet) -> None:
    """An arrow to the north, below the lower right corner of the last picture."""
    width, height = sheet.figure.get_size_inches()
    x, y = sheet.legend_left - 0.3 - 0.08, sheet.bottom - 0.5
    arrow_yx = ((0.2, 0.0), (0.0, 0.07), (0.05, 0.0), (0.0, -0.07))
    outline = np.array([((x + right) / width, (y + up) / height) for up, right in arrow_yx])
    sheet.figure.add_artist(Polygon(outline, closed=True, facecolor=INK, transform=sheet.figure.transFigure))
    sheet.text(x, y - 0.02, "N", fontsize=8, color=INK, ha="center", va="top")


def _draw_legend(sheet: _Sheet, legend: Legend, images: Sequence[NDArray[np.uint8]], *, shares: bool = False) -> None:
    counts = sum((np.bincount(image.ravel(), minlength=NODATA + 1) for image in images), np.zeros(NODATA + 1, int))
    mapped = max(1, int(counts[:NODATA].sum()))
    rows = [(cls.color, cls.name, counts[cls.code]) for cls in legend.classes if counts[cls.code]]
    line = min(0.27, (sheet.top - 0.2) / max(1, len(rows) + 1))
    y = sheet.top - 0.16
    for color, name, count in rows:
        sheet.swatch(sheet.legend_left, y, color)
        sheet.text(sheet.legend_left + 0.36, y + 0.08, name, fontsize=8.5, color=INK, va="center")
        if shares:
            share = f"{count / mapped:.1%}" if count / mapped >= 0.0005 else "<0.1%"
            sheet.text(sheet.legend_left + 2.2, y + 0.08, share, fontsize=7.5, color=SOFT, va="center", ha="right")
        y -= line
    if counts[NODATA]:
        sheet.swatch(sheet.legend_left, y, VOID)
        sheet.text(sheet.legend_left + 0.36, y + 0.08, NODATA_NAME, fontsize=8.5, color=SOFT, va="center")


def _write_margins(sheet: _Sheet, *, title: str, subtitle: str, credit: str) -> None:
    _, height = sheet.figure.get_size_inches()
    left = sheet.axes[0].get_position().x0 * sheet.figure.get_size_inches()[0]
    sheet.line(left, height - 0.32, title, fontsize=15, fontweight="bold", color=INK, va="center")
    sheet.line(left, height - 0.62, subtitle, fontsize=8.5, color=SOFT, va="center")
    sheet.line(left, 0.14, credit, fontsize=7, color=SOFT, va="bottom")


def _subtitle(grid: Grid, classes: NDArray[np.uint8], drawn: Grid) -> str:
    mapped_km2 = np.count_nonzero(classes != NODATA) * float(drawn.resolution) ** 2 / 1e6
    value, unit = (mapped_km2, "km²") if mapped_km2 >= 1 else (mapped_km2 * 100, "ha")
    area = f"{value:,.0f}".replace(",", "\u2009") if value >= 100 else f"{value:.3g}"
    crs = CRS(grid.crs)
    name = crs.proj.name.split("/")[-1].strip()
    code = f" (EPSG:{crs.to_epsg()})" if crs.to_epsg() else ""
    return f"{area} {unit} mapped at {float(grid.resolution):g} m  ·  {name}{code}"


def _credit(reader: MapReader) -> str:
    parts = [str(reader.attrs[name]) for name in ("source", "license") if reader.attrs.get(name)]
    return "  ·  ".join([*parts, "made with Landweave"])


def _save(figure: Figure, path: str | os.PathLike[str], dpi: float) -> Path:
    goal = Path(path).absolute()
    try:
        goal.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(prefix=f".{goal.name}-", dir=goal.parent) as folder:
            made = Path(folder) / "picture.png"
            figure.savefig(made, dpi=dpi, format="png")
            made.replace(goal)
    except OSError as error:
        raise OutputError(f"Cannot write {goal}: {error}. Check the place and its free room.") from error
    return goal
