"""Faults of networks, stores and disks, and kills: a reduced set of `tests.laws.faults_table`, which runs them all."""

from collections.abc import Iterator

import pytest

from tests.laws import kills, later_faults
from tests.laws.faults_ground import Ground, ground
from tests.laws.faults_table import DISK, SCENARIOS, kill_cubes, kill_maps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEEDS = (1, 2)

REDUCED = [
    *("store, 20% of requests fail", "store, 5% of requests fail, Dask", "store gone and back"),
    *("store gone for good", "wrong secret", "tiles over s3, 20% of requests fail"),
    *("tiles over http, 20% of requests fail", "tiles over https, 5% of requests fail"),
    *("tile truncated during a run, s3", "tile removed during a run, http", "tile replaced after a run, s3"),
    *("tile damaged after a run, http, checksums", "tile damaged during a run, https"),
    *DISK,
    *(f"map killed {point}" for point in ("between two arrays", "before a flush", "in a lease beat", "in a COG")),
    *(f"cube killed {point}" for point in kills.CUBE_POINTS),
    *("a block that kills, among 12", "a reader in a loop", "SIGTERM, align, inline", "SIGTERM, align, dask"),
    *("worker of a cube killed between two arrays", *later_faults.SCENARIOS),
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("faults")) as found:
        yield found


@pytest.mark.parametrize("name", REDUCED)
def test_a_fault(here: Ground, name: str) -> None:
    SCENARIOS[name](here, SEEDS[0])


@pytest.mark.parametrize("name", [name for name in REDUCED if "requests fail" in name and "Dask" not in name])
def test_other_requests_fail_with_another_seed(here: Ground, name: str) -> None:
    SCENARIOS[name](here, SEEDS[1])


@pytest.mark.parametrize("seed", SEEDS)
def test_killed_at_random_moments(here: Ground, seed: int) -> None:
    """A few of the twenty of each that the script runs."""
    kill_maps(here, seed, 2)
    kill_cubes(here, seed, 1)
