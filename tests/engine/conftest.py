import pytest

from landweave.engine.clusters import local_engine


@pytest.fixture(scope="session")
def local_cluster_engine():
    with local_engine(workers=2, torch_threads=2) as engine:
        yield engine


@pytest.fixture
def two_workers(local_cluster_engine):
    """An engine on two real worker processes with their nannies; tests may kill workers, nannies bring them back."""
    local_cluster_engine.client.wait_for_workers(2, timeout=60)
    return local_cluster_engine
