"""Cost of reading scenes, estimated from their items: no file is opened, and no server contacted."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from landweave.core.grid import Grid
from landweave.core.protocols import ReadCost
from landweave.sources.files import file_format, file_version
from landweave.sources.raster_facts import GeoRef
from landweave.sources.resampling.pixel_coordinates import source_window
from landweave.sources.stac.georeference import frame_of
from landweave.sources.stac.records import Scene

_BLOCK = 512
"""Pixels a side of what is decoded at once, before a file is opened: what most COGs have."""

_BYTES_A_PIXEL = 1.5
"""Of a compressed 16-bit band, where its file cannot be measured."""


def read_cost(scenes: Iterable[Scene], bands: Sequence[str], grid: Grid) -> ReadCost:
    """Bytes and decoded pixels of reading scenes over a grid, in whole blocks.

    Parameters
    ----------
    scenes, bands
        Scenes, and the bands read of each.
    grid
        Pixels that are read.
    """
    touched, decoded = 0.0, Counter[str]()
    pixels: dict[GeoRef | None, int] = {}
    for scene in scenes:
        for asset in (scene.assets[band] for band in bands):
            georef = asset.georef
            if georef not in pixels:
                pixels[georef] = _pixels(georef, grid)
            decoded[file_format(asset.href)] += pixels[georef]
            touched += pixels[georef] * _density(asset.href, georef)
    return ReadCost(bytes=round(touched), decoded_pixels=dict(decoded))


def _pixels(georef: GeoRef | None, grid: Grid) -> int:
    """Pixels of a scene in the blocks that a read of ``grid`` touches."""
    if georef is None:
        return grid.extent.snap(_BLOCK).size
    frame = frame_of(georef, grid)
    part = grid.with_extent(grid.extent.intersect(frame.grid_extent))
    if not part.extent.size:
        return 0
    return source_window(part, frame, margin=2).snap(_BLOCK).intersect(frame.extent).size


@lru_cache(maxsize=2**17)
def _density(href: str, georef: GeoRef | None) -> float:
    """File bytes a pixel."""
    try:
        size = file_version(href)[0]
    except OSError:
        size = 0
    return size / float(np.prod(georef.shape)) if size and georef else _BYTES_A_PIXEL
