"""Refuses reads that a source cannot give: other pixels than it was opened on, or bands that it does not have."""

from __future__ import annotations

from collections.abc import Sequence

from landweave.core.errors import ConfigError
from landweave.core.grid import Grid


def check_pixels(modality: str, own: Grid, grid: Grid) -> None:
    """Refuse a grid of other pixels, whatever its extent.

    Parameters
    ----------
    modality
        Name of the source.
    own
        Pixels that the source was opened on.
    grid
        Pixels that are to be read.

    Raises
    ------
    ConfigError
        With both grids.
    """
    if (own.crs, own.resolution, own.anchor_xy) != (grid.crs, grid.resolution, grid.anchor_xy):
        raise ConfigError(
            f"{modality} was opened on pixels of {float(own.resolution)} in {own.crs[:40]} from {own.anchor_xy}, read "
            f"on {float(grid.resolution)} in {grid.crs[:40]} from {grid.anchor_xy}."
        )


def check_bands(modality: str, own: Sequence[str], bands: Sequence[str]) -> None:
    """Refuse bands that a source does not have, and an empty list.

    Parameters
    ----------
    modality, own
        Name and bands of the source.
    bands
        Bands that are to be read.

    Raises
    ------
    ConfigError
        With the bands, and those there are.
    """
    missing = [band for band in bands if band not in own]
    if missing or not bands:
        raise ConfigError(f"{modality} has no band {missing or 'named'}: it has {list(own)}.")
