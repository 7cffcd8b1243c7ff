"""Overviews of a map: three levels at a time are one block job, from one read of the level below, run by any engine.

A task is one block of the coarsest level of a step, and all blocks of the finer ones under it: 21 objects of each array
where there are three levels. It goes down to the finest first, so that it holds one block of each level.
"""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from landweave.core import pyramid
from landweave.core.lattice import BlockIndex, Blocks, Extent, Span
from landweave.core.legend import NODATA
from landweave.core.protocols import BlockFunction, BlockResult, BlockState, WrittenObject
from landweave.store.common import ROOT, declaring, group_attributes, unread_group, writing
from landweave.store.maps.layout import declare_level, declared_level, level_path
from landweave.store.maps.store import MapStore


@dataclass(frozen=True, kw_only=True)
class OverviewJob:
    """Fills the levels of one step: `landweave.core.protocols.BlockJob`. Blocks may run at once, steps may not.

    Attributes
    ----------
    store
        The map at the coarsest level of the step.
    first
        The finest.
    mapped
        Blocks of the map that are not outside what is mapped, ``(block_y, block_x)``; None for all.
    """

    store: MapStore
    first: int
    mapped: NDArray[np.bool_] | None = None

    @property
    def key(self) -> str:
        """Names the job on its workers."""
        return f"overviews {self.first} to {self.store.level} of {self.store.target}"

    @property
    def blocks(self) -> list[BlockIndex]:
        """Blocks of the coarsest level that stand for any block that was mapped: what was never written is nodata."""
        return mapped_blocks(self.store, self.mapped)

    def open(self) -> BlockFunction:
        """Return the function that computes one block."""
        return self._run

    def _run(self, index: BlockIndex) -> BlockResult:
        started = time.perf_counter()
        written = tuple(each for name in self.store.arrays for each in self._fill(name, self.store.level, index, ()))
        return BlockResult(state=BlockState.DONE, objects=written, seconds={"total": time.perf_counter() - started})

    def _fill(self, array: str, level: int, index: BlockIndex, above: tuple[_Layer, ...]) -> Iterator[WrittenObject]:
        """Write one block of one array and those under it, and fill its part of the levels above."""
        store = self.store.at_level(level)
        extent = store.block(index)
        layer = _Layer(level=level, values=np.full(extent.shape, NODATA, np.uint8), extent=extent)
        if level == self.first:
            self._count(array, (layer, *above[::-1]))
        else:
            below = self.store.at_level(level - 1)
            quarters = ((2 * index[0] + down, 2 * index[1] + across) for down, across in np.ndindex(2, 2))
            for quarter in quarters:
                inside = quarter[0] < below.block_shape[0] and quarter[1] < below.block_shape[1]
                if inside and is_mapped(below, quarter, self.mapped):
                    yield from self._fill(array, level - 1, quarter, (*above, layer))
        yield store.write_array(index, array, layer.values)

    def _count(self, array: str, layers: tuple[_Layer, ...]) -> None:
        """Fill what ``layers``, the finest first, have in common, from one read of the base, a chunk at a time."""
        base, levels = self.first - 1, len(layers)
        below = self.store.at_level(base).grid.extent
        extent, factor = layers[0].extent, 1 << levels
        pieces = Blocks.covering(extent, self.store.template.chunk)
        for piece in (pieces[index].intersect(extent) for index in pieces):
            # Whole pixels of the coarsest level: where a block's edge cuts one, both its sides count it.
            cells = piece.coarsen(factor // 2)
            # An overview counts from the map's corner, the map itself from its anchor.
            fine = cells.refine(factor)
            moved = Extent(fine.y.grow(-below.y.start, below.y.start), fine.x.grow(-below.x.start, below.x.start))
            values = self.store.read(array, moved.intersect(below), base)
            if (values != NODATA).any():  # most of what surrounds an area is nodata
                for layer, part in zip(layers, pyramid.coarsen(array, values, levels), strict=True):
                    layer.paste(part, cells.refine(1 << (self.store.level - layer.level)))


@dataclass(frozen=True, kw_only=True)
class _Layer:
    """One block of one level while it is filled: ``values`` uint8 over ``extent``."""

    level: int
    values: NDArray[np.uint8]
    extent: Extent

    def paste(self, part: NDArray[np.uint8], where: Extent) -> None:
        """Take from ``part``, which begins where ``where`` does, what is inside this block."""
        height, width = part.shape
        there = Extent(Span(where.y.start, where.y.start + height), Span(where.x.start, where.x.start + width))
        inside = there.intersect(self.extent)
        self.values[inside.slices_in(self.extent)] = part[inside.slices_in(there)]


def is_mapped(store: MapStore, index: BlockIndex, mapped: NDArray[np.bool_] | None) -> bool:
    """Return whether any block of the map under one of an overview was mapped; both count from the map's corner.

    Parameters
    ----------
    store
        The map at the level of the overview.
    index
        Of the block.
    mapped
        Blocks of the map that are not outside what is mapped; None for all.
    """
    span = 1 << store.level
    rows, columns = (slice(number * span, (number + 1) * span) for number in index)
    return mapped is None or bool(mapped[rows, columns].any())


def mapped_blocks(store: MapStore, mapped: NDArray[np.bool_] | None) -> list[BlockIndex]:
    """Return the blocks of an overview that stand for any block that was mapped.

    Parameters
    ----------
    store, mapped
        As of `is_mapped`.
    """
    return [index for index in np.ndindex(store.block_shape) if is_mapped(store, index, mapped)]


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
    declared = [_declared(above) for above in _levels(store)]
    if any(sizes.get(name) != len(content) for contents in declared for name, content in contents.items()):
        return False
    objects = [above.object_key(index, name) for above, index, name in _objects(store, mapped)]
    return all(sizes.get(name) for name in objects)


def declared_overviews(store: MapStore, sizes: Mapping[str, int]) -> dict[str, bytes]:
    """Return the metadata and coordinates of those levels above a map that are stored, as declared, by name.

    Parameters
    ----------
    store, sizes
        As of `overviews_complete`.
    """
    stored = (above for above in _levels(store) if f"{level_path(above.level)}/{ROOT}" in sizes)
    return {name: content for above in stored for name, content in _declared(above).items()}


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
    """Declare the levels above a map until one chunk holds all of it; jobs that fill them, finest levels first.

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
    steps = pyramid.steps(len(levels))
    return tuple(OverviewJob(store=levels[step[-1] - 1], first=step[0], mapped=mapped) for step in steps)


def _objects(store: MapStore, mapped: NDArray[np.bool_]) -> Iterator[tuple[MapStore, BlockIndex, str]]:
    """Yield level, block and array of every object of the overviews."""
    for above in _levels(store):
        blocks = mapped_blocks(above, mapped)
        yield from ((above, index, name) for name in above.arrays for index in blocks)


def _declared(above: MapStore) -> dict[str, bytes]:
    return declared_level(above.template, above.level, above.grid)


def _levels(store: MapStore) -> list[MapStore]:
    return [store.at_level(level) for level in range(1, pyramid.depth(store.grid.shape, store.template.chunk) + 1)]
