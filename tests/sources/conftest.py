"""Tiles on disk for the tests of sources."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import rasterio
from affine import Affine

WriteTile = Callable[..., str]


@pytest.fixture
def write_tile(tmp_path) -> WriteTile:
    """``write_tile("rvb/a.tif", values, (x0, y0), pixel=0.2)`` writes ``(band, y, x)`` and returns the path."""

    def write(name, values, origin, *, pixel=0.2, crs="EPSG:2154", mask=None, **profile):
        path = Path(tmp_path) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        step_x, step_y = (pixel, pixel) if np.isscalar(pixel) else pixel
        settings = {
            "driver": "GTiff",
            "count": len(values),
            "height": values.shape[1],
            "width": values.shape[2],
            "dtype": values.dtype,
            "crs": crs,
            "transform": Affine(step_x, 0, origin[0], 0, -step_y, origin[1]),
        } | profile
        with rasterio.open(path, "w", **settings) as dataset:
            dataset.write(values)
            if mask is not None:
                dataset.write_mask(mask)
        return str(path)

    return write


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20210527)
