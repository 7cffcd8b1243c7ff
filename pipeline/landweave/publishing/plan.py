"""What publishing a map will do, before anything is read."""

from __future__ import annotations

from dataclasses import dataclass

from landweave.core.tables import Rows, Table
from landweave.jobs.plan import BlockAction, BlockActionGrid, memory_row


@dataclass(frozen=True, kw_only=True)
class PublishPlan(Table):
    """What a run of a publication will do; shown as a table in a notebook.

    Attributes
    ----------
    output
        Where the map is published.
    dalles
        The action of every dalle.
    first, last
        Names of the first and the last dalle to make; empty where there is none.
    pixels
        Pixels of the dalles to make.
    products
        Names of what is made of each.
    worker_bytes
        Memory of a worker.
    notes
        What a person should know.
    """

    output: str
    dalles: BlockActionGrid
    first: str
    last: str
    pixels: int
    products: tuple[str, ...]
    worker_bytes: int
    notes: tuple[str, ...] = ()

    @property
    def rows(self) -> Rows:
        """The plan as rows of a table."""
        count = self.dalles.count
        todo = len(self.dalles.todo)
        again = "made again" if self.dalles.recompute_stale else "kept; --stale makes them again"
        named = f": {self.first} to {self.last}" if todo else ""
        return [
            ("output", self.output),
            ("products", ", ".join(self.products)),
            ("dalles to make", f"{todo:,} of {self.dalles.actions.size:,}{named}"),
            ("done, outside", f"{count(BlockAction.DONE):,}, {count(BlockAction.OUTSIDE):,}"),
            ("stale", f"{count(BlockAction.STALE):,}" + (f" ({again})" if count(BlockAction.STALE) else "")),
            ("pixels", f"{self.pixels / 1e6:,.1f} million"),
            memory_row(self.worker_bytes),
            *[("note", note) for note in self.notes],
        ]
