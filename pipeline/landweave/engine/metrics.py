"""Figures of the blocks of one process, for Prometheus: each Dask worker serves them at ``/metrics`` beside its own.

Memory, CPU time and open files of the process come with the client's own collectors.
"""

from __future__ import annotations

from prometheus_client import Counter, Histogram

from landweave.core.protocols import BlockResult

BLOCKS = Counter("landweave_blocks", "Blocks that have ended, by their state.", ["state"])
PIXELS = Counter("landweave_pixels", "Output pixels of blocks that have ended.")
WINDOWS = Counter("landweave_windows", "Windows predicted.")
STAGE_SECONDS = Counter("landweave_stage_seconds", "Seconds of blocks by stage.", ["stage"])
BLOCK_SECONDS = Histogram(
    "landweave_block_seconds", "Seconds of a block.", buckets=(1, 2, 5, 10, 20, 50, 100, 200, 500, 1000)
)


def count_block(result: BlockResult) -> None:
    """Add a block that has ended; called from any thread."""
    BLOCKS.labels(result.state.name.lower()).inc()
    PIXELS.inc(result.counts.get("pixels", 0))
    WINDOWS.inc(result.counts.get("windows", 0))
    for stage, seconds in result.seconds.items():
        if stage == "total":
            BLOCK_SECONDS.observe(seconds)
        else:
            STAGE_SECONDS.labels(stage).inc(seconds)
