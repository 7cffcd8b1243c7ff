"""What a map is compared with: label rasters or polygons, on the map's pixels."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import shapely
from numpy.typing import NDArray

from landweave.core.crosswalk import LARGEST_SOURCE, Crosswalk
from landweave.core.errors import InputError, ReadError
from landweave.core.grid import Grid
from landweave.core.legend import NODATA, given_code, plain_name
from landweave.formats.area import PolygonArea
from landweave.formats.vector import polygons_of, read_features
from landweave.sources.mosaic.source import MosaicSource

Codes = NDArray[np.uint8]


@dataclass(frozen=True, kw_only=True)
class Labels:
    """Files that a map is compared with.

    Attributes
    ----------
    files
        A raster, a folder, a glob or several of them; or vector files.
    band
        Of the rasters, from 1.
    column
        Of the vector file: codes, or names of classes. Rasters are read where there is none.
    layer
        Of the vector file; needed where it has several.
    crosswalk
        From their codes to those of the classes that are compared; None where they are the same.
    storage_options
        Of the object store that holds the files; never shown.

    Examples
    --------
    >>> Labels(files=["north.tif", "south.tif"]).paths
    ('north.tif', 'south.tif')
    """

    files: str | Path | Sequence[str | Path]
    band: int = 1
    column: str | None = None
    layer: str | None = None
    crosswalk: Crosswalk | str | Path | None = None
    storage_options: Mapping[str, Any] = field(default_factory=dict, repr=False)

    @property
    def paths(self) -> tuple[str, ...]:
        """The files as they were named."""
        return tuple(map(str, [self.files] if isinstance(self.files, str | Path) else self.files))

    def __str__(self) -> str:
        first, *others = self.paths
        return f"{first} and {len(others)} more" if others else first


class Reference(Protocol):
    """Class codes on the pixels of a map. Picklable."""

    def touches(self, grid: Grid) -> bool:
        """Whether it may have a class on ``grid``; reads no pixel."""

    def read(self, grid: Grid) -> Codes:
        """Codes on exactly ``grid``, uint8 ``(y, x)``; 255 where there is none.

        Raises
        ------
        ReadError
            When a file cannot be read, or holds what is no code.
        """

    @property
    def notes(self) -> tuple[str, ...]:
        """What a person should know of it: how it came onto the map's pixels, above all."""


@dataclass(frozen=True, kw_only=True)
class RasterReference:
    """Label rasters, pasted where they lie on the map's pixels and read by the nearest pixel elsewhere.

    Attributes
    ----------
    source
        One band of codes, opened with the kernel ``nearest`` on the pixels of the map.
    table
        uint8 ``(256,)`` or longer: the code that each code becomes, 255 for none.
    known
        Codes that a crosswalk lists: no other may be there. None without a crosswalk.
    remarks
        Further `notes`.
    """

    source: MosaicSource
    table: Codes
    known: frozenset[int] | None = None
    remarks: tuple[str, ...] = ()

    def touches(self, grid: Grid) -> bool:
        """See `Reference`."""
        return bool(self.source.files(grid))

    def read(self, grid: Grid) -> Codes:
        """See `Reference`."""
        raster = self.source.read(grid, self.source.bands)
        values, valid = raster.values[0], raster.valid
        if odd := _no_codes(values[valid], _largest_code(self.known)):
            advice = f"codes are whole numbers {_code_range(self.known)}, 255 is nodata."
            advice += "" if self.known else " A crosswalk brings larger ones to the classes."
            raise ReadError(f"Labels of {self._files(grid)} hold {odd[0]:g}: {advice}")
        codes = np.where(valid, values, NODATA).astype(np.uint16)
        if self.known is not None and (unlisted := {*np.unique(codes).tolist()} - self.known - {NODATA}):
            raise ReadError(f"Labels of {self._files(grid)} hold code {min(unlisted)}, which {_UNLISTED}")
        return self.table[codes]

    def _files(self, grid: Grid) -> str:
        return ", ".join(file.id for file in self.source.files(grid)[:3])

    @property
    def notes(self) -> tuple[str, ...]:
        """See `Reference`."""
        facts = self.source.describe()
        how = "lie on the map's pixels" if facts["alignment"] == "paste" else "are read by their nearest pixel"
        return f"labels {how} ({facts['reason']})", *self.file_notes

    @property
    def file_notes(self) -> tuple[str, ...]:
        """Those of `notes` that hold on any pixels."""
        return tuple(f"labels: {note}" for note in (*self.source.describe()["notes"], *self.remarks))


_UNLISTED = "their crosswalk does not list: add it to source_codes of a class, or to left_out."


def _largest_code(known: frozenset[int] | None) -> int:
    return NODATA if known is None else LARGEST_SOURCE


def _code_range(known: frozenset[int] | None) -> str:
    return f"from 0 to {254 if known is None else LARGEST_SOURCE}"


def _no_codes(values: NDArray[Any], largest: int) -> list[float]:
    wrong = (values < 0) | (values > largest) | (values != np.floor(values))
    return [float(each) for each in values[wrong][:1]]


@dataclass(frozen=True, kw_only=True)
class PolygonReference:
    """Polygons by class; a pixel is of the class of the polygons that hold its centre.

    Attributes
    ----------
    areas
        The polygons of each code, in the CRS of the map.
    notes
        What a person should know.
    """

    areas: Mapping[int, PolygonArea]
    notes: tuple[str, ...] = ()

    def touches(self, grid: Grid) -> bool:
        """See `Reference`."""
        box = shapely.box(*grid.bounds)
        return any(area.geometry.intersects(box) for area in self.areas.values())

    def read(self, grid: Grid) -> Codes:
        """See `Reference`; 255 where polygons of two classes overlap, which says nothing."""
        codes, claims = np.full(grid.shape, NODATA, np.uint8), np.zeros(grid.shape, np.uint8)
        box = shapely.box(*grid.bounds)
        for code, area in self.areas.items():
            if area.geometry.intersects(box):
                inside = area.mask(grid)
                codes[inside] = code
                claims += inside
        codes[claims > 1] = NODATA
        return codes


def _features(labels: Labels, files: Sequence[str], crs: str) -> Iterator[tuple[str, Any, Any]]:
    """File, value and polygon of every feature of all files."""
    column = str(labels.column)
    for path in files:
        frame = read_features(path, setting="labels", layer=labels.layer, columns=[column], crs=crs)
        yield from ((path, *each) for each in zip(frame[column], polygons_of(frame, path), strict=True))


def read_polygons(
    labels: Labels,
    files: Sequence[str],
    crs: str,
    *,
    codes: Mapping[str, int],
    table: Codes,
    known: frozenset[int] | None = None,
) -> PolygonReference:
    """Polygons of vector files by the class in a column.

    Parameters
    ----------
    labels
        Their column and layer.
    files
        The files on disk.
    crs
        Of the map.
    codes
        Code of each class by its names, as `landweave.core.legend.plain_name` gives them.
    table, known
        As of `RasterReference`.

    Raises
    ------
    InputError
        When a value is neither a code nor the name of a class, or the crosswalk does not list it.
    """
    column = str(labels.column)
    parts: dict[int, list[shapely.Geometry]] = {}
    for path, value, shape in _features(labels, files, crs):
        code = codes.get(plain_name(value))  # a name is of the classes that the crosswalk leads to
        if code is None:
            stated = _stated_code(value, f"{path}: column {column!r}", codes, known)
            code = int(table[stated])
        if shape is not None and code != NODATA:
            parts.setdefault(code, []).append(shape)
    areas = {code: PolygonArea(shapely.union_all(shapes)) for code, shapes in sorted(parts.items())}
    return PolygonReference(areas=areas, notes=tuple(_overlap_notes(areas)))


def _stated_code(value: Any, where: str, names: Collection[str], known: frozenset[int] | None) -> int:
    """A code as a column holds it; an error where it is none, or the crosswalk does not list it."""
    code = given_code(value, {}, largest=_largest_code(known))
    if code is None:
        listed = ", ".join(names)
        raise InputError(
            f"{where} holds {value!r}, neither a code {_code_range(known)} nor a class: {listed}. 255 is none."
        )
    if known is not None and code not in {*known, NODATA}:
        raise InputError(f"{where} holds code {code}, which {_UNLISTED}")
    return code


def _overlap_notes(areas: Mapping[int, PolygonArea]) -> Iterator[str]:
    shared = (
        sum(area.geometry.area for area in areas.values())
        - shapely.union_all([area.geometry for area in areas.values()]).area
    )
    if shared > 1:
        yield f"labels: polygons of different classes overlap on about {shared:,.0f} m²: left out there"
