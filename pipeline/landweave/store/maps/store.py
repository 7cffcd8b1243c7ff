"""Maps in Zarr: declared once, written block by block from anywhere, read back whole or in part."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import count, takewhile
from typing import Any

import numpy as np
import zarr
from numpy.typing import NDArray

from landweave.core import pyramid
from landweave.core.errors import InputError, OutputError, ReadError
from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex, Blocks, Extent
from landweave.core.legend import NODATA, Legend
from landweave.core.protocols import WriteFence, WrittenObject
from landweave.store.common import (
    HALF_MADE,
    ROOT,
    check_arrays,
    consolidate,
    declared_contents,
    declaring,
    parsing,
    read_attributes,
    refuse_occupied,
    writing,
)
from landweave.store.georeference import check_georeference
from landweave.store.ledger_store import LEDGER, ZarrLedger, create_ledger, declare_ledger
from landweave.store.maps.layout import declare_level, declared_level, level_path
from landweave.store.maps.template import MapTemplate
from landweave.store.objects import Target, checksum64
from landweave.store.open_arrays import OpenArrays
from landweave.store.zarr_store import zarr_store


@dataclass(frozen=True, kw_only=True)
class MapStore:
    """The arrays of one map: `landweave.core.protocols.Store` and `MapReader`. Picklable, a few kB; thread-safe.

    A run opens its output once (`open_store` or `create_map`), and passes this on: what the root says is in
    ``template``, and every process opens the metadata of each array once, with its first block. A map that is declared
    anew is another `MapStore`.

    Attributes
    ----------
    target
        Where the map is stored.
    template
        What it holds.
    level
        Level that `write` fills: 0 for the map itself, 1 and above for its overviews.
    fence
        Asked before each object is written; None to write always.
    """

    target: Target
    template: MapTemplate
    level: int = 0
    fence: WriteFence | None = None

    @cached_property
    def opened(self) -> OpenArrays:
        """The arrays of all levels, opened in this process."""
        return OpenArrays(self.target)

    @property
    def legend(self) -> Legend:
        """What the codes mean."""
        return self.template.legend

    @property
    def attrs(self) -> Mapping[str, Any]:
        """Provenance, plain JSON values."""
        return self.template.attributes

    @property
    def block_size(self) -> int:
        """Pixels of the longer side of a stored object."""
        return max(self.template.blocks.height, self.template.blocks.width)

    @property
    def blocks(self) -> Blocks:
        """Blocks of this level, of as many pixels each as at level 0; those at the south and east edges are smaller."""
        return replace(self.template.blocks, extent=self.grid.extent)

    @property
    def grid(self) -> Grid:
        """Pixels of this level."""
        return pyramid.level_grid(self.template.grid, self.level)

    @cached_property
    def grids(self) -> tuple[Grid, ...]:
        """Pixels of each level declared, the full resolution first."""
        declared = takewhile(lambda level: self.target.exists(f"{level_path(level)}/{ROOT}"), count())
        return tuple(self.at_level(level).grid for level in declared)

    @property
    def mapped_extent(self) -> Extent:
        """Pixels of level 0 inside the bounds of the area, or of the imagery."""
        return self.template.mapped_extent

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays of this level; probabilities exist at level 0 only."""
        return self.template.arrays_of(self.level)

    @property
    def block_shape(self) -> tuple[int, int]:
        """Number of blocks ``(down, across)``."""
        return self.blocks.shape

    @property
    def ledger(self) -> ZarrLedger:
        """The ledger of its blocks, declared or not."""
        return ZarrLedger(target=self.target)

    def at_level(self, level: int) -> MapStore:
        """Return the same map at another level."""
        return replace(self, level=level)

    def block(self, index: BlockIndex) -> Extent:
        """Return the pixels of one block, clipped to the level."""
        return self.blocks[index]

    def write(self, index: BlockIndex, arrays: Mapping[str, NDArray[Any]]) -> tuple[WrittenObject, ...]:
        """Write one block of every array, each as one whole object, atomically.

        Parameters
        ----------
        index
            ``(block_y, block_x)``.
        arrays
            uint8 ``(y, x)`` by name, ``(class, y, x)`` for ``probability``; all arrays of the level.

        Returns
        -------
        What was written, in the order of `arrays`. The same values give the same bytes.

        Raises
        ------
        OutputError
            When an array is missing, has another shape or dtype, or cannot be written.
        """
        shape, dtype = self.block(index).shape, np.dtype(np.uint8)
        expected = {name: ((*self.template.class_shape(name), *shape), dtype) for name in self.arrays}
        check_arrays(f"Block {index} of {self.target}", arrays, expected)
        return tuple(self.write_array(index, name, arrays[name]) for name in self.arrays)

    def object_key(self, index: BlockIndex, array: str) -> str:
        """Return the key of the object that holds one block of one array.

        Parameters
        ----------
        index
            ``(block_y, block_x)``.
        array
            One of `arrays`.
        """
        classes = ("0",) * (len(self.template.dimensions(array)) - 2)
        return "/".join([level_path(self.level), array, "c", *classes, *map(str, index)])

    def stored_object(self, index: BlockIndex, array: str) -> WrittenObject | None:
        """Return size and checksum of one block of one array as it is stored; None where it is missing or damaged.

        Parameters
        ----------
        index, array
            As in `object_key`.
        """
        content = self.target.get(self.object_key(index, array))
        if content is None:
            return None
        try:
            self.read(array, self.block(index))
        except ReadError:
            return None
        return WrittenObject(array=array, size=len(content), checksum=checksum64(content))

    def read(self, array: str, extent: Extent, level: int | None = None) -> NDArray[np.uint8]:
        """Return pixels of one array, uint8 ``(y, x)`` or ``(class, y, x)``; 255 where nothing was written yet.

        Parameters
        ----------
        array
            One of `arrays`.
        extent
            Counted as the grid of the level counts.
        level
            Of the map; this store's own when not given.

        Raises
        ------
        InputError
            When the extent is not inside the level.
        ReadError
            When what is stored cannot be read, twice.
        """
        level = self.level if level is None else level
        outer = pyramid.level_grid(self.template.grid, level).extent
        if not outer.contains(extent):
            raise InputError(f"{extent} is not inside level {level} of {self.target}, {outer}.")
        return self.opened.read(f"{level_path(level)}/{array}", (..., *extent.slices_in(outer)))

    def read_beyond(self, array: str, extent: Extent) -> NDArray[np.uint8]:
        """Return pixels of one array as `read` does, 255 beyond the level.

        Parameters
        ----------
        array, extent
            As of `read`; the extent may lie anywhere.
        """
        inside = extent.intersect(self.grid.extent)
        shape = (*self.template.class_shape(array), *extent.shape)
        values = np.full(shape, NODATA, np.uint8)
        if inside.size:
            values[..., *inside.slices_in(extent)] = self.read(array, inside)
        return values

    def finalize(self, attributes: Mapping[str, Any] | None = None) -> None:
        """Consolidate the metadata, at the end of a run: one request then opens everything.

        Parameters
        ----------
        attributes
            Of the root; read when not given.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        consolidate(self.target, attributes)

    def write_array(self, index: BlockIndex, name: str, values: NDArray[np.uint8]) -> WrittenObject:
        """Write one block of one array, as `write` does.

        Parameters
        ----------
        index
            ``(block_y, block_x)``.
        name
            One of `arrays`.
        values
            uint8, over the whole block.
        """
        key = (..., *self.block(index).slices_in(self.grid.extent))
        with writing(self.target, f"write block {index} of {name}"):
            written = self.opened.write(f"{level_path(self.level)}/{name}", key, values, fence=self.fence)
        if len(written) != 1:
            raise OutputError(f"Block {index} of {self.target}: {name} went into {len(written)} objects, not 1.")
        return written[0]


def create_map(target: Target, template: MapTemplate) -> MapStore:
    """Declare a map: all metadata and coordinates, no pixel.

    The root's attributes come last: where a creation was killed there is no map yet, and it is begun anew.

    Parameters
    ----------
    target
        Where it is to be stored.
    template
        What it will hold.

    Raises
    ------
    OutputError
        When a map, or anything else, is already there, or the place cannot be written.
    """
    refuse_occupied(target)
    with writing(target, "create a map"):
        root = zarr.create_group(zarr_store(target), attributes=dict(HALF_MADE), overwrite=True)
        with declaring(target, level_path(0)) as store:
            declare_level(store, template, 0, template.grid)
        root.attrs.put(template.to_attributes())
    return MapStore(target=target, template=template)


def map_at(target: Target, attributes: Mapping[str, Any] | None = None) -> MapStore:
    """Return the map at ``target`` by what its root says alone: the rest may be damaged.

    Parameters
    ----------
    target, attributes
        As of `open_store`.

    Raises
    ------
    InputError
        When there is no map, or its root is not what this package writes.
    """
    attributes = read_attributes(target) if attributes is None else attributes
    if attributes is None:
        raise InputError(f"There is no map at {target}: {ROOT} is missing. Was the run started?")
    with parsing(f"{target}"):
        return MapStore(target=target, template=MapTemplate.from_attributes(attributes))


def open_store(target: Target, attributes: Mapping[str, Any] | None = None) -> MapStore:
    """Return the map at ``target``, to go on writing or to read; its coordinates are compared with its grid.

    Parameters
    ----------
    target
        Where it is stored.
    attributes
        Of its root, where `landweave.store.common.read_attributes` has read them already.

    Raises
    ------
    InputError
        When there is no map, or its affine, coordinates and grid disagree.
    """
    found = map_at(target, attributes)
    with parsing(f"{target}"):
        store = zarr_store(target, read_only=True)
        group = zarr.open_group(store, path=level_path(0), mode="r", use_consolidated=False)
        check_georeference(group, found.template.grid)
    return found


def create_map_ledger(store: MapStore) -> ZarrLedger:
    """Declare the ledger of a map, beside it, with the ground coordinates of its blocks."""
    return create_ledger(store.target, _centres(store), store.arrays)


def declared_metadata(store: MapStore, *, ledger: bool) -> dict[str, bytes]:
    """Return the metadata and coordinates of a map as they were declared, by name; those of its overviews left out.

    Parameters
    ----------
    store
        The map.
    ledger
        Whether those of its ledger are included.
    """
    contents = declared_level(store.template, 0, store.template.grid)
    if ledger:
        centres, attributes = _centres(store), {"arrays": list(store.arrays)}
        contents |= declared_contents(LEDGER, lambda new: declare_ledger(new, LEDGER, centres, attributes))
    return contents


def _centres(store: MapStore) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    return store.grid.block_centres(store.blocks)
