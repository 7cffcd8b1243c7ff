"""What reading scenes will cost, told from their items: no file is opened, and no server asked."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache

import numpy as np

from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.protocols import ReadCost
from landweave.sources.mosaic.listing import is_url
from landweave.sources.raster_facts import file_version
from landweave.sources.resampling.pixel_coordinates import window_of
from landweave.sources.stac.files import file_format
from landweave.sources.stac.georeference import Place, frame_of, told_place
from landweave.sources.stac.records import Scene

_BLOCK = 512
"""Pixels a side of what is decoded at once, where nothing has been opened to know it: what most COGs have."""

_BYTES_A_PIXEL = 1.5
"""Of a compressed 16-bit band, where its file cannot be measured."""


def price(scenes: Iterable[Scene], bands: Sequence[str], grid: Grid) -> ReadCost:
    """Bytes touched and pixels decoded in reading ``bands`` of ``scenes`` over ``grid``, in whole blocks."""
    touched, decoded = 0.0, Counter[str]()
    pixels: dict[Place | None, int] = {}
    for scene in scenes:
        for asset in (scene.assets[band] for band in bands):
            place = told_place(asset)
            if place not in pixels:
                pixels[place] = _pixels(place, grid)
            decoded[file_format(asset.href)] += pixels[place]
            touched += pixels[place] * _density(asset.href, place)
    return ReadCost(bytes=round(touched), decoded_pixels=dict(decoded))


def _pixels(place: Place | None, grid: Grid) -> int:
    """Pixels of a scene in the blocks that a read of ``grid`` touches."""
    if place is None:
        return grid.extent.snap(_BLOCK).size
    frame = frame_of(place, grid)
    part = grid.with_extent(grid.extent.intersect(frame.ground))
    if not part.extent.size:
        return 0
    window: Extent = window_of(part, frame, margin=2)
    return window.snap(_BLOCK).intersect(frame.extent).size


@lru_cache(maxsize=2**17)
def _density(href: str, place: Place | None) -> float:
    if place is None or is_url(href):
        return _BYTES_A_PIXEL
    try:
        return file_version(href)[0] / float(np.prod(place.shape))
    except OSError:
        return _BYTES_A_PIXEL
