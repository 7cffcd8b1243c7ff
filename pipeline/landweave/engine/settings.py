"""Which engine runs the blocks, resolved."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class EngineSettings:
    """Which engine runs the blocks: ``kind``, local ``workers``, scheduler ``address``, bytes of memory a worker."""

    kind: str
    workers: int
    address: str | None
    worker_bytes: int
