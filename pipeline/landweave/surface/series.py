"""Scenes of a satellite series as one lazy xarray object, opened without a configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, cast

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Bounds, Number
from landweave.core.modalities import is_radar, series_bands
from landweave.sources.resampling.kernels import KernelName
from landweave.sources.stac.observations import group_observations
from landweave.sources.stac.pixel_classes import class_bands, classify_pixels
from landweave.sources.stac.records import Scene, SearchResult, group_reasons
from landweave.sources.stac.search import StacQuery, read_item, search
from landweave.sources.stac.sentinel1 import StoredAs
from landweave.sources.stac.series import StacSeries
from landweave.store.lazy_array import Chunks
from landweave.surface.grids import CHUNK, Spatial, stated_grid, with_georeference


def open_series(  # noqa: PLR0913  the keywords that xarray and stackstac users expect
    items: Any,
    modality: str,
    *,
    like: Spatial | None = None,
    crs: Any = None,
    resolution: Number | None = None,
    bounds: Bounds | None = None,
    bands: Iterable[str] | None = None,
    dates: str | None = None,
    collections: Iterable[str] = (),
    quantity: str | None = None,
    stored_as: StoredAs | None = None,
    cloud_mask: Mapping[str, Any] | None = None,
    resampling: KernelName = "bilinear",
    checksums: bool | None = None,
    chunks: Chunks = None,
    sign: str | None = None,
) -> xr.DataArray:
    """Satellite scenes as one dask array ``(time, band, y, x)`` on one grid, lazily, through stackstac.

    Every scene has a time of its own; those of one acquisition share a ``datatake_id``, and `landweave.predict` takes
    them for one date.

    Parameters
    ----------
    items
        STAC items: a list of `pystac.Item` or of dicts, an item collection, a `pystac_client.ItemSearch`, or the path
        or URL of a catalog, a collection, an API or a file of items.
    modality
        ``SENTINEL2_TS``, ``SENTINEL1-ASC_TS`` or ``SENTINEL1-DESC_TS``.
    like
        An xarray object whose CRS, ground and pixels are used, but for ``resolution``.
    crs, resolution, bounds
        Of the grid: a CRS in metres, the side of a pixel in metres, and ``(x0, y0, x1, y1)`` in that CRS.
    bands
        By our names, such as ``B4`` or ``VV``; all of the satellite by default.
    dates
        Of a catalog, the first and the last day, both taken: ``2021-01-01/2021-12-31``.
    collections
        Of a catalog, ids; all by default.
    quantity
        Of radar, ``sigma0`` or ``gamma0_rtc``; whichever there is, but only one, by default.
    stored_as
        Of radar, whether files hold ``power`` or ``decibels``, which are made power; by default power, and files that
        are named decibels are refused.
    cloud_mask
        What pixel classes are read from: ``{"source": "scl"}`` by default, or ``{"source": "probability",
        "cloud_max": 1, "snow_max": 1}``.
    resampling
        Kernel of measurements: ``nearest``, ``bilinear`` or ``cubic``.
    checksums
        Whether each file is read whole, once a process, to hold it against the checksum of its item; by default those
        of this machine.
    chunks
        As `xarray.DataArray.chunk` takes them; one scene and 1024 pixels a side by default.
    sign
        ``planetary-computer`` signs addresses when they are read.

    Returns
    -------
    xarray.DataArray
        Reflectance x 10000 (uint16) or linear power (float32), 0 where nothing is measured; with ``datatake_id
        (time)`` and, lazily, ``pixel_class (time, y, x)`` (`landweave.PixelClass`) as coordinates; the attribute
        ``notes`` says which items are not used, and why.

    Raises
    ------
    InputError
        When the catalog cannot be read, or nothing there can be used.
    ConfigError
        When the grid is not given, or a band, a date or a quantity is not known.

    Examples
    --------
    >>> grid = {"crs": "EPSG:32631", "resolution": 10, "bounds": (500100, 4899600, 500400, 4899900)}
    >>> scenes = open_series("valley/summer.json", "SENTINEL2_TS", bands=["B4", "B8"], **grid)
    >>> scenes.dims, scenes.shape
    (('time', 'band', 'y', 'x'), (3, 2, 30, 30))
    """
    grid = stated_grid(like, crs, resolution, bounds)
    if grid is None:
        raise ConfigError(f"{modality} needs a grid: give like, or crs, resolution and bounds.")
    mask = {} if is_radar(modality) else dict(cloud_mask or {"source": "scl"})
    query = StacQuery(
        catalog=str(items) if isinstance(items, str | Path) else "the items",
        collections=tuple(collections),
        dates=dates or "1970-01-01/2099-12-31",
        modality=modality,
        bands=tuple(bands or series_bands(modality)),
        quantity=quantity,
        stored_as=stored_as,
        cloud_source=mask.get("source", "scl"),
        sign=sign,
    )
    found = search(query, grid.lonlat_bounds) if isinstance(items, str | Path) else _found_among(items, query)
    series = StacSeries.open(
        found,
        modality=modality,
        bands=query.bands,
        grid=grid,
        resampling=resampling,
        cloud_mask=mask,
        sign=sign,
        checksums=checksums,
    )
    return with_georeference(_with_pixel_classes(series, chunks), grid)


def _found_among(items: Any, query: StacQuery) -> SearchResult:
    """Dates of items that were found before, and the items that are not used."""
    read = [read_item(item, query) for item in _item_dicts(items)]
    observations, older = group_observations(each for each in read if isinstance(each, Scene))
    dropped = (*(each for each in read if not isinstance(each, Scene)), *older)
    if not observations:
        reasons = "; ".join(group_reasons(dropped)) or "none"
        raise InputError(f"None of {len(read)} items can be used for {query.modality}: {reasons}.")
    return SearchResult(query={}, items=len(read), observation_scenes=observations, dropped=dropped)


def _item_dicts(items: Any) -> Iterable[dict[str, Any]]:
    if hasattr(items, "items_as_dicts"):  # a search
        return cast("Iterable[dict[str, Any]]", items.items_as_dicts())
    listed = items.get_items(recursive=True) if hasattr(items, "get_items") else items
    return [_absolute(item) if hasattr(item, "to_dict") else _plain(item) for item in listed]


def _plain(item: Any) -> dict[str, Any]:
    """An item as JSON; of what is none, what to call it by."""
    return dict(item) if isinstance(item, Mapping) else {"id": repr(item)[:40]}


def _absolute(item: Any) -> dict[str, Any]:
    """A `pystac.Item` as JSON, with absolute addresses of its files."""
    content: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    for key, asset in item.assets.items():
        content["assets"][key]["href"] = asset.get_absolute_href() or asset.href
    return content


def _with_pixel_classes(series: StacSeries, chunks: Chunks) -> xr.DataArray:
    """The stack of a series, its pixel classes as a coordinate."""
    bands, mask = series.bands, series.cloud_mask
    planes = series.stack(bands=(*bands, *class_bands(mask)), chunk=CHUNK)
    planes = planes if chunks in (None, {}, "auto") else planes.chunk(chunks).chunk(band=-1)
    names = planes["band"].values.tolist()

    def classify(block: NDArray[Any]) -> NDArray[np.uint8]:
        valid = (block[..., : len(bands)] != 0).all(-1)
        return classify_pixels({name: block[..., number] for number, name in enumerate(names)}, mask, valid)

    pixel_class = xr.apply_ufunc(
        classify, planes, input_core_dims=[["band"]], dask="parallelized", output_dtypes=[np.uint8]
    )
    measured = planes.sel(band=list(bands)).astype(series.dtype).assign_coords(pixel_class=pixel_class)
    measured.attrs = {"nodata": 0, "quantity": series.quantity, **({"cloud_mask": json.dumps(mask)} if mask else {})}
    measured.attrs |= {"notes": "\n".join(series.notes)} if series.notes else {}
    return measured
