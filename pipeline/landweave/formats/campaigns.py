"""When the aerial images were taken: the mosaic graph that comes with them, as a year for any ground."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any

import pyogrio
import shapely
from pyogrio.errors import DataLayerError, FieldError

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.formats.vector import layer_of


@dataclass(frozen=True)
class Campaigns:
    """Ground by the civil year in which it was flown over. Picklable.

    Attributes
    ----------
    ground
        Year to geometry, in the CRS of the grids that are asked about.
    """

    ground: Mapping[int, shapely.Geometry]

    @property
    def years(self) -> tuple[int, ...]:
        """All years, ascending."""
        return tuple(sorted(self.ground))

    @property
    def fingerprint_fields(self) -> dict[str, str]:
        """Digest of each year's ground, for the fingerprint."""
        return {
            str(year): sha256(shapely.to_wkb(shapely.normalize(self.ground[year]))).hexdigest() for year in self.years
        }

    def year_of(self, grid: Grid) -> int:
        """The year at the centre of ``grid``; of the nearest ground where none holds it, of two the earlier."""
        x0, y0, x1, y1 = grid.bounds
        centre = shapely.Point((x0 + x1) / 2, (y0 + y1) / 2)
        return min(self.years, key=lambda year: self.ground[year].distance(centre))


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
        Of the answer: the grid's.

    Raises
    ------
    InputError
        When the file or the column is missing, or a value in it does not begin with a year.
    """
    name = layer_of(path, layer)
    try:
        frame = pyogrio.read_dataframe(path, layer=name, columns=[column])
    except (ValueError, DataLayerError, FieldError) as error:
        raise InputError(f"{path}, layer {name!r}, cannot be read: {error}.") from error
    if column not in frame:
        fields = [str(field) for field in pyogrio.read_info(path, layer=name)["fields"]]
        raise InputError(f"{path} has no column {column!r}; its columns are {fields}.")
    if frame.crs is None:
        raise InputError(f"{path}, layer {name!r}, has no CRS: write one into the file.")
    years = frame[column].map(lambda value: _year(value, path, column))
    shapes = frame.geometry.to_crs(crs).make_valid()
    return Campaigns({int(year): shapes[years == year].union_all() for year in years.unique()})


def _year(value: Any, path: str, column: str) -> int:
    match = re.match(r"(1[89]|2[01])\d\d", str(value))
    if match is None:
        raise InputError(f"{path}: column {column!r} holds {value!r}, which does not begin with a year.")
    return int(match[0])
