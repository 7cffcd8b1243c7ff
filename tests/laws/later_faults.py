"""What is done with a finished map, on a full disk, from a store that goes away, and killed: no tests here.

::

    full disk, or no more responses after a few requests ──> our error, nothing torn ──> room again: the files are there
    killed within a write, or at a rename ──> nothing torn ──> done again: the same bytes, and nothing beside them
"""

from __future__ import annotations

import re
import signal
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import cache, partial
from pathlib import Path
from tempfile import mkdtemp
from typing import Any
from unittest.mock import patch

import geopandas
import numpy as np
import shapely

import landweave as lw
from landweave.engine.inline import InlineEngine
from landweave.jobs.result import RunResult
from landweave.store import clients, objects, zarr_store
from landweave.store.objects import Target
from tests.helpers.counted_s3 import BUCKET, counted_s3
from tests.helpers.tiles import write_tile
from tests.laws import kills
from tests.laws.faults_ground import Ground, Scenario, ended
from tests.laws.full_disk import Ballast, small_disk
from tests.laws.kills import new_folder
from tests.publishing.conftest import bytes_below, finished_map

CANARY = "c4n4ry"


@cache
def given() -> Path:
    """A folder with two maps, labels and zones."""
    folder = Path(mkdtemp(prefix="landweave-finished-"))
    store, arrays = finished_map(folder / "map.zarr")
    finished_map(folder / "later.zarr", seed=1)
    west, south, east, north = store.grid.bounds
    for name, bands in (("truth", 1), ("ortho", 3)):
        write_tile(folder / f"{name}.tif", np.stack([arrays["landcover"]] * bands), corner_xy=(west, north))
    frame = geopandas.GeoDataFrame({"nom": ["a"]}, geometry=[shapely.box(west, south, east, north)], crs="EPSG:2154")
    frame.to_file(folder / "zones.gpkg")
    return folder


def commands(place: str, to: Path, **more: Any) -> dict[str, Callable[[], object]]:
    """What is done with the maps at ``place``, by the name of its command; files go to a folder."""
    first, second, truth, zones = (
        f"{place}/map.zarr",
        f"{place}/later.zarr",
        given() / "truth.tif",
        given() / "zones.gpkg",
    )
    rule, run = lw.SamplingRule(size=30, minimum=2), {"progress": False, "engine": InlineEngine(), **more}
    images = str(given() / "ortho.tif")
    return {
        "evaluate": lambda: lw.evaluate(first, str(truth), folder=to / "scores", **run),
        "compare": lambda: lw.compare(first, str(truth), folder=to / "agreement", **run),
        "change": lambda: lw.change(first, second, folder=to / "changes", zones=str(zones), **run),
        "hectares": lambda: lw.area_by_class(first, str(zones), to=[to / "a.csv", to / "a.parquet"], **run),
        "report": lambda: lw.report(first, to / "page.html", zones=str(zones), **run),
        "sample": lambda: lw.draw_sample(first, to / "sample.gpkg", rule=rule, **run),
        "chips": lambda: lw.draw_sample(first, to / "sample.gpkg", rule=rule, images=images, **run),
        "publish": lambda: lw.publish(first, to / "published", dalle_m=20, **run),
        "picture": lambda: lw.draw_status(lw.status(first, **more), to / "status.png"),
        "status": lambda: lw.status(first, **more),
        "verify": lambda: lw.verify(first, **more),
        "open": lambda: lw.open_map(first, **more).landcover[:64, :64].load(),
        "ledger": lambda: lw.open_ledger(first, **more).load(),
    }


WRITING = ("evaluate", "compare", "change", "hectares", "report", "sample", "chips", "publish", "picture")

KILLED: dict[str, tuple[kills.Trap, ...]] = {
    "evaluate": (("rename", "", 4, ""),),
    "change": (("rename", "", 5, ""),),
    "hectares": (("rename", "", 2, ""),),
    "chips": (("rename", "sample.gpkg", 1, ""),),
    "publish": (("put", "items/", 2, ""),),
    "picture": (("rename", "", 1, ""),),
}
"""Where commands are killed beside within a write."""


def files(folder: Path) -> Mapping[Path, bytes]:
    """Content of every file below a folder, but the ballast and what was never renamed."""
    found = (path for path in sorted(folder.rglob("*")) if path.is_file() and path.name != "ballast")
    return {path: path.read_bytes() for path in found if not path.name.startswith(".")}


def full(here: Ground, seed: int, command: str) -> str:
    """A disk without a byte of room: nothing new is there, and with room it is; what was there before stays."""
    with small_disk(here.small.folder / "disk") as disk:
        ballast, old = Ballast(disk), str(given())
        ballast.fill()
        error = ended(commands(old, disk)[command])
        assert files(disk) == {}
        ballast.leave(_largest(command))
        assert not _is_whole(commands(old, disk)[command])
        early = whole_below(disk)
        ballast.drop()
        commands(old, disk)[command]()
        before = files(disk)
        assert early.items() <= whole_below(disk).items()
        ballast.fill()
        ended(commands(old, disk)[command]) if command in ("evaluate", "compare", "report") else None
        assert files(disk) == before
    return f"{type(error).__name__}, exit {error.exit_code}; with room again {len(before)} files"


def gone(here: Ground, seed: int, command: str) -> str:
    """A store that gives no response any more after some requests: our error, or a result; no secret, nothing torn."""
    seen: list[str] = []
    with counted_s3() as s3:
        place = f"s3://{BUCKET}/{command}-{seed}"  # moto forgets nothing in a process
        for name, of in (("map", 0), ("later", 1)):
            finished_map(Target.parse(f"{place}/{name}.zarr", s3.storage_options), seed=of)
        options = {**s3.storage_options, "secret_access_key": CANARY}
        quick = replace(clients.RETRY, pauses_s=(0.0,))
        with patch.object(objects, "RETRY", quick), patch.object(zarr_store, "RETRY", quick):
            for most in (0, 1, 2, 3, 4, 5, 7, 9, 11, 13, 16, 20, 25, 30, 40):
                folder, counted = new_folder(here.small.folder), iter(range(10**6))
                folder.mkdir()
                s3.fault = lambda most=most, counted=counted: "503 Slow Down" if next(counted) >= most else None
                seen.append(_end(commands(place, folder, storage_options=options)[command]))
                assert CANARY not in seen[-1]
                assert seen[-1] == "done" or not files(folder), (most, files(folder).keys())
                s3.fault = lambda: None
    objects.RETRY.outage.lasts = False
    assert seen[0] != "done"
    return f"refused {sum(each != 'done' for each in seen)} of {len(seen)} times: {seen[1][:60]}…"


def _end(work: Callable[[], object]) -> str:
    try:
        work()
    except lw.errors.LandweaveError as error:
        return f"{error} {error!r}"
    return "done"


def _is_whole(work: Callable[[], object]) -> bool:
    try:
        result = work()
    except lw.errors.LandweaveError:
        return False
    return not isinstance(result, RunResult) or result.complete


@cache
def undisturbed(command: str) -> Mapping[str, bytes]:
    """What a command leaves."""
    folder = Path(mkdtemp(prefix="landweave-undisturbed-"))
    commands(str(given()), folder)[command]()
    return whole_below(folder)


def _largest(command: str) -> int:
    """Half of the bytes of its largest file: it is written in part."""
    return max(map(len, undisturbed(command).values())) // 2


def whole_below(folder: Path) -> Mapping[str, bytes]:
    """Files of a folder that are for others: no listing of a store shows what is half written."""
    return {
        name: content for name, content in files_below(folder).items() if not re.search(r"(^|/)\.|#\d+$|\.lease$", name)
    }


def files_below(folder: Path) -> Mapping[str, bytes]:
    """All of them but the ballast, a ledger and the figures of a run, which hold times."""
    return {
        name: content for name, content in bytes_below(folder).items() if not name.endswith(("ballast", ".run.json"))
    }


def killed(here: Ground, seed: int, command: str) -> str:
    """A command that is killed within a write and at renames, and given again."""
    reference = undisturbed(command)
    traps: tuple[kills.Trap, ...] = (("size", "", _largest(command), ""), *KILLED[command])
    for trap in traps:
        folder = new_folder(here.small.folder)
        folder.mkdir()
        victim = kills.start(killed_child, str(given()), str(folder), command, trap)
        victim.join(kills.PATIENCE_S)
        assert victim.exitcode in (-signal.SIGKILL, -signal.SIGXFSZ), (trap, victim.exitcode)
        assert whole_below(folder).items() <= reference.items(), trap
        commands(str(given()), folder)[command]()
        left = {name for name in files_below(folder) if not name.startswith("published/.landweave/")} - {*reference}
        assert (whole_below(folder), left) == (reference, set()), trap
    return f"killed {len(traps)} times; the same {len(reference)} files after each"


def killed_child(place: str, to: str, command: str, trap: kills.Trap) -> None:
    """Does what `commands` has with maps that are there, until it is killed."""
    globals()["given"] = lambda: Path(place)
    kills.set_trap(*trap)
    commands(place, Path(to))[command]()


SCENARIOS: dict[str, Scenario] = {
    **{f"disk full, {command}": partial(full, command=command) for command in WRITING},
    **{
        f"store gone, {command}": partial(gone, command=command)
        for command in commands("", Path())
        if command != "chips"
    },
    **{f"killed, {command}": partial(killed, command=command) for command in KILLED},
}
"""By their names in the table."""
