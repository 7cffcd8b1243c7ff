"""The plan of a map before anything runs: blocks, windows, what reading costs, memory."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from landweave.core.budget import BlockMemory, decode_seconds
from landweave.core.lattice import Extent, Span
from landweave.core.protocols import ReadCost
from landweave.core.tables import Rows, Table
from landweave.jobs.plan import BlockAction, BlockActionGrid, cost_rows, first_names, memory_row
from landweave.mapping.estimate import Estimate
from landweave.mapping.inputs import own_pixels
from landweave.mapping.job import MapJob


@dataclass(frozen=True, kw_only=True)
class MapPlan(Table):
    """What a run will do and what it costs; shown as a table in a notebook.

    Attributes
    ----------
    output
        Where the map is written.
    blocks
        The action of every block.
    block_px
        Side of a block, in output pixels.
    map_pixels
        Output pixels of the blocks to run.
    windows
        Number of windows predicted, those shared by neighbouring blocks counted in each.
    window_redundancy
        Model pixels per map pixel of the lattice alone: ``(window / stride) ** 2``.
    block_redundancy
        Windows predicted over distinct windows.
    partial_windows
        Windows that exceed the bounds of a required input: filled there, and less certain.
    cost
        Of reading, from headers.
    memory
        Of a worker with one block in computation.
    estimate
        Of hours, cost and energy.
    notes
        What a person should know: windows other than trained, fill, resampling.
    """

    output: str
    blocks: BlockActionGrid
    block_px: int
    map_pixels: int
    windows: int
    window_redundancy: float
    block_redundancy: float
    partial_windows: int
    cost: ReadCost
    memory: BlockMemory
    estimate: Estimate
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> Rows:
        """The plan as rows of a table."""
        count, blocks = self.blocks.count, self.blocks
        again = "run again" if blocks.recompute_stale else "kept; --stale runs them again"
        stale = f"{count(BlockAction.STALE):,} ({again}): blocks {first_names(blocks.blocks(BlockAction.STALE))}"
        redundancy = f"{self.window_redundancy:.2f} x {self.block_redundancy:.2f} at block edges"
        return [
            ("output", self.output),
            ("blocks to run", f"{len(blocks.todo):,} of {blocks.actions.size:,}, {self.block_px:,} px a side"),
            ("new, failed before", f"{count(BlockAction.NEW):,}, {count(BlockAction.FAILED):,}"),
            ("done, outside", f"{count(BlockAction.DONE):,}, {count(BlockAction.OUTSIDE):,}"),
            ("stale", stale if count(BlockAction.STALE) else "0"),
            ("map pixels", f"{self.map_pixels / 1e6:,.1f} million"),
            ("windows", f"{self.windows:,}, of which {self.partial_windows:,} reach beyond the imagery"),
            ("model pixels per map pixel", redundancy),
            *cost_rows(self.cost),
            memory_row(self.memory.worker, self.memory.gpu),
            *self.estimate.rows,
            *[("note", note) for note in self.notes],
        ]


def cost_map(
    job: MapJob,
    blocks: BlockActionGrid,
    *,
    memory: BlockMemory,
    estimate: Callable[[int, float], Estimate],
    notes: tuple[str, ...] = (),
) -> MapPlan:
    """The plan of a run and its cost. Reads no pixel and runs no model.

    Parameters
    ----------
    job
        The map.
    blocks
        The action of every block.
    memory
        Of a worker with one block in computation.
    estimate
        From the number of windows predicted and the core seconds of decoding.
    notes
        What a person should know.
    """
    todo = [job.blocks[index] for index in blocks.todo]
    costs = (item.cost(job.read_grid(item, extent)) for extent in todo for item in job.inputs.values())
    lattice, support = job.blending.lattice, job.blending.support
    counts = [lattice.count(extent, support) for extent in todo]
    windows, batch = sum(counts), job.model.batch_size
    cost = sum(costs, ReadCost())
    block_px = job.blocks.size // job.factor
    return MapPlan(
        output=str(getattr(job.store, "target", "memory")),
        blocks=blocks,
        block_px=block_px,
        map_pixels=len(todo) * block_px**2,
        windows=windows,
        window_redundancy=lattice.model_pixels_per_map_pixel,
        block_redundancy=windows / max(_distinct_windows(job, todo), 1),
        partial_windows=_partial_windows(job, todo),
        cost=cost,
        memory=memory,
        estimate=estimate(sum(-(-count // batch) * batch for count in counts), decode_seconds(cost.decoded_pixels)),
        notes=notes,
    )


def _distinct_windows(job: MapJob, todo: Sequence[Extent]) -> int:
    """Number of windows that touch any block to run: runs of neighbouring blocks in a row share theirs."""
    lattice, support = job.blending.lattice, job.blending.support
    rows: dict[int, set[int]] = {}
    for extent in todo:
        for top in lattice.starts(extent.y, support):
            rows.setdefault(top, set()).update(lattice.starts(extent.x, support))
    return sum(len(starts) for starts in rows.values())


def _partial_windows(job: MapJob, todo: Sequence[Extent]) -> int:
    """Number of windows of all blocks whose footprint exceeds the bounds of some required input."""
    lattice, support = job.blending.lattice, job.blending.support
    required = [(item, item.source.bounds(job.grid)) for item in job.inputs.values() if item.required]
    bounds = [(item.footprint, own_pixels(item, job.grid).covering(box)) for item, box in required if box is not None]

    def inside(starts: Iterable[int], axis: str) -> int:
        spans = [Span(start, start + lattice.window) for start in starts]
        return sum(all(getattr(box, axis).contains(shape.span(span)) for shape, box in bounds) for span in spans)

    return sum(
        lattice.count(extent, support)
        - inside(lattice.starts(extent.y, support), "y") * inside(lattice.starts(extent.x, support), "x")
        for extent in todo
    )
