"""The GeoPackage of a sample: a layer of points to interpret, and one of the strata that they were drawn from."""

from __future__ import annotations

import json
import os
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FieldError

from landweave.core.errors import InputError, LandweaveError, OutputError
from landweave.core.legend import Legend
from landweave.core.whole_files import whole_file
from landweave.formats.polygons import dated_alike

POINTS, STRATA = "sample", "strata"
"""Layers: points without the class of the map, and strata with their areas and the points of each."""


_UNREADABLE = (
    *(DataSourceError, DataLayerError, FieldError, OSError, LookupError, ValueError, TypeError, AttributeError),
    *(ArithmeticError, RecursionError),
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
    listed: dict[int, list[tuple[int, int, int]]] = {code: [] for code in sample.areas}
    for point in sample.points:
        listed[point.stratum].append((point.id, point.row, point.column))
    legend = json.dumps(asdict(sample.legend), ensure_ascii=False)
    return {
        "code": np.array(list(sample.areas), np.int32),
        "name": np.array([sample.legend.names[code] for code in sample.areas], object),
        "hectares": np.array(list(sample.areas.values()), np.float64),
        "pixels": np.array(list(sample.pixels.values()), np.int64),
        "points": np.array([json.dumps(listed[code]) for code in sample.areas], object),
        "legend": np.array([legend] * len(sample.areas), object),
        "source": np.array([sample.source] * len(sample.areas), object),
    }


def read_sample(path: str | os.PathLike[str]) -> SampleFile:
    """A sample as it came back from its interpreters; its points may be in any order.

    Raises
    ------
    InputError
        When the file or one of its layers cannot be read, or points are missing, twice, or foreign.
    """
    try:
        points = pyogrio.read_dataframe(path, layer=POINTS)
        if absent := {"id", "reference"} - {*points.columns}:
            raise InputError(f"Sample {path}: layer {POINTS} has no column {min(absent)!r}: leave both as they are.")
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
    legend = json.loads(strata["legend"].iloc[0])
    rows = [(row.code, row.hectares, json.loads(row.points)) for row in strata.itertuples()]
    pixels = {int(code): int(number) for code, number in zip(strata["code"], strata["pixels"], strict=True)}
    places = {each[0]: (code, each[1], each[2]) for code, _, listed in rows for each in listed}
    ids = [int(number) for number in points["id"]]
    _check_ids(ids, places, path)
    codes = {each["name"].lower(): each["code"] for each in legend["classes"]}
    found = []
    for number, reference, point in zip(ids, points["reference"], points.geometry, strict=True):
        stratum, row, column = places[number]
        given = _code(reference, codes, f"Sample {path}: reference {reference} of point {number}")
        x, y = (point.x, point.y) if point else (np.nan, np.nan)  # where it was drawn is in its row and column
        found.append(SamplePoint(id=number, stratum=stratum, x=x, y=y, row=row, column=column, reference=given))
    return SampleFile(
        points=tuple(sorted(found, key=lambda each: each.id)),
        areas={int(code): float(hectares) for code, hectares, _ in rows},
        pixels=pixels,
        legend=Legend.from_json(legend),
        crs=str(points.crs),
        source=str(strata["source"].iloc[0]),
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


def _code(value: Any, codes: Mapping[str, int], what: str) -> int | None:
    """A code as it came back, from a column of numbers or of text, or by its name; None where nothing was filled in."""
    if value is None or value != value or str(value).strip() == "":
        return None
    if (known := codes.get(str(value).strip().lower())) is not None:
        return known
    try:
        number = float(value)
    except ValueError:
        number = np.nan
    if not number.is_integer():
        raise InputError(
            f"{what} is no code and no name of a class: codes are whole numbers, 255 is cannot tell; classes are "
            f"{', '.join(f'{code} {name}' for name, code in codes.items())}."
        )
    return int(number)
