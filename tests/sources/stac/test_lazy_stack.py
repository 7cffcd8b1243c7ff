"""The lazy stack: the grid's own coordinates, nothing read before it is computed."""

from pathlib import Path

import numpy as np
import pytest
from rasterio.warp import transform_bounds

from landweave.core.errors import ConfigError, InputError
from landweave.core.grid import Grid
from landweave.core.lattice import Extent
from landweave.sources import files
from landweave.sources.stac.series import StacSeries
from tests.helpers.scenes_on_disk import coded, observations_of, optical_item, write_scene

UTM = "EPSG:32631"
BANDS = ("B2", "B5", "SCL")


@pytest.fixture
def series(tmp_path: Path) -> StacSeries:
    items = []
    for number, day in enumerate(("20210614", "20210619")):
        planes = {
            "B2": coded((120, 100), seed=number),
            "B5": coded((60, 50), seed=10 + number),
            "SCL": np.full((60, 50), 4, np.uint8),
        }
        items.append(optical_item(write_scene(tmp_path / day, planes, corner_xy=(500000, 4900000)), day))
    grid = Grid.from_bounds((500100, 4899000, 500800, 4899900), crs=UTM, resolution="10.24")
    return StacSeries.open(observations_of(items, BANDS), modality="SENTINEL2_TS", bands=("B2", "B5"), grid=grid)


def test_nothing_is_opened_before_it_is_computed(series: StacSeries, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a file was opened")

    monkeypatch.setattr(files, "Dataset", refuse)
    lazy = series.stack()
    assert lazy.dims == ("time", "band", "y", "x")
    assert lazy.dtype == np.uint16
    with pytest.raises(AssertionError, match="a file was opened"):
        lazy.compute(scheduler="synchronous")


def test_coordinates_are_the_grid_s_to_the_last_bit(series: StacSeries) -> None:
    lazy = series.stack()
    np.testing.assert_array_equal(lazy["x"].values, series.grid.x)
    np.testing.assert_array_equal(lazy["y"].values, series.grid.y)
    assert lazy.attrs == {"crs": UTM, "transform": tuple(series.grid.transform)[:6], "nodata": 0}
    assert lazy["band"].values.tolist() == ["B2", "B5"]
    assert [str(time)[:10] for time in lazy["time"].values] == ["2021-06-14", "2021-06-19"]
    assert lazy["datatake_id"].values.tolist() == [each.datatake_id for each in series.observations]


@pytest.mark.parametrize("chunk", [17, 64, 1024])
def test_the_stack_holds_what_is_read(series: StacSeries, chunk: int) -> None:
    expected = series.read(series.grid, series.bands, (0, 1)).values
    stack = series.stack(chunk=chunk)
    np.testing.assert_array_equal(stack.compute(scheduler="synchronous").values, expected)
    part = stack.isel(band=[1], y=slice(20, 40), x=slice(5, 60))
    np.testing.assert_array_equal(part.compute(scheduler="threads").values, expected[:, 1:, 20:40, 5:60])
    np.testing.assert_array_equal(series.stack(bands=("B5",)).values, expected[:, 1:])


def test_a_stack_over_a_part_of_the_grid(series: StacSeries) -> None:
    extent = series.grid.extent
    part = series.grid.with_extent(
        Extent.of((extent.y.start + 7, extent.y.start + 30), (extent.x.start, extent.x.start + 9))
    )
    expected = series.read(part, series.bands, (0, 1)).values
    np.testing.assert_array_equal(series.stack(part).values, expected)


def test_a_stack_of_nothing_is_refused(series: StacSeries) -> None:
    far = Extent.of((0, 10), (0, 10))
    with pytest.raises(InputError, match="No scene of SENTINEL2_TS touches"):
        series.stack(series.grid.with_extent(far))
    with pytest.raises(ConfigError, match="has no band"):
        series.stack(bands=("B9",))


def test_a_grid_without_a_code_is_stacked_too(series: StacSeries) -> None:
    crs = "+proj=laea +lat_0=44 +lon_0=3 +datum=WGS84 +units=m +no_defs"
    bounds = transform_bounds(UTM, crs, *series.grid.bounds)
    grid = Grid.from_bounds(bounds, crs=crs, resolution=10)
    assert not grid.crs.startswith("EPSG")
    other = StacSeries.open(series.observation_scenes, modality=series.modality, bands=("B2",), grid=grid)
    lazy = other.stack()
    assert lazy.attrs["crs"] == grid.crs
    assert lazy.shape == (2, 1, *grid.shape)
