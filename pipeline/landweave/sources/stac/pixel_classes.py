"""The pixel class of each pixel of a scene, from its scene classes or from probabilities: uint8 `PixelClass`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.core.errors import ConfigError
from landweave.core.timeseries import PixelClass

_SCENE_CLASSES: Mapping[PixelClass, tuple[int, ...]] = {
    PixelClass.NODATA: (0, 1),
    PixelClass.SHADOW: (3,),
    PixelClass.CLOUD: (8, 9, 10),
    PixelClass.SNOW: (11,),
}
"""Scene classes of Sentinel-2 (ESA's level 2A product specification) that are not clear: 0 nodata, 1 saturated or
defective, 3 shadow of a cloud, 8 and 9 cloud, 10 cirrus, 11 snow or ice."""

_PIXEL_CLASS_OF = np.full(256, PixelClass.CLEAR, np.uint8)
for _pixel_class, _codes in _SCENE_CLASSES.items():
    _PIXEL_CLASS_OF[list(_codes)] = _pixel_class
_PIXEL_CLASS_OF[12:] = PixelClass.NODATA  # no such scene class

_PROBABILITY_MAX = 100

BANDS_BY_SOURCE: Mapping[str, tuple[str, ...]] = {"scl": ("SCL",), "probability": ("CLOUD", "SNOW")}
"""Bands that pixel classes come from, by the source in a cloud mask."""


def class_bands(cloud_mask: Mapping[str, Any]) -> tuple[str, ...]:
    """Bands that pixel classes come from; none for radar, where ``cloud_mask`` is empty.

    Raises
    ------
    ConfigError
        When ``cloud_mask`` has other keys than its source needs.
    """
    if not cloud_mask:
        return ()
    known = {"scl": {"source"}, "probability": {"source", "cloud_max", "snow_max"}}.get(cloud_mask.get("source", ""))
    if known is None or known != set(cloud_mask):
        raise ConfigError(
            f"cloud_mask {dict(cloud_mask)!r}: write {{'source': 'scl'}}, or {{'source': 'probability', 'cloud_max': 1,"
            " 'snow_max': 1}."
        )
    return BANDS_BY_SOURCE[cloud_mask["source"]]


def classify_pixels(
    planes: Mapping[str, NDArray[Any]], cloud_mask: Mapping[str, Any], valid: NDArray[np.bool_]
) -> NDArray[np.uint8]:
    """uint8 `PixelClass` ``(y, x)``: `NODATA` where not ``valid``, `CLEAR` elsewhere if there is no cloud mask.

    Parameters
    ----------
    planes
        Scene classes, or probabilities of cloud and of snow from 0 to 100: ``(y, x)`` by name. What is none, as 255 or
        NaN, is no measurement.
    cloud_mask
        As in `landweave.core.protocols.SeriesSource.cloud_mask`.
    valid
        bool ``(y, x)``; True where every band holds a measurement.
    """
    pixel_class = np.full(valid.shape, PixelClass.CLEAR, np.uint8)
    if cloud_mask and cloud_mask["source"] == "scl":
        pixel_class = _PIXEL_CLASS_OF[np.minimum(planes["SCL"], 255)]
    elif cloud_mask:
        pixel_class[planes["CLOUD"] > cloud_mask["cloud_max"]] = PixelClass.CLOUD
        # Of both it is snow: a window without a date free of clouds takes one free of snow.
        pixel_class[planes["SNOW"] > cloud_mask["snow_max"]] = PixelClass.SNOW
        for name in BANDS_BY_SOURCE["probability"]:
            pixel_class[~((planes[name] >= 0) & (planes[name] <= _PROBABILITY_MAX))] = PixelClass.NODATA
    pixel_class[~valid] = PixelClass.NODATA
    return pixel_class
