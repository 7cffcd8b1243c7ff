"""The dates of a run: from the catalog or a cube, and what is said of those that do not fit the model."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from landweave import open_map
from tests.helpers.commands import Command, Ended
from tests.helpers.small_series import AREA, SmallSeries, write_small_card

ARRAYS = ("landcover", "confidence", "probability", "rung")


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> SmallSeries:
    return SmallSeries.make(tmp_path_factory.mktemp("valley"))


@pytest.fixture
def landweave(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture
def config(small: SmallSeries, tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration into a folder of its own; its cube is left out where that is not asked for."""
    return lambda **sections: small.write(tmp_path / "config.yaml", **{"cube": None, **sections})


@pytest.fixture
def refused(tmp_path: Path, landweave: Command) -> Callable[..., str]:
    """Runs the command, which must refuse with exit code 2 and write nothing; gives its message."""

    def run(path: Path, *arguments: Any, verb: str = "run") -> str:
        before = sorted(tmp_path.rglob("*"))
        ended = landweave(verb, path, *arguments)
        assert (ended.code, ended.out) == (2, "")
        assert ended.err.startswith("landweave: ")
        assert "Traceback" not in ended.err
        assert sorted(tmp_path.rglob("*")) == before
        return ended.err

    return run


def done(ended: Ended) -> str:
    assert ended.code == 0, ended.err + ended.out
    return ended.out


def model(card: Path) -> dict[str, Any]:
    return {"card": str(card), "weights": str(card.with_suffix(".safetensors")), "torch_threads": 1}


CUBE = {"store": "cube.zarr", "tile": 64, "chunk": 32, "dates": 2, "margin_m": 102.4}
"""With all the ground that windows of 102.4 m reach."""


def test_a_map_from_the_catalog_is_that_from_the_cube(
    small: SmallSeries, config: Callable[..., Path], landweave: Command, tmp_path: Path
) -> None:
    """Whatever lies between: strips read block by block, or tiles that were aligned before."""
    done(landweave("run", config(), "--set", "output.store=straight.zarr"))
    done(landweave("align", config(cube=CUBE)))
    done(landweave("run", config(cube=CUBE), "--set", "output.store=own.zarr"))
    straight, aligned = (open_map(tmp_path / f"{name}.zarr") for name in ("straight", "own"))
    extent = straight.grid.extent
    assert (straight.read("landcover", extent) != 255).any()
    for name in ARRAYS:
        np.testing.assert_array_equal(aligned.read(name, extent), straight.read(name, extent))


def test_many_files_are_not_opened_straight(
    config: Callable[..., Path], refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landweave.api.DIRECT_OPENS", 5)
    said = refused(config())
    assert "Run `landweave align` first" in said
    assert "with cube: {store: cube.zarr} in the configuration" in said
    assert "(5 are let pass" in said


def test_what_the_catalog_has_not_is_said(
    small: SmallSeries, config: Callable[..., Path], refused: Callable[..., str]
) -> None:
    for verb in ("run", "align"):
        dates = {"SENTINEL2_TS": {**small.optical(), "dates": "2019-01-01/2019-12-31"}}
        said = refused(config(inputs=dates, cube=CUBE), verb=verb)
        assert "has no item" in said
        assert "2019-01-01/2019-12-31" in said
        assert "3 items of sentinel-2-l2a from 2021-06-14 to 2021-08-03" in said
        far = refused(
            config(area={"bounds": [AREA[0] + 90_000, AREA[1], AREA[2] + 90_000, AREA[3]]}, cube=CUBE), verb=verb
        )
        assert "has no item" in far
        assert "another area" in far
    missing = refused(config(inputs={"SENTINEL2_TS": small.optical("winter")}))
    assert "winter.json" in missing


def test_a_year_without_dates_is_refused_with_the_dates_there_are(
    small: SmallSeries, config: Callable[..., Path], refused: Callable[..., str], landweave: Command
) -> None:
    absent = {"SENTINEL2_TS": small.optical(year=2019)}
    assert "has no date in 2019: its 3 dates are 2021-06-14 to 2021-08-03" in refused(config(inputs=absent))
    done(landweave("align", config(cube=CUBE)))
    assert "has no date in 2019: its 3 dates are 2021-06-14 to 2021-08-03" in refused(config(inputs=absent, cube=CUBE))


def test_two_years_are_refused_until_one_is_named(
    small: SmallSeries, config: Callable[..., Path], refused: Callable[..., str], landweave: Command
) -> None:
    said = refused(config(inputs={"SENTINEL2_TS": small.optical("all")}))
    assert "dates of 2 years, 2021 to 2022" in said
    assert "`year`" in said
    done(landweave("check", config(inputs={"SENTINEL2_TS": small.optical("all", year=2022)})))


def test_radar_of_another_quantity_is_refused(
    small: SmallSeries, config: Callable[..., Path], refused: Callable[..., str], landweave: Command, tmp_path: Path
) -> None:
    """Of the catalog when it is searched; of a cube, which knows what it holds, when the card is looked at."""
    said = refused(
        config(inputs={"SENTINEL1-ASC_TS": small.radar(resolution=10.24, quantity="sigma0")}, cube=CUBE, model=None),
        verb="align",
    )
    assert "sigma0 was asked" in said
    assert "gamma0_rtc" in said

    radar = {"VV": {"mean": 0.1, "std": 0.1}, "VH": {"mean": 0.03, "std": 0.03}}
    wants = {"pixel": 10.24, "bands": radar, "dates": {}, "quantity": "sigma0"}
    card = write_small_card(tmp_path / "radar.yaml", modality="SENTINEL1-ASC_TS", **wants)
    inputs = {"SENTINEL1-ASC_TS": small.radar()}
    assert "sigma0 was asked" in refused(config(inputs=inputs, model=model(card)))
    coarse = {"SENTINEL1-ASC_TS": small.radar(resolution=10.24)}
    done(landweave("align", config(inputs=coarse, cube=CUBE, model=None)))
    held = refused(config(inputs={"SENTINEL1-ASC_TS": {"kind": "cube", "store": "cube.zarr"}}, model=model(card)))
    assert "SENTINEL1-ASC_TS holds gamma0_rtc and the card wants sigma0: choose other scenes" in held


def test_other_thresholds_than_the_cards_are_refused(
    small: SmallSeries, config: Callable[..., Path], refused: Callable[..., str], landweave: Command
) -> None:
    lax = {"from": "probability", "cloud_max": 40, "snow_max": 1}
    inputs = {"SENTINEL2_TS": small.optical(clouds=lax)}
    said = refused(config(inputs=inputs))
    assert "calls a pixel clear up to cloud_max 40, the card up to 1: set clouds.cloud_max" in said
    assert "snow_max" not in said
    settings = {"inputs": {"SENTINEL2_TS": small.optical(clouds=lax, resolution=10.24, bands=["B4", "B8"])}}
    done(landweave("align", config(**settings, cube=CUBE, model=None)))
    assert "align it anew" in refused(config(inputs=inputs, cube=CUBE))
    strict = {"SENTINEL2_TS": small.optical(clouds={"from": "probability"})}
    done(landweave("check", config(inputs=strict)))


def test_a_cube_that_does_not_fit_is_refused_before_anything_is_written(
    small: SmallSeries, config: Callable[..., Path], refused: Callable[..., str], landweave: Command
) -> None:
    named = {"SENTINEL2_TS": {"kind": "cube", "store": "cube.zarr"}}
    assert "There is no cube at" in refused(config(inputs=named))
    settings = {"inputs": {"SENTINEL2_TS": small.optical(resolution=10, bands=["B4", "B8"])}, "cube": CUBE}
    done(landweave("align", config(**settings, model=None)))
    for sections in ({"inputs": named}, {"cube": CUBE}):
        for verb in ("check", "plan", "run"):
            said = refused(config(**sections), verb=verb)
            assert "has pixels of 10 m" in said
            assert "10.24 m" in said
    inputs = {"SENTINEL2_TS": small.optical(resolution=10.24, bands=["B4"])}
    done(landweave("align", config(inputs=inputs, cube={**CUBE, "store": "red.zarr"}, model=None)))
    said = refused(config(inputs={"SENTINEL2_TS": {"kind": "cube", "store": "red.zarr"}}))
    assert "SENTINEL2_TS lacks B8 of B4, B8" in said
    red = {"kind": "cube", "store": "red.zarr"}
    assert "has no use for SENTINEL1-ASC_TS" in refused(config(inputs={"SENTINEL2_TS": red, "SENTINEL1-ASC_TS": red}))


def test_a_place_is_needed(config: Callable[..., Path], refused: Callable[..., str]) -> None:
    assert "There is no area and no imagery" in refused(config(area=None))


def test_a_cube_alone_says_where_the_map_lies(config: Callable[..., Path], landweave: Command, tmp_path: Path) -> None:
    """Without an area all that was aligned is mapped."""
    done(landweave("align", config(cube={**CUBE, "tile": 32, "margin_m": 0})))
    named = {"SENTINEL2_TS": {"kind": "cube", "store": "cube.zarr"}}
    done(landweave("run", config(inputs=named, area=None)))
    found = open_map(tmp_path / "map.zarr")
    x0, y0, x1, y1 = found.grid.bounds
    assert x0 <= AREA[0] < AREA[2] <= x1
    assert y0 <= AREA[1] < AREA[3] <= y1
    assert (found.read("landcover", found.grid.extent) != 255).mean() > 0.2
