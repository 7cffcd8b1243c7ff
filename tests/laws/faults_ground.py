"""What every scenario of `tests.laws.faults_table` starts from: no tests here."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from unittest.mock import patch

from landweave import api
from landweave.core.errors import LandweaveError
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockResult
from landweave.jobs.progress import SilentProgress
from landweave.jobs.result import RunResult
from landweave.sources import files
from landweave.store import clients
from landweave.store.objects import Target
from tests.helpers.commands import shards
from tests.helpers.faulty import BUCKET, KINDS, FaultyStore, faulty_store
from tests.helpers.small import Small


@dataclass(frozen=True, kw_only=True)
class Ground:
    """What every scenario starts from: a small map, the objects of an undisturbed run, and a store that fails."""

    small: Small
    store: FaultyStore
    reference: Mapping[str, bytes]

    def output(self, name: str, *, with_files: bool = False) -> dict[str, Any]:
        """An output in the store."""
        named = {"cog": f"s3://{BUCKET}/{name}.tif", "picture": f"s3://{BUCKET}/{name}.png"} if with_files else {}
        return {"store": f"s3://{BUCKET}/{name}.zarr", "storage_options": self.store.storage_options, **named}

    def run(self, output: Mapping[str, Any], **more: Any) -> RunResult:
        """A run into an output."""
        progress = more.pop("progress", False)
        sections = {"engine": {"kind": "inline"}, **more}
        return api.run(self.small.loaded(output=dict(output), **sections), progress=progress)

    def check(self, output: Mapping[str, Any]) -> None:
        """Hold the objects of an output against the reference, and look for parts of uploads."""
        target = Target.parse(output["store"], output.get("storage_options"))
        stored = {name: target.get(name) for name in self.reference}
        assert stored == self.reference, "other bytes"
        assert self.store.uploads() == []
        assert not [name for name in target.beside("")[0].list() if name.endswith(".lease")]


@contextmanager
def ground(folder: Path) -> Iterator[Ground]:
    """The ground of all scenarios, up within the block."""
    small = Small.make(folder / "small")
    store = folder / "reference.zarr"
    assert api.run(small.loaded(output={"store": str(store)}), progress=False).exit_code == 0
    with faulty_store() as faulty, impatient():
        yield Ground(small=small, store=faulty, reference=shards(store))


@contextmanager
def impatient() -> Iterator[None]:
    """Time-outs of this process shorter than the stalls of the proxy, on a machine that nobody shares."""
    others = max(1, round(os.getloadavg()[0] / (os.cpu_count() or 1)))
    network = {"GDAL_HTTP_LOW_SPEED_TIME": others, "GDAL_HTTP_TIMEOUT": 2 * others, "GDAL_HTTP_RETRY_DELAY": 0.1}
    with (
        patch.object(clients, "SILENT_S", others),
        patch.object(files, "_TIMEOUT_S", others),
        patch.object(files, "PAUSES_S", (0.1, 0.2, 0.4, 0.8, 1.6, 3.2)),
        patch.dict(files._NETWORK, network),
    ):
        yield


def words(told: Mapping[str, Any]) -> str:
    """Faults as the proxy counted them."""
    return ", ".join(f"{told[kind]} {kind}" for kind in KINDS if told.get(kind))


def faults(told: Mapping[str, Any]) -> int:
    """How many requests failed."""
    return sum(told.get(kind, 0) for kind in KINDS)


class AfterFirst(SilentProgress):
    """Does something when the first block has ended."""

    def __init__(self, strike: Callable[[], object]) -> None:
        self.strike: Callable[[], object] | None = strike

    def advance(self, index: BlockIndex, result: BlockResult) -> None:
        """See `Progress`."""
        strike, self.strike = self.strike, None
        if strike:
            strike()


def ended(work: Callable[[], object]) -> LandweaveError:
    """The error of ours that ends some work."""
    try:
        result = work()
    except LandweaveError as error:
        return error
    raise AssertionError(f"it went on: {result}")


INLINE, DASK = {"kind": "inline"}, {"kind": "dask", "workers": 2, "memory_gib": 2}

Scenario = Callable[[Ground, int], str]
