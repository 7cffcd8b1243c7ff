"""Blocks one after another in this process: the reference that every other engine must equal."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockFunction, BlockJob, BlockResults
from landweave.engine.malloc import trim


@dataclass(frozen=True)
class InlineEngine:
    """A plain loop. A model applies its own `torch_threads` when it is opened, here as on any worker."""

    name: str = "inline"

    def run(self, job: BlockJob, blocks: Iterable[BlockIndex]) -> BlockResults:
        """Results in the order of ``blocks``; the job is opened with the first one."""
        block_function: BlockFunction | None = None
        for index in blocks:
            block_function = block_function or job.open()
            result = block_function(index)
            trim()
            yield index, result
