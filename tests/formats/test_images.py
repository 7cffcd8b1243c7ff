"""Pictures in memory, read back by GDAL."""

from __future__ import annotations

import numpy as np
import pytest
from rasterio.io import MemoryFile

from landweave.formats.images import Stretch, jpeg_bytes

pytestmark = pytest.mark.filterwarnings("ignore::rasterio.errors.NotGeoreferencedWarning")


def test_a_jpeg_is_close_to_its_pixels() -> None:
    pixels = np.full((3, 16, 16), 90, np.uint8)
    with MemoryFile(jpeg_bytes(pixels)) as memory, memory.open() as dataset:
        assert np.abs(dataset.read().astype(int) - pixels).max() <= 2


def test_other_numbers_than_bytes_are_stretched() -> None:
    values = np.arange(10_000, dtype=np.uint16).reshape(1, 100, 100)
    valid = values[0] < 5000
    shown = Stretch.of(values, valid).apply(values)
    assert shown.shape == (3, 100, 100)
    assert shown[0, 0, 0] == 0
    assert shown[2, 49, 99] == 255
    assert abs(int(shown[1, 25, 0]) - 128) <= 1
    as_it_is = values.astype(np.uint8)
    np.testing.assert_array_equal(Stretch.of(as_it_is, valid).apply(as_it_is)[0], as_it_is[0])
