"""A file that is gone for good costs its own date and tile at most, and only where that is accepted."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from landweave import load_cube_config, open_cube
from landweave.api import align
from landweave.core.timeseries import PixelClass
from tests.helpers.cog_server import serving
from tests.helpers.commands import Command, done
from tests.helpers.small_series import SmallSeries
from tests.helpers.stac_items import Item, write_items

CUBE = {"store": "cube.zarr", "tile": 32, "chunk": 32, "time_shard": 2, "margin_m": 0}


@pytest.fixture
def config(valley: SmallSeries, tmp_path: Path) -> Callable[..., Path]:
    """A configuration of the summer whose items are changed first."""

    def write(change: Callable[[list[Item]], object], store: str = "cube.zarr", **settings: object) -> Path:
        items = json.loads((valley.folder / "summer.json").read_text())["features"]
        change(items)
        catalog = write_items(tmp_path / "items.json", *items)
        inputs = {"SENTINEL2_TS": {**valley.optical(), "catalog": catalog, **settings}}
        return valley.write(tmp_path / "config.yaml", inputs=inputs, cube={**CUBE, "store": store})

    return write


def gone(items: list[Item], href: str = "/none/B04.tif") -> str:
    items[1]["assets"]["B04"]["href"] = href
    return str(items[1]["id"])


def test_a_missing_file_fails_its_tiles_until_it_is_accepted(
    config: Callable[..., Path], landweave: Command, tmp_path: Path
) -> None:
    done(landweave("align", config(lambda _: None, store="whole.zarr")))
    path = config(gone)
    failed = landweave("align", path)
    assert failed.code == 3
    assert "read failed: /none/B04.tif cannot be read" in failed.out
    ended = landweave("align", path, "--accept-missing")
    assert ended.code == 0
    told = "SENTINEL2_TS, time shard 0, dates 2021-06-14 to 2021-07-04, 4 tiles: marked as not acquired: /none/B04.tif"
    assert told in ended.out
    again = landweave("align", path)
    assert again.code == 0
    assert " 0 ran in" in again.out
    whole, found = (open_cube(tmp_path / f"{name}.zarr", chunks=None)["SENTINEL2_TS"] for name in ("whole", "cube"))
    assert found["time"].values.tolist() == whole["time"].values.tolist()
    assert (found["pixel_class"][1] == PixelClass.NOT_ACQUIRED).all()
    assert (whole["pixel_class"][1] == PixelClass.CLEAR).any()
    for name in ("band_data", "pixel_class"):
        np.testing.assert_array_equal(found[name][::2], whole[name][::2])


def test_a_file_that_a_server_does_not_have_is_accepted_too_and_a_forbidden_one_is_not(
    config: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "web").mkdir()
    with serving(tmp_path / "web") as server:
        path = config(lambda items: gone(items, f"{server.address}/B04.tif"))
        assert align(load_cube_config(path), accept_missing=True, progress=False).exit_code == 0
        path = config(lambda items: gone(items, f"{server.address}/B04.tif?signature=expired"), store="other.zarr")
        assert align(load_cube_config(path), accept_missing=True, progress=False).exit_code == 3


def test_items_that_are_skipped_are_left_out_and_named(config: Callable[..., Path], landweave: Command) -> None:
    names: list[str] = []
    path = config(lambda items: names.append(gone(items)))
    path = config(gone, skip_items=[names[0], "no-such-item"])
    told = done(landweave("align", path))
    assert f"each is named in skip_items: {names[0]}" in told
    assert "each is named in skip_items and was not found: no-such-item" in told


def test_a_date_whose_item_is_skipped_later_does_not_hold_up_its_shard(
    config: Callable[..., Path], landweave: Command, tmp_path: Path
) -> None:
    """Its other tiles may show it already: it stays, and is not acquired where it is missing."""
    names: list[str] = []
    assert landweave("align", config(lambda items: names.append(gone(items)))).code == 3
    path = config(gone, skip_items=names)
    waiting = landweave("align", path)
    assert waiting.code == 3
    assert "4 blocks lack dates that were not found: search those dates again, or mark them" in waiting.out
    assert "a date was not found any more" in done(landweave("align", path, "--accept-missing"))
    found = open_cube(tmp_path / "cube.zarr", chunks=None)["SENTINEL2_TS"]
    assert [int((each != PixelClass.NOT_ACQUIRED).any()) for each in found["pixel_class"]] == [1, 0, 1]


def test_a_date_that_no_run_has_begun_is_skipped_without_a_trace(
    config: Callable[..., Path], landweave: Command, tmp_path: Path
) -> None:
    names: list[str] = []
    config(lambda items: names.append(gone(items)))
    done(landweave("align", config(gone, skip_items=names)))
    found = open_cube(tmp_path / "cube.zarr", chunks=None)["SENTINEL2_TS"]
    assert [str(time)[:10] for time in found["time"].values] == ["2021-06-14", "2021-08-03"]
