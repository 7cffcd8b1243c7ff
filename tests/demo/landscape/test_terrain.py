"""Beds of water are level, and their banks rise to the terrain."""

from __future__ import annotations

import numpy as np
import pytest

from landweave_demo.landscape.terrain import dig_bed


def test_a_bed_is_level_and_its_banks_rise_to_the_ground() -> None:
    water_m = np.array([[-1.0, 0.0, 1.0, 5.0]], np.float32)
    dug = dig_bed(np.full((1, 4), 10, np.float32), water_m, 8.0)
    assert dug.tolist()[0] == [8.0, 8.0, pytest.approx(8.86, abs=0.1), 10.0]
