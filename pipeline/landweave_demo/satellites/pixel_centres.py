"""Positions of the pixels that a satellite image is computed for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, kw_only=True)
class PixelCentres:
    """Centres of square pixels, in metres from the upper left corner of the landscape.

    Attributes
    ----------
    x, y
        float64 (h, w), eastwards and southwards.
    pixel_m
        Side of a pixel.
    """

    x: NDArray[np.float64]
    y: NDArray[np.float64]
    pixel_m: float

    @classmethod
    def of_window(cls, left_m: float, top_m: float, *, size: int, pixel_m: float) -> PixelCentres:
        """Return the centres of a square window.

        Parameters
        ----------
        left_m, top_m
            Its upper left corner in metres.
        size
            Pixels a side.
        pixel_m
            Side of a pixel in metres.
        """
        offsets = (np.arange(size) + 0.5) * pixel_m
        y, x = np.meshgrid(top_m + offsets, left_m + offsets, indexing="ij")
        return cls(x=x, y=y, pixel_m=pixel_m)
