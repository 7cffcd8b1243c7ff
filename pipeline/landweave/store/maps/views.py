"""A map as a reader sees it: lazy xarray objects, whether its run goes on or has ended."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from html import escape
from typing import Any, cast

import numpy as np
import rioxarray  # noqa: F401  registers the `.rio` of every view
import xarray as xr
import zarr
from numpy.typing import NDArray
from xarray.backends import BackendArray
from xarray.core import indexing

from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.core.legend import Legend
from landweave.core.protocols import LEDGER_FIELDS, BlockState
from landweave.store.maps.layout import level_path
from landweave.store.maps.store import MapStore, count_levels, open_store, read_attributes, reread
from landweave.store.objects import Target
from landweave.store.zarr_store import zarr_store

LEDGER = "ledger"


def open_map(where: Any, *, dask: bool = False, storage_options: Mapping[str, Any] | None = None) -> Map:
    """The map at a path or URL; nothing but metadata and coordinates is read.

    Parameters
    ----------
    where
        A path, a URL, or a `Target`.
    dask
        Whether arrays are dask arrays of one chunk a block; they are lazily indexed otherwise.
    storage_options
        Of the object store, as `Target.parse` takes them.

    Raises
    ------
    InputError
        When there is no map.
    """
    return Map(store=open_store(Target.parse(where, storage_options)), dask=dask)


@dataclass(frozen=True, kw_only=True, repr=False)
class Map:
    """A land-cover map: `landweave.core.protocols.MapReader`, and views of it for notebooks.

    Views are lazy; what is not yet mapped reads as 255. A view of a map whose run goes on shows each block as soon
    as it is written.
    """

    store: MapStore
    dask: bool = False

    @property
    def legend(self) -> Legend:
        """What the codes mean."""
        return self.store.template.legend

    @property
    def grid(self) -> Grid:
        """Pixels of the full resolution."""
        return self.store.grid

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """Pixels of each level, the full resolution first."""
        return tuple(self.store.at_level(level).grid for level in range(count_levels(self.store.target)))

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays at full resolution."""
        return self.store.arrays

    @property
    def block_size(self) -> int:
        """Pixels a side of a stored object."""
        return self.store.template.blocks.size

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Provenance: where the map comes from and how it was made."""
        return self.store.template.attributes

    def read(self, array: str, extent: Extent, level: int = 0) -> NDArray[np.uint8]:
        """Pixels of ``extent``, counted as ``grids[level]`` counts.

        Raises
        ------
        InputError
            When the extent is not inside the level.
        ReadError
            When what is stored cannot be read.
        """
        return self.store.at_level(level).read(array, extent)

    @cached_property
    def dataset(self) -> xr.Dataset:
        """The full resolution: ``landcover``, ``confidence``, … over ``(y, x)``, uint8, 255 = nodata."""
        return self._level(0)

    @property
    def tree(self) -> xr.DataTree:
        """All levels and the ledger, under the paths they have in the store."""
        groups = {f"/{level_path(level)}": self._level(level) for level in range(len(self.grids))}
        groups["/"] = xr.Dataset(attrs=read_attributes(self.store.target))
        if self.store.target.exists(f"{LEDGER}/zarr.json"):
            groups[f"/{LEDGER}"] = self.ledger
        return xr.DataTree.from_dict(groups)

    @property
    def ledger(self) -> xr.Dataset:
        """What became of each block, over ``(block_y, block_x)``, as it stands now; ``reason`` is text.

        Raises
        ------
        InputError
            When the map has no ledger.
        """
        if not self.store.target.exists(f"{LEDGER}/zarr.json"):
            raise InputError(f"The map at {self.store.target} has no ledger.")
        dataset, group = _open(self.store.target, LEDGER)
        views = {
            name: _lazy(dataset[name], (_Reasons if name == "reason" else _Stored)(_array(group, name)))
            for name in LEDGER_FIELDS
        }
        names = [str(name) for name in dataset.attrs["arrays"]]
        return dataset.drop_vars(list(views)).assign(views).assign_coords(array=names)

    @property
    def done(self) -> float:
        """Share of the blocks that have ground and input to map which are mapped, 0 to 1."""
        states = self.ledger["state"].values
        idle = np.isin(states, (BlockState.OUTSIDE, BlockState.NO_INPUT)).sum()
        wanted = states.size - int(idle)
        return float((states == BlockState.DONE).sum() / wanted) if wanted else 1.0

    def __repr__(self) -> str:
        return "\n".join(f"{name:<12}{text}" for name, text in self._facts().items())

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr><th>{escape(name)}</th><td>{escape(text)}</td></tr>" for name, text in self._facts().items()
        )
        swatches = " ".join(
            f'<span style="white-space:nowrap"><span style="background:{cls.color};border:1px solid #999">'
            f"&emsp;</span> {cls.code} {escape(cls.name)}</span>"
            for cls in self.legend.classes
        )
        return f"<table>{rows}</table><p>{swatches}</p>"

    def _facts(self) -> dict[str, str]:
        height, width = self.grid.shape
        metres = float(self.grid.resolution)
        down, across = self.store.block_shape
        facts = {
            "map": f"{self.attrs.get('title', self.legend.name)} at {self.store.target}",
            "grid": f"{height:,} x {width:,} pixels of {metres:g} m, {self.grid.crs}, "
            f"{height * width * metres**2 / 1e6:,.2f} km2",
            "arrays": f"{', '.join(self.arrays)}; {len(self.grids)} level(s)",
            "blocks": f"{down} x {across} of {self.block_size} pixels",
        }
        if self.store.target.exists(f"{LEDGER}/zarr.json"):
            facts["done"] = f"{self.done:.1%}"
        return facts

    def _level(self, level: int) -> xr.Dataset:
        dataset, group = _open(self.store.target, level_path(level))
        names = self.store.at_level(level).arrays
        views = {name: _lazy(dataset[name], _Stored(_array(group, name))) for name in names}
        dataset = dataset.drop_vars(names).assign(views)
        if not self.dask:
            return dataset
        return dataset.chunk({"y": self.block_size, "x": self.block_size})


class _Stored(BackendArray):
    """A stored array, indexed lazily, that reads a second time when a shard was replaced under it."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        self.array = array
        self.shape: tuple[int, ...] = array.shape
        self.dtype: np.dtype[Any] = array.dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.OUTER, self._get)

    def _get(self, key: tuple[Any, ...]) -> NDArray[Any]:
        return reread(lambda: np.asarray(self.array.oindex[key]), f"{self.array.store}/{self.array.path}")


class _Reasons(_Stored):
    """The reasons of a ledger, ``(block_y, block_x, reason_byte)`` stored, as ``(block_y, block_x)`` of text."""

    def __init__(self, array: zarr.Array[Any]) -> None:
        super().__init__(array)
        self.shape = array.shape[:2]
        self.dtype = np.dtype(object)

    def _get(self, key: tuple[Any, ...]) -> NDArray[Any]:
        raw = super()._get((*key, slice(None)))
        texts = np.empty(raw.shape[:-1], dtype=object)
        for place in np.ndindex(texts.shape):
            texts[place] = raw[place].tobytes().rstrip(b"\0").decode("utf-8", errors="replace")
        return texts


def _open(target: Target, path: str) -> tuple[xr.Dataset, zarr.Group]:
    """One group as a dataset, by its own metadata: consolidated metadata may be older or not there yet."""
    store = zarr_store(target, read_only=True)
    dataset = xr.open_zarr(
        store, group=path, chunks=None, consolidated=False, decode_coords="all", mask_and_scale=False
    )
    return dataset, zarr.open_group(store, path=path, mode="r", use_consolidated=False)


def _array(group: zarr.Group, name: str) -> zarr.Array[Any]:
    return cast("zarr.Array[Any]", group[name])


def _lazy(like: xr.DataArray, stored: _Stored) -> xr.Variable:
    lazy = indexing.LazilyIndexedArray(stored)
    return xr.Variable(like.dims[: len(stored.shape)], lazy, attrs=like.attrs, encoding=like.encoding)
