"""The layers of a map as a page holds them: codes of a coarser level, compressed, coloured only when they are shown.

A page holds codes, not colours, so that a class is switched in the browser and exactly. They are deflated bytes rather
than a picture: browsers that protect against fingerprints change what a script reads from pictures.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave.core.grid import Bounds, Grid
from landweave.core.lattice import Extent
from landweave.core.legend import NODATA
from landweave.core.pyramid import level_extent, level_grid, levels_of
from landweave.store.maps.store import MapStore

Codes = NDArray[np.uint8]

MAX_PIXELS = 4_000_000
"""Pixels of the map in a page: about 1 MB for classes, 1 MB for confidence and 2 MB for the aerial picture."""

CONFIDENCE_STEP = 5
"""Stored confidences, 0 to 250, are shown in steps of 2 %: half the bytes."""

_PIECE = 4096


@dataclass(frozen=True, kw_only=True)
class Layer:
    """Codes ``(y, x)`` that a page colours, and the ground they lie on."""

    name: str
    codes: Codes
    bounds: Bounds

    @property
    def packed(self) -> str:
        """Codes row by row, deflated, in base64."""
        return base64.b64encode(zlib.compress(self.codes.tobytes(), 9)).decode()


def shown_level(store: MapStore, max_pixels: int = MAX_PIXELS) -> int:
    """The finest level of which the mapped area has at most ``max_pixels``.

    Parameters
    ----------
    store
        The map.
    max_pixels
        Of one layer.
    """
    level = 0
    while level_extent(store.grid, store.mapped_extent, level).size > max_pixels:
        level += 1
    return level


def map_layers(store: MapStore, level: int, *, complete: bool) -> Iterator[Layer]:
    """Classes, and confidence where the map has it.

    Parameters
    ----------
    store
        The map.
    level
        From `shown_level`.
    complete
        Whether its overviews are those of all blocks; those of a map that is not complete are computed here.
    """
    extent = level_extent(store.grid, store.mapped_extent, level)
    bounds = level_grid(store.grid, level).with_extent(extent).bounds
    stored = complete and level < len(store.grids)
    for name in ("landcover", "confidence"):
        if name in store.arrays:
            codes = store.read(name, extent, level) if stored else read_reduced(store, name, level)
            yield Layer(name=name, codes=_stepped(codes) if name == "confidence" else codes, bounds=bounds)


def _stepped(confidence: Codes) -> Codes:
    return np.where(confidence == NODATA, NODATA, confidence // CONFIDENCE_STEP * CONFIDENCE_STEP).astype(np.uint8)


def read_reduced(store: MapStore, name: str, level: int) -> Codes:
    """A layer of the mapped area at a level, from full resolution piece by piece: the same bits as its overview.

    Parameters
    ----------
    store, name
        The map and its layer.
    level
        0 or more.
    """
    wanted = level_extent(store.grid, store.mapped_extent, level)
    result = np.full(wanted.shape, NODATA, np.uint8)
    side = max(1, _PIECE >> level)
    origin = level_grid(store.grid, level).extent
    for top in range(wanted.y.start // side * side, wanted.y.stop, side):
        for left in range(wanted.x.start // side * side, wanted.x.stop, side):
            part = Extent.of((top, top + side), (left, left + side)).intersect(origin)
            codes = levels_of(name, store.read(name, _refined(store.grid, part, level), 0), level)[-1]
            shown = part.intersect(wanted)
            result[shown.slices_in(wanted)] = codes[shown.slices_in(part)]
    return result


def _refined(grid: Grid, part: Extent, level: int) -> Extent:
    """Pixels of level 0 under those of a level."""
    outer, size = grid.extent, 1 << level
    if not level:
        return part
    y, x = outer.y.start, outer.x.start
    rows = y + part.y.start * size, y + part.y.stop * size
    columns = x + part.x.start * size, x + part.x.stop * size
    return Extent.of(rows, columns).intersect(outer)
