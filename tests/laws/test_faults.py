"""Faults of networks, stores and disks, and kills: a reduced set of `tests.laws.faults_table`, which runs them all."""

from collections.abc import Iterator

import pytest

from tests.laws import kills
from tests.laws.faults_table import DISK, KILLS, NETWORK, Ground, ground

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

SEED = 1

REDUCED = [
    *("store, 20 % of requests fail", "store, 5 % of requests fail, Dask", "store gone and back"),
    *("store gone for good", "wrong secret"),
    *("tiles in S3, 20 % of requests fail", "tiles over http, 20 % of requests fail"),
    *("tile truncated during a run, s3", "tile removed during a run, http", "tile replaced during a run, s3"),
    *DISK,
    *(f"map killed {point}" for point in ("between two arrays", "before a flush", "in a lease beat", "in a COG")),
    *(f"cube killed {point}" for point in kills.CUBE_POINTS),
]


@pytest.fixture(scope="module")
def here(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ground]:
    with ground(tmp_path_factory.mktemp("faults")) as found:
        yield found


@pytest.mark.parametrize("name", REDUCED)
def test_a_fault(here: Ground, name: str) -> None:
    assert (NETWORK | DISK | KILLS)[name](here, SEED)
