"""Runs a comparison of two maps: blocks on any engine, their sums in the driver; and its changes as a map."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from itertools import product
from typing import Any

import numpy as np

from landweave.comparing.gate import Codes, Gate, TransitionCounts, count_patches, count_transitions, join_patches
from landweave.comparing.result import Change
from landweave.core.errors import InputError
from landweave.core.grid import HECTARE_M2, Grid
from landweave.core.lattice import BlockIndex, Extent
from landweave.core.legend import NODATA, Legend
from landweave.core.protocols import Engine
from landweave.jobs.gather import CountingJob, gather
from landweave.jobs.progress import Progress


@dataclass(frozen=True, kw_only=True)
class ChangeSetup:
    """A comparison that can be run.

    Attributes
    ----------
    key
        Name of the job on its workers.
    gate
        The maps, and which changes are kept.
    legend
        Of the classes of both.
    facts
        What is compared, plain values.
    notes
        What a person should know.
    """

    key: str
    gate: Gate
    legend: Legend
    facts: Mapping[str, str]
    notes: tuple[str, ...] = ()


def run_change(setup: ChangeSetup, engine: Engine, progress: Progress) -> tuple[Change, Gate]:
    """The changes, and the gate that keeps them wherever it is asked.

    Parameters
    ----------
    setup
        What is compared.
    engine, progress
        Run the blocks.

    Raises
    ------
    InputError
        When the maps share no pixel with a class.
    """
    gate, blocks = setup.gate, setup.gate.pair.blocks
    if gate.min_pixels > 1:
        job = CountingJob(f"{setup.key}-patches", partial(count_patches, gate))
        found = dict(gather(job, engine, blocks, progress=progress))
        gate = replace(gate, too_small=join_patches(found, gate.min_pixels))
    job = CountingJob(setup.key, partial(count_transitions, gate))
    parts: Iterator[TransitionCounts] = (counts for _, counts in gather(job, engine, blocks, progress=progress))
    first = next(parts)
    counts = sum(parts, first)
    if not counts.every:
        raise InputError(f"{setup.facts['before']} and {setup.facts['after']} share no pixel with a class in both.")
    hectares = float(gate.pair.before.grid.pixel_m2 / HECTARE_M2)
    return Change(legend=setup.legend, counts=counts, pixel_ha=hectares, facts=setup.facts, notes=setup.notes), gate


@dataclass(frozen=True, kw_only=True)
class ChangeMap:
    """Kept changes as a map: `landweave.core.protocols.MapReader` of classes after (or before), 255 without a change.

    Attributes
    ----------
    gate
        Keeps the changes.
    legend
        Of the classes.
    attrs
        Provenance, plain JSON values.
    before
        Whether the classes before are shown.
    """

    gate: Gate
    legend: Legend
    attrs: Mapping[str, Any] = field(default_factory=dict)
    before: bool = False
    arrays: tuple[str, ...] = ("landcover",)

    @property
    def block_size(self) -> int:
        """Pixels of a block's longer side."""
        return max(self.gate.pair.blocks.height, self.gate.pair.blocks.width)

    @property
    def grids(self) -> tuple[Grid, ...]:
        """Pixels of the full resolution alone."""
        return (self.gate.pair.before.grid.with_extent(self.gate.pair.blocks.extent),)

    @property
    def mapped_extent(self) -> Extent:
        """Pixels that both maps may have."""
        return self.gate.pair.before.mapped_extent.intersect(self.gate.pair.after.mapped_extent)

    @cached_property
    def _computed(self) -> dict[BlockIndex, Codes]:
        """Blocks of the row that was read last."""
        return {}

    def read(self, array: str, extent: Extent, level: int = 0) -> Codes:
        """Pixels of the classes; see `MapReader`."""
        values, blocks = np.full(extent.shape, NODATA, np.uint8), self.gate.pair.blocks
        rows, columns = blocks.touching(extent)
        for index in product(range(rows.start or 0, rows.stop), range(columns.start or 0, columns.stop)):
            part = blocks[index].intersect(extent)
            values[part.slices_in(extent)] = self._block(index)[part.slices_in(blocks[index])]
        return values

    def _block(self, index: BlockIndex) -> Codes:
        if index not in self._computed:
            for old in [other for other in self._computed if other[0] < index[0] - 1]:
                self._computed.pop(old)
            self._computed[index] = self.gate.changes(index)[0 if self.before else 1]
        return self._computed[index]
