"""Tiles of a cube: each written whole, as one object of every array."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import zarr
from numpy.typing import NDArray

from landweave.errors import OutputError
from landweave.lattice import BlockIndex
from landweave.ports import WrittenObject
from landweave.store.cube_group import CubeGroup
from landweave.store.cube_layout import encode_tile, tile_key
from landweave.store.maps import reread
from landweave.store.zarr_store import checksum64, zarr_store


@dataclass(frozen=True, kw_only=True)
class TileStore:
    """Tiles of one time shard: `landweave.ports.Store`, and what they hold already. Picklable.

    Attributes
    ----------
    group
        The modality.
    shard
        Number of the time shard; 0 for a raster.
    count
        Dates that it will hold; 1 for a raster.
    kept
        How many of them, the first ones, are whole in the tiles to be written: they stay as they are.
    """

    group: CubeGroup
    shard: int = 0
    count: int = 1
    kept: int = 0

    def load(self, index: BlockIndex) -> dict[str, NDArray[Any]]:
        """Arrays of a whole tile by name, the kept dates in place, nothing acquired on the others."""
        template = self.group.template
        arrays = {name: self._empty(name) for name in template.arrays}
        if self.kept:
            rows, columns = template.blocks[index].slices_in(self.group.grid.extent)
            first = self.shard * self.group.length
            for name, values in arrays.items():
                values[: self.kept] = self._read(name, (slice(first, first + self.kept), ..., rows, columns))
        return arrays

    def write(self, index: BlockIndex, arrays: Mapping[str, NDArray[Any]]) -> tuple[WrittenObject, ...]:
        """Write one tile of every array, each as one whole object, atomically; an empty one is no object.

        Parameters
        ----------
        index
            ``(block_y, block_x)``.
        arrays
            As `load` gives them.

        Returns
        -------
        What was written, in the order of the group's arrays. The same values give the same bytes.

        Raises
        ------
        OutputError
            When an array is missing, has another shape or dtype, or cannot be written.
        """
        checked = {name: self._checked(index, name, arrays) for name in self.group.template.arrays}
        written = (self._write_one(index, name, values) for name, values in checked.items())
        return tuple(item for item in written if item is not None)

    def _empty(self, name: str) -> NDArray[Any]:
        template = self.group.template
        return np.zeros(
            template.sizes(name, dates=self.count, pixels=(template.tile, template.tile)), template.array_dtype(name)
        )

    def _read(self, name: str, where: tuple[Any, ...]) -> NDArray[Any]:
        path = f"{self.group.template.modality}/{name}"
        store = zarr_store(self.group.target, read_only=True)
        return reread(
            lambda: np.asarray(zarr.open_array(store, path=path, mode="r", zarr_format=3)[where]),
            f"the dates kept of {self.group.target}/{path}",
        )

    def _checked(self, index: BlockIndex, name: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[Any]:
        template = self.group.template
        wanted = template.sizes(name, dates=self.count, pixels=(template.tile, template.tile))
        dtype, values = template.array_dtype(name), arrays.get(name)
        where = f"Tile {index} of {template.modality} in {self.group.target}"
        if set(arrays) != set(template.arrays) or values is None:
            raise OutputError(f"{where} has arrays {sorted(arrays)}, {template.arrays} are wanted.")
        if values.shape != wanted or values.dtype != dtype:
            raise OutputError(f"{where}: {name} is {values.dtype} {values.shape}, {dtype} {wanted} is wanted.")
        return values

    def _write_one(self, index: BlockIndex, name: str, values: NDArray[Any]) -> WrittenObject | None:
        template = self.group.template
        key = f"{template.modality}/{name}/{tile_key(template, name, self.shard, index)}"
        content = encode_tile(template, name, values)
        if content is None:
            # A killed run may have left an object here, of other dates.
            self.group.target.delete(key)
            return None
        self.group.target.put(key, cast("bytes", content))  # any buffer is put as it is
        return WrittenObject(array=name, size=len(content), checksum=checksum64(content))
