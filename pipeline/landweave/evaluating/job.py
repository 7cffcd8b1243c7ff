"""The blocks of an evaluation: of a stored map, or of a model over the regions of a dataset.

::

    stored map   read block + halo ─┐
    model        map a region ──────┼─> count: pairs, confidences, likelihoods, seams ─> driver: sums
    reference    read block + halo ─┘
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Protocol

import numpy as np

from landweave.core.grid import Grid
from landweave.core.lattice import BlockIndex, Extent
from landweave.core.legend import NODATA
from landweave.core.protocols import BlockFunction, BlockResult, BlockState
from landweave.evaluating.counts import Codes, CountRule, count
from landweave.evaluating.reference import Reference
from landweave.store.maps.store import MapStore


@dataclass(frozen=True, kw_only=True)
class StoredMapJob:
    """Counts a stored map against references, block by block. Picklable.

    Attributes
    ----------
    key
        Name of the job on its workers.
    store
        The map.
    references
        By domain; one without a name where there are no domains.
    rule
        What is counted.
    table
        uint8 ``(256,)``, the class that each class of the map becomes; None for its own.
    """

    key: str
    store: MapStore
    references: Mapping[str, Reference]
    rule: CountRule
    table: Codes | None = None

    def open(self) -> BlockFunction:
        """The function that counts one block."""
        return self.count_block

    def blocks(self) -> list[BlockIndex]:
        """Blocks that a reference may touch."""
        return [index for index in self.store.blocks if self._touching(self._grid(self.store.block(index)))]

    def count_block(self, index: BlockIndex) -> BlockResult:
        """What block ``index`` gives, by domain."""
        own = self.store.block(index)
        extent = own.grow(self.rule.halo)
        arrays = self._arrays(own, extent)
        found = {}
        for domain, reference in self._touching(self._grid(own)).items():
            truth = reference.read(self._grid(extent))
            if (truth[own.slices_in(extent)] != NODATA).any():
                found[domain] = count(arrays, truth, extent, self.rule, own)
        pixels = sum(each.pixels for each in found.values())
        return BlockResult(state=BlockState.DONE, counts={"pixels": pixels}, detail=found)

    def _arrays(self, own: Extent, extent: Extent) -> dict[str, Codes]:
        landcover = self.store.read_beyond("landcover", extent)
        if self.table is not None:  # probabilities are of the map's own classes
            return {"landcover": self.table[landcover]}
        beside = [name for name in ("confidence", "probability") if name in self.store.arrays]
        return {"landcover": landcover, **{name: self.store.read(name, own) for name in beside}}

    def _touching(self, grid: Grid) -> dict[str, Reference]:
        return {domain: each for domain, each in self.references.items() if each.touches(grid)}

    def _grid(self, extent: Extent) -> Grid:
        return self.store.grid.with_extent(extent)


class Region(Protocol):
    """A region of a dataset that a model maps: its pixels, its labels and what is counted."""

    @property
    def domain(self) -> str:
        """Domain that it is counted under."""

    @property
    def grid(self) -> Grid:
        """Pixels of its map."""

    @property
    def reference(self) -> Reference:
        """Its labels."""

    @property
    def rule(self) -> CountRule:
        """What is counted."""

    def predict(self) -> Mapping[str, Codes] | None:
        """The arrays of its map, over all of ``grid``; None where nothing can be mapped."""


@dataclass(frozen=True, kw_only=True)
class ModelJob:
    """Maps the regions of a dataset and counts them, one region a block; nothing is written. Picklable.

    Attributes
    ----------
    key
        Name of the job on its workers.
    regions
        Ids of the regions; block ``(number, 0)`` is one of them.
    opener
        Picklable; loads the model and gives what opens a region by its id.
    """

    key: str
    regions: tuple[str, ...]
    opener: Callable[[], Callable[[str], Region]]

    def open(self) -> BlockFunction:
        """The function that maps and counts one region; the model is loaded once."""
        return partial(self._count_region, self.opener())

    def blocks(self) -> list[BlockIndex]:
        """All regions."""
        return [(number, 0) for number in range(len(self.regions))]

    def _count_region(self, open_region: Callable[[str], Region], index: BlockIndex) -> BlockResult:
        region = open_region(self.regions[index[0]])
        arrays, truth, extent = region.predict(), region.reference.read(region.grid), region.grid.extent
        if arrays is None:
            arrays = {"landcover": np.full(truth.shape, NODATA, np.uint8)}
        found = count(arrays, truth, extent, region.rule, extent)
        return BlockResult(state=BlockState.DONE, counts={"pixels": found.pixels}, detail={region.domain: found})
