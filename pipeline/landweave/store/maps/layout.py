"""How one level of a map is declared in Zarr: arrays, codecs, and the attributes that other tools read."""

from __future__ import annotations

from typing import Any

import numpy as np
import zarr
from zarr.abc.store import Store
from zarr.codecs import Crc32cCodec, GzipCodec, ZstdCodec

from landweave.core.grid import Grid
from landweave.core.legend import CONFIDENCE_SCALE, NODATA, Legend
from landweave.core.timeseries import DateFallback
from landweave.store.common import declared_contents
from landweave.store.georeference import declare_grid, write_coordinate
from landweave.store.maps.template import MapTemplate

CODEC = (ZstdCodec(level=5), Crc32cCodec())
"""Of pixels. Not Blosc: with more than one thread it orders its parts as they end, and the same block would not be
the same bytes (measured, 1024 px chunks). The checksum finds what a disk or a network damaged."""

UNSHARDED_CODEC = (GzipCodec(level=5),)
"""Of maps without shards: every GDAL has gzip, which has a checksum of its own; 3.12 knows no other of Zarr 3."""


def level_path(level: int) -> str:
    """Return the group of a level below the root: ``map/0`` is the full resolution."""
    return f"map/{level}"


def declare_level(store: Store, template: MapTemplate, level: int, grid: Grid) -> None:
    """Write the metadata and coordinates of one level; its pixels are all nodata until written.

    Parameters
    ----------
    store
        Where it is written.
    template
        What the map holds.
    level
        0 for the full resolution.
    grid
        Pixels of the level.
    """
    path = level_path(level)
    zarr.create_group(store, path=path, attributes={"resolution": str(grid.resolution)})
    for name in template.arrays_of(level):
        _declare_pixels(store, template, f"{path}/{name}", grid)
        if name == "probability":
            codes = np.asarray(template.legend.codes, dtype=np.uint8)
            write_coordinate(store, f"{path}/class", codes, class_attributes(template.legend))
    declare_grid(store, path, grid)


def declared_level(template: MapTemplate, level: int, grid: Grid) -> dict[str, bytes]:
    """Return the metadata and coordinates of one level as they are declared, by name.

    Parameters
    ----------
    template, level, grid
        As of `declare_level`.
    """
    return declared_contents(level_path(level), lambda new: declare_level(new, template, level, grid))


def pixel_attributes(array: str, legend: Legend) -> dict[str, Any]:
    """Return the attributes of a pixel array as the CF conventions write them.

    Plain xarray masks by ``_FillValue`` and scales by ``scale_factor``: classes become float32 codes, confidence and
    probability 0 to 1, nodata NaN.

    Parameters
    ----------
    array
        ``landcover``, ``confidence``, ``probability`` or ``date_fallback``.
    legend
        What the codes mean.
    """
    if array == "landcover":
        return {"long_name": f"land cover, {legend.name}", **_flag_attributes(legend), "_FillValue": NODATA}
    if array == "date_fallback":
        return {
            "long_name": "how far the date selection of a series had to fall back",
            "flag_values": [int(date_fallback) for date_fallback in DateFallback],
            "flag_meanings": " ".join(date_fallback.flag_meaning for date_fallback in DateFallback),
            "_FillValue": NODATA,
        }
    name = "probability of the class shown" if array == "confidence" else "probability of each class"
    valid = {"valid_range": [0, CONFIDENCE_SCALE], "scale_factor": 1 / CONFIDENCE_SCALE}
    return {"long_name": name, "units": "1", **valid, "_FillValue": NODATA}


def class_attributes(legend: Legend) -> dict[str, Any]:
    """Return the attributes of the coordinate ``class``, the codes that probabilities belong to."""
    return {"long_name": "class code", "flag_meanings": _flag_attributes(legend)["flag_meanings"]}


def _flag_attributes(legend: Legend) -> dict[str, Any]:
    # Blanks separate the words of flag_meanings.
    names = ("_".join(cls.name.replace("/", " ").split()) for cls in legend.classes)
    return {
        "flag_values": list(legend.codes),
        "flag_meanings": " ".join(names),
        "flag_colors": " ".join(cls.color for cls in legend.classes),
    }


def _declare_pixels(store: Store, template: MapTemplate, path: str, grid: Grid) -> None:
    name = path.rpartition("/")[2]
    blocks, chunk = template.blocks, template.chunk
    classes = template.class_shape(name)
    # Never wider than the level itself: a shard's index would list chunks that cannot exist.
    sides = zip((blocks.height, blocks.width), grid.shape, strict=True)
    tall, wide = (min(side, -(-size // chunk) * chunk) for side, size in sides)
    zarr.create_array(
        store,
        name=path,
        shape=(*classes, *grid.shape),
        dtype="uint8",
        chunks=(*(1 for _ in classes), chunk, chunk) if template.shards else (*classes, tall, wide),
        shards=(*classes, tall, wide) if template.shards else None,
        compressors=CODEC if template.shards else UNSHARDED_CODEC,
        fill_value=NODATA,
        dimension_names=template.dimensions(name),
        attributes={
            **pixel_attributes(name, template.legend),
            "grid_mapping": "spatial_ref",
            "coordinates": "spatial_ref",
        },
    )
