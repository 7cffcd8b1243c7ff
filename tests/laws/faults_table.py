"""Every fault that a network, a store, a disk or a machine can have: ``python -m tests.laws.faults_table``.

Each scenario makes one fault, holds what follows against an undisturbed run, and says in a line what it saw; the table
names the seed with which it can be made again (``--seed 1 2`` for two). `tests/laws/test_faults.py` runs some as slow
tests. Laws that are tests of their own are rows too: pytest runs them (``--laws``).
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

from landweave.core.errors import LandweaveError
from tests.helpers.commands import ROOT
from tests.laws import block_faults, full_disk, kills, later_faults, store_faults, tile_faults
from tests.laws.faults_ground import Ground, Scenario, ground


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
    return str(kills.killed_map(here.small, kills.new_folder(here.small.folder), here.reference, point))


def kill_everything(here: Ground, seed: int) -> str:
    """Driver, scheduler and workers killed at once, in the middle."""
    return str(kills.killed_map(here.small, kills.new_folder(here.small.folder), here.reference, 0.5, workers=2))


def kill_worker(here: Ground, seed: int, point: str) -> str:
    """A worker that kills itself at a named point."""
    return kills.killed_worker(here.small, kills.new_folder(here.small.folder), here.reference, point)


def kill_cube(here: Ground, seed: int, point: str) -> str:
    """An alignment that kills itself at a named point."""
    return str(kills.killed_cube(kills.new_folder(here.small.folder), point))


def kill_cube_worker(here: Ground, seed: int, point: str) -> str:
    """A worker of an alignment that kills itself at a named point."""
    return kills.killed_cube_worker(kills.new_folder(here.small.folder), point)


def kill_maps(here: Ground, seed: int, number: int, workers: int = 0) -> str:
    """A map, killed at random moments, and run again each time; with workers all of them are killed at once."""

    def killed(moment: float) -> kills.Killed:
        folder = kills.new_folder(here.small.folder)
        return kills.killed_map(here.small, folder, here.reference, moment, workers=workers)

    return _at_moments(kills.moments(seed, number, 4.0), killed)


def kill_cubes(here: Ground, seed: int, number: int, workers: int = 0) -> str:
    """An alignment, killed at random moments, and run again each time."""

    def killed(moment: float) -> kills.Killed:
        return kills.killed_cube(kills.new_folder(here.small.folder), moment, workers=workers)

    return _at_moments(kills.moments(seed, number, 1.0), killed)


def _at_moments(moments: Sequence[float], killed: Callable[[float], kills.Killed]) -> str:
    seen = [killed(moment) for moment in moments]
    twice, ran = ([getattr(each, name) for each in seen] for name in ("twice", "ran"))
    return f"{len(seen)} kills: of {sum(ran)} blocks after them {sum(twice)} for the second time, {twice}; bytes equal"


KILLS: dict[str, Scenario] = {
    **{f"map killed {point}": partial(kill_map, point=point) for point in kills.POINTS},
    **{f"worker killed {point}": partial(kill_worker, point=point) for point in kills.WORKER_POINTS},
    "everything killed": kill_everything,
    **{f"cube killed {point}": partial(kill_cube, point=point) for point in kills.CUBE_POINTS},
    **{
        f"worker of a cube killed {point}": partial(kill_cube_worker, point=point) for point in kills.CUBE_WORKER_POINTS
    },
    "map killed at 20 random moments": partial(kill_maps, number=20),
    "map killed at 20 random moments, Dask": partial(kill_maps, number=20, workers=2),
    "cube killed at 20 random moments": partial(kill_cubes, number=20),
    "cube killed at 20 random moments, Dask": partial(kill_cubes, number=20, workers=2),
}
"""Processes that are killed, by the point."""


SCENARIOS = (
    store_faults.SCENARIOS | tile_faults.SCENARIOS | DISK | KILLS | block_faults.SCENARIOS | later_faults.SCENARIOS
)
"""All of them."""

LAWS: dict[str, Sequence[str]] = {
    "holder suspended, overtaken, woken": ("tests/laws/test_suspended_holder.py",),
    "objects, metadata, ledger chunks of a map damaged": ("tests/laws/test_repair.py",),
    "objects, metadata, ledger chunks, coordinates of a cube damaged": ("tests/aligning/test_verify.py",),
    "alignment killed at any write": ("tests/laws/test_align_interrupted.py",),
    "flipped bytes in tiles, with and without checksums": ("tests/laws/test_input_checksums.py",),
    "maps and tiles in az:// and gs://": ("tests/store/test_run_to_clouds.py",),
    "hostile files, 2,000 and 20,000": ("tests/laws/test_hostile_files.py",),
    "damaged inputs, 2,000 and 20,000": ("tests/laws/test_mutated_inputs.py",),
    "secrets": ("tests/laws/test_secrets.py",),
}
"""Rows that are tests of their own, whose seeds are in them."""


def run_law(paths: Sequence[str]) -> tuple[str, bool]:
    """What pytest says in the end, and whether all passed."""
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-m", "not gpu and not network", *paths]
    found = subprocess.run(command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False)
    return found.stdout.strip().splitlines()[-1], found.returncode == 0


def run_scenario(here: Ground, scenario: Scenario, seed: int) -> tuple[str, bool]:
    """What a scenario saw, and whether it held."""
    try:
        return scenario(here, seed), True
    except (AssertionError, LandweaveError) as error:
        return f"{type(error).__name__}: {error}", False


def show_row(name: str, seed: str, row: tuple[str, bool], seconds: float) -> bool:
    """Print a row as soon as it is known, and return whether it held."""
    seen, holds = row
    text = " ".join(seen.split())
    sys.stdout.write(f"| {name} | {seed} | {'holds' if holds else 'BROKEN'} | {seconds:.0f} s | {text} |\n")
    sys.stdout.flush()
    return holds


def main() -> int:
    """Run all scenarios, or laws, and print the table; 1 where one did not hold."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, nargs="+", default=[1])
    parser.add_argument("--only", default="", help="rows whose name holds this text")
    parser.add_argument("--laws", action="store_true", help="the rows that are tests of their own")
    given, whole = parser.parse_args(), True
    sys.stdout.write("| fault | seed | verdict | time | seen |\n|---|---|---|---|---|\n")
    for name, paths in LAWS.items() if given.laws else ():
        began = time.monotonic()
        if given.only in name:
            row = run_law(paths)
            whole &= show_row(name, "own", row, time.monotonic() - began)
    if given.laws:
        return int(not whole)
    with tempfile.TemporaryDirectory() as folder, ground(Path(folder)) as here:
        for name, scenario in SCENARIOS.items():
            for seed in given.seed if given.only in name else ():
                began = time.monotonic()
                row = run_scenario(here, scenario, seed)
                whole &= show_row(name, str(seed), row, time.monotonic() - began)
    return int(not whole)


if __name__ == "__main__":
    sys.exit(main())
