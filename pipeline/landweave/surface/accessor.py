"""``.landweave`` of xarray objects: what a map, a layer of it, or a part of either can do."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import geopandas
import numpy as np
import xarray as xr
from numpy.typing import NDArray

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent
from landweave.core.legend import CONFIDENCE_SCALE, NODATA, Legend
from landweave.core.metrics import Scores, Seams, score, seams, stored_lattice
from landweave.core.pyramid import base_of, coarsen, depth, level_grid
from landweave.formats.cog import TILE, write_cog
from landweave.jobs.progress import Progress, resolve_progress
from landweave.publishing.zone_counts import count_here
from landweave.sources.arrays import grid_of
from landweave.store.georeference import extent_from_json, grid_from_json
from landweave.surface.extras import load_viewer
from landweave.surface.hectares import ZoneSource, measure_zones

if TYPE_CHECKING:
    from matplotlib.axes import Axes

Truth = xr.DataArray | NDArray[np.uint8]


class MapAccessor:
    """What an xarray object of a map can do beyond xarray, of a slice as of the whole."""

    def __init__(self, mapped: xr.Dataset | xr.DataArray) -> None:
        self._mapped = mapped

    @property
    def legend(self) -> Legend:
        """What the codes of the classes mean.

        Raises
        ------
        InputError
            When the object does not say it.
        """
        if stated := self._mapped.attrs.get("legend"):
            return Legend.from_json(stated)
        attrs = self._layer.attrs
        if not {"flag_values", "flag_meanings", "flag_colors"} <= attrs.keys():
            raise InputError(f"{self._layer.name!r} has no legend: no attributes flag_values and flag_meanings.")
        words, colors = attrs["flag_meanings"].split(), attrs["flag_colors"].split()
        return Legend.from_flags(str(self._layer.name), attrs["flag_values"], words, colors)

    @property
    def grid(self) -> Grid:
        """The exact pixels of the object."""
        return grid_of(self._mapped, "The map")

    def plot(self, ax: Axes | None = None) -> Axes:
        """Draw classes with their colours and a legend, confidence with a colour bar.

        Parameters
        ----------
        ax
            Axes of matplotlib; the current ones by default.

        Returns
        -------
        The axes.
        """
        from matplotlib import pyplot as plt

        axes = plt.gca() if ax is None else ax
        layer = self._layer
        if "flag_values" in layer.attrs:
            from landweave.formats.picture import draw_classes

            draw_classes(_codes(layer), axes)
            return axes
        x0, y0, x1, y1 = self.grid.bounds
        stored = _codes(layer)
        probability = stored.where(stored != NODATA) / CONFIDENCE_SCALE
        image = axes.imshow(probability.values, extent=(x0, x1, y0, y1), vmin=0, vmax=1)
        axes.figure.colorbar(image, ax=axes, label="probability")
        return axes

    def to_cog(self, path: str | os.PathLike[str], array: str | None = None) -> Path:
        """Write a Cloud-Optimised GeoTIFF with colours, names of classes and overviews; the pixels are loaded.

        Of a whole dataset it covers the bounds of the area, of a part or a layer all of it.

        Parameters
        ----------
        path
            File to write; an earlier one of this map is replaced.
        array
            Of a dataset, ``landcover`` (by default) or ``confidence``.

        Raises
        ------
        InputError
            When there is no such array.
        OutputError
            When anything but an earlier file of this map is there, or the file cannot be written.
        """
        reader = self._reader
        return write_cog(reader, path, array or reader.arrays[0])

    def to_picture(self, path: str | os.PathLike[str], *, max_size: int = 2048) -> Path:
        """Write land cover as a PNG with legend and scale bar; the pixels are loaded.

        Parameters
        ----------
        path
            File to write; an earlier one of this map is replaced.
        max_size
            Pixels a side, at most.
        """
        from landweave.formats.picture import write_picture

        return write_picture(self._reader, path, max_size=max_size)

    def area_by_class(
        self,
        zones: ZoneSource,
        *,
        layer: str | None = None,
        where: str | None = None,
        progress: Progress | bool = True,
    ) -> geopandas.GeoDataFrame:
        """Hectares of each class in each zone, one row a zone; the pixels are loaded piece by piece.

        A pixel is in a zone when its centre is; it counts in each of zones that overlap. Of a part of a map, what was
        cut off counts as not mapped.

        Parameters
        ----------
        zones
            A vector file of polygons in any CRS (edges are bent as the map's CRS bends them), or a GeoDataFrame.
        layer
            Of a file that has several.
        where
            SQL filter on the columns of a file, such as ``"code = '31'"``.
        progress
            True for a bar on a terminal or in a notebook, False for none.

        Returns
        -------
        geopandas.GeoDataFrame
            The columns of the zones, with ``zone`` (number in the file, from 1), ``area_ha``, ``not_mapped`` (share),
            ``confidence`` (mean), and ``<class>_ha`` and ``<class>_confidence`` for each class; ``attrs["notes"]``.

        Raises
        ------
        InputError
            When the zones cannot be used or none meets the map, or its CRS does not keep areas to 1 %.
        """
        grid = self.grid
        counted = partial(count_here, partial(self._pixels, grid), grid, progress=resolve_progress(progress))
        return measure_zones(counted, grid, self.legend, zones, layer=layer, where=where)

    def view(self) -> Any:
        """The map at any zoom in a notebook: classes and confidence in tiles, with a legend (an `ipyleaflet.Map`).

        A server beside the kernel reads the tiles that are looked at; it ends with the kernel.

        Raises
        ------
        ConfigError
            When the extra ``view`` is not installed.
        """
        viewer = load_viewer()
        return viewer.notebook_map(viewer.view_of_dataset(self._mapped, self.grid, self.legend))

    def scores(self, truth: Truth) -> Scores:
        """Scores of the classes against ``truth``: codes by coordinates, or of the same shape; not of 255 and NaN.

        Raises
        ------
        InputError
            When they share no pixel, shapes differ, or a value is no code.
        """
        codes = [entry.code for entry in self.legend.classes if entry.trained]
        found = score(self._like(truth), self._classes, codes)
        if not found.confusion.sum():
            raise InputError("The truth shares no pixel with the map: both have to be known there, in one CRS.")
        return found

    def seams(self, truth: Truth | None = None) -> Seams:
        """How visible the borders of windows and blocks are, held against ``truth`` where there is one.

        Raises
        ------
        InputError
            When the provenance does not state the windows, or pixels are coarser than the model's.
        """
        lattice = stored_lattice(self._provenance)
        if lattice is None:
            raise InputError(
                "Seams need the windows (provenance) and the pixels of the model: these are missing or coarser."
            )
        extent, output = self.grid.extent, self._provenance["fingerprint_fields"].get("output", {})
        known = None if truth is None else self._like(truth)
        return seams(self._classes, extent, lattice, _blocks(output, extent, lattice.stride), truth=known)

    @property
    def _layer(self) -> xr.DataArray:
        """The array itself; of a map its land cover, of a ledger its states."""
        if isinstance(self._mapped, xr.DataArray):
            return self._mapped
        for name in ("landcover", "state"):
            if name in self._mapped:
                return self._mapped[name]
        names = ", ".join(map(str, self._mapped.data_vars)) or "nothing"
        raise InputError(f"This is no map: it has {names}, neither landcover nor a legend.")

    @property
    def _classes(self) -> NDArray[np.uint8]:
        return _codes(self._layer.transpose("y", "x")).values

    def _pixels(self, grid: Grid, extent: Extent) -> tuple[NDArray[np.uint8], NDArray[np.uint8] | None]:
        """Classes and confidence of a part, as they are stored."""
        rows, columns = extent.slices_in(grid.extent)
        part = self._mapped.isel(y=rows, x=columns)
        classes = MapAccessor(part)._classes
        if isinstance(part, xr.DataArray) or "confidence" not in part:
            return classes, None
        return classes, _codes(part["confidence"].transpose("y", "x")).values

    @property
    def _provenance(self) -> Mapping[str, Any]:
        return self._mapped.attrs.get("provenance") or self._mapped.attrs

    @property
    def _reader(self) -> _LoadedMap:
        mapped = self._mapped
        dataset = mapped if isinstance(mapped, xr.Dataset) else mapped.to_dataset(name=mapped.name or "landcover")
        names = [str(name) for name, layer in dataset.data_vars.items() if set(layer.dims) == {"y", "x"}]
        return _LoadedMap(
            dataset=dataset,
            arrays=tuple(sorted(names, key=lambda name: name != "landcover")),
            accessor=self,
        )

    def _like(self, truth: Truth) -> NDArray[np.uint8]:
        """``truth`` on the pixels of the map, 255 where it has none."""
        layer = self._layer
        if isinstance(truth, xr.DataArray):
            near = float(self.grid.resolution) / 100
            pixels = truth.squeeze(drop=True)
            truth = pixels.reindex(y=layer.y, x=layer.x, method="nearest", tolerance=near, fill_value=NODATA).values
        if truth.shape != layer.shape:
            raise InputError(f"The map has {layer.shape} pixels, the truth {truth.shape}: give it with coordinates.")
        return _known_codes(np.asarray(truth))


@dataclass(frozen=True, kw_only=True)
class _LoadedMap:
    """A part of a map in memory: `landweave.core.protocols.MapReader`, its overviews counted as those of a store."""

    dataset: xr.Dataset
    arrays: tuple[str, ...]
    accessor: MapAccessor
    block_size: int = 8 * TILE
    levels: dict[tuple[str, int], NDArray[np.uint8]] = field(default_factory=dict)

    @property
    def legend(self) -> Legend:
        """What the codes mean."""
        return self.accessor.legend

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Title, licence and source, where the object has them."""
        return {**self.accessor._provenance, **self.dataset.attrs}

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """Pixels of each level, the full resolution first."""
        grid = self.accessor.grid
        return tuple(level_grid(grid, level) for level in range(1 + depth(grid.shape, TILE)))

    @property
    def mapped_extent(self) -> Extent:
        """Of a whole dataset the pixels inside the bounds of the area, of a part of one all of it."""
        own, attrs = self.grids[0], self.dataset.attrs
        is_whole = "grid" in attrs and "mapped" in attrs and own == grid_from_json(attrs["grid"])
        return extent_from_json(attrs["mapped"]) if is_whole else own.extent

    def read(self, array: str, extent: Extent, level: int = 0) -> NDArray[np.uint8]:
        """Pixels of ``extent``, counted as ``grids[level]`` counts; 255 is nodata."""
        return self._level(array, level)[extent.slices_in(self.grids[level].extent)]

    def _level(self, array: str, level: int) -> NDArray[np.uint8]:
        if (array, level) not in self.levels:
            if level:
                base, _ = base_of(level)
                self.levels[array, level] = coarsen(array, self._level(array, base), level - base)[-1]
            else:
                self.levels[array, level] = _codes(self.dataset[array].transpose("y", "x")).values
        return self.levels[array, level]


def _blocks(output: Mapping[str, Any], extent: Extent, stride: int) -> Blocks:
    """The blocks of a map as its provenance has them; of one made without blocks, the strides of its windows."""
    if "block" not in output:
        return Blocks.covering(extent, stride)
    top, left, rows, columns = output["pixels"]
    height, width = output["block"]
    return Blocks(extent=Extent.of((top, top + rows), (left, left + columns)), height=height, width=width)


def _codes(layer: xr.DataArray) -> xr.DataArray:
    """A layer as it is stored, uint8 with 255 where there is nothing: xarray may have masked it, and scaled it."""
    whole = layer
    if layer.dtype.kind == "f":
        scale = layer.encoding.get("scale_factor")
        if layer.name == "confidence" and scale is None and "scale_factor" not in layer.attrs:
            raise InputError("confidence does not say its scale (attribute scale_factor): take it from open_map.")
        whole = (layer / (scale or 1)).round().fillna(NODATA)
    return whole.astype(np.uint8).assign_attrs(layer.attrs)


def _known_codes(truth: NDArray[Any]) -> NDArray[np.uint8]:
    """``truth`` as uint8, 255 where it is NaN."""
    whole = np.where(np.isnan(truth), NODATA, truth) if truth.dtype.kind == "f" else truth
    if not 0 <= whole.min() <= whole.max() <= NODATA:
        raise InputError(f"The truth has values from {whole.min()} to {whole.max()}: codes run from 0 to {NODATA}.")
    return whole.astype(np.uint8)


xr.register_dataset_accessor("landweave")(MapAccessor)  # type: ignore[no-untyped-call]
xr.register_dataarray_accessor("landweave")(MapAccessor)  # type: ignore[no-untyped-call]
