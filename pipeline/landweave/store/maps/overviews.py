"""Overviews of a map: each level is a block job of its own, read from a level below and run by any engine."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave.core import pyramid
from landweave.core.lattice import BlockIndex, Blocks, Extent
from landweave.core.legend import NODATA
from landweave.core.protocols import BlockFunction, BlockResult, BlockState
from landweave.store.common import declaring, group_attributes, unread_group, writing
from landweave.store.maps.layout import declare_level, declared_level, level_path
from landweave.store.maps.store import MapStore


@dataclass(frozen=True, kw_only=True)
class OverviewJob:
    """Fills one level: `landweave.core.protocols.BlockJob`. Its blocks may run at once, its levels one after the other.

    Attributes
    ----------
    store
        The map at the level to fill.
    mapped
        Blocks of the map that are not outside what is mapped, ``(block_y, block_x)``; None for all.
    """

    store: MapStore
    mapped: NDArray[np.bool_] | None = None

    @property
    def key(self) -> str:
        """Names the job on its workers."""
        return f"overview {self.store.level} of {self.store.target}"

    @property
    def blocks(self) -> list[BlockIndex]:
        """Blocks of the level that stand for any block that was mapped: what was never written is nodata."""
        every = np.ndindex(self.store.block_shape)
        return [index for index in every if self.mapped is None or self._below(index).any()]

    def _below(self, index: BlockIndex) -> NDArray[np.bool_]:
        """The blocks of the map under one of this level, which counts from the map's corner."""
        assert self.mapped is not None
        span = 2**self.store.level
        rows, columns = (slice(number * span, (number + 1) * span) for number in index)
        return self.mapped[rows, columns]

    def open(self) -> BlockFunction:
        """Return the function that computes one block."""
        return self._run

    def _run(self, index: BlockIndex) -> BlockResult:
        started = time.perf_counter()
        arrays = {name: self._coarse(name, self.store.block(index)) for name in self.store.arrays}
        written = self.store.write(index, arrays)
        return BlockResult(state=BlockState.DONE, objects=written, seconds={"total": time.perf_counter() - started})

    def _coarse(self, array: str, extent: Extent) -> NDArray[np.uint8]:
        """Return one block of one array, computed a chunk at a time: a block may stand for 64 blocks below."""
        level, factor = pyramid.base_of(self.store.level)
        below = self.store.at_level(level).grid.extent
        result = np.full(extent.shape, NODATA, dtype=np.uint8)
        chunks = Blocks.covering(extent, self.store.template.chunk)
        for chunk in (chunks[index].intersect(extent) for index in chunks):
            # An overview counts from the map's corner, the map itself from its anchor.
            fine = chunk.refine(factor)
            moved = Extent(fine.y.grow(-below.y.start, below.y.start), fine.x.grow(-below.x.start, below.x.start))
            values = self.store.read(array, moved.intersect(below), level)
            if (values != NODATA).any():  # most of what surrounds an area is nodata
                result[chunk.slices_in(extent)] = pyramid.coarsen(array, values, factor)
        return result


def overviews_complete(store: MapStore, sizes: Mapping[str, int], mapped: NDArray[np.bool_]) -> bool:
    """Return whether the overviews are those of the map as it is, and all their objects are stored; one request.

    Parameters
    ----------
    store
        The map.
    sizes
        Bytes of every object that is stored, by its name.
    mapped
        Blocks of the map that are not outside what is mapped, ``(block_y, block_x)``.
    """
    if not (group_attributes(store.target, "map") or {}).get("overviews_complete", False):
        return False
    declared = [declared_level(store.template, above.level, above.grid) for above in _levels(store)]
    if any(sizes.get(name) != len(content) for contents in declared for name, content in contents.items()):
        return False
    objects = [above.object_key(index, name) for above, index, name in _objects(store, mapped)]
    return all(sizes.get(name) for name in objects)


def overviews_whole(store: MapStore, sizes: Mapping[str, int], mapped: NDArray[np.bool_]) -> bool:
    """Return whether the overviews are complete, and every object of them can be read; reads them all.

    Parameters
    ----------
    store, sizes, mapped
        As of `overviews_complete`.
    """
    complete = overviews_complete(store, sizes, mapped)
    return complete and all(above.stored_object(index, name) for above, index, name in _objects(store, mapped))


def mark_overviews(store: MapStore, *, complete: bool) -> None:
    """Store whether the overviews are those of the map as it is.

    Parameters
    ----------
    store
        The map.
    complete
        What `overviews_complete` returns from now on.

    Raises
    ------
    OutputError
        When it cannot be written.
    """
    with writing(store.target, "write metadata"):
        unread_group(store.target, "map").attrs.put({"overviews_complete": complete})


def create_overviews(store: MapStore, mapped: NDArray[np.bool_] | None = None) -> tuple[OverviewJob, ...]:
    """Declare the levels above a map until one chunk holds all of it; jobs that fill them, finest level first.

    Parameters
    ----------
    store
        The map.
    mapped
        Blocks that are not outside what is mapped, ``(block_y, block_x)``; None for all.

    Raises
    ------
    OutputError
        When the levels cannot be declared.
    """
    levels = _levels(store)
    for above in levels:
        with declaring(store.target, level_path(above.level)) as declared:
            declare_level(declared, store.template, above.level, above.grid)
    return tuple(OverviewJob(store=above, mapped=mapped) for above in levels)


def _objects(store: MapStore, mapped: NDArray[np.bool_]) -> Iterator[tuple[MapStore, BlockIndex, str]]:
    """Yield level, block and array of every object of the overviews."""
    for above in _levels(store):
        blocks = OverviewJob(store=above, mapped=mapped).blocks
        yield from ((above, index, name) for name in above.arrays for index in blocks)


def _levels(store: MapStore) -> list[MapStore]:
    return [store.at_level(level) for level in range(1, pyramid.depth(store.grid.shape, store.template.chunk) + 1)]
