"""How one group of a cube is declared in Zarr: arrays, codecs, coordinates, and the attributes other tools read."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from zarr.abc.store import Store
from zarr.dtype import VariableLengthUTF8
from zarr.storage import MemoryStore

from landweave.store.cube_template import GroupTemplate
from landweave.store.layout import CODEC, axis_attributes, declare_crs, write_coordinate
from landweave.timeseries import PixelState

TIME_CHUNK = 4096
"""Dates in one chunk of a coordinate: it stays as it is while dates are added, so that a reader of the shorter
array finds what it found before."""

TIME_COORDINATES = ("time", "key", "provenance")


def declare_arrays(store: Store, template: GroupTemplate) -> None:
    """Write metadata and coordinates of one group, over an older one; no date, no pixel."""
    zarr.create_group(store, path=template.modality, overwrite=True)
    for array in template.arrays:
        declare_pixels(store, template, array, path=f"{template.modality}/{array}", dates=0)
    for axis, centres in (("y", template.grid.y), ("x", template.grid.x)):
        write_coordinate(store, f"{template.modality}/{axis}", centres, axis_attributes(axis))
    declare_crs(store, f"{template.modality}/spatial_ref", template.grid)
    bands = _declare_line(store, f"{template.modality}/band", "band", len(template.bands), {"long_name": "band"})
    bands[:] = np.array(template.bands, dtype=object)
    if template.is_series:
        for name in TIME_COORDINATES:
            _declare_line(store, f"{template.modality}/{name}", "time", 0, _TIME_ATTRIBUTES[name])


def declare_pixels(
    store: Store,
    template: GroupTemplate,
    array: str,
    *,
    path: str,
    dates: int,
    pixels: tuple[int, int] | None = None,
) -> zarr.Array[Any]:
    """One pixel array over ``dates`` and ``pixels`` (the whole grid by default), nothing acquired anywhere.

    A chunk without a measurement costs nothing: it is not stored, and an object of such chunks is no object.
    """
    size, chunk = template.tile, template.chunk
    return zarr.create_array(
        store,
        name=path,
        shape=template.sizes(array, dates=dates, pixels=pixels or template.grid.shape),
        dtype=template.array_dtype(array),
        chunks=template.sizes(array, dates=1, pixels=(chunk, chunk)),
        shards=template.sizes(array, dates=template.dates or 1, pixels=(size, size)),
        compressors=CODEC,
        fill_value=0,
        dimension_names=template.dimensions(array),
        attributes=array_attributes(template, array),
        config={"write_empty_chunks": False},
        overwrite=True,
    )


def encode_tile(template: GroupTemplate, array: str, values: NDArray[Any]) -> memoryview | None:
    """The object of one tile of ``array``; None when nothing of it is to be stored.

    The same values give the same bytes, those that the whole array would be given: a shard knows nothing of the
    array around it, which may grow meanwhile.
    """
    held: dict[str, Any] = {}
    dates = values.shape[0] if template.is_series else 1
    stored = declare_pixels(MemoryStore(held), template, array, path="tile", dates=dates, pixels=(template.tile,) * 2)
    stored[...] = values
    found = held.get(f"tile/{tile_key(template, array, 0, (0, 0))}")
    return None if found is None else memoryview(found.as_buffer_like())  # no copy: it may be half a gigabyte


def tile_key(template: GroupTemplate, array: str, shard: int, index: tuple[int, int]) -> str:
    """Where the object of one tile and time shard lies below its array."""
    places = {"time": shard, "band": 0, "y": index[0], "x": index[1]}
    return "/".join(["c", *(str(places[name]) for name in template.dimensions(array))])


def array_attributes(template: GroupTemplate, array: str) -> dict[str, Any]:
    """Attributes of a pixel array as the CF conventions write them."""
    times = " key provenance" if template.is_series else ""
    common = {"grid_mapping": "spatial_ref", "coordinates": f"spatial_ref{times}"}
    if array == "values":
        quantity = {"quantity": template.quantity} if template.quantity else {}
        return {"long_name": f"{template.modality}, 0 where nothing was measured", **quantity, **common}
    if array == "valid":
        return {"long_name": "whether every band holds a measurement", **common}
    return {
        "long_name": "what the pixel is",
        "flag_values": [int(state) for state in PixelState],
        "flag_meanings": " ".join(state.name.lower() for state in PixelState),
        **common,
    }


def _declare_line(store: Store, path: str, dimension: str, size: int, attributes: dict[str, Any]) -> zarr.Array[Any]:
    """A one-dimensional coordinate: instants for ``time``, text otherwise."""
    is_time = path.endswith("/time")
    dtype: Any = np.dtype("int64") if is_time else VariableLengthUTF8()
    return zarr.create_array(
        store,
        name=path,
        shape=(size,),
        dtype=dtype,
        chunks=(TIME_CHUNK if dimension == "time" else size,),
        compressors=CODEC,
        fill_value=0 if is_time else "",
        dimension_names=(dimension,),
        attributes=attributes,
        config={"write_empty_chunks": True},
        overwrite=True,
    )


_TIME_ATTRIBUTES: dict[str, dict[str, Any]] = {
    "time": {
        "axis": "T",
        "standard_name": "time",
        "long_name": "start of the pass, UTC; in order of arrival",
        "units": "seconds since 1970-01-01",
        "calendar": "proleptic_gregorian",
    },
    "key": {"long_name": "names the pass"},
    "provenance": {"long_name": "scenes and how they were read, JSON"},
}
