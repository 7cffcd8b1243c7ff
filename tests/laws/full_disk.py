"""A disk that is full at any stage of a run or an alignment, a real one: no tests here."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from functools import wraps
from pathlib import Path
from typing import Any
from unittest.mock import patch

from zarr.storage import LocalStore

from landweave import api
from landweave.aligning.run import CubeSetup, run_align
from landweave.core.errors import LandweaveError
from landweave.formats import cog, picture
from landweave.store.objects import Target
from tests.helpers.clouds import missing
from tests.helpers.commands import shards
from tests.helpers.small import Small
from tests.store.cubes.cube_samples import DAYS, grid, objects, part, series

SIZE_MIB = 32

STAGES = {
    "the lease": ".lease",
    "the metadata": "map/0/zarr.json",
    "the root": "zarr.json",
    "the ledger": "ledger/state/c",
    "an array": "map/0/landcover/c/1",
    "another array": "map/0/probability/c/0/2",
    "an overview": "map/1/landcover/c",
    "the group": "map/zarr.json",
    "the COG": "COG",
    "the picture": "picture",
}
"""What is about to be written when the disk becomes full, and a part of its key."""

CUBE_STAGES = {
    "the lease of a cube": ".lease",
    "the metadata of a cube": "SENTINEL2_TS/zarr.json",
    "dates to come": "datatake_id",
    "a tile": "band_data/c",
    "the ledger of a cube": "state/c",
}


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system of `SIZE_MIB`, mounted in a folder; skips where that is not allowed."""
    folder.mkdir(parents=True, exist_ok=True)
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE_MIB}m", "tmpfs", str(folder)]
    if not shutil.which("mount") or subprocess.run(command, capture_output=True, check=False).returncode:
        missing("a small file system cannot be mounted here: that needs the rights of an administrator")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


class Ballast:
    """A file that takes all room that is left."""

    def __init__(self, disk: Path) -> None:
        self.path = disk / "ballast"

    def fill(self) -> None:
        """Leave not a byte."""
        with self.path.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(2**16))
        with self.path.open("ab", buffering=0) as file, suppress(OSError):
            while True:
                file.write(bytes(64))

    def leave(self, room: int) -> None:
        """Leave some bytes of a disk that is filled."""
        os.truncate(self.path, self.path.stat().st_size - room)

    def drop(self) -> None:
        """Give the room back."""
        self.path.unlink(missing_ok=True)


@contextmanager
def full_at(stage: str, ballast: Ballast) -> Iterator[list[str]]:
    """Fill the disk when the first key with ``stage`` in it is about to be written; gives that key."""
    struck: list[str] = []

    def watch(name: str) -> None:
        if stage in name and not struck:
            struck.append(name)
            ballast.fill()

    with ExitStack() as patches:
        for owner, name in ((Target, "put"), (Target, "put_file"), (Target, "create"), (LocalStore, "set")):
            patches.enter_context(patch.object(owner, name, _watched(getattr(owner, name), watch)))
        patches.enter_context(patch.object(cog, "new_level_file", _called(cog.new_level_file, lambda: watch("COG"))))
        saved = _called(picture.save_figure, lambda: watch("picture"))
        patches.enter_context(patch.object(picture, "save_figure", saved))
        yield struck


def _watched(method: Callable[..., Any], watch: Callable[[str], None]) -> Callable[..., Any]:
    @wraps(method)
    def call(self: Any, key: str, *arguments: Any, **more: Any) -> Any:
        watch(f"{getattr(self, 'location', '')}/{key}")
        return method(self, key, *arguments, **more)

    return call


def _called(function: Callable[..., Any], before: Callable[[], None]) -> Callable[..., Any]:
    @wraps(function)
    def call(*arguments: Any, **more: Any) -> Any:
        before()
        return function(*arguments, **more)

    return call


def full_map(small: Small, disk: Path, stage: str, reference: Mapping[str, bytes]) -> str:
    """A run whose disk is full at a stage ends with our error or names its blocks; with room again it is completed."""
    ballast, store = Ballast(disk), disk / "map.zarr"
    output = {"store": str(store), "cog": str(disk / "map.tif"), "picture": str(disk / "map.png")}
    with full_at(STAGES[stage], ballast) as struck:
        seen = _ended(lambda: api.run(small.loaded(output=output), progress=False))
    assert struck, "the stage was never reached"
    ballast.drop()
    result = api.run(small.loaded(output=output), progress=False)
    assert result.exit_code == 0, result
    assert shards(store) == reference
    assert api.verify(str(store)).exit_code == 0
    _check_nothing_beside(disk, {"map.zarr", "map.tif", "map.tif.aux.xml", "map.png"})
    return f"{seen}; with room again {result.ran} blocks ran"


def full_cube(disk: Path, stage: str) -> str:
    """An alignment whose disk is full at a stage, and goes on when it has room again."""
    ballast, source = Ballast(disk), series(DAYS[:3], where=grid(down=1, across=3))
    whole, target = (Target.parse(disk / name) for name in ("whole.zarr", "cube.zarr"))
    run_align(CubeSetup(target=whole, groups=(part(source),)))
    with full_at(CUBE_STAGES[stage], ballast) as struck:
        seen = _ended(lambda: run_align(CubeSetup(target=target, groups=(part(source),))))
    assert struck, "the stage was never reached"
    ballast.drop()
    result = run_align(CubeSetup(target=target, groups=(part(source),)))
    assert result.exit_code == 0, result
    assert objects(target) == objects(whole)
    _check_nothing_beside(disk, {"whole.zarr", "cube.zarr"})
    return f"{seen}; with room again {result.ran} blocks ran"


def _ended(work: Callable[[], Any]) -> str:
    """How it ended: exit code 3, or 2 where nothing was written yet; the disk is named."""
    try:
        result = work()
    except LandweaveError as error:
        said, code = str(error), error.exit_code
    else:
        said, code = str(result), result.exit_code
    assert code in (2, 3), said
    assert "No space left" in said or "not read as written" in said or "not recognized" in said, said
    return f"exit {code}"


def _check_nothing_beside(disk: Path, wanted: set[str]) -> None:
    found = {path.name for path in disk.iterdir()} - {"map.zarr.run.json"}  # of a run that had blocks to run
    assert found == wanted, os.listdir(disk)  # noqa: PTH208
    assert not [path for path in disk.rglob("*") if "partial" in path.name or path.name.startswith((".lease", "#"))]
