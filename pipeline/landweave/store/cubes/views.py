"""A cube as a reader sees it: a lazy `xarray.DataTree`, dates ascending, whether its alignment goes on or has ended."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  registers the `.rio` of every view
import xarray as xr

from landweave.core.timeseries import Observation
from landweave.store.common import read_attributes
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.layout import pixel_attributes
from landweave.store.cubes.sources import CubeSeries, source_of
from landweave.store.cubes.store import open_cube_store
from landweave.store.georeference import grid_coordinates, grid_to_json
from landweave.store.lazy_array import Chunks, LazyArray, chunked, lazy_variable
from landweave.store.objects import Target


def open_cube(
    where: str | os.PathLike[str] | Target, chunks: Chunks = None, storage_options: Mapping[str, Any] | None = None
) -> xr.DataTree:
    """Return a stored cube, one group a modality; nothing but metadata and coordinates is read.

    A series has ``band_data (time, band, y, x)`` and ``pixel_class (time, y, x)``
    (`landweave.core.timeseries.PixelClass`), dates ascending, with the ``datatake_id`` of each and what is known of it
    (scenes, baseline, orbit) as coordinates; a raster ``band_data (band, y, x)`` and ``valid (y, x)``. Loading pixels
    of a tile that is not aligned raises `landweave.core.errors.ReadError`: they would look like ground not acquired.

    Parameters
    ----------
    where
        A path, a URL, or a `Target`.
    chunks
        None for lazily indexed arrays; ``{}`` for dask arrays of one chunk a date and tile; otherwise as
        `xarray.open_dataset` takes them.
    storage_options
        Of the object store, as `Target.parse` takes them.

    Returns
    -------
    xarray.DataTree
        ``encoding`` has ``source`` and ``storage_options``.

    Raises
    ------
    InputError
        When there is no cube.

    Examples
    --------
    >>> cube = open_cube("cube.zarr")
    >>> dict(cube["SENTINEL2_TS"].sizes)
    {'y': 64, 'x': 64, 'band': 2, 'time': 3}
    """
    target = Target.parse(where, storage_options)
    attributes = read_attributes(target)
    cube = open_cube_store(target, attributes)
    groups = {f"/{name}": _dataset(group, chunks) for name, group in cube.groups.items()}
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=attributes), **groups})
    tree.encoding |= {"source": str(target), "storage_options": dict(target.storage_options)}
    return tree


def _dataset(group: CubeGroup, chunks: Chunks) -> xr.Dataset:
    template, source = group.template, source_of(group)
    dataset = xr.Dataset(coords={**grid_coordinates(group.grid), "band": list(template.bands)})
    if isinstance(source, CubeSeries):
        dataset = dataset.assign_coords(_date_coordinates(source.observations))
    for name in template.arrays:
        shape = template.sizes(name, dates=len(source.arrivals), pixels=group.grid.shape)
        lazy = LazyArray(shape, template.array_dtype(name), partial(source.cells, name))
        attributes, encoding = pixel_attributes(template, name), {"grid_mapping": "spatial_ref"}
        dataset[name] = lazy_variable(template.dimensions(name), lazy, attributes, encoding)
    # As JSON text, which NetCDF keeps too: coordinates alone do not give an anchor that is not a multiple of the pixel.
    dataset.attrs = {"grid": json.dumps(grid_to_json(group.grid)), "cloud_mask": json.dumps(dict(template.cloud_mask))}
    return chunked(dataset, chunks, {"y": template.tile, "x": template.tile, "time": 1})


def _date_coordinates(observations: Sequence[Observation]) -> dict[str, Any]:
    """Return time, id, and every part of the provenance, over ``time``."""
    names = dict.fromkeys(name for observation in observations for name in observation.provenance)
    known = {
        name: ("time", np.array([_text(observation.provenance.get(name)) for observation in observations], object))
        for name in names
        if name not in ("time", "datatake_id", "band", "x", "y", "band_data", "pixel_class", "spatial_ref")
    }
    return {
        "time": (
            "time",
            np.array([observation.time for observation in observations], "datetime64[s]"),
            {"standard_name": "time"},
        ),
        "datatake_id": ("time", np.array([observation.datatake_id for observation in observations], object)),
        **known,
    }


def _text(value: Any) -> str:
    """Return a part of a provenance as text; entries of a list separated by blanks."""
    if value is None:
        return ""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
