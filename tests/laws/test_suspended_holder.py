"""A driver that is suspended (SIGSTOP), overtaken and woken: right pixels, a right ledger, and `status` says so.

It stops before or after it looks at its lease, ahead of an object made of old pixels; a tile is mended meanwhile.
"""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import psutil
import pytest
import rasterio

from landweave import api
from landweave.jobs import lease
from landweave.store.maps.store import MapStore
from tests.helpers.commands import shards, start
from tests.helpers.small import Small

pytestmark = pytest.mark.slow

PUT = 11
"""Object before which it stops, counted from 0: in the middle of the blocks."""


def suspended(small: Small, where: str) -> subprocess.Popen[str]:
    config = small.config(engine={"kind": "inline"})
    child = start("run", config, module="tests.suspended_run", STOP=where, STOP_AT=str(PUT), OMP_NUM_THREADS="1")
    end = time.monotonic() + 120
    while psutil.Process(child.pid).status() != psutil.STATUS_STOPPED:
        assert child.poll() is None, child.communicate()
        assert time.monotonic() < end
        time.sleep(0.1)
    return child


def wake(child: subprocess.Popen[str]) -> str:
    os.kill(child.pid, signal.SIGCONT)
    out, err = child.communicate(timeout=120)
    return out + err


def mend(small: Small) -> None:
    for tile in small.folder.glob("rgb/*.tif"):
        with rasterio.open(tile, "r+") as dataset:
            dataset.write(255 - dataset.read())


@pytest.fixture
def reference(tmp_path: Path) -> dict[str, bytes]:
    small = Small.make(tmp_path / "reference")
    mend(small)
    assert api.run(small.loaded(engine={"kind": "inline"})).exit_code == 0
    return shards(small.store)


@pytest.fixture
def small(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Small:
    monkeypatch.setattr(lease, "SILENT_SECONDS", 1.0)
    monkeypatch.setattr(lease, "BEAT_SECONDS", 0.3)
    return Small.make(tmp_path / "small")


@pytest.mark.parametrize("where", ["before the look", "after the look"])
@pytest.mark.parametrize("when", ["before", "during", "after"])
def test_a_suspended_holder_leaves_the_right_map(
    small: Small, reference: dict[str, bytes], monkeypatch: pytest.MonkeyPatch, where: str, when: str
) -> None:
    config, said, write = small.loaded(engine={"kind": "inline"}), "", MapStore.write
    child = suspended(small, where)
    mend(small)
    if when == "before":
        said = wake(child)
        assert "changed during the run" in said
        assert not api.status(small.store).complete
    written: list[tuple[int, int]] = []

    def woken(self: MapStore, index: tuple[int, int], arrays):
        nonlocal said
        done = write(self, index, arrays)
        written.append(index)
        if when == "during" and len(written) == 10:
            said = wake(child)
        return done

    monkeypatch.setattr(MapStore, "write", woken)
    result = api.run(config, stale=True)
    assert result.exit_code == 0
    if when == "after":
        said = wake(child)
    if when != "before":
        assert child.returncode == 3
        assert "took its output over" in said
    late = api.verify(small.store)
    if (when, where) == ("after", "after the look"):  # between look and write nothing can be looked at
        assert len(late.damaged) == 1
        assert not api.status(small.store).complete
        assert api.run(config, stale=True).ran == 1
        late = api.verify(small.store)
    assert late.exit_code == 0
    assert shards(small.store) == reference
    assert api.status(small.store).complete
    assert not api.status(config).stale
