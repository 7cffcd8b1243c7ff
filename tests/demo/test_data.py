"""Data of the demo: a configuration that fits the files beside it."""

from __future__ import annotations

from pathlib import Path

import landweave as lw
from landweave_demo import make_demo_data


def test_the_configuration_finds_its_files(tmp_path: Path) -> None:
    data = make_demo_data(tmp_path, seed=5, shape=(512, 640))
    assert data.landscape.truth.shape == (512, 640)
    config = lw.load_config(data.config, overrides={"engine.kind": "inline", "output.block": 1024})
    assert {path.parent.name for path in (*data.files.rvb, *data.files.dtm)} == {"RVB", "DTM"}
    assert "demo-fusion" in str(lw.check(config))
    assert data.catalog.is_relative_to(data.config.parent)
