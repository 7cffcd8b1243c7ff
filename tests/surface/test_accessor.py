"""What a map can do as an xarray object, whole or sliced, stored or computed where it is looked at."""

from dataclasses import replace

import matplotlib as mpl
import numpy as np
import pytest
import rasterio
import xarray as xr
from matplotlib import pyplot as plt

import landweave.surface.accessor  # noqa: F401  registers it
from landweave.core.errors import InputError
from landweave.core.grid import Grid
from landweave.core.legend import Legend
from landweave.core.pyramid import modes
from landweave.store.lazy_array import LazyArray
from landweave.store.maps.views import map_dataset
from tests.store.samples import LEGEND, pixels, template

mpl.use("agg")

TEMPLATE = template(down=3, across=2, block=512, chunk=256)
ARRAYS = pixels(TEMPLATE)
PART = {"y": slice(100, 1200), "x": slice(30, 900)}


@pytest.fixture
def mapped() -> xr.Dataset:
    """A map as it is opened."""
    windows = {"size": 128, "overlap": 32, "blend": "cosine"}
    credits = {"title": "Sample", "license": "Licence Ouverte 2.0", "source": "drawn at random"}
    extent = TEMPLATE.grid.extent
    whole = [extent.y.start, extent.x.start, *extent.shape]
    fields = {"windows": windows, "output": {"block": [512, 512], "pixels": whole, "factor": 1}}
    stored = replace(TEMPLATE, attributes={**credits, "fingerprint_fields": fields})
    arrays = {name: LazyArray(values.shape, np.uint8, values.__getitem__) for name, values in ARRAYS.items()}
    return map_dataset(stored, arrays).load()


def test_legend_and_grid_of_the_whole_and_of_a_part(mapped):
    assert mapped.landweave.legend == LEGEND
    assert mapped.landweave.grid == TEMPLATE.grid
    part = mapped.isel(PART).landweave.grid
    assert part == TEMPLATE.grid.with_extent(part.extent)
    assert part.extent.y.start == TEMPLATE.grid.extent.y.start + 100
    of_array = mapped.landcover.landweave.legend
    assert isinstance(of_array, Legend)
    assert of_array.colors == LEGEND.colors
    assert mapped.landcover.isel(PART).landweave.grid == part
    html = mapped.landweave.legend._repr_html_()
    assert "#1553ae" in html
    assert "impervious surface" in html


def test_a_dataset_that_is_no_map_is_refused():
    with pytest.raises(InputError, match=r"no map: .* legend"):
        _ = xr.Dataset({"a": ("x", [1])}).landweave.legend


def test_a_part_is_a_cog_with_colours_names_and_overviews(mapped, tmp_path):
    part = mapped.isel(PART)
    path = part.landweave.to_cog(tmp_path / "part.tif")
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), part.landcover.values)
        assert file.transform == part.landweave.grid.transform
        assert file.crs.to_epsg() == 2154
        assert file.nodata == 255
        assert {code: file.colormap(1)[code][:3] for code in LEGEND.codes} == LEGEND.colors
        assert file.tags()["CLASS_3"] == "impervious surface"
        assert file.tags()["TIFFTAG_COPYRIGHT"] == "Licence Ouverte 2.0"
        assert file.overviews(1) == [2, 4]
    with rasterio.open(path, overview_level=1) as file:
        np.testing.assert_array_equal(file.read(1), modes(part.landcover.values, 2)[-1])


def test_an_array_of_a_part_too(mapped, tmp_path):
    path = mapped.landcover.isel(PART).landweave.to_cog(tmp_path / "classes.tif")
    with rasterio.open(path) as file:
        assert file.colormap(1)[6][:3] == LEGEND.colors[6]
    path = mapped.isel(PART).landweave.to_cog(tmp_path / "confidence.tif", "confidence")
    with rasterio.open(path) as file:
        np.testing.assert_array_equal(file.read(1), mapped.confidence.isel(PART).values)


def test_the_values_that_are_written_are_those_of_the_object(mapped, tmp_path):
    edited = mapped.assign(landcover=mapped.landcover.where(mapped.confidence > 100, 255).astype("uint8"))
    edited.landcover.attrs = mapped.landcover.attrs
    with rasterio.open(edited.landweave.to_cog(tmp_path / "edited.tif")) as file:
        np.testing.assert_array_equal(file.read(1), edited.landcover.values)


def test_a_map_that_xarray_masked_is_the_same_map(mapped, tmp_path):
    masked = mapped.where(mapped.landcover != 255).isel(PART)
    masked["landcover"].attrs = mapped.landcover.attrs
    assert masked.landcover.dtype.kind == "f"
    assert masked.landweave.scores(mapped.landcover).accuracy == 1
    assert masked.landweave.plot().get_legend() is not None
    plt.close("all")
    with rasterio.open(masked.landweave.to_cog(tmp_path / "masked.tif")) as file:
        np.testing.assert_array_equal(file.read(1), mapped.landcover.isel(PART).values)


def test_confidence_that_xarray_scaled_is_the_same_confidence(mapped, tmp_path):
    decoded = xr.decode_cf(mapped).isel(PART)
    assert float(decoded.confidence.max()) == 1
    with rasterio.open(decoded.landweave.to_cog(tmp_path / "decoded.tif", "confidence")) as file:
        np.testing.assert_array_equal(file.read(1), mapped.confidence.isel(PART).values)
    images = [each.confidence.landweave.plot().images[-1].get_array() for each in (mapped.isel(PART), decoded)]
    np.testing.assert_array_equal(images[0], images[1])
    plt.close("all")
    with pytest.raises(InputError, match="does not say its scale"):
        (decoded.confidence * 1).landweave.to_cog(tmp_path / "halved.tif")


def test_a_picture(mapped, tmp_path):
    path = mapped.isel(PART).landweave.to_picture(tmp_path / "part.png")
    assert path.stat().st_size > 10_000


@pytest.mark.parametrize("layer", ["landcover", "confidence"])
def test_layers_are_drawn_where_they_lie(mapped, layer):
    part = mapped.isel(PART)
    axes = part[layer].landweave.plot()
    x0, y0, x1, y1 = part.landweave.grid.bounds
    assert axes.images[0].get_extent() == pytest.approx([x0, x1, y0, y1])
    plt.close("all")
    _, own = plt.subplots()
    assert part.landweave.plot(ax=own) is own
    assert own.get_legend() is not None
    plt.close("all")


def test_states_of_a_ledger_are_drawn():
    flags = {"flag_values": [0, 1], "flag_meanings": "pending done"}
    state = xr.DataArray(np.eye(3, dtype=np.uint8), dims=("block_y", "block_x"), attrs=flags)
    ledger = xr.Dataset({"state": state}, coords={"block_y": [2.5, 1.5, 0.5], "block_x": [0.5, 1.5, 2.5]})
    assert len(ledger.landweave.plot().get_legend().get_texts()) == 2
    plt.close("all")


def test_scores_are_of_the_pixels_that_both_have(mapped):
    truth = mapped.landcover
    assert mapped.isel(PART).landweave.scores(truth).accuracy == 1
    assert mapped.landcover.landweave.scores(truth.values).accuracy == 1
    wrong = truth.where(truth != 6, 0).astype("uint8")
    found = mapped.landweave.scores(wrong.isel(PART))
    assert 0 < found.accuracy < 1
    assert found.codes == (0, 3, 6)
    assert found.confusion.sum() == np.isin(mapped.landcover.isel(PART), (0, 3, 6)).sum()
    moved = truth.assign_coords(x=truth.x + 5000)
    with pytest.raises(InputError, match="shares no pixel"):
        mapped.landweave.scores(moved)
    with pytest.raises(InputError, match=r"\(1536, 1024\).*\(3, 4\)"):
        mapped.landweave.scores(np.zeros((3, 4), np.uint8))


@pytest.mark.parametrize("plain", [False, True])
def test_truth_that_is_nan_is_left_out(mapped, plain):
    known = mapped.landcover.where(mapped.landcover.y > mapped.y[50])
    truth = known.values if plain else known
    found = mapped.landweave.scores(truth)
    assert found.accuracy == 1
    assert found.confusion.sum() == mapped.isel(y=slice(50)).landweave.scores(mapped.landcover).confusion.sum()


@pytest.mark.parametrize("wrong", [-1, 256, np.inf])
def test_truth_that_is_no_code_is_refused(mapped, wrong):
    truth = mapped.landcover.astype(np.float32 if wrong == np.inf else np.int16)
    truth[3, 4] = wrong
    for given in (truth, truth.values):
        with pytest.raises(InputError, match=rf"{wrong}.*0 to 255"):
            mapped.landweave.scores(given)


def test_seams_are_looked_for_where_windows_and_blocks_end(mapped):
    grid = TEMPLATE.grid
    flat = mapped.assign(landcover=xr.zeros_like(mapped.landcover))
    flat.landcover.values[:] = (np.arange(grid.extent.x.start, grid.extent.x.stop) // 512 % 2)[None] * 6
    seams = flat.landweave.seams()
    assert seams.changes > 0
    assert seams.score > 100
    assert flat.landweave.seams(flat.landcover).score <= seams.score
    part = flat.isel(PART).landweave.seams()
    assert 0 < part.pairs < seams.pairs
    with pytest.raises(InputError, match="windows"):
        flat.assign_attrs(provenance={}).landweave.seams()


def test_a_map_on_another_grid_than_its_own_is_not_one(mapped):
    thin = mapped.isel(y=slice(None, None, 2), x=slice(None, None, 2))
    assert thin.landweave.grid.resolution == 2 * TEMPLATE.grid.resolution
    assert isinstance(thin.landweave.grid, Grid)
