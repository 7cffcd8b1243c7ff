"""Runs jobs that write nothing: what their blocks give is gathered, all of it or an error."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from typing import Any

from landweave.core.errors import ReadError
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockFunction, BlockJob, BlockResult, BlockState, Engine
from landweave.core.words import bullets, counted, first_lines
from landweave.jobs.progress import Progress, shown
from landweave.jobs.runner import CatchingJob, interrupt, recorded_interrupts

_NAMED = 5
"""Failures that are named in the error; the others are counted."""


@dataclass(frozen=True)
class CountingJob:
    """A job whose blocks write nothing: what each gives is a function of its index alone. Picklable.

    Attributes
    ----------
    key
        Name of the job on its workers.
    count
        The pixels of a block, for the progress, and what the block gives. Picklable; called from two threads.
    """

    key: str
    count: Callable[[BlockIndex], tuple[int, Any]]

    def open(self) -> BlockFunction:
        """The function that counts one block."""
        return self._run

    def _run(self, index: BlockIndex) -> BlockResult:
        pixels, found = self.count(index)
        return BlockResult(state=BlockState.DONE, counts={"pixels": pixels}, detail=found)


def gather(
    job: BlockJob, engine: Engine, blocks: Iterable[BlockIndex], *, progress: Progress
) -> Iterator[tuple[BlockIndex, Any]]:
    """What each block of ``job`` gives (`BlockResult.detail`), in the order of the blocks whatever the engine is.

    Parameters
    ----------
    job
        Picklable; its blocks run in any order.
    engine
        Runs the blocks.
    blocks
        Those to run.
    progress
        Advanced with every block.

    Raises
    ------
    ReadError
        When a block fails, after all others have run: a number of a part of the ground would be no number of it.
    """
    todo = list(blocks)
    found: dict[BlockIndex, Any] = {}
    failures: list[str] = []
    with (
        shown(progress, len(todo), engine.name),
        recorded_interrupts() as interrupts,
        closing(engine.run(CatchingJob(job), todo)) as results,
    ):
        for index, result in results:
            if interrupts:
                raise interrupt(interrupts[0])
            progress.advance(index, result)
            if result.state.failed:
                failures.append(f"block {index}: {result.state.words}: {result.reason}")
            found[index] = result.detail
    if failures:
        listed = bullets(first_lines(sorted(failures), _NAMED))
        of_all = f"{len(failures):,} of {counted(len(todo), 'block')}"
        raise ReadError(f"{of_all} failed, so there is no result:{listed}")
    return ((index, found[index]) for index in todo)
