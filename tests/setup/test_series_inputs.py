"""The dates of a run: from the catalog or a cube, and what is said of those that do not fit the model."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray as xr
from safetensors.torch import save_file

from landweave import check, load_config, predict
from landweave.models.cards.registry import read_card
from landweave.models.factory import build, core
from landweave.store.cubes.sources import CubeSeries
from landweave.store.cubes.store import open_cube_store
from tests.helpers.commands import Command, done
from tests.helpers.networks import drawn, write_card
from tests.helpers.small_series import AREA, SmallSeries, write_small_card
from tests.helpers.stac_items import write_items
from tests.helpers.stored import stored_map

ARRAYS = ("landcover", "confidence", "probability", "date_fallback")


@pytest.fixture
def config(valley: SmallSeries, tmp_path: Path) -> Callable[..., Path]:
    """Writes a configuration into a folder of its own; its cube is left out where that is not asked for."""
    return lambda **sections: valley.write(tmp_path / "config.yaml", **{"cube": None, **sections})


def model(card: Path) -> dict[str, Any]:
    return {"card": str(card), "weights": str(card.with_suffix(".safetensors")), "torch_threads": 1}


CUBE = {"store": "cube.zarr", "tile": 64, "chunk": 32, "time_shard": 2, "margin_m": 102.4}
"""With all the ground that windows of 102.4 m reach."""


def test_a_map_from_the_catalog_is_that_from_the_cube(
    valley: SmallSeries, config: Callable[..., Path], landweave: Command, tmp_path: Path
) -> None:
    """Whatever lies between: strips read block by block, or tiles that were aligned before."""
    done(landweave("run", config(), "--set", "output.store=straight.zarr"))
    done(landweave("align", config(cube=CUBE)))
    done(landweave("run", config(cube=CUBE), "--set", "output.store=own.zarr"))
    straight, aligned = (stored_map(tmp_path / f"{name}.zarr") for name in ("straight", "own"))
    extent = straight.grid.extent
    assert (straight.read("landcover", extent) != 255).any()
    for name in ARRAYS:
        np.testing.assert_array_equal(aligned.read(name, extent), straight.read(name, extent))


def test_items_that_are_not_used_are_told_with_the_reason(
    valley: SmallSeries, config: Callable[..., Path], landweave: Command, tmp_path: Path
) -> None:
    items = json.loads((valley.folder / "summer.json").read_text())["features"]
    del items[1]["assets"]["B08"]
    write_items(tmp_path / "items.json", *items)
    inputs = {"SENTINEL2_TS": {**valley.optical(), "catalog": "items.json"}}
    reason = f"has no asset for B8; it has B04, CLOUD, SCL, SNOW: {items[1]['id']}"
    assert reason in done(landweave("check", config(inputs=inputs)))
    planned = done(landweave("align", config(inputs=inputs, cube=CUBE), "--plan")).splitlines()
    assert "2 new, 0 kept" in planned[2]
    told = f"SENTINEL2_TS: 1 of 3 items are left out, each {reason}"
    assert told in planned[-1]
    assert told in done(landweave("plan", config(inputs=inputs, cube=CUBE)))


def test_the_plan_tells_how_often_files_are_opened_straight(
    valley: SmallSeries, config: Callable[..., Path], landweave: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Three files a date, of three dates, from each of four blocks; and whether that is let pass."""
    straight = done(landweave("plan", config()))
    assert "SENTINEL2_TS: read straight from the catalog, opening files 36 times" in straight
    assert "align" not in straight
    assert "opening files 36 times: run `landweave align` first" in done(landweave("plan", config(cube=CUBE)))
    monkeypatch.setattr("landweave.setup.map_setup.DIRECT_OPENS", 35)
    assert "opening files 36 times: run `landweave align` first" in done(landweave("plan", config()))
    done(landweave("align", config(cube=CUBE)))
    assert "opening files" not in done(landweave("plan", config(cube=CUBE)))


def test_many_files_are_not_opened_straight(
    config: Callable[..., Path], refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("landweave.setup.map_setup.DIRECT_OPENS", 5)
    said = refused(config())
    assert "Run `landweave align` first" in said
    assert "with cube: {store: cube.zarr} in the configuration" in said
    assert "(5 are let pass" in said


def test_what_the_catalog_has_not_is_said(
    valley: SmallSeries, config: Callable[..., Path], refused: Callable[..., str]
) -> None:
    for verb in ("run", "align"):
        dates = {"SENTINEL2_TS": {**valley.optical(), "dates": "2019-01-01/2019-12-31"}}
        said = refused(config(inputs=dates, cube=CUBE), verb=verb)
        assert "has no item" in said
        assert "2019-01-01/2019-12-31" in said
        assert "3 items of sentinel-2-l2a from 2021-06-14 to 2021-08-03" in said
        far = refused(
            config(area={"bounds": [AREA[0] + 90_000, AREA[1], AREA[2] + 90_000, AREA[3]]}, cube=CUBE), verb=verb
        )
        assert "has no item" in far
        assert "another area" in far
    missing = refused(config(inputs={"SENTINEL2_TS": valley.optical("winter")}))
    assert "winter.json" in missing


def test_a_signer_that_is_not_installed_is_said_before_anything_is_read(
    valley: SmallSeries, config: Callable[..., Path], refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "planetary_computer", None)
    path = config(inputs={"SENTINEL2_TS": valley.optical(sign="planetary-computer")}, cube=CUBE)
    for verb in ("align", "check"):
        assert "pip install 'landweave[catalogs]'" in refused(path, verb=verb)


def test_an_optional_input_that_is_not_there_is_told(
    valley: SmallSeries, config: Callable[..., Path], landweave: Command, tmp_path: Path
) -> None:
    """It is fed as absent everywhere; a person may only have forgotten it."""
    series = {"pixel": 10.24, "dates": {}}
    optical = {**series, "bands": {name: {"mean": 5000, "std": 2500} for name in ("B4", "B8")}}
    radar = {**series, "bands": {"VV": {}, "VH": {}}, "required": False}
    inputs = {"SENTINEL2_TS": optical, "SENTINEL1-ASC_TS": radar}
    card = write_card(tmp_path / "both.yaml", {"kind": "flair_hub"}, window=512, overlap=256, inputs=inputs)
    save_file(drawn(core(build(read_card(card), 512))), card.with_suffix(".safetensors"))
    told = "SENTINEL1-ASC_TS is not among the inputs: fed as absent"
    for verb in ("check", "plan"):
        assert told in done(landweave(verb, config(model=model(card))))
    sections = {"SENTINEL2_TS": valley.optical(), "SENTINEL1-ASC_TS": valley.radar()}
    assert "absent" not in done(landweave("check", config(model=model(card), inputs=sections)))


def test_a_year_without_dates_is_refused_with_the_dates_there_are(
    valley: SmallSeries, config: Callable[..., Path], refused: Callable[..., str], landweave: Command
) -> None:
    absent = {"SENTINEL2_TS": valley.optical(year=2019)}
    assert "has no date in 2019: its 3 dates are 2021-06-14 to 2021-08-03" in refused(config(inputs=absent))
    done(landweave("align", config(cube=CUBE)))
    assert "has no date in 2019: its 3 dates are 2021-06-14 to 2021-08-03" in refused(config(inputs=absent, cube=CUBE))


def test_a_group_without_dates_is_refused(
    config: Callable[..., Path],
    refused: Callable[..., str],
    landweave: Command,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    done(landweave("align", config(cube=CUBE)))
    named = {"SENTINEL2_TS": {"kind": "cube", "store": "cube.zarr"}}
    whole = CubeSeries.of
    monkeypatch.setattr(CubeSeries, "of", lambda group: replace(whole(group), observations=(), arrivals=()))
    assert "SENTINEL2_TS has no date: run `landweave align`." in refused(config(inputs=named))


def test_two_years_are_refused_until_one_is_named(
    valley: SmallSeries, config: Callable[..., Path], refused: Callable[..., str], landweave: Command
) -> None:
    said = refused(config(inputs={"SENTINEL2_TS": valley.optical("all")}))
    assert "dates of 2 years, 2021 to 2022" in said
    assert "`year`" in said
    done(landweave("check", config(inputs={"SENTINEL2_TS": valley.optical("all", year=2022)})))


def write_graph(path: Path, *years: int) -> None:
    """A mosaic graph with the ground of the valley flown over in each of ``years``."""
    ring = [[2.9, 44.2], [3.1, 44.2], [3.1, 44.3], [2.9, 44.3], [2.9, 44.2]]
    shape = {"type": "Polygon", "coordinates": [ring]}
    flown = [{"type": "Feature", "properties": {"flown": f"{year}-07-09"}, "geometry": shape} for year in years]
    path.write_text(json.dumps({"type": "FeatureCollection", "features": flown}))


def test_a_campaign_without_dates_is_told(
    valley: SmallSeries, config: Callable[..., Path], landweave: Command, tmp_path: Path
) -> None:
    write_graph(tmp_path / "graph.geojson", 2018, 2021, 2024)
    path = config(inputs={"SENTINEL2_TS": valley.optical(year={"file": "graph.geojson", "column": "flown"})})
    for verb in ("check", "plan"):
        said = done(landweave(verb, path))
        assert "SENTINEL2_TS has no date of 2018, 2024: absent where the aerial images are of these years" in said


def test_dates_of_another_year_are_no_part_of_a_map_straight_from_its_catalog(
    valley: SmallSeries, config: Callable[..., Path], landweave: Command, tmp_path: Path
) -> None:
    """Nor of one whose years the aerial images tell: its map goes on when the catalog has grown by a year."""
    write_graph(tmp_path / "graph.geojson", 2021)
    for year in (2021, {"file": "graph.geojson", "column": "flown"}):
        found = []
        for catalog in ("autumn", "all"):
            path = config(inputs={"SENTINEL2_TS": valley.optical(catalog, year=year)})
            said = done(landweave("check", path))
            assert re.search(r"^SENTINEL2_TS .*; dates: 4; first: 2021-06-14", said, re.MULTILINE)
            found.append(check(load_config(path)).fingerprint)
        assert found[0] == found[1]


def test_radar_of_another_quantity_is_refused(
    valley: SmallSeries, config: Callable[..., Path], refused: Callable[..., str], landweave: Command, tmp_path: Path
) -> None:
    """Of the catalog when it is searched; of a cube, which knows what it holds, when the card is looked at."""
    said = refused(
        config(inputs={"SENTINEL1-ASC_TS": valley.radar(resolution=10.24, quantity="sigma0")}, cube=CUBE, model=None),
        verb="align",
    )
    assert "sigma0 was asked" in said
    assert "gamma0_rtc" in said

    radar = {"VV": {"mean": 0.1, "std": 0.1}, "VH": {"mean": 0.03, "std": 0.03}}
    wants = {"pixel": 10.24, "bands": radar, "dates": {}, "quantity": "sigma0"}
    card = write_small_card(tmp_path / "radar.yaml", modality="SENTINEL1-ASC_TS", **wants)
    inputs = {"SENTINEL1-ASC_TS": valley.radar()}
    assert "sigma0 was asked" in refused(config(inputs=inputs, model=model(card)))
    coarse = {"SENTINEL1-ASC_TS": valley.radar(resolution=10.24)}
    done(landweave("align", config(inputs=coarse, cube=CUBE, model=None)))
    held = refused(config(inputs={"SENTINEL1-ASC_TS": {"kind": "cube", "store": "cube.zarr"}}, model=model(card)))
    assert "SENTINEL1-ASC_TS holds gamma0_rtc and the card wants sigma0: choose other scenes" in held


def test_radar_of_another_quantity_is_taken_where_its_input_says_so(
    valley: SmallSeries, config: Callable[..., Path], refused: Callable[..., str], landweave: Command, tmp_path: Path
) -> None:
    """Open catalogs serve gamma0, models were trained on sigma0: who accepts that is told of it ever after."""
    bands = {"VV": {"mean": 0.1, "std": 0.1}, "VH": {"mean": 0.03, "std": 0.03}}
    wants = {"pixel": 10.24, "bands": bands, "dates": {}, "quantity": "sigma0"}
    card = write_small_card(tmp_path / "radar.yaml", modality="SENTINEL1-ASC_TS", **wants)
    told = re.compile(r"^note +SENTINEL1-ASC_TS holds gamma0_rtc, the model was trained on sigma0$", re.MULTILINE)
    gamma = {"SENTINEL1-ASC_TS": valley.radar(quantity="gamma0_rtc")}
    named = {"SENTINEL1-ASC_TS": {"kind": "cube", "store": "cube.zarr"}}
    assert told.search(done(landweave("check", config(inputs=gamma, model=model(card)))))
    done(landweave("align", config(inputs=gamma, model=model(card), cube=CUBE)))
    assert told.search(done(landweave("check", config(inputs=gamma, model=model(card), cube=CUBE))))
    assert "inputs.SENTINEL1-ASC_TS.quantity: gamma0_rtc" in refused(config(inputs=named, model=model(card)))
    named["SENTINEL1-ASC_TS"]["quantity"] = "gamma0_rtc"
    assert told.search(done(landweave("check", config(inputs=named, model=model(card)))))
    named["SENTINEL1-ASC_TS"]["quantity"] = "sigma0"
    assert "holds gamma0_rtc, sigma0 was asked" in refused(config(inputs=named, model=model(card)))
    # A unit is another matter: no normalisation of a card fits decibels that were trained as power.
    loud = {"SENTINEL1-ASC_TS": valley.radar(quantity="gamma0_rtc", decibels=True)}
    assert "holds gamma0_rtc_db and the card wants sigma0" in refused(config(inputs=loud, model=model(card)))


def test_other_thresholds_than_the_cards_are_refused(
    valley: SmallSeries, config: Callable[..., Path], refused: Callable[..., str], landweave: Command
) -> None:
    lax = {"source": "probability", "cloud_max": 40, "snow_max": 1}
    inputs = {"SENTINEL2_TS": valley.optical(cloud_mask=lax)}
    said = refused(config(inputs=inputs))
    assert "calls a pixel clear up to cloud_max 40, the card up to 1: set cloud_mask.cloud_max" in said
    assert "snow_max" not in said
    settings = {"inputs": {"SENTINEL2_TS": valley.optical(cloud_mask=lax, resolution=10.24, bands=["B4", "B8"])}}
    done(landweave("align", config(**settings, cube=CUBE, model=None)))
    assert "align it anew" in refused(config(inputs=inputs, cube=CUBE))
    strict = {"SENTINEL2_TS": valley.optical(cloud_mask={"source": "probability"})}
    done(landweave("check", config(inputs=strict)))


@pytest.mark.parametrize(("dates", "kept"), [("2021-06-15/2021-08-02", 1), ("2021-06-14/2021-07-04", 2)])
def test_of_a_cubes_dates_those_that_are_asked_for_are_read(
    valley: SmallSeries,
    config: Callable[..., Path],
    refused: Callable[..., str],
    landweave: Command,
    dates: str,
    kept: int,
) -> None:
    """The same map as of the catalog, which is searched between these days."""
    done(landweave("align", config(cube=CUBE)))
    some = {"SENTINEL2_TS": {**valley.optical(), "dates": dates}}
    said = done(landweave("check", config(inputs=some, cube=CUBE)))
    assert re.search(rf"^SENTINEL2_TS .*\bdates: {kept}\b", said, re.MULTILINE)
    maps = [predict(load_config(config(inputs=some, cube=cube))) for cube in (CUBE, None)]
    x0, y0, _, _ = AREA
    aligned, straight = (each.sel(x=slice(x0 + 100, x0 + 160), y=slice(y0 + 160, y0 + 100)).load() for each in maps)
    assert (aligned["landcover"] != 255).all()
    xr.testing.assert_identical(aligned, straight.assign_attrs(aligned.attrs))
    none = {"SENTINEL2_TS": {**valley.optical(), "dates": "2021-07-05/2021-08-02"}}
    said = refused(config(inputs=none, cube=CUBE), verb="check")
    assert "SENTINEL2_TS has no date from 2021-07-05/2021-08-02" in said
    assert "its 3 dates are 2021-06-14 to 2021-08-03" in said


def test_a_scene_that_is_skipped_after_it_was_aligned_is_refused(
    valley: SmallSeries, config: Callable[..., Path], refused: Callable[..., str], landweave: Command
) -> None:
    """Dates stay in a cube: the wrong scene would stay in the map."""
    done(landweave("align", config(cube=CUBE)))
    items = json.loads((valley.folder / "summer.json").read_text())["features"]
    wrong = items[1]["id"]
    for verb in ("check", "plan", "run"):
        said = refused(config(cube=CUBE, inputs={"SENTINEL2_TS": valley.optical(skip_items=[wrong])}), verb=verb)
        assert f"cube.zarr holds scenes of SENTINEL2_TS that skip_items leaves out: {wrong}." in said
        assert "cube.store" in said
    unused = {"skip_items": [wrong], "dates": "2021-07-20/2021-12-31"}
    for settings in ({"skip_items": ["no-such-item"]}, unused):
        done(landweave("check", config(cube=CUBE, inputs={"SENTINEL2_TS": valley.optical(**settings)})))


def test_a_cube_that_was_aligned_otherwise_than_its_input_asks_is_refused(
    valley: SmallSeries, config: Callable[..., Path], refused: Callable[..., str], landweave: Command, tmp_path: Path
) -> None:
    """Though no card cares: a map of gamma0 under a configuration that says sigma0 would be nobody's."""
    bands = {"VV": {"mean": 0.1, "std": 0.1}, "VH": {"mean": 0.03, "std": 0.03}}
    card = write_small_card(tmp_path / "radar.yaml", modality="SENTINEL1-ASC_TS", pixel=10.24, bands=bands, dates={})
    done(landweave("align", config(cube=CUBE, inputs={"SENTINEL1-ASC_TS": valley.radar()}, model=model(card))))
    for asked, told in (
        ({"quantity": "sigma0"}, "quantity: gamma0_rtc in the cube, sigma0 asked"),
        ({"decibels": True}, "quantity: gamma0_rtc in the cube, gamma0_rtc_db asked"),
        ({"resampling": "nearest"}, "resampling: bilinear in the cube, nearest asked"),
        ({"stored_as": "decibels"}, "stored_as: power in the cube, decibels asked"),
    ):
        radar = {"SENTINEL1-ASC_TS": valley.radar(**asked)}
        said = refused(config(cube=CUBE, inputs=radar, model=model(card)), verb="check")
        assert told in said
        assert "cube.zarr holds SENTINEL1-ASC_TS aligned otherwise than its input asks" in said
    decibels = {"SENTINEL1-ASC_TS": valley.radar(stored_as="decibels")}
    said = refused(config(cube=CUBE, inputs=decibels, model=model(card)), verb="align")
    assert "rules.stored_as: decibels here, absent in the output" in said
    power = {"SENTINEL1-ASC_TS": valley.radar(stored_as="power")}
    done(landweave("check", config(cube=CUBE, inputs=power, model=model(card))))
    wrong = {"SENTINEL1-ASC_TS": valley.radar(orbit="descending")}
    assert "take the other modality" in refused(config(cube=CUBE, inputs=wrong, model=model(card)), verb="check")
    done(landweave("align", config(cube=CUBE)))
    other = {"SENTINEL2_TS": valley.optical(cloud_mask={"source": "probability"})}
    said = refused(config(cube=CUBE, inputs=other), verb="check")
    assert (
        "cloud_mask: {'source': 'scl'} in the cube, {'source': 'probability', 'cloud_max': 1, 'snow_max': 1} asked"
        in said
    )


def test_a_cube_that_does_not_fit_is_refused_before_anything_is_written(
    valley: SmallSeries, config: Callable[..., Path], refused: Callable[..., str], landweave: Command
) -> None:
    named = {"SENTINEL2_TS": {"kind": "cube", "store": "cube.zarr"}}
    assert "There is no cube at" in refused(config(inputs=named))
    settings = {"inputs": {"SENTINEL2_TS": valley.optical(resolution=10, bands=["B4", "B8"])}, "cube": CUBE}
    done(landweave("align", config(**settings, model=None)))
    for sections in ({"inputs": named}, {"cube": CUBE}):
        for verb in ("check", "plan", "run"):
            said = refused(config(**sections), verb=verb)
            assert "has pixels of 10 m" in said
            assert "10.24 m" in said
    inputs = {"SENTINEL2_TS": valley.optical(resolution=10.24, bands=["B4"])}
    done(landweave("align", config(inputs=inputs, cube={**CUBE, "store": "red.zarr"}, model=None)))
    said = refused(config(inputs={"SENTINEL2_TS": {"kind": "cube", "store": "red.zarr"}}))
    assert "SENTINEL2_TS lacks B8 of B4, B8" in said
    red = {"kind": "cube", "store": "red.zarr"}
    assert "has no use for inputs.SENTINEL1-ASC_TS: it reads" in refused(
        config(inputs={"SENTINEL2_TS": red, "SENTINEL1-ASC_TS": red})
    )


def test_a_place_is_needed(config: Callable[..., Path], refused: Callable[..., str]) -> None:
    assert "There is no area and no imagery" in refused(config(area=None))


def test_a_cube_alone_says_where_the_map_lies(config: Callable[..., Path], landweave: Command, tmp_path: Path) -> None:
    """Without an area all that was aligned is mapped."""
    done(landweave("align", config(cube={**CUBE, "tile": 32, "margin_m": 0})))
    named = {"SENTINEL2_TS": {"kind": "cube", "store": "cube.zarr"}}
    done(landweave("run", config(inputs=named, area=None)))
    found = stored_map(tmp_path / "map.zarr")
    x0, y0, x1, y1 = found.grid.bounds
    assert x0 <= AREA[0] < AREA[2] <= x1
    assert y0 <= AREA[1] < AREA[3] <= y1
    assert (found.read("landcover", found.grid.extent) != 255).mean() > 0.2


def test_a_cube_that_several_inputs_name_is_opened_once(
    valley: SmallSeries,
    config: Callable[..., Path],
    landweave: Command,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By its own input and by the section of the cube alike."""
    wants = {"pixel": 10.24, "dates": {}}
    inputs = {
        "SENTINEL2_TS": {**wants, "bands": {name: {"mean": 5000, "std": 2500} for name in ("B4", "B8")}},
        "SENTINEL1-ASC_TS": {**wants, "bands": {"VV": {}, "VH": {}}},
    }
    card = write_card(tmp_path / "both.yaml", {"kind": "flair_hub"}, window=512, overlap=256, inputs=inputs)
    save_file(drawn(core(build(read_card(card), 512))), card.with_suffix(".safetensors"))
    sections = {"SENTINEL2_TS": valley.optical(), "SENTINEL1-ASC_TS": valley.radar()}
    done(landweave("align", config(model=model(card), inputs=sections, cube=CUBE)))
    opened: list[str] = []

    def counted(target: Any, *attributes: Any) -> Any:
        opened.append(str(target))
        return open_cube_store(target, *attributes)

    monkeypatch.setattr("landweave.setup.context.open_cube_store", counted)
    sections["SENTINEL1-ASC_TS"] = {"kind": "cube", "store": "cube.zarr"}
    done(landweave("check", config(model=model(card), inputs=sections, cube=CUBE)))
    assert opened == [str(tmp_path / "cube.zarr")]
