"""A cube as a reader sees it: a lazy `xarray.DataTree`, dates ascending, whether its alignment goes on or has ended."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import rioxarray  # noqa: F401  registers the `.rio` of every view
import xarray as xr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from landweave.core.timeseries import Observation
from landweave.store.cubes.group import CubeGroup
from landweave.store.cubes.layout import TIME_COORDINATES, array_attributes
from landweave.store.cubes.reader import CubeReader
from landweave.store.cubes.sources import CubeSeries
from landweave.store.cubes.store import open_cube_store
from landweave.store.maps.store import read_attributes
from landweave.store.objects import Target
from landweave.store.zarr_store import zarr_store


def open_cube(
    where: str | os.PathLike[str] | Target, *, dask: bool = False, storage_options: Mapping[str, Any] | None = None
) -> xr.DataTree:
    """The cube at a path or URL, one group a modality; nothing but metadata and coordinates is read.

    A series has ``band_data (time, band, y, x)`` and ``pixel_class (time, y, x)``
    (`landweave.core.timeseries.PixelClass`), dates ascending, with the ``datatake_id`` of each and what is known of it
    (scenes, baseline, orbit) as coordinates; a raster ``band_data (band, y, x)`` and ``valid (y, x)``. Loading pixels
    of a tile that is not aligned raises `landweave.core.errors.ReadError`: they would look like ground not acquired.

    Parameters
    ----------
    where
        A path, a URL, or a `Target`.
    dask
        Whether arrays are dask arrays of one chunk a date and tile; they are lazily indexed otherwise.
    storage_options
        Of the object store, as `Target.parse` takes them.

    Raises
    ------
    InputError
        When there is no cube.
    """
    cube = open_cube_store(Target.parse(where, storage_options))
    groups = {f"/{name}": _dataset(group, dask=dask) for name, group in cube.groups.items()}
    tree = xr.DataTree.from_dict({"/": xr.Dataset(attrs=read_attributes(cube.target)), **groups})
    tree.encoding |= {"source": str(cube.target), "storage_options": dict(storage_options or {})}
    return tree


def _dataset(group: CubeGroup, *, dask: bool) -> xr.Dataset:
    template = group.template
    series = CubeSeries.of(group) if template.is_series else None
    places = np.array(series.places if series else (0,), np.int64)
    reader = CubeReader(group)
    dataset = _place(group)
    if series:
        dataset = dataset.assign_coords(_date_coordinates(series.observations))
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


def _date_coordinates(observations: Sequence[Observation]) -> dict[str, Any]:
    """Time, key, and every part of the provenance, over ``time``."""
    names = dict.fromkeys(name for observation in observations for name in observation.provenance)
    told = {
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
