"""A polygon as the ground to be mapped: which blocks it touches, which pixels it holds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import numpy as np
import shapely
from numpy.typing import NDArray

from landweave.core.grid import Bounds, Grid
from landweave.formats.vector import Area, rasterize_area


@dataclass(frozen=True)
class PolygonArea:
    """Ground inside ``geometry``, in the CRS of the grids it is asked about. Picklable."""

    geometry: Area

    @classmethod
    def of_bounds(cls, bounds: Sequence[float]) -> PolygonArea:
        """The rectangle ``(x0, y0, x1, y1)``."""
        return cls(shapely.box(*bounds))

    @property
    def bounds(self) -> Bounds:
        """``(x0, y0, x1, y1)``."""
        x0, y0, x1, y1 = (float(value) for value in self.geometry.bounds)
        return x0, y0, x1, y1

    @property
    def fingerprint_fields(self) -> str:
        """Digest of the polygon, for the fingerprint."""
        return sha256(shapely.to_wkb(shapely.normalize(self.geometry))).hexdigest()

    @cached_property
    def _prepared(self) -> Area:
        shapely.prepare(self.geometry)
        return self.geometry

    def touches(self, grid: Grid) -> bool:
        """Whether any ground of ``grid`` lies in the area."""
        return bool(shapely.intersects(self._prepared, shapely.box(*grid.bounds)))

    def mask(self, grid: Grid) -> NDArray[np.bool_]:
        """Pixels whose centre is inside, bool ``(y, x)``; the same answer for a pixel whatever the extent."""
        return rasterize_area(self.geometry, grid)
