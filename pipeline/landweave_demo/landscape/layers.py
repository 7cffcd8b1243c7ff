"""The layers that a landscape is drawn on: what covers each pixel, how high, and which tree stands above it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave_demo.landscape.grid import Floats, LandscapeGrid
from landweave_demo.landscape.materials import Palette


@dataclass(frozen=True, kw_only=True)
class LandscapeLayers:
    """Cover of every pixel; the arrays are filled in place.

    Attributes
    ----------
    grid
        Pixels of all arrays, (y, x).
    palette
        Materials that the values of ``material`` and ``crown_material`` count in.
    material
        uint16 index of the material on the ground.
    truth_material
        uint16 index of the material that the land-cover truth is drawn from: what cars, markings and bales stand on.
    height_m
        Metres above the terrain, without trees.
    texture
        Relative brightness of furrows, rows and tracks, about -1..1.
    crown_material
        uint16 index of the material of the tree above; 0 where there is none.
    canopy_m
        Height of the tree above in metres, 0 where there is none.
    """

    grid: LandscapeGrid
    palette: Palette
    material: NDArray[np.uint16]
    truth_material: NDArray[np.uint16]
    height_m: Floats
    texture: Floats
    crown_material: NDArray[np.uint16]
    canopy_m: Floats


def empty_layers(grid: LandscapeGrid, palette: Palette) -> LandscapeLayers:
    """Return layers of zeros.

    Parameters
    ----------
    grid
        Pixels of the landscape.
    palette
        Materials of the landscape; grows while it is drawn.
    """
    return LandscapeLayers(
        grid=grid,
        palette=palette,
        material=np.zeros(grid.shape, np.uint16),
        truth_material=np.zeros(grid.shape, np.uint16),
        height_m=np.zeros(grid.shape, np.float32),
        texture=np.zeros(grid.shape, np.float32),
        crown_material=np.zeros(grid.shape, np.uint16),
        canopy_m=np.zeros(grid.shape, np.float32),
    )
