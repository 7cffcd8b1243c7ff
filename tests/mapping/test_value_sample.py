"""Inputs that are not what the model was trained on: refused by check and run, with the key that decides."""

import json
from pathlib import Path

import numpy as np
import pytest
import rasterio

from landweave import api
from landweave.core.errors import InputError
from landweave.mapping.value_sample import SIDE, WINDOWS, sampled_windows
from landweave.setup.map_setup import set_up_map
from landweave.surface.mosaic import open_mosaic
from tests.helpers.commands import RGBI_FILES
from tests.helpers.networks import unet, write_card, write_weights
from tests.helpers.small import Small
from tests.helpers.small_series import SmallSeries
from tests.helpers.tiles import write_tile


@pytest.fixture
def small(tmp_path: Path) -> Small:
    return Small.make(tmp_path)


def rewrite(folder: Path, change, **profile) -> None:
    """Every tile of a small scene, its values changed."""
    for path in [*folder.glob("rgb/*.tif"), *folder.glob("irc/*.tif")]:
        with rasterio.open(path) as dataset:
            values, before = dataset.read(), dataset.profile
        values = change(values.astype(float))
        with rasterio.open(path, "w", **{**before, "dtype": values.dtype, **profile}) as dataset:
            dataset.write(values)


WRONG = {
    "16 bits": lambda values: (values * 257).astype("uint16"),
    "12 bits": lambda values: (values * 16).astype("uint16"),
    "signed": lambda values: (values * 20 - 2000).astype("int16"),
    "0 to 1": lambda values: (values / 255).astype("float32"),
}


@pytest.mark.parametrize("name", WRONG)
def test_other_numbers_are_refused_before_anything_is_written(small: Small, name: str) -> None:
    rewrite(small.folder, WRONG[name])
    config = small.loaded()
    api.plan_map(config)
    for refuse in (api.check, api.run):
        with pytest.raises(InputError, match=r"(?s)AERIAL_RGBI: .*inputs\.AERIAL_RGBI\.accept_range: true"):
            refuse(config)
    assert not small.store.exists()
    with pytest.raises(InputError, match="AERIAL_RGBI"):
        api.predict(config).landcover.isel(x=slice(0, 4), y=slice(0, 4)).load()


def test_what_is_accepted_is_mapped_and_told(small: Small) -> None:
    rewrite(small.folder, WRONG["12 bits"])
    config = small.loaded(inputs={"AERIAL_RGBI": {**RGBI_FILES, "accept_range": True}})
    assert any("lie outside 0 to 255" in note for note in api.check(config).notes)
    result = api.run(config)
    assert result.exit_code == 0
    assert any("lie outside 0 to 255" in note for note in result.notes)


def test_the_sample_of_every_band_is_shown_beside_the_training(small: Small) -> None:
    x0, _, _, y1 = small.scene.bounds
    config = small.loaded(area={"bounds": [x0 + 4, y1 - 44, x0 + 64, y1 - 4]})
    job = set_up_map(config).job
    windows = [grid.extent for _, grid in sampled_windows(job, job.inputs["AERIAL_RGBI"])][:WINDOWS]
    assert len(windows) == WINDOWS
    assert all(max(window.shape) <= SIDE for window in windows)
    seen = [window.intersect(small.extent).slices_in(small.extent) for window in windows]
    checked = api.check(config)
    rows, medians = dict(checked.rows), dict[str, str]()
    for channel, band in enumerate(("R", "G", "B", "NIR")):
        values = np.concatenate([small.scene.values[channel][part].ravel() for part in seen])
        medians[band] = f"{band} {np.median(values):g} (110 ± 50)"
        found = f"median {np.median(values):g}, {values.min():g} to {values.max():g} in {values.size:,} pixels"
        assert checked.plain["samples"][f"AERIAL_RGBI.values.{band}"] == f"{found}; trained on mean 110 ± 50, uint8"
    of_all = rows["AERIAL_RGBI.values"].removeprefix("medians (means of the training): ")
    assert set(of_all.partition(";")[0].split(", ")) == set(medians.values())
    assert rows == dict(api.check(config).rows)


def test_a_scene_of_nothing_but_nodata_is_told(small: Small) -> None:
    rewrite(small.folder, lambda values: (values * 0).astype("uint8"), nodata=0)
    assert any("AERIAL_RGBI: its values are not compared" in note for note in api.check(small.loaded()).notes)
    rewrite(small.folder, lambda values: values.astype("uint8"), nodata=None)
    assert any("every sampled pixel is 0" in note for note in api.check(small.loaded()).notes)


def test_a_file_that_cannot_be_read_does_not_end_a_run(small: Small) -> None:
    """Its blocks fail and are named, as before."""
    path = sorted((small.folder / "rgb").glob("*.tif"))[0]
    content = path.read_bytes()
    path.write_bytes(content[:600] + bytes(len(content) - 600))
    assert api.run(small.loaded()).exit_code == 3


def test_a_complete_map_is_not_sampled_again(mapped: Small, monkeypatch: pytest.MonkeyPatch) -> None:
    reads = []
    original = rasterio.io.DatasetReader.read
    monkeypatch.setattr(rasterio.io.DatasetReader, "read", lambda *a, **k: reads.append(1) or original(*a, **k))
    assert api.run(mapped.loaded()).exit_code == 0
    assert not reads


def test_a_few_tiles_in_a_wide_area_are_found(small: Small) -> None:
    """Two scenes 30 km apart: nearly all of the ground between is empty."""
    for name in ("rgb", "irc"):
        for path in list((small.folder / name).glob("*.tif")):
            with rasterio.open(path) as dataset:
                values, transform = dataset.read(), dataset.transform
            corner = (transform.c + 30_000, transform.f - 30_000)
            write_tile(path.with_name(f"far_{path.name}"), values.astype("uint16") * 16, corner_xy=corner)
            write_tile(path, values.astype("uint16") * 16, corner_xy=(transform.c, transform.f))
    with pytest.raises(InputError, match="lie outside 0 to 255"):
        api.check(small.loaded(output={"block": 8192}))


def test_an_alpha_band_is_no_infrared(small: Small) -> None:
    rewrite(small.folder, lambda values: (values if len(values) > 1 else values * 0 + 255).astype("uint8"))
    with pytest.raises(InputError, match="NIR is 255 at every sampled pixel: an alpha band"):
        api.check(small.loaded())


@pytest.fixture(scope="module")
def series(tmp_path_factory: pytest.TempPathFactory) -> SmallSeries:
    return SmallSeries.make(tmp_path_factory.mktemp("series"))


def test_series_of_reflectance_from_0_to_1_are_refused(tmp_path: Path, series: SmallSeries) -> None:
    """Straight from the catalog, from a cube, and from arrays."""
    made = SmallSeries.make(tmp_path / "unit")
    right = api.load_config(made.write(tmp_path / "right.yaml", cube=None))
    api.check(right)
    for path in made.folder.glob("2*/B[48].tif"):
        with rasterio.open(path) as dataset:
            values, profile = dataset.read() / 10000, dataset.profile
        with rasterio.open(path, "w", **{**profile, "dtype": "float32"}) as dataset:
            dataset.write(values.astype("float32"))
    catalog = made.folder / "summer.json"
    found = json.loads(catalog.read_text())
    for item in found["features"]:  # a wrong scale: without any, float files are refused for what they are
        for name in ("B04", "B08"):
            item["assets"][name]["raster:bands"] = [{"data_type": "float32", "scale": 0.0001, "offset": 0}]
    catalog.write_text(json.dumps(found))
    direct = api.load_config(made.write(tmp_path / "direct.yaml", cube=None))
    with pytest.raises(InputError, match=r"(?s)SENTINEL2_TS: every band is far too small.*SENTINEL2_TS\.accept_range"):
        api.check(direct)
    config = api.load_config(made.write(tmp_path / "config.yaml"))
    assert api.align(config).exit_code == 0
    with pytest.raises(InputError, match="SENTINEL2_TS: every band is far too small"):
        api.run(config)
    tree = api.open_cube(tmp_path / "cube.zarr")
    card, weights = made.folder / "small.yaml", made.folder / "small.safetensors"
    with pytest.raises(InputError, match="SENTINEL2_TS: every band is far too small"):
        api.predict(tree, card, weights=weights).landcover.isel(x=0, y=0).load()
    accepted = api.predict(tree, card, weights=weights, accept_range=True)
    assert accepted.landcover.isel(x=slice(10, 12), y=slice(10, 12)).load().size == 4


def test_arrays_of_16_bits_are_refused(small: Small) -> None:
    bands = {"R": 1, "G": 2, "B": 3, "NIR": (small.folder / "irc", 1)}
    ortho = open_mosaic(small.folder / "rgb", bands, modality="AERIAL_RGBI").load()
    right = api.predict({"AERIAL_RGBI": ortho}, small.card, weights=small.weights)
    assert right.landcover.isel(x=slice(0, 4), y=0).load().size == 4
    wrong = ortho.copy(data=ortho.values.astype("uint16") * 257)
    with pytest.raises(InputError, match=r"AERIAL_RGBI: .* lie outside 0 to 255"):
        api.predict({"AERIAL_RGBI": wrong}, small.card, weights=small.weights).landcover.isel(x=0, y=0).load()


def test_heights_in_centimetres_are_refused_and_no_data_without_a_tag_is_not(
    small: Small, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    x0, _, _, y1 = small.scene.bounds
    random = np.random.default_rng(0)
    ground = random.normal(30_000, 100, (1, *small.scene.values.shape[1:])).astype("float32")
    trees = random.uniform(0, 900, ground.shape).astype("float32")

    def write(dsm: np.ndarray, dtm: np.ndarray) -> None:
        for name, values in (("dsm", dsm), ("dtm", dtm)):
            write_tile(tmp_path / f"{name}.tif", values.astype("float32"), corner_xy=(x0, y1))

    write(ground + trees, ground)
    heights = {"pixel": 0.2, "bands": {"NDSM": {"mean": 2, "std": 4}}}
    aerial = {"pixel": 0.2, "bands": {name: {"mean": 110, "std": 50} for name in ("R", "G", "B")}}
    card = write_card(
        tmp_path / "h.yaml", unet(), window=64, overlap=16, inputs={"AERIAL_RGBI": aerial, "DEM_ELEV": heights}
    )
    weights = write_weights(card)
    images = {"kind": "mosaic", "bands": {name: RGBI_FILES["bands"][name] for name in ("R", "G", "B")}}
    elevation = {"kind": "elevation", "dsm": {"files": "dsm.tif"}, "dtm": {"files": "dtm.tif"}}
    config = small.loaded(
        model={"card": str(card), "weights": str(weights)}, inputs={"AERIAL_RGBI": images, "DEM_ELEV": elevation}
    )
    with pytest.raises(
        InputError,
        match=r"(?s)DEM_ELEV: DSM has a median of 30[\d.]+: ground lies between -500 and 9000 m.*nodata of their files",
    ):
        api.check(config)
    sea = random.random(ground.shape) < 0.7
    write((ground + trees) / 100, np.where(sea, -99999, ground / 100))
    assert any("of DTM lie outside -500 to 9000 m, and are no data" in note for note in api.check(config).notes)
    write((ground - trees) / 100 - 2, ground / 100)
    assert any("DSM is below the DTM by more than 1 m on 100%" in note for note in api.check(config).notes)
    monkeypatch.setattr("landweave.mapping.value_sample.WIDE_M", 10)
    with pytest.raises(InputError, match="below the DTM by more than 1 m on 100%"):
        api.check(config)
