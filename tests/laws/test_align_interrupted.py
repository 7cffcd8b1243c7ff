"""An alignment killed anywhere shows nothing wrong, and run again gives the bytes of one that was not killed."""

import shutil
import signal
from contextlib import suppress

import numpy as np
import pytest
import xarray as xr
from zarr.storage import LocalStore

from landweave.store.common import read_attributes
from landweave.store.cubes.store import open_cube_store
from landweave.store.objects import Target
from tests.block_jobs import wait_until
from tests.helpers.aligned import start
from tests.helpers.marks import mostly_slow
from tests.store.cubes.cube_samples import DAYS, align, aligned, grid, objects, series

WRITES = (
    (LocalStore, "set"),
    (LocalStore, "set_if_not_exists"),
    (LocalStore, "delete"),
    (LocalStore, "delete_dir"),
    (Target, "put"),
    (Target, "put_file"),
    (Target, "create"),
    (Target, "delete"),
)
SMALL = grid(down=1, across=3)


class Killed(BaseException):
    """The process is gone."""


def kill_at(monkeypatch, write: int) -> list[str]:
    """Let this many writes through and no other, those of clearing up included; gives what was let through."""
    made: list[str] = []

    def stopped(method, name):
        def call(self, *args, **kwargs):
            made.append(name)
            if len(made) > write:
                raise Killed
            return method(self, *args, **kwargs)

        return call

    for owner, name in WRITES:
        monkeypatch.setattr(owner, name, stopped(getattr(owner, name), name))
    return made


def restart(target: Target) -> None:
    """What dies with a process: its lease."""
    place, name = target.beside(".lease")
    place.delete(name)


def check_what_is_seen(target: Target, source) -> int:
    """Whatever dates a reader is given are those of the source, by this package and by plain xarray."""
    if read_attributes(target) is None or "SENTINEL2_TS" not in open_cube_store(target).groups:
        return 0
    by_key = {each.datatake_id: number for number, each in enumerate(source.observations)}
    found = aligned(target)
    wanted = [by_key[each.datatake_id] for each in found.observations]
    read = found.read(source.grid, source.bands, range(len(wanted)))
    np.testing.assert_array_equal(read.values, source.values[wanted])
    np.testing.assert_array_equal(read.pixel_class, source.pixel_class[wanted])
    if "consolidated_metadata" in (target.get("zarr.json") or b"").decode():
        plain = xr.open_datatree(target.location, engine="zarr")["SENTINEL2_TS"]
        there = [by_key[key] for key in plain["datatake_id"].values.tolist()]
        np.testing.assert_array_equal(plain["band_data"].values, source.values[there])
    return len(wanted)


@pytest.fixture(scope="module")
def begun(tmp_path_factory):
    """A cube of two dates."""
    target = Target.parse(tmp_path_factory.mktemp("begun") / "cube.zarr")
    align(target, series(DAYS[:2], where=SMALL))
    return target


@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    """Objects of a cube that nobody disturbed."""
    target = Target.parse(tmp_path_factory.mktemp("reference") / "cube.zarr")
    align(target, series(DAYS[:2], where=SMALL))
    align(target, series(DAYS[:5], where=SMALL))
    return objects(target)


def one_kill(tmp_path, begun: Target | None, reference, monkeypatch, write: int) -> bool:
    """Kill the alignment of five dates at one write, look, and finish; False where it ended before that."""
    target = Target.parse(tmp_path / f"{write}.zarr")
    if begun is not None:
        shutil.copytree(begun.location, target.location)
    source = series(DAYS[:5], where=SMALL)
    with monkeypatch.context() as patch:
        made = kill_at(patch, write)
        with suppress(Killed):
            align(target, source)
    if len(made) <= write:
        return False
    restart(target)
    check_what_is_seen(target, source)
    assert align(target, source).complete
    assert check_what_is_seen(target, source) == 5
    assert objects(target) == reference
    shutil.rmtree(target.location)
    return True


@pytest.mark.parametrize("write", mostly_slow([9, 30, 40, 60, 80], fast=[9, 40, 80]))
def test_dates_added_by_a_killed_run_are_added_by_the_next(tmp_path, begun, reference, monkeypatch, write):
    assert one_kill(tmp_path, begun, reference, monkeypatch, write)


@pytest.mark.slow
@pytest.mark.timeout(1200)
@pytest.mark.parametrize("of", ["an addition", "a new cube"])
def test_killed_at_any_write(tmp_path, begun, monkeypatch, of):
    """An addition ends at the bytes of one in a single go too: time shards are filled in one order."""
    whole = Target.parse(tmp_path / "whole.zarr")
    align(whole, series(DAYS[:5], where=SMALL))
    old = begun if of == "an addition" else None
    kills = 0
    while one_kill(tmp_path, old, objects(whole), monkeypatch, kills):
        kills += 1
    assert kills > 80


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_process_that_is_killed_again_and_again_ends_at_the_same_bytes(tmp_path):
    """A real kill -9, in the middle of a block, at three places."""
    whole, target = Target.parse(tmp_path / "whole.zarr"), Target.parse(tmp_path / "cube.zarr")
    align(whole, series(DAYS[:5]))
    for count in (2, 5, 7):
        process = start(target.location, 5, 0.05)
        try:
            wait_until(lambda: process.poll() is not None or len(objects(target)) >= count, 100)  # noqa: B023
            assert process.poll() is None, process.stderr and process.stderr.read()
            process.send_signal(signal.SIGKILL)
            assert process.wait(60) == -signal.SIGKILL
        finally:
            process.kill()
        check_what_is_seen(target, series(DAYS[:5]))
    process = start(target.location, 5, 0)
    _, problems = process.communicate(timeout=100)
    assert process.returncode == 0, problems
    assert objects(target) == objects(whole)
    assert check_what_is_seen(target, series(DAYS[:5])) == 5
