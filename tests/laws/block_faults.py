"""Blocks that kill, drivers that are told to end, readers that look on meanwhile: no tests here."""

from __future__ import annotations

import os
import signal
import subprocess
import threading
import time
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from landweave import api
from landweave.core.protocols import BlockState
from landweave.store.objects import Target
from tests.block_jobs import wait_until
from tests.helpers import aligned
from tests.helpers.commands import shards, start
from tests.helpers.counted import Watched, environment
from tests.laws import kills
from tests.laws.faults_ground import DASK, INLINE, Ground, Scenario
from tests.store.cubes.cube_samples import DAYS, align, objects, series

SIGNALS = {"SIGTERM": (signal.SIGTERM, 143), "Ctrl-C": (signal.SIGINT, 130)}

MOST_S = 10
"""Seconds from a signal to the end of a run none of whose blocks ends."""


def killer_block(here: Ground, seed: int, how: str) -> str:
    """One block of 12 that kills every worker, or takes more memory than a worker has: it alone has failed."""
    folder = kills.new_folder(here.small.folder)
    began = time.monotonic()
    failures = kills.killer(here.small, folder, how)
    assert len(failures) == 1, failures
    assert "block (1, 2): worker died" in failures[0], failures
    seconds = time.monotonic() - began
    found = shards(folder / "map.zarr")
    others = {name: content for name, content in here.reference.items() if name.startswith("map/0/") and not _of(name)}
    assert {name: content for name, content in found.items() if name in others} == others
    result = api.run(here.small.loaded(output={"store": str(folder / "map.zarr")}), progress=False)
    assert (result.exit_code, result.ran) == (0, 1), result
    assert shards(folder / "map.zarr") == here.reference
    return f"11 blocks done in {seconds:.0f} s, {failures[0][:60]}…; without it 1 ran"


def _of(name: str) -> bool:
    return name.endswith("/1/2")


def signalled(here: Ground, seed: int, sent: str, engine: Mapping[str, Any]) -> str:
    """A run whose processes are all told to end: what is done is saved, the lease is given back."""
    folder, (number, code) = kills.new_folder(here.small.folder), SIGNALS[sent]
    store = folder / "map.zarr"
    folder.mkdir()
    config = here.small.config(output={"store": str(store)}, engine=dict(engine))
    notes = environment(folder / "notes", wait_seconds=0.06, endless=10)
    process = start("run", config, module="tests.helpers.counted", **notes)
    seconds = seconds_to_end(process, folder / "notes", number, code)
    assert not [path for path in folder.rglob("*lease*")]
    done = kills.done_blocks(store)
    assert done.issubset(Watched.read(folder / "notes").ended)
    result = api.run(here.small.loaded(output={"store": str(store)}), progress=False)
    assert (result.exit_code, result.ran) == (0, 12 - len(done)), result
    assert shards(store) == here.reference
    return f"exit {code} after {seconds:.1f} s (load {os.getloadavg()[0]:.0f}), {len(done)} done; then {result.ran} ran"


def signalled_cube(here: Ground, seed: int, sent: str, kind: str) -> str:
    """An alignment whose processes are all told to end: as `signalled`."""
    folder, (number, code) = kills.new_folder(here.small.folder), SIGNALS[sent]
    folder.mkdir()
    whole, target = (Target.parse(folder / name) for name in ("whole.zarr", "cube.zarr"))
    source = series(DAYS[:5])
    assert align(whole, source).exit_code == 0
    notes = environment(folder / "notes", wait_seconds=0.06, endless=9)
    process = aligned.start(target.location, 5, 0.0, kind=kind, **notes)
    seconds = seconds_to_end(process, folder / "notes", number, code)
    assert not [path for path in folder.rglob("*lease*")]
    done = kills.done_tiles(target)
    assert done.issubset(Watched.read(folder / "notes").ended)
    result = align(target, source)
    assert (result.exit_code, result.ran) == (0, 12 - len(done)), result
    assert objects(target) == objects(whole)
    return f"exit {code} after {seconds:.1f} s (load {os.getloadavg()[0]:.0f}), {len(done)} done; then {result.ran} ran"


def seconds_to_end(process: subprocess.Popen[str], notes: Path, number: int, code: int) -> float:
    """How long the processes of a run take to end after a signal, two of whose blocks have ended, and soon none does.

    By the blocks' own notes: the ledger is written when a block ends.
    """
    try:
        wait_until(lambda: process.poll() is not None or len(Watched.read(notes).ended) >= 2, kills.PATIENCE_S)
        assert process.poll() is None, process.stderr and process.stderr.read()
        struck = time.monotonic()
        os.killpg(process.pid, number)
        assert process.wait(kills.PATIENCE_S) == code
        seconds = time.monotonic() - struck
    finally:
        process.kill()
    others = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))  # who share the machine
    assert seconds < MOST_S * others
    return seconds


class Reader(threading.Thread):
    """Reads every block of a map again and again: each is empty, or as it is in the end."""

    def __init__(self, store: Path, whole: NDArray[np.uint8]) -> None:
        super().__init__(daemon=True)
        self.store, self.whole, self.ended = store, whole, threading.Event()
        self.reads, self.problems = 0, list[str]()

    def run(self) -> None:
        while not self.ended.is_set() and not self.problems:
            try:
                self._read()
            except Exception as error:  # noqa: BLE001  it is what is looked for
                if self.reads:  # before that nothing is declared
                    self.problems.append(f"{type(error).__name__}: {error}")

    def _read(self) -> None:
        seen = api.open_map(self.store).landcover.to_numpy()
        for row in range(0, seen.shape[0], 128):
            for column in range(0, seen.shape[1], 128):
                part, whole = (each[row : row + 128, column : column + 128] for each in (seen, self.whole))
                if (part != 255).any() and not np.array_equal(part, whole):
                    self.problems.append(f"half a block at {row}, {column}")
        self.reads += 1


def reader_in_a_loop(here: Ground, seed: int) -> str:
    """A reader during a run, a repair and a verification."""
    whole = kills.new_folder(here.small.folder)
    api.run(here.small.loaded(output={"store": str(whole / "map.zarr")}), progress=False)
    store = kills.new_folder(here.small.folder) / "map.zarr"
    reader = Reader(store, api.open_map(whole / "map.zarr").landcover.to_numpy())
    config = here.small.loaded(output={"store": str(store)})
    reader.start()
    try:
        assert api.run(config, progress=False).exit_code == 0
        for turn in range(3):
            (store / f"map/0/landcover/c/{turn}/1").unlink()
            assert len(api.verify(store).damaged) == 1
            assert api.run(config, progress=False).ran == 1
    finally:
        reader.ended.set()
        reader.join(kills.PATIENCE_S)
    assert not reader.problems, reader.problems
    assert reader.reads > 3
    assert api.status(store).counts[BlockState.DONE] == 12
    return f"read {reader.reads} times while it was made, repaired and verified: no error, no half block"


SCENARIOS: dict[str, Scenario] = {
    "a block that kills, among 12": partial(killer_block, how="kill"),
    "a block over the memory limit, among 12": partial(killer_block, how="hog"),
    **{
        f"{sent}, {engine['kind']}": partial(signalled, sent=sent, engine=engine)
        for sent in SIGNALS
        for engine in (INLINE, DASK)
    },
    **{
        f"{sent}, align, {kind}": partial(signalled_cube, sent=sent, kind=kind)
        for sent in SIGNALS
        for kind in ("inline", "dask")
    },
    "a reader in a loop": reader_in_a_loop,
}
"""By their names in the table."""
