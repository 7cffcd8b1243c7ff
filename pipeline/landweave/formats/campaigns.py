"""Years in which the aerial images were acquired, from the mosaic graph that is delivered with them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import shapely

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.polygons import geometry_digest

# 2021, 2021-07-14, 20210714, 20210714T1200; not 18003, which is the number of something else.
_YEAR = re.compile(r"((?:1[89]|2[01])\d\d)(?:(?:0[1-9]|1[0-2])(?:[0-3]\d(?:\d{6})?)?)?(?:\D.*)?", re.DOTALL)


@dataclass(frozen=True)
class Campaigns:
    """Areas by the civil year of their aerial images. Picklable.

    Attributes
    ----------
    areas
        Polygons by year, in the CRS of the grids they are compared with.
    """

    areas: Mapping[int, shapely.Geometry]

    @property
    def years(self) -> tuple[int, ...]:
        """All years, ascending."""
        return tuple(sorted(self.areas))

    @property
    def fingerprint_fields(self) -> dict[str, str]:
        """Digest of each year's area."""
        return {str(year): geometry_digest(self.areas[year]) for year in self.years}

    def year_of(self, grid: Grid) -> int:
        """The year whose area is nearest to the centre of ``grid``; the earlier of two that are as near."""
        x0, y0, x1, y1 = grid.bounds
        centre = shapely.Point((x0 + x1) / 2, (y0 + y1) / 2)
        return min(self.years, key=lambda year: self.areas[year].distance(centre))


def read_campaigns(path: str, *, column: str, layer: str | None = None, crs: str) -> Campaigns:
    """The campaigns of a mosaic graph: polygons with the date or the year of their image in a column.

    Parameters
    ----------
    path
        Anything GDAL reads.
    column
        Dates, or text or numbers that begin with a year (``2021``, ``2021-07-14``, ``20210714``).
    layer
        Needed where the file has several.
    crs
        CRS of the areas, such as that of the grid.

    Raises
    ------
    InputError
        When the file or the column is missing, or a value in it does not begin with a year.
    """
    from landweave.formats.vector import polygons_of, read_features  # GeoPandas is slow to import

    frame = read_features(path, setting="year", layer=layer, columns=[column], crs=crs)
    shapes = polygons_of(frame, path)
    areas: dict[int, list[shapely.Geometry]] = {}
    for value, shape in zip(frame[column], shapes, strict=True):
        if shape is not None:  # no ground, so no window is of its year
            areas.setdefault(_year(value, path, column), []).append(shape)
    return Campaigns({year: shapely.union_all(shapes) for year, shapes in areas.items()})


def _year(value: Any, path: str, column: str) -> int:
    match = _YEAR.fullmatch(str(value))
    if match is None:
        raise InputError(f"{path}: column {column!r} holds {value!r}, which does not begin with a year.")
    return int(match[1])
