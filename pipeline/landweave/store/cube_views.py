"""A cube as a reader sees it: a lazy `xarray.DataTree`, dates ascending, whether its alignment goes on or has ended."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  registers the `.rio` of every view
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from landweave.store.cube_group import CubeGroup
from landweave.store.cube_layout import TIME_COORDINATES, array_attributes
from landweave.store.cube_reader import CubeReader
from landweave.store.cubes import open_cube_store
from landweave.store.maps import read_attributes
from landweave.store.objects import Target
from landweave.store.series import CubeSeries
from landweave.store.zarr_store import zarr_store
from landweave.timeseries import Step


def open_cube(where: str | os.PathLike[str] | Target, *, dask: bool = False, **options: Any) -> xr.DataTree:
    """The cube at a path or URL, one group a modality; nothing but metadata and coordinates is read.

    A series has ``values (time, band, y, x)`` and ``state (time, y, x)`` (`landweave.timeseries.PixelState`), dates
    ascending, with the ``key`` of each and what is known of it (scenes, baseline, orbit) as coordinates; a raster
    ``values (band, y, x)`` and ``valid (y, x)``. Loading pixels of a tile that is not aligned raises
    `landweave.errors.ReadError`: they would look like ground that was not acquired.

    Parameters
    ----------
    where
        A path, a URL, or a `Target`.
    dask
        Whether arrays are dask arrays of one chunk a date and tile; they are lazily indexed otherwise.
    options
        Of the object store, as `Target.parse` takes them.

    Raises
    ------
    InputError
        When there is no cube.
    """
    cube = open_cube_store(Target.parse(where, **options))
    groups = {f"/{name}": _dataset(group, dask=dask) for name, group in cube.groups.items()}
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=read_attributes(cube.target)), **groups})
    tree.encoding |= {"source": str(cube.target), "options": dict(options)}
    return tree


def _dataset(group: CubeGroup, *, dask: bool) -> xr.Dataset:
    template = group.template
    series = CubeSeries.of(group) if template.is_series else None
    places = np.array(series.places if series else (0,), np.int64)
    reader = CubeReader(group)
    dataset = _place(group)
    if series:
        dataset = dataset.assign_coords(_date_coordinates(series.steps))
    for name in template.arrays:
        lazy = indexing.LazilyIndexedArray(_LazyArray(reader, name, places))
        attributes = {key: value for key, value in array_attributes(template, name).items() if key != "coordinates"}
        mapping = {"grid_mapping": attributes.pop("grid_mapping")}
        dataset[name] = xr.Variable(template.dimensions(name), lazy, attributes, encoding=mapping)
    if not dask:
        return dataset
    return dataset.chunk({"y": template.tile, "x": template.tile, **({"time": 1} if series else {})})


def _place(group: CubeGroup) -> xr.Dataset:
    """Coordinates and CRS; what grows with the dates is left out, as it may be growing."""
    dataset: xr.Dataset = xr.open_zarr(
        zarr_store(group.target, read_only=True),
        group=group.template.modality,
        chunks=None,
        consolidated=False,
        decode_coords="all",
        drop_variables=[*TIME_COORDINATES, *group.template.arrays],
    )
    return dataset.set_coords("spatial_ref").assign_coords(band=list(group.template.bands))


def _date_coordinates(steps: Sequence[Step]) -> dict[str, Any]:
    """Time, key, and every part of the provenance, over ``time``."""
    names = dict.fromkeys(name for step in steps for name in step.provenance)
    told = {
        name: ("time", np.array([_text(step.provenance.get(name)) for step in steps], object))
        for name in names
        if name not in ("time", "key", "band", "x", "y", "values", "state", "spatial_ref")
    }
    return {
        "time": ("time", np.array([step.time for step in steps], "datetime64[s]"), {"standard_name": "time"}),
        "key": ("time", np.array([step.key for step in steps], object)),
        **told,
    }


def _text(value: Any) -> str:
    """A part of a provenance in a few words; entries of a list separated by blanks."""
    if value is None:
        return ""
    return " ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


class _LazyArray(BackendArray):
    """One array of a group with its dates in another order than they arrived, as xarray's backends index it."""

    def __init__(self, reader: CubeReader, name: str, places: NDArray[np.int64]) -> None:
        self._reader, self._name, self._places = reader, name, places
        template = reader.group.template
        self.shape = template.sizes(name, dates=places.size, pixels=template.grid.shape)
        self.dtype = template.array_dtype(name)

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._outer)

    def _outer(self, key: tuple[int | slice | NDArray[Any], ...]) -> NDArray[Any]:
        template = self._reader.group.template
        names = template.dimensions(self._name)
        picked = {name: np.arange(size)[part] for name, size, part in zip(names, self.shape, key, strict=True)}
        lists = {name: np.atleast_1d(part) for name, part in picked.items()}
        places = self._places[lists["time"]] if template.is_series else self._places
        bands = lists.get("band", np.arange(0))
        found = self._reader.read(self._name, places, bands, lists["y"], lists["x"])
        return found.reshape([part.size for part in picked.values() if part.ndim])
