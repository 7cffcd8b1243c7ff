"""A lazy map has the values of a run, and runs just the windows that are looked at."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from landweave import api
from landweave.api import predict
from landweave.core.errors import BudgetError
from landweave.models.inference import TorchPredictor
from tests.helpers.commands import ARRAYS
from tests.helpers.small import Small

BATCH = 2


@pytest.fixture(scope="module")
def small(mapped_once: Small) -> Small:
    return mapped_once


@pytest.fixture(scope="module")
def ran(small: Small) -> xr.Dataset:
    """The map as `run` wrote it."""
    return api.open_map(small.store).load()


@pytest.fixture
def lazy(small: Small, ran: xr.Dataset) -> xr.Dataset:
    return predict(small.loaded(output={"store": "elsewhere.zarr"}))


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Grows by one with every batch that is predicted."""
    counted: list[int] = []
    original = TorchPredictor.predict

    def predict_one(self, batch):
        counted.append(1)
        return original(self, batch)

    monkeypatch.setattr(TorchPredictor, "predict", predict_one)
    return counted


def windows_of(dataset: xr.Dataset) -> int:
    """Windows of 64 px every 48 that touch the pixels of a dataset, by their metres."""
    rows, columns = np.floor(-dataset.y.values / 0.2).astype(int), np.floor(dataset.x.values / 0.2).astype(int)
    touching = [
        {start for pixel in axis for start in range((pixel - 63 + 47) // 48 * 48, pixel + 1, 48)}
        for axis in (rows, columns)
    ]
    assert all(0 < len(starts) < 20 for starts in touching)
    return len(touching[0]) * len(touching[1])


def test_it_has_the_shape_and_place_of_the_run(lazy: xr.Dataset, ran: xr.Dataset, small: Small, calls) -> None:
    assert set(lazy.data_vars) == set(ARRAYS)
    for name in ARRAYS:
        assert (lazy[name].dims, lazy[name].shape, lazy[name].dtype) == (ran[name].dims, ran[name].shape, np.uint8)
    np.testing.assert_array_equal(lazy.x, ran.x)
    np.testing.assert_array_equal(lazy.y, ran.y)
    np.testing.assert_array_equal(lazy["class"], ran["class"])
    assert lazy.rio.crs == ran.rio.crs
    assert lazy.rio.transform() == ran.rio.transform()
    assert lazy["landcover"].rio.nodata == 255
    assert lazy["landcover"].attrs["flag_meanings"] == ran["landcover"].attrs["flag_meanings"]
    assert "landcover" in repr(lazy)
    assert "landcover" in lazy._repr_html_()
    assert not calls
    assert not (small.folder / "elsewhere.zarr").exists()


@pytest.mark.parametrize(
    "part",
    [
        {"y": slice(70, 130), "x": slice(200, 290)},
        {"y": slice(131, 132), "x": slice(130, 300)},
        {"y": slice(100, 180, 7), "x": slice(290, 200, -3)},
    ],
)
def test_a_slice_runs_the_windows_that_touch_it(lazy, ran, calls, part) -> None:
    looked_at = lazy.isel(part)
    assert not calls
    values = looked_at["landcover"].values
    np.testing.assert_array_equal(values, ran["landcover"].isel(part).values)
    assert (values != 255).any()
    whole = {axis: slice(*_hull(pick)) for axis, pick in part.items()}
    assert len(calls) == -(-windows_of(lazy.isel(whole)) // BATCH)


def _hull(pick: slice) -> tuple[int, int]:
    places = range(pick.start, pick.stop, pick.step or 1)
    return min(places), max(places) + 1


def test_single_pixels_rows_and_selections_by_metres(lazy: xr.Dataset, ran: xr.Dataset) -> None:
    for pick in ({"y": 140, "x": 222}, {"y": -100}, {"y": [100, 120, 90], "x": [200, 203]}):
        np.testing.assert_array_equal(lazy["confidence"].isel(pick), ran["confidence"].isel(pick))
    x, y = float(ran.x[200]), float(ran.y[150])
    picked = lazy["landcover"].sel(x=slice(x, x + 4), y=slice(y, y - 3))
    assert picked.shape == (16, 21) or picked.shape == (15, 20)
    np.testing.assert_array_equal(picked, ran["landcover"].sel(x=slice(x, x + 4), y=slice(y, y - 3)))
    one = lazy["probability"].sel({"class": 3}).isel(y=slice(100, 120), x=slice(150, 180))
    np.testing.assert_array_equal(one, ran["probability"].sel({"class": 3}).isel(y=slice(100, 120), x=slice(150, 180)))


def test_what_was_looked_at_is_kept(lazy: xr.Dataset, ran: xr.Dataset, calls: list[int]) -> None:
    part = {"y": slice(100, 160), "x": slice(200, 260)}
    _ = lazy["landcover"].isel(part).values
    done = len(calls)
    assert done > 0
    for inner in (part, {"y": slice(110, 120), "x": slice(210, 220)}):
        np.testing.assert_array_equal(lazy["confidence"].isel(inner), ran["confidence"].isel(inner))
    assert len(calls) == done


def test_the_whole_is_what_the_run_wrote(lazy: xr.Dataset, ran: xr.Dataset) -> None:
    loaded = lazy.copy(deep=True).load()
    for name in ARRAYS:
        np.testing.assert_array_equal(loaded[name].values, ran[name].values)


def test_empty_and_uncovered_slices(lazy: xr.Dataset, calls: list[int]) -> None:
    assert lazy["landcover"].isel(y=slice(5, 5)).values.shape == (0, lazy.sizes["x"])
    corner = lazy.isel(y=slice(0, 10), x=slice(0, 5))
    assert (corner["landcover"].values == 255).all()
    assert (corner["probability"].values == 255).all()
    assert not calls


def test_a_coarser_map(small: Small, tmp_path: Path) -> None:
    settings = {"store": str(tmp_path / "coarse.zarr"), "resolution": 0.4, "chunk": 32, "block": 64}
    config = small.loaded(output=settings)
    assert api.run(config).exit_code == 0
    ran, lazy = api.open_map(tmp_path / "coarse.zarr"), predict(config)
    part = {"y": slice(30, 61), "x": slice(51, 99)}
    for name in ARRAYS:
        np.testing.assert_array_equal(lazy[name].isel(part), ran[name].isel(part))


def test_more_than_a_gigapixel_is_refused(small: Small, calls: list[int]) -> None:
    x0, _, _, y1 = small.scene.bounds
    far = [x0, y1 - 7000, x0 + 7000, y1]
    lazy = predict(small.loaded(area={"bounds": far}, engine={"memory_gib": 8}, output={"block": 1024}))
    assert lazy["landcover"].size > 1.2e9
    with pytest.raises(BudgetError, match=r"35,072 x 35,072 pixels .* 1,000,000,000 .*landweave.run"):
        lazy["landcover"].load()
    assert lazy["landcover"].isel(y=slice(0, 3), x=slice(0, 3)).values.shape == (3, 3)


def test_a_notebook_may_give_paths_that_cannot_be_written(small: Small, ran: xr.Dataset, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    lazy = predict(small.loaded(output={"store": str(blocked / "out.zarr")}))
    part = {"y": slice(100, 104), "x": slice(200, 206)}
    np.testing.assert_array_equal(lazy["landcover"].isel(part), ran["landcover"].isel(part))
