"""The site of a landscape while it is drawn: its parcels, their use, and the layers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave_demo.landscape.grid import LandscapeGrid
from landweave_demo.landscape.land_use import LandUse, Parcel
from landweave_demo.landscape.layers import LandscapeLayers
from landweave_demo.landscape.noise import generator
from landweave_demo.landscape.parcels import ParcelLayout, ParcelRaster


@dataclass(frozen=True, kw_only=True)
class Site:
    """A landscape while it is drawn.

    Attributes
    ----------
    seed
        Of all random streams.
    layout, raster
        The parcels as polygons, and on the pixels.
    parcels
        Use and crop of each polygon, in order.
    layers
        Drawn on in place.
    """

    seed: int
    layout: ParcelLayout
    raster: ParcelRaster
    parcels: tuple[Parcel, ...]
    layers: LandscapeLayers

    @property
    def grid(self) -> LandscapeGrid:
        """Pixels of the landscape."""
        return self.layers.grid

    def random(self, *path: int) -> np.random.Generator:
        """Random stream of one part of the landscape."""
        return generator(self.seed, *path)

    def has_use(self, *uses: LandUse) -> NDArray[np.bool_]:
        """Whether a pixel's parcel has one of the uses, bool (y, x)."""
        table = np.array([parcel.use in uses for parcel in self.parcels] + [False])
        return np.asarray(table[self.raster.parcel_index])
