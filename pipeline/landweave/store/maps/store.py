"""Maps in Zarr: declared once, written block by block from anywhere, read back whole or in part."""

from __future__ import annotations

import json
import time
import warnings
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import zarr
from numpy.typing import NDArray

from landweave.core import pyramid
from landweave.core.errors import InputError, OutputError, ReadError
from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex, Extent
from landweave.core.protocols import WrittenObject
from landweave.store.maps.layout import check_georeference, declare_level, level_path
from landweave.store.maps.template import FORMAT, MapTemplate
from landweave.store.objects import REMOTE_ERRORS, Target, unwritable
from landweave.store.zarr_store import Recorder, zarr_store

ROOT = "zarr.json"

_HALF_MADE = {"format": FORMAT, "declared": False}

REREAD_S = 0.2
"""Pause before the second try of a read that met a shard being replaced."""

T = TypeVar("T")


@dataclass(frozen=True, kw_only=True)
class MapStore:
    """The arrays of one map, at one level: `landweave.core.protocols.Store`. Picklable, a few kB; safe in any thread.

    Attributes
    ----------
    target
        Where the map lies.
    template
        What it holds.
    level
        0 for the map itself, 1 and above for its overviews.
    """

    target: Target
    template: MapTemplate
    level: int = 0

    @property
    def grid(self) -> Grid:
        """Pixels of this level."""
        return pyramid.level_grid(self.template.grid, self.level)

    @property
    def arrays(self) -> tuple[str, ...]:
        """Names of the arrays of this level; probabilities exist at level 0 only."""
        return tuple(name for name in self.template.arrays if not (self.level and name == "probability"))

    @property
    def block_shape(self) -> tuple[int, int]:
        """Number of blocks ``(down, across)``; those at the south and east edges of an overview may be smaller."""
        size = self.template.blocks.size
        height, width = self.grid.shape
        return -(-height // size), -(-width // size)

    def at_level(self, level: int) -> MapStore:
        """The same map at another level."""
        return MapStore(target=self.target, template=self.template, level=level)

    def block(self, index: BlockIndex) -> Extent:
        """Pixels of one block, clipped to the level."""
        size, outer = self.template.blocks.size, self.grid.extent
        top, left = outer.y.start + index[0] * size, outer.x.start + index[1] * size
        return Extent.of((top, top + size), (left, left + size)).intersect(outer)

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
        checked = {name: self._checked(index, name, arrays) for name in self.arrays}
        return tuple(self._write_one(index, name, values) for name, values in checked.items())

    def read(self, array: str, extent: Extent) -> NDArray[np.uint8]:
        """Pixels of ``extent``, counted as `grid` counts; 255 where nothing was written yet.

        Raises
        ------
        InputError
            When the extent is not inside the level.
        ReadError
            When what is stored cannot be read, twice.
        """
        if not self.grid.extent.contains(extent):
            raise InputError(f"{extent} is not inside level {self.level} of {self.target}, {self.grid.extent}.")
        rows, columns = extent.slices_in(self.grid.extent)
        where = f"{self.target}/{level_path(self.level)}/{array} at {extent}"
        return reread(lambda: np.asarray(self._opened(array)[..., rows, columns]), where)

    def finalize(self) -> None:
        """Consolidate the metadata, at the end of a run: one request then opens everything.

        Raises
        ------
        OutputError
            When it cannot be written.
        """
        consolidate(self.target)

    def _opened(self, array: str) -> zarr.Array[Any]:
        return zarr.open_array(
            zarr_store(self.target, read_only=True), path=f"{level_path(self.level)}/{array}", mode="r"
        )

    def _checked(self, index: BlockIndex, name: str, arrays: Mapping[str, NDArray[Any]]) -> NDArray[np.uint8]:
        leading = self.template.block_shape(name)[:-2]
        wanted = (*leading, *self.block(index).shape)
        values = arrays.get(name)
        if set(arrays) != set(self.arrays) or values is None:
            raise OutputError(f"Block {index} of {self.target} has arrays {sorted(arrays)}, {self.arrays} are wanted.")
        if values.shape != wanted or values.dtype != np.uint8:
            raise OutputError(
                f"Block {index} of {self.target}: {name} is {values.dtype} {values.shape}, uint8 {wanted} is wanted."
            )
        return values

    def _write_one(self, index: BlockIndex, name: str, values: NDArray[np.uint8]) -> WrittenObject:
        recorder = Recorder(zarr_store(self.target))
        path = f"{level_path(self.level)}/{name}"
        rows, columns = self.block(index).slices_in(self.grid.extent)
        try:
            array = zarr.open_array(recorder, path=path, mode="r+")
            # Opening forgets this setting, which is not stored: nodata is an answer and has its checksum too.
            array.with_config({"write_empty_chunks": True})[..., rows, columns] = values
        except REMOTE_ERRORS as error:
            raise unwritable(self.target, f"write block {index} of {name}", error) from error
        if len(recorder.written) != 1:
            raise OutputError(
                f"Block {index} of {self.target}: {name} went into {len(recorder.written)} objects, not 1."
            )
        _, size, checksum = recorder.written[0]
        return WrittenObject(array=name, size=size, checksum=checksum)


def consolidate(target: Target) -> None:
    """Gather all metadata in the root, in one object: who opens the store through it sees one moment of it.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    with warnings.catch_warnings():
        # Readers that do not know consolidated metadata of format 3 ignore it: nothing depends on it.
        warnings.filterwarnings("ignore", message=".*[Cc]onsolidated metadata.*")
        try:
            zarr.consolidate_metadata(zarr_store(target))
        except REMOTE_ERRORS as error:
            raise unwritable(target, "write metadata", error) from error


def create_map(target: Target, template: MapTemplate) -> MapStore:
    """Declare a map: all metadata and coordinates, no pixel.

    The root's attributes come last: where a creation was killed there is no map yet, and it is begun anew.

    Raises
    ------
    OutputError
        When a map, or anything else, is already there, or the place cannot be written.
    """
    refuse_occupied(target)
    return declare_map(target, template)


def declare_map(target: Target, template: MapTemplate) -> MapStore:
    """`create_map` where the caller has made sure that nothing else is there (`find_attributes`)."""
    try:
        store = zarr_store(target)
        root = zarr.create_group(store, attributes=dict(_HALF_MADE), overwrite=True)
        declare_level(store, template, 0, template.grid)
        root.attrs.put(template.to_attributes())
    except REMOTE_ERRORS as error:
        raise unwritable(target, "create a map", error) from error
    return MapStore(target=target, template=template)


def refuse_occupied(target: Target) -> None:
    """Make sure that a store may be begun at ``target``: nothing is there, or one that was killed at its beginning.

    Raises
    ------
    OutputError
        When anything else is: Zarr clears the place of a new store, whatever lies there.
    """
    if find_attributes(target) is not None:
        raise OutputError(f"{target} already holds a Zarr store: open it, or choose another output.")


def find_attributes(target: Target) -> dict[str, Any] | None:
    """Root attributes of the store at ``target``, in one request; None where one may be begun.

    Raises
    ------
    OutputError
        When something that is no Zarr store is there: Zarr clears the place of a new store, whatever it holds.
    """
    content = target.get(ROOT)
    if content is not None:
        return _parsed(target, content)
    if found := target.peek():
        raise OutputError(
            f"{target} already holds {found}, which is no part of a map or cube: a store made there would remove it. "
            "Choose another output, a folder of its own."
        )
    return None


def read_attributes(target: Target) -> dict[str, Any] | None:
    """Root attributes of the map at ``target``; None where there is no Zarr store, or a half-made one.

    Raises
    ------
    InputError
        When something else is there.
    """
    content = target.get(ROOT)
    return None if content is None else _parsed(target, content)


def _parsed(target: Target, content: bytes) -> dict[str, Any] | None:
    try:
        attributes = json.loads(content).get("attributes", {})
    except ValueError as error:
        raise InputError(f"{target}/{ROOT} is not readable metadata: {error}.") from error
    return None if attributes == _HALF_MADE else dict(attributes)


def open_store(target: Target) -> MapStore:
    """The map at ``target``, to go on writing or to read; its coordinates are compared with its grid.

    Raises
    ------
    InputError
        When there is no map, or its affine, coordinates and grid disagree.
    """
    attributes = read_attributes(target)
    if attributes is None:
        raise InputError(f"There is no map at {target}: {ROOT} is missing. Was the run started?")
    template = MapTemplate.from_attributes(attributes)
    group = zarr.open_group(zarr_store(target, read_only=True), path=level_path(0), mode="r", use_consolidated=False)
    check_georeference(group, template.grid)
    return MapStore(target=target, template=template)


def count_levels(target: Target) -> int:
    """Number of levels declared at ``target``, the full resolution included."""
    level = 0
    while target.exists(f"{level_path(level)}/{ROOT}"):
        level += 1
    return level


def reread(read: Callable[[], T], where: str) -> T:
    """What ``read`` answers; once more if it fails, for a shard that was replaced between its index and its chunk.

    Raises
    ------
    ReadError
        When it fails twice: the object is damaged or out of reach.
    """
    failures = (*REMOTE_ERRORS, ValueError, RuntimeError)
    try:
        return read()
    except failures:
        time.sleep(REREAD_S)
    try:
        return read()
    except failures as error:
        raise ReadError(f"Cannot read {where}: {error}") from error
