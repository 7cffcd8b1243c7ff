"""Mosaics and satellite series as lazy xarray objects, opened without a configuration."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import numpy as np
import rioxarray
import xarray as xr
from numpy.typing import NDArray

from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Bounds, Grid, Number, exact, metric_crs
from landweave.core.lattice import Extent
from landweave.core.modalities import SENTINEL1_BANDS, SENTINEL2_BANDS
from landweave.core.protocols import Raster
from landweave.sources.arrays import grid_of
from landweave.sources.mosaic.alignment import native_grid
from landweave.sources.mosaic.listing import list_products
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import BandFiles, Kernel, MosaicSpec
from landweave.sources.mosaic.tile_index import TileIndex, index_tiles
from landweave.sources.raster_facts import read_raster_facts
from landweave.sources.stac.observations import group_observations
from landweave.sources.stac.pixel_classes import class_bands, classify_pixels
from landweave.sources.stac.records import ObservationScenes, Scene
from landweave.sources.stac.search import StacQuery, read_item, search
from landweave.sources.stac.series import StacSeries
from landweave.store.lazy_array import Chunks, LazyArray, chunked, lazy_variable

_CHUNK = 1024
"""Pixels a side of a dask chunk where none is given."""

_UNIT = Extent.of((0, 1), (0, 1))

Files = str | Path | Iterable[str | Path]
Spatial = xr.Dataset | xr.DataArray


def open_mosaic(  # noqa: PLR0913  the keywords that xarray and rioxarray users expect
    files: Files,
    bands: Mapping[str, int | tuple[Files, int]] | None = None,
    *,
    crs: Any = None,
    resolution: Number | None = None,
    bounds: Bounds | None = None,
    like: Spatial | None = None,
    resampling: Kernel = "bilinear",
    chunks: Chunks = None,
    modality: str | None = None,
) -> xr.DataArray:
    """Tiles as one array ``(band, y, x)`` on one grid, lazily: pasted where they lie on it, resampled elsewhere.

    Parameters
    ----------
    files
        A file, folder, glob, VRT mosaic or URL, or several.
    bands
        Number in the files, from 1, by name; with files of its own for a band that comes from others, as
        ``{"R": 1, "NIR": ("irc/*.jp2", 1)}``. All bands of the first file, by their own names or numbers, by default.
    crs, resolution, bounds
        Of the grid: a CRS in metres, the side of a pixel in metres, and ``(x0, y0, x1, y1)`` in that CRS. Those of the
        tiles where they are not given.
    like
        An xarray object whose grid is used instead.
    resampling
        ``nearest``, ``bilinear`` or ``cubic``; used where the tiles do not lie on the grid.
    chunks
        None for arrays that are indexed lazily, without dask; otherwise as `xarray.open_dataset` takes them.
    modality
        Name of the array, such as ``AERIAL_RGBI``.

    Returns
    -------
    xarray.DataArray
        In the tiles' own dtype; where nothing is measured NaN, or of integers 0, beside which the coordinate ``valid
        (y, x)`` tells a measured 0 apart. With CRS, transform, names of bands and pixel-centre coordinates.

    Raises
    ------
    InputError
        When files cannot be used, or share no grid and none is given.
    ConfigError
        When the CRS is not in metres, or ``like`` comes with another grid.
    """
    spec = _mosaic_spec(files, bands, resampling=resampling, modality=modality or "mosaic")
    index = index_tiles(spec)
    grid = _stated_grid(like, crs, resolution, bounds) or _tiles_grid(index, crs, resolution, bounds)
    source = MosaicSource.of(index, grid)
    mosaic = _LazyMosaic(source)
    variables = {spec.modality: lazy_variable(("band", "y", "x"), mosaic.pixels, {"nodata": mosaic.nodata})}
    if mosaic.nodata == 0:
        valid = {"long_name": "whether every band holds a measurement"}
        variables["valid"] = lazy_variable(("y", "x"), mosaic.valid, valid)
    dataset = xr.Dataset(variables, coords={"band": list(source.bands), "y": grid.y, "x": grid.x})
    dataset = chunked(dataset, chunks, {"y": _CHUNK, "x": _CHUNK}).set_coords([*variables][1:])
    return _placed(dataset[spec.modality], grid)


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
    cloud_mask: Mapping[str, Any] | None = None,
    resampling: Kernel = "bilinear",
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
    cloud_mask
        What pixel classes are read from: ``{"source": "scl"}`` by default, or ``{"source": "probability",
        "cloud_max": 1, "snow_max": 1}``.
    resampling
        Kernel of measurements: ``nearest``, ``bilinear`` or ``cubic``.
    chunks
        As `xarray.DataArray.chunk` takes them; one scene and 1024 pixels a side by default.
    sign
        ``planetary-computer`` signs addresses when they are read.

    Returns
    -------
    xarray.DataArray
        Reflectance x 10000 (uint16) or linear power (float32), 0 where nothing is measured; with ``datatake_id
        (time)`` and, lazily, ``pixel_class (time, y, x)`` (`landweave.PixelClass`) as coordinates.

    Raises
    ------
    InputError
        When the catalog cannot be read, or nothing there can be used.
    ConfigError
        When the grid is not given, or a band, a date or a quantity is not known.
    """
    grid = _stated_grid(like, crs, resolution, bounds)
    if grid is None:
        raise ConfigError(f"{modality} needs a grid: give like, or crs, resolution and bounds.")
    radar = modality.startswith("SENTINEL1")
    mask = {} if radar else dict(cloud_mask or {"source": "scl"})
    query = StacQuery(
        catalog=str(items) if isinstance(items, str | Path) else "the items",
        collections=tuple(collections),
        dates=dates or "1970-01-01/2099-12-31",
        modality=modality,
        bands=tuple(bands or (SENTINEL1_BANDS if radar else SENTINEL2_BANDS)),
        quantity=quantity,
        cloud_source=mask.get("source", "scl"),
        sign=sign,
    )
    found = search(query, _lonlat(grid)) if isinstance(items, str | Path) else _observations(items, query)
    series = StacSeries.open(
        found, modality=modality, bands=query.bands, grid=grid, resampling=resampling, cloud_mask=mask, sign=sign
    )
    return _placed(_with_pixel_classes(series, chunks), grid)


def _mosaic_spec(
    files: Files, bands: Mapping[str, int | tuple[Files, int]] | None, *, resampling: Kernel, modality: str
) -> MosaicSpec:
    paths = _paths(files)
    of_files = {name: band if isinstance(band, tuple) else (paths, band) for name, band in (bands or {}).items()}
    named = {name: BandFiles(files=_paths(own), band=number) for name, (own, number) in of_files.items()}
    spec = MosaicSpec(
        modality=modality, bands=named or {"1": BandFiles(files=paths)}, root=str(Path.cwd()), resampling=resampling
    )
    if named:
        return spec
    names = _band_names(list_products(spec)[0].paths[0])
    return replace(spec, bands={name: BandFiles(files=paths, band=number) for number, name in names.items()})


def _paths(files: Files) -> tuple[str, ...]:
    return (str(files),) if isinstance(files, str | Path) else tuple(map(str, files))


def _band_names(path: str) -> dict[int, str]:
    """Names of the bands of a file by number, where they have any of their own; its alpha is no band."""
    alpha = read_raster_facts([path])[path].alpha
    with cast("xr.DataArray", rioxarray.open_rasterio(path)) as opened:
        numbers, names = opened["band"].values.tolist(), opened.attrs.get("long_name", ())
    names = (names,) if isinstance(names, str) else names
    known = names if len(set(names)) == len(numbers) else map(str, numbers)
    return {number: name for number, name in zip(numbers, known, strict=True) if number != alpha}


def _stated_grid(like: Spatial | None, crs: Any, resolution: Number | None, bounds: Bounds | None) -> Grid | None:
    """The grid that the keywords of a call name whole; None where they leave a part to the files."""
    if like is not None:
        if crs is not None:
            raise ConfigError("Give like, or crs, resolution and bounds: the CRS is that of like.")
        grid = grid_of(like, "like")
        fitting = replace(grid, resolution=exact(resolution)) if resolution is not None else grid
        return fitting.with_extent(fitting.covering(bounds or grid.bounds)) if (resolution or bounds) else grid
    if crs is None or resolution is None or bounds is None:
        return None
    return Grid.from_bounds(bounds, crs=metric_crs(crs), resolution=resolution)


def _tiles_grid(index: TileIndex, crs: Any, resolution: Number | None, bounds: Bounds | None) -> Grid:
    """The grid of the tiles themselves, but for what is given."""
    native = native_grid(index)
    if native.grid is None and (crs is None or resolution is None):
        raise InputError(f"{native.reason}: there is no one grid of their own, so give crs and resolution, or like.")
    own_crs, own_resolution = (native.grid.crs, native.grid.resolution) if native.grid else (None, None)
    wanted = metric_crs(crs or own_crs), exact(resolution if resolution is not None else cast("Number", own_resolution))
    if native.grid and wanted == (own_crs, own_resolution):
        grid = native.grid
    else:
        grid = Grid(crs=wanted[0], resolution=wanted[1], extent=_UNIT)
        around = MosaicSource.of(index, grid).bounds(grid)
        grid = grid.with_extent(grid.covering(cast("Bounds", around)))
    return grid.with_extent(grid.covering(bounds)) if bounds else grid


class _LazyMosaic:
    """Pixels and validity of a mosaic as lazy arrays; they are read together, and the last ones are kept."""

    def __init__(self, source: MosaicSource) -> None:
        self._source = source
        self._last: tuple[Extent, Raster] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_source": self._source, "_last": None}

    @property
    def nodata(self) -> float:
        """Value of pixels without measurement."""
        return float("nan") if self._source.dtype.kind == "f" else 0

    @property
    def pixels(self) -> LazyArray:
        """``(band, y, x)``."""
        shape = (len(self._source.bands), *self._source.grid.shape)
        return LazyArray(shape, self._source.dtype, self._read_pixels)

    @property
    def valid(self) -> LazyArray:
        """Bool ``(y, x)``."""
        return LazyArray(self._source.grid.shape, np.bool_, self._read_valid)

    def _read_pixels(self, key: tuple[Any, ...]) -> NDArray[Any]:
        raster, inner = self._raster(key[1:])
        return _picked(np.where(raster.valid, raster.values, raster.values.dtype.type(self.nodata)), (key[0], *inner))

    def _read_valid(self, key: tuple[Any, ...]) -> NDArray[Any]:
        raster, inner = self._raster(key)
        return _picked(raster.valid, inner)

    def _raster(self, key: tuple[Any, ...]) -> tuple[Raster, tuple[Any, ...]]:
        """The pixels that hold those of ``key``, and ``key`` counted from the first of them."""
        grid, last = self._source.grid, self._last
        places = [np.arange(size)[part] for size, part in zip(grid.shape, key, strict=True)]
        spans = [(int(np.min(each)), int(np.max(each)) + 1) if np.size(each) else (0, 0) for each in places]
        (top, bottom), (left, right) = spans
        y, x = grid.extent.y.start, grid.extent.x.start
        extent = Extent.of((y + top, y + bottom), (x + left, x + right))
        inner = places[0] - top, places[1] - left
        if last is not None and last[0] == extent:
            return last[1], inner
        if not extent.size:
            values = np.zeros((len(self._source.bands), *extent.shape), self._source.dtype)
            return Raster(values=values, valid=np.zeros(extent.shape, np.bool_)), inner
        raster = self._source.read(grid.with_extent(extent), self._source.bands)
        self._last = extent, raster
        return raster, inner


def _picked(values: NDArray[Any], key: tuple[Any, ...]) -> NDArray[Any]:
    """Outer indexing: each axis by its own part of ``key``, from the last, as an integer takes its axis away."""
    for axis in reversed(range(values.ndim)):
        values = values[(slice(None),) * axis + (key[axis],)]
    return values


def _observations(items: Any, query: StacQuery) -> tuple[ObservationScenes, ...]:
    """Dates of items that were found before."""
    read = [read_item(item, query) for item in _item_dicts(items)]
    observations, _ = group_observations(each for each in read if isinstance(each, Scene))
    if not observations:
        reasons = sorted({each.reason for each in read if not isinstance(each, Scene)})
        raise InputError(f"None of {len(read)} items can be used for {query.modality}: {'; '.join(reasons) or 'none'}.")
    return observations


def _item_dicts(items: Any) -> Iterable[dict[str, Any]]:
    if hasattr(items, "items_as_dicts"):  # a search
        return cast("Iterable[dict[str, Any]]", items.items_as_dicts())
    listed = items.get_items(recursive=True) if hasattr(items, "get_items") else items
    return [item if isinstance(item, dict) else _absolute(item) for item in listed]


def _absolute(item: Any) -> dict[str, Any]:
    """A `pystac.Item` as JSON, the addresses of its files made absolute."""
    content: dict[str, Any] = item.to_dict(include_self_link=False, transform_hrefs=False)
    for key, asset in item.assets.items():
        content["assets"][key]["href"] = asset.get_absolute_href() or asset.href
    return content


def _lonlat(grid: Grid) -> Bounds:
    return grid.geobox.geographic_extent.boundingbox.bbox


def _with_pixel_classes(series: StacSeries, chunks: Chunks) -> xr.DataArray:
    """The stack of a series, its pixel classes as a coordinate."""
    bands, mask = series.bands, series.cloud_mask
    planes = series.stack(bands=(*bands, *class_bands(mask)), chunk=_CHUNK)
    planes = planes if chunks in (None, {}, "auto") else planes.chunk({**chunks, "band": -1})  # type: ignore[dict-item]
    names = planes["band"].values.tolist()

    def classify(block: NDArray[Any]) -> NDArray[np.uint8]:
        valid = (block[..., : len(bands)] != 0).all(-1)
        return classify_pixels({name: block[..., place] for place, name in enumerate(names)}, mask, valid)

    pixel_class = xr.apply_ufunc(
        classify, planes, input_core_dims=[["band"]], dask="parallelized", output_dtypes=[np.uint8]
    )
    measured = planes.sel(band=list(bands)).astype(series.dtype).assign_coords(pixel_class=pixel_class)
    measured.attrs = {"nodata": 0, "quantity": series.quantity, **({"cloud_mask": json.dumps(mask)} if mask else {})}
    return measured


def _placed(array: xr.DataArray, grid: Grid) -> xr.DataArray:
    placed: xr.DataArray = array.rio.write_crs(grid.crs)
    return cast("xr.DataArray", placed.rio.write_transform(grid.transform))
