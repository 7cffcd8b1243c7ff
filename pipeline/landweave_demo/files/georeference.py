"""Georeference of the demo's landscape: Lambert-93 (EPSG:2154), pixels of 0.2 m."""

from __future__ import annotations

from affine import Affine

CRS = "EPSG:2154"

LEFT_PX, TOP_PX = 2_800_195, 31_400_365
"""Upper left corner in pixels of 0.2 m from the CRS origin: on no whole metre, and a little past a corner of the
lattice of windows, so that few of them reach beyond it."""

PIXELS_PER_M = 5
LEFT_M, TOP_M = LEFT_PX / PIXELS_PER_M, TOP_PX / PIXELS_PER_M
"""Upper left corner in metres."""


def north_up(left_m: float, top_m: float, pixel_m: float) -> Affine:
    """Return the transform of north-up pixels.

    Parameters
    ----------
    left_m, top_m
        Upper left corner in metres.
    pixel_m
        Side of a pixel in metres.
    """
    return Affine(pixel_m, 0.0, left_m, 0.0, -pixel_m, top_m)


def landscape_transform() -> Affine:
    """Return the transform of the landscape's pixels."""
    return north_up(LEFT_M, TOP_M, 1 / PIXELS_PER_M)
