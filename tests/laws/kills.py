"""Drivers and workers that are killed at named points and at random moments: no tests here.

Processes come from a server that has imported everything already, so that one starts in a tenth of a second::

    victim (kills itself at a point, or is killed) ──> second run ──> same bytes; what ran twice is counted
"""

from __future__ import annotations

import json
import multiprocessing
import os
import re
import resource
import signal
import sys
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from itertools import pairwise
from pathlib import Path
from random import Random
from typing import Any

import dask
import numpy as np
from zarr.storage import LocalStore

from landweave import api
from landweave.aligning.run import INLINE, CubeSetup, run_align
from landweave.core.protocols import BlockState
from landweave.formats import cog
from landweave.jobs import lease, runner
from landweave.jobs.ledger import Ledger
from landweave.store.ledger_store import ZarrLedger
from landweave.store.objects import Target
from tests.block_jobs import wait_until
from tests.helpers.aligned import DASK
from tests.helpers.commands import shards
from tests.helpers.counted import SHARD_ROWS, Watched, watch
from tests.helpers.small import Small
from tests.store.cubes.cube_samples import DAYS, grid, objects, part, series

KILL = "LANDWEAVE_TEST_KILL"
"""What a process is killed at: method, a part of the key, which occurrence, and a file that the first one claims."""

PRELOAD = "DASK_DISTRIBUTED__WORKER__PRELOAD"

FLUSH_S, BEAT_S, WAIT_S = 0.3, 0.1, 0.02

PATIENCE_S = 1800
"""Seconds for an event that is sure to come, on a machine that others use too: only what hangs waits so long."""

Trap = tuple[str, str, int, str]
"""As of `set_trap`."""

POINTS: dict[str, tuple[str, str, int]] = {
    "before a put": ("set", "map/0/landcover/c", 6),
    "between two arrays": ("set", "map/0/confidence/c", 6),
    "after a put": ("after set", "map/0/probability/c", 6),
    "before a flush": ("flush", "", 4),
    "after a flush": ("after flush", "", 4),
    "in a lease beat": ("put", ".lease", 3),
    "in overviews": ("set", "map/1/", 2),
    "in a COG": ("cog", "", 1),
}

WORKER_POINTS = {name: POINTS[name] for name in ("before a put", "between two arrays", "after a put")}

CUBE_POINTS: dict[str, tuple[str, str, int]] = {
    "before a put": ("put_file", "band_data/c", 2),
    "between two arrays": ("put_file", "pixel_class/c", 2),
    "before a flush": ("flush", "", 3),
    "after a flush": ("after flush", "", 3),
    "in a lease beat": ("put", ".lease", 2),
}


CUBE_WORKER_POINTS = {name: CUBE_POINTS[name] for name in ("before a put", "between two arrays")}


_HOGGED: list[Any] = []


def set_trap(method: str, key: str, number: int, claim: str) -> None:
    """Let this process kill itself at the ``number``-th call of a method with ``key`` in what is written.

    The method "size" lets the system kill it where a file would have more than ``number`` bytes: within a write,
    whoever writes.
    """
    if method == "size":
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
        resource.setrlimit(resource.RLIMIT_FSIZE, (number, number))
        return
    after, counted = method.startswith("after "), [0]
    owners: dict[str, tuple[Any, str]] = {
        "set": (LocalStore, "set"),
        "put": (Target, "put"),
        "put_file": (Target, "put_file"),
        "flush": (Ledger, "flush"),
        "cog": (cog, "new_level_file"),
        "rename": (Path, "replace"),
    }
    owner, name = owners[method.removeprefix("after ").removeprefix("hog ")]
    real = getattr(owner, name)

    def strike(arguments: tuple[Any, ...]) -> None:
        counted[0] += key in " ".join(map(str, arguments[1:2])) if key else 1
        while counted[0] == number and _first(claim):
            if method != "hog set":
                os.kill(os.getpid(), signal.SIGKILL)
            _HOGGED.append(np.ones(2**25))  # a quarter of a GiB, until its nanny ends it
            time.sleep(0.05)

    @wraps(real)
    def call(*arguments: Any, **more: Any) -> Any:
        if after:
            made = real(*arguments, **more)
            strike(arguments)
            return made
        strike(arguments)
        return real(*arguments, **more)

    @wraps(real)
    async def call_async(*arguments: Any, **more: Any) -> Any:
        if not after:
            strike(arguments)
        made = await real(*arguments, **more)
        if after:
            strike(arguments)
        return made

    setattr(owner, name, call_async if name == "set" else call)


def _first(claim: str) -> bool:
    """Whether this process is the first at a file; always where there is none."""
    if not claim:
        return True
    try:
        os.close(os.open(claim, os.O_CREAT | os.O_EXCL))
    except FileExistsError:
        return False
    return True


def map_child(config: str, notes: str, trap: Trap | None, *, workers: int) -> None:
    """A driver that maps; it, or with workers the first of them that comes to the point, kills itself."""
    os.setsid()
    _hurry()
    _prepare(notes, trap, workers)
    sys.exit(api.run(api.load_config(config), progress=False).exit_code)


def cube_child(where: str, notes: str, trap: Trap | None, *, workers: int) -> None:
    """A driver that aligns, as `map_child`."""
    os.setsid()
    _hurry()
    _prepare(notes, trap, workers)
    engine = DASK if workers else INLINE
    sys.exit(run_align(CubeSetup(target=Target.parse(where), groups=(part(_series()),), engine=engine)).exit_code)


def _prepare(notes: str, trap: Trap | None, workers: int) -> None:
    if workers:
        os.environ |= {KILL: json.dumps([notes, *(trap or ())]), PRELOAD: json.dumps(["tests.laws.kills"])}
        dask.config.set({"distributed.worker.preload": ["tests.laws.kills"]})
        return
    watch(notes, WAIT_S, 0)
    if trap:
        set_trap(*trap)


def _series() -> Any:
    return series(DAYS[:5], where=grid(down=2, across=3))


def _hurry() -> None:
    runner.FLUSH_SECONDS, lease.BEAT_SECONDS = FLUSH_S, BEAT_S


def start(target: Callable[..., None], *arguments: Any, **more: Any) -> multiprocessing.process.BaseProcess:
    """A process that has everything imported already."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["tests.laws.kills"])
    process = context.Process(target=target, args=arguments, kwargs=more)
    process.start()
    return process


@dataclass(frozen=True, kw_only=True)
class Killed:
    """A run that was killed, and what the next one did."""

    twice: int
    ran: int

    def __str__(self) -> str:
        return f"killed; {self.ran} blocks ran after it, {self.twice} of them for the second time"


def killed_map(
    small: Small, folder: Path, reference: dict[str, bytes], kill: str | float, *, workers: int = 0
) -> Killed:
    """A map whose driver is killed at a named point, or some seconds after its first block, and is run again."""
    folder.mkdir()
    engine = {"kind": "dask", "workers": workers, "memory_gib": 2} if workers else {"kind": "inline"}
    store = folder / "map.zarr"
    output = {"store": str(store), "cog": str(folder / "map.tif")}
    config = str(small.config(output=output, engine=engine))
    trap = (*POINTS[kill], str(folder / "claim")) if isinstance(kill, str) else None
    victim = start(map_child, config, str(folder / "first"), trap, workers=workers)
    _await_blocks(victim, folder / "first", kill)
    _await_death(victim, kill)
    done = done_blocks(store)
    second = start(map_child, config, str(folder / "second"), None, workers=workers)
    second.join(PATIENCE_S)
    assert second.exitcode == 0, f"the second run ended with {second.exitcode}"
    assert shards(store) == reference, "other bytes"
    return _what_ran_twice(folder, done, at_once=2 * workers or 1)


def _await_blocks(victim: multiprocessing.process.BaseProcess, notes: Path, kill: str | float) -> None:
    """Drivers and workers take seconds to come: what is killed some seconds later is a run that is at work."""
    if not isinstance(kill, str):
        wait_until(lambda: len(Watched.read(notes).begun) >= 1 or not victim.is_alive(), PATIENCE_S)


def _what_ran_twice(folder: Path, done: set[tuple[int, int]], *, at_once: int) -> Killed:
    first, again = (Watched.read(folder / name) for name in ("first", "second"))
    assert not done & set(again.begun), "a block that the ledger has as done ran again"
    twice = set(first.begun) & set(again.begun)
    _check_twice(first, twice, at_once)
    assert not [path for path in folder.rglob("*") if re.search(r"#\d+$|lease|\.part$", path.name)]
    return Killed(twice=len(twice), ran=len(again.begun))


def _check_twice(first: Watched, twice: set[tuple[int, int]], at_once: int) -> None:
    """At most the blocks in flight, and those that ended since the flush before the kill."""
    ends = sorted(first.ended.values())
    late = [index for index in twice if index in first.ended]
    assert len(twice) - len(late) <= at_once
    longest = max((after - before for before, after in pairwise(ends)), default=0.0)
    assert all(ends[-1] - first.ended[index] <= FLUSH_S + 2 * longest for index in late), (twice, ends)


def done_blocks(store: Path) -> set[tuple[int, int]]:
    try:
        states = api.open_ledger(store)["state"].values
    except api.errors.LandweaveError:  # killed before there was one
        return set()
    return {(int(row), int(column)) for row, column in np.argwhere(states == BlockState.DONE)}


def killed_worker(small: Small, folder: Path, reference: dict[str, bytes], point: str) -> str:
    """A map one of whose workers is killed at a named point: the run goes on."""
    folder.mkdir()
    store = folder / "map.zarr"
    engine = {"kind": "dask", "workers": 2, "memory_gib": 2}
    config = str(small.config(output={"store": str(store)}, engine=engine))
    trap = (*WORKER_POINTS[point][:2], 2, str(folder / "claim"))
    driver = start(map_child, config, str(folder / "notes"), trap, workers=2)
    driver.join(PATIENCE_S)
    assert (folder / "claim").exists(), "no worker came to the point"
    assert driver.exitcode == 0, f"the run ended with {driver.exitcode}"
    assert shards(store) == reference, "other bytes"
    begun = Watched.read(folder / "notes").begun_times
    twice = sum(count > 1 for count in begun.values())
    assert twice <= 2 * 2, begun  # two threads, each with a block at hand
    return f"a worker was killed, the run went on; {twice} blocks were begun twice"


def killer(small: Small, folder: Path, how: str) -> tuple[str, ...]:
    """Lines of the failures of a map one of whose blocks kills every worker, or takes all its memory."""
    folder.mkdir()
    engine = {"kind": "dask", "workers": 2, "memory_gib": 2}
    config = str(small.config(output={"store": str(folder / "map.zarr")}, engine=engine))
    trap = ({"kill": "set", "hog": "hog set"}[how], "map/0/landcover/c/1/2", 1, "")
    driver = start(map_child, config, str(folder / "notes"), trap, workers=2)
    driver.join(PATIENCE_S)
    assert driver.exitcode == 3, f"the run ended with {driver.exitcode}"
    return api.status(folder / "map.zarr").failures


def new_folder(folder: Path) -> Path:
    """A folder that is not there yet."""
    return folder / f"new-{uuid.uuid4().hex[:8]}"


def killed_cube(folder: Path, kill: str | float, *, workers: int = 0) -> Killed:
    """An alignment that is killed at a named point, or some seconds after its first tile, and is run again."""
    folder.mkdir()
    whole, target = (Target.parse(folder / name) for name in ("whole.zarr", "cube.zarr"))
    assert run_align(CubeSetup(target=whole, groups=(part(_series()),))).exit_code == 0
    trap = (*CUBE_POINTS[kill], str(folder / "claim")) if isinstance(kill, str) else None
    victim = start(cube_child, target.location, str(folder / "first"), trap, workers=workers)
    _await_blocks(victim, folder / "first", kill)
    _await_death(victim, kill)
    done = done_tiles(target)
    second = start(cube_child, target.location, str(folder / "second"), None, workers=workers)
    second.join(PATIENCE_S)
    assert second.exitcode == 0, f"the second run ended with {second.exitcode}"
    assert objects(target) == objects(whole), "other bytes"
    return _what_ran_twice(folder, done, at_once=2 * workers or 1)


def done_tiles(target: Target) -> set[tuple[int, int]]:
    """Tiles that the ledgers of a cube have as finished, by the numbers that `watch` notes."""
    found: set[tuple[int, int]] = set()
    for path in {name.removesuffix("/state/c/0/0") for name in target.list("ledger") if name.endswith("/state/c/0/0")}:
        states, shard = ZarrLedger(target=target, path=path).read("state"), int(path.rpartition("/")[2][:4])
        finished = np.isin(states, [state for state in BlockState if state.finished])
        found |= {(SHARD_ROWS * shard + row, column) for row, column in np.argwhere(finished).tolist()}
    return found


def killed_cube_worker(folder: Path, point: str) -> str:
    """An alignment one of whose workers is killed at a named point: it goes on."""
    folder.mkdir()
    whole, target = (Target.parse(folder / name) for name in ("whole.zarr", "cube.zarr"))
    assert run_align(CubeSetup(target=whole, groups=(part(_series()),))).exit_code == 0
    trap = (*CUBE_WORKER_POINTS[point], str(folder / "claim"))
    driver = start(cube_child, target.location, str(folder / "notes"), trap, workers=2)
    driver.join(PATIENCE_S)
    assert (folder / "claim").exists(), "no worker came to the point"
    assert driver.exitcode == 0, f"the alignment ended with {driver.exitcode}"
    assert objects(target) == objects(whole), "other bytes"
    twice = sum(count > 1 for count in Watched.read(folder / "notes").begun_times.values())
    assert twice <= 2 * 2
    return f"a worker was killed, the alignment went on; {twice} tiles were begun twice"


def _await_death(victim: multiprocessing.process.BaseProcess, kill: str | float) -> None:
    if isinstance(kill, str):
        victim.join(PATIENCE_S)
        assert victim.exitcode == -signal.SIGKILL, f"it was to be killed, and ended with {victim.exitcode}"
        return
    victim.join(kill)
    try:
        os.killpg(victim.pid or 0, signal.SIGKILL)  # with its workers: everything
    except ProcessLookupError:
        victim.kill()  # it had not even begun, or has ended
    victim.join(PATIENCE_S)
    time.sleep(0.2)


def moments(seed: int, number: int, longest_s: float) -> list[float]:
    """Random moments of a run, in seconds after its first block began."""
    random = Random(seed)
    return [round(random.uniform(0, longest_s), 2) for _ in range(number)]


def dask_setup(worker: Any) -> None:
    """Called by a worker that loads this module first: what it is told to note, and where to kill itself."""
    notes, *trap = json.loads(os.environ[KILL])
    watch(notes, WAIT_S, 0)
    if trap:
        set_trap(*trap)
