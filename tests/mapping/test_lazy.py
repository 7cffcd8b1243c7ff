"""A lazy map has the values of a run, and runs just the windows that are looked at."""

from pathlib import Path

import numpy as np
import pytest
import torch
import xarray as xr
from safetensors.torch import save_file

from landweave import api
from landweave.aligning.groups import AlignGroup
from landweave.aligning.run import CubeSetup, run_align
from landweave.api import predict
from landweave.core.errors import BudgetError, ConfigError
from landweave.core.grid import Grid
from landweave.core.timeseries import DateFallback, Observation
from landweave.models.cards.registry import find_card
from landweave.models.factory import build, core
from landweave.models.inference import TorchPredictor
from landweave.store.objects import Target
from tests.helpers.commands import ARRAYS
from tests.helpers.memory import ArraySeries
from tests.helpers.small import Small

BATCH = 2


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Small:
    return Small.make(tmp_path_factory.mktemp("lazy"))


@pytest.fixture(scope="module")
def ran(small: Small) -> xr.Dataset:
    """The map as `run` wrote it."""
    assert api.run(small.loaded()).exit_code == 0
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


def test_a_coarser_map(small: Small) -> None:
    settings = {"store": str(small.folder / "coarse.zarr"), "resolution": 0.4, "chunk": 32, "block": 64}
    config = small.loaded(output=settings)
    assert api.run(config).exit_code == 0
    ran, lazy = api.open_map(small.folder / "coarse.zarr"), predict(config)
    part = {"y": slice(30, 61), "x": slice(51, 99)}
    for name in ARRAYS:
        np.testing.assert_array_equal(lazy[name].isel(part), ran[name].isel(part))


def test_more_than_a_gigapixel_is_refused(small: Small, calls: list[int]) -> None:
    x0, _, _, y1 = small.scene.bounds
    far = [x0, y1 - 7000, x0 + 7000, y1]
    lazy = predict(small.loaded(area={"bounds": far}, engine={"memory_gib": 8}, output={"block": 1024}))
    assert lazy["landcover"].size > 1.2e9
    with pytest.raises(BudgetError, match=r"36,864 x 35,840 pixels .* 1,000,000,000 .*landweave.run"):
        lazy["landcover"].load()
    assert lazy["landcover"].isel(y=slice(0, 3), x=slice(0, 3)).values.shape == (3, 3)


def test_a_notebook_may_give_paths_that_cannot_be_written(small: Small, ran: xr.Dataset, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    lazy = predict(small.loaded(output={"store": str(blocked / "out.zarr")}))
    part = {"y": slice(100, 104), "x": slice(200, 206)}
    np.testing.assert_array_equal(lazy["landcover"].isel(part), ran["landcover"].isel(part))


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    """Sentinel-2 of 2021 over 24 x 40 pixels of 10.24 m, in a cube of 16 px tiles, and weights for LC-G."""
    folder = tmp_path_factory.mktemp("cube")
    bands = tuple(find_card("LC-G").inputs["SENTINEL2_TS"].bands)
    grid = Grid.from_bounds((704000, 6604000, 704400, 6604240), crs="EPSG:2154", resolution=10.24)
    random = np.random.default_rng(5)
    observations = tuple(
        Observation(datatake_id=day, time=np.datetime64(f"{day}T10:50:31")) for day in ("2021-03-01", "2021-06-01")
    )
    values = random.integers(1, 4000, (2, 10, *grid.shape), np.uint16)
    source = ArraySeries(bands=bands, grid=grid, values=values, observations=observations)
    part = AlignGroup(modality="SENTINEL2_TS", source=source, grid=grid, bands=bands, tile=16, chunk=8)
    run_align(CubeSetup(target=Target.parse(folder / "cube.zarr"), groups=(part,)))
    torch.manual_seed(11)
    save_file(core(build(find_card("LC-G"), 512)).state_dict(), folder / "weights.safetensors")
    return folder


def test_a_cube_and_a_card_are_enough(cube):
    lazy = predict(api.open_cube(cube / "cube.zarr"), "LC-G", weights=cube / "weights.safetensors")
    assert lazy.landcover.rio.crs.to_epsg() == 2154
    assert float(lazy.x[1] - lazy.x[0]) == pytest.approx(10.24)
    content = {
        "grid": {"crs": "EPSG:2154"},
        "inputs": {"SENTINEL2_TS": {"kind": "cube", "store": "cube.zarr"}},
        "model": {"card": "LC-G", "weights": "weights.safetensors", "torch_threads": 1},
        "output": {"store": "map.zarr", "chunk": 16},
        "engine": {"kind": "inline"},
    }
    api.run(api.Config(**content))
    written = api.open_map(cube / "map.zarr")
    box = {"y": slice(6604200, 6604060), "x": slice(704080, 704300)}
    for name in ("landcover", "date_fallback", "confidence"):
        place = lazy[name].sel(box)
        same = written[name].sel(x=place.x, y=place.y, method="nearest", tolerance=0.01)
        np.testing.assert_array_equal(place.values, same.values)
    assert len(np.unique(place.values)) > 1
    # Windows across the cube's edge have no date with 95 % of them acquired.
    assert set(np.unique(lazy.date_fallback.sel(box))) == {DateFallback.PASSED, DateFallback.CLEAREST}


def test_of_a_part_of_a_cube_the_dates_and_the_ground_of_that_part_are_mapped(cube):
    """As a notebook selects them; what cannot be told by days and bounds is refused, not ignored."""
    tree, weights = api.open_cube(cube / "cube.zarr"), cube / "weights.safetensors"
    content = {
        "area": {"bounds": [704102.4, 6604083.2, 704204.8, 6604185.6]},
        "grid": {"crs": "EPSG:2154"},
        "inputs": {
            "SENTINEL2_TS": {"kind": "cube", "store": str(cube / "cube.zarr"), "dates": "2021-05-01/2021-12-31"}
        },
        "model": {"card": "LC-G", "weights": str(weights)},
        "output": {"store": "map.zarr", "chunk": 64},
    }
    wanted = predict(api.Config(**content))
    part = tree.sel(time="2021-06", x=slice(704102.4, 704204.8), y=slice(6604185.6, 6604083.2))
    found = predict(part, "LC-G", weights=weights)
    assert (
        found.attrs["provenance"]["fingerprint_fields"]["inputs"]
        == wanted.attrs["provenance"]["fingerprint_fields"]["inputs"]
    )
    box = {"x": slice(704100, 704204), "y": slice(6604185, 6604085)}
    xr.testing.assert_equal(found.sel(box).load(), wanted.sel(box).load())
    assert (found.landcover.sel(box) != 255).any()
    assert (found.landcover.sel(x=slice(704220, 704260)) == 255).all()
    whole = predict(tree, "LC-G", weights=weights)
    assert (whole.landcover.sel(x=slice(704220, 704260), y=box["y"]) != 255).any()
    one, same = (predict(tree.isel(time=first), "LC-G", weights=weights) for first in (0, [0]))
    assert one.attrs["provenance"]["fingerprint_fields"] == same.attrs["provenance"]["fingerprint_fields"]
    assert predict(tree.isel(y=3), "LC-G", weights=weights).sizes["y"] < whole.sizes["y"]
    with pytest.raises(ConfigError, match=r"every 10\.24 m .* spacing of 20\.48 m"):
        predict(tree.isel(x=slice(None, None, 2)), "LC-G", weights=weights)
    with pytest.raises(ConfigError, match=r"open it with landweave\.open_cube"):
        predict(xr.DataTree.from_dict({"SENTINEL2_TS": tree["SENTINEL2_TS"].to_dataset()}), "LC-G", weights=weights)


def test_dates_of_a_cube_with_gaps_between_them_are_refused(tmp_path):
    observations = tuple(
        Observation(datatake_id=day, time=np.datetime64(f"{day}T10"))
        for day in ("2021-03-01", "2021-04-01", "2021-06-01")
    )
    grid = Grid.from_bounds((704000, 6604000, 704160, 6604160), crs="EPSG:2154", resolution=10.24)
    bands = tuple(find_card("LC-G").inputs["SENTINEL2_TS"].bands)
    source = ArraySeries(
        bands=bands, grid=grid, values=np.ones((3, 10, *grid.shape), np.uint16), observations=observations
    )
    part = AlignGroup(modality="SENTINEL2_TS", source=source, grid=grid, bands=bands, tile=16, chunk=8)
    run_align(CubeSetup(target=Target.parse(tmp_path / "cube.zarr"), groups=(part,)))
    tree = api.open_cube(tmp_path / "cube.zarr")
    with pytest.raises(ConfigError, match=r"2 of 3 dates .* from 2021-03-01 to 2021-06-01, where the cube has 3"):
        predict(tree.isel(time=[0, 2]), "LC-G")
    with pytest.raises(ConfigError, match="0 of 3 dates"):
        predict(tree.sel(time=slice("2022", None)), "LC-G")


def test_a_cube_that_the_model_cannot_read_is_refused(cube):
    with pytest.raises(ConfigError, match=r"name the model's card"):
        predict(cube / "cube.zarr")
    with pytest.raises(ConfigError, match=r"has SENTINEL2_TS; LC-I reads SPOT_RGBI: nothing of it"):
        predict(cube / "cube.zarr", "LC-I")
