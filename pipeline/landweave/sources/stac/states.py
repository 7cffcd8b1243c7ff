"""What each pixel of a date saw, told from scene classes or from probabilities: uint8 `PixelState`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave.errors import ConfigError
from landweave.timeseries import PixelState

States = NDArray[np.uint8]

_CLASSES: Mapping[PixelState, tuple[int, ...]] = {
    PixelState.NODATA: (0, 1),
    PixelState.SHADOW: (3,),
    PixelState.CLOUD: (8, 9, 10),
    PixelState.SNOW: (11,),
}
"""Scene classes of Sentinel-2 that are not clear: 0 nodata, 1 saturated or defective, 3 shadow of a cloud, 8 and 9
cloud, 10 cirrus, 11 snow or ice."""

_STATE_OF_CLASS = np.full(256, PixelState.CLEAR, np.uint8)
for _state, _codes in _CLASSES.items():
    _STATE_OF_CLASS[list(_codes)] = _state
_STATE_OF_CLASS[12:] = PixelState.NODATA  # no such class

STATE_BANDS: Mapping[str, tuple[str, ...]] = {"scl": ("SCL",), "probability": ("CLOUD", "SNOW")}
"""What states are told from, by the word for it."""


def state_bands(clouds: Mapping[str, Any]) -> tuple[str, ...]:
    """Bands that states are told from; none for radar, where ``clouds`` is empty.

    Raises
    ------
    ConfigError
        When ``clouds`` says it in no known way.
    """
    if not clouds:
        return ()
    known = {"scl": {"from"}, "probability": {"from", "cloud_max", "snow_max"}}.get(clouds.get("from", ""))
    if known is None or known != set(clouds):
        raise ConfigError(
            f"Clouds {dict(clouds)!r}: write {{'from': 'scl'}}, or {{'from': 'probability', 'cloud_max': 1, "
            "'snow_max': 1}."
        )
    return STATE_BANDS[clouds["from"]]


def tell_states(planes: Mapping[str, NDArray[Any]], clouds: Mapping[str, Any], valid: NDArray[np.bool_]) -> States:
    """uint8 `PixelState` ``(y, x)``: `NODATA` where not ``valid``, `CLEAR` elsewhere if nothing tells of clouds.

    Parameters
    ----------
    planes
        Scene classes, or probabilities of cloud and of snow from 0 to 100: ``(y, x)`` by name.
    clouds
        As in `landweave.ports.SeriesSource.clouds`.
    valid
        bool ``(y, x)``; True where every band holds a measurement.
    """
    if not clouds:
        state = np.full(valid.shape, PixelState.CLEAR, np.uint8)
    elif clouds["from"] == "scl":
        state = _STATE_OF_CLASS[np.minimum(planes["SCL"], 255)]
    else:
        state = np.full(valid.shape, PixelState.CLEAR, np.uint8)
        state[planes["CLOUD"] > clouds["cloud_max"]] = PixelState.CLOUD
        # Of both it is snow: where a window finds no date without clouds, it asks for one without snow.
        state[planes["SNOW"] > clouds["snow_max"]] = PixelState.SNOW
    state[~valid] = PixelState.NODATA
    return state
