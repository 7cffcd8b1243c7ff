"""Pictures in memory: JPEG, and a colour for each pixel of an image in other units."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

Pixels = NDArray[np.uint8]

_SHOWN_PERCENTILES = (2, 98)

_JPEG_QUALITY = 80


def jpeg_bytes(pixels: Pixels) -> bytes:
    """A JPEG of ``(3, y, x)`` red, green and blue."""
    count, height, width = pixels.shape
    with MemoryFile() as memory, warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a picture lies nowhere
        options: dict[str, Any] = {"driver": "JPEG", "dtype": "uint8", "quality": _JPEG_QUALITY}
        with memory.open(count=count, height=height, width=width, **options) as dataset:
            dataset.write(pixels)
        content: bytes = memory.read()
    return content


@dataclass(frozen=True, kw_only=True)
class Stretch:
    """Which values are black and which are white, by band; bytes are shown as they are.

    Attributes
    ----------
    black, white
        float64 ``(band, 1, 1)``.
    """

    black: NDArray[np.float64]
    white: NDArray[np.float64]

    @classmethod
    def of(cls, values: NDArray[Any], valid: NDArray[np.bool_]) -> Stretch:
        """The stretch that shows all but the darkest and the brightest 2 % of the pixels.

        Parameters
        ----------
        values
            ``(band, y, x)``.
        valid
            bool ``(y, x)``.
        """
        known = values[:, valid]
        if values.dtype == np.uint8 or not known.size:
            limits = np.tile([[0.0], [255.0]], (1, len(values)))
        else:
            limits = np.percentile(known, _SHOWN_PERCENTILES, axis=1)
        black, white = limits[..., None, None].astype(np.float64)
        return cls(black=black, white=np.maximum(white, black + 1e-9))

    def apply(self, values: NDArray[Any]) -> Pixels:
        """Three bands of bytes ``(3, y, x)``; one band is shown in grey.

        Parameters
        ----------
        values
            ``(band, y, x)``, one band or three.
        """
        shown = values
        if values.dtype != np.uint8:
            share = (values - self.black) / (self.white - self.black)
            shown = np.nan_to_num(np.clip(share, 0, 1) * 255).round().astype(np.uint8)
        return np.broadcast_to(shown, (3, *shown.shape[1:])) if len(shown) == 1 else shown
