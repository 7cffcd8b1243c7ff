"""Pixels of one tile, and which of them are measurements: by its files' readings and its nodata border."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from cachetools import LRUCache, cached
from numpy.typing import NDArray

from landweave.core.errors import ReadError
from landweave.core.lattice import Extent
from landweave.sources.band_reading import BandReading, decide_files, read_bands
from landweave.sources.files import read_window
from landweave.sources.mosaic.nodata_border import NodataBorder, find_nodata_border, unite
from landweave.sources.mosaic.tile_index import Tile
from landweave.sources.raster_facts import RasterFacts

BORDERS_PER_PROCESS = 128
"""Nodata borders kept, at most 0.4 MB each (four profiles of a 25,000 px tile)."""


def read_tile(
    tile: Tile,
    settings: Sequence[Sequence[BandReading]],
    window: Extent,
    names: Sequence[str],
    *,
    border_level: float | None = None,
) -> tuple[NDArray[Any], NDArray[np.bool_]]:
    """Bands of one tile over a window, and where they are measured.

    Parameters
    ----------
    tile
        The tile.
    settings
        What the delivery says of the bands of each product, completed here by the facts of the tile's files.
    window
        In the tile's pixels, inside it.
    names
        Bands, in the order of the result.
    border_level
        Brightest value of a nodata border; None to keep dark edges.

    Returns
    -------
    values
        ``(band, y, x)`` in the files' dtype, float32 where a scale or offset applies.
    measured
        bool ``(y, x)``. It rests on every band that the mosaic gives, so it is the same whichever are named.

    Raises
    ------
    ReadError
        When a file cannot be read, or is not the one that was indexed; with the window and its ground.
    """
    files = decide_files(settings, tile.files)
    try:
        planes, measured = read_bands(files, window, names)
        border = None if border_level is None else _border_of(tile, border_level)
    except ReadError as error:
        y, x = window.y, window.x
        (x0, y0), (x1, y1) = tile.transform @ (x.start, y.stop), tile.transform @ (x.stop, y.start)
        raise ReadError(
            f"{error} [{tile.id}, rows {y.start}-{y.stop}, columns {x.start}-{x.stop}, "
            f"ground ({x0:.2f}, {y0:.2f}, {x1:.2f}, {y1:.2f}) in {tile.crs[:40]}]"
        ) from error
    if border is not None:
        measured &= ~border.mask(window)
    readings = {band.band: band for file in files for band in file.bands}
    return np.stack([_in_unit(planes[name], readings[name]) for name in names]), measured


def _in_unit(plane: NDArray[Any], reading: BandReading) -> NDArray[Any]:
    if (reading.scale, reading.offset) == (1, 0):
        return plane
    return (plane * np.float64(reading.scale) + reading.offset).astype(np.float32)


def _border_key(tile: Tile, level: float) -> tuple[Any, ...]:
    return (*((facts.path, facts.version) for facts in tile.files), level)


@cached(LRUCache(maxsize=BORDERS_PER_PROCESS), key=_border_key, lock=threading.Lock())
def _border_of(tile: Tile, level: float) -> NodataBorder | None:
    """Of each file of several bands; of one band only where all files are dark: water is black in the near infrared."""
    groups = [[facts] for facts in tile.files if len(_brightness(facts)) > 1]
    groups += [] if len(groups) == len(tile.files) else [[*tile.files]]
    height = max(facts.block[0] for facts in tile.files)
    borders = [find_nodata_border(_darkness(files, level), tile.shape, height) for files in groups]
    return unite([border for border in borders if border])


def _brightness(facts: RasterFacts) -> list[int]:
    """Numbers of all bands but alpha."""
    return [number for number in range(1, facts.count + 1) if number != facts.alpha or facts.count == 1]


def _darkness(files: Sequence[RasterFacts], level: float) -> Callable[[Extent], NDArray[np.bool_]]:
    def dark(window: Extent) -> NDArray[np.bool_]:
        found = np.ones(window.shape, bool)
        for facts in files:
            values, _ = read_window(facts.file, _brightness(facts), window)
            found &= (values <= level).all(axis=0)
        return found

    return dark
