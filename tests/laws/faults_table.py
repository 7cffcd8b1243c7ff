"""Every fault that a network, a store or a disk can have, injected: ``python -m tests.laws.faults_table [--seed N]``.

Each scenario makes one fault, holds what follows against an undisturbed run, and says in a line what it saw; the table
names the seed with which it can be made again. `tests/laws/test_faults.py` runs them as slow tests.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any
from unittest.mock import patch

import rasterio

from landweave import api
from landweave.core.errors import LandweaveError
from landweave.core.lattice import BlockIndex
from landweave.core.protocols import BlockResult, BlockState
from landweave.jobs.progress import SilentProgress
from landweave.jobs.result import RunResult
from landweave.sources import files
from landweave.store import clients, objects, zarr_store
from landweave.store.objects import Target
from tests.helpers.commands import mosaic, shards
from tests.helpers.faulty import BUCKET, KINDS, FaultyStore, faulty_store
from tests.helpers.small import Small
from tests.laws import full_disk, kills


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
    """Time-outs of this process shorter than the stalls of the proxy."""
    network = {"GDAL_HTTP_LOW_SPEED_TIME": 1, "GDAL_HTTP_TIMEOUT": 2, "GDAL_HTTP_RETRY_DELAY": 0.1}
    with (
        patch.object(clients, "SILENT_S", 1),
        patch.object(files, "_TIMEOUT_S", 1),
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


def failing_store(here: Ground, seed: int, share: float, engine: Mapping[str, Any]) -> str:
    """A run, with COG and picture, into a store that fails; every fault is one retry."""
    output = here.output(f"failing-{seed}-{share}-{engine['kind']}", with_files=True)
    here.store.tell(seed=seed, share=share, kinds=list(KINDS))
    try:
        result = here.run(output, engine=dict(engine))
    finally:
        told = here.store.tell(share=0)
    assert result.exit_code == 0, result
    here.check(output)
    counted = f"requests tried again: {result.retries}"
    assert counted in str(result)
    # On workers a request may be in the air when the count of its block is taken; inline none is.
    assert result.retries == faults(told) if engine["kind"] == "inline" else result.retries > 0, (counted, told)
    parent, name = Target.parse(str(output["cog"]), output["storage_options"]).beside("")
    with rasterio.MemoryFile(parent.get(name)) as memory, memory.open() as cog:
        assert cog.count == 1
    return f"{told['requests']} requests, {words(told)}; {counted}"


def gone_and_back(here: Ground, seed: int) -> str:
    """A store that goes away for some seconds in the middle of a run."""
    output, back = here.output(f"back-{seed}"), threading.Timer(4, lambda: here.store.tell(down=False))
    try:
        result = here.run(output, progress=AfterFirst(lambda: (here.store.tell(down=True), back.start())))
    finally:
        back.cancel()
        here.store.tell(down=False)
    assert (result.exit_code, result.retries > 0) == (0, True), result
    here.check(output)
    return f"gone for 4 s; requests tried again: {result.retries}"


def gone_for_good(here: Ground, seed: int) -> str:
    """A store that goes away and stays away ends the run; the same process goes on at once when it is there again."""
    output, began = here.output(f"gone-{seed}"), time.monotonic()
    quick = replace(clients.RETRY, pauses_s=(0.1, 0.2))
    try:
        with patch.object(objects, "RETRY", quick), patch.object(zarr_store, "RETRY", quick):
            error = ended(lambda: here.run(output, progress=AfterFirst(lambda: here.store.tell(down=True))))
    finally:
        here.store.tell(down=False)
    assert error.exit_code == 3, error
    seconds = time.monotonic() - began
    result = here.run(output)
    assert result.exit_code == 0, result
    here.check(output)
    return f"exit 3 after {seconds:.0f} s ({str(error)[:60]}…); then {result.ran} blocks ran"


def wrong_secret(here: Ground, seed: int) -> str:
    """A key that is not right is one clear error, at once, and says no secret."""
    here.store.tell(auth=True)
    output = here.output(f"wrong-{seed}")
    output["storage_options"] |= {"secret_access_key": "canary-of-a-secret"}
    began = time.monotonic()
    try:
        error = ended(lambda: here.run(output))
    finally:
        here.store.tell(auth=False)
    assert (error.exit_code, time.monotonic() - began < 10) == (2, True), error
    assert "canary" not in str(error)
    assert "403" in str(error)
    return f"exit 2: {str(error)[:70]}…"


def failing_tiles(here: Ground, seed: int, share: float, address: str) -> str:
    """Tiles in a bucket, and on a web server, that fail."""
    inputs, prefix = tiles(here, f"tiles-{seed}-{share}", address)
    here.store.tell(seed=seed, share=share, kinds=list(KINDS), only=prefix)
    store = here.small.folder / f"tiles-{seed}-{share}-{address}.zarr"
    try:
        result = here.run({"store": str(store)}, inputs=inputs)
    finally:
        told = here.store.tell(share=0, only="")
    assert result.exit_code == 0, result
    assert shards(store) == here.reference
    assert result.retries > 0
    return f"{told['requests']} requests, {words(told)}; requests tried again: {result.retries}"


def tiles(here: Ground, prefix: str, address: str) -> tuple[dict[str, Any], str]:
    """The input of the small map with its tiles in the store; and their prefix."""
    for name in ("rgb", "irc"):
        here.store.put_folder(here.small.folder / name, f"{prefix}/{name}")
    root = f"s3://{BUCKET}" if address == "s3" else f"{here.store.endpoint}/{BUCKET}"
    if address == "s3":
        names = {"rgb": f"{root}/{prefix}/rgb/*.tif", "irc": f"{root}/{prefix}/irc/"}
        section = mosaic(R=(names["rgb"], 1), G=(names["rgb"], 2), B=(names["rgb"], 3), NIR=(names["irc"], 1))
        return {"AERIAL_RGBI": {**section, "storage_options": here.store.storage_options}}, prefix
    names_of = {name: sorted(path.name for path in (here.small.folder / name).glob("*")) for name in ("rgb", "irc")}
    listed = {name: [f"{root}/{prefix}/{name}/{each}" for each in found] for name, found in names_of.items()}
    section = mosaic(R=(listed["rgb"], 1), G=(listed["rgb"], 2), B=(listed["rgb"], 3), NIR=(listed["irc"], 1))
    return {"AERIAL_RGBI": section}, prefix


def harmed_tile(here: Ground, seed: int, address: str, harm: str) -> str:
    """A tile that is harmed during a run fails its blocks, named; repaired, the same bytes follow."""
    inputs, prefix = tiles(here, f"harmed-{harm}-{address}-{seed}", address)
    key = f"{prefix}/rgb/{max(p.name for p in (here.small.folder / 'rgb').glob('*.tif'))}"
    whole = here.store.client.get_object(Bucket=BUCKET, Key=key)["Body"].read()
    store = here.small.folder / f"harmed-{harm}-{address}-{seed}.zarr"

    def strike() -> None:
        files._REMEMBERED.clear()  # what a server said is remembered for ten minutes
        if harm == "removed":
            here.store.client.delete_object(Bucket=BUCKET, Key=key)
        else:
            content = whole[:2000] if harm == "truncated" else bytes(len(whole))
            here.store.put(key, content)

    result = here.run({"store": str(store)}, inputs=inputs, progress=AfterFirst(strike))
    failed = result.counts[BlockState.READ_FAILED]
    assert (result.exit_code, failed > 0, result.counts[BlockState.FAILED]) == (3, True, 0), result
    assert all(key in line for line in result.failures)
    here.store.put(key, whole)
    files._REMEMBERED.clear()
    again = here.run({"store": str(store)}, inputs=inputs)
    assert (again.exit_code, again.ran) == (0, failed), again
    assert shards(store) == here.reference
    return f"{failed} blocks failed, named; repaired, {again.ran} ran"


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

NETWORK: dict[str, Scenario] = {
    "store, 5 % of requests fail": partial(failing_store, share=0.05, engine=INLINE),
    "store, 20 % of requests fail": partial(failing_store, share=0.2, engine=INLINE),
    "store, 5 % of requests fail, Dask": partial(failing_store, share=0.05, engine=DASK),
    "store gone and back": gone_and_back,
    "store gone for good": gone_for_good,
    "wrong secret": wrong_secret,
    "tiles in S3, 20 % of requests fail": partial(failing_tiles, share=0.2, address="s3"),
    "tiles over http, 20 % of requests fail": partial(failing_tiles, share=0.2, address="http"),
    **{
        f"tile {harm} during a run, {address}": partial(harmed_tile, address=address, harm=harm)
        for harm in ("truncated", "removed", "replaced")
        for address in ("s3", "http")
    },
}
"""Faults of networks and servers by their name in the table."""


def full_map(here: Ground, seed: int, stage: str) -> str:
    """A disk that is full at a stage of a run."""
    with full_disk.small_disk(here.small.folder / "disk") as disk:
        return full_disk.full_map(here.small, disk, stage, here.reference)


def full_cube(here: Ground, seed: int, stage: str) -> str:
    """A disk that is full at a stage of an alignment."""
    with full_disk.small_disk(here.small.folder / "disk") as disk:
        return full_disk.full_cube(disk, stage)


DISK: dict[str, Scenario] = {
    **{f"disk full at {stage}": partial(full_map, stage=stage) for stage in full_disk.STAGES},
    **{f"disk full at {stage}": partial(full_cube, stage=stage) for stage in full_disk.CUBE_STAGES},
}
"""Disks that are full, by the stage."""


def kill_map(here: Ground, seed: int, point: str) -> str:
    """A driver that kills itself at a named point."""
    return str(kills.killed_map(here.small, _new(here), here.reference, point))


def kill_everything(here: Ground, seed: int) -> str:
    """Driver, scheduler and workers killed at once, in the middle."""
    return str(kills.killed_map(here.small, _new(here), here.reference, 0.5, workers=2))


def kill_worker(here: Ground, seed: int, point: str) -> str:
    """A worker that kills itself at a named point."""
    return kills.killed_worker(here.small, _new(here), here.reference, point)


def kill_cube(here: Ground, seed: int, point: str) -> str:
    """An alignment that kills itself at a named point."""
    return kills.killed_cube(_new(here), point)


def kill_at_random(here: Ground, seed: int, number: int) -> str:
    """A map, then an alignment, killed at random moments."""
    maps, cubes = kills.moments(seed, number, 6.0), kills.moments(seed, number, 2.0)
    seen = [kills.killed_map(here.small, _new(here), here.reference, moment) for moment in maps]
    for moment in cubes:
        kills.killed_cube(_new(here), moment)
    return f"maps at {maps} s, {sum(each.twice for each in seen)} blocks twice; cubes at {cubes} s"


def _new(here: Ground) -> Path:
    return here.small.folder / f"killed-{uuid.uuid4().hex[:8]}"


KILLS: dict[str, Scenario] = {
    **{f"map killed {point}": partial(kill_map, point=point) for point in kills.POINTS},
    **{f"worker killed {point}": partial(kill_worker, point=point) for point in kills.WORKER_POINTS},
    "everything killed": kill_everything,
    **{f"cube killed {point}": partial(kill_cube, point=point) for point in kills.CUBE_POINTS},
    "map and cube killed at 20 random moments": partial(kill_at_random, number=10),
}
"""Processes that are killed, by the point."""


def main() -> int:
    """Run all scenarios and print the table; 1 where one did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--only", default="", help="scenarios whose name holds this text")
    given = parser.parse_args()
    broken = 0
    with tempfile.TemporaryDirectory() as folder, ground(Path(folder)) as here:
        for name, scenario in (NETWORK | DISK | KILLS).items():
            if given.only not in name:
                continue
            began = time.monotonic()
            try:
                seen, verdict = scenario(here, given.seed), "holds"
            except (AssertionError, LandweaveError) as error:
                seen, verdict, broken = f"{type(error).__name__}: {error}", "BROKEN", broken + 1
            row = f"| {name} | {given.seed} | {verdict} | {time.monotonic() - began:.0f} s | {seen} |"
            sys.stdout.write(row + "\n")
            sys.stdout.flush()
    return min(broken, 1)


if __name__ == "__main__":
    sys.exit(main())
