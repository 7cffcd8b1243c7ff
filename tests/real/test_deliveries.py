"""Real tiles mapped by the command from the example configurations, beside rasterio's own view of the same ground.

The network is linear in the bands of a pixel, so its answer can be had from rasterio and numpy alone; sources, windows,
blending, stores and the COG all stand between the two.
"""

import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import geopandas
import numpy as np
import pytest
import rasterio
import shapely
import xarray as xr
import yaml
from numpy.typing import NDArray
from rasterio.enums import Resampling
from rasterio.vrt import WarpedVRT

from landweave import load_config
from landweave.core.legend import NODATA
from tests.helpers.commands import ROOT, Command
from tests.helpers.networks import write_card, write_pointwise

EXAMPLES = ROOT / "configs" / "examples"
WINDOW, BATCH = 128, 4

Shared = Callable[[str], Path]
Planes = dict[str, NDArray[np.float64]]


@dataclass(frozen=True, kw_only=True)
class Rule:
    """Logits that are linear in the bands: ``{class: ({band: weight}, bias)}``; class 0 has none."""

    inputs: Mapping[str, tuple[str, ...]]
    rows: tuple[tuple[Mapping[str, float], float], ...]

    @property
    def bands(self) -> tuple[str, ...]:
        return tuple(name for names in self.inputs.values() for name in names)

    def write(self, folder: Path) -> tuple[Path, Path]:
        """Card and program."""
        spec = {
            modality: {"pixel": 0.2, "bands": {name: {"mean": 100, "std": 50} for name in names}}
            for modality, names in self.inputs.items()
        }
        legend = {"name": "rule", "classes": [_class(code) for code in range(1 + len(self.rows))]}
        card = write_card(
            folder / "card.yaml",
            {"kind": "exported"},
            window=WINDOW,
            overlap=32,
            inputs=spec,
            outputs={"LABEL": {"legend": legend, "pixel": 0.2}},
            numerics={"batch": BATCH},
        )
        # The program sees (value - 100) / 50.
        matrix = np.array(
            [[0.0] * len(self.bands)] + [[row.get(b, 0) * 50 for b in self.bands] for row, _ in self.rows]
        )
        biases = [0.0] + [bias + 100 * sum(row.values()) for row, bias in self.rows]
        shape = (BATCH, len(self.bands), WINDOW, WINDOW)
        return card, write_pointwise(folder / "rule.pt2", weights=matrix, biases=biases, shape_nchw=shape)

    def answer(self, planes: Planes) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
        """Class of every pixel, and how far its logit is above the second."""
        logits = [np.zeros_like(next(iter(planes.values())))]
        logits += [bias + sum(weight * planes[band] for band, weight in row.items()) for row, bias in self.rows]
        ordered = np.sort(np.stack(logits), axis=0)
        return np.stack(logits).argmax(0).astype(np.uint8), ordered[-1] - ordered[-2]


def _class(code: int) -> dict[str, Any]:
    return {"code": code, "name": f"class {code}", "color": f"#{60 * code:02x}8060"}


VEGETATION = ({"NIR": 0.8 / 8, "R": -1.2 / 8}, 0.0)
"""NDVI above 0.2, as a line: 0.8 NIR > 1.2 R."""

RGBI = Rule(
    inputs={"AERIAL_RGBI": ("R", "G", "B", "NIR")},
    rows=(VEGETATION, ({"R": 0.05, "G": 0.05, "B": 0.05}, -22.0)),
)
HEIGHT = Rule(
    inputs={"AERIAL_RGBI": ("R", "G", "B", "NIR"), "DEM_ELEV": ("NDSM",)},
    rows=(VEGETATION, ({"NDSM": 2.0}, -6.0)),
)
COLOUR = Rule(inputs={"AERIAL_RGBI": ("R", "G", "B")}, rows=(({"G": 0.3, "R": -0.3}, 0.1), ({"B": 0.1}, -14.0)))


@pytest.fixture
def landweave(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Command:
    return Command(monkeypatch, capsys)


@pytest.fixture
def project(tmp_path: Path, shared: Shared) -> Callable[..., Path]:
    """A folder with an example configuration, its data under the names it uses, and a card and program."""

    def make(example: str, rule: Rule, data: Mapping[str, str]) -> Path:
        for name, real in data.items():
            place = tmp_path / name
            place.parent.mkdir(parents=True, exist_ok=True)
            place.symlink_to(shared(f"data/{real}"))
        rule.write(tmp_path)
        return Path(shutil.copy(EXAMPLES / example, tmp_path))

    return make


def settings(**values: Any) -> list[str]:
    """What is told beside the example: the model of this test, small blocks, no processes."""
    fixed = {"model.weights": "rule.pt2", "model.card": "card.yaml", "output.chunk": 64, "output.block": 128}
    chosen = {**fixed, "engine": "{kind: inline}", "windows.size": WINDOW, "windows.overlap": 32}
    chosen.update({key.replace("__", "."): value for key, value in values.items()})
    return [part for key, value in chosen.items() for part in ("--set", f"{key}={value}")]


def map_of(folder: Path) -> tuple[NDArray[np.uint8], Any]:
    """The COG's classes with its profile; the Zarr's are the same, on the same pixels, and nothing around them."""
    with rasterio.open(folder / "landcover.tif") as cog:
        classes, profile = cog.read(1), cog.profile
    stored = xr.open_zarr(folder / "landcover.zarr", group="map/0", chunks=None, mask_and_scale=False)["landcover"]
    inside = stored_in(stored, profile)
    np.testing.assert_array_equal(stored.values[inside], classes)
    around = np.ones(stored.shape, bool)
    around[inside] = False
    assert (stored.values[around] == 255).all()
    return classes, profile


def stored_in(stored: xr.DataArray, profile: Any) -> tuple[slice, slice]:
    """Rows and columns of a stored map under a raster."""
    column, row = ~profile["transform"] @ (float(stored.x[0]), float(stored.y[0]))
    top, left = (-round(offset - 0.5) for offset in (row, column))
    return slice(top, top + profile["height"]), slice(left, left + profile["width"])


def pasted(path: Path, band: int, profile: Any) -> NDArray[np.float64]:
    """A band as rasterio reads it on the map's pixels, which are its own; NaN where it has none."""
    with rasterio.open(path) as dataset:
        left, top = ~dataset.transform @ (profile["transform"].c, profile["transform"].f)
        row, column = round(top), round(left)
        assert max(abs(top - row), abs(left - column)) < 0.05
        window = rasterio.windows.Window(column, row, profile["width"], profile["height"])
        values = dataset.read(band, window=window, boundless=True, fill_value=0).astype(np.float64)
        rows, columns = np.indices(values.shape)
        covered = (rows + row >= 0) & (rows + row < dataset.height) & (columns + column >= 0)
        covered &= columns + column < dataset.width
    return np.where(covered, values, np.nan)


def warped(path: Path, band: int, profile: Any) -> NDArray[np.float64]:
    """A band as GDAL warps it onto the map's pixels, bilinear; NaN where it has none."""
    with (
        rasterio.open(path) as dataset,
        WarpedVRT(
            dataset,
            crs=profile["crs"],
            transform=profile["transform"],
            width=profile["width"],
            height=profile["height"],
            resampling=Resampling.bilinear,
            tolerance=1e-9,
            dtype="float32",
            nodata=-9999,
        ) as view,
    ):
        values = view.read(band).astype(np.float64)
    return np.where(values == -9999, np.nan, values)


def assert_maps(classes: NDArray[np.uint8], planes: Planes, rule: Rule, *, margin: float, unsure: float) -> None:
    """``classes`` are those of the rule, wherever its answer is clear by ``margin``."""
    covered = np.logical_and.reduce([np.isfinite(plane) for plane in planes.values()])
    expected, clear = rule.answer({name: np.nan_to_num(plane) for name, plane in planes.items()})
    sure = covered & (clear > margin)
    assert covered.sum() > 30_000
    assert sure.sum() > (1 - unsure) * covered.sum()
    assert np.bincount(expected[sure], minlength=3).min() > 20
    np.testing.assert_array_equal(classes[sure], expected[sure])
    assert (classes[covered] != NODATA).all()


def test_every_example_is_a_configuration() -> None:
    names = {path.name for path in EXAMPLES.glob("*.yaml")}
    assert names == {"bd-ortho.yaml", "ortho-lidar.yaml", "naip.yaml", "colour-only.yaml"}
    for name in names:
        assert load_config(EXAMPLES / name).output.store == "landcover.zarr"


def test_bd_ortho(project: Callable[..., Path], landweave: Command, shared: Shared) -> None:
    """Two tiles whose pixels are 0.19988 m and 0.19972 m high: the whole delivery is resampled."""
    config = project("bd-ortho.yaml", RGBI, {"rvb": "bd_ortho/rgb", "irc": "bd_ortho/irc"})
    told = [*settings(output__picture="null"), "--set", "area=null"]
    checked = landweave("check", config, *told)
    assert checked.code == 0, checked.err
    assert re.search(r"^AERIAL_RGBI .*; tiles: 2; files: 4;.*; alignment: resample;", checked.out, re.MULTILINE)
    assert "0.2 x 0.1997166" in checked.out
    ran = landweave("run", config, *told)
    assert ran.code == 0, ran.err

    classes, profile = map_of(config.parent)
    assert profile["crs"].to_epsg() == 2154
    planes: Planes = {}
    for name, folder, band in (("R", "rgb", 1), ("G", "rgb", 2), ("B", "rgb", 3), ("NIR", "irc", 1)):
        tiles = sorted(shared(f"data/bd_ortho/{folder}").glob("*.tiff"))
        first, second = (warped(tile, band, profile) for tile in tiles)
        planes[name] = np.where(np.isfinite(first), first, second)
    rows = _rows_beside(profile, 6271221.0, 6271270.97, 6271171.67)
    inner = {name: np.where(rows[:, None], np.nan, plane) for name, plane in planes.items()}
    # Ours are rounded to whole grey levels, GDAL's here are not.
    assert_maps(classes, inner, RGBI, margin=0.3, unsure=0.2)


def _rows_beside(profile: Any, *northings: float) -> NDArray[np.bool_]:
    """Rows within two pixels of an edge of a tile, where kernels may differ."""
    centres = profile["transform"].f - 0.2 * (np.arange(profile["height"]) + 0.5)
    return np.logical_or.reduce([np.abs(centres - northing) < 0.4 for northing in northings])


def test_bd_ortho_by_its_vrt_within_an_area(project: Callable[..., Path], landweave: Command, shared: Shared) -> None:
    """The files that a VRT lists are read, and an area from a vector file limits what is written."""
    folders = {"rvb": "bd_ortho/rgb", "irc": "bd_ortho/irc"}
    config = project("bd-ortho.yaml", RGBI, folders)
    x, y = 792025.0, 6271222.0
    triangle = shapely.Polygon([(x - 20, y - 20), (x + 20, y - 15), (x, y + 25)])
    frame = geopandas.GeoDataFrame({"insee": ["30189"]}, geometry=[triangle], crs=2154).to_crs(4326)
    frame.to_file(config.parent / "communes.gpkg")
    names = {"R": "rvb", "G": "rvb", "B": "rvb", "NIR": "irc"}
    by_vrt = {f"inputs__AERIAL_RGBI__bands__{band}__files": f"{name}/D30-2021.vrt" for band, name in names.items()}
    ran = landweave("run", config, *settings(output__picture="null", **by_vrt))
    assert ran.code == 0, ran.err
    part, profile = map_of(config.parent)
    told = settings(output__picture="null", output__store="whole.zarr", output__cog="null")
    assert landweave("run", config, *told, "--set", "area=null").code == 0
    whole = xr.open_zarr(config.parent / "whole.zarr", group="map/0", chunks=None, mask_and_scale=False)["landcover"]
    rows, columns = np.indices(part.shape)
    transform = profile["transform"]
    inside = shapely.contains_xy(triangle, transform.c + 0.2 * (columns + 0.5), transform.f - 0.2 * (rows + 0.5))
    assert 0.05 < inside.mean() < 0.6
    xs = transform.c + 0.2 * (np.arange(part.shape[1]) + 0.5)
    ys = transform.f - 0.2 * (np.arange(part.shape[0]) + 0.5)
    same = whole.reindex(x=xs, y=ys, method="nearest", tolerance=0.01, fill_value=NODATA).values
    near_edge = (
        shapely.distance(
            triangle.exterior, shapely.points(transform.c + 0.2 * (columns + 0.5), transform.f - 0.2 * (rows + 0.5))
        )
        < 0.01
    )  # the polygon went through degrees and back
    expected = np.where(inside, same, NODATA)
    np.testing.assert_array_equal(part[~near_edge], expected[~near_edge])


def test_ortho_with_heights(project: Callable[..., Path], landweave: Command, shared: Shared) -> None:
    """A malformed CRS text is replaced by the setting; heights of 0.5 m come onto the imagery's pixels."""
    data = {"ortho/rvb.tif": "ortho_lidar/test_data_rgb.tif", "ortho/irc.tif": "ortho_lidar/test_data_irc.tif"}
    data |= {"dsm.tif": "ortho_lidar/dsm.tif", "dtm.tif": "ortho_lidar/dtm.tif"}
    config = project("ortho-lidar.yaml", HEIGHT, data)
    told = settings(model__coding="null")
    checked = landweave("check", config, *told)
    assert checked.code == 0, checked.err
    assert "2 of 2 files take EPSG:2154 from the setting" in checked.out
    assert re.search(r"^AERIAL_RGBI .*; alignment: paste;", checked.out, re.MULTILINE)
    refused = landweave("run", config, *told, "--set", "inputs.AERIAL_RGBI.crs=null")
    assert refused.code == 2
    assert "set `crs`" in refused.err
    ran = landweave("run", config, *told)
    assert ran.code == 0, ran.err

    classes, profile = map_of(config.parent)
    folder = shared("data/ortho_lidar")
    planes = {name: pasted(folder / "test_data_rgb.tif", i + 1, profile) for i, name in enumerate("RGB")}
    planes["NIR"] = pasted(folder / "test_data_irc.tif", 1, profile)
    planes["NDSM"] = warped(folder / "dsm.tif", 1, profile) - warped(folder / "dtm.tif", 1, profile)
    infrared = [pasted(folder / "test_data_irc.tif", number, profile) for number in (1, 2, 3)]
    # Both files are tagged 255, which all bands of one of them hold where it has no data.
    files = [[planes[name] for name in "RGB"], infrared]
    blank = np.logical_or.reduce([np.logical_and.reduce([plane == 255 for plane in each]) for each in files])
    planes["R"] = np.where(blank, np.nan, planes["R"])
    edge = np.isnan(planes["NDSM"])
    for axis, step in ((0, 1), (0, -1), (1, 1), (1, -1)):
        edge |= np.roll(edge, step, axis)
    planes["NDSM"] = np.where(edge, np.nan, planes["NDSM"])
    assert_maps(classes, planes, HEIGHT, margin=0.02, unsure=0.1)


def test_naip(project: Callable[..., Path], landweave: Command, shared: Shared) -> None:
    """One file a band, mapped on its own pixels: every pixel is the rule's."""
    data = {f"naip/{name}.tif": f"naip/NAIP-VA-b{i}.tiff" for i, name in enumerate(("red", "green", "blue", "nir"), 1)}
    config = project("naip.yaml", RGBI, data)
    ran = landweave("run", config, *settings())
    assert ran.code == 0, ran.err
    classes, profile = map_of(config.parent)
    assert (profile["crs"].to_epsg(), profile["transform"].a) == (26917, 1.0)
    names = ("R", "G", "B", "NIR")
    planes = {name: pasted(shared(f"data/naip/NAIP-VA-b{i}.tiff"), 1, profile) for i, name in enumerate(names, 1)}
    blank = np.logical_and.reduce([planes[name] == 255 for name in names])
    planes["R"] = np.where(blank, np.nan, planes["R"])
    assert_maps(classes, planes, RGBI, margin=1e-3, unsure=0.01)
    beyond = np.logical_or.reduce([np.isnan(plane) for plane in planes.values()])
    assert (classes[beyond] == NODATA).all()


@pytest.mark.slow
def test_massachusetts(project: Callable[..., Path], landweave: Command, shared: Shared) -> None:
    """Pixels of 0.99904 m on a grid of their own: nothing is resampled."""
    config = project("colour-only.yaml", COLOUR, {"ortho.tif": "massachusetts/22978945_15.tif"})
    told = settings(output__block=512, output__chunk=256)
    checked = landweave("check", config, *told)
    assert checked.code == 0, checked.err
    assert re.search(r"^AERIAL_RGBI .*; alignment: paste;", checked.out, re.MULTILINE)
    ran = landweave("run", config, *told)
    assert ran.code == 0, ran.err
    classes, profile = map_of(config.parent)
    assert profile["crs"].to_epsg() == 26986
    assert profile["transform"].a == pytest.approx(0.9990435, abs=1e-5)  # off by 0.004 px at the far end
    path = shared("data/massachusetts/22978945_15.tif")
    planes = {name: pasted(path, i + 1, profile) for i, name in enumerate("RGB")}
    blank = np.logical_and.reduce([planes[name] == 255 for name in "RGB"])
    planes["R"] = np.where(blank, np.nan, planes["R"])
    assert_maps(classes, planes, COLOUR, margin=1e-3, unsure=0.01)


def test_wrong_settings_for_real_tiles_are_refused(project: Callable[..., Path], landweave: Command) -> None:
    config = project("colour-only.yaml", COLOUR, {"ortho.tif": "massachusetts/22978945_15.tif"})
    content = yaml.safe_load(config.read_text())
    del content["model"]["pixel"]
    config.write_text(yaml.safe_dump(content))
    ended = landweave("run", config, *settings())
    assert ended.code == 2
    assert "0.999" in ended.err
    assert "model.pixel" in ended.err
    assert not (config.parent / "landcover.zarr").exists()
