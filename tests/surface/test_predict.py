"""A lazy map of xarray objects has the values that they have, edited or not."""

import numpy as np
import pytest
import rioxarray  # noqa: F401  registers the accessor that a parameter below needs
import torch
import xarray as xr
from safetensors.torch import save_file

from landweave import api
from landweave.aligning.groups import AlignGroup
from landweave.aligning.run import CubeSetup, run_align
from landweave.api import predict
from landweave.core.errors import CardError, ConfigError, InputError
from landweave.core.grid import Grid
from landweave.core.timeseries import DateFallback, Observation, PixelClass
from landweave.models.cards.registry import find_card
from landweave.models.factory import build, core
from landweave.store.objects import Target
from tests.helpers.memory import ArraySeries

SERIES = "SENTINEL2_TS"
GRID = Grid.from_bounds((704000, 6604000, 704400, 6604240), crs="EPSG:2154", resolution=10.24)
BANDS = tuple(find_card("LC-G").inputs[SERIES].bands)
BOX_PIXELS = {"y": slice(4, 18), "x": slice(8, 30)}
BOX = {"y": slice(GRID.y[4], GRID.y[17]), "x": slice(GRID.x[8], GRID.x[29])}


@pytest.fixture(scope="module")
def cube(tmp_path_factory):
    """Sentinel-2 of 2021 over 24 x 40 pixels of 10.24 m, in a cube of 16 px tiles, and weights for LC-G."""
    folder = tmp_path_factory.mktemp("cube")
    random = np.random.default_rng(5)
    observations = tuple(
        Observation(datatake_id=day, time=np.datetime64(f"{day}T10:50:31")) for day in ("2021-03-01", "2021-06-01")
    )
    values = random.integers(1, 4000, (2, 10, *GRID.shape), np.uint16)
    source = ArraySeries(bands=BANDS, grid=GRID, values=values, observations=observations)
    part = AlignGroup(modality=SERIES, source=source, grid=GRID, bands=BANDS, tile=16, chunk=8)
    run_align(CubeSetup(target=Target.parse(folder / "cube.zarr"), groups=(part,)))
    save_file(drawn(core(build(find_card("LC-G"), 512)).state_dict()), folder / "weights.safetensors")
    return folder


def drawn(tensors):
    """Weights under which every input has a say: as they are built, networks answer much the same everywhere."""
    random = torch.Generator().manual_seed(11)
    return {
        name: torch.randn(tensor.shape, generator=random) / tensor[0].numel() ** 0.5 if tensor.ndim > 1 else tensor
        for name, tensor in tensors.items()
    }


@pytest.fixture
def tree(cube) -> xr.DataTree:
    return api.open_cube(cube / "cube.zarr")


@pytest.fixture(scope="module")
def predicted(cube):
    """The map of any tree, by LC-G."""

    def mapped(tree):
        return predict(tree, "LC-G", weights=cube / "weights.safetensors")

    return mapped


@pytest.fixture(scope="module")
def whole(cube, predicted) -> xr.Dataset:
    """The map of the unedited cube, where it is looked at."""
    return predicted(api.open_cube(cube / "cube.zarr")).sel(BOX).load()


def same_pixels(found: xr.Dataset, whole: xr.Dataset) -> xr.Dataset:
    return found.sel(x=whole.x, y=whole.y, method="nearest", tolerance=0.01).load()


def test_values_set_to_zero_give_another_map(tree, predicted, whole):
    series = tree[SERIES].to_dataset()
    tree[SERIES] = xr.DataTree(series.assign(band_data=xr.zeros_like(series.band_data.load())))
    found = same_pixels(predicted(tree), whole)
    assert (found.confidence != whole.confidence).mean() > 0.5


def test_a_replaced_group_gives_another_map(tree, predicted, whole):
    series = tree[SERIES].to_dataset().load()
    mirrored = series.band_data.copy(data=series.band_data[..., ::-1])
    turned = xr.DataTree.from_dict({SERIES: series.assign(band_data=mirrored)})
    found = same_pixels(predicted(turned), whole)
    assert (found.confidence != whole.confidence).mean() > 0.5


def test_where_all_is_cloud_the_clearest_date_is_told(tree, predicted, whole):
    series = tree[SERIES].to_dataset()
    tree[SERIES] = xr.DataTree(series.assign(pixel_class=xr.full_like(series.pixel_class, PixelClass.CLOUD)))
    found = same_pixels(predicted(tree), whole)
    assert (whole.date_fallback == DateFallback.PASSED).any()
    assert (found.date_fallback != DateFallback.PASSED).all()


def test_the_map_of_an_unedited_cube_is_that_of_a_run(cube, whole):
    content = {
        "grid": {"crs": "EPSG:2154"},
        "inputs": {SERIES: {"kind": "cube", "store": "cube.zarr"}},
        "model": {"card": "LC-G", "weights": "weights.safetensors"},
        "output": {"store": "map.zarr", "chunk": 16},
        "engine": {"kind": "inline"},
    }
    api.run(api.Config(**content, root=cube))
    written = api.open_map(cube / "map.zarr")
    for name in ("landcover", "date_fallback", "confidence"):
        same = written[name].sel(x=whole.x, y=whole.y, method="nearest", tolerance=0.01)
        np.testing.assert_array_equal(whole[name].values, same.values)
    assert len(np.unique(whole.landcover)) > 1


def test_the_map_lies_on_the_pixels_of_the_tree(tree, predicted):
    found = predicted(tree)
    np.testing.assert_array_equal(found.x, tree[SERIES].x)
    np.testing.assert_array_equal(found.y, tree[SERIES].y)
    assert found.rio.crs.to_epsg() == 2154
    part = predicted(tree.isel(x=slice(3, 9), y=4))
    np.testing.assert_array_equal(part.x, tree[SERIES].x[3:9])
    assert part.sizes == {"x": 6, "y": 1}


def test_what_was_selected_away_is_not_there(tree, predicted):
    """A slice of the tree has the map that a tree made of these pixels alone has."""
    part = tree.sel(BOX)
    alone = xr.DataTree.from_dict({SERIES: part[SERIES].to_dataset().load().drop_attrs(deep=False)})
    found = predicted(part).load()
    xr.testing.assert_equal(found, predicted(alone).load())
    assert (found.landcover != 255).all()
    one, same = (predicted(part.isel(time=first)).load() for first in (0, [0]))
    xr.testing.assert_equal(one, same)
    assert not one.equals(found)


def test_nothing_is_read_before_a_slice_is_loaded(tree, predicted, monkeypatch):
    reads = []
    original = xr.DataArray.compute
    monkeypatch.setattr(xr.DataArray, "compute", lambda self, **how: reads.append(self.shape) or original(self, **how))
    found = predicted(tree.chunk({"x": 8}))
    assert isinstance(found.isel(BOX_PIXELS), xr.Dataset)
    assert not reads
    found.landcover.isel(x=slice(0, 2), y=0).load()
    reads.clear()  # the sample of the values, and the first slice
    found.landcover.isel(x=slice(4, 6), y=0).load()
    assert len(reads) == 2  # band_data and pixel_class


def test_a_subset_of_the_bands_is_refused(tree, predicted):
    with pytest.raises(CardError, match=r"SENTINEL2_TS lacks B3, B4, .* it has B2"):
        predicted(tree.isel(band=[0]))


def test_a_tree_comes_back_from_netcdf(tree, predicted, whole, tmp_path):
    flat = {SERIES: tree[SERIES].to_dataset().load()}
    xr.DataTree.from_dict(flat).to_netcdf(tmp_path / "cube.nc")
    with xr.open_datatree(tmp_path / "cube.nc") as opened:
        xr.testing.assert_equal(same_pixels(predicted(opened), whole), whole)


def test_arrays_alone_do_too(tree, predicted, whole):
    """An array without the attributes of a cube, with pixel classes as a coordinate."""
    series = tree[SERIES].to_dataset()
    array = series.band_data.assign_coords(pixel_class=series.pixel_class).drop_attrs(deep=False)
    xr.testing.assert_equal(same_pixels(predicted({SERIES: array}), whole), whole)


@pytest.mark.parametrize(
    ("edit", "message"),
    [
        (lambda group: group.rename(band_data="values"), "SENTINEL2_TS has no variable 'band_data': it has .*values"),
        (lambda group: group.drop_vars("band"), "SENTINEL2_TS has no coordinate 'band'"),
        (lambda group: group.drop_vars("spatial_ref"), "SENTINEL2_TS has no CRS"),
        (lambda group: group.drop_vars("time"), "SENTINEL2_TS has no coordinate 'time'"),
        (lambda group: group.drop_vars("pixel_class"), r"SENTINEL2_TS has no variable 'pixel_class' .* xr.full_like"),
        (lambda group: group.drop_vars("x"), "SENTINEL2_TS has no coordinate 'x'"),
        (lambda group: group.isel(time=[]), "SENTINEL2_TS has no date: it has none"),
        (lambda group: group.assign_coords(time=["2021-03-01", "2021-06-01"]), "time of SENTINEL2_TS is <U10"),
        (
            lambda group: group.assign_coords(time=np.array(["2021-03-01", "NaT"], "M8[ns]")),
            "time of SENTINEL2_TS is NaT at 1 of 2 positions",
        ),
        (
            lambda group: group.assign(pixel_class=group.pixel_class.astype(float)),
            "pixel_class of SENTINEL2_TS is float64: .* an integer",
        ),
        (lambda group: group.isel(x=slice(None, None, -1)), r"x runs from 704507 to 703862; x ascends in a raster"),
        (lambda group: group.isel(x=[0, 1, 3]), r"steps of 10\.24 m and of 20\.48 m along x"),
        (lambda group: group.isel(x=slice(None, None, 2)), r"pixels of 10\.24 m along y and 20\.48 m along x"),
        (
            lambda group: group.isel(x=slice(None, None, 2), y=slice(None, None, 2)),
            r"SENTINEL2_TS has pixels of 20\.48 m; LC-G was trained on 10\.24 m",
        ),
        (
            lambda group: group.assign_coords(y=group.y.astype("float32")),
            r"steps of 10 m and of 10\.5 m along y: .* float64",
        ),
        (
            lambda group: group.assign_coords(y=group.y + 0.15 * np.sin(np.arange(48) / 8)),
            r"y\[\d+\] is 660\d+\.\d+, the centre of that pixel of 10\.\d+ m is 660\d+\.\d+",
        ),
    ],
)
def test_what_is_missing_is_named(tree, predicted, edit, message):
    group = edit(tree[SERIES].to_dataset().load())
    with pytest.raises(InputError, match=message):
        predicted({SERIES: group})


def test_a_missing_group_and_a_missing_model_are_named(tree, predicted):
    with pytest.raises(CardError, match=r"(?s)SENTINEL2_TS is missing \(bands B2, .*Inputs there are: none"):
        predicted(xr.DataTree.from_dict({"SENTINEL2": tree[SERIES].to_dataset()}))
    with pytest.raises(CardError, match=r"SPOT_RGBI is missing"):
        predict(tree, "LC-I")
    with pytest.raises(ConfigError, match=r"name the model"):
        predict(tree)


def test_pixel_classes_that_there_are_not_are_refused_when_read(tree, predicted):
    series = tree[SERIES].to_dataset()
    found = predicted({SERIES: series.assign(pixel_class=series.pixel_class + 9)})
    with pytest.raises(InputError, match=r"pixel_class of SENTINEL2_TS has values from 9 to 10"):
        found.landcover.load()


def images(resolution: str, *, x0=704000.0, crs="EPSG:2154", bands=("R", "G", "B", "NIR"), times=()):
    """Pixels of one modality over 1 km2, zeros."""
    grid = Grid.from_bounds((x0, 6604000, x0 + 1000, 6605000), crs="EPSG:2154", resolution=resolution)
    dims = (*(("time",) if times else ()), "band", "y", "x")
    shape = (*((len(times),) if times else ()), len(bands), *grid.shape)
    coords = {"band": list(bands), "y": grid.y, "x": grid.x, **({"time": np.array(times, "M8[ns]")} if times else {})}
    dataset = xr.Dataset({"band_data": (dims, np.broadcast_to(np.uint8(0), shape))}, coords=coords)
    if times:
        dataset["pixel_class"] = ((dims[0], *dims[2:]), np.zeros((len(times), *grid.shape), np.uint8))
    return dataset.rio.write_crs(crs)


def fused(**changes):
    """What the fusion of the demo reads."""
    days = ["2022-06-01"]
    radar = images("10.24", bands=("VV", "VH"), times=days)
    radar["band_data"].attrs["quantity"] = "sigma0"
    return {
        "AERIAL_RGBI": images("0.2"),
        "DEM_ELEV": images("0.2", bands=("NDSM",)),
        "SENTINEL2_TS": images("10.24", bands=BANDS, times=days),
        "SENTINEL1-ASC_TS": radar,
        "SENTINEL1-DESC_TS": radar,
        **changes,
    }


def test_inputs_of_several_pixels_are_mapped_on_the_finest():
    found = predict(fused(), "demo-fusion")
    assert found.sizes == {"y": 5000, "x": 5000}
    part = fused()
    part["AERIAL_RGBI"] = part["AERIAL_RGBI"].isel(x=slice(7, 1030), y=slice(2, 1000))
    found = predict(part, "demo-fusion")
    np.testing.assert_array_equal(found.x, part["AERIAL_RGBI"].x)
    assert found.landweave.grid.extent.x.start == 704000 * 5 + 7


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        (
            {"DEM_ELEV": images("0.4", bands=("NDSM",))},
            InputError,
            r"DEM_ELEV has pixels of 0\.4 m and is to have 0\.2",
        ),
        ({"DEM_ELEV": images("0.2", bands=("NDSM",), crs="EPSG:32631")}, InputError, r"DEM_ELEV is in EPSG:32631"),
        (
            {"DEM_ELEV": images("0.2", bands=("NDSM",)).assign_coords(x=images("0.2").x + 0.05)},
            InputError,
            r"DEM_ELEV is 0\.00 pixels along y and 0\.25 along x off the pixels of SENTINEL2_TS",
        ),
        ({"DEM_ELEV": images("0.2", x0=714000.0, bands=("NDSM",))}, InputError, r"share no ground: AERIAL_RGBI covers"),
        ({"SENTINEL2_TS": images("10.24", bands=BANDS)}, CardError, r"SENTINEL2_TS has no time, and demo-fusion reads"),
        ({"AERIAL_RGBI": images("0.2", times=["2022-06-01"])}, CardError, r"AERIAL_RGBI has dates, and the card wants"),
        (
            {"SENTINEL2_TS": images("10.24", bands=BANDS, times=["2021-06-01", "2022-06-01"])},
            ConfigError,
            r"SENTINEL2_TS has dates of 2 years",
        ),
    ],
)
def test_inputs_that_do_not_fit_each_other_are_refused(change, error, message):
    with pytest.raises(error, match=message):
        predict(fused(**change), "demo-fusion")
