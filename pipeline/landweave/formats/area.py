"""The polygon that limits what is mapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import shapely
from numpy.typing import NDArray

from landweave.core.grid import Bounds, Grid
from landweave.formats.vector import Area, geometry_digest, rasterize_area


@dataclass(frozen=True)
class PolygonArea:
    """A polygon in the CRS of the grids it is compared with: `landweave.core.protocols.Area`."""

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
        """Digest of the polygon."""
        return geometry_digest(self.geometry)

    @cached_property
    def _prepared(self) -> Area:
        shapely.prepare(self.geometry)
        return self.geometry

    def touches(self, grid: Grid) -> bool:
        """Whether ``grid`` and the polygon intersect."""
        return bool(shapely.intersects(self._prepared, shapely.box(*grid.bounds)))

    def mask(self, grid: Grid) -> NDArray[np.bool_]:
        """Pixels whose centre is inside: `landweave.formats.vector.rasterize_area`."""
        return rasterize_area(self.geometry, grid)
