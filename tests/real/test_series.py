"""Real Sentinel series behind a catalog: aligned, opened, mapped; dates, clouds and values as in the files."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest
import rasterio
import torch
import xarray as xr
import yaml
from safetensors.torch import save_file

from landweave import api
from landweave.config.schema import CubeConfig
from landweave.core.errors import ConfigError
from landweave.core.timeseries import PixelClass
from landweave.engine.inline import InlineEngine
from landweave.models.cards.registry import find_card, read_card
from landweave.models.factory import build, core
from tests.helpers.networks import write_card
from tests.helpers.stac_items import BANDS, Item, optical, radar, with_properties, write_items
from tests.helpers.tiles import write_tile

FLANDERS = "data/flanders/S2_L2A_{}m_00002806639B424A_32631_2017-08-01_2018-11-30.nc"
SITE = "data/treesat/Betula_spec._1_15679_WEFL_NLF"
SIDE = {"B2": 10, "B3": 10, "B4": 10, "B8": 10}
"""Metres of a pixel; 20 elsewhere."""

SITE_BOX = (7.9, 52.8, 8.1, 53.0)


def key(band: str) -> str:
    return f"B0{band[1:]}" if band in BANDS[:7] else band


def delivered(
    item: Item, folder: Path, planes: dict[str, Any], corner: tuple[float, float], crs: str, side: Any
) -> Item:
    """``item`` with a file for each plane, whose place only the files tell."""
    assets = {}
    for band, plane in planes.items():
        path = folder / f"{band}.tif"
        write_tile(path, plane[None], corner_xy=corner, pixel=side(band), crs=crs)
        assets[key(band)] = {"href": str(path), "type": "image/tiff"}
    item = with_properties(item, proj__epsg=None)
    item["assets"] = assets
    return item


@pytest.fixture(scope="module")
def flanders(shared, tmp_path_factory) -> tuple[Path, xr.Dataset, xr.Dataset]:
    """Every sixth date near Lille, 2017 and 2018, as ESA's baseline of the day delivered it."""
    folder = tmp_path_factory.mktemp("flanders")
    fine, coarse = (xr.open_dataset(shared(FLANDERS.format(side)), mask_and_scale=False) for side in (10, 20))
    fine, coarse = (each.isel(timestamp=slice(0, None, 6)).fillna(0) for each in (fine, coarse))
    items = []
    for number, time in enumerate(fine.timestamp.values):
        day = str(time)[:10].replace("-", "")
        planes = {
            band: (fine if key(band) in fine else coarse)[key(band)][number].values.astype(np.uint16) for band in BANDS
        }
        planes["SCL"] = coarse.SCL[number].values.astype(np.uint8)
        item = optical(day, tile="31UDS", baseline="0206", box=(3.0, 50.8, 3.04, 50.83))
        corner = (501360.0, 5629680.0)
        items.append(delivered(item, folder / day, planes, corner, "EPSG:32631", lambda band: SIDE.get(band, 20)))
    write_items(folder / "items.json", *items)
    return folder, fine, coarse


def flanders_config(folder: Path, **sections: Any) -> dict[str, Any]:
    series = {"kind": "stac", "catalog": "items.json", "dates": "2017-01-01/2018-12-31", **sections.pop("series", {})}
    return {
        "area": {"bounds": [501360, 5629040, 502000, 5629680]},
        "grid": {"crs": "EPSG:32631"},
        "inputs": {"SENTINEL2_TS": series},
        "cube": {"store": "own.zarr", "tile": 64, "chunk": 32, "time_shard": 8, "margin_m": 0},
        **sections,
    }


@pytest.mark.slow
def test_flanders_on_its_own_pixels_is_what_the_files_hold(flanders):
    folder, fine, coarse = flanders
    content = flanders_config(folder, series={"resolution": 10, "resampling": "nearest"})
    assert api.align(CubeConfig(**content, root=folder), engine=InlineEngine()).exit_code == 0
    held = api.open_cube(folder / "own.zarr")["SENTINEL2_TS"].to_dataset()
    held = held.sel(x=slice(501360, 502000), y=slice(5629680, 5629040)).load()
    assert (np.diff(held.time.values.astype("int64")) > 0).all()
    np.testing.assert_array_equal(held.time.values.astype("M8[D]"), fine.timestamp.values.astype("M8[D]"))
    np.testing.assert_array_equal(held.x, fine.x)
    classes = coarse.SCL.values.repeat(2, 1).repeat(2, 2)
    full = [(fine if key(band) in fine else coarse)[key(band)].values for band in BANDS]
    planes = np.stack([each if each.shape[-1] == 64 else each.repeat(2, 1).repeat(2, 2) for each in full], 1)
    valid = (planes != 0).all(1) & (classes > 1)
    np.testing.assert_array_equal(held["band_data"].values, np.where(valid[:, None], planes, 0))
    np.testing.assert_array_equal(held.pixel_class.values == PixelClass.NODATA, ~valid)
    np.testing.assert_array_equal(held.pixel_class.values == PixelClass.CLOUD, valid & np.isin(classes, (8, 9, 10)))
    np.testing.assert_array_equal(held.pixel_class.values == PixelClass.SHADOW, valid & (classes == 3))
    assert {"02.06"} == set(held.baselines.values)


@pytest.mark.slow
def test_flanders_is_mapped_one_civil_year_at_a_time(flanders):
    folder, fine, _ = flanders
    torch.manual_seed(4)
    save_file(core(build(find_card("LC-G"), 512)).state_dict(), folder / "weights.safetensors")
    sections = {
        "area": {"bounds": [700500, 7077500, 701000, 7078000]},
        "grid": {"crs": "EPSG:2154"},
        "cube": {"store": "lambert.zarr", "tile": 64, "chunk": 32, "margin_m": 100},
        "model": {"card": "LC-G", "weights": "weights.safetensors", "torch_threads": 1},
        "output": {"store": "map.zarr", "chunk": 16},
        "engine": {"kind": "inline"},
    }
    corner = rasterio.warp.transform("EPSG:32631", "EPSG:2154", [501700], [5629350])
    x, y = corner[0][0], corner[1][0]
    sections["area"] = {"bounds": [x - 150, y - 150, x + 150, y + 150]}
    every = api.Config(**flanders_config(folder, **sections), root=folder)
    assert api.align(every).exit_code == 0
    with pytest.raises(ConfigError, match="2 years, 2017 to 2018"):
        api.run(every)
    one = api.Config(**flanders_config(folder, series={"year": 2018}, **sections), root=folder)
    assert api.run(one).exit_code == 0
    found = api.open_map(folder / "map.zarr").sel(x=slice(x - 140, x + 140), y=slice(y + 140, y - 140)).load()
    assert float(found.x[1] - found.x[0]) == pytest.approx(10.24)
    assert (found.landcover != 255).all()
    assert (found.date_fallback < 3).all()
    assert len(np.unique(found.confidence)) > 1
    days = [str(time)[:4] for time in fine.timestamp.values]
    assert api.check(one).job.inputs["SENTINEL2_TS"].indices == tuple(range(days.count("2018")))


@dataclass(frozen=True, kw_only=True)
class Treesat:
    """One site: its catalog ``items.json`` in ``folder``, and what its files hold."""

    folder: Path
    corner: tuple[float, float]
    held: dict[str, Any]
    radars: dict[str, dict[str, np.ndarray]]
    aerial: Path

    def inputs(self, **settings: Any) -> dict[str, Any]:
        """Sections of the three series."""
        common = {"kind": "stac", "catalog": "items.json", "dates": "2019-01-01/2019-12-31", **settings}
        radars = {"collections": ["sentinel-1-rtc"], "quantity": "gamma0_rtc"}
        return {
            "SENTINEL2_TS": {**common, "cloud_mask": {"source": "probability"}, "collections": ["sentinel-2-l2a"]},
            "SENTINEL1-ASC_TS": {**common, **radars},
            "SENTINEL1-DESC_TS": {**common, **radars},
        }


@pytest.fixture(scope="module")
def treesat(shared, tmp_path_factory) -> Treesat:
    """A catalog of one site of TreeSatAI: every date of Sentinel-2, one slice of each pass of Sentinel-1."""
    folder = tmp_path_factory.mktemp("treesat")
    with rasterio.open(shared(f"{SITE}.tif")) as aerial:
        x, y = ((aerial.bounds[side] + aerial.bounds[side + 2]) / 2 for side in (0, 1))
    corner = (round(x - 30, 1), round(y + 30, 1))
    with h5py.File(shared(f"{SITE}_2019.h5")) as file:
        held = {name: file[name][:] for name in file}
    held["names"] = [name.decode() for name in held["sen-2-products"]]
    items = []
    for name, bands, masks in zip(held["names"], held["sen-2-data"], held["sen-2-masks"], strict=True):
        planes = dict(zip(BANDS, bands.astype(np.uint16), strict=True))
        planes |= {"SNOW": masks[0].astype(np.uint8), "CLOUD": masks[1].astype(np.uint8)}
        item = optical(name[11:19], tile=name[39:44], baseline=name[28:32], box=SITE_BOX)
        items.append(delivered(item, folder / name, planes, corner, "EPSG:25832", lambda band: 10))
    # One slice of each pass: two of them would be woven into one date.
    radars: dict[str, dict[str, np.ndarray]] = {"asc": {}, "des": {}}
    for orbit, passes in radars.items():
        for product, powers in zip(held[f"sen-1-{orbit}-products"], held[f"sen-1-{orbit}-data"], strict=True):
            passes.setdefault(product.decode()[17:25], powers)
        for number, (day, powers) in enumerate(passes.items()):
            state = {"asc": "ascending", "des": "descending"}[orbit]
            item = radar(day, box=SITE_BOX)
            item = with_properties(item, sat__orbit_state=state, sat__absolute_orbit=20000 + number)
            item["id"] = f"{orbit}-{day}"
            planes = dict(zip(("vv", "vh"), powers, strict=True))
            items.append(delivered(item, folder / item["id"], planes, corner, "EPSG:25832", lambda band: 10))
    write_items(folder / "items.json", *items)
    return Treesat(folder=folder, corner=corner, held=held, radars=radars, aerial=shared(f"{SITE}.tif"))


@pytest.mark.slow
def test_treesat_every_sensor_comes_back_as_its_file_holds_it(treesat):
    """On the series' own pixels of 10 m, clouds and snow from their probabilities, orbits as two modalities."""
    folder, (left, top), held = treesat.folder, treesat.corner, treesat.held
    content = {
        "area": {"bounds": [left, top - 60, left + 60, top]},
        "grid": {"crs": "EPSG:25832", "anchor": [str(left), str(top)]},
        "inputs": treesat.inputs(resolution=10),
        "cube": {"store": "own.zarr", "tile": 8, "chunk": 8, "margin_m": 0},
    }
    (folder / "own.yaml").write_text(yaml.safe_dump(content))
    assert api.align(api.load_cube_config(folder / "own.yaml"), engine=InlineEngine()).exit_code == 0
    cube = api.open_cube(folder / "own.zarr")
    optic = cube["SENTINEL2_TS"].to_dataset().isel(x=slice(0, 6), y=slice(0, 6)).load()
    assert [str(day)[:10].replace("-", "") for day in optic.time.values] == [name[11:19] for name in held["names"]]
    np.testing.assert_array_equal(optic["band_data"].values, held["sen-2-data"])
    snow, cloud = held["sen-2-masks"][:, 0], held["sen-2-masks"][:, 1]
    np.testing.assert_array_equal(optic.pixel_class.values == PixelClass.SNOW, snow > 1)
    np.testing.assert_array_equal(optic.pixel_class.values == PixelClass.CLOUD, (cloud > 1) & ~(snow > 1))
    for orbit, modality in (("asc", "SENTINEL1-ASC_TS"), ("des", "SENTINEL1-DESC_TS")):
        waves = cube[modality].to_dataset().isel(x=slice(0, 6), y=slice(0, 6)).load()
        assert [str(day)[:10].replace("-", "") for day in waves.time.values] == sorted(treesat.radars[orbit])
        for day, values, state in zip(
            sorted(treesat.radars[orbit]), waves["band_data"].values, waves.pixel_class.values, strict=True
        ):
            powers = treesat.radars[orbit][day]
            good = np.isfinite(powers).all(0) & (powers > 0).all(0)
            np.testing.assert_array_equal(state == PixelClass.CLEAR, good)
            np.testing.assert_array_equal(values[:, good], powers[:, good])
        assert set(waves.quantity.values) == {"gamma0_rtc"}


@pytest.mark.slow
def test_treesat_is_mapped_by_a_fusion_of_all_sensors(treesat):
    folder, (left, top) = treesat.folder, treesat.corner
    dates = {"filter": {"min_clear_fraction": 0.95}}
    radar_input = {"pixel": 10.24, "quantity": "gamma0_rtc", "bands": {"VV": {}, "VH": {}}, "dates": {}}
    card = write_card(
        folder / "fusion.yaml",
        {"kind": "flair_hub", "encoder": "lcnet_035"},
        window=256,
        overlap=0,
        inputs={
            "AERIAL_RGBI": {"pixel": 0.2, "bands": {name: {"mean": 110, "std": 50} for name in ("NIR", "R", "G")}},
            "SENTINEL2_TS": {"pixel": 10.24, "bands": {name: {"std": 3000} for name in BANDS}, "dates": dates},
            "SENTINEL1-ASC_TS": radar_input,
            "SENTINEL1-DESC_TS": radar_input,
        },
    )
    torch.manual_seed(8)
    save_file(core(build(read_card(card), 256)).state_dict(), folder / "fusion.safetensors")
    order = {"NIR": 1, "G": 2, "R": 3}
    content = {
        "area": {"bounds": [left, top - 60, left + 60, top]},
        "grid": {"crs": "EPSG:25832"},
        "inputs": {
            "AERIAL_RGBI": {
                "kind": "mosaic",
                "crs": "EPSG:25832",  # the image's own datum is unknown
                "bands": {name: {"files": str(treesat.aerial), "band": band} for name, band in order.items()},
            },
            **treesat.inputs(),
        },
        "cube": {"store": "cube.zarr", "tile": 64, "chunk": 32, "margin_m": 60},
        "model": {"card": "fusion.yaml", "weights": "fusion.safetensors", "torch_threads": 1},
        "windows": {"size": 256, "overlap": 0, "blend": "crop"},
        "output": {"store": "map.zarr", "chunk": 256},
        "engine": {"kind": "inline"},
    }
    config = api.Config(**content, root=folder)
    assert api.align(config).exit_code == 0
    assert api.run(config).exit_code == 0
    found = api.open_map(folder / "map.zarr")
    inside = found.sel(x=slice(left + 12, left + 48), y=slice(top - 12, top - 48)).load()
    assert (inside.landcover != 255).all()
    assert (inside.date_fallback < 3).all()
