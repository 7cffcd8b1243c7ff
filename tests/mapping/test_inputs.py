"""What an input holds in memory, whatever its source says of it."""

import numpy as np
import pytest

from landweave.core.grid import Grid
from landweave.core.timeseries import Observation, PixelClass
from landweave.mapping.inputs import MapInput
from tests.helpers.memory import ArraySeries, ArraySource

GRID = Grid.from_bounds((700000, 6600000, 700003, 6600001), crs="EPSG:2154", resolution=1)
NO_NUMBERS = [np.nan, np.inf, -np.inf, np.finfo(np.float32).min]


@pytest.mark.parametrize("value", NO_NUMBERS)
def test_what_is_no_number_is_no_measurement_even_where_its_source_says_so(value):
    """As of a cube or an array that was edited."""
    values = np.array([[[1, value, 3]], [[1, 2, 3]]], np.float32)
    loaded = MapInput(source=ArraySource(bands=("R", "G"), grid=GRID, values=values), bands=("R", "G")).load(GRID, GRID)
    assert loaded.measured.tolist() == [[True, False, True]]
    days = ("2021-05-01", "2021-05-02")
    series = ArraySeries(
        bands=("R", "G"),
        grid=GRID,
        values=np.stack([values, np.ones_like(values)]),
        observations=tuple(Observation(datatake_id=day, time=np.datetime64(day)) for day in days),
    )
    dated = MapInput(source=series, bands=("R", "G")).load(GRID, GRID)
    assert dated.series.pixel_class[:, 0].tolist() == [
        [PixelClass.CLEAR, PixelClass.NODATA, PixelClass.CLEAR],
        [PixelClass.CLEAR] * 3,
    ]
    whole = MapInput(source=series, bands=("G",)).load(GRID, GRID)
    assert (whole.series.pixel_class == PixelClass.CLEAR).all()
