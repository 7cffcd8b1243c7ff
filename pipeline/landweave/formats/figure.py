"""Layers of classes on a notebook's axes: colours, a legend, and coordinates that can be read."""

from __future__ import annotations

import numpy as np
import xarray as xr
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.colors import to_hex
from matplotlib.patches import Patch

from landweave.core.errors import InputError
from landweave.core.legend import NODATA, LandClass, Legend
from landweave.formats.picture import LINE, NODATA_NAME, VOID, colored, mark_coordinates


def draw_classes(classes: xr.DataArray, axes: Axes) -> None:
    """Draw land cover, date_fallbacks or a ledger's states on ``axes``, with a legend of the classes that are there.

    Parameters
    ----------
    classes
        uint8 over ``(y, x)`` or what they are called, 255 = nodata, with centre coordinates and the ``flag_*``
        attributes of the CF conventions, as `landweave.predict` and `landweave.open_map` give them.
    axes
        Of matplotlib; the legend stands to their right.

    Raises
    ------
    InputError
        When the layer does not say what its values mean, or has other dimensions than two of two pixels and more.
    """
    if "flag_values" not in classes.attrs:
        raise InputError(f"{classes.name!r} is no layer of classes: it has no attribute flag_values.")
    if classes.ndim != 2 or classes.size < 2:
        raise InputError(
            f"A layer over ('y', 'x') of two pixels and more is drawn, not {classes.shape} {classes.dims}."
        )
    legend, values = _legend(classes), classes.values
    axes.imshow(colored(values, legend), extent=_extent(classes), interpolation="nearest")
    mark_coordinates(axes, values.shape)
    present = [Patch(facecolor=cls.color, edgecolor=LINE, label=cls.name) for cls in legend.classes
               if (values == cls.code).any()]  # fmt: skip
    if (values == NODATA).any():
        present.append(Patch(facecolor=VOID, edgecolor=LINE, label=NODATA_NAME))
    axes.legend(handles=present, loc="upper left", bbox_to_anchor=(1.01, 1), frameon=False, fontsize=8)


def _legend(classes: xr.DataArray) -> Legend:
    """What the attributes say of the values; colours from dark to light where they name none."""
    codes, names = classes.attrs["flag_values"], classes.attrs["flag_meanings"].split()
    shades = colormaps["viridis"](np.linspace(0, 1, len(names)))
    colors = classes.attrs.get("flag_colors", " ".join(map(to_hex, shades))).split()
    rows = zip(codes, names, colors, strict=True)
    entries = tuple(LandClass(code=int(code), name=name.replace("_", " "), color=color) for code, name, color in rows)
    return Legend(name=str(classes.name), classes=entries)


def _extent(classes: xr.DataArray) -> tuple[float, float, float, float]:
    """Left, right, bottom and top edge, from the centres of square pixels."""
    y, x = (classes[dim].values for dim in classes.dims)
    half = next(abs(axis[1] - axis[0]) for axis in (y, x) if axis.size > 1) / 2
    return x[0] - half, x[-1] + half, y[-1] - half, y[0] + half
