"""The GeoPackage of a sample: a layer of points to interpret, and one of the strata that they were drawn from."""

from __future__ import annotations

import json
import math
import os
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FieldError
from pyproj.exceptions import ProjError

from landweave.core.errors import InputError, LandweaveError, OutputError
from landweave.core.grid import HECTARE_M2
from landweave.core.legend import Legend, given_code
from landweave.core.whole_files import whole_file
from landweave.formats.polygons import dated_alike

POINTS, STRATA = "sample", "strata"
"""Layers: points without the class of the map, and strata with their areas and the points of each."""

CANNOT_TELL = 255
"""Reference of a point that an interpreter cannot tell."""

_OTHER_CRS_M = 5.0
"""How far a point may lie from where it was drawn, where a GIS brought it to another CRS by ways of its own."""

_UNREADABLE = (
    *(DataSourceError, DataLayerError, FieldError, OSError, LookupError, ValueError, TypeError, AttributeError),
    *(ArithmeticError, RecursionError, ProjError),
)
"""What a file that somebody edited makes its readers raise."""


@dataclass(frozen=True, kw_only=True)
class SamplePoint:
    """A pixel of a sample: its stratum, its centre, its place in the map, and the interpreter's code; None before."""

    id: int
    stratum: int
    x: float
    y: float
    row: int
    column: int
    reference: int | None = None


@dataclass(frozen=True, kw_only=True)
class SampleFile:
    """A sample.

    Attributes
    ----------
    points
        In the order in which they are interpreted.
    areas, pixels
        Hectares and pixels of each stratum on the map.
    legend
        Of the map.
    crs
        Of the points.
    source
        What was sampled, in words.
    """

    points: tuple[SamplePoint, ...]
    areas: Mapping[int, float]
    pixels: Mapping[int, int]
    legend: Legend
    crs: str
    source: str


def write_sample(sample: SampleFile, path: Path, *, chips: str = "") -> Path:
    """Write a sample, and return its path.

    Parameters
    ----------
    sample
        What is written.
    path
        Of a GeoPackage that is not there yet: it may hold weeks of work.
    chips
        Folder of the chips, beside the file; empty without.

    Raises
    ------
    OutputError
        When a file is there, or none can be written.
    """
    refuse_place(str(path), is_there=path.exists())
    points = sample.points
    fields: dict[str, NDArray[Any]] = {
        "id": np.array([point.id for point in points], np.int64),
        "reference": np.array([point.reference or 0 for point in points], np.int32),
        "comment": np.array([""] * len(points), object),
        "chip": np.array([f"{chips}/{point.id:05d}.png" if chips else "" for point in points], object),
    }
    unknown = np.array([point.reference is None for point in points])
    centres = shapely.to_wkb(shapely.points([(point.x, point.y) for point in points]))
    try:
        with whole_file(path) as part, dated_alike():
            point = {"geometry": centres, "geometry_type": "Point", "crs": sample.crs}
            masks = [unknown if name == "reference" else None for name in fields]
            _write_layer(part, POINTS, fields, field_mask=masks, **point)
            _write_layer(part, STRATA, _strata_fields(sample), geometry=None, geometry_type=None, append=True)
    except (OSError, DataSourceError, DataLayerError) as error:
        raise OutputError(f"Cannot write the sample {path}: {error}.") from error
    return path


def refuse_place(name: str, *, is_there: bool) -> None:
    """Refuse a place of a sample where one is already, or whose name is not that of a GeoPackage.

    Parameters
    ----------
    name
        Path or URL.
    is_there
        Whether it holds anything.
    """
    if is_there:
        raise OutputError(f"{name} is there already: remove it, or name another file for the sample.")
    if not name.lower().endswith(".gpkg"):
        raise OutputError(
            f"A sample has two layers, and is written as a GeoPackage: name {name} with .gpkg at its end."
        )


def _write_layer(path: Path, layer: str, fields: Mapping[str, NDArray[Any]], **settings: Any) -> None:
    names, columns = list(fields), list(fields.values())
    pyogrio.raw.write(str(path), field_data=columns, fields=names, layer=layer, driver="GPKG", **settings)


def _strata_fields(sample: SampleFile) -> dict[str, NDArray[Any]]:
    listed: dict[int, list[tuple[int, int, int, float, float]]] = {code: [] for code in sample.areas}
    for point in sample.points:
        listed[point.stratum].append((point.id, point.row, point.column, point.x, point.y))
    legend = json.dumps(asdict(sample.legend), ensure_ascii=False)
    return {
        "code": np.array(list(sample.areas), np.int32),
        "name": np.array([sample.legend.names[code] for code in sample.areas], object),
        "hectares": np.array(list(sample.areas.values()), np.float64),
        "pixels": np.array(list(sample.pixels.values()), np.int64),
        "points": np.array([json.dumps(listed[code]) for code in sample.areas], object),
        "legend": np.array([legend] * len(sample.areas), object),
        "crs": np.array([sample.crs] * len(sample.areas), object),
        "source": np.array([sample.source] * len(sample.areas), object),
    }


def read_sample(path: str | os.PathLike[str]) -> SampleFile:
    """A sample as it came back from its interpreters; its points may be in any order.

    Raises
    ------
    InputError
        When the file or one of its layers cannot be read, or points are missing, twice, foreign, or moved.
    """
    try:
        points = pyogrio.read_dataframe(path, layer=POINTS)
        if absent := {"id", "reference", "geometry"} - {*points.columns}:
            raise InputError(f"Sample {path}: layer {POINTS} has no column {min(absent)!r}: leave it as it is.")
        strata = pyogrio.read_dataframe(path, layer=STRATA, read_geometry=False)
        return _parse_sample(points, strata, path)
    except LandweaveError:
        raise
    except _UNREADABLE as error:
        raise InputError(
            f"Sample {path} cannot be read: {error}. It needs its layers {POINTS} and {STRATA}, and a class's code "
            "for each reference."
        ) from error


def _parse_sample(points: Any, strata: Any, path: str | os.PathLike[str]) -> SampleFile:
    legend = Legend.from_json(json.loads(strata["legend"].iloc[0]))
    drawn = {
        number: SamplePoint(id=number, stratum=int(code), row=row, column=column, x=x, y=y)
        for code, listed in zip(strata["code"], strata["points"], strict=True)
        for number, row, column, x, y in json.loads(listed)
    }
    ids = [_whole(number, f"Sample {path}: id {number}") for number in points["id"]]
    _check_ids(ids, drawn, path)
    codes = legend.codes_by_name
    given = {
        number: _code(reference, codes, f"Sample {path}: reference {reference} of point {number}")
        for number, reference in zip(ids, points["reference"], strict=True)
    }
    sample = SampleFile(
        points=tuple(replace(drawn[number], reference=given[number]) for number in sorted(ids)),
        areas={int(code): float(hectares) for code, hectares in zip(strata["code"], strata["hectares"], strict=True)},
        pixels={int(code): int(number) for code, number in zip(strata["code"], strata["pixels"], strict=True)},
        legend=legend,
        crs=str(strata["crs"].iloc[0]),
        source=str(strata["source"].iloc[0]),
    )
    _check_places(sample, dict(zip(ids, _centres(points, sample.crs), strict=True)), points.crs, path)
    return sample


def _centres(points: Any, crs: str) -> Iterator[tuple[float, float]]:
    """Where points lie now, in the CRS that they were drawn in; not a number where the geometry was lost."""
    moved = points.geometry if points.crs is None else points.geometry.to_crs(crs)
    centres = shapely.centroid(moved.to_numpy())
    return zip(shapely.get_x(centres).tolist(), shapely.get_y(centres).tolist(), strict=True)


def _check_places(
    sample: SampleFile, now: Mapping[int, tuple[float, float]], crs: Any, path: str | os.PathLike[str]
) -> None:
    """Refuse references of points that lie elsewhere than they were drawn: of another pixel, or under another's id."""
    pixel = math.sqrt(sum(sample.areas.values()) * HECTARE_M2 / sum(sample.pixels.values()))
    limit = pixel if crs is None or crs == sample.crs else max(pixel, _OTHER_CRS_M)
    far = {
        point.id: math.dist((point.x, point.y), now[point.id])
        for point in sample.points
        if point.reference not in (None, CANNOT_TELL)
    }
    if moved := [number for number, metres in far.items() if metres > limit]:
        first = next(point for point in sample.points if point.id == moved[0])
        raise InputError(
            f"Sample {path}: points {moved[:5]}{' and more' if len(moved) > 5 else ''} lie up to "
            f"{max(far[number] for number in moved):,.1f} m from where they were drawn (point {first.id} at "
            f"{first.x:.2f}, {first.y:.2f}): they were moved, or numbered anew, and their references are of other "
            f"ground. Put them back, or give them {CANNOT_TELL}, cannot tell."
        )


def _check_ids(ids: Sequence[int], drawn: Collection[int], path: str | os.PathLike[str]) -> None:
    """Refuse points that are missing, foreign or twice there."""
    problems = {
        "missing": sorted({*drawn} - {*ids}),
        "not of those that were drawn": sorted({*ids} - {*drawn}),
        "there more than once": sorted(number for number, times in Counter(ids).items() if times > 1),
    }
    if listed := [f"points {numbers[:5]} are {what}" for what, numbers in problems.items() if numbers]:
        raise InputError(f"Sample {path}: {'; '.join(listed)}: every point that was drawn has to be there once.")


def _whole(value: Any, what: str) -> int:
    number = float(value)
    if not number.is_integer():
        raise InputError(f"{what} is no whole number: leave the column as it is.")
    return int(number)


def _code(value: Any, codes: Mapping[str, int], what: str) -> int | None:
    """A code as it came back, from a column of numbers or of text, or by its name; None where nothing was filled in."""
    if value is None or value != value or str(value).strip() == "":
        return None
    if (code := given_code(value, codes)) is None:
        raise InputError(
            f"{what} is no code and no name of a class: codes are whole numbers, {CANNOT_TELL} is cannot tell; "
            f"classes are {', '.join(f'{code} {name}' for name, code in codes.items())}."
        )
    return code
