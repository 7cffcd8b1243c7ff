"""Weights of a URL are fetched to this machine, once where their checksum is known."""

import hashlib
from pathlib import Path

import pytest

from landweave.core.errors import WeightsError
from landweave.setup.map_setup import set_up_map
from landweave.setup.weights import local_weights
from tests.helpers.small import Small


@pytest.fixture
def small(tmp_path, monkeypatch):
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    return Small.make(tmp_path / "small")


def test_a_url_is_fetched_and_gives_the_map_of_the_file(small):
    url, content = small.weights.as_uri(), small.weights.read_bytes()
    config = small.loaded(model={"weights": url})
    kept = local_weights(config)
    assert Path(kept).read_bytes() == content
    assert kept != str(small.weights)
    assert kept.endswith(small.weights.suffix)
    assert set_up_map(config).fingerprint == set_up_map(small.loaded()).fingerprint
    known = small.loaded(model={"weights": url, "sha256": hashlib.sha256(content).hexdigest()})
    small.weights.unlink()
    assert local_weights(known) == kept  # not asked for again
    with pytest.raises(WeightsError, match=r"there is no file://"):
        local_weights(config)
