"""How one group of a cube is declared in Zarr: arrays, codecs, coordinates, and the attributes other tools read."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.codecs import Crc32cCodec, ZstdCodec

from landweave.core.timeseries import PixelClass
from landweave.store.cubes.template import GroupTemplate
from landweave.store.georeference import declare_grid, write_coordinate

CODEC = (ZstdCodec(level=3), Crc32cCodec())
"""Of pixels. Level 5, which maps have, takes twice the time for 2 to 6 % fewer bytes (noisy reflectances, chunks of 128
and 256 pixels); the rest is as `landweave.store.maps.layout.CODEC` says."""

TIME_CHUNK = 4096
"""Dates in one chunk of a coordinate: it stays as it is while dates are added, so that a reader of the shorter
array finds what it found before."""

TIME_COORDINATES: dict[str, dict[str, Any]] = {
    "time": {
        "axis": "T",
        "standard_name": "time",
        "long_name": "start of the datatake, UTC; in order of arrival",
        "units": "seconds since 1970-01-01",
        "calendar": "proleptic_gregorian",
    },
    "datatake_id": {"long_name": "id of the datatake"},
    "provenance": {"long_name": "scenes and how they were read, JSON"},
}
"""Attributes of the coordinates that grow with the dates, by name."""


def declare_arrays(store: Store, template: GroupTemplate) -> None:
    """Write metadata and coordinates of one group; no date, no pixel.

    Parameters
    ----------
    store
        Where it is written.
    template
        What the group will hold.
    """
    zarr.create_group(store, path=template.modality, attributes=template.to_attributes())
    for array in template.arrays:
        _declare_pixels(store, template, array)
    declare_grid(store, template.modality, template.grid)
    bands = np.array(template.bands, np.dtypes.StringDType())
    write_coordinate(store, f"{template.modality}/band", bands, {"long_name": "band"})
    for name, attributes in TIME_COORDINATES.items() if template.is_series else ():
        zarr.create_array(
            store,
            name=f"{template.modality}/{name}",
            shape=(0,),
            dtype="int64" if name == "time" else "string",
            chunks=(TIME_CHUNK,),
            compressors=CODEC,
            dimension_names=("time",),
            attributes=attributes,
        )


def _declare_pixels(store: Store, template: GroupTemplate, array: str) -> None:
    # A chunk without a measurement costs nothing: it is not stored, and an object of such chunks is no object.
    size = template.tile
    zarr.create_array(
        store,
        name=f"{template.modality}/{array}",
        shape=template.sizes(array, dates=0, pixels=template.grid.shape),
        shards=template.sizes(array, dates=template.time_shard or 1, pixels=(size, size)),
        dimension_names=template.dimensions(array),
        attributes={
            **pixel_attributes(template, array),
            "grid_mapping": "spatial_ref",
            "coordinates": "spatial_ref datatake_id provenance" if template.is_series else "spatial_ref",
        },
        **_chunks(template, array),
    )


def declare_date(store: Store, template: GroupTemplate, array: str) -> zarr.Array[Any]:
    """Declare one date of one tile, each chunk an object of its own, encoded as the chunks of the group are.

    Parameters
    ----------
    store
        In memory.
    template
        Of the group.
    array
        One of ``template.arrays``.
    """
    shape = template.sizes(array, dates=1, pixels=(template.tile, template.tile))
    return zarr.create_array(store, name="date", shape=shape, **_chunks(template, array))


def _chunks(template: GroupTemplate, array: str) -> dict[str, Any]:
    chunk = template.chunk
    return {
        "dtype": template.array_dtype(array),
        "chunks": template.sizes(array, dates=1, pixels=(chunk, chunk)),
        "compressors": CODEC,
        "fill_value": 0,
        "config": {"write_empty_chunks": False},
    }


def tile_key(template: GroupTemplate, array: str, shard: int, index: tuple[int, int]) -> str:
    """Return the key of one object, below its array.

    Parameters
    ----------
    template
        Of the group.
    array
        One of ``template.arrays``.
    shard
        Number of the time shard.
    index
        ``(block_y, block_x)`` of the tile.
    """
    positions = {"time": shard, "band": 0, "y": index[0], "x": index[1]}
    return "/".join(["c", *(str(positions[name]) for name in template.dimensions(array))])


def pixel_attributes(template: GroupTemplate, array: str) -> dict[str, Any]:
    """Return the attributes of a pixel array as the CF conventions write them.

    Parameters
    ----------
    template
        Of the group.
    array
        One of ``template.arrays``.
    """
    if array == "band_data":
        quantity = {"quantity": template.quantity} if template.quantity else {}
        return {"long_name": f"{template.modality}, 0 where nothing was measured", **quantity}
    if array == "valid":
        return {"long_name": "whether every band holds a measurement"}
    return {
        "long_name": "class of the pixel",
        "flag_values": [int(pixel_class) for pixel_class in PixelClass],
        "flag_meanings": " ".join(pixel_class.name.lower() for pixel_class in PixelClass),
    }
