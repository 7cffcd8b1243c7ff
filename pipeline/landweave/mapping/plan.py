"""The plan of a map before anything runs: blocks, windows, what reading costs, memory."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from landweave.core.budget import BlockMemory, decode_seconds
from landweave.core.lattice import BlockIndex, Blocks, Extent, Span
from landweave.core.needed_windows import NeededWindows
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
        Height and width of a block, in output pixels.
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
    block_px: tuple[int, int]
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
    def figures(self) -> dict[str, float]:
        """What is promised, as far as it is known: what a run stores beside what it measures."""
        stated = {name: getattr(self.estimate, name) for name in Estimate.LISTED}
        stated |= {"windows": self.windows, "memory_bytes": self.memory.worker}
        return {name: value for name, value in stated.items() if value is not None}

    @property
    def rows(self) -> Rows:
        """The plan as rows of a table."""
        count, blocks, (height, width) = self.blocks.count, self.blocks, self.block_px
        again = "run again" if blocks.recompute_stale else "kept; --stale runs them again"
        stale = f"{count(BlockAction.STALE):,} ({again}): blocks {first_names(blocks.blocks(BlockAction.STALE))}"
        redundancy = f"{self.window_redundancy:.2f} x {self.block_redundancy:.2f} at block edges"
        return [
            ("output", self.output),
            (
                "blocks to run",
                f"{len(blocks.todo):,} of {blocks.actions.size:,}, {height:,} x {width:,} px",
            ),
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
    needed, lattice = job.needed(), job.blending.lattice
    counts = _window_counts(needed, job.blocks, blocks.todo)
    windows, batch = sum(counts), job.model.batch_size
    cost = sum(costs, ReadCost())
    mapped = (job.wanted(extent).coarsen(job.factor).size for extent in todo)
    return MapPlan(
        output=str(getattr(job.store, "target", "memory")),
        blocks=blocks,
        block_px=(job.blocks.height // job.factor, job.blocks.width // job.factor),
        map_pixels=sum(mapped),
        windows=windows,
        window_redundancy=lattice.model_pixels_per_map_pixel,
        block_redundancy=windows / max(_distinct_windows(needed, todo), 1),
        partial_windows=windows - sum(_window_counts(needed, job.blocks, blocks.todo, _full_context(job, needed))),
        cost=cost,
        memory=memory,
        estimate=estimate(sum(-(-count // batch) * batch for count in counts), decode_seconds(cost.decoded_pixels)),
        notes=notes,
    )


def count_windows(job: MapJob, todo: Sequence[BlockIndex]) -> int:
    """Number of windows that some blocks need, those of neighbours counted once.

    Parameters
    ----------
    job
        The map.
    todo
        The blocks.
    """
    return _distinct_windows(job.needed(), [job.blocks[index] for index in todo]) if todo else 0


def _window_counts(
    needed: NeededWindows, blocks: Blocks, todo: Sequence[BlockIndex], within: tuple[range, range] | None = None
) -> list[int]:
    """Number of needed windows of each block to run, those of neighbours counted in each."""
    counts = needed.counts(blocks.rows, blocks.columns, within)
    return [int(counts[index]) for index in todo]


def _distinct_windows(needed: NeededWindows, todo: Sequence[Extent]) -> int:
    """Number of needed windows that touch any block to run."""
    rows: dict[int, set[int]] = {}
    for extent in todo:
        for window in needed.of(extent):
            rows.setdefault(window.y.start, set()).add(window.x.start)
    return sum(len(starts) for starts in rows.values())


def _full_context(job: MapJob, needed: NeededWindows) -> tuple[range, range]:
    """Rows and columns of windows whose footprints are inside the bounds of every required input."""
    required = [(item, item.source.bounds(job.grid)) for item in job.inputs.values() if item.required]
    bounds = [(item.footprint, own_pixels(item, job.grid).covering(box)) for item, box in required if box is not None]

    def inside(starts: range, axis: str) -> range:
        spans = [Span(start, start + job.blending.lattice.window) for start in starts]
        full = [
            number
            for number, span in enumerate(spans)
            if all(getattr(box, axis).contains(getattr(shape.cut(Extent(span, span)), axis)) for shape, box in bounds)
        ]
        return range(full[0], full[-1] + 1) if full else range(0)

    return inside(needed.starts[0], "y"), inside(needed.starts[1], "x")
