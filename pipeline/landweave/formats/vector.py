"""Features of vector files, in the CRS of a grid."""

from __future__ import annotations

import json
import re
import struct
import warnings
import zipfile
import zlib
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import pyogrio
import shapely
from numpy.typing import NDArray
from pyogrio.errors import DataLayerError, DataSourceError, FeatureError, FieldError, GeometryError
from pyproj.exceptions import CRSError, ProjError

from landweave.core.crs import usable_crs
from landweave.core.errors import InputError
from landweave.core.polygons import valid_shapes
from landweave.core.words import counted

_DAMAGE = (
    DataSourceError,
    DataLayerError,
    FieldError,
    FeatureError,
    GeometryError,
    shapely.errors.ShapelyError,
    UnboundLocalError,
)
"""The last is what pyogrio raises where GDAL gives a CRS without a text."""

_REFERENCES = (b"<OGRVRT", b"<VRTDataset", b"<OGRWFS", b"<OGRCSW", b"<GDAL_WMS", b"gdal_streamed_alg")
"""What is in texts that are no data themselves: virtual layers, services, and commands of GDAL."""

_HEAD, _MOST_PARTS = 2**16, 1000
"""Bytes of a file, and files in an archive, that are searched for them."""

_PARQUET = (".parquet", ".geoparquet")
_FID = "landweave_fid"
"""Name of the number of a row that a GeoPackage has: files have a column `fid`, of text or with repeats."""

_POLYGON = shapely.GeometryType.POLYGON
_LARGEST_DEGREES = (360, 90)
"""Longitude (an outline may go on beyond the 180th meridian) and latitude."""


def read_features(
    path: str,
    *,
    setting: str,
    crs: str | None,
    layer: str | None = None,
    where: str | None = None,
    columns: Sequence[str] | None = (),
) -> Any:
    """Features of a vector file in ``crs``, as a GeoDataFrame; some may have no geometry.

    Parameters
    ----------
    path
        Anything GDAL reads.
    setting
        Section of the configuration that names the file: errors say which of its keys to set.
    crs
        CRS of the geometries returned; None for the file's own, as `landweave.core.crs.canonical_crs` gives it.
    layer
        Needed where the file has several.
    where
        SQL filter on the columns of the file, in SQLite's dialect whatever the format.
    columns
        Columns that are kept beside the geometry; None for all.

    Raises
    ------
    InputError
        When the file is missing, damaged or no vector file, the layer is not there or has to be named, its CRS is
        missing or contradicts its coordinates, it lacks a column, or the filter is wrong or matches nothing (columns
        and number of features are named).
    """
    if path.lower().endswith(_PARQUET):
        with _geopackage_of(path) as (copy, renamed):
            asked = None if columns is None else [renamed.get(name, name) for name in columns]
            frame = read_features(copy, setting=setting, crs=crs, layer=layer, where=where, columns=asked)
        return frame.rename(columns={new: old for old, new in renamed.items() if columns is None or old in columns})
    with _readable(path):
        name = _layer_of(path, layer, setting)
        info = pyogrio.read_info(path, layer=name, force_feature_count=True)
        _check_whole(path, name, info["features"])
    fields = [str(field) for field in info["fields"]]
    contents = f"The layer has {info['features']} features with the columns {fields}."
    if missing := [column for column in columns or () if column not in fields]:
        raise InputError(f"{path} has no column {missing[0]!r}; its columns are {fields}: set {setting}.column.")
    known = _crs_of(path, name, info)
    query = {"layer": name} if where is None else _filtered(name, where)
    with _readable(path), _understood(f"{path}: the filter {setting}.where {where!r}", contents, where):
        _check_names(where or "", {*fields, info["fid_column"], info["geometry_name"], "rowid", "GEOMETRY"})
        frame = pyogrio.read_dataframe(path, columns=None if columns is None else list(columns), **query)
    if frame.empty:
        raise InputError(f"{path}: 0 of {info['features']} features match {setting}.where {where!r}. {contents}")
    frame = frame.set_crs(known, allow_override=True)
    _check_coordinates(frame, path)
    return frame if crs is None else _in_crs(frame, path, crs)


@contextmanager
def named_as(copy: str, path: str) -> Iterator[None]:
    """Within the block an `InputError` that names a copy of a file names the file instead.

    Parameters
    ----------
    copy, path
        Of the copy, and of the file as it was named.
    """
    try:
        yield
    except InputError as error:
        raise type(error)(str(error).replace(copy, path)) from error


@contextmanager
def _geopackage_of(path: str) -> Iterator[tuple[str, dict[str, str]]]:
    """A GeoParquet file as a GeoPackage, and the columns that have another name in it.

    Builds of GDAL from PyPI do not read the former. The latter has columns of its own, whose names the file may use.
    """
    import geopandas  # and Arrow, for this alone

    if not Path(path).is_file():
        raise InputError(f"Vector file {path} does not exist.")
    with TemporaryDirectory(prefix="landweave-") as folder:
        copy = str(Path(folder) / Path(path).with_suffix(".gpkg").name)
        try:
            plain, renamed = _plain(geopandas.read_parquet(path))
            plain.to_file(copy, driver="GPKG", FID=_FID, GEOMETRY_NAME=plain.active_geometry_name)
        except Exception as error:
            raise InputError(f"{path} cannot be read as GeoParquet: {error}.") from error
        with named_as(copy, path):
            yield copy, renamed


def _plain(frame: Any) -> tuple[Any, dict[str, str]]:
    """A GeoDataFrame that a GeoPackage can hold, and the new names of columns that differ from others in case alone."""
    own, renamed, every = frame.active_geometry_name, dict[str, str](), {name.casefold() for name in frame}
    seen = {own.casefold()}
    for name in frame.columns.drop(own):
        if name.casefold() in seen:
            free = (f"{name}_{number}" for number in count(2))
            renamed[name] = next(each for each in free if each.casefold() not in every | seen)
        seen.add(renamed.get(name, name).casefold())
    kinds = {name: frame[name].dtype for name in frame.columns.drop(own)}
    odd = [name for name, kind in kinds.items() if str(kind) == "geometry" or kind.kind == "m"]
    texts = {name: frame[name].astype(str).where(frame[name].notna()) for name in odd}
    return frame.assign(**texts).rename(columns=renamed), renamed


def _layer_of(path: str, layer: str | None, setting: str) -> str:
    """Return ``layer``, or the only one that has geometries."""
    if "://" not in path and not path.startswith("/vsi") and not Path(path).exists():
        raise InputError(f"Vector file {path} does not exist.")
    _refuse_references(path)
    try:
        listed = pyogrio.list_layers(path)
    except DataSourceError as error:
        raise InputError(f"{path} is not a vector file that GDAL can open: {error}.") from error
    names = [str(name) for name, kind in listed if kind is not None]
    if not names:
        raise InputError(f"{path} has no layer with geometries.")
    if layer is None and len(names) == 1:
        return names[0]
    if layer not in names:
        raise InputError(
            f"{path} has {counted(len(names), 'layer')}, {names}, and {layer!r} is asked: name one of them as "
            f"{setting}.layer."
        )
    return layer


def _refuse_references(path: str) -> None:
    """Refuse a file, or one in a zip archive, whose text makes GDAL open others: of this machine, or on the web."""
    file, heads = Path(path), list[bytes]()
    try:
        if zipfile.is_zipfile(file):
            with zipfile.ZipFile(file) as archive:
                for part in archive.infolist()[:_MOST_PARTS]:
                    with archive.open(part) as content:
                        heads.append(content.read(_HEAD))
        elif file.is_file():
            with file.open("rb") as content:
                heads.append(content.read(_HEAD))
    except (OSError, EOFError, RuntimeError, ValueError, zipfile.BadZipFile, zlib.error) as error:
        raise InputError(f"{path} cannot be read: {error}. Copy it again.") from error
    found = next((mark for head in heads for mark in _REFERENCES if mark in head), None)
    if found is not None:
        raise InputError(f"{path} holds no features: its text ({found.decode()}) leads to other files. Name those.")


@contextmanager
def _readable(path: str) -> Iterator[None]:
    """Turns what GDAL and GEOS say of a damaged file into an `InputError`."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of measures that are left out and numbers that are none: checked below
            yield
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}: its text is not in {error.encoding}, as it says ({error.reason}): write it again in UTF-8, or "
            "correct the .cpg beside a Shapefile."
        ) from error
    except _DAMAGE as error:
        raise InputError(
            f"{path} is damaged or cannot be read: {error}. Write it again with closed outlines."
        ) from error
    except CRSError as error:
        raise InputError(f"{path} has a CRS that cannot be read ({error}): write a known one into the file.") from error


@contextmanager
def _understood(asked: str, contents: str, where: str | None) -> Iterator[None]:
    """Turns what SQLite says of a filter into an `InputError`; without a filter nothing is caught."""
    try:
        yield
    except (ValueError, DataLayerError, FieldError) as error:
        if where is None or isinstance(error, UnicodeDecodeError):
            raise
        raise InputError(
            f"{asked} is not understood ({str(error).rpartition('): ')[2].strip()}). {contents}"
        ) from error


def _filtered(layer: str, where: str) -> dict[str, str]:
    """The query of a filter, in one dialect for all formats.

    GDAL's own filters ignore the case of text in some formats, know no text column beside a number in others, and match
    nothing where the column is not read; within CASE, SQLite alone evaluates them.
    """
    quoted = layer.replace('"', '""')
    return {"sql": f'SELECT * FROM "{quoted}" WHERE CASE WHEN ({where}) THEN 1 ELSE 0 END', "sql_dialect": "SQLITE"}


def _check_names(where: str, known: set[str]) -> None:
    """Refuse an unknown column in double quotes, which SQLite takes for a text."""
    names = re.findall(r'"((?:[^"]|"")*)"', re.sub(r"'(?:[^']|'')*'", "", where))
    unknown = [name for name in names if name.casefold() not in {each.casefold() for each in known}]
    if unknown:
        raise ValueError(f"no such column: {unknown[0]}; text is written in single quotes")


def _check_whole(path: str, layer: str, features: int) -> None:
    """Refuse a file that ends early: some formats then give fewer features, or empty ones, and no error."""
    found = len(pyogrio.raw.read(path, layer=layer, columns=[], read_geometry=False, return_fids=True)[1])
    if found != features:
        raise InputError(f"{path} is damaged: {found} of its {features} features can be read. Copy it again.")
    file = Path(path)
    if file.suffix.lower() == ".shp" and file.is_file():
        size, stated = file.stat().st_size, 2 * struct.unpack(">i", file.read_bytes()[24:28])[0]
        if size < stated:
            raise InputError(f"{path} is damaged: it has {size} bytes of {stated}. Copy it again.")


def _crs_of(path: str, layer: str, info: Mapping[str, Any]) -> str:
    """CRS of a layer; of GeoJSON the one that it states, where GDAL would put WGS 84 in place of an unknown name."""
    if not info["crs"]:
        raise InputError(
            f"{path}, layer {layer!r}, has no CRS: write one into the file, or add the .prj of a Shapefile."
        )
    stated = _stated_in_geojson(path) if info["driver"] == "GeoJSON" else None
    known, problem = usable_crs(stated or info["crs"])
    if problem:
        named = str(stated or info["crs"])[:60]
        raise InputError(f"{path}, layer {layer!r}: {named!r} {problem}: write a known CRS into the file.")
    return known


def _stated_in_geojson(path: str) -> Any:
    """The name of the ``crs`` member of a GeoJSON file; None without one."""
    file = Path(path)
    if not file.is_file() or b'"crs"' not in (content := file.read_bytes()):
        return None
    try:
        member = json.loads(content).get("crs")
        properties = member["properties"] if member else {}
        return properties.get("name") or properties.get("code") if member else None
    except (ValueError, TypeError, KeyError, AttributeError):
        return "unreadable"


def _check_coordinates(frame: Any, path: str) -> None:
    """Refuse coordinates that are no numbers, or no degrees although the CRS is in degrees."""
    points = shapely.get_coordinates(frame.geometry.array)
    if not np.isfinite(points).all():
        raise InputError(f"{path} has coordinates that are no finite numbers: write it again.")
    largest = np.abs(points).max(axis=0, initial=0)
    if frame.crs.is_geographic and (largest > _LARGEST_DEGREES).any():
        raise InputError(
            f"{path} is in degrees by its CRS, {frame.crs.name} (that of GeoJSON which states none), and has "
            f"coordinates up to {largest[0]:.8g}, {largest[1]:.8g}: write the true CRS into the file."
        )


def _in_crs(frame: Any, path: str, crs: str) -> Any:
    try:
        moved = frame.to_crs(crs)
    except ProjError as error:
        raise InputError(f"{path} is in {frame.crs.name}, which does not lead to {crs[:60]}: {error}.") from error
    if not np.isfinite(shapely.get_coordinates(moved.geometry.array)).all():
        raise InputError(
            f"{path}: its outlines (bounds {tuple(frame.total_bounds)} in {frame.crs.name}) cannot be expressed in "
            f"{crs[:60]}: choose another CRS of the grid, or correct that of the file."
        )
    return moved


def polygons_of(frame: Any, path: str) -> NDArray[Any]:
    """What each feature has of polygons, valid and with two coordinates; None where it has none.

    Parameters
    ----------
    frame
        From `read_features`.
    path
        Its file.

    Raises
    ------
    InputError
        When no feature has a polygon, or one crosses itself too often.
    """
    try:
        parts, owner = valid_shapes(shapely.force_2d(frame.geometry.to_numpy())), np.arange(len(frame))
    except ValueError as error:
        raise InputError(f"{path}: {error}: correct it.") from error
    while (shapely.get_type_id(parts) > _POLYGON).any():
        parts, inner = shapely.get_parts(parts, return_index=True)
        owner = owner[inner]
    kept = (shapely.get_type_id(parts) == _POLYGON) & ~shapely.is_empty(parts)
    if not kept.any():
        flat = {"Polygon": "a polygon without an area", "MultiPolygon": "polygons without an area"}
        kinds = ", ".join(sorted({str(flat.get(kind, kind) or "without geometry") for kind in frame.geom_type}))
        raise InputError(f"{path}: none of the {counted(len(frame), 'feature')} that match is a polygon, but {kinds}.")
    found: NDArray[Any] = shapely.multipolygons(parts[kept], indices=owner[kept], out=np.full(len(frame), None))
    return found
