"""The price of a map before anything runs: blocks, model pixels, bytes and decode seconds, memory."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from landweave.core.budget import GIB, BlockMemory, decode_seconds
from landweave.core.lattice import Extent, Span
from landweave.core.tables import as_html, as_text
from landweave.jobs.plan import BlockAction, BlockActionGrid
from landweave.mapping.inputs import AnyInput, own_pixels
from landweave.mapping.job import MapJob

NAMED = 12
"""Stale blocks that are named; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class MapPlan:
    """What a map run will do; printable, and shown as a table in a notebook.

    Attributes
    ----------
    output
        Where it goes.
    blocks
        The lot of every block.
    block_px
        Side of a block, in output pixels.
    map_pixels
        Output pixels of the blocks to run.
    windows
        Windows that the blocks to run compute, those shared by neighbours counted in each.
    window_redundancy
        Model pixels per map pixel of the lattice alone: ``(window / stride) ** 2``.
    block_redundancy
        Windows computed over windows there are.
    partial_windows
        Windows that reach beyond the bounds of the required imagery: filled there, less sure.
    read_bytes, decoded_pixels
        What reading costs, from headers: file bytes, and pixels x bands by format.
    memory
        Of one block at work.
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
    read_bytes: int
    decoded_pixels: dict[str, int]
    memory: BlockMemory
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The plan as lines of a table."""
        count = self.blocks.count
        stale = count(BlockAction.STALE)
        again = "run again" if self.blocks.recompute_stale else "kept; --stale runs them again"
        return [
            ("output", self.output),
            ("blocks to run", f"{len(self.blocks.todo):,} of {self.blocks.tasks.size:,}, {self.block_px:,} px a side"),
            ("new, failed before", f"{count(BlockAction.NEW):,}, {count(BlockAction.FAILED):,}"),
            ("done, outside", f"{count(BlockAction.DONE):,}, {count(BlockAction.OUTSIDE):,}"),
            ("stale", f"{stale:,} ({again}): blocks {self._stale_blocks()}" if stale else "0"),
            ("map pixels", f"{self.map_pixels / 1e6:,.1f} million"),
            ("windows", f"{self.windows:,}, of which {self.partial_windows:,} reach beyond the imagery"),
            (
                "model pixels per map pixel",
                f"{self.window_redundancy:.2f} x {self.block_redundancy:.2f} at block edges",
            ),
            ("read", f"{self.read_bytes / 1e6:,.0f} MB, {self._formats()}"),
            ("decode", f"{decode_seconds(self.decoded_pixels):,.0f} core seconds"),
            ("memory a worker", self._memory()),
            *[("note", note) for note in self.notes],
        ]

    def _stale_blocks(self) -> str:
        named = self.blocks.blocks(BlockAction.STALE)
        return ", ".join(map(str, named[:NAMED])) + (", …" if len(named) > NAMED else "")

    def _memory(self) -> str:
        gpu = f"; {self.memory.gpu / GIB:.2f} GiB of a GPU" if self.memory.gpu else ""
        return f"{self.memory.worker / GIB:.2f} GiB, its libraries included{gpu}"

    def _formats(self) -> str:
        parts = [
            f"{pixels / 1e6:,.0f} million pixels x bands of {name}" for name, pixels in self.decoded_pixels.items()
        ]
        return ", ".join(parts) or "nothing"

    def __str__(self) -> str:
        return as_text(self.rows)

    def _repr_html_(self) -> str:
        return as_html(self.rows)


def plan_map(job: MapJob, blocks: BlockActionGrid, *, memory: BlockMemory, notes: tuple[str, ...] = ()) -> MapPlan:
    """The price of running ``blocks`` of ``job``. Reads no pixel and runs no model."""
    todo = blocks.todo
    decoded: Counter[str] = Counter()
    read_bytes = 0
    for index in todo:
        for item in job.inputs.values():
            cost = item.cost(job.read_grid(item, job.blocks[index]))
            read_bytes += cost.bytes
            decoded.update(cost.decoded_pixels)
    lattice, support = job.blending.lattice, job.blending.support
    windows = sum(lattice.count(job.blocks[index], support) for index in todo)
    return MapPlan(
        output=str(getattr(job.store, "target", "memory")),
        blocks=blocks,
        block_px=job.blocks.size // job.factor,
        map_pixels=len(todo) * (job.blocks.size // job.factor) ** 2,
        windows=windows,
        window_redundancy=lattice.model_pixels_per_map_pixel,
        block_redundancy=windows / max(_distinct_windows(job, todo), 1),
        partial_windows=sum(_partial_windows(job, job.blocks[index]) for index in todo),
        read_bytes=read_bytes,
        decoded_pixels=dict(decoded),
        memory=memory,
        notes=notes,
    )


def _distinct_windows(job: MapJob, todo: list[tuple[int, int]]) -> int:
    """Windows that touch any block to run, each once: runs of neighbouring blocks in a row share theirs."""
    lattice, support = job.blending.lattice, job.blending.support
    rows: dict[int, set[int]] = {}
    for index in todo:
        extent = job.blocks[index]
        for top in lattice.starts(extent.y, support):
            rows.setdefault(top, set()).update(lattice.starts(extent.x, support))
    return sum(len(starts) for starts in rows.values())


def _partial_windows(job: MapJob, extent: Extent) -> int:
    """Windows of a block that no imagery can fill: those whose footprint in some required input is not inside it."""
    lattice, support = job.blending.lattice, job.blending.support
    bounds = _imagery(job)
    inside_y = sum(
        all(within.y.contains(item.footprint.span(Span(top, top + lattice.window))) for item, within in bounds)
        for top in lattice.starts(extent.y, support)
    )
    inside_x = sum(
        all(within.x.contains(item.footprint.span(Span(left, left + lattice.window))) for item, within in bounds)
        for left in lattice.starts(extent.x, support)
    )
    return lattice.count(extent, support) - inside_y * inside_x


def _imagery(job: MapJob) -> list[tuple[AnyInput, Extent]]:
    """Required inputs, and the bounds of each in its own pixels."""
    found = [
        (item, own_pixels(item, job.grid), item.source.bounds(job.grid))
        for item in job.inputs.values()
        if item.required
    ]
    return [(item, grid.covering(bounds)) for item, grid, bounds in found if bounds is not None]
