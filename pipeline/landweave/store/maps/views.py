"""A stored map as a reader sees it: lazy xarray datasets, whether its run goes on or has ended."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import asdict
from functools import partial
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  registers the `.rio` of every view
import xarray as xr
from numpy.typing import NDArray

from landweave.core.errors import InputError
from landweave.core.protocols import LEDGER_FIELDS
from landweave.core.pyramid import level_extent, level_grid
from landweave.store.common import parsing
from landweave.store.georeference import extent_to_json, grid_coordinates, grid_to_json
from landweave.store.lazy_array import Chunks, LazyArray, chunked, lazy_variable
from landweave.store.ledger_store import ZarrLedger
from landweave.store.maps.layout import class_attributes, level_path, pixel_attributes
from landweave.store.maps.store import open_store
from landweave.store.maps.template import MapTemplate
from landweave.store.objects import Target

_CREDITS = ("title", "license", "source")


def open_map(
    where: str | os.PathLike[str] | Target,
    level: int = 0,
    chunks: Chunks = None,
    storage_options: Mapping[str, Any] | None = None,
) -> xr.Dataset:
    """Return one level of a stored map; nothing but metadata and coordinates is read.

    The arrays are as they are stored, uint8 with 255 = nodata (``_FillValue``), neither masked nor scaled, so that
    codes stay integers; `xarray.decode_cf` masks and scales them. What is not mapped yet reads as 255: a view of a map
    whose run goes on shows each block as soon as it is written.

    Parameters
    ----------
    where
        A path, a URL, or a `Target`.
    level
        0 for the full resolution, 1 and above for overviews.
    chunks
        None for lazily indexed arrays; ``{}`` for dask arrays of one chunk a block; otherwise as
        `xarray.open_dataset` takes them.
    storage_options
        Of the object store, as `Target.parse` takes them.

    Returns
    -------
    xarray.Dataset
        As `map_dataset`; ``encoding`` has ``source`` and ``storage_options``.

    Raises
    ------
    InputError
        When there is no map, or it has no such level.

    Examples
    --------
    >>> landcover_map = open_map("landcover.zarr")
    >>> dict(landcover_map.sizes), list(landcover_map.data_vars)
    ({'y': 256, 'x': 256}, ['landcover', 'confidence'])
    >>> landcover_map.landcover.sel(x=802030, y=6284020, method="nearest").item()
    8
    """
    store = open_store(Target.parse(where, storage_options))
    if level and not 0 < level < len(store.grids):
        raise InputError(
            f"Level {level} of the map at {store.target} was asked for: it has levels 0 to {len(store.grids) - 1}."
        )
    above = store.at_level(level)
    arrays = {
        name: LazyArray(
            (*store.template.class_shape(name), *above.grid.shape),
            np.uint8,
            partial(store.opened.read, f"{level_path(level)}/{name}"),
        )
        for name in above.arrays
    }
    dataset = map_dataset(store.template, arrays, level)
    dataset.encoding = {"source": str(store.target), "storage_options": dict(store.target.storage_options)}
    return chunked(dataset, chunks, {"y": store.blocks.height, "x": store.blocks.width})


def map_dataset(template: MapTemplate, arrays: Mapping[str, LazyArray], level: int = 0) -> xr.Dataset:
    """Return a map as a dataset whose attributes say all that is known of it.

    Parameters
    ----------
    template
        What the map holds.
    arrays
        uint8 ``(y, x)``, or ``(class, y, x)`` for ``probability``, by name; 255 = nodata.
    level
        Of the arrays.

    Returns
    -------
    xarray.Dataset
        ``landcover``, and ``confidence`` (probability of the class shown x 250), ``probability`` and ``date_fallback``
        where the map has them, with pixel-centre coordinates, CRS and transform. Attributes, plain JSON values:
        ``legend`` (``name``, and ``classes`` with ``code``, ``name``, ``name_fr``, ``color`` and ``trained``),
        ``grid`` (exact), ``mapped`` (the rows and columns of it inside the bounds of the area), ``provenance``, and
        ``title``, ``license`` and ``source`` where they are known.
    """
    grid = level_grid(template.grid, level)
    dataset = xr.Dataset(coords=grid_coordinates(grid))
    if "probability" in arrays:
        codes = np.asarray(template.legend.codes, np.uint8)
        dataset = dataset.assign_coords({"class": ("class", codes, class_attributes(template.legend))})
    for name, array in arrays.items():
        attributes = pixel_attributes(name, template.legend)
        dataset[name] = lazy_variable(template.dimensions(name), array, attributes, {"grid_mapping": "spatial_ref"})
    dataset.attrs = {
        "Conventions": "CF-1.11",
        **{name: template.attributes[name] for name in _CREDITS if name in template.attributes},
        "legend": asdict(template.legend),
        "grid": grid_to_json(grid),
        "mapped": extent_to_json(level_extent(template.grid, template.mapped_extent, level)),
        "provenance": dict(template.attributes),
    }
    return dataset


def open_ledger(where: str | os.PathLike[str] | Target, storage_options: Mapping[str, Any] | None = None) -> xr.Dataset:
    """Return the state of each block of a map, as it stands when it is loaded.

    Parameters
    ----------
    where
        A path, a URL, or a `Target` of the map.
    storage_options
        Of the object store, as `Target.parse` takes them.

    Returns
    -------
    xarray.Dataset
        The fields of `landweave.core.protocols.LEDGER_FIELDS` over ``(block_y, block_x)``, the ground coordinates of
        block centres, lazily indexed; ``reason`` is text.

    Raises
    ------
    InputError
        When the map has no ledger.

    Examples
    --------
    >>> open_ledger("landcover.zarr").state.dims
    ('block_y', 'block_x')
    """
    target = Target.parse(where, storage_options)
    ledger = ZarrLedger(target=target)
    attributes = ledger.attributes
    if attributes is None:
        raise InputError(f"{target} has no ledger of a map. Was the run started?")
    with parsing(f"{target}/{ledger.path}"):
        axes = {axis: (axis, ledger.read(axis), ledger.open(axis).attrs.asdict()) for axis in ("block_y", "block_x")}
        dataset = xr.Dataset(coords={**axes, "array": list(attributes["arrays"])})
        for name in LEDGER_FIELDS:
            dataset[name] = _field(ledger, name)
    dataset.encoding = {"source": str(target), "storage_options": dict(target.storage_options)}
    return dataset


def _field(ledger: ZarrLedger, name: str) -> xr.Variable:
    stored = ledger.open(name)
    names, attributes = stored.metadata.dimension_names, stored.attrs.asdict()
    if name == "reason":
        return lazy_variable(names[:2], LazyArray(stored.shape[:2], object, partial(_reasons, ledger)), attributes)
    return lazy_variable(names, LazyArray(stored.shape, stored.dtype, partial(ledger.read, name)), attributes)


def _reasons(ledger: ZarrLedger, key: tuple[Any, ...]) -> NDArray[Any]:
    """Return reasons, stored as ``(block_y, block_x, reason_byte)``, as text ``(block_y, block_x)``."""
    raw = ledger.read("reason", (*key, slice(None)))
    texts = np.empty(raw.shape[:-1], dtype=object)
    for index in np.ndindex(texts.shape):
        texts[index] = raw[index].tobytes().rstrip(b"\0").decode("utf-8", errors="replace")
    return texts
