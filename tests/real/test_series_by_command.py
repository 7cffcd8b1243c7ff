"""Real years of Sentinel through the command: catalogs of GeoTIFFs aligned, opened and mapped.

What is stored is compared with the files the data came in, never with what was read from the catalogs.
"""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import torch
import xarray as xr
import yaml
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT
from rasterio.warp import transform_bounds
from safetensors.torch import save_file

from landweave import open_cube
from landweave.core.timeseries import DateFallback, PixelClass
from landweave.models.cards.registry import find_card
from landweave.models.factory import build, core
from tests.helpers.commands import Command, Ended, mosaic
from tests.helpers.networks import write_card
from tests.helpers.real_series import BANDS, COARSE, FINE, Dated, Flanders, Treesat, states_of_classes
from tests.helpers.stored import stored_map

Shared = Callable[[str], Path]


@pytest.fixture
def landweave(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture(scope="module")
def flanders(shared: Shared) -> Flanders:
    return Flanders(folder=shared("data/flanders"))


def chosen(dated: Dated, *years: int, every: int) -> NDArray[np.bool_]:
    """Every so many of the dates of some years."""
    inside = np.isin(dated.times.astype("datetime64[Y]"), [np.datetime64(str(year)) for year in years])
    return inside & (np.cumsum(inside) % every == 0)


def stac(catalog: str, *years: int, **settings: Any) -> dict[str, Any]:
    """An input of all dates of some years."""
    return {"kind": "stac", "catalog": catalog, "dates": f"{min(years)}-01-01/{max(years)}-12-31", **settings}


def write(folder: Path, **sections: Any) -> Path:
    """A configuration in a file, for one process."""
    path = folder / "config.yaml"
    path.write_text(yaml.safe_dump({"engine": {"kind": "inline"}, **sections}, sort_keys=False))
    return path


def done(ended: Ended) -> str:
    """What a command said that ended well."""
    assert ended.code == 0, ended.err + ended.out
    return ended.out


def random_weights(path: Path, card: str) -> str:
    """Weights of a network, drawn wide enough that its answers differ from place to place."""
    generator, described = torch.Generator().manual_seed(5), find_card(card)
    tensors = core(build(described, described.window.size)).state_dict()
    for name, tensor in tensors.items():
        if tensor.ndim > 1 and tensor.is_floating_point():
            spread = 2 / max(tensor[0].numel(), 1) ** 0.5
            tensors[name] = torch.randn(tensor.shape, generator=generator) * spread
    save_file({name: tensor.clone() for name, tensor in tensors.items()}, path)
    return path.name


def stored(cube: xr.DataTree, modality: str) -> tuple[NDArray[np.datetime64], NDArray[Any], NDArray[np.uint8]]:
    """Times, values and states of a modality."""
    group = cube[modality].ds
    return group["time"].values.astype("datetime64[s]"), group["band_data"].values, group["pixel_class"].values


def stacked(dated: Dated, bands: tuple[str, ...]) -> NDArray[Any]:
    """Planes as ``(t, band, y, x)``."""
    return np.stack([dated.planes[band] for band in bands], axis=1)


@pytest.mark.parametrize(
    ("year", "every"), [(2018, 12), *(pytest.param(year, 1, marks=pytest.mark.slow) for year in (2017, 2018))]
)
def test_on_their_own_pixels_the_dates_are_those_of_the_files(
    flanders: Flanders, tmp_path: Path, landweave: Command, year: int, every: int
) -> None:
    optical, radar = chosen(flanders.fine, year, every=every), chosen(flanders.radar, year, every=every)
    flanders.write(tmp_path, optical)
    flanders.write_radar(tmp_path, radar)
    config = write(
        tmp_path,
        area={"bounds": list(flanders.BOUNDS)},
        grid={"crs": flanders.CRS, "anchor": list(flanders.CORNER)},
        inputs={
            "SENTINEL2-FINE_TS": stac("optical.json", year, bands=FINE, resolution=10),
            "SENTINEL2-COARSE_TS": stac("optical.json", year, bands=COARSE, resolution=20),
            "SENTINEL1-ASC_TS": stac("radar.json", year, resolution=20, quantity="sigma0"),
        },
        cube={"store": "cube.zarr", "tile": 64, "chunk": 32, "time_shard": 24, "margin_m": 0},
    )
    assert f"{optical.sum()} new, 0 kept" in done(landweave("align", config, "--plan"))
    assert not (tmp_path / "cube.zarr").exists()
    done(landweave("align", config))

    cube, fine, coarse = open_cube(tmp_path / "cube.zarr"), flanders.fine.part(optical), flanders.coarse.part(optical)
    times, values, state = stored(cube, "SENTINEL2-FINE_TS")
    np.testing.assert_array_equal(times, fine.times)
    np.testing.assert_array_equal(values, stacked(fine, FINE))
    classes = states_of_classes(coarse.planes["SCL"])
    np.testing.assert_array_equal(state, classes.repeat(2, axis=1).repeat(2, axis=2))
    assert len(np.unique(state)) > 2

    times, values, state = stored(cube, "SENTINEL2-COARSE_TS")
    np.testing.assert_array_equal(times, fine.times)
    np.testing.assert_array_equal(values[..., :32, :32], stacked(coarse, COARSE))
    np.testing.assert_array_equal(state[:, :32, :32], classes)
    assert (state[:, 32:] == PixelClass.NOT_ACQUIRED).all()
    assert not values[..., 32:].any()

    times, values, state = stored(cube, "SENTINEL1-ASC_TS")
    sigma = flanders.radar.part(radar)
    np.testing.assert_array_equal(times, sigma.times)
    np.testing.assert_array_equal(values[..., :32, :32], stacked(sigma, ("VV", "VH")))
    assert (state[:, :32, :32] == PixelClass.CLEAR).all()
    assert cube["SENTINEL1-ASC_TS"].ds["orbit_state"].values.tolist() == ["ascending"] * int(radar.sum())
    assert set(cube["SENTINEL2-FINE_TS"].ds["baselines"].values.tolist()) == {"02.06"}
    assert set(cube["SENTINEL2-FINE_TS"].ds["offsets"].values.tolist()) == {"none in 02.06"}


def warped(path: Path, cube: xr.DataTree, modality: str, resampling: Resampling) -> NDArray[np.float64]:
    """A file as GDAL warps it onto the pixels of a cube; NaN where it has none."""
    group = cube[modality].ds
    x, y = group["x"].values, group["y"].values
    side = float((x[-1] - x[0]) / (x.size - 1))
    place = rasterio.Affine(side, 0, x[0] - side / 2, 0, -side, y[0] + side / 2)
    with (
        rasterio.open(path) as dataset,
        WarpedVRT(
            dataset,
            crs="EPSG:2154",
            transform=place,
            width=x.size,
            height=y.size,
            resampling=resampling,
            tolerance=1e-9,
            dtype="float64",
            nodata=-9999,
        ) as view,
    ):
        values = view.read(1)
    return np.where(values == -9999, np.nan, values)


def lambert(flanders: Flanders, inset_m: float = 0) -> tuple[float, float, float, float]:
    """Bounds of the site in Lambert-93, made smaller on every side."""
    x0, y0, x1, y1 = transform_bounds(flanders.CRS, "EPSG:2154", *flanders.BOUNDS)
    return x0 + inset_m, y0 + inset_m, x1 - inset_m, y1 - inset_m


def sentinel_alone(
    flanders: Flanders, folder: Path, *years: int, every: int, inset_m: float = 0, **settings: Any
) -> Path:
    """A configuration for LC-G with random weights, over the site or less."""
    flanders.write(folder, chosen(flanders.fine, *years, every=every))
    return write(
        folder,
        area={"bounds": list(lambert(flanders, inset_m))},
        grid={"crs": "EPSG:2154"},
        inputs={"SENTINEL2_TS": stac("optical.json", *years, **settings)},
        cube={"store": "cube.zarr", "tile": 128, "chunk": 64, "margin_m": 102.4},
        model={"card": "LC-G", "weights": random_weights(folder / "weights.safetensors", "LC-G"), "torch_threads": 1},
        output={"store": "map.zarr", "chunk": 32, "block": 64, "probability": True},
    )


def rungs_by_hand(state: NDArray[np.uint8], size: int, first_yx: tuple[int, int]) -> NDArray[np.uint8]:
    """The worst date_fallback of the windows (half overlapping) that touch each pixel, window after window.

    ``first_yx`` is where the first pixel of ``state`` is counted from the anchor.
    """
    date_fallbacks = np.zeros(state.shape[1:], np.uint8)
    height, width = date_fallbacks.shape
    for top in range(-first_yx[0] % (size // 2), height - size + 1, size // 2):
        for left in range(-first_yx[1] % (size // 2), width - size + 1, size // 2):
            seen = state[:, top : top + size, left : left + size]
            clear, snow = (seen == PixelClass.CLEAR).sum((1, 2)), (seen == PixelClass.SNOW).sum((1, 2))
            held = (seen != PixelClass.NOT_ACQUIRED).sum((1, 2)) - (seen == PixelClass.NODATA).sum((1, 2))
            needed = 0.95 * size**2
            passed = DateFallback.PASSED if (clear >= needed).any() else None
            cloudy = DateFallback.CLOUDY if (held - snow >= needed).any() else None
            worst = DateFallback.CLEAREST if held.any() else DateFallback.ABSENT
            date_fallback = next(each for each in (passed, cloudy, worst) if each is not None)
            here = date_fallbacks[top : top + size, left : left + size]
            np.maximum(here, np.uint8(date_fallback), out=here)
    return date_fallbacks


@pytest.mark.slow
@pytest.mark.parametrize("every", [13, 1])
def test_a_year_becomes_a_map_of_sentinel_alone(
    flanders: Flanders, tmp_path: Path, landweave: Command, every: int
) -> None:
    config = sentinel_alone(flanders, tmp_path, 2018, every=every, year=2018)
    refused = landweave("run", config)
    assert refused.code == 2
    assert "landweave align" in refused.err
    done(landweave("align", config))
    cube = open_cube(tmp_path / "cube.zarr")
    check_warp(flanders, tmp_path, cube, chosen(flanders.fine, 2018, every=every))
    done(landweave("run", config))

    found = stored_map(tmp_path / "map.zarr")
    assert (found.grid.crs, float(found.grid.resolution)) == ("EPSG:2154", 10.24)
    pixels = {name: found.read(name, found.grid.extent) for name in found.arrays}
    inside = shapely.contains_xy(shapely.box(*lambert(flanders)), *np.meshgrid(found.grid.x, found.grid.y))
    seen = cube["SENTINEL2_TS"].ds.sel(x=found.grid.x, y=found.grid.y, method="nearest", tolerance=0.01)
    ever = np.isin(seen["pixel_class"].values, (PixelClass.NOT_ACQUIRED, PixelClass.NODATA)).all(0)
    assert set(np.unique(pixels["landcover"][inside & ~ever])) <= set(found.legend.codes)
    assert (pixels["landcover"][~inside | ever] == 255).all()
    assert inside.sum() > 3600
    assert np.unique(pixels["confidence"][inside & ~ever]).size > 5

    group = cube["SENTINEL2_TS"].ds
    corner_yx = (round(-group["y"].values[0] / 10.24 - 0.5), round(group["x"].values[0] / 10.24 - 0.5))
    by_hand = xr.DataArray(
        rungs_by_hand(group["pixel_class"].values, 10, corner_yx), {"y": group["y"], "x": group["x"]}, ("y", "x")
    ).sel(x=found.grid.x, y=found.grid.y, method="nearest", tolerance=0.01)
    np.testing.assert_array_equal(pixels["date_fallback"][inside & ~ever], by_hand.values[inside & ~ever])
    assert {DateFallback.PASSED, DateFallback.CLEAREST} <= set(np.unique(by_hand.values[inside & ~ever]))


def check_warp(flanders: Flanders, folder: Path, cube: xr.DataTree, dates: NDArray[np.bool_]) -> None:
    """Values and states are GDAL's, to its and our rounding, wherever a pixel lies well inside the site."""
    times, values, state = stored(cube, "SENTINEL2_TS")
    np.testing.assert_array_equal(times, flanders.fine.times[dates])
    group = cube["SENTINEL2_TS"].ds
    within = shapely.contains_xy(
        shapely.box(*lambert(flanders, inset_m=45)), *np.meshgrid(group["x"].values, group["y"].values)
    )
    assert within.sum() > 2500
    products = sorted(path for path in folder.glob("S2A*") if path.is_dir())
    assert len(products) == times.size
    for number in range(0, times.size, 5):
        for channel, band in ((0, "B02"), (6, "B08"), (8, "B11")):
            wanted = warped(products[number] / f"{band}.tif", cube, "SENTINEL2_TS", Resampling.bilinear)
            off = np.abs(values[number, channel][within] - wanted[within])
            assert off.max() <= 1
        classes = warped(products[number] / "SCL.tif", cube, "SENTINEL2_TS", Resampling.nearest)
        assert (state[number][within] == states_of_classes(classes[within].astype(np.uint8))).mean() > 0.999


@pytest.mark.slow
def test_one_civil_year_is_mapped_at_a_time(flanders: Flanders, tmp_path: Path, landweave: Command) -> None:
    """Of two years none is taken unasked; the aerial campaign's year, told window by window, gives the maps of each."""
    config = sentinel_alone(flanders, tmp_path, 2017, 2018, every=13, inset_m=160)
    done(landweave("align", config))
    refused = landweave("run", config)
    assert refused.code == 2
    assert "2 years, 2017 to 2018" in refused.err
    assert "year" in refused.err
    assert not (tmp_path / "map.zarr").exists()

    x0, y0, x1, y1 = lambert(flanders, inset_m=160)
    middle = (x0 + x1) / 2
    strips = [shapely.box(x0, y0, middle, y1), shapely.box(middle, y0, x1, y1)]
    flown = geopandas.GeoDataFrame({"flown": ["2017-06-30", "2018-07-14"]}, geometry=strips, crs="EPSG:2154")
    flown.to_file(tmp_path / "graph.gpkg")
    years = {"both": "{file: graph.gpkg, column: flown}", "2017": "2017", "2018": "2018"}
    maps = {}
    for name, year in years.items():
        done(
            landweave("run", config, "--set", f"inputs.SENTINEL2_TS.year={year}", "--set", f"output.store={name}.zarr")
        )
        maps[name] = stored_map(tmp_path / f"{name}.zarr")
    grid = maps["both"].grid
    columns = grid.x[None, :] + np.zeros((grid.shape[0], 1))
    read = {name: found.read("probability", grid.extent) for name, found in maps.items()}
    mapped = maps["both"].read("landcover", grid.extent) != 255
    assert (read["2017"] != read["2018"]).any(0)[mapped].mean() > 0.2
    for name, ours in (("2017", columns < middle - 60), ("2018", columns > middle + 60)):
        np.testing.assert_array_equal(read["both"][:, ours], read[name][:, ours])


SITES = (
    "Betula_spec._1_15679_WEFL_NLF",
    "Betula_spec._5_17172_WEFL_NLF",
    "Quercus_robur_3_86918_WEFL_NLF",
    "Quercus_robur_7_85750_WEFL_NLF",
)


@pytest.fixture
def treesat(shared: Shared, request: pytest.FixtureRequest) -> Treesat:
    name, dates = request.param
    return Treesat(folder=shared("data/treesat"), name=name, dates=dates)


def first_valid(site: Treesat, satellite: str) -> tuple[list[str], NDArray[np.float32], NDArray[np.bool_]]:
    """For each orbit, in the order of time: its number, values and where they are measured, the first frame on top."""
    values, frames = site.stored(f"{satellite}-data"), {}
    for product, pixels in sorted(zip(site.products(satellite), values, strict=True), key=lambda pair: pair[0]):
        frames.setdefault(product.split("_")[6], []).append((product, pixels))
    merged = []
    for orbit, group in frames.items():
        answer, held = np.zeros((2, 6, 6), np.float32), np.zeros((6, 6), bool)
        for _, pixels in group:
            good = (np.isfinite(pixels) & (pixels > 0)).all(0) & ~held
            answer[:, good], held = pixels[:, good], held | good
        merged.append((min(name.split("_")[4] for name, _ in group), orbit, answer, held))
    merged.sort(key=lambda each: each[0])
    _, orbits, answers, helds = zip(*merged, strict=True)
    return list(orbits), np.stack(answers), np.stack(helds)


def radar_inputs(year: int, **settings: Any) -> dict[str, Any]:
    return {name: stac("radar.json", year, **settings) for name in ("SENTINEL1-ASC_TS", "SENTINEL1-DESC_TS")}


@pytest.mark.parametrize(
    ("treesat", "bands"),
    [
        pytest.param((SITES[0], slice(36)), ("B4", "B8"), marks=pytest.mark.slow),
        *(pytest.param((name, slice(None)), BANDS, marks=pytest.mark.slow) for name in SITES),
    ],
    indirect=["treesat"],
)
def test_a_site_on_its_own_pixels_is_that_of_its_file(
    treesat: Treesat, bands: tuple[str, ...], tmp_path: Path, landweave: Command
) -> None:
    """States from probabilities; double frames of a pass are one date; what is zero or not finite is nodata."""
    treesat.write(tmp_path, bands)
    treesat.write_radar(tmp_path)
    clouds = {"source": "probability", "cloud_max": 1, "snow_max": 1}
    config = write(
        tmp_path,
        area={"bounds": list(treesat.bounds)},
        grid={"crs": treesat.CRS, "anchor": list(treesat.corner)},
        inputs={
            "SENTINEL2_TS": stac("optical.json", treesat.year, bands=bands, resolution=10, cloud_mask=clouds),
            **radar_inputs(treesat.year, resolution=10),
        },
        cube={"store": "cube.zarr", "tile": 6, "chunk": 6, "margin_m": 0},
    )
    done(landweave("align", config))
    cube = open_cube(tmp_path / "cube.zarr")

    times, values, state = stored(cube, "SENTINEL2_TS")
    days = [product.split("_")[2] for product in treesat.products("sen-2")]
    assert [str(time).translate({45: None, 58: None}) for time in times] == days
    wanted = treesat.stored("sen-2-data")[:, [BANDS.index(band) for band in bands]]
    np.testing.assert_array_equal(values, wanted)
    snow, cloud = treesat.stored("sen-2-masks").swapaxes(0, 1)
    by_hand = np.where(snow > 1, PixelClass.SNOW, np.where(cloud > 1, PixelClass.CLOUD, PixelClass.CLEAR))
    np.testing.assert_array_equal(state, by_hand)
    assert len(np.unique(state)) > 1
    baselines = [f"{name[28:30]}.{name[30:32]}" for name in treesat.products("sen-2")]
    assert cube["SENTINEL2_TS"].ds["baselines"].values.tolist() == baselines

    for modality, satellite in (("SENTINEL1-ASC_TS", "sen-1-asc"), ("SENTINEL1-DESC_TS", "sen-1-des")):
        orbits, power, held = first_valid(treesat, satellite)
        _, values, state = stored(cube, modality)
        assert [key.split("_")[1][1:] for key in cube[modality].ds["datatake_id"].values] == orbits
        np.testing.assert_array_equal(state, np.where(held, PixelClass.CLEAR, PixelClass.NODATA))
        np.testing.assert_array_equal(values, np.where(held[:, None], power, 0))


def fusion(folder: Path) -> Path:
    """A card over an aerial image and three series, with a small encoder; its weights beside it."""
    clear = {"filter": {"min_clear_fraction": 0.95}}
    radar = {"VV": {"mean": 0.1, "std": 0.1}, "VH": {"mean": 0.03, "std": 0.03}}
    optical = {name: {"mean": 3000, "std": 2000} for name in ("B4", "B8")}
    arguments = {"encoder_name": "tu-test_resnet", "encoder_depth": 3, "decoder_channels": [16, 16, 8]}
    architecture = {"name": "Unet", "arguments": arguments}
    series = {"widths": [16, 16], "heads": 2, "model_width": 16, "map_width": 8}
    card = write_card(
        folder / "fusion.yaml",
        {"kind": "unet_utae", **architecture, "stages": [2, 3], "series": series},
        window=256,
        overlap=0,
        inputs={
            "AERIAL_RGBI": {"pixel": 0.2, "bands": {name: {"mean": 110, "std": 50} for name in ("NIR", "R", "G")}},
            "SENTINEL2_TS": {"pixel": 10.24, "bands": optical, "dates": clear},
            "SENTINEL1-ASC_TS": {"pixel": 10.24, "bands": radar, "dates": {}, "quantity": "sigma0"},
            "SENTINEL1-DESC_TS": {"pixel": 10.24, "bands": radar, "dates": {}, "quantity": "sigma0"},
        },
    )
    random_weights(folder / "fusion.safetensors", str(card))
    return card


@pytest.mark.parametrize(
    "treesat",
    [(SITES[0], slice(None, None, 8)), *(pytest.param((name, slice(None)), marks=pytest.mark.slow) for name in SITES)],
    indirect=True,
)
def test_a_site_is_mapped_from_its_image_and_a_year_of_both_satellites(
    treesat: Treesat, tmp_path: Path, landweave: Command
) -> None:
    """The image lies in ETRS89, the scenes in WGS84; a window of 51.2 m at the site's edge is clear only in part."""
    treesat.write(tmp_path, ("B4", "B8"))
    treesat.write_radar(tmp_path)
    fusion(tmp_path)
    image = str(treesat.image)
    config = write(
        tmp_path,
        grid={"crs": "EPSG:25832"},
        inputs={
            # The image states a datum that is "Unknown based on GRS80 ellipsoid".
            "AERIAL_RGBI": {**mosaic(NIR=(image, 1), G=(image, 2), R=(image, 4)), "crs": "EPSG:25832"},
            "SENTINEL2_TS": stac("optical.json", treesat.year, cloud_mask={"source": "probability"}),
            **radar_inputs(treesat.year),
        },
        cube={"store": "cube.zarr", "tile": 32, "chunk": 32, "margin_m": 102.4},
        model={"card": "fusion.yaml", "weights": "fusion.safetensors", "torch_threads": 1},
        output={"store": "map.zarr", "chunk": 256, "block": 256, "probability": True, "cog": "map.tif"},
    )
    done(landweave("align", config))
    again = done(landweave("align", config, "--plan"))
    assert again.count("dates            0 new,") == 3
    checked = done(landweave("check", config))
    assert all(name in checked for name in ("AERIAL_RGBI", "SENTINEL2_TS", "SENTINEL1-ASC_TS", "SENTINEL1-DESC_TS"))
    done(landweave("run", config))

    found = stored_map(tmp_path / "map.zarr")
    read = {name: found.read(name, found.grid.extent) for name in ("landcover", "date_fallback", "confidence")}
    mapped = read["landcover"] != 255
    with rasterio.open(treesat.image) as dataset:
        ground = shapely.box(*dataset.bounds)
    inside = shapely.contains_xy(ground.buffer(-0.3), *np.meshgrid(found.grid.x, found.grid.y))
    seen = inside.copy()
    cube = open_cube(tmp_path / "cube.zarr")
    for name in ("SENTINEL2_TS", "SENTINEL1-ASC_TS", "SENTINEL1-DESC_TS"):
        states = cube[name].ds["pixel_class"]
        measured = ~states.isin((PixelClass.NOT_ACQUIRED, PixelClass.NODATA)).all("time")
        seen &= measured.sel(x=found.grid.x, y=found.grid.y, method="nearest").values
    assert seen.sum() > 250**2
    np.testing.assert_array_equal(mapped[inside], seen[inside])
    assert set(np.unique(read["landcover"][mapped])) <= set(found.legend.codes)
    assert set(np.unique(read["date_fallback"][mapped])) <= {
        DateFallback.PASSED,
        DateFallback.CLOUDY,
        DateFallback.CLEAREST,
    }
    assert np.unique(read["confidence"][mapped]).size > 20
    with rasterio.open(tmp_path / "map.tif") as cog:
        assert cog.crs.to_epsg() == 25832
        np.testing.assert_array_equal(np.unique(cog.read(1)), np.unique(read["landcover"]))
