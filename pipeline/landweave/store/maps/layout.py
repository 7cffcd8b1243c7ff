"""How one level of a map is declared in Zarr: arrays, codecs, coordinates, and the attributes other tools read."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray
from odc.geo.crs import CRS
from zarr.abc.store import Store
from zarr.codecs import BloscCodec, BloscShuffle, Crc32cCodec, ZstdCodec

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.legend import CONFIDENCE_SCALE, NODATA, Legend
from landweave.core.timeseries import DateFallback
from landweave.store.maps.template import MapTemplate

CODEC = (ZstdCodec(level=5), Crc32cCodec())
"""Of pixels. Not Blosc: with more than one thread it orders its parts as they end, and the same block would not be
the same bytes (measured, 1024 px chunks). The checksum finds what a disk or a network damaged."""

_COORDINATE_CODEC = (BloscCodec(typesize=8, cname="zstd", clevel=5, shuffle=BloscShuffle.shuffle), Crc32cCodec())


def level_path(level: int) -> str:
    """Where a level lies below the root: ``map/0`` is the full resolution."""
    return f"map/{level}"


def declare_level(store: Store, template: MapTemplate, level: int, grid: Grid) -> None:
    """Write the metadata and coordinates of one level; its pixels are all nodata until written.

    Probabilities exist at full resolution only.
    """
    zarr.create_group(store, path=level_path(level), overwrite=True, attributes={"resolution": str(grid.resolution)})
    arrays = template.arrays if level == 0 else tuple(name for name in template.arrays if name != "probability")
    for name in arrays:
        _declare_pixels(store, template, f"{level_path(level)}/{name}", grid)
    if "probability" in arrays:
        codes = np.asarray(template.legend.codes, dtype=np.uint8)
        meanings = {"long_name": "class code", "flag_meanings": flag_attributes(template.legend)["flag_meanings"]}
        write_coordinate(store, f"{level_path(level)}/class", codes, meanings)
    for axis, centres in (("y", grid.y), ("x", grid.x)):
        write_coordinate(store, f"{level_path(level)}/{axis}", centres, axis_attributes(axis))
    declare_crs(store, f"{level_path(level)}/spatial_ref", grid)


def flag_attributes(legend: Legend) -> dict[str, Any]:
    """Codes, names and colours as the CF conventions write them."""
    return {
        "flag_values": list(legend.codes),
        "flag_meanings": " ".join(_identifier(cls.name) for cls in legend.classes),
        "flag_colors": " ".join(cls.color for cls in legend.classes),
    }


def date_fallback_attributes() -> dict[str, Any]:
    """How the dates under a pixel were found, as the CF conventions write it."""
    return {
        "long_name": "lowest date_fallback that the dates of a series were found on",
        "flag_values": [int(date_fallback) for date_fallback in DateFallback],
        "flag_meanings": " ".join(date_fallback.flag_meaning for date_fallback in DateFallback),
    }


def write_coordinate(store: Store, path: str, values: NDArray[Any], attributes: dict[str, Any]) -> None:
    """Write a one-dimensional array named like its dimension, in one chunk."""
    array = zarr.create_array(
        store,
        name=path,
        shape=values.shape,
        dtype=values.dtype,
        chunks=values.shape,
        compressors=_COORDINATE_CODEC,
        fill_value=0,
        dimension_names=(path.rpartition("/")[2],),
        attributes=attributes,
        config={"write_empty_chunks": True},
        overwrite=True,
    )
    array[:] = values


def check_georeference(group: zarr.Group, grid: Grid) -> None:
    """Make sure that what a level says of its place in three ways is one and the same.

    Raises
    ------
    InputError
        When the affine or a centre coordinate is not exactly that of ``grid``.
    """
    where = f"{group.store}/{group.path}"
    written = tuple(float(number) for number in str(_attribute(group, "spatial_ref", "GeoTransform")).split())
    if written != grid.transform.to_gdal():
        raise InputError(f"{where}: its affine is {written}, its grid says {grid.transform.to_gdal()}.")
    for axis, centres in (("x", grid.x), ("y", grid.y)):
        stored = np.asarray(group[axis][:])  # type: ignore[index]
        if not np.array_equal(stored, centres):
            raise InputError(
                f"{where}: its {axis} runs from {stored[:1]} to {stored[-1:]} in {stored.size} steps, "
                f"its grid says {centres[:1]} to {centres[-1:]} in {centres.size}."
            )


def _attribute(group: zarr.Group, array: str, name: str) -> Any:
    return group[array].attrs[name]


def _declare_pixels(store: Store, template: MapTemplate, path: str, grid: Grid) -> None:
    name = path.rpartition("/")[2]
    block, chunk = template.blocks.size, template.chunk
    classes = (len(template.legend),) if name == "probability" else ()
    ones = (1,) if classes else ()
    # Never wider than the level itself: a shard's index would list chunks that cannot exist.
    tall, wide = (min(block, -(-size // chunk) * chunk) for size in grid.shape)
    zarr.create_array(
        store,
        name=path,
        shape=(*classes, *grid.shape),
        dtype="uint8",
        chunks=(*ones, chunk, chunk),
        shards=(*classes, tall, wide),
        compressors=CODEC,
        fill_value=NODATA,
        dimension_names=(*(("class",) if classes else ()), "y", "x"),
        attributes=_pixel_attributes(name, template.legend),
        config={"write_empty_chunks": True},
        overwrite=True,
    )


def _pixel_attributes(name: str, legend: Legend) -> dict[str, Any]:
    # `nodata`, not `_FillValue`: rioxarray knows both, but the second makes xarray turn codes into float32.
    common = {"grid_mapping": "spatial_ref", "coordinates": "spatial_ref", "nodata": NODATA}
    if name == "landcover":
        return {"long_name": f"land cover, {legend.name}", **flag_attributes(legend), **common}
    if name == "date_fallback":
        return {**date_fallback_attributes(), **common}
    scale = f"{1 / CONFIDENCE_SCALE}"
    meaning = "probability of the class shown" if name == "confidence" else "probability of each class"
    return {"long_name": meaning, "units": scale, "valid_range": [0, CONFIDENCE_SCALE], **common}


def axis_attributes(axis: str) -> dict[str, Any]:
    """Attributes of a coordinate, ``x`` or ``y``, as the CF conventions write them."""
    name = {"x": "easting", "y": "northing"}[axis]
    return {
        "axis": axis.upper(),
        "standard_name": f"projection_{axis}_coordinate",
        "long_name": f"{name} of pixel centres",
        "units": "m",
    }


def declare_crs(store: Store, path: str, grid: Grid) -> None:
    """Write the variable that other tools read CRS and transform from."""
    crs = CRS(grid.crs)
    affine = " ".join(repr(number) for number in grid.transform.to_gdal())
    attributes = {**crs.proj.to_cf(), "spatial_ref": crs.to_wkt(), "GeoTransform": affine}
    array = zarr.create_array(
        store, name=path, shape=(), dtype="int64", fill_value=0, attributes=attributes, overwrite=True
    )
    array[...] = 0


def _identifier(name: str) -> str:
    """A name without blanks, which separate the words of `flag_meanings`."""
    return "_".join(name.replace("/", " ").split())
