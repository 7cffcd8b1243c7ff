"""The price of an alignment before anything runs: dates, tiles, files opened, bytes, memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass

from landweave.core.budget import GIB, PROCESS_BYTES, decode_seconds
from landweave.core.tables import as_html, as_text

NAMED = 12
"""Dates that are named; the others are counted."""


@dataclass(frozen=True, kw_only=True)
class GroupPlan:
    """What an alignment will do for one modality.

    Attributes
    ----------
    modality
        Its name.
    new, kept
        Dates added, dates the cube has; None for a raster.
    changed
        Keys of kept dates whose scenes are others now: they stay as they were aligned.
    tiles, outside
        Tiles of the grid, and those of them that lie outside the area.
    shards_new, shards_rewritten
        Time shards begun, and partial ones written again with the dates they had and new ones.
    todo
        Blocks to run: tile x time shard.
    stuck
        Blocks that cannot run: dates they lack are not among those found.
    opens
        Files opened, about.
    read_bytes, decoded_pixels
        What reading costs, about: file bytes, and pixels x bands by format.
    raw_bytes
        Of the blocks to run, before compression.
    memory
        Bytes of a worker with two threads, beyond `landweave.core.budget.PROCESS_BYTES`.
    waiting
        Bytes of its temporary files, at most.
    """

    modality: str
    new: int | None
    kept: int | None
    changed: tuple[str, ...]
    tiles: int
    outside: int
    shards_new: int
    shards_rewritten: int
    todo: int
    stuck: int
    opens: int
    read_bytes: int
    decoded_pixels: Mapping[str, int]
    raw_bytes: int
    memory: int
    waiting: int

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The part as lines of a table."""
        dates = [("dates", f"{self.new:,} new, {self.kept:,} kept")] if self.new is not None else []
        lines = [
            ("modality", self.modality),
            *dates,
            ("tiles", f"{self.tiles:,}, of which {self.outside:,} outside the area"),
            ("blocks to run", f"{self.todo:,} (tile x time shard)"),
            ("time shards", f"{self.shards_new:,} new, {self.shards_rewritten:,} rewritten"),
            ("open", f"about {self.opens:,} files"),
            ("read", f"about {self.read_bytes / 1e6:,.0f} MB"),
            ("decode", f"{decode_seconds(self.decoded_pixels):,.0f} core seconds"),
            ("write", f"{self.raw_bytes / 1e6:,.0f} MB before compression, at most"),
        ]
        return [*lines, *self._notes()]

    def _notes(self) -> list[tuple[str, str]]:
        notes = []
        if self.changed:
            named = ", ".join(self.changed[:NAMED]) + (", …" if len(self.changed) > NAMED else "")
            notes.append(("note", f"{len(self.changed):,} dates have other scenes now and stay as aligned: {named}"))
        if self.stuck:
            notes.append(("note", f"{self.stuck:,} blocks lack dates that were not found: search those dates again"))
        return notes


@dataclass(frozen=True, kw_only=True)
class AlignPlan:
    """What an alignment will do; printable, and shown as a table in a notebook.

    Attributes
    ----------
    output
        Where the cube goes.
    parts
        One a modality.
    notes
        What a person should know: items that are not used.
    """

    output: str
    parts: tuple[GroupPlan, ...]
    notes: tuple[str, ...] = ()

    @property
    def todo(self) -> int:
        """Blocks to run."""
        return sum(part.todo for part in self.parts)

    @property
    def memory(self) -> int:
        """Bytes of a worker for the largest part, its libraries included: parts run one after the other."""
        return PROCESS_BYTES + max((part.memory for part in self.parts), default=0)

    @property
    def decoded_pixels(self) -> dict[str, int]:
        """Pixels x bands by format, all parts together."""
        total: Counter[str] = Counter()
        for part in self.parts:
            total.update(part.decoded_pixels)
        return dict(total)

    @property
    def rows(self) -> list[tuple[str, str]]:
        """The plan as lines of a table."""
        parts = (row for part in self.parts for row in part.rows)
        memory = ("memory a worker", f"{self.memory / GIB:.2f} GiB, its libraries included")
        waiting = max((part.waiting for part in self.parts), default=0)
        files = ("temporary files", f"{waiting / GIB:.2f} GiB a worker at most, where TMPDIR says")
        return [("output", self.output), *parts, memory, files, *[("note", note) for note in self.notes]]

    def __str__(self) -> str:
        return as_text(self.rows)

    def _repr_html_(self) -> str:
        return as_html(self.rows)
