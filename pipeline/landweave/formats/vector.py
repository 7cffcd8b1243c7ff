"""Features of vector files, in the CRS of a grid."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FieldError

from landweave.core.crs import usable_crs
from landweave.core.errors import InputError


def read_features(
    path: str, *, crs: str, layer: str | None = None, where: str | None = None, columns: Sequence[str] = ()
) -> Any:
    """Features of a vector file in ``crs``, as a GeoDataFrame.

    Parameters
    ----------
    path
        Anything GDAL reads.
    crs
        CRS of the geometries returned.
    layer
        Needed where the file has several.
    where
        SQL filter on the columns of the file.
    columns
        Columns that are kept beside the geometry.

    Raises
    ------
    InputError
        When the file is missing or no vector file, the layer is not there or has to be named, it has no CRS or lacks
        a column, or the filter is wrong or matches nothing (columns and number of features are named).
    """
    name = _layer_of(path, layer)
    info = pyogrio.read_info(path, layer=name)
    fields = [str(field) for field in info["fields"]]
    contents = f"The layer has {info['features']} features with the columns {fields}."
    if not info["crs"]:
        raise InputError(f"{path}, layer {name!r}, has no CRS: write one into the file.")
    stated, problem = usable_crs(info["crs"])
    if problem:
        raise InputError(f"{path}, layer {name!r}, {problem}: write a known CRS into the file.")
    if missing := [column for column in columns if column not in fields]:
        raise InputError(f"{path} has no column {missing[0]!r}; its columns are {fields}.")
    try:
        frame = pyogrio.read_dataframe(path, layer=name, where=where, columns=list(columns))
    except (ValueError, DataLayerError, FieldError) as error:
        raise InputError(f"{path}: the filter {where!r} is not understood ({error}). {contents}") from error
    if frame.empty:
        raise InputError(f"{path}: 0 of {info['features']} features match {where!r}. {contents}")
    return frame.set_crs(stated, allow_override=True).to_crs(crs)


def _layer_of(path: str, layer: str | None) -> str:
    """Return ``layer``, or the only one there is."""
    if "://" not in path and not path.startswith("/vsi") and not Path(path).exists():
        raise InputError(f"Vector file {path} does not exist.")
    try:
        layers = [str(name) for name in pyogrio.list_layers(path)[:, 0]]
    except DataSourceError as error:
        raise InputError(f"{path} is not a vector file that GDAL can open: {error}.") from error
    if layer is None and len(layers) == 1:
        return layers[0]
    if layer not in layers:
        raise InputError(f"{path} has {len(layers)} layers, {layers}, and {layer!r} is asked: name one of them.")
    return layer


def geometry_digest(geometry: shapely.Geometry) -> str:
    """SHA-256 of a geometry in its normal form, for the fingerprint."""
    return sha256(shapely.to_wkb(shapely.normalize(geometry))).hexdigest()
