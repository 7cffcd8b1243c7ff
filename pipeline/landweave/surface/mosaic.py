"""Tiles of a mosaic as one lazy xarray object, opened without a configuration."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import rioxarray
import xarray as xr
from numpy.typing import NDArray

from landweave.core.crs import metric_crs
from landweave.core.errors import InputError
from landweave.core.grid import Bounds, Grid, Number, exact
from landweave.core.lattice import Extent, Span
from landweave.core.protocols import Raster
from landweave.sources.mosaic.alignment import native_grid
from landweave.sources.mosaic.listing import list_products
from landweave.sources.mosaic.source import MosaicSource
from landweave.sources.mosaic.spec import BandFiles, MosaicSpec
from landweave.sources.mosaic.tile_index import TileIndex, index_tiles
from landweave.sources.raster_facts import read_raster_facts
from landweave.sources.resampling.kernels import KernelName
from landweave.store.lazy_array import Chunks, LazyArray, chunked, lazy_variable
from landweave.surface.grids import CHUNK, Spatial, stated_grid, with_georeference

_EXPECTED = ("as images in false colour do", "state no version", "are held against the checksums")
"""Parts of notes that say nothing odd of pixels that are read once."""

Files = str | Path | Iterable[str | Path]


def open_mosaic(  # noqa: PLR0913  the keywords that xarray and rioxarray users expect
    files: Files,
    bands: Mapping[str, int | tuple[Files, int]] | None = None,
    *,
    crs: Any = None,
    resolution: Number | None = None,
    bounds: Bounds | None = None,
    like: Spatial | None = None,
    resampling: KernelName = "bilinear",
    nodata: float | None = None,
    nodata_border: bool = False,
    order: Literal["name", "newest", "listed"] = "name",
    tiles_crs: str | None = None,
    scale: float | None = None,
    offset: float | None = None,
    checksums: bool | str | None = None,
    chunks: Chunks = None,
    modality: str | None = None,
) -> xr.DataArray:
    """Tiles as one lazy array ``(band, y, x)`` on one grid; resampled where their pixels are not those of the grid.

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
        ``nearest``, ``bilinear`` or ``cubic``; used where pixels are not those of the grid. Numbers of a palette, as of
        classes, are only given with ``nearest``.
    nodata
        Stored number without measurement, instead of the files' own tags. Of a number from 0 to 255 all bands of a
        file have to hold it, any other counts in any band.
    nodata_border
        Whether black pixels that reach a tile's edge are without measurement, file by file.
    order
        Which tile wins where tiles overlap: the first by ``name``, the ``newest`` by the date in names or tags, or the
        first ``listed``. A warning is given where older tiles hide newer ones, as of all else that is odd.
    tiles_crs
        CRS of tiles whose own is missing, cannot be read or has no known datum, such as ``EPSG:2154``.
    scale, offset
        Values are ``stored * scale + offset``, instead of by the files' own tags; 1 and 0 where one alone is given.
    checksums
        Whether each file is read whole, once a process, to hold it against the checksums of a list beside it
        (``SHA256SUMS``, ``a.tif.md5``), by default those of this machine; or such a list.
    chunks
        None for arrays that are indexed lazily, without dask; otherwise as `xarray.open_dataset` takes them.
    modality
        Name of the array, such as ``AERIAL_RGBI``.

    Returns
    -------
    xarray.DataArray
        In the tiles' own dtype, or float32 where tags of scale and offset apply; where nothing is measured NaN, or of
        integers 0, beside which the coordinate ``valid (y, x)`` marks what is measured. With CRS, transform, names of
        bands and pixel-centre coordinates.

    Raises
    ------
    InputError
        When files cannot be used, or share no grid and none is given.
    ConfigError
        When the CRS is not in metres, or ``like`` comes with another grid.

    Examples
    --------
    >>> ortho = open_mosaic("ortho.tif", bands={"R": 1, "G": 2, "B": 3})
    >>> ortho.dims, ortho.shape, str(ortho.dtype)
    (('band', 'y', 'x'), (3, 256, 256), 'uint8')
    """
    spec = MosaicSpec(
        modality=modality or "mosaic",
        bands=_band_files(files, bands),
        root=str(Path.cwd()),
        resampling=resampling,
        nodata=nodata,
        nodata_border=nodata_border,
        palettes=resampling == "nearest",
        order=order,
        crs=tiles_crs,
        scale=scale,
        offset=offset,
        checksums=checksums,
    )
    try:
        index = index_tiles(spec)
    except InputError as error:
        raise InputError(str(error).replace("`crs`", "`tiles_crs`")) from error
    grid = stated_grid(like, crs, resolution, bounds) or _tiles_grid(index, crs, resolution, bounds)
    source = MosaicSource.of(index, grid)
    for note in _odd_notes(source, named=bands is not None):
        warnings.warn(note, stacklevel=2)
    nodata_value = float("nan") if source.dtype.kind == "f" else 0
    tiles = _LazyTiles(source)
    pixels = LazyArray((len(source.bands), *grid.shape), source.dtype, partial(tiles.pixels, nodata_value))
    variables = {spec.modality: lazy_variable(("band", "y", "x"), pixels, {"nodata": nodata_value})}
    if nodata_value == 0:
        attributes = {"long_name": "whether every band holds a measurement"}
        variables["valid"] = lazy_variable(("y", "x"), LazyArray(grid.shape, np.bool_, tiles.valid), attributes)
    dataset = xr.Dataset(variables, coords={"band": list(source.bands), "y": grid.y, "x": grid.x})
    dataset = chunked(dataset, chunks, {"y": CHUNK, "x": CHUNK}).set_coords([*variables][1:])
    return with_georeference(dataset[spec.modality], grid)


def _band_files(files: Files, bands: Mapping[str, int | tuple[Files, int]] | None) -> dict[str, BandFiles]:
    paths = _paths(files)
    if bands is None:
        listed = MosaicSpec(modality="mosaic", bands={"1": BandFiles(files=paths)}, root=str(Path.cwd()))
        names = _band_names(list_products(listed)[0].paths[0])
        return {name: BandFiles(files=paths, band=number) for number, name in names.items()}
    own = {name: band if isinstance(band, tuple) else (paths, band) for name, band in bands.items()}
    return {name: BandFiles(files=_paths(named), band=number) for name, (named, number) in own.items()}


def _odd_notes(source: MosaicSource, *, named: bool) -> list[str]:
    """Notes on the pixels, but for what is usual and what the caller asked for; bands may have numbers for names."""
    spec = source.index.spec
    asked = () if spec.order == "name" else (f"by order: {spec.order}", f"tiles are read {spec.order} first")
    numbers = () if named else (" is read from band ",)
    notes: list[str] = source.describe()["notes"]
    return [note for note in notes if not any(part in note for part in (*_EXPECTED, *asked, *numbers))]


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


def _tiles_grid(index: TileIndex, crs: Any, resolution: Number | None, bounds: Bounds | None) -> Grid:
    """The grid of the tiles themselves, but for what is given."""
    native = native_grid(index)
    grid = native.grid
    if grid is not None:
        pixels = metric_crs(crs or grid.crs), exact(resolution or grid.resolution)
    elif crs is not None and resolution is not None:
        pixels = metric_crs(crs), exact(resolution)
    else:
        raise InputError(f"{native.reason}: there is no one grid of their own, so give crs and resolution, or like.")
    if grid is None or pixels != (grid.crs, grid.resolution):
        grid = Grid(crs=pixels[0], resolution=pixels[1], extent=Extent.of((0, 1), (0, 1)))
        grid = grid.with_extent(grid.covering(cast("Bounds", MosaicSource.of(index, grid).bounds(grid))))
    return grid.with_extent(grid.covering(bounds)) if bounds else grid


class _LazyTiles:
    """Pixels and validity of a mosaic by outer indexers; they are read together, and the last ones are kept."""

    def __init__(self, source: MosaicSource) -> None:
        self._source = source
        self._last: tuple[Extent, Raster] | None = None

    def __getstate__(self) -> dict[str, Any]:
        return {"_source": self._source, "_last": None}

    def pixels(self, nodata: float, key: tuple[Any, ...]) -> NDArray[Any]:
        """Cells ``(band, y, x)``, ``nodata`` where nothing is measured."""
        raster, inner = self._raster(key[1:])
        values = np.where(raster.valid, raster.values, raster.values.dtype.type(nodata))
        return _outer_index(values, (key[0], *inner))

    def valid(self, key: tuple[Any, ...]) -> NDArray[Any]:
        """Cells ``(y, x)``: whether every band holds a measurement."""
        raster, inner = self._raster(key)
        return _outer_index(raster.valid, inner)

    def _raster(self, key: tuple[Any, ...]) -> tuple[Raster, tuple[Any, ...]]:
        """The pixels that hold those of ``key``, and ``key`` counted from the first of them."""
        grid, last = self._source.grid, self._last
        spans = grid.extent.y, grid.extent.x
        rows, columns = (np.arange(span.start, span.stop)[part] for span, part in zip(spans, key, strict=True))
        extent = Extent(Span.hull(rows), Span.hull(columns))
        if last is None or last[0] != extent:
            self._last = last = extent, self._read(grid.with_extent(extent))
        return last[1], (rows - extent.y.start, columns - extent.x.start)

    def _read(self, grid: Grid) -> Raster:
        if grid.extent.size:
            return self._source.read(grid, self._source.bands)
        values = np.zeros((len(self._source.bands), *grid.shape), self._source.dtype)
        return Raster(values=values, valid=np.zeros(grid.shape, np.bool_))


def _outer_index(values: NDArray[Any], key: tuple[Any, ...]) -> NDArray[Any]:
    """Outer indexing: each axis by its own part of ``key``, from the last, as an integer takes its axis away."""
    for axis in reversed(range(values.ndim)):
        values = values[(slice(None),) * axis + (key[axis],)]
    return values
