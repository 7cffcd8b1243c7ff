"""The command with its blocks and its predictor watched, for drivers that are killed: no tests here.

``python -m tests.helpers.counted run config.yaml`` is ``landweave run config.yaml`` that notes in the file of
`WATCHED` when blocks begin and end and when the predictor is called, and waits a little in each call. Worker
processes do the same: they load this module because `environment` names it as a preload. Tiles of a cube are blocks
too; their rows are counted on from one time shard to the next, `SHARD_ROWS` each.
"""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from dataclasses import dataclass
from functools import wraps
from pathlib import Path

from landweave.aligning.job import AlignJob
from landweave.mapping.job import MapFunction
from landweave.models.inference import TorchPredictor

WATCHED, WAIT, ENDLESS = "LANDWEAVE_TEST_WATCHED", "LANDWEAVE_TEST_WAIT", "LANDWEAVE_TEST_ENDLESS"
SHARD_ROWS = 100


def environment(file: Path, wait_seconds: float, endless: int = 0) -> dict[str, str]:
    """What a process needs to know; ``file`` gets the notes.

    The block that is the ``endless``-th to begin never ends (0: all do), so that a run cannot be over before it is
    interrupted, however slow the machine.
    """
    return {
        WATCHED: str(file),
        WAIT: str(wait_seconds),
        ENDLESS: str(endless),
        "DASK_DISTRIBUTED__WORKER__PRELOAD": json.dumps(["tests.helpers.counted"]),
    }


@dataclass(frozen=True, kw_only=True)
class Watched:
    """What a file of notes says: when blocks began and ended, and how often the predictor was called."""

    begun: dict[tuple[int, int], float]
    ended: dict[tuple[int, int], float]
    begun_times: Counter[tuple[int, int]]
    calls: int

    @classmethod
    def read(cls, file: Path) -> Watched:
        lines = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
        blocks = [(what, (int(row), int(column)), float(at)) for what, at, row, column in lines if what != "call"]
        return cls(
            begun={index: at for what, index, at in blocks if what == "begin"},
            ended={index: at for what, index, at in blocks if what == "end"},
            begun_times=Counter(index for what, index, _ in blocks if what == "begin"),
            calls=sum(what == "call" for what, *_ in lines),
        )


def watch(file: str, wait_seconds: float, endless: int) -> None:
    """Watch this process from now on."""

    def note(what: str, index: tuple[int, int] = (0, 0)) -> None:
        # One small write in append mode: lines of several processes do not mix.
        handle = os.open(file, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(handle, f"{what} {time.time()} {index[0]} {index[1]}\n".encode())
        os.close(handle)

    map_block, align_tile, predict = MapFunction.__call__, AlignJob._align, TorchPredictor.predict

    def noted(index, block):
        note("begin", index)
        while endless and Watched.read(Path(file)).begun_times.total() >= endless:
            time.sleep(0.1)
        result = block()
        note("end", index)
        return result

    @wraps(map_block)
    def watched_block(self, index):
        return noted(index, lambda: map_block(self, index))

    @wraps(align_tile)
    def watched_tile(self, index):
        time.sleep(wait_seconds)
        at = (SHARD_ROWS * self.store.shard + index[0], index[1])
        return noted(at, lambda: align_tile(self, index))

    @wraps(predict)
    def watched_predict(self, batch):
        note("call")
        time.sleep(wait_seconds)
        return predict(self, batch)

    MapFunction.__call__, AlignJob._align = watched_block, watched_tile
    TorchPredictor.predict = watched_predict


# A worker process loads this file twice: as the preload, and as the main module of the process that started it.
if os.environ.get(WATCHED) and not hasattr(MapFunction.__call__, "__wrapped__"):
    watch(os.environ[WATCHED], float(os.environ[WAIT]), int(os.environ[ENDLESS]))

if __name__ == "__main__":
    from landweave.cli.main import main

    main()
