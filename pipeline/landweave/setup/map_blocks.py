"""The blocks of a map: as configured, as the output that is begun has them, or those with which it is done first."""

from __future__ import annotations

from collections.abc import Callable

from landweave.core import budget
from landweave.core.division import choose_blocks
from landweave.core.errors import LandweaveError
from landweave.core.grid import Grid
from landweave.core.lattice import Blocks, Extent
from landweave.core.needed_windows import needed_windows
from landweave.engine.settings import EngineSettings
from landweave.setup.map_job import MapRules
from landweave.store.common import group_attributes
from landweave.store.maps.template import FORMAT

MemoryRule = Callable[[int, int], budget.BlockMemory]
"""The memory of a worker by height and width of its blocks in base pixels."""


def resolve_blocks(rules: MapRules, grid: Grid, memory: MemoryRule, engine: EngineSettings, batch: int) -> Blocks:
    """The blocks of a map, from the corner of its area outwards to whole chunks.

    Parameters
    ----------
    rules
        What is mapped.
    grid
        Base pixels over the area, or over the imagery.
    memory
        Of a worker.
    engine
        How many workers there are, and their memory.
    batch
        Windows of one call of the model.

    Raises
    ------
    LatticeError
        When the configured block is not whole chunks and units.
    BudgetError
        When a worker's memory does not hold a block.
    """
    lattice, output = rules.blending.lattice, rules.output
    step = budget.block_step(unit=lattice.unit, chunk=output.chunk, factor=rules.factor)
    extent = grid.extent.snap(step)
    if output.block is not None:
        budget.check_block(output.block * rules.factor, step)
        blocks = Blocks.square(extent, output.block * rules.factor)
    else:
        blocks = _stored_blocks(rules, extent) or choose_blocks(
            needed_windows(rules.blending, grid, grid.extent, (rules.area, rules.imagery)),
            extent,
            step=step,
            workers=engine.workers,
            batch=batch,
            fits=lambda height, width: memory(height, width).worker <= engine.worker_bytes,
        )
    needed = memory(blocks.height, blocks.width).worker
    what = f"blocks of {blocks.height} x {blocks.width} base pixels"
    budget.check_memory(needed, engine.worker_bytes, what, "output.block")
    return blocks


def _stored_blocks(rules: MapRules, extent: Extent) -> Blocks | None:
    """The blocks of the map of ``extent`` that the output holds: it goes on with other workers and other memory."""
    try:
        stored = group_attributes(rules.target) or {}
    except LandweaveError:  # whatever is there is refused when the output is checked
        return None
    fields = stored.get("provenance", {}).get("fingerprint_fields", {}).get("output", {})
    pixels = [extent.y.start, extent.x.start, *extent.shape]
    if stored.get("format") != FORMAT or fields.get("pixels") != pixels:
        return None
    height, width = fields["block"]
    return Blocks(extent=extent, height=height, width=width)
