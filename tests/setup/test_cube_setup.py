"""`landweave align` from a configuration: what is aligned on which pixels, what bad input gets, what comes later."""

import re
import shutil
from collections.abc import Callable
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import rasterio

from landweave import open_cube
from landweave.core.errors import EngineError
from landweave.core.timeseries import PixelClass
from landweave.engine.inline import InlineEngine
from tests.helpers.commands import Command, Ended, done, mosaic
from tests.helpers.small_series import AREA, CORNER, CRS, LATER, SUMMER, SmallSeries
from tests.helpers.stored import stored_map

ARRAYS = ("landcover", "confidence", "probability", "date_fallback")


@pytest.fixture
def config(valley: SmallSeries, tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration into a folder of its own."""
    return lambda **sections: valley.write(tmp_path / "config.yaml", **sections)


@pytest.fixture
def refused(refused: Callable[..., str]) -> Callable[..., str]:
    """Of `align`, where no other verb is named."""
    return partial(refused, verb="align")


@pytest.fixture(scope="module")
def summer(valley: SmallSeries, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a cube of three dates and the map of it, to be copied."""
    folder = tmp_path_factory.mktemp("summer")
    path = valley.write(folder / "config.yaml")
    with pytest.MonkeyPatch.context() as patch:
        command = Command(patch, _Silent())
        for verb in ("align", "run"):
            done(command(verb, path))
    return folder


class _Silent:
    """A capture that captures nothing: pytest's own is not there for a whole module."""

    def readouterr(self) -> Any:
        return Ended(code=0, out="", err="")


@pytest.fixture
def grown(summer: Path, tmp_path: Path) -> Path:
    """A copy of `summer`."""
    return Path(shutil.copytree(summer, tmp_path / "grown"))


def days(cube: Path, modality: str = "SENTINEL2_TS") -> list[str]:
    return [str(time)[:10].replace("-", "") for time in open_cube(cube)[modality].ds["time"].values]


def pixel(cube: Path, modality: str = "SENTINEL2_TS") -> float:
    x = open_cube(cube)[modality].ds["x"].values
    return float(x[1] - x[0])


def read_map(store: Path) -> dict[str, Any]:
    found = stored_map(store)
    return {name: found.read(name, found.grid.extent) for name in ARRAYS}


def test_without_a_model_inputs_say_their_pixels_and_bands(
    valley: SmallSeries, config: Callable[..., Path], landweave: Command, tmp_path: Path
) -> None:
    inputs = {
        "SENTINEL2_TS": valley.optical(resolution=10, bands=["B8"]),
        "SENTINEL1-ASC_TS": valley.radar(resolution=20),
    }
    path = config(model=None, output=None, inputs=inputs)
    planned = done(landweave("align", path, "--plan"))
    assert "3 new, 0 kept" in planned
    assert "1 new, 0 kept" in planned
    assert not (tmp_path / "cube.zarr").exists()
    done(landweave("align", path))
    told = done(landweave("status", tmp_path / "cube.zarr"))
    assert re.search(r"^SENTINEL2_TS +3 dates, blocks: \d+ done", told, re.M)
    assert re.search(r"^SENTINEL1-ASC_TS +1 date, blocks: \d+ done", told, re.M)
    cube = open_cube(tmp_path / "cube.zarr")
    assert list(cube.children) == ["SENTINEL2_TS", "SENTINEL1-ASC_TS"]
    assert cube["SENTINEL2_TS"].ds["band"].values.tolist() == ["B8"]
    assert cube["SENTINEL1-ASC_TS"].ds["band"].values.tolist() == ["VV", "VH"]
    assert (pixel(tmp_path / "cube.zarr"), pixel(tmp_path / "cube.zarr", "SENTINEL1-ASC_TS")) == (10, 20)
    assert days(tmp_path / "cube.zarr") == list(SUMMER)


@pytest.mark.parametrize("output", [None, {"store": "map.zarr"}])
def test_a_card_says_pixels_and_bands_with_or_without_an_output(
    config: Callable[..., Path], landweave: Command, tmp_path: Path, output: Any
) -> None:
    done(landweave("align", config(output=output)))
    assert pixel(tmp_path / "cube.zarr") == pytest.approx(10.24)
    assert open_cube(tmp_path / "cube.zarr")["SENTINEL2_TS"].ds["band"].values.tolist() == ["B4", "B8"]


def test_the_cube_has_the_pixels_that_the_model_is_fed(
    config: Callable[..., Path], landweave: Command, valley: SmallSeries, tmp_path: Path
) -> None:
    """Told to take pixels of 10 m for its 10.24, a model reads its dates on 10 m from the cube too."""
    model = {"card": str(valley.folder / "small.yaml"), "weights": str(valley.folder / "small.safetensors")}
    path = config(model={**model, "pixel": 10, "torch_threads": 1})
    done(landweave("align", path))
    assert pixel(tmp_path / "cube.zarr") == 10
    done(landweave("run", path))
    assert float(stored_map(tmp_path / "map.zarr").grid.resolution) == 10


def test_what_lacks_is_named(valley: SmallSeries, config: Callable[..., Path], refused: Callable[..., str]) -> None:
    assert "add cube: {store: cube.zarr}" in refused(config(cube=None))
    nothing = {"SENTINEL2_TS": {"kind": "cube", "store": "elsewhere.zarr"}}
    assert "No input is to be aligned" in refused(config(inputs=nothing, model=None))
    assert "no area and no imagery" in refused(config(area=None))
    coarse = {"SENTINEL2_TS": valley.optical(resolution=20)}
    assert "no area and no imagery" in refused(config(area=None, model=None, inputs=coarse))
    assert "set inputs.SENTINEL2_TS.resolution" in refused(config(model=None))
    assert "state grid.crs" in refused(config(model=None, inputs=coarse, grid={"own": "AERIAL_RGBI"}))


def test_a_pixel_that_is_not_the_models_is_refused(
    valley: SmallSeries, config: Callable[..., Path], refused: Callable[..., str]
) -> None:
    said = refused(config(inputs={"SENTINEL2_TS": valley.optical(resolution=20)}))
    assert "pixels of 20 m, the model wants 10.24 m" in said
    assert "inputs.SENTINEL2_TS.resolution" in said


def test_tiles_that_no_worker_could_hold_are_refused(
    valley: SmallSeries, config: Callable[..., Path], refused: Callable[..., str]
) -> None:
    cut = {"store": "cube.zarr", "tile": 8192, "chunk": 128, "time_shard": 32}
    said = refused(config(cube=cut, engine={"kind": "inline", "memory_gib": 1}))
    assert "make cube.tile smaller" in said
    assert "1.00 GiB" in said


def test_an_alignment_that_loses_its_workers_is_not_bad_input(
    config: Callable[..., Path], landweave: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 says that nothing was written: here dates are noted and a tile is there."""
    run = InlineEngine.run

    def lost(self: InlineEngine, job: Any, blocks: Any) -> Any:
        yield from islice(run(self, job, blocks), 1)
        raise EngineError("the scheduler went away")

    with monkeypatch.context() as patch:
        patch.setattr(InlineEngine, "run", lost)
        ended = landweave("align", config())
    assert (ended.code, "the scheduler went away" in ended.err) == (3, True)
    done(landweave("align", config()))


def test_a_cube_aligned_in_another_way_is_kept_as_it_is(
    valley: SmallSeries, grown: Path, refused: Callable[..., str]
) -> None:
    cut = {"store": "cube.zarr", "tile": 64, "chunk": 32, "time_shard": 2, "margin_m": 60}
    for changes, named in (
        ({"cube": {**cut, "chunk": 16}}, "chunk"),
        ({"cube": {**cut, "time_shard": 8}}, "time_shard"),
        ({"inputs": {"SENTINEL2_TS": valley.optical(resampling="nearest")}}, "resampling"),
        ({"inputs": {"SENTINEL2_TS": valley.optical(cloud_mask={"source": "probability"})}}, "cloud_mask"),
        ({"area": {"bounds": [AREA[0] - 90, *AREA[1:]]}}, "area"),
    ):
        said = refused(valley.write(grown / "config.yaml", **changes))
        assert "SENTINEL2_TS aligned in another way" in said
        assert named in said
        assert "Choose another cube, or remove that one" in said
    assert days(grown / "cube.zarr") == list(SUMMER)


def test_later_dates_are_added_and_old_maps_stay(valley: SmallSeries, grown: Path, landweave: Command) -> None:
    """The map of the dates there were is no part of a run with more of them: that is refused, the new ones named."""
    before, told = read_map(grown / "map.zarr"), open_cube(grown / "cube.zarr")["SENTINEL2_TS"].ds["band_data"].values
    path = valley.write(grown / "config.yaml", inputs={"SENTINEL2_TS": valley.optical("autumn")})
    assert "1 new, 3 kept" in done(landweave("align", path, "--plan"))
    assert "0 new, 3 kept" in done(landweave("align", valley.write(grown / "same.yaml"), "--plan"))
    done(landweave("align", path))
    assert days(grown / "cube.zarr") == [*SUMMER, LATER[0]]
    np.testing.assert_array_equal(open_cube(grown / "cube.zarr")["SENTINEL2_TS"].ds["band_data"].values[:3], told)
    assert "0 new, 4 kept" in done(landweave("align", path, "--plan"))

    for verb in ("run", "plan"):
        ended = landweave(verb, path)
        assert (ended.code, ended.out) == (2, "")
        assert "holds the map of another run" in ended.err
        assert f"S2A_{LATER[0]}" in ended.err
        assert "Choose another output.store" in ended.err
    for name, found in read_map(grown / "map.zarr").items():
        np.testing.assert_array_equal(found, before[name])
    done(landweave("check", path, "--set", "output.store=autumn.zarr"))


def test_dates_of_another_year_leave_a_map_of_one_year_alone(
    valley: SmallSeries, tmp_path: Path, landweave: Command
) -> None:
    def year(catalog: str) -> Path:
        return valley.write(tmp_path / "config.yaml", inputs={"SENTINEL2_TS": valley.optical(catalog, year=2021)})

    for verb in ("align", "run"):
        done(landweave(verb, year("autumn")))
    before = read_map(tmp_path / "map.zarr")
    done(landweave("align", year("all")))
    assert days(tmp_path / "cube.zarr") == [*SUMMER, *LATER]
    planned = done(landweave("plan", year("all")))
    assert "blocks to run               0 of" in planned
    for name, found in read_map(tmp_path / "map.zarr").items():
        np.testing.assert_array_equal(found, before[name])


def test_a_run_before_the_alignment_is_told_of_it(config: Callable[..., Path], refused: Callable[..., str]) -> None:
    said = refused(config(), verb="run")
    assert "SENTINEL2_TS" in said
    assert "Run `landweave align` first" in said


def test_ground_beyond_the_cube_is_not_acquired(valley: SmallSeries, tmp_path: Path, landweave: Command) -> None:
    """The map of more ground than was aligned has no answer there, and the plan counts the windows that reach it."""
    path = valley.write(tmp_path / "config.yaml")
    done(landweave("align", path))
    x0, y0, x1, y1 = AREA
    far = valley.write(tmp_path / "far.yaml", area={"bounds": [x0, y0, x1 + 1500, y1]})
    inside = valley.write(tmp_path / "inside.yaml", area={"bounds": [x0 + 60, y0 + 60, x1 - 60, y1 - 60]})
    counts = [_beyond(done(landweave("plan", which))) for which in (inside, far)]
    assert counts[1] > counts[0] + 200
    done(landweave("run", far))
    found = stored_map(tmp_path / "map.zarr")
    classes = found.read("landcover", found.grid.extent)
    cube = open_cube(tmp_path / "cube.zarr")["SENTINEL2_TS"].ds
    ever = np.isin(cube["pixel_class"].values, (PixelClass.NOT_ACQUIRED, PixelClass.NODATA)).all(0)
    edge = float(cube["x"].values[~ever.all(0)].max())
    assert (classes[:, found.grid.x > edge + 6] == 255).all()
    rows, columns = (found.grid.y > y0 + 6) & (found.grid.y < y1 - 6), (found.grid.x > x0 + 6) & (found.grid.x < x1 - 6)
    assert (classes[np.ix_(rows, columns)] != 255).all()


def _beyond(planned: str) -> int:
    [line] = [line for line in planned.splitlines() if line.startswith("windows ")]
    return int(line.split("of which ")[1].split()[0].replace(",", ""))


def test_a_mosaic_is_aligned_when_it_is_asked_for(
    valley: SmallSeries, tmp_path: Path, landweave: Command, refused: Callable[..., str]
) -> None:
    """Its files in the cube become a group without dates, on pixels of their own."""
    values = np.random.default_rng(4).integers(1, 255, (1, 64, 64)).astype(np.uint8)
    with rasterio.open(
        tmp_path / "image.tif", "w", driver="GTiff", width=64, height=64, count=1, dtype="uint8", crs=CRS,
        transform=rasterio.Affine(10, 0, CORNER[0], 0, -10, CORNER[1]),
    ) as image:  # fmt: skip
        image.write(values)
    spot = {**mosaic(R=("image.tif", 1)), "resolution": 10}
    settings = {"model": None, "output": None, "cube": {"store": "cube.zarr", "tile": 64, "chunk": 32, "margin_m": 0}}
    assert "mosaics with align: true" in refused(
        valley.write(tmp_path / "config.yaml", inputs={"SPOT_RGBI": spot}, **settings)
    )
    path = valley.write(tmp_path / "config.yaml", inputs={"SPOT_RGBI": {**spot, "align": True}}, **settings)
    done(landweave("align", path))
    group = open_cube(tmp_path / "cube.zarr")["SPOT_RGBI"].ds
    x0, y0, x1, y1 = AREA
    inside = group["band_data"].sel(x=slice(x0, x1), y=slice(y1, y0)).values
    rows, columns = slice(int(CORNER[1] - y1) // 10, int(CORNER[1] - y0) // 10), slice(10, 40)
    np.testing.assert_array_equal(inside[0], values[0, rows, columns])
